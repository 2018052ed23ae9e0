//! coturn of Debian, a server of STUN by RFC 8489, RFC 5780 and RFC 3489.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command as Process, Output, Stdio};
use std::time::Duration;

use farlink::adapters::blocking::raw::{self, Commands, Events};
use farlink::adapters::raw::{DriverOptions, Notice};
use farlink::adapters::sockets::Sockets;
use farlink::stun::{
    BindingAnswer, Class, Client, Command, Config, CredentialKind, Credentials, Event, Message,
    MessageWriter, Method, Query, QueryFailure, TransactionId,
};
use farlink::{Path, Seed, Tag};
use serde_json::{Value, json};

const WHY: &str = "run tests/interop/setup.sh first";
/// How often it is asked whether it has started, every 50 ms.
const TRIES: u32 = 1200;
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of coturn on two addresses of loopback, which ends with it.
struct Coturn {
    process: Child,
    folder: PathBuf,
    port: u16,
    other_port: u16,
}

impl Coturn {
    /// Starts it with these lines in its configuration, and waits until it answers.
    fn start(name: &str, lines: &str) -> Self {
        let folder = FilePath::new(env!("CARGO_TARGET_TMPDIR")).join(format!("coturn-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let [port, other_port] = free_ports();
        let at = folder.display();
        let config = format!(
            "listening-ip=127.0.0.1\nlistening-ip=127.0.0.2\nlistening-port={port}\n\
             alt-listening-port={other_port}\nrelay-ip=127.0.0.1\nallow-loopback-peers\n\
             lt-cred-mech\nuser=alice:secret1\nrealm=lab.example\nno-tls\nno-dtls\nno-cli\n\
             fingerprint\nuserdb={at}/turndb\npidfile={at}/turn.pid\nlog-file={at}/turn.log\n\
             simple-log\n{lines}"
        );
        let file = folder.join("turnserver.conf");
        fs::write(&file, config).unwrap();
        let process = Process::new("turnserver")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(WHY);
        let mut server = Self {
            process,
            folder,
            port,
            other_port,
        };
        server.wait_until_it_answers();
        server
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn wait_until_it_answers(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut request = Vec::new();
        let id = TransactionId::new([7; 12]);
        MessageWriter::new(&mut request, Method::BINDING, Class::Request, id);
        let mut octets = [0; 2048];
        for _ in 0..TRIES {
            socket.send_to(&request, self.address()).unwrap();
            if let Ok(len) = socket.recv(&mut octets) {
                assert_eq!(Message::decode(&octets[..len]).unwrap().id(), id);
                return;
            }
            assert_eq!(self.process.try_wait().unwrap(), None, "it ended");
        }
        panic!("it does not answer");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Two ports that nobody has at present.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

fn query(arguments: &[&str]) -> Output {
    Process::new(env!("CARGO_BIN_EXE_farlink"))
        .args(["stun", "query", "--json"])
        .args(arguments)
        .output()
        .unwrap()
}

fn answer(arguments: &[&str]) -> Value {
    let ran = query(arguments);
    assert!(ran.status.success(), "{ran:?}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
#[ignore = "needs coturn; tests/interop/setup.sh installs it"]
fn the_tool_asks_coturn_for_its_address_over_udp_and_tcp() {
    let server = Coturn::start("query", "");
    let address = server.address().to_string();

    let udp = answer(&[&address]);
    assert_eq!(udp["mapped"], udp["local"]);
    assert_eq!(udp["mapped_in_clear"], udp["local"]);
    assert_eq!(udp["origin"], json!(address));
    let other = format!("127.0.0.2:{}", server.other_port);
    assert_eq!(udp["other"], json!(other));
    assert!(
        udp["software"].as_str().unwrap().starts_with("Coturn"),
        "{udp}"
    );
    assert_eq!(
        (&udp["rfc5780"], &udp["rfc3489"]),
        (&json!(true), &json!(true))
    );

    let tcp = answer(&[&format!("stun:{address}"), "--tcp"]);
    assert_eq!(tcp["proto"], "tcp");
    assert_eq!(tcp["mapped"], tcp["local"]);
    assert_eq!(tcp["rfc3489"], json!(null));
}

/// A client of this crate that asks coturn.
struct Asker {
    commands: Commands<Client>,
    events: Events<Client>,
}

impl Asker {
    fn start() -> Self {
        let client = Client::new(Config::default(), &Seed::from(1)).unwrap();
        let options = DriverOptions {
            on_drop: Some(Command::Close),
            ..DriverOptions::default()
        };
        let (commands, events) = raw::sockets(client, Sockets::new(), options).unwrap();
        Self { commands, events }
    }

    fn ask(&mut self, to: Path, query: Query) -> Result<BindingAnswer, QueryFailure> {
        let tag = Tag(1);
        let command = Command::Query { tag, to, query };
        self.commands.command(command).unwrap();
        match self.events.recv_timeout(PATIENCE).unwrap() {
            Some(Notice::Event(Event::Answered { answer, .. })) => Ok(answer),
            Some(Notice::Event(Event::Failed { failure, .. })) => Err(failure),
            other => panic!("{other:?}"),
        }
    }
}

fn alice(password: &str) -> Query {
    Query {
        credentials: Some(Credentials {
            username: String::from("alice"),
            password: String::from(password),
            kind: CredentialKind::LongTerm,
        }),
        ..Query::default()
    }
}

/// With this option coturn demands credentials for Binding too.
#[test]
#[ignore = "needs coturn; tests/interop/setup.sh installs it"]
fn coturn_accepts_our_credentials_and_we_its_signature() {
    let server = Coturn::start("secure", "secure-stun\n");
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    for to in [
        Path::udp(local, server.address()),
        Path::tcp(local, server.address()),
    ] {
        let mut asker = Asker::start();

        let first = asker.ask(to, alice("secret1")).unwrap();
        assert_eq!(
            (first.is_verified, first.sends),
            (true, 2),
            "challenged once"
        );
        let second = asker.ask(to, alice("secret1")).unwrap();
        assert_eq!(
            (second.is_verified, second.sends),
            (true, 1),
            "signed at once"
        );

        let wrong = Asker::start().ask(to, alice("secret2"));
        assert!(
            matches!(wrong, Err(QueryFailure::WrongCredentials { .. })),
            "{wrong:?}"
        );
        let nobody = Asker::start().ask(to, Query::default());
        assert!(
            matches!(nobody, Err(QueryFailure::Rejected { code: 401, .. })),
            "{nobody:?}"
        );
    }
}

#[test]
#[ignore = "needs coturn; tests/interop/setup.sh installs it"]
fn coturn_answers_from_its_other_address_and_port() {
    let server = Coturn::start("change", "");
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let to = Path::udp(local, server.address());
    let mut asker = Asker::start();
    for classic in [false, true] {
        for (ip, port) in [(false, true), (true, false), (true, true)] {
            let change = farlink::stun::ChangeRequest { ip, port };
            let query = Query {
                classic,
                change,
                ..Query::default()
            };

            let answer = asker.ask(to, query).unwrap();

            let last = if ip { 2 } else { 1 };
            let port = if port { server.other_port } else { server.port };
            let expected = SocketAddr::from(([127, 0, 0, last], port));
            assert_eq!(answer.path.remote, expected, "{change:?}");
            assert_eq!(answer.origin, Some(expected), "{change:?}");
        }
    }
}
