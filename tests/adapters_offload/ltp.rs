//! LTP over these sockets: a window keeps the receiver's buffer from overflowing.

use std::num::NonZeroU64;
use std::time::Duration;

use farlink::adapters::blocking::udp::{Driver, Options, Turn};
use farlink::adapters::offload;
use farlink::ltp::{Block, Command, Config, Engine, Event, Peer, Service};
use farlink::{Limits, Path, Seed, Tag};

use super::bound;

const CLIENT: u64 = 4;
const MIB: usize = 1 << 20;

#[test]
fn a_block_beyond_the_buffer_of_the_receiver_is_sent_once() {
    for (segment, len) in [(1400, 16 * MIB), (65_000, 32 * MIB)] {
        let resent = transfer(segment, len, 1);

        assert!(resent * 1000 < len as u64, "{resent} octets sent twice");
    }
}

#[test]
#[ignore = "moves 1 GiB, which takes a minute without optimization"]
fn a_gibibyte_is_sent_once() {
    let resent = transfer(8972, 64 * MIB, 16);

    assert!(resent < (1 << 30) / 1000, "{resent} octets sent twice");
}

/// Sends blocks of `len` octets, and returns how many octets were sent twice.
fn transfer(segment: usize, len: usize, count: u64) -> u64 {
    let options = Options {
        limits: Limits::new(segment, 64, 65_507),
        socket: offload::Options {
            receive_buffer: MIB,
            ..offload::Options::default()
        },
        ..Options::default()
    };
    let (mut near, mut far) = (driver(1, &options), driver(2, &options));
    let window = NonZeroU64::new(far.buffers().receive as u64 / 2);
    let peer = |from: &Driver<_>, to: &Driver<_>| {
        let path = Path::udp(from.local_addr(), to.local_addr());
        let peer = Peer {
            segment,
            window,
            // Other tests run meanwhile.
            remote_delay: Duration::from_secs(60),
            ..Peer::new(path)
        };
        Box::new(peer)
    };
    let (to_far, to_near) = (peer(&near, &far), peer(&far, &near));
    near.command(Command::AddPeer(2, to_far)).unwrap();
    far.command(Command::AddPeer(1, to_near)).unwrap();
    far.command(Command::Open(CLIENT, Service::Whole)).unwrap();

    let data: Vec<u8> = (0..=250).cycle().take(len).collect();
    for tag in 0..count {
        let block = Block::red(Tag(tag), 2, CLIENT, data.clone().into());
        near.command(Command::Send(block)).unwrap();
        assert!(exchange(&mut near, &mut far) == data, "as it was sent");
    }
    near.machine().stats().octets_resent
}

/// Lets both take turns until the block is acknowledged, and returns what was received.
fn exchange(near: &mut Driver<Engine<Path>>, far: &mut Driver<Engine<Path>>) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        match near.turn(Duration::ZERO).unwrap() {
            Turn::Event(Event::Complete { .. }) => return received,
            Turn::Event(Event::Failed { reason, .. }) => panic!("given up: {reason}"),
            Turn::Event(_) | Turn::Quiet | Turn::Done => {}
        }
        if let Turn::Event(Event::Received { data, .. }) = far.turn(Duration::ZERO).unwrap() {
            received = data.to_vec();
        }
    }
}

fn driver(engine: u64, options: &Options) -> Driver<Engine<Path>> {
    let engine = Engine::new(Config::engine(engine), Seed::from(engine)).unwrap();
    Driver::new(engine, bound(), options).unwrap()
}
