//! LTP nodes on loopback, in tasks.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::ltp::{Error, Kind, Maker, Options, Received};
use farlink::adapters::tokio::ltp::{AccessPoint, Node};
use farlink::ltp::{self, Config, Cue, Peer, Reason, Red, Service, Side};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::loopback::here;
use super::ltp_nodes::{Broken, CLIENT, POISON, block_of, failure, hasty, numbered};

/// How long a test waits for what must come before it fails.
const AT_LAST: Duration = Duration::from_secs(60);
#[tokio::test]
async fn a_block_is_sent_acknowledged_and_received_once() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

    let session = near.send(2, "hello").await.unwrap();

    let received = next(&far).await;
    assert_eq!((received.from, received.client), (1, CLIENT));
    assert_eq!(received.session, session);
    assert_eq!(received.kind, Kind::Whole { ends_block: true });
    assert_eq!(received.data, "hello");
    assert_eq!(far.try_receive().unwrap(), None);
    assert_eq!(earth.stats().engine.exports_complete, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_of_20_megabytes_arrives() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let block = block_of(20_000_000);

    let sending = sending(&near, block.clone());

    assert!(next(&far).await.data == block);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_mixed_block_comes_as_its_red_and_its_green_part() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

    let mut sending = near.start(2, "redgreen", Red::Octets(3)).await.unwrap();
    sending.wait().await.unwrap();

    let red = next(&far).await;
    assert_eq!(red.kind, Kind::Whole { ends_block: false });
    assert_eq!(red.data, "red");
    let green = next(&far).await;
    let (offset, ends_block) = (3, true);
    assert_eq!(green.kind, Kind::Green { offset, ends_block });
    assert_eq!(green.data, "green");
}

#[tokio::test]
async fn a_streaming_access_point_gives_pieces_and_then_the_whole() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    let block = block_of(100_000);

    let sending = sending(&near, block.clone());

    assert_eq!(next(&far).await.kind, Kind::Arriving);
    let mut pieces = Vec::new();
    loop {
        let Received { kind, data, .. } = next(&far).await;
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
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_answer_fails_the_block_with_the_reason_and_gives_it_back() {
    let earth = node(1);
    let silent = UdpSocket::bind(here()).unwrap();
    let gone = UdpSocket::bind(here()).unwrap().local_addr().unwrap();
    earth
        .add_peer(2, hasty(silent.local_addr().unwrap()))
        .unwrap();
    earth.add_peer(3, hasty(gone)).unwrap();
    let near = earth.open(CLIENT).unwrap();

    for peer in [2, 3] {
        let error = near.send(peer, "anybody there?").await.unwrap_err();

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

#[tokio::test]
async fn a_peer_without_the_client_service_cancels_the_block() {
    let (earth, _mars) = pair();
    let near = earth.open(CLIENT).unwrap();

    let error = near.send(2, "hello").await.unwrap_err();

    assert!(error.to_string().starts_with("engine 2 cancelled block 1:"));
    assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));
}

#[tokio::test]
async fn what_the_engine_refuses_is_told_at_once() {
    let earth = node(1);
    let near = earth.open(CLIENT).unwrap();
    let mut closed = Peer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    closed.max_exports = 0;
    earth.add_peer(3, closed).unwrap();

    let refused = |error| match error {
        Error::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let unknown = refused(near.send(2, "hello").await.unwrap_err());
    assert_eq!(unknown, ltp::Error::UnknownPeer(2));
    assert_eq!(
        refused(near.send(3, "").await.unwrap_err()),
        ltp::Error::Empty
    );
    let taken = refused(earth.open(CLIENT).unwrap_err());
    assert_eq!(taken, ltp::Error::Service(CLIENT));
    // There will never be room for it.
    let full = ltp::Error::Full { held: 0, limit: 0 };
    assert_eq!(refused(near.send(3, "hello").await.unwrap_err()), full);
}

#[tokio::test]
async fn a_peer_that_the_socket_cannot_reach_is_refused() {
    let earth = node(1);

    for address in [
        SocketAddr::from((Ipv6Addr::LOCALHOST, 1113)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    ] {
        let error = earth.add_peer(2, Peer::new(address)).unwrap_err();
        assert!(error.to_string().contains("cannot reach"), "{error}");
    }
}

#[tokio::test]
async fn an_interrupted_receive_says_so_and_the_access_point_goes_on() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let receiving = tokio::spawn({
        let far = far.clone();
        async move { far.receive().await }
    });

    // Before it waits or while it does: both are told.
    far.interrupt();

    let outcome = receiving.await.unwrap();
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    assert!(far.is_open());
    near.send(2, "hello").await.unwrap();
    assert_eq!(next(&far).await.data, "hello");
}

#[tokio::test]
async fn an_interruption_loses_nothing_that_was_received() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    near.send(2, "hello").await.unwrap();

    far.interrupt();

    assert_eq!(far.receive().await.unwrap().data, "hello");
    assert_eq!(far.try_receive().unwrap(), None);
    assert!(matches!(far.receive().await, Err(Error::Interrupted)));
}

#[tokio::test]
async fn every_receive_that_waits_is_interrupted_and_no_other() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let (mut one, mut other) = (pin!(far.receive()), pin!(far.receive()));
    assert!(is_pending(&mut one).await && is_pending(&mut other).await);

    far.interrupt();

    assert!(matches!(one.await, Err(Error::Interrupted)));
    assert!(matches!(other.await, Err(Error::Interrupted)));
    near.send(2, "hello").await.unwrap();
    assert_eq!(next(&far).await.data, "hello");
}

