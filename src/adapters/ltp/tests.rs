//! What cannot be seen from outside, where time and sockets are real.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::task::{Poll, Waker};
use core::time::Duration;

use bytes::Bytes;

use super::Error;
use super::station::Station;
use crate::ltp::{Block, Command, Config, Engine, Event, Peer, Reason, Red, Service, Side};
use crate::{Instant, Limits, Output, Path, Seed, Tag, Transmit};

const CLIENT: u64 = 4;
const MEGABYTE: usize = 1 << 20;

#[test]
fn a_node_that_ends_does_not_send_its_backlog_first() {
    let mut node = station();
    let point = (CLIENT, node.open(now(), CLIENT, Service::Whole).unwrap());
    let tag = start(&mut node, point, MEGABYTE);
    let mut tx = Transmit::new(Limits::default());
    assert_eq!(node.poll(now(), &mut tx), Output::Transmit);

    node.close(now(), Duration::ZERO);

    // The cancellation, and nothing else.
    assert_eq!(node.poll(now(), &mut tx), Output::Transmit);
    assert_eq!(tx.datagrams().len(), 1);
    assert_eq!(node.poll(now(), &mut tx), Output::Done);
    let Poll::Ready(Err(Error::Failed { by, reason, .. })) = node.poll_outcome(tag, Waker::noop())
    else {
        panic!("the block goes on");
    };
    assert_eq!((by, reason), (Side::Local, Reason::USER));
}

#[test]
fn a_node_that_is_given_time_sends_its_backlog_until_then() {
    let mut node = station();
    let point = (CLIENT, node.open(now(), CLIENT, Service::Whole).unwrap());
    start(&mut node, point, MEGABYTE);
    let mut tx = Transmit::new(Limits::default());

    node.close(now(), Duration::from_secs(1));

    while node.poll(now(), &mut tx) == Output::Transmit {}
    assert_eq!(node.stats().exports, 1);
    let end = now() + Duration::from_secs(1);
    assert_eq!(node.poll(now(), &mut tx), Output::Idle(Some(end)));
    // The cancellation.
    assert_eq!(node.poll(end, &mut tx), Output::Transmit);
    assert_eq!(node.poll(end, &mut tx), Output::Done);
}

#[test]
fn an_end_that_cannot_be_told_is_not_waited_for() {
    let mut node = station();
    let mut peer = Peer::new(far());
    peer.rate = core::num::NonZeroU64::new(1);
    peer.burst = 1;
    let change = Command::ChangePeer(2, Box::new(peer));
    node.command(now(), change).unwrap();
    let point = (CLIENT, node.open(now(), CLIENT, Service::Whole).unwrap());
    start(&mut node, point, MEGABYTE);
    let mut tx = Transmit::new(Limits::default());
    while node.poll(now(), &mut tx) == Output::Transmit {}

    node.close(now(), Duration::ZERO);

    let Output::Idle(Some(until)) = node.poll(now(), &mut tx) else {
        panic!("the rate was not kept");
    };
    assert_eq!(until, now() + super::station::LAST_WORDS);
    assert_eq!(node.poll(until, &mut tx), Output::Done);
}

#[test]
fn what_was_received_stays_for_the_taking_when_the_node_has_ended() {
    let mut node = station();
    let point = (CLIENT, node.open(now(), CLIENT, Service::Whole).unwrap());
    node.file(green("first"));
    node.file(green("second"));

    node.end();

    for expected in ["first", "second"] {
        let received = node.try_receive(now(), point).unwrap().unwrap();
        assert_eq!(received.data, expected);
    }
    assert!(matches!(node.try_receive(now(), point), Err(Error::Closed)));
    assert_eq!(node.stats().waiting_octets, 0);
}

fn station() -> Station {
    let engine = Engine::new(Config::engine(1), Seed::from(1)).unwrap();
    let mut node = Station::new(Box::new(engine), near());
    let add = Command::AddPeer(2, Box::new(Peer::new(far())));
    node.command(now(), add).unwrap();
    node
}

fn start(node: &mut Station, point: (u64, u64), len: usize) -> Tag {
    let data = Bytes::from(vec![7; len]);
    let mut block = Block::red(Tag(0), 2, CLIENT, data);
    block.red = Red::All;
    match node.poll_start(now(), point, &mut block, &mut None, Waker::noop()) {
        Poll::Ready(Ok(tag)) => tag,
        other => panic!("{other:?}"),
    }
}

fn green(data: &'static str) -> Event {
    let session = crate::ltp::SessionId {
        originator: 2,
        number: 7,
    };
    Event::Green {
        session,
        client: CLIENT,
        offset: 0,
        data: Bytes::from(data),
        ends_block: false,
    }
}

fn now() -> Instant {
    Instant::ZERO + Duration::from_secs(100)
}

fn near() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1113))
}

fn far() -> Path {
    Path::udp(near(), SocketAddr::from((Ipv4Addr::LOCALHOST, 1114)))
}
