//! What sockets of the system do too rarely to be tested with them: to be full, to fail, to be a thousand.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use crate::adapters::driver::runtime::{Moved, Source, Way};
use crate::adapters::driver::socket::{DatagramIo, Kind};
use crate::{Limits, Output, Path, Proto};

const LINGER: Duration = Duration::from_secs(10);

#[test]
fn a_thousand_sockets_are_not_polled_for_one_that_is_ready() {
    let polls = Arc::new(AtomicUsize::new(0));
    let mut bench = Bench::new();
    let sockets: Vec<Fake> = (0..1000)
        .map(|port| bench.add(port, Fake::counting(&polls)))
        .collect();
    while bench.inputs(0) {}
    polls.store(0, Ordering::Relaxed);

    assert!(!bench.inputs(0));
    assert_eq!(polls.load(Ordering::Relaxed), 0, "nothing is ready");
    sockets[700].arrives(b"hello");
    assert!(bench.inputs(0));

    assert_eq!(bench.machine.received, [(path(700), b"hello".to_vec())]);
    // Once for the datagram, and once to find that there are no more.
    assert_eq!(polls.load(Ordering::Relaxed), 2);
    assert!(!bench.inputs(0));
    assert_eq!(polls.load(Ordering::Relaxed), 2);
}

#[test]
fn the_receive_buffer_is_that_of_the_smallest_socket_which_knows_it() {
    let mut bench = Bench::new();
    let granted = |bench: &Bench| Carrier::<Listening>::receive_buffer(&bench.table);
    assert_eq!(granted(&bench), 0);

    for port in [7, 3, 0, 5] {
        bench.add(port, Fake::default());
    }

    assert_eq!(granted(&bench), 3000);
}

#[test]
fn what_a_full_udp_socket_did_not_take_is_kept_and_nothing_is_sent_twice() {
    let mut bench = Bench::new();
    let socket = bench.add(1, Fake::default());
    while bench.inputs(0) {}
    bench.machine.cues.clear();
    socket.takes(3);

    assert_eq!(bench.send(1, 5), Some(socket_path(1)), "full");
    assert_eq!(socket.sent(), [0, 1, 2]);
    assert!(!bench.is_flushed());
    socket.arrives(b"while full");
    assert!(bench.inputs(0));
    assert_eq!(bench.machine.received.len(), 1, "reading goes on");
    assert_eq!(bench.machine.cues, []);
    socket.takes(9);
    assert!(bench.inputs(0));

    assert_eq!(bench.machine.cues, [(socket_path(1), Link::Free)]);
    assert_eq!(socket.sent(), [0, 1, 2, 3, 4]);
    assert!(bench.is_flushed());
    assert_eq!(bench.send(1, 1), None);
}

#[test]
fn a_full_udp_socket_leaves_the_others_alone() {
    let mut bench = Bench::new();
    let full = bench.add(1, Fake::default());
    let other = bench.add(2, Fake::default());
    while bench.inputs(0) {}
    full.takes(0);
    other.takes(2);

    assert!(bench.send(1, 1).is_some());
    assert_eq!(bench.send(2, 2), None);

    assert_eq!(other.sent(), [0, 1]);
}

#[test]
fn a_full_udp_socket_that_is_closed_sends_the_rest_first() {
    let mut bench = Bench::new();
    let socket = bench.add(1, Fake::default());
    while bench.inputs(0) {}
    bench.machine.cues.clear();
    socket.takes(0);
    assert!(bench.send(1, 2).is_some());

    bench.ask(Ask::Close(socket_path(1)));
    assert!(!bench.is_flushed());
    socket.arrives(b"too late");
    socket.takes(2);
    while bench.inputs(0) {}

    assert_eq!(socket.sent(), [0, 1]);
    assert!(socket.is_dropped());
    assert_eq!(bench.machine.cues, []);
    assert!(
        bench.machine.received.is_empty(),
        "the machine let go of it"
    );
}

