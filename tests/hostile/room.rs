//! A full table lets go of strangers that have shown nothing, longest idle first, and never of a named peer.

use core::net::SocketAddr;

use farlink::ltp::{Age, Config, Engine, EngineLimits, Event, Peer, Red};
use farlink::{Path, Seed, Tag};

use crate::ltp_alone::{Alone, datagram, secs, session};
use crate::site::{Beside, Honest, node, node_with, path, port, stranger};

/// Opens a session of one octet from each of many hosts.
fn flood(node: &mut Alone<Path>, hosts: u32) {
    flood_from(node, 0, hosts);
}

fn flood_from(node: &mut Alone<Path>, first: u32, hosts: u32) {
    node.kept = Some(stranger(0));
    for host in first..first + hosts {
        let text = format!("00 @{} 05 00 04 00 01 78", 500_000 + host);
        node.hear(stranger(1000 + host), &text);
    }
    node.kept = None;
}

#[test]
fn ten_thousand_strangers_with_a_session_each_keep_no_newcomer_out() {
    for later in [0, 1, 40, 90] {
        let mut node = node();
        let mut beside = Beside::new(&mut node);

        flood(&mut node, 10_300);
        node.run_for(secs(later));

        beside.assert_served(&mut node);
    }
}

/// Opens a session from each of many engine IDs on a host that has proved that it hears.
fn occupy(node: &mut Alone<Path>, host: Path, first: u64, count: u64) {
    let id = session(first, 1);
    node.hear(host, &format!("03 @{first} 01 00 04 00 01 05 00 78"));
    let serial = node.reports(id)[0];
    node.hear(host, &format!("09 @{first} 01 00 @{serial}"));
    for id in first..first + count {
        node.hear(host, &format!("00 @{id} 05 00 04 00 01 78"));
    }
    node.sent.clear();
}

#[test]
fn a_host_that_proved_itself_and_has_a_session_in_every_place_keeps_no_newcomer_out() {
    for hosts in [1, 2, 5] {
        let mut node = node();
        for host in 0..hosts {
            occupy(
                &mut node,
                stranger(9 + host),
                500_000 * u64::from(1 + host),
                1024,
            );
        }
        let mut newcomers: Vec<Honest> = (110..110 + 64).map(Honest::unnamed).collect();

        // All begin at once, and none has proved anything yet.
        for newcomer in &mut newcomers {
            newcomer.begin(&mut node, 5000);
        }
        for newcomer in &mut newcomers {
            node.hear(
                newcomer.at(),
                &format!("00 @{} 01 00 04 00 01 78", newcomer.id()),
            );
        }

        for newcomer in &mut newcomers {
            let address = node.engine.peer_address(newcomer.id());
            assert_eq!(address, Some(newcomer.at()), "beside {hosts} hosts");
            assert!(newcomer.finish(&mut node));
        }
    }
}

/// An equal share each, and one for those that have proved nothing.
#[test]
fn a_host_that_proved_itself_keeps_its_share_of_a_full_table_when_others_ask() {
    let mut node = node();
    occupy(&mut node, stranger(9), 500_000, 1024);

    flood(&mut node, 10_300);

    let kept = (500_000..501_024).filter(|id| node.engine.peer_address(*id) == Some(stranger(9)));
    let kept: Vec<u64> = kept.collect();
    assert_eq!(kept.len(), 512);
    // The others had been idle for longer.
    assert!(kept.iter().all(|id| (500_512..501_024).contains(id)));
}

/// It takes no place of anybody else, and ends none of its own sessions.
#[test]
fn a_host_beyond_its_share_is_refused_further_places() {
    let mut node = node();
    let mut proved = Honest::unnamed(102);
    assert!(proved.transfer(&mut node, 5000));
    occupy(&mut node, stranger(9), 500_000, 1023);
    let sessions = node.engine.usage().sessions;

    for id in 600_000..601_000 {
        node.hear(stranger(9), &format!("00 @{id} 05 00 04 00 01 78"));
    }

    assert_eq!(node.engine.usage().sessions, sessions);
    assert!(node.engine.peer_address(102).is_some());
    assert!(node.engine.peer_address(600_000).is_none());
}

