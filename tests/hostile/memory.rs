//! Memory follows the octets that came, whatever offsets and lengths say.

use allocation_counter::measure;
use farlink::Path;
use farlink::ltp::{Body, Color, Config, Data, EngineLimits, Peer, Service, put_sdnv};

use crate::ltp_alone::{Alone, datagram, encode, secs, session};
use crate::site::{Beside, CLIENT, KIB, MIB, node, node_with, stranger};

/// A red segment without a checkpoint.
fn red(originator: u64, number: u64, offset: u64, octets: &[u8]) -> Vec<u8> {
    let body = Body::Data(Data {
        client: CLIENT,
        offset,
        color: Color::Red(None),
        octets,
    });
    encode(session(originator, number), body)
}

/// What a session may take whose datagrams have this many octets.
const fn limit(octets: u64, segments: u64) -> u64 {
    2 * octets + 2 * KIB + if segments > 1 { 64 * KIB } else { 0 }
}

/// A node that knows engine 7, and whose tables have been used.
fn warm() -> Alone<Path> {
    let mut node = node();
    let known = Peer::at(stranger(7));
    node.engine.add_peer(node.now, 7, known).unwrap();
    for number in 1..50 {
        node.receive(stranger(7), &red(7, number, 0, b"x"));
    }
    node.run_for(secs(86_400));
    assert_eq!(node.engine.usage().sessions, (0, 0));
    node
}

/// Feeds a session, and returns by how much its memory exceeds the limit, if it does.
fn excess(offsets: &[u64], len: usize) -> Option<(u64, u64)> {
    let mut node = warm();
    let data = vec![0x41; len];
    let mut octets = 0;
    let info = measure(|| {
        for offset in offsets {
            let datagram = red(7, 100, *offset, &data);
            octets += datagram.len() as u64;
            node.receive(stranger(7), &datagram);
        }
    });
    let held = u64::try_from(info.bytes_current).unwrap_or(0);
    let limit = limit(octets, offsets.len() as u64);
    (held > limit).then_some((held, limit))
}

#[test]
fn a_segment_at_any_offset_takes_what_it_has_octets() {
    for offset in [0, 1, 1400, 65_535, MIB as u64, (1 << 27) - 2] {
        for len in [1, 100, 1380] {
            if offset + len as u64 <= 1 << 27 {
                let excess = excess(&[offset], len);
                assert_eq!(excess, None, "{len} at {offset}");
            }
        }
    }
}

/// In order, backwards, and with gaps between all.
#[test]
fn a_session_takes_twice_its_octets_in_whatever_order_its_segments_come() {
    for (len, counts) in [
        (1, [2_u64, 100, 2000, 20_000]),
        (100, [2, 100, 2000, 10_000]),
        (1380, [2, 10, 100, 2000]),
    ] {
        for count in counts {
            let step = len as u64;
            let orders: [(&str, Vec<u64>); 4] = [
                ("in order", (0..count).map(|at| at * step).collect()),
                ("backwards", (0..count).rev().map(|at| at * step).collect()),
                ("with gaps", (0..count).map(|at| 2 * at * step).collect()),
                (
                    "backwards with gaps",
                    (0..count).rev().map(|at| 2 * at * step).collect(),
                ),
            ];
            for (name, offsets) in orders {
                let excess = excess(&offsets, len);
                assert_eq!(excess, None, "{count} of {len} octets {name}");
            }
        }
    }
}

/// A hole in a block does not become memory when the end of the block is known.
#[test]
fn an_end_of_a_block_far_away_takes_what_it_has_octets() {
    let mut node = warm();
    let mut datagram = vec![3, 7, 100, 0, 4];
    for number in [(1 << 27) - 2, 1, 9, 0] {
        put_sdnv(&mut datagram, number);
    }
    datagram.push(0x41);

    let info = measure(|| node.receive(stranger(7), &datagram));

    let held = u64::try_from(info.bytes_current).unwrap_or(0);
    // Its report waits for an acknowledgment, too.
    assert!(held <= limit(datagram.len() as u64, 1), "{held}");
}

/// Thirty datagrams of twelve octets, of one stranger and of thirty, time and again.
#[test]
fn a_few_octets_far_away_in_their_blocks_take_no_memory_from_others() {
    let limits = [
        Config::engine(2),
        Config {
            limits: EngineLimits {
                import_octets: 1 << 31,
                ..EngineLimits::default()
            },
            ..Config::engine(2)
        },
    ];
    for config in limits {
        let mut node = node_with(config);
        let mut beside = Beside::new(&mut node);
        for round in 0..3 {
            let info = measure(|| {
                for at in 0..30 {
                    let number = 100 + 30 * round + at;
                    let datagram = red(7 + at % 15, number, (1 << 27) - 2, b"x");
                    node.receive(stranger(7 + at as u32 % 15), &datagram);
                }
            });

            let held = u64::try_from(info.bytes_current).unwrap_or(0);
            assert!(held <= MIB as u64, "{held} octets for 30 datagrams");
            beside.assert_served(&mut node);
            node.run_for(secs(3));
        }
    }
}

