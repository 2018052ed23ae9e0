//! `licklider`, the file transfer of `licklider-cli`, as sender and as receiver of blocks.
//!
//! It has one peer, one client service, and one block. Its receiver writes the red part into a file and
//! exits at once, possibly before its report is sent, so that this end cancels the block. The file is what
//! counts.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use farlink::Seed;
use farlink::adapters::blocking::ltp::{AccessPoint, Error, Node, ReceivedKind};
use farlink::ltp::{Config, Flow, Peer, PeerTimers, Reason, Red};

use crate::loopback::here;

const WHY: &str = "run tests/interop/setup.sh first";
const OURS: u64 = 1;
const THEIRS: u64 = 2;
/// The client service of `licklider`.
const CLIENT: u64 = 1;
/// Block sizes around that of a segment, and up to nearly the largest that `licklider` accepts.
const SIZES: [usize; 7] = [1, 100, 1399, 1400, 1401, 100_000, 50_000_000];
const PATIENCE: Duration = Duration::from_secs(100);

/// A `licklider` process. It logs to its standard output.
struct Licklider(Child);

impl Licklider {
    fn start(arguments: &[&str]) -> Self {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/.licklider/bin/licklider");
        let process = Command::new(program)
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect(WHY);
        Self(process)
    }

    /// Waits until it has bound its socket, which only the operating system shows.
    fn wait_at(&mut self, place: SocketAddr) {
        let SocketAddr::V4(place) = place else {
            panic!("{place}");
        };
        let host = u32::from_ne_bytes(place.ip().octets());
        let entry = format!(" {host:08X}:{:04X} ", place.port());
        while !fs::read_to_string("/proc/net/udp")
            .unwrap()
            .contains(&entry)
        {
            assert_eq!(self.0.try_wait().unwrap(), None, "it ended");
            thread::yield_now();
        }
    }

    /// Waits for its end, and returns whether it succeeded, and its output.
    fn end(mut self) -> (bool, String) {
        let mut said = String::new();
        let output = self.0.stdout.as_mut().unwrap();
        output.read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().success(), said)
    }
}

impl Drop for Licklider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns an address that is not in use.
fn free() -> SocketAddr {
    let socket = UdpSocket::bind(here()).unwrap();
    socket.local_addr().unwrap()
}

fn peer(of: SocketAddr) -> Peer<SocketAddr> {
    Peer {
        timers: PeerTimers {
            // A process on the same machine answers at once or never.
            remote_delay: Duration::from_millis(200),
            own_delay: Duration::from_millis(200),
            ..PeerTimers::default()
        },
        // It has no queue: at a higher rate, the buffer of its socket overflows.
        flow: Flow::rate(50_000_000),
        ..Peer::at(of)
    }
}

/// Makes a node whose peer is the engine of `licklider` at an address.
fn node(theirs: SocketAddr) -> (Node, AccessPoint) {
    let node = Node::bind(here(), Config::engine(OURS)).unwrap();
    // It exits with the block, and its last report may be lost.
    let mut peer = peer(theirs);
    peer.timers.silence = Duration::from_secs(12);
    node.add_peer(THEIRS, peer).unwrap();
    let access = node.open(CLIENT).unwrap();
    (node, access)
}

fn pattern(len: usize) -> Vec<u8> {
    let octets = (0..len).map(|at| at * 7 + (at >> 8) * 13);
    octets.map(|octet| octet.to_le_bytes()[0]).collect()
}

/// Returns a directory for the files of one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("licklider_{name}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A block received from `licklider`.
struct Brought {
    red: Option<Vec<u8>>,
    /// Green octets, with zeros for those that did not arrive.
    green: Vec<u8>,
}