/// Of two hosts that have proved nothing, the one with more peers loses them.
#[test]
fn the_host_with_the_most_peers_gives_way_first() {
    let mut node = node();
    node.hear(stranger(70), "00 @7 05 00 04 00 01 78");
    node.now += secs(1);

    for id in 0..5000 {
        node.hear(port(2000), &format!("00 @{} 05 00 04 00 01 78", 1000 + id));
    }

    assert!(node.engine.peer_address(7).is_some());
}

/// They come faster than their sessions end.
#[test]
fn strangers_that_never_cease_keep_no_newcomer_out() {
    let mut node = node();
    let mut beside = Beside::new(&mut node);
    for minute in 0..10 {
        for second in 0..60 {
            flood_from(&mut node, 200 * (60 * minute + second), 200);
            node.run_for(secs(1));
            if second == 30 {
                beside.assert_served(&mut node);
            }
        }
        assert!(node.engine.usage().sessions.1 <= 16_384, "minute {minute}");
    }
}

/// Ports of one host are as good as hosts to whoever forges.
#[test]
fn a_stranger_that_proved_itself_and_has_a_session_is_kept_when_thousands_come() {
    let mut node = node();
    let mut proved = Honest::unnamed(102);
    assert!(proved.transfer(&mut node, 5000));
    proved.begin(&mut node, 5000);
    // Its first segment has come.
    node.hear(
        path(SocketAddr::from(([192, 0, 2, 102], 1113))),
        "00 66 01 00 04 00 05 41*5",
    );

    flood(&mut node, 10_300);

    node.hear(
        path(SocketAddr::from(([192, 0, 2, 102], 1113))),
        "03 66 01 00 04 05 05 09 00 41*5",
    );
    let of_it = |(id, _): &(_, &[u8])| *id == session(102, 1);
    assert!(node.received().iter().any(of_it));
    assert!(proved.finish(&mut node));
}

#[test]
fn a_named_peer_gets_in_when_strangers_have_taken_every_place() {
    let mut node = node_with(Config {
        limits: EngineLimits {
            peers: 64,
            ..EngineLimits::default()
        },
        ..Config::engine(2)
    });
    flood(&mut node, 1000);

    for id in 1..=40_u8 {
        let named = Peer::at(path(SocketAddr::from(([192, 0, 2, id], 1113))));
        let added = node.engine.add_peer(node.now, u64::from(id), named);
        assert_eq!(added, Ok(()), "{id}");
    }
    flood(&mut node, 1000);

    // All of them are still heard.
    for id in 1..=40_u8 {
        let from = path(SocketAddr::from(([192, 0, 2, id], 1113)));
        node.hear(from, &format!("03 @{id} 07 00 04 00 01 05 00 78"));
    }
    assert_eq!(node.received().len(), 40);
}

#[test]
fn a_newcomer_that_finds_no_room_is_refused_and_that_is_said_once() {
    let mut node = node();
    // For a ping nobody gives way.
    let ping = |node: &mut Alone<Path>, id: u64| {
        node.hear(stranger(9), &format!("0c @{id} 05 00 04"));
    };
    let refused = |node: &Alone<Path>| -> Vec<(u64, u32)> {
        let events = node.events.iter();
        let refused = events.filter_map(|(_, event)| match event {
            Event::UnknownPeerRefused { peer, limit } => Some((*peer, *limit)),
            _ => None,
        });
        refused.collect()
    };
    flood(&mut node, 1024);
    assert_eq!(refused(&node), []);

    for id in 0..1000 {
        ping(&mut node, 700_000 + id);
        // One that takes the place of another changes nothing.
        flood_from(&mut node, 2000 + u32::try_from(id).unwrap(), 1);
    }
    assert_eq!(refused(&node), [(700_000, 1024)]);

    // There is room for one.
    let (last, now) = (500_000 + 2999, node.now);
    node.engine.remove_peer(now, last).unwrap();
    for id in 0..10 {
        ping(&mut node, 800_000 + id);
    }
    assert!(node.engine.peer_address(800_000).is_some());
    assert_eq!(refused(&node), [(700_000, 1024), (800_001, 1024)]);
}

#[test]
fn a_session_of_a_stranger_that_proved_nothing_ends_within_30_s() {
    let mut node = node();

    flood(&mut node, 500);
    node.run_for(secs(31));

    assert_eq!(node.engine.usage().sessions, (0, 0));
}

