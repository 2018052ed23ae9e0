//! Memory budgets of LTP: the allocations of a segment and of a session, and what is kept for reuse.
#![cfg(feature = "ltp")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::num::NonZeroUsize;

use allocation_counter::measure;
use bytes::Bytes;
use farlink::ltp::{Block, Config, Engine, EngineLimits, Event, Flow, Peer, Service};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};

const NEAR: Hop = Hop {
    interface: 0,
    via: 1,
};
const FAR: Hop = Hop {
    interface: 0,
    via: 2,
};
const CLIENT: u64 = 4;
const MIB: usize = 1 << 20;

struct Pair {
    near: Engine<Hop>,
    far: Engine<Hop>,
    tx: Transmit<Hop>,
    tag: u64,
}

#[test]
fn a_segment_allocates_nothing_where_it_leaves_and_where_it_comes_in_order() {
    for way in [Pair::deliver, Pair::deliver_batch] {
        steady(way);
    }
}

/// Counts allocations in the middle of a block whose batches are delivered by `deliver`.
fn steady(deliver: fn(&mut Pair)) {
    let mut pair = Pair::new(Config::engine(2));
    pair.transfer(&vec![0x5A; MIB].into());
    pair.send(vec![0x5A; 4 * MIB].into());
    // Past the half, the memory for all is there.
    let mut batches = 0;
    let mut left = 0;
    let mut came = 0;

    while let Output::Transmit = pair.near.poll(Instant::ZERO, &mut pair.tx) {
        batches += 1;
        let is_steady = (50..55).contains(&batches);
        let info = measure(|| deliver(&mut pair));
        if is_steady {
            came += info.count_total;
            let info = measure(|| {
                assert_eq!(
                    pair.near.poll(Instant::ZERO, &mut pair.tx),
                    Output::Transmit
                );
            });
            left += info.count_total;
            deliver(&mut pair);
        }
    }

    assert!(batches > 55, "{batches}");
    assert_eq!(left, 0, "at the sender");
    assert_eq!(came, 0, "at the receiver");
}

#[test]
fn the_allocations_of_a_block_do_not_depend_on_its_segments() {
    let mut pair = Pair::new(Config::engine(2));
    let (short, long) = (Bytes::from(vec![1; 4 * MIB]), Bytes::from(vec![1; 8 * MIB]));
    for data in [&short, &long] {
        pair.transfer(data);
    }

    let counts = [&short, &long].map(|data| measure(|| pair.transfer(data)).count_total);

    // Memory doubles until the spare one of the block before takes over.
    assert!(counts.iter().all(|count| *count < 40), "{counts:?}");
    assert!(counts[1] <= counts[0] + 2, "{counts:?}");
}

#[test]
fn a_session_of_one_segment_allocates_the_block_alone() {
    const ROUNDS: u64 = 1000;
    let mut pair = Pair::new(Config {
        limits: EngineLimits {
            closed_sessions: 10,
            ..EngineLimits::default()
        },
        ..Config::engine(2)
    });
    let data = Bytes::from_static(&[0x5A; 100]);
    for _ in 0..100 {
        pair.transfer(&data);
    }

    let info = measure(|| (0..ROUNDS).for_each(|_| pair.transfer(&data)));

    assert_eq!(info.count_total, ROUNDS, "{info:?}");
}

#[test]
fn a_block_that_is_taken_on_demand_allocates_no_more_than_one_that_comes_unasked() {
    const ROUNDS: u64 = 1000;
    let closed = Config {
        limits: EngineLimits {
            closed_sessions: 10,
            ..EngineLimits::default()
        },
        ..Config::engine(2)
    };
    let mut pair = Pair::new(closed);
    pair.far.close(Instant::ZERO, CLIENT).unwrap();
    pair.far
        .open_on_demand(Instant::ZERO, CLIENT, Service::Whole)
        .unwrap();
    let data = Bytes::from_static(&[0x5A; 100]);
    let transfer = |pair: &mut Pair| {
        pair.far.take(Instant::ZERO, CLIENT).unwrap();
        pair.transfer(&data);
    };
    (0..100).for_each(|_| transfer(&mut pair));

    let info = measure(|| (0..ROUNDS).for_each(|_| transfer(&mut pair)));

    assert_eq!(info.count_total, ROUNDS, "{info:?}");
}

