//! What one happening costs in worlds of 10 to 10,000 hosts.
//!
//! In instructions, counted by cachegrind, it is the same within 16 %: 1623 with 10 hosts, 1879 with 10,000,
//! the difference being the depth of the agenda. In time the caches show: the hosts of the largest world
//! take more than 10 MB, of which each happening touches other parts. There it misses a cache of 1 MiB 15
//! times, in a world of 1,000 hosts never.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "benches link the standard library anyway"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farlink::sim::{Host, Keep, Line, World};
use farlink::{Instant, Link, Machine, Output, Transmit};

/// Datagrams that arrive in one run, however many hosts share them.
const DATAGRAMS: u64 = 100_000;

/// Passes each datagram on to the next host of the ring, and sends one of its own each second.
struct Runner {
    next: u32,
    sends: u32,
    due: Instant,
}

impl Machine for Runner {
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

fn ring(hosts: u32) -> World {
    let mut world = World::new(1);
    world.keep(Keep::Nothing);
    let runners: Vec<Host<Runner>> = (0..hosts)
        .map(|name| {
            let next = (name + 1) % hosts;
            // Not all at once: each begins at a time of its own.
            let due = Instant::ZERO + Duration::from_secs(1) * name / hosts;
            let runner = Runner {
                next,
                sends: 0,
                due,
            };
            world.host(name, runner)
        })
        .collect();
    let line = Arc::new(Line {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(100),
        loss: 0.3,
        ..Line::default()
    });
    for (one, other) in runners.iter().zip(runners.iter().cycle().skip(1)) {
        world.line_from(*one, *other, Arc::clone(&line));
    }
    // Until as many datagrams are under way as get lost.
    world.run_until(Duration::from_secs(20));
    world
}

fn steps(world: &mut World) {
    for _ in 0..DATAGRAMS {
        black_box(world.step());
    }
}

fn happenings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim");
    group
        .throughput(Throughput::Elements(DATAGRAMS))
        .sample_size(10);
    for hosts in [10, 100, 1_000, 10_000] {
        let mut world = ring(hosts);
        group.bench_function(BenchmarkId::new("happening", hosts), |bencher| {
            bencher.iter(|| steps(&mut world));
        });
    }
    group.finish();
}

criterion_group!(benches, happenings);
criterion_main!(benches);
