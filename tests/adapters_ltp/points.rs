//! Access points: receivers, senders, interrupts and limits.

use std::collections::BTreeSet;
use std::time::Duration;

use farlink::adapters::ltp::Error;
use farlink::ltp::{self, Config, Cue, Peer, Reason, Red, Side};

use super::face::{Node, ends_within, next, run, spawn};
use super::pair::{node, pair, sending};
use crate::loopback::here;
use crate::support::{CLIENT, block_of, failure, numbered};

#[test]
fn an_interrupted_receive_says_so_and_the_access_point_goes_on() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let receiving = spawn({
            let far = far.clone();
            async move { far.receive().await }
        });

        // Before it waits or while it does: both are told.
        far.interrupt();

        let outcome = receiving.join().await;
        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        assert!(far.is_open());
        near.send(2, "hello").await.unwrap();
        assert_eq!(next(&far).await.data, "hello");
    });
}

#[test]
fn an_interruption_loses_nothing_that_was_received() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        near.send(2, "hello").await.unwrap();

        far.interrupt();

        assert_eq!(far.receive().await.unwrap().data, "hello");
        assert_eq!(far.try_receive().unwrap(), None);
        assert!(matches!(far.receive().await, Err(Error::Interrupted)));
    });
}

#[test]
fn closing_one_access_point_wakes_its_receivers_and_leaves_the_others() {
    run(async {
        let (earth, mars) = pair();
        let (one, other) = (mars.open(1).unwrap(), mars.open(2).unwrap());
        let receiving = spawn({
            let one = one.clone();
            async move { one.receive().await }
        });

        one.close();

        let outcome = receiving.join().await;
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
    });
}

#[test]
fn dropping_the_last_clone_of_an_access_point_closes_it() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());

        let clone = far.clone();
        drop(far);
        near.send(2, "hello").await.unwrap();
        drop(clone);

        let error = near.send(2, "hello").await.unwrap_err();
        assert_eq!(failure(error), (Side::Remote, Reason::UNREACHABLE));
        mars.open(CLIENT).unwrap();
    });
}

#[test]
fn a_silent_application_is_held_to_the_limit_and_stalls_nobody_else() {
    run(async {
        const LIMIT: usize = 200_000;
        const GLANCE: Duration = Duration::from_millis(10);
        let mut config = Config::engine(2);
        config.limits.import_octets = LIMIT;
        let earth = node(1);
        let mars = Node::bind(here(), config).unwrap();
        earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
        mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
        let (silent, busy) = (mars.open(1).unwrap(), mars.open(2).unwrap());
        let (to_silent, to_busy) = (earth.open(1).unwrap(), earth.open(2).unwrap());
        let block = block_of(10_000);

        // Nobody takes these: they are accepted up to the limit, and then refused until they are given up.
        let mut accepted = 0;
        let mut refused = loop {
            let waited = mars.stats().waiting_octets;
            let mut sending = to_silent.start(2, block.clone(), Red::All).await.unwrap();
            // What the node does not take ahead waits unacknowledged.
            while !ends_within(&mut sending, GLANCE).await
                && mars.stats().waiting_octets == waited
                && mars.stats().engine.no_room == 0
            {}
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
    });
}

#[test]
fn who_waits_for_room_hears_of_the_end_of_the_peer_and_of_the_access_point() {
    run(async {
        let (earth, mars) = pair();
        let mut peer = Peer::at(mars.local_addr());
        peer.limits.exports = 1;
        earth.change_peer(2, peer).unwrap();
        let (near, other) = (earth.open(CLIENT).unwrap(), earth.open(5).unwrap());
        earth.contact(2, Cue::MustStop).unwrap();
        let mut first = near.start(2, "first", Red::All).await.unwrap();
        let (on_near, on_other) = (
            sending(&near, "second".into()),
            sending(&other, "third".into()),
        );

        near.close();
        assert!(matches!(on_near.join().await, Err(Error::Closed)));
        earth.remove_peer(2).unwrap();

        let refused = on_other.join().await;
        assert!(
            matches!(refused, Err(Error::Refused(ltp::Error::UnknownPeer(2)))),
            "{refused:?}"
        );
        let error = first.wait().await.unwrap_err();
        assert_eq!(failure(error), (Side::Local, Reason::SYSTEM));
    });
}

#[test]
fn a_send_waits_for_room_in_the_window_and_then_goes_on() {
    run(async {
        let (earth, mars) = pair();
        let mut peer = Peer::at(mars.local_addr());
        peer.limits.exports = 1;
        earth.change_peer(2, peer).unwrap();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        earth.contact(2, Cue::MustStop).unwrap();
        let mut first = near.start(2, "first", Red::All).await.unwrap();

        let rest: Vec<_> = (0..8).map(|_| sending(&near, "rest".into())).collect();
        assert!(!ends_within(&mut first, Duration::ZERO).await);
        assert_eq!(earth.stats().exports, 1);
        earth.contact(2, Cue::MayTransmit).unwrap();

        assert_eq!(next(&far).await.data, "first");
        first.wait().await.unwrap();
        for sending in rest {
            sending.join().await.unwrap();
            assert_eq!(next(&far).await.data, "rest");
        }
    });
}

#[test]
fn sixteen_senders_and_receivers_share_two_nodes() {
    run(async {
        const BLOCKS: u64 = 25;
        let (earth, mars) = pair();
        let shared = mars.open(100).unwrap();
        let mut tasks = Vec::new();
        for sender in 0..16_u64 {
            let near = earth.open(1 + sender).unwrap();
            let far = mars.open(1 + sender).unwrap();
            tasks.push(spawn(async move {
                for number in 0..BLOCKS {
                    near.send(2, numbered(sender, number)).await.unwrap();
                }
            }));
            tasks.push(spawn(async move {
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
                spawn(async move {
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
            tasks.push(spawn(async move {
                for number in 0..BLOCKS {
                    near.send(2, numbered(sender, number)).await.unwrap();
                }
            }));
        }

        let mut got = BTreeSet::new();
        for receiver in receivers {
            got.extend(receiver.join().await);
        }
        assert_eq!(got.len() as u64, 16 * BLOCKS);
        for task in tasks {
            task.join().await;
        }
    });
}