#[test]
fn closing_waits_for_a_full_udp_socket_no_longer_than_it_lingers() {
    let mut bench = Bench::new();
    let socket = bench.add(1, Fake::default());
    while bench.inputs(0) {}
    socket.takes(0);
    assert!(bench.send(1, 2).is_some());

    assert!(bench.finish(0).is_pending());
    assert_eq!(bench.deadline(), Some(at(10)));
    assert!(bench.finish(9).is_pending());
    assert!(bench.finish(10).is_ready());

    assert!(socket.is_dropped());
}

#[test]
fn a_cancel_closes_what_was_opened_and_no_answer_follows() {
    let (tag, other) = (Tag(1), Tag(2));
    let mut bench = Bench::new();
    bench.ask(Ask::Open { tag, path: path(7) });
    while bench.inputs(0) {}
    assert_eq!(bench.machine.cues, [(path(7), Link::Opened(tag))]);
    bench.ask(Ask::Open {
        tag: other,
        path: path(8),
    });

    // One was told, and one was not.
    bench.ask(Ask::Cancel(tag));
    bench.ask(Ask::Cancel(other));
    for socket in bench.opened() {
        socket.arrives(b"too late");
    }
    while bench.inputs(0) {}

    assert_eq!(bench.machine.cues.len(), 1);
    assert!(bench.machine.received.is_empty());
    assert!(bench.opened().iter().all(Fake::is_dropped));
    assert_eq!(Carrier::<Listening>::liveness(&bench.table), Liveness::Gone);
}

#[test]
fn a_cancel_after_a_failure_keeps_it_silent() {
    let tag = Tag(1);
    let mut bench = Bench::new();
    bench.add(7, Fake::default());
    while bench.inputs(0) {}
    bench.machine.cues.clear();

    bench.ask(Ask::Open { tag, path: path(7) });
    bench.ask(Ask::Cancel(tag));
    while bench.inputs(0) {}

    assert_eq!(bench.machine.cues, []);
}

#[test]
fn a_path_is_silent_once_the_machine_let_go_of_it_before_its_first_cue() {
    let mut bench = Bench::new();
    bench.add(7, Fake::default()).arrives(b"unheard");

    bench.ask(Ask::Abort(socket_path(7)));
    while bench.inputs(0) {}

    assert_eq!(bench.machine.cues, []);
    assert!(bench.machine.received.is_empty());
}

#[test]
fn a_socket_that_fails_64_times_in_a_row_is_down_once() {
    let mut bench = Bench::new();
    let socket = bench.add(1, Fake::default());
    while bench.inputs(0) {}
    bench.machine.cues.clear();

    socket.fails(63);
    while bench.inputs(0) {}
    assert_eq!(bench.machine.cues, []);
    socket.fails(1000);
    while bench.inputs(0) {}

    let down = Link::Down(Cause::Reset);
    assert_eq!(bench.machine.cues, [(socket_path(1), down)]);
    assert!(socket.is_dropped());
    assert_eq!(bench.counters.stats().failed_reads, 63 + 64);
}

#[test]
fn a_listener_that_cannot_accept_is_tried_again_after_a_pause() {
    let polls = Arc::new(AtomicUsize::new(0));
    let listener = Box::new(OutOfFiles {
        socket: std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        polls: Arc::clone(&polls),
    });
    let mut bench = Bench::new();
    let listener = Kind::Listener(listener, Arc::clone(&bench.counters));
    bench.table.add(Socket::new(path(1), listener, LINGER));
    while bench.inputs(0) {}
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    let retry = Instant::ZERO + Duration::from_millis(100);
    assert_eq!(bench.deadline(), Some(retry));

    while bench.inputs_at(retry, true) {}

    assert_eq!(polls.load(Ordering::Relaxed), 2);
    assert_eq!(bench.counters.stats().unaccepted, 2);
    assert_eq!(bench.machine.cues, [(path(1), Link::Up)]);
}

