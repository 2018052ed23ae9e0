//! LTP nodes on loopback, in threads.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::blocking::ltp::{AccessPoint, Node};
use farlink::adapters::ltp::{Error, Kind, Maker, Options, Received};
use farlink::ltp::{self, Config, Cue, Peer, Reason, Red, Service, Side};

use super::AT_LAST;
use super::loopback::here;
use super::ltp_nodes::{Broken, CLIENT, POISON, block_of, failure, hasty, numbered};

#[test]
fn a_block_is_sent_acknowledged_and_received_once() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

    let session = near.send(2, "hello").unwrap();

    let received = next(&far);
    assert_eq!((received.from, received.client), (1, CLIENT));
    assert_eq!(received.session, session);
    assert_eq!(received.kind, Kind::Whole { ends_block: true });
    assert_eq!(received.data, "hello");
    assert_eq!(far.receive_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(far.try_receive().unwrap(), None);
    assert_eq!(earth.stats().engine.exports_complete, 1);
}

#[test]
fn a_block_of_20_megabytes_arrives() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let block = block_of(20_000_000);

    let sending = sending(&near, block.clone());

    assert!(next(&far).data == block);
    sending.join().unwrap().unwrap();
}

#[test]
fn a_mixed_block_comes_as_its_red_and_its_green_part() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

    let mut sending = near.start(2, "redgreen", Red::Octets(3)).unwrap();
    sending.wait().unwrap();

    let red = next(&far);
    assert_eq!(red.kind, Kind::Whole { ends_block: false });
    assert_eq!(red.data, "red");
    let green = next(&far);
    let (offset, ends_block) = (3, true);
    assert_eq!(green.kind, Kind::Green { offset, ends_block });
    assert_eq!(green.data, "green");
}

#[test]
fn a_streaming_access_point_gives_pieces_and_then_the_whole() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    let block = block_of(100_000);

    let sending = sending(&near, block.clone());

    assert_eq!(next(&far).kind, Kind::Arriving);
    let mut pieces = Vec::new();
    loop {
        let Received { kind, data, .. } = next(&far);
        match kind {
            Kind::Piece { offset } => {
                assert_eq!(offset, pieces.len() as u64);
                pieces.extend_from_slice(&data);
            }
            Kind::Whole { ends_block: true } => {
                assert!(pieces == block && data == block);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn a_peer_that_does_not_answer_fails_the_block_with_the_reason_and_gives_it_back() {
    let earth = node(1);
    let silent = UdpSocket::bind(here()).unwrap();
    let gone = UdpSocket::bind(here()).unwrap().local_addr().unwrap();
    earth
        .add_peer(2, hasty(silent.local_addr().unwrap()))
        .unwrap();
    earth.add_peer(3, hasty(gone)).unwrap();
    let near = earth.open(CLIENT).unwrap();

    for peer in [2, 3] {
        let error = near.send(peer, "anybody there?").unwrap_err();

        let message = error.to_string();
        assert!(message.starts_with(&format!("engine {peer} does not answer")));
        let Error::Failed {
            peer: told,
            by,
            reason,
            data,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((told, by), (peer, Side::Local));
        assert_eq!(reason, Reason::RETRANSMISSION_LIMIT);
        assert_eq!(data, "anybody there?");
    }
}

#[test]
fn a_peer_without_the_client_service_cancels_the_block() {
    let (earth, _mars) = pair();
    let near = earth.open(CLIENT).unwrap();

    let error = near.send(2, "hello").unwrap_err();

    assert!(error.to_string().starts_with("engine 2 cancelled block 1:"));
    assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));
}

#[test]
fn what_the_engine_refuses_is_told_at_once() {
    let earth = node(1);
    let near = earth.open(CLIENT).unwrap();
    let mut closed = Peer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    closed.max_exports = 0;
    earth.add_peer(3, closed).unwrap();

    let refused = |error| match error {
        Error::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let unknown = refused(near.send(2, "hello").unwrap_err());
    assert_eq!(unknown, ltp::Error::UnknownPeer(2));
    assert_eq!(refused(near.send(3, "").unwrap_err()), ltp::Error::Empty);
    let taken = refused(earth.open(CLIENT).unwrap_err());
    assert_eq!(taken, ltp::Error::Service(CLIENT));
    // There will never be room for it.
    let full = ltp::Error::Full { held: 0, limit: 0 };
    assert_eq!(refused(near.send(3, "hello").unwrap_err()), full);
}

#[test]
fn a_peer_that_the_socket_cannot_reach_is_refused() {
    let earth = node(1);

    for address in [
        SocketAddr::from((Ipv6Addr::LOCALHOST, 1113)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    ] {
        let error = earth.add_peer(2, Peer::new(address)).unwrap_err();
        assert!(error.to_string().contains("cannot reach"), "{error}");
    }
}

#[test]
fn an_interrupted_receive_says_so_and_the_access_point_goes_on() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let receiving = thread::spawn({
        let far = far.clone();
        move || far.receive()
    });

    // Before it waits or while it does: both are told.
    far.interrupt();

    let outcome = receiving.join().unwrap();
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    assert!(far.is_open());
    near.send(2, "hello").unwrap();
    assert_eq!(next(&far).data, "hello");
}

#[test]
fn an_interruption_loses_nothing_that_was_received() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    near.send(2, "hello").unwrap();

    far.interrupt();

    assert_eq!(far.receive().unwrap().data, "hello");
    assert!(matches!(far.receive(), Err(Error::Interrupted)));
}

#[test]
fn closing_one_access_point_wakes_its_receivers_and_leaves_the_others() {
    let (earth, mars) = pair();
    let (one, other) = (mars.open(1).unwrap(), mars.open(2).unwrap());
    let receiving = thread::spawn({
        let one = one.clone();
        move || one.receive()
    });

    one.close();

    let outcome = receiving.join().unwrap();
    assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
    assert!(!one.is_open() && other.is_open());
    assert!(matches!(one.receive(), Err(Error::Closed)));
    assert!(matches!(one.send(1, "hello"), Err(Error::Closed)));
    let [near_one, near_other] = [1, 2].map(|client| earth.open(client).unwrap());
    near_other.send(2, "hello").unwrap();
    assert_eq!(next(&other).data, "hello");
    let error = near_one.send(2, "hello").unwrap_err();
    assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));

    // The service can be opened again, and the old handle has no part in it.
    let again = mars.open(1).unwrap();
    near_one.send(2, "again").unwrap();
    assert!(matches!(one.receive(), Err(Error::Closed)));
    one.close();
    assert_eq!(next(&again).data, "again");
}