#[test]
fn the_memory_of_a_delivered_block_serves_the_next_one() {
    let mut pair = Pair::new(Config::engine(2));
    let data = Bytes::from(vec![0x5A; 16 * MIB]);
    pair.transfer(&data);

    let info = measure(|| pair.transfer(&data));

    let most = u64::try_from(4 * MIB).unwrap();
    assert!(info.bytes_total < most, "no second block: {info:?}");
}

#[test]
fn what_is_kept_for_the_next_block_can_be_limited_and_gives_way_to_other_blocks() {
    let data = Bytes::from(vec![0x5A; 4 * MIB]);
    for (pool_octets, import_octets) in [(0, 64 * MIB), (64 * MIB, 7 * MIB)] {
        let mut pair = Pair::new(Config {
            limits: EngineLimits {
                pool_octets,
                import_octets,
                ..EngineLimits::default()
            },
            ..Config::engine(2)
        });

        let info = measure(|| {
            pair.transfer(&data);
            pair.transfer(&data);
        });

        let kept = usize::try_from(info.bytes_current).unwrap();
        assert!(kept < MIB, "{kept} octets are held within {import_octets}");
        assert!(pair.far.memory() < MIB, "{}", pair.far.memory());
    }
}

impl Pair {
    fn new(far: Config) -> Self {
        let now = Instant::ZERO;
        let near = Config {
            limits: EngineLimits {
                closed_sessions: 10,
                ..EngineLimits::default()
            },
            ..Config::engine(1)
        };
        let mut pair = Self {
            near: Engine::new(near, Seed::from(1)).unwrap(),
            far: Engine::new(far, Seed::from(2)).unwrap(),
            tx: Transmit::new(Limits::default()),
            tag: 0,
        };
        pair.near
            .add_peer(now, 2, Peer::at(FAR).with_flow(Flow::Unlimited))
            .unwrap();
        pair.far
            .add_peer(now, 1, Peer::at(NEAR).with_flow(Flow::Unlimited))
            .unwrap();
        pair.far.open(now, CLIENT, Service::Whole).unwrap();
        pair
    }

    fn send(&mut self, data: Bytes) {
        self.tag += 1;
        let block = Block::red(Tag(self.tag), 2, CLIENT, data);
        self.near.send_block(Instant::ZERO, block).unwrap();
    }

    fn deliver(&mut self) {
        for octets in self.tx.datagrams() {
            self.far.receive(Instant::ZERO, NEAR, octets);
        }
    }

    /// As drivers do with what the kernel coalesced.
    fn deliver_batch(&mut self) {
        let size = NonZeroUsize::new(self.tx.segment_size()).unwrap();
        self.far
            .receive_batch(Instant::ZERO, NEAR, self.tx.octets(), size);
    }

    fn transfer(&mut self, data: &Bytes) {
        self.send(data.clone());
        let mut arrived = 0;
        for _ in 0..2 {
            let (near, far, tx) = (&mut self.near, &mut self.far, &mut self.tx);
            exchange(near, far, NEAR, tx, &mut arrived);
            exchange(far, near, FAR, tx, &mut arrived);
        }
        assert_eq!(arrived, data.len());
        assert_eq!(self.near.usage().sessions, (0, 0));
        assert_eq!(self.far.usage().sessions, (0, 0));
    }
}

fn exchange(
    from: &mut Engine<Hop>,
    to: &mut Engine<Hop>,
    hop: Hop,
    tx: &mut Transmit<Hop>,
    arrived: &mut usize,
) {
    loop {
        match from.poll(Instant::ZERO, tx) {
            Output::Transmit => {
                for octets in tx.datagrams() {
                    to.receive(Instant::ZERO, hop, octets);
                }
            }
            Output::Event(Event::Received { data, .. }) => *arrived += data.len(),
            Output::Event(_) | Output::Yield => {}
            Output::Ask(_) | Output::Idle(_) | Output::Done => return,
        }
    }
}
