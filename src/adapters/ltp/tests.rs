//! How a node ends, in simulated time.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::task::Poll;
use core::time::Duration;

use bytes::Bytes;

use super::port::{CANCEL_LIMIT, NodePort, ServiceRef};
use super::{EngineMachine, Error, Received};
use crate::adapters::driver::{Core, Port as _, Rest, WaitStatus};
use crate::ltp::{
    Block, Body, Checkpoint, Color, Command, Config, Data, Engine, Event, Flow, Mark, Peer, Reason,
    Segment, Service, SessionId, Side,
};
use crate::{Instant, Limits, Machine as _, Output, Path, Seed, Tag, Transmit};

const CLIENT: u64 = 4;
const MEGABYTE: usize = 1 << 20;

#[test]
fn a_node_that_ends_does_not_send_its_backlog_first() {
    let mut node = Node::new();
    let tag = node.send(MEGABYTE);
    let mut tx = Transmit::new(Limits::default());
    assert_eq!(node.poll(now(), &mut tx), Output::Transmit);

    node.close(Duration::ZERO);

    // The cancellation, and nothing else.
    assert_eq!(node.poll(now(), &mut tx), Output::Transmit);
    assert_eq!(tx.datagrams().len(), 1);
    assert_eq!(node.poll(now(), &mut tx), Output::Done);
    let Poll::Ready(Err(Error::Failed { by, reason, .. })) = node.core.outcome(tag) else {
        panic!("the block goes on");
    };
    assert_eq!((by, reason), (Side::Local, Reason::USER));
}

#[test]
fn a_node_that_is_given_time_sends_its_backlog_until_then() {
    let mut node = Node::new();
    node.send(MEGABYTE);
    let mut tx = Transmit::new(Limits::default());

    node.close(Duration::from_secs(1));

    while node.poll(now(), &mut tx) == Output::Transmit {}
    assert_eq!(node.core.stats().exports, 1);
    let end = now() + Duration::from_secs(1);
    assert_eq!(node.poll(now(), &mut tx), Output::Idle(Some(end)));
    // The cancellation.
    assert_eq!(node.poll(end, &mut tx), Output::Transmit);
    assert_eq!(node.poll(end, &mut tx), Output::Done);
}

#[test]
fn a_cancellation_that_the_rate_holds_back_is_waited_for_up_to_a_second() {
    let mut node = Node::new();
    let peer = Peer::at(far()).with_flow(Flow::rate(1).with_burst(1));
    let change = Command::ChangePeer(2, Box::new(peer));
    node.core.give(change).unwrap();
    node.send(MEGABYTE);
    let mut tx = Transmit::new(Limits::default());
    while node.poll(now(), &mut tx) == Output::Transmit {}

    node.close(Duration::ZERO);

    let Output::Idle(Some(until)) = node.poll(now(), &mut tx) else {
        panic!("the rate was not kept");
    };
    assert_eq!(until, now() + CANCEL_LIMIT);
    assert_eq!(node.poll(until, &mut tx), Output::Done);
}

/// What has come whole is acknowledged and stays, and the rest is cancelled by the client service. Both leave before the
/// end.
#[test]
fn a_node_that_ends_acknowledges_what_it_has_and_cancels_what_it_receives() {
    let mut node = Node::new();
    let mut hear = |number, offset, color| {
        let session = SessionId {
            originator: 2,
            number,
        };
        let data = Data {
            client: CLIENT,
            offset,
            color,
            octets: &[7; 10],
        };
        let mut octets = Vec::new();
        Segment::new(session, Body::Data(data)).encode(&mut octets);
        node.core.machine().receive(now(), far(), &octets);
    };
    let end = Checkpoint {
        serial: 5,
        report: 0,
        mark: Mark::Block,
    };
    hear(7, 0, Color::Red(None));
    hear(8, 0, Color::Red(Some(end)));

    node.close(Duration::ZERO);

    let mut tx = Transmit::new(Limits::default());
    let mut sent = Vec::new();
    while node.poll(now(), &mut tx) == Output::Transmit {
        for octets in tx.datagrams() {
            let segment = Segment::decode(octets).unwrap();
            let said = match segment.body {
                Body::Report(report) => (report.scope.end, None),
                Body::CancelByReceiver(reason) => (0, Some(reason)),
                body => panic!("{body:?}"),
            };
            sent.push((segment.session.number, said));
        }
    }
    assert_eq!(sent, [(8, (10, None)), (7, (0, Some(Reason::USER)))]);
    node.core.over();
    assert_eq!(node.try_receive().unwrap().unwrap().data, [7; 10][..]);
}