#[test]
fn dropping_the_last_clone_of_an_access_point_closes_it() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

    let clone = far.clone();
    drop(far);
    near.send(2, "hello").unwrap();
    drop(clone);

    let error = near.send(2, "hello").unwrap_err();
    assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));
    mars.open(CLIENT).unwrap();
}

#[test]
fn a_second_node_on_the_same_socket_is_refused_until_the_first_is_gone() {
    let earth = node(1);
    let here = earth.local_addr();

    let Err(Error::Io(error)) = Node::bind(here, Config::engine(2)) else {
        panic!("two nodes on one socket");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&here.to_string()), "{error}");

    let clone = earth.clone();
    drop(earth);
    assert!(Node::bind(here, Config::engine(2)).is_err());
    drop(clone);
    Node::bind(here, Config::engine(2)).unwrap();
}

#[test]
fn sixteen_senders_and_receivers_share_two_nodes() {
    const BLOCKS: u64 = 25;
    let (earth, mars) = pair();
    let shared = mars.open(100).unwrap();
    let mut threads = Vec::new();
    for sender in 0..16_u64 {
        let near = earth.open(1 + sender).unwrap();
        let far = mars.open(1 + sender).unwrap();
        threads.push(thread::spawn(move || {
            for number in 0..BLOCKS {
                near.send(2, numbered(sender, number)).unwrap();
            }
        }));
        threads.push(thread::spawn(move || {
            // Each was acknowledged before the next was sent.
            for number in 0..BLOCKS {
                assert!(next(&far).data == numbered(sender, number));
            }
        }));
    }
    // And as many to one access point, which share what comes.
    let near = earth.open(100).unwrap();
    let receivers: Vec<_> = (0..16)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                let blocks = (0..BLOCKS).map(|_| next(&shared).data);
                blocks.collect::<Vec<_>>()
            })
        })
        .collect();
    for sender in 0..16 {
        let near = near.clone();
        threads.push(thread::spawn(move || {
            for number in 0..BLOCKS {
                near.send(2, numbered(sender, number)).unwrap();
            }
        }));
    }

    let got = receivers
        .into_iter()
        .flat_map(|receiver| receiver.join().unwrap());
    let got: BTreeSet<Bytes> = got.collect();
    assert_eq!(got.len() as u64, 16 * BLOCKS);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_send_waits_for_room_in_the_window_and_then_goes_on() {
    let (earth, mars) = pair();
    let mut peer = Peer::new(mars.local_addr());
    peer.max_exports = 1;
    earth.change_peer(2, peer).unwrap();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut first = near.start(2, "first", Red::All).unwrap();

    let rest: Vec<_> = (0..8).map(|_| sending(&near, "rest".into())).collect();
    assert_eq!(first.wait_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(earth.stats().exports, 1);
    earth.contact(2, Cue::MayTransmit).unwrap();

    assert_eq!(next(&far).data, "first");
    first.wait().unwrap();
    for sending in rest {
        sending.join().unwrap().unwrap();
        assert_eq!(next(&far).data, "rest");
    }
}

#[test]
fn who_waits_for_room_hears_of_the_end_of_the_peer_and_of_the_access_point() {
    let (earth, mars) = pair();
    let mut peer = Peer::new(mars.local_addr());
    peer.max_exports = 1;
    earth.change_peer(2, peer).unwrap();
    let (near, other) = (earth.open(CLIENT).unwrap(), earth.open(5).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut first = near.start(2, "first", Red::All).unwrap();
    let (on_near, on_other) = (
        sending(&near, "second".into()),
        sending(&other, "third".into()),
    );

    near.close();
    assert!(matches!(on_near.join().unwrap(), Err(Error::Closed)));
    earth.remove_peer(2).unwrap();

    let refused = on_other.join().unwrap();
    assert!(
        matches!(refused, Err(Error::Refused(ltp::Error::UnknownPeer(2)))),
        "{refused:?}"
    );
    let error = first.wait().unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::SYSTEM));
}