/// Sessions that one stranger leaves open take no room from a block of another, nor from its own next one.
#[test]
fn sessions_that_a_stranger_leaves_open_give_way() {
    let mut node = node();
    let mut beside = Beside::new(&mut node);
    let from = stranger(7);
    node.kept = Some(stranger(0));
    for number in 0..400_000 {
        let octets = datagram(&format!("00 07 @{} 00 04 00 01 78", 100 + number));
        node.receive(from, &octets);
    }
    node.events.clear();

    node.hear(from, "03 07 02 00 04 00 05 09 00 41*5");

    assert_eq!(node.received(), [(session(7, 2), &b"AAAAA"[..])]);
    beside.assert_served(&mut node);
}

/// Whoever knows the ID of a named engine opens no session in its name from another host.
#[test]
fn sessions_opened_from_elsewhere_in_the_name_of_a_peer_take_none_of_its_room() {
    let mut node = node();
    let mut beside = Beside::new(&mut node);
    for number in 0..40_000 {
        let octets = datagram(&format!("00 65 @{} 00 04 00 01 78", 100 + number));
        node.receive(stranger(7), &octets);
    }

    assert_eq!(node.engine.usage().sessions, (0, 0));
    beside.assert_served(&mut node);
}

/// A datagram of nine octets under another ID, from the address of a peer, takes nothing from it.
#[test]
fn a_transfer_under_way_survives_other_engine_ids_from_its_address() {
    let mut node = node();
    let mut honest = Honest::unnamed(102);
    honest.begin(&mut node, 500_000);
    let from = path(SocketAddr::from(([192, 0, 2, 102], 1113)));
    node.hear(from, "00 66 01 00 04 00 05 41*5");
    for id in 0..1000 {
        node.hear(from, &format!("00 @{} 05 00 04 00 01 78", 999 + id));
    }

    node.hear(from, "03 66 01 00 04 05 05 09 00 41*5");

    assert!(honest.finish(&mut node));
    let of_it = |(id, _): &(_, &[u8])| *id == session(102, 1);
    assert!(node.received().iter().any(of_it));
}

/// The tags of blocks are the application's, whatever strangers do.
#[test]
fn a_node_that_is_flooded_sends_its_own_blocks() {
    let mut node = node();
    flood(&mut node, 1000);
    let named = Peer::at(path(SocketAddr::from(([192, 0, 2, 77], 1113))));
    node.engine.add_peer(node.now, 77, named).unwrap();
    let block = farlink::ltp::Block {
        tag: Tag(1),
        to: 77,
        client: 4,
        data: b"hello"[..].into(),
        red: Red::All,
    };

    let id = node.engine.send_block(node.now, block).unwrap();
    node.drain();

    assert_eq!(node.bodies(id).len(), 1);
}

/// The sessions of whoever used the ID elsewhere are over. Those of the peer itself go on.
#[test]
fn a_peer_is_added_under_an_id_that_a_stranger_has_used() {
    let named = path(SocketAddr::from(([192, 0, 2, 77], 1113)));
    for (from, goes_on) in [(stranger(9), false), (named, true)] {
        let mut node = node();
        node.hear(from, "00 4d 05 00 04 00 05 41*5");

        let added = node.engine.add_peer(node.now, 77, Peer::at(named));

        assert_eq!(added, Ok(()));
        assert_eq!(node.engine.peer_address(77), Some(named));
        node.hear(named, "03 4d 05 00 04 05 05 09 00 42*5");
        assert_eq!(node.received().len(), usize::from(goes_on));
        node.hear(named, "03 4d 06 00 04 00 05 09 00 42*5");
        let of_it = |(id, _): &(_, &[u8])| *id == session(77, 6);
        assert!(node.received().iter().any(of_it));
        // It is named from here on: strangers cannot crowd it out.
        flood(&mut node, 3000);
        assert_eq!(node.engine.peer_address(77), Some(named));
        let again = node.engine.add_peer(node.now, 77, Peer::at(named));
        assert!(again.is_err());
    }
}

#[test]
fn a_session_of_a_stranger_that_proved_nothing_ends_within_30_s_of_a_restart() {
    let mut node = node();
    flood(&mut node, 100);

    let saved = node.engine.snapshot(node.now);
    let (config, now) = (Config::engine(2), node.now);
    node.engine = Engine::restore(config, Seed::from(3), saved, Age::Current, now).unwrap();
    assert_eq!(node.engine.usage().sessions, (0, 100));
    node.run_for(secs(31));

    assert_eq!(node.engine.usage().sessions, (0, 0));
}