/// Makes `licklider` send a block, and returns it.
fn receive(name: &str, block: &[u8], red: &str, more: &[&str]) -> Brought {
    let theirs = free();
    let (node, access) = node(theirs);
    let file = folder(name).join("block");
    fs::write(&file, block).unwrap();
    let to = format!("{OURS}@{}", node.local_addr());
    let (engine, listen) = (THEIRS.to_string(), theirs.to_string());
    let arguments = ["send", "--to", &to, "--engine", &engine, "--red", red];
    let place = ["--listen", &listen, file.to_str().unwrap()];
    let sender = Licklider::start(&[&arguments[..], &place, more].concat());

    let mut brought = Brought {
        red: None,
        green: Vec::new(),
    };
    let is_all_green = red == "none";
    loop {
        let received = match access.receive_timeout(PATIENCE) {
            Ok(received) => received,
            Err(Error::TimedOut) => break,
            Err(error) => panic!("{error}"),
        };
        assert_eq!((received.from, received.client), (THEIRS, CLIENT));
        let is_last = match received.kind {
            ReceivedKind::Whole { ends_block } => {
                assert!(brought.red.is_none(), "a block came twice");
                brought.red = Some(received.data.to_vec());
                // With losses, its green end may not arrive.
                ends_block || !more.is_empty()
            }
            ReceivedKind::Green { offset, ends_block } => {
                let start = usize::try_from(offset).unwrap();
                let end = start + received.data.len();
                brought.green.resize(brought.green.len().max(end), 0);
                brought.green[start..end].copy_from_slice(&received.data);
                ends_block && (is_all_green || brought.red.is_some())
            }
            other => panic!("{other:?}"),
        };
        if is_last {
            break;
        }
    }
    let (is_content, said) = sender.end();
    assert!(is_content, "{said}");
    node.shutdown(PATIENCE);
    brought
}

/// Sends a block to `licklider`, and returns the result at this end and the file at the other.
fn send(name: &str, block: &[u8], red: Red, loss: u64) -> (Result<(), Error>, Vec<u8>) {
    let theirs = free();
    let relay = Relay::new(theirs, loss);
    let (node, access) = node(relay.near);
    relay.to(node.local_addr());
    let file = folder(name).join("received");
    let _ = fs::remove_file(&file);
    let from = format!("{OURS}@{}", relay.far);
    let (engine, listen) = (THEIRS.to_string(), theirs.to_string());
    let mut receiver = Licklider::start(&[
        "recv",
        "--engine",
        &engine,
        "--peer",
        &from,
        "--listen",
        &listen,
        "--out",
        file.to_str().unwrap(),
    ]);
    receiver.wait_at(theirs);
    let mut sending = access.start(THEIRS, block.to_vec(), red).unwrap();
    let ended = sending.wait().map(drop);
    if red == Red::Octets(0) {
        // It neither exits after green octets alone nor writes them.
        return (ended, Vec::new());
    }
    let (is_content, said) = receiver.end();
    assert!(is_content, "{said}");
    (ended, fs::read(&file).unwrap())
}

/// Checks that a block is complete, or was cancelled since the receiver had exited.
fn assert_ended(ended: &Result<(), Error>) {
    assert!(
        matches!(
            ended,
            Ok(())
                | Err(Error::Failed {
                    reason: Reason::RETRANSMISSION_LIMIT,
                    ..
                })
        ),
        "{ended:?}"
    );
}

/// A relay between the two that loses random datagrams in both directions.
struct Relay {
    /// The address to send to.
    near: SocketAddr,
    /// The address that `licklider` sends to.
    far: SocketAddr,
    sockets: [UdpSocket; 2],
    to: SocketAddr,
    loss: u64,
    is_over: Arc<AtomicBool>,
}

impl Relay {
    fn new(to: SocketAddr, loss: u64) -> Self {
        let sockets = [(); 2].map(|()| UdpSocket::bind(here()).unwrap());
        let [near, far] = [&sockets[0], &sockets[1]].map(|socket| socket.local_addr().unwrap());
        for socket in &sockets {
            let socket = socket2::SockRef::from(socket);
            socket.set_recv_buffer_size(1 << 22).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
        }
        Self {
            near,
            far,
            sockets,
            to,
            loss,
            is_over: Arc::default(),
        }
    }