/// All strangers together have 64 MiB, and what exceeds it is not claimed.
#[test]
fn all_strangers_together_take_at_most_64_mib() {
    let mut node = node();
    let mut beside = Beside::new(&mut node);
    node.kept = Some(stranger(0));
    let data = vec![0x41; 1380];

    let info = measure(|| {
        for host in 0..640_u32 {
            for at in 0..760 {
                let id = 1000 + u64::from(host);
                let datagram = red(id, 1, at * 1380, &data);
                node.receive(stranger(1000 + host), &datagram);
            }
        }
    });

    let held = u64::try_from(info.bytes_current).unwrap_or(0);
    assert!(held <= 66 * MIB as u64, "{held} octets");
    assert!(node.engine.stats().no_room > 0);
    beside.assert_named_served(&mut node);
    // Sessions that prove nothing end.
    node.run_for(secs(31));
    beside.assert_served(&mut node);
}

/// Sends blocks of 1 MiB that never end, after an acknowledgment that proves the host if it is to be proved.
fn take_all(node: &mut Alone<Path>, host: u32, id: u64, is_proved: bool) {
    if is_proved {
        let whole = datagram(&format!("03 @{id} 01 00 04 00 01 05 00 78"));
        node.receive(stranger(host), &whole);
        let serial = node.reports(session(id, 1))[0];
        let ack = encode(session(id, 1), Body::ReportAck(serial));
        node.receive(stranger(host), &ack);
    }
    let data = vec![0x41; 1380];
    node.kept = Some(stranger(0));
    for number in 2..102 {
        for at in 0..760 {
            node.receive(stranger(host), &red(id, number, at * 1380, &data));
        }
    }
    node.kept = None;
}

/// The first half of a block of 20 octets, and the second.
fn half(id: u64, is_last: bool) -> Vec<u8> {
    let text = if is_last {
        format!("03 @{id} 01 00 04 0a 0a 05 00 42*10")
    } else {
        format!("00 @{id} 01 00 04 00 0a 41*10")
    };
    datagram(&text)
}

#[test]
fn a_stranger_that_takes_all_memory_takes_none_of_another_host() {
    for is_proved in [false, true] {
        let mut node = node();
        node.receive(stranger(70), &half(70, false));
        node.now += secs(1);

        take_all(&mut node, 7, 1007, is_proved);
        node.receive(stranger(70), &half(70, true));

        let of_it = |(id, _): &(_, &[u8])| *id == session(70, 1);
        assert!(node.received().iter().any(of_it), "proved: {is_proved}");
    }
}

/// Whoever holds most gives way, whether it has proved itself or not.
#[test]
fn a_stranger_that_takes_all_memory_gives_way_to_other_hosts() {
    for is_proved in [false, true] {
        let mut node = node();
        let mut beside = Beside::new(&mut node);
        let used = node.engine.usage().octets_held;
        take_all(&mut node, 7, 1007, is_proved);
        assert!(node.engine.usage().octets_held - used > 60 * MIB);

        beside.assert_served(&mut node);
        node.receive(stranger(70), &half(70, false));
        node.receive(stranger(70), &half(70, true));

        let of_it = |(id, _): &(_, &[u8])| *id == session(70, 1);
        assert!(node.received().iter().any(of_it), "proved: {is_proved}");
    }
}

#[test]
fn a_stranger_that_opens_all_sessions_ends_none_of_another_host() {
    let mut node = node_with(Config {
        limits: EngineLimits {
            imports: 1000,
            ..EngineLimits::default()
        },
        ..Config::engine(2)
    });
    node.receive(stranger(70), &half(70, false));
    node.now += secs(1);
    for number in 0..5000 {
        node.receive(stranger(7), &red(1007, 1 + number, 0, b"x"));
    }

    node.receive(stranger(70), &half(70, true));
    node.receive(stranger(71), &half(71, false));
    node.receive(stranger(71), &half(71, true));

    let received: Vec<_> = node.received().iter().map(|(id, _)| *id).collect();
    assert_eq!(received, [session(70, 1), session(71, 1)]);
}

/// Blocks that wait to be taken are memory, too.
#[test]
fn blocks_of_strangers_that_nobody_takes_count_for_what_strangers_may_hold() {
    let mut node = node();
    let now = node.now;
    node.engine.open_on_demand(now, 5, Service::Whole).unwrap();
    let mut beside = Beside::new(&mut node);
    node.kept = Some(stranger(0));

    // 100 MB, from a hundred hosts.
    for number in 0..100_000 {
        let text = format!(
            "03 @{} @{number} 00 05 00 @1000 05 00 41*1000",
            1000 + number % 100
        );
        node.receive(stranger(1000 + number % 100), &datagram(&text));
    }

    let waiting = node.engine.usage().octets_waiting;
    assert!((30 * MIB..34 * MIB).contains(&waiting), "{waiting} octets");
    beside.assert_served(&mut node);
    // What is taken makes room.
    for _ in 0..1000 {
        node.engine.take(node.now, 5).unwrap();
    }
    node.drain();
    node.hear(stranger(7), "03 @7 01 00 05 00 05 05 00 41*5");
    for _ in 0..100_000 {
        node.engine.take(node.now, 5).unwrap();
    }
    node.drain();
    let of_it = |(id, _): &(_, &[u8])| *id == session(7, 1);
    assert!(node.received().iter().any(of_it));
}