#[tokio::test]
async fn a_receive_that_is_dropped_passes_what_it_was_called_for_to_the_next() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let mut other = pin!(far.receive());
    {
        let mut one = pin!(far.receive());
        assert!(is_pending(&mut one).await && is_pending(&mut other).await);
        // The first in the line is called when it comes, and never looks.
        near.send(2, "hello").await.unwrap();
    }

    let received = timeout(AT_LAST, other).await.unwrap();
    assert_eq!(received.unwrap().data, "hello");
}

#[tokio::test]
async fn blocks_that_wait_for_room_leave_in_the_order_in_which_they_came() {
    let (earth, mars) = pair();
    let mut peer = Peer::new(mars.local_addr());
    peer.max_exports = 1;
    earth.change_peer(2, peer).unwrap();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut waiting: Vec<_> = ["first", "second", "third", "fourth"]
        .map(|block| Box::pin(near.send(2, block)))
        .into();
    for send in &mut waiting {
        assert!(is_pending(send).await);
    }

    // One that gives up holds nobody behind it up.
    drop(waiting.remove(1));
    earth.contact(2, Cue::MayTransmit).unwrap();
    let sending = tokio::spawn({
        let near = near.clone();
        async move { near.send(2, "fifth").await.map(drop) }
    });
    for send in waiting {
        send.await.unwrap();
    }
    sending.await.unwrap().unwrap();

    for block in ["first", "third", "fourth", "fifth"] {
        assert_eq!(next(&far).await.data, block);
    }
}

#[test]
fn a_runtime_that_ends_takes_its_nodes_with_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let near = first.block_on(async {
        let earth = node(1);
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        earth.add_peer(2, Peer::new(nobody)).unwrap();
        earth.open(CLIENT).unwrap()
    });
    let mut sending = first.block_on(near.start(2, "hello", Red::All)).unwrap();
    let receiving = second.spawn({
        let near = near.clone();
        async move { near.receive().await }
    });

    drop(first);

    second.block_on(async {
        assert!(matches!(receiving.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(sending.wait().await, Err(Error::Closed)));
        assert!(matches!(near.send(2, "more").await, Err(Error::Closed)));
    });
}

#[tokio::test]
async fn closing_one_access_point_wakes_its_receivers_and_leaves_the_others() {
    let (earth, mars) = pair();
    let (one, other) = (mars.open(1).unwrap(), mars.open(2).unwrap());
    let receiving = tokio::spawn({
        let one = one.clone();
        async move { one.receive().await }
    });

    one.close();

    let outcome = receiving.await.unwrap();
    assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
    assert!(!one.is_open() && other.is_open());
    assert!(matches!(one.receive().await, Err(Error::Closed)));
    assert!(matches!(one.send(1, "hello").await, Err(Error::Closed)));
    let [near_one, near_other] = [1, 2].map(|client| earth.open(client).unwrap());
    near_other.send(2, "hello").await.unwrap();
    assert_eq!(next(&other).await.data, "hello");
    let error = near_one.send(2, "hello").await.unwrap_err();
    assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));

    // The service can be opened again, and the old handle has no part in it.
    let again = mars.open(1).unwrap();
    near_one.send(2, "again").await.unwrap();
    assert!(matches!(one.receive().await, Err(Error::Closed)));
    one.close();
    assert_eq!(next(&again).await.data, "again");
}

#[tokio::test]
async fn dropping_the_last_clone_of_an_access_point_closes_it() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

    let clone = far.clone();
    drop(far);
    near.send(2, "hello").await.unwrap();
    drop(clone);

    let error = near.send(2, "hello").await.unwrap_err();
    assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));
    mars.open(CLIENT).unwrap();
}

