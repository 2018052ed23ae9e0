//! How nodes end.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use farlink::adapters::ltp::{EngineFactory, EngineMachine, Error, NodeOptions, ReceivedKind};
use farlink::ltp::{Config, Cue, Peer, Reason, Red, Service, Side};

use super::face::{Node, next, run, spawn};
use super::pair::{cancellation, node, pair, slow_down};
use crate::AT_LAST;
use crate::loopback::here;
use crate::support::{Broken, CLIENT, POISON, block_of, failure};

#[test]
fn a_second_node_on_the_same_socket_is_refused_until_the_first_is_gone() {
    run(async {
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
    });
}

#[test]
fn dropping_the_handle_of_a_block_does_not_cancel_it() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        earth.contact(2, Cue::MustStop).unwrap();

        drop(near.start(2, "hello", Red::All).await.unwrap());
        earth.contact(2, Cue::MayTransmit).unwrap();

        assert_eq!(next(&far).await.data, "hello");
    });
}

#[test]
fn dropping_the_last_handle_of_a_node_cancels_what_is_under_way_and_tells_the_peer() {
    run(async {
        let (earth, mars) = pair();
        let near = earth.open(CLIENT).unwrap();
        let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
        slow_down(&earth, &mars, 20_000);
        let sending = near.start(2, block_of(1_000_000), Red::All).await.unwrap();
        assert_eq!(next(&far).await.kind, ReceivedKind::Started);

        drop((earth, near));
        // The last handle is that of the block.
        assert!(sending.progress().is_some());
        drop(sending);

        assert_eq!(cancellation(&far).await, (Side::Remote, Reason::USER));
    });
}

#[test]
fn a_shutdown_lets_blocks_finish_and_begins_none() {
    run(async {
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
    });
}

#[test]
fn a_shutdown_cancels_what_takes_too_long() {
    run(async {
        let (earth, mars) = pair();
        let near = earth.open(CLIENT).unwrap();
        let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
        slow_down(&earth, &mars, 20_000);
        let mut sending = near.start(2, block_of(1_000_000), Red::All).await.unwrap();
        assert_eq!(next(&far).await.kind, ReceivedKind::Started);
        let receiving = spawn({
            let near = near.clone();
            async move { near.receive().await }
        });

        earth.shutdown(Duration::ZERO).await;

        let error = sending.wait().await.unwrap_err();
        assert_eq!(failure(error), (Side::Local, Reason::USER));
        assert!(matches!(receiving.join().await, Err(Error::Closed)));
        assert_eq!(cancellation(&far).await, (Side::Remote, Reason::USER));
    });
}

#[test]
fn a_machine_that_panics_ends_its_node_and_nobody_waits_for_it() {
    run(async {
        let mut options = NodeOptions::from(Config::engine(1));
        options.factory = EngineFactory::new(|setup| {
            Ok(EngineMachine::new(Broken::new(setup.config, setup.seed)?))
        });
        let node = Node::bind(here(), options).unwrap();
        node.add_peer(2, Peer::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))))
            .unwrap();
        let near = node.open(CLIENT).unwrap();
        let receiving = spawn({
            let near = near.clone();
            async move { near.receive().await }
        });
        let mut sending = near.start(2, "hello", Red::All).await.unwrap();

        let poison = UdpSocket::bind(here()).unwrap();
        poison.send_to(POISON, node.local_addr()).unwrap();

        assert!(matches!(receiving.join().await, Err(Error::Closed)));
        assert!(matches!(sending.wait().await, Err(Error::Closed)));
        assert!(matches!(near.send(2, "hello").await, Err(Error::Closed)));
        node.shutdown(AT_LAST).await;
    });
}
