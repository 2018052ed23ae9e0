//! Work is bounded by what came and by the logarithm of what is held. It is counted in octets allocated, timers and
//! outputs: whatever is rebuilt shows there.

use allocation_counter::measure;
use farlink::ltp::{Block, Config, Cue, EngineLimits, Flow, Peer};
use farlink::{Cause, Limits, Link, Machine as _, Output, Path, Tag, Transmit};

use crate::ltp_alone::{Alone, datagram, secs};
use crate::site::{Beside, CLIENT, node, node_with, port, stranger};

/// A node that remembers this many closed sessions of engine 7.
fn with_closed(count: u64) -> Alone<Path> {
    let mut node = node_with(Config {
        limits: EngineLimits {
            closed_sessions: 1 << 20,
            ..EngineLimits::default()
        },
        ..Config::engine(2)
    });
    let known = Peer::at(stranger(7));
    node.engine.add_peer(node.now, 7, known).unwrap();
    for number in 1..=count {
        let text = format!("0c 07 @{number} 00 00");
        let opened = datagram(&format!("00 07 @{number} 00 04 00 01 78"));
        node.receive(stranger(7), &opened);
        node.hear(stranger(7), &text);
    }
    node.sent.clear();
    assert_eq!(node.engine.usage().sessions, (0, 0));
    node
}

/// Octets that are allocated to remove a peer and to add it again.
fn cost_of_a_change(closed: u64) -> u64 {
    let mut node = with_closed(closed);
    let peer = || Peer::at(stranger(8));
    // What grows once has grown.
    for _ in 0..4 {
        node.engine.add_peer(node.now, 8, peer()).unwrap();
        node.engine.remove_peer(node.now, 8).unwrap();
    }
    let info = measure(|| {
        for _ in 0..16 {
            node.engine.add_peer(node.now, 8, peer()).unwrap();
            node.engine.remove_peer(node.now, 8).unwrap();
        }
    });
    info.bytes_total / 16
}

#[test]
fn a_peer_is_removed_at_a_cost_that_closed_sessions_do_not_raise() {
    let [few, many] = [1000, 100_000].map(cost_of_a_change);

    assert!(
        many <= 2 * few + 1024,
        "{few} octets with 1000 closed, {many} with 100,000"
    );
}

/// One address under ever new engine IDs, as fast as it likes.
#[test]
fn engine_ids_that_change_with_each_datagram_keep_nobody_else_out() {
    let mut node = node();
    let mut beside = Beside::new(&mut node);
    node.kept = Some(stranger(0));
    for part in 0..10 {
        let info = measure(|| {
            for at in 0..20_000 {
                let text = format!("00 @{} 05 00 04 00 01 78", 1000 + 20_000 * part + at);
                node.hear(port(2000), &text);
            }
        });
        assert!(info.bytes_total / 20_000 < 4096, "{info:?}");
        beside.assert_served(&mut node);
    }
}

/// Sessions whose timers are due at once are looked at a few at a time, and the driver is served between.
#[test]
fn a_poll_yields_when_many_timers_are_due() {
    let mut node = node();
    let known = Peer::at(stranger(7)).with_flow(Flow::Unlimited);
    node.engine.add_peer(node.now, 7, known).unwrap();
    for number in 1..=10_000 {
        let whole = datagram(&format!("03 07 @{number} 00 04 00 01 05 00 78"));
        node.receive(stranger(7), &whole);
    }
    let mut tx = Transmit::new(Limits::default());
    let later = node.now + secs(3);
    let mut yields = 0;
    loop {
        match node.engine.poll(later, &mut tx) {
            Output::Yield => yields += 1,
            Output::Idle(_) => break,
            _ => {}
        }
    }

    assert!(
        yields >= 10_000 / 256 - 1,
        "{yields} yields for 10,000 timers"
    );
}

/// Counts the polls that yield until nothing is left to do.
fn yields(node: &mut Alone<Path>) -> usize {
    let mut tx = Transmit::new(Limits::default());
    let mut yields = 0;
    loop {
        match node.engine.poll(node.now, &mut tx) {
            Output::Yield => yields += 1,
            Output::Idle(_) => return yields,
            _ => {}
        }
    }
}

/// Commands may leave more than one poll is to look at: peers that wait to send, and are gone.
#[test]
fn a_poll_yields_when_many_peers_that_were_to_send_are_removed() {
    let mut node = node();
    let count = 5000;
    for id in 1000..1000 + count {
        let peer = Peer::at(stranger(9));
        node.engine.add_peer(node.now, id, peer).unwrap();
        let block = Block::red(Tag(id), id, 4, vec![1; 10].into());
        node.engine.send_block(node.now, block).unwrap();
    }
    for id in 1000..1000 + count {
        node.engine.remove_peer(node.now, id).unwrap();
    }

    let yields = yields(&mut node);

    assert!(yields as u64 >= count / 256 - 1, "{yields} yields");
}

/// Segments may do so, too: reports of sessions that are cancelled before they are written.
#[test]
fn a_poll_yields_when_many_reports_are_of_sessions_that_are_cancelled() {
    let mut node = node();
    let known = Peer::at(stranger(7)).with_flow(Flow::Unlimited);
    node.engine.add_peer(node.now, 7, known).unwrap();
    let count = 4000;
    for number in 1..=count {
        let open = datagram(&format!("01 07 @{number} 00 04 00 01 05 00 78"));
        node.engine.receive(node.now, stranger(7), &open);
    }
    let cue = Cue::MustStop;
    node.engine.contact(node.now, 7, cue).unwrap();
    node.engine.close(node.now, CLIENT).unwrap();
    node.drain();
    node.engine.contact(node.now, 7, Cue::MayTransmit).unwrap();

    let yields = yields(&mut node);

    assert!(yields as u64 >= count / 256 - 1, "{yields} yields");
}

/// A link that is back lets all timers of its peers go on at once.
#[test]
fn a_poll_yields_when_a_link_is_back_on_which_many_timers_stood_still() {
    let mut node = node();
    let known = Peer::at(stranger(7)).with_flow(Flow::Unlimited);
    node.engine.add_peer(node.now, 7, known).unwrap();
    for number in 1..=10_000 {
        let whole = datagram(&format!("03 07 @{number} 00 04 00 01 05 00 78"));
        node.receive(stranger(7), &whole);
    }
    let down = Link::Down(Cause::Closed);
    node.engine.link(node.now, stranger(7), down);
    node.run_for(secs(100));
    node.engine.link(node.now, stranger(7), Link::Up);
    node.now += secs(3);

    let yields = yields(&mut node);

    assert!(yields >= 10_000 / 256 - 1, "{yields} yields");
}

/// Ranges that come backwards are kept at a cost that does not depend on how many there are.
#[test]
fn ranges_that_come_backwards_allocate_no_more_each_however_many_there_are() {
    let cost = |count: u64| {
        let mut node = node();
        let known = Peer::at(stranger(7));
        node.engine.add_peer(node.now, 7, known).unwrap();
        let datagrams: Vec<Vec<u8>> = (0..count)
            .rev()
            .map(|at| datagram(&format!("00 07 64 00 04 @{} 01 78", 2 * at)))
            .collect();
        let info = measure(|| {
            for octets in &datagrams {
                node.receive(stranger(7), octets);
            }
        });
        info.bytes_total / count
    };

    let [few, many] = [2000, 100_000].map(cost);

    assert!(
        many <= 2 * few + 64,
        "{few} octets each of 2000, {many} of 100,000"
    );
    assert!(many <= 128, "{many} octets for each");
}
