//! Blocks from node to node.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use farlink::adapters::ltp::{Error, Received, ReceivedKind};
use farlink::ltp::{self, Peer, Reason, Red, Service, Side};

use super::face::{next, run};
use super::pair::{cancellation, node, pair, sending, slow_down};
use crate::loopback::here;
use crate::support::{CLIENT, block_of, failure, hasty};

#[test]
fn a_block_is_sent_acknowledged_and_received_once() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

        let session = near.send(2, "hello").await.unwrap();

        let received = next(&far).await;
        assert_eq!((received.from, received.client), (1, CLIENT));
        assert_eq!(received.session, session);
        assert_eq!(received.kind, ReceivedKind::Whole { ends_block: true });
        assert_eq!(received.data, "hello");
        assert_eq!(far.try_receive().unwrap(), None);
        assert_eq!(earth.stats().engine.exports_complete, 1);
    });
}

#[test]
fn a_block_of_20_megabytes_arrives() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let block = block_of(20_000_000);

        let sending = sending(&near, block.clone());

        assert!(next(&far).await.data == block);
        sending.join().await.unwrap();
    });
}

#[test]
fn a_mixed_block_comes_as_its_red_and_its_green_part() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

        let mut sending = near.start(2, "redgreen", Red::Octets(3)).await.unwrap();
        sending.wait().await.unwrap();

        let red = next(&far).await;
        assert_eq!(red.kind, ReceivedKind::Whole { ends_block: false });
        assert_eq!(red.data, "red");
        let green = next(&far).await;
        let (offset, ends_block) = (3, true);
        assert_eq!(green.kind, ReceivedKind::Green { offset, ends_block });
        assert_eq!(green.data, "green");
    });
}

#[test]
fn a_streaming_access_point_gives_pieces_and_then_the_whole() {
    run(async {
        let (earth, mars) = pair();
        let near = earth.open(CLIENT).unwrap();
        let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
        let block = block_of(100_000);

        let sending = sending(&near, block.clone());

        assert_eq!(next(&far).await.kind, ReceivedKind::Started);
        let mut pieces = Vec::new();
        loop {
            let Received { kind, data, .. } = next(&far).await;
            match kind {
                ReceivedKind::Piece { offset } => {
                    assert_eq!(offset, pieces.len() as u64);
                    pieces.extend_from_slice(&data);
                }
                ReceivedKind::Whole { ends_block: true } => {
                    assert!(pieces == block && data == block);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        sending.join().await.unwrap();
    });
}

#[test]
fn a_scattered_access_point_gives_octets_as_they_come_and_acknowledges_what_is_stored() {
    run(async {
        let (earth, mars) = pair();
        let near = earth.open(CLIENT).unwrap();
        let far = mars.open_with(CLIENT, Service::Scattered).unwrap();
        let block = block_of(100_000);
        for is_kept in [true, false] {
            let sending = sending(&near, block.clone());
            let mut octets = vec![0; 100_000];
            let session = loop {
                let received = next(&far).await;
                match received.kind {
                    ReceivedKind::Segment { offset } => {
                        let start = usize::try_from(offset).unwrap();
                        octets[start..start + received.data.len()].copy_from_slice(&received.data);
                    }
                    ReceivedKind::RedPart { len, ends_block } => {
                        assert_eq!((len, ends_block), (100_000, true));
                        break received.session;
                    }
                    other => panic!("{other:?}"),
                }
            };
            assert!(octets == block);
            if is_kept {
                far.stored(session).unwrap();
                sending.join().await.unwrap();
                let refused = far.stored(session).unwrap_err();
                let expected = ltp::Error::NothingToStore(session);
                assert!(matches!(refused, Error::Refused(error) if error == expected));
            } else {
                far.refuse(session).unwrap();
                let refused = failure(sending.join().await.unwrap_err());
                assert_eq!(refused, (Side::Remote, Reason::USER));
                let end = next(&far).await.kind;
                assert!(matches!(
                    end,
                    ReceivedKind::Cancelled {
                        after_delivery: false,
                        ..
                    }
                ));
            }
        }
    });
}

#[test]
fn a_peer_that_does_not_answer_fails_the_block_with_the_reason_and_gives_it_back() {
    run(async {
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
    });
}

#[test]
fn a_peer_without_the_client_service_cancels_the_block() {
    run(async {
        let (earth, mars) = pair();
        let near = earth.open(CLIENT).unwrap();
        // Before its first service is opened, a node answers no block.
        let _other = mars.open(CLIENT + 1).unwrap();

        let error = near.send(2, "hello").await.unwrap_err();

        assert!(error.to_string().starts_with("engine 2 cancelled block 1:"));
        assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));
    });
}

#[test]
fn what_the_engine_refuses_is_told_at_once() {
    run(async {
        let earth = node(1);
        let near = earth.open(CLIENT).unwrap();
        let mut closed = Peer::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        closed.limits.exports = 0;
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
    });
}

#[test]
fn a_peer_that_the_socket_cannot_reach_is_refused() {
    run(async {
        let earth = node(1);

        for address in [
            SocketAddr::from((Ipv6Addr::LOCALHOST, 1113)),
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ] {
            let error = earth.add_peer(2, Peer::at(address)).unwrap_err();
            assert!(error.to_string().contains("cannot reach"), "{error}");
        }
    });
}

#[test]
fn a_block_is_followed_and_cancelled_by_its_handle() {
    run(async {
        let (earth, mars) = pair();
        let near = earth.open(CLIENT).unwrap();
        let far = mars.open_with(CLIENT, Service::Streaming).unwrap();
        slow_down(&earth, &mars, 20_000);
        let mut sending = near.start(2, block_of(1_000_000), Red::All).await.unwrap();
        assert_eq!(next(&far).await.kind, ReceivedKind::Started);

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
    });
}