#[test]
fn what_was_received_stays_for_the_taking_when_the_node_has_ended() {
    let mut node = Node::new();
    for data in ["first", "second"] {
        NodePort::deliver(&mut node.core, green(data));
    }

    node.core.over();

    for expected in ["first", "second"] {
        let received = node.try_receive().unwrap().unwrap();
        assert_eq!(received.data, expected);
    }
    assert!(matches!(node.try_receive(), Err(Error::Closed)));
    assert_eq!(node.core.stats().waiting_octets, 0);
    assert!(node.core.is_over());
}

/// A node without a socket, with one peer and one access point.
struct Node {
    core: Core<NodePort>,
    service: ServiceRef,
}

impl Node {
    fn new() -> Self {
        let engine = Engine::new(Config::engine(1), Seed::from(1)).unwrap();
        let machine = EngineMachine::new(engine);
        let mut core = Core::new(NodePort::default(), machine, Limits::default());
        core.now = now();
        let peer = Peer::at(far()).with_flow(Flow::Unlimited);
        let add = Command::AddPeer(2, Box::new(peer));
        core.command(add).unwrap();
        let open = Command::OpenOnDemand(CLIENT, Service::Whole);
        core.command(open).unwrap();
        let service = core.port.add_service(CLIENT);
        Self { core, service }
    }

    fn send(&mut self, len: usize) -> Tag {
        let data = Bytes::from(vec![7; len]);
        let mut block = Block::red(Tag(0), 2, CLIENT, data);
        let place = WaitStatus {
            is_first: true,
            is_interrupted: false,
        };
        match self.core.send(self.service, place, &mut block) {
            Poll::Ready(Ok(tag)) => tag,
            other => panic!("{other:?}"),
        }
    }

    fn close(&mut self, limit: Duration) {
        self.core.close(limit);
    }

    fn try_receive(&mut self) -> Result<Option<Received>, Error> {
        self.core.try_receive(self.service)
    }

    /// Does what the loop does, and hands out what the machine sends.
    fn poll(&mut self, now: Instant, tx: &mut Transmit<Path>) -> Output<Path, ()> {
        self.core.now = now;
        loop {
            match self.core.machine().poll(now, tx) {
                Output::Transmit => return Output::Transmit,
                Output::Event(event) => {
                    NodePort::deliver(&mut self.core, event);
                }
                Output::Ask(_) | Output::Yield | Output::Done => {}
                Output::Idle(deadline) => match NodePort::tend(&mut self.core, true) {
                    Rest::Until(own) => {
                        let first = [deadline, own].into_iter().flatten().min();
                        return Output::Idle(first);
                    }
                    Rest::Again => {}
                    Rest::Over => return Output::Done,
                },
            }
        }
    }
}

fn green(data: &'static str) -> Event {
    Event::Green {
        session: SessionId {
            originator: 2,
            number: 7,
        },
        client: CLIENT,
        offset: 0,
        data: Bytes::from(data),
        ends_block: false,
    }
}

fn now() -> Instant {
    Instant::ZERO + Duration::from_secs(100)
}

fn far() -> Path {
    let socket = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Path::udp(socket(1113), socket(1114))
}