#[test]
fn datagrams_are_left_in_the_socket_while_nothing_may_be_read() {
    let mut bench = Bench::new();
    let socket = bench.add(1, Fake::default());
    while bench.inputs(0) {}

    socket.arrives(b"later");
    while bench.inputs_at(at(0), false) {}
    assert!(bench.machine.received.is_empty());
    while bench.inputs(0) {}

    assert_eq!(bench.machine.received.len(), 1);
}

#[test]
fn a_send_to_nobody_is_counted() {
    let mut bench = Bench::new();

    assert_eq!(bench.send(9, 3), None);

    assert_eq!(bench.counters.stats().unroutable, 3);
}

/// A table with fake sockets, and a machine that notes what it is told.
struct Bench {
    table: Table<Path>,
    machine: Listening,
    counters: Arc<SocketCounters>,
    opened: Arc<Mutex<Vec<Fake>>>,
}

impl Bench {
    fn new() -> Self {
        let counters = Arc::new(SocketCounters::default());
        let fakes = Arc::default();
        let opener = FakeOpener(Arc::clone(&fakes), Arc::clone(&counters));
        Self {
            table: Table::new(Box::new(opener), Arc::clone(&counters)),
            machine: Listening::default(),
            counters,
            opened: fakes,
        }
    }

    fn add(&mut self, port: u16, socket: Fake) -> Fake {
        let mut added = socket.at(path(port), &self.counters);
        added.at = socket_path(port);
        self.table.add(added);
        socket
    }

    fn opened(&self) -> Vec<Fake> {
        lock(&self.opened).clone()
    }

    fn inputs(&mut self, seconds: u64) -> bool {
        self.inputs_at(at(seconds), true)
    }

    fn inputs_at(&mut self, now: Instant, may_read: bool) -> bool {
        self.table.inputs(&mut Turn {
            waker: Waker::noop(),
            now,
            machine: &mut self.machine,
            may_read,
        })
    }

    /// Sends so many datagrams with their numbers, and returns what is full.
    fn send(&mut self, port: u16, count: u8) -> Option<Path> {
        let mut tx = Transmit::new(Limits::new(1, 64, 64));
        for number in 0..count {
            assert!(tx.push(path(port), 1, |out| out.push(number)));
        }
        Carrier::<Listening>::send(&mut self.table, Waker::noop(), &mut tx)
    }

    fn ask(&mut self, ask: Ask<Path>) {
        Carrier::<Listening>::answer(&mut self.table, at(0), ask);
    }

    fn finish(&mut self, seconds: u64) -> Poll<()> {
        Carrier::<Listening>::finish(&mut self.table, at(seconds));
        self.inputs_at(at(seconds), false);
        match Carrier::<Listening>::liveness(&self.table) {
            Liveness::Gone => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Carrier::<Listening>::deadline(&self.table)
    }

    fn is_flushed(&self) -> bool {
        Carrier::<Listening>::is_flushed(&self.table)
    }
}

/// Opens fakes under the path that was asked for.
struct FakeOpener(Arc<Mutex<Vec<Fake>>>, Arc<SocketCounters>);

impl Opener<Path> for FakeOpener {
    fn open(&mut self, _: Tag, at: Path) -> Result<Socket<Path>, Cause> {
        let fake = Fake::default();
        lock(&self.0).push(fake.clone());
        Ok(fake.at(at, &self.1))
    }
}

/// A socket that does what the test says.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<FakeState>>);

struct FakeState {
    room: usize,
    sent: Vec<u8>,
    incoming: VecDeque<Vec<u8>>,
    failures: usize,
    is_dropped: bool,
    wakers: [Option<Waker>; 2],
    polls: Arc<AtomicUsize>,
}

impl Default for FakeState {
    fn default() -> Self {
        Self {
            room: usize::MAX,
            sent: Vec::new(),
            incoming: VecDeque::new(),
            failures: 0,
            is_dropped: false,
            wakers: [None, None],
            polls: Arc::default(),
        }
    }
}

impl Fake {
    fn at(&self, at: Path, counters: &Arc<SocketCounters>) -> Socket<Path> {
        let fake = self.clone();
        let io = Box::new(FakeIo { at, fake });
        let kind = Kind::Datagrams(io, Arc::clone(counters));
        let mut socket = Socket::new(at, kind, LINGER);
        socket.receive_buffer = usize::from(at.local.port()) * 1000;
        socket
    }

