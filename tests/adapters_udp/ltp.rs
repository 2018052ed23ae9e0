//! LTP over these sockets: a window keeps the receiver's buffer from overflowing.

use std::time::Duration;

use farlink::adapters::udp::UdpOptions;
use farlink::ltp::{Block, Command, Event, Flow, Peer, PeerTimers, Service};
use farlink::{Limits, Path, Tag};

use crate::engine_loop::EngineLoop;

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
    let limits = Limits::new(segment, 64, 65_507);
    let options = UdpOptions {
        receive_buffer: MIB,
        ..UdpOptions::default()
    };
    let mut near = EngineLoop::new(1, limits, &options);
    let mut far = EngineLoop::new(2, limits, &options);
    let window = far.receive_buffer() as u64 / 2;
    let peer = |from: &EngineLoop, to: &EngineLoop| {
        let path = Path::udp(from.local_addr(), to.local_addr());
        let peer = Peer {
            segment,
            flow: Flow::window(window),
            timers: PeerTimers {
                // Other tests run meanwhile.
                remote_delay: Duration::from_secs(60),
                ..PeerTimers::default()
            },
            ..Peer::at(path)
        };
        Box::new(peer)
    };
    let (to_far, to_near) = (peer(&near, &far), peer(&far, &near));
    near.command(Command::AddPeer(2, to_far));
    far.command(Command::AddPeer(1, to_near));
    far.command(Command::Open(CLIENT, Service::Whole));

    let data: Vec<u8> = (0..=250).cycle().take(len).collect();
    for tag in 0..count {
        let block = Block::red(Tag(tag), 2, CLIENT, data.clone().into());
        near.command(Command::Send(block));
        assert!(exchange(&mut near, &mut far) == data, "as it was sent");
    }
    near.engine().stats().octets_resent
}

/// Lets both take turns until the block is acknowledged, and returns what was received.
fn exchange(near: &mut EngineLoop, far: &mut EngineLoop) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        match near.turn() {
            Some(Event::Complete { .. }) => return received,
            Some(Event::Failed { reason, .. }) => panic!("given up: {reason}"),
            _ => {}
        }
        if let Some(Event::Received { data, .. }) = far.turn() {
            received = data.to_vec();
        }
    }
}
