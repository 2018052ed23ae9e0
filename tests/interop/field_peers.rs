//! `FreeRDP`, `rdesktop`, `xrdp`, `python-snap7`, `nodes7` and `nmap`, as clients and as servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use farlink::adapters::blocking::cotp;
use farlink::cotp::Config;
use serde_json::Value;

const WHY: &str = "run tests/interop/setup.sh first";
/// A request for TLS or `CredSSP`, and one for the security of RDP itself (MS-RDPBCGR 2.2.1.1.1).
const REQUEST_TLS: &str = "0100080003000000";
const REQUEST_RDP: &str = "0100080000000000";

fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farlink"));
    command.args(["cotp"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn python(program: &str, arguments: &[&str]) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let mut command = Command::new(here.join(".venv/bin/python"));
    command.args(["-c", program]).args(arguments);
    command
}

/// Displays that were used. Each program has one of its own, since one that ends takes its number's lock away from
/// the next.
static DISPLAYS: AtomicU32 = AtomicU32::new(0);

/// Runs a program of X for so many seconds: neither client ends before a server of RDP would have answered.
fn graphical(program: &str, seconds: &str, arguments: &[&str]) -> Child {
    let used = DISPLAYS.fetch_add(1, Ordering::Relaxed);
    let display = 200 + std::process::id() % 1000 * 20 + used;
    let mut command = Command::new("xvfb-run");
    command
        .arg(format!("--server-num={display}"))
        .args(["timeout", seconds, program])
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect(WHY)
}

/// `farlink cotp listen`, whose events are read.
struct Listener {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Listener {
    fn start(arguments: &[&str]) -> Self {
        let all = ["listen", "--bind", "127.0.0.1:0", "--json"];
        let mut process = tool(&[&all, arguments].concat()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut listener = Self {
            process,
            lines,
            address: String::new(),
        };
        let listening = listener.told("listening");
        listener.address = listening["address"].as_str().unwrap().into();
        listener
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn told(&mut self, event: &str) -> Value {
        let object = self.next();
        assert_eq!(object["event"], event, "{object}");
        object
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns an address that is free at the moment, for a server that takes a port and does not tell one.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own knows no simulated time"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Tells whether a server listens within five seconds.
fn listens(address: SocketAddr) -> bool {
    (0..50).any(|_| {
        let connected = TcpStream::connect(address);
        if connected.is_err() {
            pause();
        }
        connected.is_ok()
    })
}

fn hex(text: &str) -> String {
    format!("{:x}", bytes::Bytes::copy_from_slice(text.as_bytes()))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lets a client of RDP connect. Checks what its request begins with, and that it goes on with a message.
fn is_accepted(program: &str, arguments: &[&str], token: &str, request: &str) {
    let mut listener = Listener::start(&["--once"]);
    let server = match program {
        "xfreerdp" => format!("/v:{}", listener.address),
        _ => listener.address.clone(),
    };
    let mut client = graphical(program, "5", &[&[server.as_str()], arguments].concat());

    let variable = listener.told("connected")["variable"].clone();
    assert_eq!(variable, [&hex(token), request].concat());
    assert_ne!(listener.told("received")["octets"], 0, "it was confirmed");
    client.wait().unwrap();
    assert_eq!(listener.told("closed")["messages"], 1);
    assert!(listener.process.wait().unwrap().success());
}

#[test]
#[ignore = "needs xfreerdp and xvfb-run; tests/interop/setup.sh installs them"]
fn xfreerdp_is_accepted_with_a_cookie_a_token_or_neither() {
    let cookie = "Cookie: mstshash=user\r\n";
    let token = "tsv://MS Terminal Services Plugin.1.farm";
    let balance = format!("/load-balance-info:{token}");
    for (argument, variable, request) in [
        ("/cert:ignore", cookie, REQUEST_TLS),
        ("/sec:rdp", cookie, ""),
        (&*balance, &*format!("{token}\r\n"), REQUEST_TLS),
    ] {
        is_accepted("xfreerdp", &["/u:user", argument], variable, request);
    }
}

#[test]
#[ignore = "needs rdesktop and xvfb-run; tests/interop/setup.sh installs them"]
fn rdesktop_is_accepted() {
    let cookie = "Cookie: mstshash=user\r\n";

    is_accepted("rdesktop", &["-u", "user"], cookie, REQUEST_TLS);
}

#[test]
#[ignore = "needs freerdp-shadow-cli and xvfb-run; tests/interop/setup.sh installs them"]
fn a_freerdp_server_is_connected_though_it_confirms_reference_0() {
    // It does not start every time when other programs of X do.
    let started = (0..3).find_map(|_| {
        let address = free_address();
        let port = format!("/port:{}", address.port());
        let server = graphical("freerdp-shadow-cli", "15", &[&port, "/sec:rdp"]);
        listens(address).then_some((server, address))
    });
    let (mut server, address) = started.expect("a server that listens");

    let address = address.to_string();
    let connect = ["connect", &address, "--variable", REQUEST_RDP];
    let output = tool(&connect).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    let text = text(&output);
    let (_, response) = text.split_once("variable part ").expect(&text);
    // It selects the security of RDP; flags tell what else it knows (MS-RDPBCGR 2.2.1.2.1).
    assert!(response.starts_with("02"), "{text}");
    assert!(response[4..].starts_with("080000000000"), "{text}");
    server.wait().unwrap();
}

/// Starts a server of python-snap7, which ends with its standard input.
fn snap7_server() -> (Child, SocketAddr) {
    let program = "import sys; from snap7.server import Server\n\
                   s = Server(log=False); s.start(tcp_port=int(sys.argv[1])); sys.stdin.read()";
    let address = free_address();
    let mut server = python(program, &[&address.port().to_string()]);
    let server = server.stdin(Stdio::piped()).spawn().expect(WHY);
    assert!(listens(address));
    (server, address)
}

#[test]
#[ignore = "needs python-snap7; tests/interop/setup.sh installs it"]
fn the_answer_of_a_snap7_server_is_printed() {
    let (mut server, address) = snap7_server();
    let address = address.to_string();
    let mut client = tool(&["connect", &address, "--send", "-", "--receive", "1"])
        .args(["--local-tsel", "0100", "--remote-tsel", "0102"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();

    client.stdin.take().unwrap().write_all(&SETUP).unwrap();
    let output = client.wait_with_output().unwrap();

    assert!(output.status.success(), "{output:?}");
    let text = text(&output);
    assert!(text.contains("#1 received 20 octets: 3203"), "{text}");
    drop(server.stdin.take());
    server.wait().unwrap();
}

/// A setup of communication of S7, for PDUs of 480 octets.
const SETUP: [u8; 18] = [
    0x32, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0xF0, 0, 0, 1, 0, 1, 1, 0xE0,
];

#[test]
#[ignore = "needs python-snap7; tests/interop/setup.sh installs it"]
fn the_presets_of_s7_and_logo_are_answered_by_a_snap7_server() {
    let (mut server, address) = snap7_server();

    for preset in [
        Config::s7(0, 2),
        Config::s7(0, 1),
        Config::logo(0x0300, 0x0200),
    ] {
        let mut connection = cotp::connect(address, preset).unwrap();
        connection.send(SETUP).unwrap();
        let answer = connection.receive_timeout(Duration::from_secs(10)).unwrap();
        // An answer with data, to the same function.
        let answer = answer.unwrap();
        assert_eq!((answer[0], answer[1], answer[12]), (0x32, 3, 0xF0));
        connection.close().unwrap();
    }
    drop(server.stdin.take());
    server.wait().unwrap();
}

#[test]
#[ignore = "needs freerdp-shadow-cli and xvfb-run; tests/interop/setup.sh installs them"]
fn the_preset_of_rdp_is_answered_by_a_freerdp_server() {
    let started = (0..3).find_map(|_| {
        let address = free_address();
        let port = format!("/port:{}", address.port());
        let server = graphical("freerdp-shadow-cli", "15", &[&port]);
        listens(address).then_some((server, address))
    });
    let (mut server, address) = started.expect("a server that listens");
    let request = [&b"Cookie: mstshash=ada\r\n"[..], &[1, 0, 8, 0, 1, 0, 0, 0]].concat();

    let mut connection = cotp::connect(address, Config::rdp(request.into())).unwrap();

    // TLS is selected (MS-RDPBCGR 2.2.1.2.1), and what follows is its handshake.
    let variable = connection.info().agreed.variable.clone();
    assert_eq!((variable[0], &variable[2..]), (2, &[8, 0, 1, 0, 0, 0][..]));
    drop(connection.detach().unwrap());
    server.wait().unwrap();
}

#[test]
#[ignore = "needs python-snap7; tests/interop/setup.sh installs it"]
fn a_snap7_client_that_says_goodbye_is_a_clean_end() {
    let program = "import sys; from snap7.connection import ISOTCPConnection\n\
                   c = ISOTCPConnection('127.0.0.1', int(sys.argv[1]), 0x0100, 0x0102)\n\
                   c.connect(); c.send_data(b'abc'); print(c.receive_data()); c.disconnect()";
    let mut listener = Listener::start(&["--once", "--echo", "--tsel", "0102"]);
    let (_, port) = listener.address.rsplit_once(':').unwrap();

    let output = python(program, &[port]).output().expect(WHY);

    assert_eq!(text(&output).trim_end(), "b'abc'", "{output:?}");
    assert_eq!(listener.told("connected")["calling"], "0100");
    listener.told("received");
    assert_eq!(listener.told("closed")["incomplete"], 0);
    assert!(listener.process.wait().unwrap().success());
}

/// A server that does not end by itself.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs xrdp; tests/interop/setup.sh installs it"]
fn an_xrdp_server_selects_tls_and_is_detached() {
    let address = free_address();
    let mut command = Command::new("xrdp");
    command.args(["--nodaemon", "--port", &address.port().to_string()]);
    let server = command.stdin(Stdio::null()).stdout(Stdio::null());
    let _server = Server(server.spawn().expect(WHY));
    assert!(listens(address));
    let request = [&b"Cookie: mstshash=ada\r\n"[..], &[1, 0, 8, 0, 1, 0, 0, 0]].concat();

    let mut connection = cotp::connect(address, Config::rdp(request.into())).unwrap();

    let variable = connection.info().agreed.variable.clone();
    assert_eq!((variable[0], &variable[2..]), (2, &[8, 0, 1, 0, 0, 0][..]));
    drop(connection.detach().unwrap());
}

/// Checks that a client of S7 is accepted, and asks for a setup of communication.
fn is_accepted_by_s7(client: &mut Command, listener: &mut Listener) {
    let client = client.stdin(Stdio::null()).stdout(Stdio::null());
    let _client = Server(client.spawn().expect(WHY));

    // A scan of the port is a connection without a request.
    let connected = loop {
        let event = listener.next();
        if event["event"] != "failed" {
            break event;
        }
    };
    assert_eq!(
        (&connected["calling"], &connected["called"]),
        (&"0100".into(), &"0102".into())
    );
    let data = listener.told("received")["data"].clone();
    assert!(data.as_str().unwrap().starts_with("3201"), "{data}");
}

#[test]
#[ignore = "needs nmap; tests/interop/setup.sh installs it"]
fn the_s7_script_of_nmap_is_accepted() {
    let mut listener = Listener::start(&[]);
    let (_, port) = listener.address.rsplit_once(':').unwrap();
    let mut nmap = Command::new("nmap");
    nmap.args(["-Pn", "-n", "-p", port, "--script", "+s7-info", "127.0.0.1"]);

    is_accepted_by_s7(&mut nmap, &mut listener);
}

#[test]
#[ignore = "needs nodes7; tests/interop/setup.sh installs it"]
fn a_nodes7_client_is_accepted() {
    let mut listener = Listener::start(&[]);
    let (_, port) = listener.address.rsplit_once(':').unwrap();
    let program = "const c = new (require('nodes7'))({silent: true}); c.initiateConnection(\
                   {port: +process.argv[1], host: '127.0.0.1', rack: 0, slot: 2}, () => {})";
    let mut node = Command::new("node");
    node.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/.node"));
    node.args(["-e", program, port]);

    is_accepted_by_s7(&mut node, &mut listener);
}