#[test]
fn a_silent_application_is_held_to_the_limit_and_stalls_nobody_else() {
    const LIMIT: usize = 200_000;
    const GLANCE: Duration = Duration::from_millis(10);
    let mut config = Config::engine(2);
    config.import_octets = LIMIT;
    let earth = node(1);
    let mars = Node::bind(here(), config).unwrap();
    earth.add_peer(2, Peer::new(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::new(earth.local_addr())).unwrap();
    let (silent, busy) = (mars.open(1).unwrap(), mars.open(2).unwrap());
    let (to_silent, to_busy) = (earth.open(1).unwrap(), earth.open(2).unwrap());
    let block = block_of(10_000);

    // Nobody takes these: they are accepted up to the limit, and then refused until they are given up.
    let mut accepted = 0;
    let mut refused = loop {
        let mut sending = to_silent.start(2, block.clone(), Red::All).unwrap();
        while sending.wait_timeout(GLANCE).unwrap().is_none() && mars.stats().engine.no_room == 0 {}
        if mars.stats().engine.no_room > 0 {
            break sending;
        }
        accepted += 1;
    };
    refused.cancel();

    let error = refused.wait().unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
    assert!((5..20).contains(&accepted), "{accepted}");
    assert!(mars.stats().waiting_octets <= LIMIT);
    for _ in 0..10 {
        to_busy.send(2, block.clone()).unwrap();
        assert!(next(&busy).data == block);
    }
    // What was accepted is there, and leaves room for more.
    for _ in 0..accepted {
        assert!(next(&silent).data == block);
    }
    assert_eq!(mars.stats().waiting_octets, 0);
    to_silent.send(2, block.clone()).unwrap();
    assert!(next(&silent).data == block);
}

#[test]
fn a_block_is_followed_and_cancelled_by_its_handle() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    slow_down(&earth, &mars, 20_000);
    let mut sending = near.start(2, block_of(1_000_000), Red::All).unwrap();
    assert_eq!(next(&far).kind, Kind::Arriving);

    let progress = sending.progress().unwrap();
    assert!(progress.sent > 0 && progress.sent < 1_000_000);
    assert_eq!((progress.red, progress.len), (1_000_000, 1_000_000));
    sending.cancel();

    let error = sending.wait().unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
    assert_eq!(sending.progress(), None);
    assert_eq!(cancellation(&far), (Side::Remote, Reason::USER));
    // It is over, so there is nothing to cancel, and the outcome stays.
    sending.cancel();
    let error = sending.wait().unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
}

#[test]
fn dropping_the_handle_of_a_block_does_not_cancel_it() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();

    drop(near.start(2, "hello", Red::All).unwrap());
    earth.contact(2, Cue::MayTransmit).unwrap();

    assert_eq!(next(&far).data, "hello");
}

