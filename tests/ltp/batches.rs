//! A batch of datagrams has the effect of its datagrams one by one, and rows of segments carry what single ones do.

use core::num::NonZeroUsize;

use bytes::Bytes;
use farlink::ltp::{Block, Config, Engine, Event, Flow, Peer, Red, Service};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Rng, Seed, Tag, Transmit};

const NEAR: Hop = Hop {
    interface: 0,
    via: 1,
};
const FAR: Hop = Hop {
    interface: 0,
    via: 2,
};
const CLIENT: u64 = 7;

fn engine(id: u64, other: u64, at: Hop, segment: usize) -> Engine<Hop> {
    let mut engine = Engine::new(Config::engine(id), Seed::from(id)).unwrap();
    let peer = Peer {
        segment,
        ..Peer::at(at).with_flow(Flow::Unlimited)
    };
    engine.add_peer(Instant::ZERO, other, peer).unwrap();
    engine.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
    engine
}

fn pattern(len: usize, salt: usize) -> Bytes {
    (0..len).map(|at| ((at * 31 + salt) >> 3) as u8).collect()
}

/// All outputs of an engine until it is idle: events and datagrams.
fn drained(engine: &mut Engine<Hop>, tx: &mut Transmit<Hop>) -> (Vec<Event>, Vec<Vec<u8>>) {
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    loop {
        match engine.poll(Instant::ZERO, tx) {
            Output::Transmit => sent.extend(tx.datagrams().map(Vec::from)),
            Output::Event(event) => events.push(event),
            Output::Yield => {}
            Output::Ask(_) | Output::Idle(_) | Output::Done => return (events, sent),
        }
    }
}

/// Drops, repeats, swaps and damages datagrams of a batch, and keeps their length.
fn spoil(train: &[u8], size: usize, rng: &mut Rng) -> Vec<u8> {
    let mut datagrams: Vec<Vec<u8>> = train.chunks(size).map(Vec::from).collect();
    let last = datagrams.pop();
    for _ in 0..rng.below(3) {
        let many = datagrams.len() as u64;
        if many < 2 {
            break;
        }
        let (one, other) = (rng.below(many) as usize, rng.below(many) as usize);
        match rng.below(4) {
            0 => drop(datagrams.remove(one)),
            1 => {
                let copy = datagrams[other].clone();
                datagrams[one] = copy;
            }
            2 => datagrams.swap(one, other),
            _ => {
                let at = rng.below(20.min(size as u64)) as usize;
                datagrams[one][at] ^= 1 << rng.below(8);
            }
        }
    }
    datagrams.extend(last);
    datagrams.concat()
}

#[test]
fn a_train_does_what_its_datagrams_do_one_by_one() {
    let mut plain = 0;
    for number in 0..300 {
        let mut rng = Seed::from(number).rng();
        let segment = 96 + rng.below(200) as usize;
        let mut sender = engine(1, 2, FAR, segment);
        let mut receivers = [engine(2, 1, NEAR, segment), engine(2, 1, NEAR, segment)];
        for tag in 0..=rng.below(3) {
            let len = rng.below(40_000) as usize;
            let green = rng.below(2) * rng.below(len as u64 + 1);
            let mut block = Block::red(Tag(tag), 2, CLIENT, pattern(len, tag as usize));
            if green > 0 {
                block.red = Red::Octets(len as u64 - green);
            }
            sender.send_block(Instant::ZERO, block).unwrap();
        }
        let mut tx = Transmit::new(Limits::default());
        while let Output::Transmit | Output::Event(_) = sender.poll(Instant::ZERO, &mut tx) {
            let Some(size) = NonZeroUsize::new(tx.segment_size()) else {
                continue;
            };
            let train = spoil(tx.octets(), size.get(), &mut rng);
            let [whole, single] = &mut receivers;
            whole.receive_batch(Instant::ZERO, NEAR, &train, size);
            for datagram in train.chunks(size.get()) {
                single.receive(Instant::ZERO, NEAR, datagram);
            }
            plain += train.len() / size;
        }
        let [whole, single] = &mut receivers;
        assert_eq!(whole.stats(), single.stats(), "seed {number}");
        let outcome = drained(whole, &mut tx);
        assert_eq!(outcome, drained(single, &mut tx), "seed {number}");
    }
    assert!(plain > 10_000, "{plain} datagrams");
}

#[test]
fn an_empty_train_is_an_empty_datagram() {
    let mut engine = engine(2, 1, NEAR, 1400);
    engine.receive_batch(Instant::ZERO, NEAR, &[], NonZeroUsize::MIN);
    assert_eq!(engine.stats().malformed, 1);
}

/// The offset takes one octet more at 128, 16,384 and 2,097,152, so segments carry one octet less.
#[test]
fn rows_carry_the_block_across_all_lengths_of_offsets() {
    for size in [20, 24, 33, 100, 1399, 1400, 9000, 65_000] {
        let len = if size < 1000 { 40_000 } else { 5_000_000 };
        let data = pattern(len, size);
        let mut sender = engine(1, 2, FAR, size.max(96));
        let mut receiver = engine(2, 1, NEAR, 1400);
        let block = Block::red(Tag(1), 2, CLIENT, data.clone());
        sender.send_block(Instant::ZERO, block).unwrap();
        let mut tx = Transmit::new(Limits::new(size, 64, 1 << 16));
        let mut longest = 0;
        while let Output::Transmit = sender.poll(Instant::ZERO, &mut tx) {
            longest = longest.max(tx.segment_size());
            for datagram in tx.datagrams() {
                receiver.receive(Instant::ZERO, NEAR, datagram);
            }
        }
        assert_eq!(longest, size);
        let (events, _) = drained(&mut receiver, &mut tx);
        let arrived = events.iter().find_map(|event| match event {
            Event::Received { data, .. } => Some(data),
            _ => None,
        });
        assert!(arrived == Some(&data), "segments of {size}");
    }
}