    fn counting(polls: &Arc<AtomicUsize>) -> Self {
        Self(Arc::new(Mutex::new(FakeState {
            polls: Arc::clone(polls),
            ..FakeState::default()
        })))
    }

    fn arrives(&self, octets: &[u8]) {
        self.change(|state| state.incoming.push_back(octets.to_vec()));
    }

    /// Lets it take so many datagrams more.
    fn takes(&self, count: usize) {
        self.change(|state| state.room = count);
    }

    fn fails(&self, count: usize) {
        self.change(|state| state.failures = count);
    }

    fn sent(&self) -> Vec<u8> {
        lock(&self.0).sent.clone()
    }

    /// Tells whether its table has dropped it.
    fn is_dropped(&self) -> bool {
        lock(&self.0).is_dropped
    }

    fn change(&self, change: impl FnOnce(&mut FakeState)) {
        let wakers = {
            let mut state = lock(&self.0);
            change(&mut state);
            core::mem::take(&mut state.wakers)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

struct FakeIo {
    at: Path,
    fake: Fake,
}

impl Drop for FakeIo {
    fn drop(&mut self) {
        lock(&self.fake.0).is_dropped = true;
    }
}

impl DatagramIo<Path> for FakeIo {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &Transmit<Path>,
        sent: &mut usize,
    ) -> Poll<()> {
        let mut state = lock(&self.fake.0);
        for datagram in tx.datagrams().skip(*sent) {
            if state.room == 0 {
                state.wakers[0] = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.room -= 1;
            state.sent.extend(datagram);
            *sent += 1;
        }
        Poll::Ready(())
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(Path, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.fake.0);
        state.polls.fetch_add(1, Ordering::Relaxed);
        if state.failures > 0 {
            state.failures -= 1;
            return Poll::Ready(Err(io::Error::other("no name")));
        }
        let Some(octets) = state.incoming.pop_front() else {
            state.wakers[1] = Some(cx.waker().clone());
            return Poll::Pending;
        };
        each(self.at, &octets, NonZeroUsize::new(octets.len()).unwrap());
        Poll::Ready(Ok(1))
    }
}

/// A listener of a process that is out of files.
struct OutOfFiles {
    socket: std::net::UdpSocket,
    polls: Arc<AtomicUsize>,
}

impl Source for OutOfFiles {
    fn socket(&self) -> socket2::SockRef<'_> {
        socket2::SockRef::from(&self.socket)
    }

    fn poll_io(
        &self,
        _: &mut Context<'_>,
        _: Way,
        _: &mut dyn FnMut(&socket2::Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::other("too many open files")))
    }

    fn into_socket(self: Box<Self>) -> io::Result<socket2::Socket> {
        Ok(self.socket.into())
    }
}

/// A machine that notes what it is told and says nothing.
#[derive(Default)]
struct Listening {
    cues: Vec<(Path, Link)>,
    received: Vec<(Path, Vec<u8>)>,
}

impl Machine for Listening {
    type Addr = Path;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, from: Path, octets: &[u8]) {
        self.received.push((from, octets.to_vec()));
    }

    fn link(&mut self, _: Instant, at: Path, state: Link) {
        self.cues.push((at, state));
    }

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, ()> {
        tx.clear();
        Output::Idle(None)
    }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A way to a peer from the socket with this port.
fn path(port: u16) -> Path {
    Path::udp(local(port), local(9))
}

fn socket_path(port: u16) -> Path {
    Path::socket(Proto::Udp, local(port))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