#[test]
fn dropping_the_last_handle_of_a_node_cancels_what_is_under_way_and_tells_the_peer() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    slow_down(&earth, &mars, 20_000);
    let sending = near.start(2, block_of(1_000_000), Red::All).unwrap();
    assert_eq!(next(&far).kind, Kind::Arriving);

    drop((earth, near));
    // The last handle is that of the block.
    assert!(sending.progress().is_some());
    drop(sending);

    assert_eq!(cancellation(&far), (Side::Remote, Reason::USER));
}

#[test]
fn a_shutdown_lets_blocks_finish_and_begins_none() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    slow_down(&earth, &mars, 500_000);
    let mut sending = near.start(2, block_of(100_000), Red::All).unwrap();
    let address = earth.local_addr();

    earth.shutdown(AT_LAST);

    sending.wait().unwrap();
    assert!(!near.is_open());
    assert!(matches!(near.send(2, "more"), Err(Error::Closed)));
    assert!(matches!(near.receive(), Err(Error::Closed)));
    assert!(matches!(earth.open(5), Err(Error::Closed)));
    assert_eq!(earth.stats().engine.exports_complete, 1);
    // The socket is free, though handles are left.
    Node::bind(address, Config::engine(1)).unwrap();
    // What was received before can be taken afterwards.
    mars.shutdown(AT_LAST);
    let received = far.try_receive().unwrap().unwrap();
    assert_eq!(received.data.len(), 100_000);
    assert!(matches!(far.try_receive(), Err(Error::Closed)));
    assert!(matches!(far.receive(), Err(Error::Closed)));
}

#[test]
fn a_shutdown_cancels_what_takes_too_long() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    slow_down(&earth, &mars, 20_000);
    let mut sending = near.start(2, block_of(1_000_000), Red::All).unwrap();
    assert_eq!(next(&far).kind, Kind::Arriving);
    let receiving = thread::spawn({
        let near = near.clone();
        move || near.receive()
    });

    earth.shutdown(Duration::ZERO);

    let error = sending.wait().unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
    assert!(matches!(receiving.join().unwrap(), Err(Error::Closed)));
    assert_eq!(cancellation(&far), (Side::Remote, Reason::USER));
}

#[test]
fn a_machine_that_panics_ends_its_node_and_nobody_waits_for_it() {
    let mut options = Options::from(Config::engine(1));
    options.maker = Maker::new(|config, seed, _| Ok(Box::new(Broken::new(config, seed)?)));
    let node = Node::bind(here(), options).unwrap();
    node.add_peer(2, Peer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))))
        .unwrap();
    let near = node.open(CLIENT).unwrap();
    let receiving = thread::spawn({
        let near = near.clone();
        move || near.receive()
    });
    let mut sending = near.start(2, "hello", Red::All).unwrap();

    let poison = UdpSocket::bind(here()).unwrap();
    poison.send_to(POISON, node.local_addr()).unwrap();

    assert!(matches!(receiving.join().unwrap(), Err(Error::Closed)));
    assert!(matches!(sending.wait(), Err(Error::Closed)));
    assert!(matches!(near.send(2, "hello"), Err(Error::Closed)));
    node.shutdown(AT_LAST);
}

pub(crate) fn node(engine: u64) -> Node {
    Node::bind(here(), Config::engine(engine)).unwrap()
}

/// Two nodes that know each other.
pub(crate) fn pair() -> (Node, Node) {
    let (one, two) = (node(1), node(2));
    one.add_peer(2, Peer::new(two.local_addr())).unwrap();
    two.add_peer(1, Peer::new(one.local_addr())).unwrap();
    (one, two)
}

/// Makes `from` send so many octets a second to `to`.
fn slow_down(from: &Node, to: &Node, rate: u64) {
    let mut peer = Peer::new(to.local_addr());
    peer.rate = NonZeroU64::new(rate);
    peer.burst = 10_000;
    from.change_peer(2, peer).unwrap();
}

fn next(point: &AccessPoint) -> Received {
    let received = point.receive_timeout(AT_LAST).unwrap();
    received.expect("nothing came")
}

fn sending(near: &AccessPoint, block: Bytes) -> thread::JoinHandle<Result<(), Error>> {
    let near = near.clone();
    thread::spawn(move || near.send(2, block).map(drop))
}

/// Waits behind the pieces for the end of a reception.
fn cancellation(far: &AccessPoint) -> (Side, Reason) {
    loop {
        match next(far).kind {
            Kind::Piece { .. } => {}
            Kind::Cancelled { by, reason, .. } => return (by, reason),
            other => panic!("{other:?}"),
        }
    }
}
