//! The cost of an event in worlds of 10 to 10,000 hosts.
//!
//! There are five kinds of worlds: a ring of numbered hosts on lossy lines, the same on slow lines with all
//! faults, clients behind a NAT each that send UDP to servers, the same with TCP, and pairs that are
//! connected by streams. With more hosts each event costs more, because the state of 10,000 hosts does not
//! fit into the caches.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "benches link the standard library anyway"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farlink::sim::{Bursts, Host, Ip, Line, Nat, Queue, Reorder, StreamLine, TraceDetail, World};
use farlink::{Addr, Instant, Link, Machine, Output, Path, Proto, Transmit};

/// Events of one run.
const EVENTS: u64 = 100_000;

/// Sends each datagram on to the next host of the ring, and one of its own each second.
struct RingMachine {
    next: u32,
    sends: u32,
    due: Instant,
}

impl Machine for RingMachine {
    type Addr = u32;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: u32, octets: &[u8]) {
        self.sends += u32::from(!octets.is_empty());
    }

    fn link(&mut self, _: Instant, _: u32, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<u32>) -> Output<u32, ()> {
        tx.clear();
        if self.due <= now {
            self.due = now + Duration::from_secs(1);
            self.sends += 1;
        }
        if self.sends == 0 {
            return Output::Idle(Some(self.due));
        }
        self.sends -= 1;
        tx.push(self.next, 100, |out| out.resize(out.len() + 100, 7));
        Output::Transmit
    }
}

/// Sends each second to an address, or answers from where it was sent to.
struct CallMachine<A> {
    addr: Option<A>,
    is_stream: bool,
    sends: u32,
    /// When it sends. A machine that only answers has no time.
    due: Option<Instant>,
}

impl<A> CallMachine<A> {
    const fn new(is_stream: bool, due: Option<Instant>) -> Self {
        Self {
            addr: None,
            is_stream,
            sends: 0,
            due,
        }
    }
}

impl<A: Addr> Machine for CallMachine<A> {
    type Addr = A;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, from: A, octets: &[u8]) {
        if self.due.is_none() {
            self.addr = Some(from);
            self.sends += u32::from(!octets.is_empty());
        }
    }

    fn link(&mut self, _: Instant, at: A, state: Link) {
        if state == Link::Up && self.is_stream && self.due.is_some() {
            self.addr = Some(at);
        }
    }

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<A>) -> Output<A, ()> {
        tx.clear();
        let Some(addr) = self.addr else {
            return Output::Idle(None);
        };
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + Duration::from_secs(1));
            self.sends += 1;
        }
        if self.sends == 0 {
            return Output::Idle(self.due);
        }
        self.sends -= 1;
        let write = |out: &mut Vec<u8>| out.resize(out.len() + 100, 7);
        if self.is_stream {
            tx.append(addr, 100, write);
        } else {
            tx.push(addr, 100, write);
        }
        Output::Transmit
    }
}

/// Creates a world with this many hosts.
type MakeWorld = fn(u32) -> World;

fn ring(hosts: u32, line: Line) -> World {
    let mut world = empty();
    let runners: Vec<Host<RingMachine>> = (0..hosts)
        .map(|name| {
            let next = (name + 1) % hosts;
            let due = first_send(name, hosts);
            let sends = 0;
            world.host(name, RingMachine { next, sends, due })
        })
        .collect();
    let line = Arc::new(line);
    for (one, other) in runners.iter().zip(runners.iter().cycle().skip(1)) {
        world.line_from(*one, *other, Arc::clone(&line));
    }
    world
}

fn lossy(hosts: u32) -> World {
    let line = Line {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(100),
        loss: 0.3,
        ..Line::default()
    };
    ring(hosts, line)
}

fn slow(hosts: u32) -> World {
    let line = Line {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        loss: 0.2,
        bursts: Some(Bursts {
            enter: 0.02,
            leave: 0.2,
            loss: 1.0,
        }),
        reorder: Some(Reorder {
            probability: 0.1,
            by: Duration::from_millis(30),
        }),
        duplication: 0.02,
        corruption: 0.02,
        rate: Some(20_000),
        overhead: 28,
        queue: Queue::Drop(2000),
        mtu: Some(1500),
        ..Line::default()
    };
    ring(hosts, line)
}

/// Half of the hosts are clients behind a NAT each, and send to a server each, which answers.
fn behind_nats(hosts: u32, proto: Proto) -> World {
    let mut world = empty();
    for n in 0..hosts / 2 {
        let [server, outside, client] = [1, 2, 10].map(|net| Ipv4Addr::from((net << 24) + n));
        let here = (client, 5000).into();
        let there = (server, 4000).into();
        let is_stream = proto == Proto::Tcp;
        let answers = world.host(Ip::at(server), CallMachine::<Path>::new(is_stream, None));
        world.bind(answers, proto, there);
        let nat = world.nat(Ip::at(outside), Nat::default());
        let mut caller = CallMachine::new(is_stream, Some(first_send(n, hosts / 2)));
        caller.addr = (!is_stream).then_some(Path::udp(here, there));
        let calls = world.host(Ip::at(client).behind(nat), caller);
        if is_stream {
            world.dial(calls, here, there);
        } else {
            world.bind(calls, proto, here);
        }
    }
    world
}

fn streams(hosts: u32) -> World {
    let mut world = empty();
    let line = StreamLine {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        rate: Some(100_000),
        window: Some(10_000),
        ..StreamLine::default()
    };
    for n in 0..hosts / 2 {
        let due = Some(first_send(n, hosts / 2));
        let calls = world.host((), CallMachine::<()>::new(true, due));
        let answers = world.host((), CallMachine::<()>::new(true, None));
        world.connect(calls, answers, line.clone());
    }
    world
}

fn empty() -> World {
    let mut world = World::new(1);
    world.trace_detail(TraceDetail::Nothing);
    world
}

/// Spreads the first sends over a second.
fn first_send(index: u32, of: u32) -> Instant {
    Instant::ZERO + Duration::from_secs(1) * index / of
}

fn steps(world: &mut World) {
    for _ in 0..EVENTS {
        black_box(world.step());
    }
}

fn events(criterion: &mut Criterion) {
    let kinds: [(&str, MakeWorld); 5] = [
        ("lossy", lossy),
        ("slow", slow),
        ("nat", |hosts| behind_nats(hosts, Proto::Udp)),
        ("tcp", |hosts| behind_nats(hosts, Proto::Tcp)),
        ("stream", streams),
    ];
    let mut group = criterion.benchmark_group("sim");
    group
        .throughput(Throughput::Elements(EVENTS))
        .sample_size(10);
    for (kind, make) in kinds {
        for hosts in [10, 100, 1_000, 10_000] {
            let mut world = make(hosts);
            // Until the number of packets in flight is steady.
            world.run_until(Duration::from_secs(20));
            group.bench_function(BenchmarkId::new(kind, hosts), |bencher| {
                bencher.iter(|| steps(&mut world));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
