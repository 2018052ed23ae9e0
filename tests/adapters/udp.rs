//! One machine on one UDP socket, by threads that block.

use core::convert::Infallible;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::CommandError;
use farlink::adapters::blocking::raw::{self, Commands, Events};
use farlink::adapters::raw::{DriverOptions, Notice};
use farlink::adapters::sockets::{SocketCounters, SocketStats, Sockets};
use farlink::{Ask, Instant, Limits, Link, Machine, Output, Path, Proto, Tag, Transmit};

use super::AT_LAST;
use super::loopback::here;

#[test]
fn the_socket_is_up_before_anything_else() {
    let mut driver = driver(bound());
    let socket = Path::socket(Proto::Udp, driver.local_addr());

    assert_eq!(next(&mut driver), Event::Cue(socket, Link::Up));
}

#[test]
fn datagrams_come_back_from_an_echo() {
    let mut driver = driver(bound());
    driver.command(Command::Echo).unwrap();
    let peer = bound();
    let local = driver.local_addr();

    for round in 1..=200_u8 {
        peer.send_to(&[round; 300], local).unwrap();
        let from = loop {
            if let Event::Datagram(from, octets) = next(&mut driver) {
                assert_eq!(octets, vec![round; 300]);
                break from;
            }
        };
        assert_eq!(from, Path::udp(local, peer.local_addr().unwrap()));
        quiet(&mut driver);
        let mut back = [0; 1000];
        let (len, _) = peer.recv_from(&mut back).unwrap();
        assert_eq!(back[..len], [round; 300]);
    }
}

#[test]
fn every_datagram_of_a_batch_is_sent() {
    let mut driver = driver(bound());
    let peer = bound();

    let to = peer.local_addr().unwrap();
    driver
        .command(Command::Send {
            to,
            count: 40,
            len: 1000,
        })
        .unwrap();
    quiet(&mut driver);

    let mut octets = [0; 2000];
    for number in 0..40 {
        assert_eq!(peer.recv(&mut octets).unwrap(), 1000);
        assert_eq!(octets[0], number);
    }
}

#[test]
fn a_timer_fires_within_a_turn() {
    let mut driver = driver(bound());
    next(&mut driver);

    driver
        .command(Command::Timer(Duration::from_millis(5)))
        .unwrap();

    assert_eq!(next(&mut driver), Event::Fired);
}

#[test]
fn a_wait_without_time_does_not_wait() {
    let mut driver = driver(bound());
    next(&mut driver);

    let error = driver.events.recv_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(driver.events.try_recv().is_none());
}

#[test]
fn a_wait_looks_at_the_socket() {
    let mut driver = driver(bound());
    next(&mut driver);
    let peer = bound();
    peer.send_to(b"there", driver.local_addr()).unwrap();

    let path = Path::udp(driver.local_addr(), peer.local_addr().unwrap());
    let heard = Event::Datagram(path, Bytes::from_static(b"there"));
    assert_eq!(next(&mut driver), heard);
}

#[test]
fn a_port_without_a_listener_neither_ends_the_driver_nor_takes_anything_down() {
    let gone = bound().local_addr().unwrap();
    let socket = bound();
    socket.connect(gone).unwrap();
    let mut driver = driver(socket);
    next(&mut driver);

    for _ in 0..3 {
        driver
            .command(Command::Send {
                to: gone,
                count: 1,
                len: 10,
            })
            .unwrap();
        quiet(&mut driver);
    }
    driver
        .command(Command::Timer(Duration::from_millis(1)))
        .unwrap();

    assert_eq!(next(&mut driver), Event::Fired);
    let stats = driver.stats().udp;
    assert!(stats.reported + stats.unsent > 0, "{stats:?}");
}

#[test]
fn a_datagram_that_is_too_long_is_counted() {
    let limits = Limits::single(1 << 16);
    let options = DriverOptions {
        limits,
        ..DriverOptions::default()
    };
    let mut driver = Driver::new(bound(), options);
    next(&mut driver);
    let peer = bound();
    let to = peer.local_addr().unwrap();

    driver
        .command(Command::Send {
            to,
            count: 1,
            len: 65_530,
        })
        .unwrap();
    driver
        .command(Command::Send {
            to,
            count: 1,
            len: 10,
        })
        .unwrap();
    quiet(&mut driver);

    assert_eq!(driver.stats().udp.unsent, 1);
    assert_eq!(
        peer.recv(&mut [0; 100]).unwrap(),
        10,
        "and the next one is sent"
    );
}

#[test]
fn another_socket_is_opened() {
    let mut driver = driver(bound());
    next(&mut driver);
    let path = Path::socket(Proto::Udp, here());

    driver
        .command(Command::Ask(Ask::Open { tag: Tag(4), path }))
        .unwrap();

    let Event::Cue(opened, Link::Opened(Tag(4))) = next(&mut driver) else {
        panic!("not opened");
    };
    assert_ne!(opened.local.port(), 0);
    let peer = bound();
    peer.send_to(b"here too", opened.local).unwrap();
    let path = Path::udp(opened.local, peer.local_addr().unwrap());
    let heard = Event::Datagram(path, Bytes::from_static(b"here too"));
    assert_eq!(next(&mut driver), heard);
}

#[test]
fn an_endless_sender_does_not_starve_reading() {
    let mut driver = driver(bound());
    let sink = bound();
    driver
        .command(Command::SendForever {
            to: sink.local_addr().unwrap(),
        })
        .unwrap();
    let peer = bound();
    peer.send_to(b"hear me", driver.local_addr()).unwrap();

    let heard = loop {
        if let Event::Datagram(_, octets) = next(&mut driver) {
            break octets;
        }
    };

    assert_eq!(heard, "hear me");
}