#[tokio::test]
async fn a_second_node_on_the_same_socket_is_refused_until_the_first_is_gone() {
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
    // The task of the node sees to that.
    clone.shutdown(AT_LAST).await;
    Node::bind(here, Config::engine(2)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_senders_and_receivers_share_two_nodes() {
    const BLOCKS: u64 = 25;
    let (earth, mars) = pair();
    let shared = mars.open(100).unwrap();
    let mut tasks = Vec::new();
    for sender in 0..16_u64 {
        let near = earth.open(1 + sender).unwrap();
        let far = mars.open(1 + sender).unwrap();
        tasks.push(tokio::spawn(async move {
            for number in 0..BLOCKS {
                near.send(2, numbered(sender, number)).await.unwrap();
            }
        }));
        tasks.push(tokio::spawn(async move {
            // Each was acknowledged before the next was sent.
            for number in 0..BLOCKS {
                assert!(next(&far).await.data == numbered(sender, number));
            }
        }));
    }
    // And as many to one access point, which share what comes.
    let near = earth.open(100).unwrap();
    let receivers: Vec<_> = (0..16)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                let mut blocks = Vec::new();
                for _ in 0..BLOCKS {
                    blocks.push(next(&shared).await.data);
                }
                blocks
            })
        })
        .collect();
    for sender in 0..16 {
        let near = near.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..BLOCKS {
                near.send(2, numbered(sender, number)).await.unwrap();
            }
        }));
    }

    let mut got = BTreeSet::new();
    for receiver in receivers {
        got.extend(receiver.await.unwrap());
    }
    assert_eq!(got.len() as u64, 16 * BLOCKS);
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_send_waits_for_room_in_the_window_and_then_goes_on() {
    let (earth, mars) = pair();
    let mut peer = Peer::new(mars.local_addr());
    peer.max_exports = 1;
    earth.change_peer(2, peer).unwrap();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut first = near.start(2, "first", Red::All).await.unwrap();

    let rest: Vec<_> = (0..8).map(|_| sending(&near, "rest".into())).collect();
    assert!(is_pending(first.wait()).await);
    assert_eq!(earth.stats().exports, 1);
    earth.contact(2, Cue::MayTransmit).unwrap();

    assert_eq!(next(&far).await.data, "first");
    first.wait().await.unwrap();
    for sending in rest {
        sending.await.unwrap().unwrap();
        assert_eq!(next(&far).await.data, "rest");
    }
}

#[tokio::test]
async fn who_waits_for_room_hears_of_the_end_of_the_peer_and_of_the_access_point() {
    let (earth, mars) = pair();
    let mut peer = Peer::new(mars.local_addr());
    peer.max_exports = 1;
    earth.change_peer(2, peer).unwrap();
    let (near, other) = (earth.open(CLIENT).unwrap(), earth.open(5).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut first = near.start(2, "first", Red::All).await.unwrap();
    let (on_near, on_other) = (
        sending(&near, "second".into()),
        sending(&other, "third".into()),
    );

    near.close();
    assert!(matches!(on_near.await.unwrap(), Err(Error::Closed)));
    earth.remove_peer(2).unwrap();

    let refused = on_other.await.unwrap();
    assert!(
        matches!(refused, Err(Error::Refused(ltp::Error::UnknownPeer(2)))),
        "{refused:?}"
    );
    let error = first.wait().await.unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::SYSTEM));
}

#[tokio::test]
async fn a_silent_application_is_held_to_the_limit_and_stalls_nobody_else() {
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
        let mut sending = to_silent.start(2, block.clone(), Red::All).await.unwrap();
        while timeout(GLANCE, sending.wait()).await.is_err() && mars.stats().engine.no_room == 0 {}
        if mars.stats().engine.no_room > 0 {
            break sending;
        }
        accepted += 1;
    };
    refused.cancel();

    let error = refused.wait().await.unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
    assert!((5..20).contains(&accepted), "{accepted}");
    assert!(mars.stats().waiting_octets <= LIMIT);
    for _ in 0..10 {
        to_busy.send(2, block.clone()).await.unwrap();
        assert!(next(&busy).await.data == block);
    }
    // What was accepted is there, and leaves room for more.
    for _ in 0..accepted {
        assert!(next(&silent).await.data == block);
    }
    assert_eq!(mars.stats().waiting_octets, 0);
    to_silent.send(2, block.clone()).await.unwrap();
    assert!(next(&silent).await.data == block);
}

#[tokio::test]
async fn a_block_is_followed_and_cancelled_by_its_handle() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    slow_down(&earth, &mars, 20_000);
    let mut sending = near.start(2, block_of(1_000_000), Red::All).await.unwrap();
    assert_eq!(next(&far).await.kind, Kind::Arriving);

    let progress = sending.progress().unwrap();
    assert!(progress.sent > 0 && progress.sent < 1_000_000);
    assert_eq!((progress.red, progress.len), (1_000_000, 1_000_000));
    sending.cancel();

    let error = sending.wait().await.unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
    assert_eq!(sending.progress(), None);
    assert_eq!(cancellation(&far).await, (Side::Remote, Reason::USER));
    // It is over, so there is nothing to cancel, and the outcome stays.
    sending.cancel();
    let error = sending.wait().await.unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
}

