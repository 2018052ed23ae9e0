//! LTP nodes on loopback, in threads.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use farlink::adapters::blocking::ltp::Node;
use farlink::adapters::ltp::Kind;
use farlink::ltp::{Config, Peer};

use super::AT_LAST;

#[test]
fn a_block_is_sent_acknowledged_and_received_once() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(4).unwrap(), mars.open(4).unwrap());

    let session = near.send(2, "hello").unwrap();

    let received = far.receive().unwrap();
    assert_eq!((received.from, received.client), (1, 4));
    assert_eq!(received.session, session);
    assert_eq!(received.kind, Kind::Whole { ends_block: true });
    assert_eq!(received.data, "hello");
}

#[test]
fn a_block_of_20_megabytes_arrives() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(4).unwrap(), mars.open(4).unwrap());
    let block: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();

    let sending = thread::spawn({
        let block = block.clone();
        move || near.send(2, block).map(drop)
    });

    assert!(far.receive_timeout(AT_LAST).unwrap().unwrap().data == block);
    sending.join().unwrap().unwrap();
}

fn pair() -> (Node, Node) {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let one = Node::bind(here, Config::engine(1)).unwrap();
    let two = Node::bind(here, Config::engine(2)).unwrap();
    one.add_peer(2, Peer::new(two.local_addr())).unwrap();
    two.add_peer(1, Peer::new(one.local_addr())).unwrap();
    (one, two)
}