#[test]
fn done_comes_after_the_last_datagram() {
    let mut driver = driver(bound());
    next(&mut driver);
    let peer = bound();

    let to = peer.local_addr().unwrap();
    driver
        .command(Command::Send {
            to,
            count: 2,
            len: 7,
        })
        .unwrap();
    driver.command(Command::Done).unwrap();

    for _ in 0..2 {
        assert!(driver.events.recv_timeout(AT_LAST).unwrap().is_none());
    }
    for _ in 0..2 {
        assert_eq!(peer.recv(&mut [0; 100]).unwrap(), 7);
    }
    assert_eq!(driver.command(Command::Echo), Err(CommandError::Gone));
}

#[test]
fn a_clone_of_the_socket_stays_with_the_application() {
    let socket = bound();
    let clone = socket.try_clone().unwrap();
    let driver = driver(socket);
    driver.command(Command::Done).unwrap();
    driver.commands.closed().unwrap();
    let peer = bound();

    clone.set_nonblocking(false).unwrap();
    peer.send_to(b"still open", clone.local_addr().unwrap())
        .unwrap();

    assert_eq!(clone.recv(&mut [0; 100]).unwrap(), 10);
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind(here()).unwrap();
    socket.set_read_timeout(Some(AT_LAST)).unwrap();
    socket
}

/// A toy on one socket.
struct Driver {
    commands: Commands<Toy>,
    events: Events<Toy>,
    counters: Arc<SocketCounters>,
    local: SocketAddr,
}

impl Driver {
    fn new(socket: UdpSocket, options: DriverOptions<Toy>) -> Self {
        let mut sockets = Sockets::new();
        let local = sockets.add_udp(socket).unwrap().local;
        let counters = sockets.counters();
        let (commands, events) = raw::sockets(Toy::default(), sockets, options).unwrap();
        Self {
            commands,
            events,
            counters,
            local,
        }
    }

    fn command(&self, command: Command) -> Result<(), CommandError<Infallible>> {
        self.commands.command(command)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn stats(&self) -> SocketStats {
        self.counters.stats()
    }
}

fn driver(socket: UdpSocket) -> Driver {
    let options = DriverOptions {
        on_drop: Some(Command::Done),
        ..DriverOptions::default()
    };
    Driver::new(socket, options)
}

fn next(driver: &mut Driver) -> Event {
    match driver.events.recv_timeout(AT_LAST).unwrap() {
        Some(Notice::Event(event)) => event,
        other => panic!("{other:?} where an event was due"),
    }
}

/// Waits until what a command brought about is sent.
fn quiet(driver: &mut Driver) {
    driver.commands.flush().unwrap();
}

/// A machine on UDP that does what it is told.
#[derive(Debug, Default)]
struct Toy {
    events: VecDeque<Event>,
    asks: VecDeque<Ask<Path>>,
    local: Option<SocketAddr>,
    echo: VecDeque<(Path, Bytes)>,
    is_echo: bool,
    sends: VecDeque<(SocketAddr, u8, usize)>,
    forever: Option<SocketAddr>,
    timer: Option<Instant>,
    done: bool,
}

#[derive(Debug)]
enum Command {
    Echo,
    Send {
        to: SocketAddr,
        count: u8,
        len: usize,
    },
    SendForever {
        to: SocketAddr,
    },
    Ask(Ask<Path>),
    Timer(Duration),
    Done,
}

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Cue(Path, Link),
    Datagram(Path, Bytes),
    Fired,
}

impl Toy {
    fn write(&mut self, tx: &mut Transmit<Path>) -> bool {
        if let Some((to, octets)) = self.echo.pop_front() {
            return tx.push(to, octets.len(), |out| out.extend_from_slice(&octets));
        }
        let Some(local) = self.local else {
            return false;
        };
        if let Some(to) = self.forever {
            return tx.push(Path::udp(local, to), 100, |out| out.extend([0; 100]));
        }
        while let Some(&(to, number, len)) = self.sends.front() {
            let path = Path::udp(local, to);
            if !tx.push(path, len, |out| out.resize(out.len() + len, number)) {
                break;
            }
            self.sends.pop_front();
        }
        !tx.is_empty()
    }
}

impl Machine for Toy {
    type Addr = Path;
    type Command = Command;
    type Event = Event;
    type Error = Infallible;

    fn receive(&mut self, _now: Instant, from: Path, octets: &[u8]) {
        let octets = Bytes::copy_from_slice(octets);
        if self.is_echo {
            self.echo.push_back((from, octets.clone()));
        }
        self.events.push_back(Event::Datagram(from, octets));
    }

    fn link(&mut self, _now: Instant, at: Path, state: Link) {
        if state == Link::Up {
            self.local = Some(at.local);
        }
        self.events.push_back(Event::Cue(at, state));
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Infallible> {
        match command {
            Command::Echo => self.is_echo = true,
            Command::Send { to, count, len } => {
                self.sends
                    .extend((0..count).map(|number| (to, number, len)));
            }
            Command::SendForever { to } => self.forever = Some(to),
            Command::Ask(ask) => self.asks.push_back(ask),
            Command::Timer(span) => self.timer = Some(now + span),
            Command::Done => {
                self.forever = None;
                self.done = true;
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Path>) -> Output<Path, Event> {
        tx.clear();
        if self.timer.is_some_and(|time| time <= now) {
            self.timer = None;
            self.events.push_back(Event::Fired);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if let Some(ask) = self.asks.pop_front() {
            return Output::Ask(ask);
        }
        if self.write(tx) {
            return Output::Transmit;
        }
        if self.done {
            return Output::Done;
        }
        Output::Idle(self.timer)
    }
}
