//! One machine on one UDP socket.

use core::convert::Infallible;
use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::CommandError;
use farlink::adapters::blocking::udp::{Driver, Options, Turn};
use farlink::{Ask, Cause, Instant, Limits, Link, Machine, Output, Path, Proto, Tag, Transmit};

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
fn a_turn_without_time_does_not_wait() {
    let mut driver = driver(bound());
    next(&mut driver);

    assert_eq!(driver.turn(Duration::ZERO).unwrap(), Turn::Quiet);
}

#[test]
fn a_turn_without_time_still_looks_at_the_socket() {
    let mut driver = driver(bound());
    next(&mut driver);
    let peer = bound();
    peer.send_to(b"there", driver.local_addr()).unwrap();

    let path = Path::udp(driver.local_addr(), peer.local_addr().unwrap());
    let heard = Event::Datagram(path, Bytes::from_static(b"there"));
    assert_eq!(driver.turn(Duration::ZERO).unwrap(), Turn::Event(heard));
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
    let counts = driver.counts();
    assert!(counts.reported + counts.unsent > 0, "{counts:?}");
}

#[test]
fn a_datagram_that_is_too_long_is_counted() {
    let limits = Limits::single(1 << 16);
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut driver = Driver::new(Toy::default(), bound(), &options).unwrap();
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

    assert_eq!(driver.counts().unsent, 1);
    assert_eq!(
        peer.recv(&mut [0; 100]).unwrap(),
        10,
        "and the next one is sent"
    );
}

#[test]
fn no_socket_is_opened() {
    let mut driver = driver(bound());
    next(&mut driver);
    let path = Path::socket(Proto::Tcp, driver.local_addr());

    driver
        .command(Command::Ask(Ask::Open { tag: Tag(4), path }))
        .unwrap();

    let failed = Link::Failed(Tag(4), Cause::Unreachable);
    assert_eq!(next(&mut driver), Event::Cue(path, failed));
    assert_eq!(driver.counts().unanswered, 1);
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
    assert_eq!(
        driver.turn(Duration::ZERO).unwrap(),
        Turn::Quiet,
        "and a turn ends"
    );
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

    assert_eq!(driver.turn(AT_LAST).unwrap(), Turn::Done);
    assert_eq!(driver.turn(AT_LAST).unwrap(), Turn::Done);
    for _ in 0..2 {
        assert_eq!(peer.recv(&mut [0; 100]).unwrap(), 7);
    }
    assert_eq!(driver.command(Command::Echo), Err(CommandError::Gone));
}

#[test]
fn the_socket_can_be_taken_back() {
    let (_, socket) = driver(bound()).into_parts().unwrap();
    let peer = bound();

    peer.send_to(b"still open", socket.local_addr().unwrap())
        .unwrap();

    assert_eq!(socket.recv(&mut [0; 100]).unwrap(), 10);
    assert_eq!(socket.read_timeout().unwrap(), None);
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind(here()).unwrap();
    socket.set_read_timeout(Some(AT_LAST)).unwrap();
    socket
}

fn driver(socket: UdpSocket) -> Driver<Toy> {
    Driver::new(Toy::default(), socket, &Options::default()).unwrap()
}

fn next(driver: &mut Driver<Toy>) -> Event {
    match driver.turn(AT_LAST).unwrap() {
        Turn::Event(event) => event,
        other => panic!("{other:?} where an event was due"),
    }
}

/// Drains what a command brought about.
fn quiet(driver: &mut Driver<Toy>) {
    while driver.turn(Duration::ZERO).unwrap() != Turn::Quiet {}
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
            Command::Done => self.done = true,
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