    /// Begins to relay datagrams between `ours` and `licklider`.
    fn to(&self, ours: SocketAddr) -> [JoinHandle<()>; 2] {
        let ways = [(0, 1, self.to), (1, 0, ours)];
        ways.map(|(from, over, to)| {
            let mut rng = Seed::from(u64::try_from(from).unwrap()).rng();
            let from = self.sockets[from].try_clone().unwrap();
            let over = self.sockets[over].try_clone().unwrap();
            let (loss, is_over) = (self.loss, Arc::clone(&self.is_over));
            thread::spawn(move || {
                let mut octets = vec![0; 1 << 16];
                while !is_over.load(Ordering::Relaxed) {
                    let Ok((len, _)) = from.recv_from(&mut octets) else {
                        continue;
                    };
                    if rng.below(1000) >= loss {
                        let _ = over.send_to(&octets[..len], to);
                    }
                }
            })
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs licklider, which tests/interop/setup.sh installs"]
fn red_blocks_of_any_size_come_from_licklider() {
    for len in SIZES {
        let block = pattern(len);

        let brought = receive("red_from", &block, "all", &[]);

        assert!(brought.red.as_ref() == Some(&block), "{len} octets");
        assert!(brought.green.is_empty());
    }
}

#[test]
#[ignore = "needs licklider, which tests/interop/setup.sh installs"]
fn green_and_mixed_blocks_come_from_licklider() {
    for (len, red) in [(1, "none"), (10_000, "none"), (2, "1"), (10_000, "3000")] {
        let block = pattern(len);

        let brought = receive("mixed_from", &block, red, &[]);

        let red: usize = red.parse().unwrap_or(0);
        let expected = (red > 0).then(|| block[..red].to_vec());
        assert_eq!(brought.red, expected, "{len} octets");
        assert_eq!(brought.green[red..], block[red..], "{len} octets");
    }
}

#[test]
#[ignore = "needs licklider, which tests/interop/setup.sh installs"]
fn blocks_come_from_licklider_over_a_line_that_loses_and_repeats() {
    for (len, red, impair) in [
        (1, "all", "loss=0.3,dup=0.1,seed=1"),
        (20_000, "all", "loss=0.2,dup=0.2,seed=2"),
        (300_000, "all", "loss=0.05,dup=0.05,seed=3"),
        (300_000, "200000", "loss=0.05,dup=0.05,seed=4"),
    ] {
        let block = pattern(len);

        let brought = receive("lossy_from", &block, red, &["--impair", impair]);

        let red: usize = red.parse().unwrap_or(len);
        assert!(brought.red.as_deref() == Some(&block[..red]), "{impair}");
    }
}

#[test]
#[ignore = "needs licklider, which tests/interop/setup.sh installs"]
fn red_blocks_of_any_size_go_to_licklider() {
    for len in SIZES {
        let block = pattern(len);

        let (ended, written) = send("red_to", &block, Red::All, 0);

        assert_ended(&ended);
        assert!(written == block, "{len} octets");
    }
}

#[test]
#[ignore = "needs licklider, which tests/interop/setup.sh installs"]
fn green_and_mixed_blocks_go_to_licklider() {
    for (len, red) in [(1, 0), (10_000, 0), (10_000, 9999), (10_000, 3000)] {
        let block = pattern(len);

        let (ended, written) = send("mixed_to", &block, Red::Octets(red), 0);

        assert_ended(&ended);
        let red = usize::try_from(red).unwrap();
        assert!(written == block[..red], "{len} octets, {red} red");
    }
}

#[test]
#[ignore = "needs licklider, which tests/interop/setup.sh installs"]
fn blocks_go_to_licklider_over_a_line_that_loses() {
    for (len, loss) in [(1, 300), (20_000, 200), (300_000, 50)] {
        let block = pattern(len);

        let (ended, written) = send("lossy_to", &block, Red::All, loss);

        assert_ended(&ended);
        assert!(written == block, "{len} octets");
    }
}