#[tokio::test]
async fn dropping_the_handle_of_a_block_does_not_cancel_it() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();

    drop(near.start(2, "hello", Red::All).await.unwrap());
    earth.contact(2, Cue::MayTransmit).unwrap();

    assert_eq!(next(&far).await.data, "hello");
}

#[tokio::test]
async fn dropping_the_last_handle_of_a_node_cancels_what_is_under_way_and_tells_the_peer() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    slow_down(&earth, &mars, 20_000);
    let sending = near.start(2, block_of(1_000_000), Red::All).await.unwrap();
    assert_eq!(next(&far).await.kind, Kind::Arriving);

    drop((earth, near));
    // The last handle is that of the block.
    assert!(sending.progress().is_some());
    drop(sending);

    assert_eq!(cancellation(&far).await, (Side::Remote, Reason::USER));
}

#[tokio::test]
async fn a_shutdown_lets_blocks_finish_and_begins_none() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    slow_down(&earth, &mars, 500_000);
    let mut sending = near.start(2, block_of(100_000), Red::All).await.unwrap();
    let address = earth.local_addr();

    earth.shutdown(AT_LAST).await;

    sending.wait().await.unwrap();
    assert!(!near.is_open());
    assert!(matches!(near.send(2, "more").await, Err(Error::Closed)));
    assert!(matches!(near.receive().await, Err(Error::Closed)));
    assert!(matches!(earth.open(5), Err(Error::Closed)));
    assert_eq!(earth.stats().engine.exports_complete, 1);
    // The socket is free, though handles are left.
    Node::bind(address, Config::engine(1)).unwrap();
    // What was received before can be taken afterwards.
    mars.shutdown(AT_LAST).await;
    assert_eq!(far.receive().await.unwrap().data.len(), 100_000);
    assert!(matches!(far.receive().await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_shutdown_cancels_what_takes_too_long() {
    let (earth, mars) = pair();
    let near = earth.open(CLIENT).unwrap();
    let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
    slow_down(&earth, &mars, 20_000);
    let mut sending = near.start(2, block_of(1_000_000), Red::All).await.unwrap();
    assert_eq!(next(&far).await.kind, Kind::Arriving);
    let receiving = tokio::spawn({
        let near = near.clone();
        async move { near.receive().await }
    });

    earth.shutdown(Duration::ZERO).await;

    let error = sending.wait().await.unwrap_err();
    assert_eq!(failure(error), (Side::Local, Reason::USER));
    assert!(matches!(receiving.await.unwrap(), Err(Error::Closed)));
    assert_eq!(cancellation(&far).await, (Side::Remote, Reason::USER));
}

#[tokio::test]
async fn a_machine_that_panics_ends_its_node_and_nobody_waits_for_it() {
    let mut options = Options::from(Config::engine(1));
    options.maker = Maker::new(|config, seed, _| Ok(Box::new(Broken::new(config, seed)?)));
    let node = Node::bind(here(), options).unwrap();
    node.add_peer(2, Peer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))))
        .unwrap();
    let near = node.open(CLIENT).unwrap();
    let receiving = tokio::spawn({
        let near = near.clone();
        async move { near.receive().await }
    });
    let mut sending = near.start(2, "hello", Red::All).await.unwrap();

    let poison = UdpSocket::bind(here()).unwrap();
    poison.send_to(POISON, node.local_addr()).unwrap();

    assert!(matches!(receiving.await.unwrap(), Err(Error::Closed)));
    assert!(matches!(sending.wait().await, Err(Error::Closed)));
    assert!(matches!(near.send(2, "hello").await, Err(Error::Closed)));
    node.shutdown(AT_LAST).await;
}

/// Tells whether a future has nothing to give yet, having begun to wait.
async fn is_pending(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
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

async fn next(point: &AccessPoint) -> Received {
    let received = timeout(AT_LAST, point.receive()).await;
    received.unwrap().unwrap()
}

fn sending(near: &AccessPoint, block: Bytes) -> JoinHandle<Result<(), Error>> {
    let near = near.clone();
    tokio::spawn(async move { near.send(2, block).await.map(drop) })
}

/// Waits behind the pieces for the end of a reception.
async fn cancellation(far: &AccessPoint) -> (Side, Reason) {
    loop {
        match next(far).await.kind {
            Kind::Piece { .. } => {}
            Kind::Cancelled { by, reason, .. } => return (by, reason),
            other => panic!("{other:?}"),
        }
    }
}
