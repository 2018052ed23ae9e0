//! Who a peer is, and what it still remembers: the engine ID is identity, the address is where it is reached, and
//! whatever a peer has forgotten is neither taken for delivered nor claimed again from memory (RFC 5326 sections 3.1,
//! 3.2.2, 6.11, 6.13 and 6.22).

use core::net::SocketAddr;
use core::num::NonZeroU32;

use farlink::ltp::{Age, Body, Config, Engine, Event, Flow, Peer, Service, SessionId};
use farlink::{Path, Seed};

use super::{PEER, block, checkpoints};
use crate::ltp_alone::{Alone, datagram, secs, session};

const CLIENT: u64 = 4;
const DAY: u64 = 86_400;

fn receiver() -> Alone<u64> {
    let mut alone = Alone::new(Config::engine(2), 2);
    alone.engine.add_peer(alone.now, 1, Peer::at(PEER)).unwrap();
    alone
        .engine
        .open(alone.now, CLIENT, Service::Whole)
        .unwrap();
    alone
}

// A number that a closed session had.

/// Receives a block of ten octets in session 1, whose report is acknowledged.
fn after_a_block() -> Alone<u64> {
    let mut alone = receiver();
    alone.hear(PEER, "03 01 01 00 04 00 0a @1000 00 07*10");
    let serial = alone.reports(session(1, 1))[0];
    alone.hear(PEER, &format!("09 01 01 00 @{serial}"));
    assert_eq!(alone.engine.usage().sessions, (0, 0));
    alone
}

/// Whether a block came in session 1 on top of the first, and whether its checkpoint was reported on.
fn second(alone: &Alone<u64>, checkpoint: u64) -> (bool, bool) {
    let received = alone.received().len() > 1;
    (received, alone.has_reported(session(1, 1), checkpoint))
}

#[test]
fn a_session_number_that_comes_again_is_delivered_or_not_acknowledged() {
    // What was a new block to the peer: another serial number, another client, another length, other octets.
    let again = [
        (
            "a later serial number",
            "03 01 01 00 04 00 0a @2000 00 09*10",
            2000,
        ),
        (
            "an earlier serial number",
            "03 01 01 00 04 00 0a @7 00 09*10",
            7,
        ),
        ("another length", "03 01 01 00 04 00 08 @1000 00 09*8", 1000),
        ("other octets", "03 01 01 00 04 00 0a @1000 00 09*10", 1000),
    ];
    for (what, text, checkpoint) in again {
        for later in [1, 75, 600, DAY] {
            let mut alone = after_a_block();
            alone.run_for(secs(later));

            alone.hear(PEER, text);
            alone.run_for(secs(60));

            let (received, reported) = second(&alone, checkpoint);
            assert!(received || !reported, "{what} after {later} s");
        }
    }
}

/// Memory of closed sessions ends by time, whether or not anything else closes.
#[test]
fn a_day_later_a_session_number_begins_a_session() {
    let mut alone = Alone::new(Config::engine(2), 2);
    let now = alone.now;
    alone.engine.add_peer(now, 1, Peer::at(PEER)).unwrap();
    alone.engine.open(now, CLIENT, Service::Whole).unwrap();
    alone.hear(PEER, "03 01 01 00 04 00 0a @1000 00 07*10");
    let serial = alone.reports(session(1, 1))[0];
    alone.hear(PEER, &format!("09 01 01 00 @{serial}"));
    alone.run_for(secs(DAY));

    alone.hear(PEER, "03 01 01 00 04 00 0a @1000 00 09*10");

    assert_eq!(second(&alone, 1000), (true, true));
}

/// What a restarted peer cannot have sent before tells its restart at once.
#[test]
fn a_checkpoint_out_of_the_numbers_of_a_closed_session_begins_a_session() {
    for text in [
        "03 01 01 00 04 00 0a @1065 00 09*10",
        "03 01 01 00 04 00 0a @999 00 09*10",
        "03 01 01 00 04 00 14 @1000 00 09*20",
    ] {
        let mut alone = after_a_block();
        alone.run_for(secs(20));

        alone.hear(PEER, text);

        assert_eq!(alone.received().len(), 2, "{text}");
    }
}

/// A sender that lost the report asks for it again, and is answered: all of that is in memory.
#[test]
fn a_repeated_checkpoint_of_a_closed_session_is_reported_on_again() {
    let mut alone = after_a_block();
    let before = alone.reports(session(1, 1)).len();
    alone.run_for(secs(2));

    alone.hear(PEER, "03 01 01 00 04 00 0a @1000 00 07*10");

    assert_eq!(alone.received().len(), 1);
    assert!(alone.reports(session(1, 1)).len() > before);
}

// A receiver that lost its memory.

/// A sender of 8000 octets that has learnt of the first three segments, and has then sent the checkpoint that ends the
/// block, whose serial number is returned.
fn half_claimed() -> (Alone<u64>, SessionId, u64) {
    let mut alone = Alone::new(Config::engine(1), 1);
    let peer = Peer {
        checkpoint_every: NonZeroU32::new(3),
        flow: Flow::rate(1400).with_burst(1400),
        ..Peer::at(PEER)
    };
    alone.engine.add_peer(alone.now, 2, peer).unwrap();
    let id = alone.engine.send_block(alone.now, block(2, 8000)).unwrap();
    alone.run_for(secs(3));
    let first = checkpoints(&alone, id);
    hear_report(&mut alone, id, 14_809, first[0], 0..4000, 0..4000);
    alone.run_for(secs(3));
    let serials = checkpoints(&alone, id);
    assert_eq!((first.len(), serials.len()), (1, 2));
    (alone, id, serials[1])
}

fn hear_report(
    alone: &mut Alone<u64>,
    id: SessionId,
    serial: u64,
    checkpoint: u64,
    scope: core::ops::Range<u64>,
    claim: core::ops::Range<u64>,
) {
    let text = format!(
        "08 01 @{} 00 @{serial} @{checkpoint} @{} @{} 01 @{} @{}",
        id.number,
        scope.end,
        scope.start,
        claim.start - scope.start,
        claim.end - claim.start
    );
    alone.receive(PEER, &datagram(&text));
}

/// The first octets, claimed before, that were sent again.
fn sends_again(alone: &Alone<u64>, id: SessionId, from: usize) -> bool {
    alone.sent[from..].iter().any(|sent| {
        let segment = sent.segment();
        let is_first = |body| matches!(body, Body::Data(data) if data.offset == 0);
        segment.session == id && is_first(segment.body)
    })
}

fn is_complete<A: farlink::Addr>(alone: &Alone<A>) -> bool {
    let mut events = alone.events.iter();
    events.any(|(_, event)| matches!(event, Event::Complete { .. }))
}

#[test]
fn octets_that_a_later_report_does_not_claim_again_are_sent_again() {
    // Whatever the serial number: one after the other, lower, or a little higher.
    for serial in [14_810, 11_641, 14_900, 16_000] {
        let (mut alone, id, last) = half_claimed();
        let before = alone.sent.len();

        hear_report(&mut alone, id, serial, last, 0..8000, 6933..8000);
        alone.run_for(secs(9));

        assert!(sends_again(&alone, id, before), "serial {serial}");
        assert!(!is_complete(&alone), "serial {serial}");
    }
}

#[test]
fn claims_of_a_receiver_whose_serial_numbers_start_anew_do_not_complete_those_before() {
    for serial in [11_641, 14_809 + 500] {
        let (mut alone, id, last) = half_claimed();
        let before = alone.sent.len();

        // Its scope begins where the claims before end: primary reports abut.
        hear_report(&mut alone, id, serial, last, 4000..8000, 4000..8000);
        alone.run_for(secs(9));

        assert!(!is_complete(&alone), "serial {serial}");
        assert!(sends_again(&alone, id, before), "serial {serial}");
    }
}

/// A report that cites a checkpoint which was never sent is anybody's.
#[test]
fn a_report_on_a_checkpoint_never_sent_is_acknowledged_and_its_claims_are_not_used() {
    let mut alone = Alone::new(Config::engine(1), 1);
    alone.engine.add_peer(alone.now, 2, Peer::at(PEER)).unwrap();
    let id = alone.engine.send_block(alone.now, block(2, 8000)).unwrap();
    alone.drain();
    let unknown = checkpoints(&alone, id)[0] + 1;

    hear_report(&mut alone, id, 77, unknown, 0..8000, 0..8000);

    assert!(!is_complete(&alone));
    assert!(alone.bodies(id).contains(&Body::ReportAck(77)));
}

/// A restart does not forget which checkpoints were sent.
#[test]
fn a_report_on_a_checkpoint_never_sent_is_not_used_after_a_restart_either() {
    let mut alone = Alone::new(Config::engine(1), 1);
    alone.engine.add_peer(alone.now, 2, Peer::at(PEER)).unwrap();
    let id = alone.engine.send_block(alone.now, block(2, 8000)).unwrap();
    alone.drain();
    let sent = checkpoints(&alone, id);
    let saved = alone.engine.snapshot(alone.now);
    let (config, now) = (Config::engine(1), alone.now);
    alone.engine = Engine::restore(config, Seed::from(9), saved, Age::Current, now).unwrap();
    alone.drain();
    let after = checkpoints(&alone, id);
    assert_eq!(after[sent.len()], sent[0] + 1, "serial numbers go on");

    hear_report(&mut alone, id, 77, sent[0] - 1, 0..8000, 0..8000);

    assert!(!is_complete(&alone));
    assert_eq!(alone.engine.stats().unknown_checkpoint, 1);
    hear_report(&mut alone, id, 78, sent[0], 0..8000, 0..8000);
    assert!(is_complete(&alone));
}

// Where a peer is.

fn path(remote: &str) -> Path {
    let local = SocketAddr::from(([192, 0, 2, 1], 1113));
    Path::udp(local, remote.parse().unwrap())
}

fn on_paths(named: &[(u64, &str)], welcomes: bool) -> Alone<Path> {
    let mut alone = Alone::new(Config::engine(2), 2);
    let now = alone.now;
    for (id, address) in named {
        let peer = Peer::at(path(address));
        alone.engine.add_peer(now, *id, peer).unwrap();
    }
    if welcomes {
        let template = Peer::at(path("192.0.2.2:1113"));
        let template = Some(template);
        alone
            .engine
            .accept_unknown_peers(now, template, 1024)
            .unwrap();
    }
    alone.engine.open(now, CLIENT, Service::Whole).unwrap();
    alone
}

const GATEWAY: &str = "192.0.2.9:4000";

/// Two blocks of two segments, whose segments alternate.
fn alternate(alone: &mut Alone<Path>, from: [&str; 2]) {
    for text in [
        "00 0b 01 00 04 00 05 41*5",
        "00 0c 01 00 04 00 05 42*5",
        "03 0b 01 00 04 05 05 09 00 41*5",
        "03 0c 01 00 04 05 05 09 00 42*5",
    ] {
        let at = usize::from(text.starts_with("00 0c") || text.starts_with("03 0c"));
        alone.hear(path(from[at]), text);
    }
}

#[test]
fn two_named_engines_behind_one_address_are_both_received() {
    let mut alone = on_paths(&[(11, GATEWAY)], false);
    let other = Peer::at(path(GATEWAY));
    assert_eq!(alone.engine.add_peer(alone.now, 12, other), Ok(()));

    alternate(&mut alone, [GATEWAY, GATEWAY]);

    let whole = [
        (session(11, 1), &b"AAAAAAAAAA"[..]),
        (session(12, 1), &b"BBBBBBBBBB"[..]),
    ];
    assert_eq!(alone.received(), whole);
}

#[test]
fn two_strangers_behind_one_address_are_both_received() {
    let mut alone = on_paths(&[], true);

    alternate(&mut alone, [GATEWAY, GATEWAY]);

    assert_eq!(alone.received().len(), 2);
    for id in [11, 12] {
        assert!(alone.has_reported(session(id, 1), 9), "engine {id}");
    }
}

/// Its program was ended in the middle of a block and started again, on a port that the system chose.
#[test]
fn a_stranger_that_starts_anew_at_another_port_is_answered_there_once_its_old_port_is_silent() {
    let (old, new) = (path("192.0.2.11:40000"), path("192.0.2.11:50000"));
    let mut alone = on_paths(&[], true);
    alone.hear(old, "00 0b 01 00 04 00 05 41*5");

    alone.hear(new, "03 0b 02 00 04 00 05 09 00 41*5");
    assert!(!alone.sent.iter().any(|sent| sent.to == new), "at once");
    alone.run_for(secs(2));
    alone.hear(new, "03 0b 02 00 04 00 05 09 00 41*5");
    alone.run_for(secs(2));

    assert!(alone.sent.iter().any(|sent| sent.to == new));
}

/// Nothing is taken from anybody on the word of a datagram that anybody can send.
#[test]
fn a_datagram_under_another_id_from_the_address_of_a_peer_ends_no_session() {
    let mut alone = on_paths(&[], true);
    alone.hear(path(GATEWAY), "00 0b 01 00 04 00 05 41*5");

    alone.hear(path(GATEWAY), "00 8767 05 00 04 00 01 78");
    alone.hear(path(GATEWAY), "03 0b 01 00 04 05 05 09 00 41*5");

    let whole = [(session(11, 1), &b"AAAAAAAAAA"[..])];
    assert_eq!(alone.received(), whole);
}

#[test]
fn what_comes_from_another_host_under_the_id_of_a_peer_is_not_stored_delivered_or_answered() {
    let mut alone = on_paths(&[(11, "192.0.2.11:1113")], true);

    alone.hear(path("198.51.100.7:1113"), "03 0b 01 00 04 00 05 09 00 41*5");
    alone.hear(path("198.51.100.7:1113"), "00 0b 02 00 04 00 05 41*5");
    alone.run_for(secs(60));

    assert_eq!(alone.events, []);
    assert_eq!(alone.sent.len(), 0);
    assert_eq!(alone.engine.usage().sessions, (0, 0));
}

/// ION sends from another port than the one it listens at, and is answered where it listens.
#[test]
fn a_peer_is_heard_from_any_port_of_its_host_and_answered_at_its_address() {
    let mut alone = on_paths(&[(11, "192.0.2.11:1113")], false);

    alone.hear(path("192.0.2.11:40000"), "03 0b 01 00 04 00 05 09 00 41*5");

    assert_eq!(alone.received().len(), 1);
    assert_eq!(alone.sent[0].to, path("192.0.2.11:1113"));
}

#[test]
fn claims_and_cancellations_from_another_host_do_not_end_a_block() {
    let report = |id: SessionId, checkpoint: u64| {
        format!(
            "08 0b @{} 00 01 @{checkpoint} @3000 00 01 00 @3000",
            id.number
        )
    };
    let cancel = |id: SessionId| format!("0e 0b @{} 00 03", id.number);
    for at in 0..3 {
        let mut alone = Alone::new(Config::engine(11), 1);
        let there = Peer::at(path("192.0.2.2:1113"));
        alone.engine.add_peer(alone.now, 2, there).unwrap();
        let id = alone.engine.send_block(alone.now, block(2, 3000)).unwrap();
        alone.drain();
        let checkpoint = checkpoints(&alone, id)[0];
        let forged = [report(id, checkpoint), report(id, 0), cancel(id)];

        alone.hear(path("198.51.100.7:1113"), &forged[at]);

        assert_eq!(alone.events, [], "{}", forged[at]);
        assert_eq!(alone.engine.usage().sessions, (1, 0));
    }
}

/// What a peer that roams says from another host is used if it cites a checkpoint, which only the peer has seen.
#[test]
fn an_asynchronous_report_from_another_host_ends_no_block_of_a_peer_that_roams() {
    let report = |id: SessionId, checkpoint: u64| {
        let number = id.number;
        format!("08 0b @{number} 00 01 @{checkpoint} @3000 00 01 00 @3000")
    };
    for (from, cites, is_used) in [
        ("198.51.100.7:1113", false, false),
        ("198.51.100.7:1113", true, true),
        ("192.0.2.2:4000", false, true),
    ] {
        let mut alone = Alone::new(Config::engine(11), 1);
        let there = Peer {
            roams: true,
            ..Peer::at(path("192.0.2.2:1113"))
        };
        alone.engine.add_peer(alone.now, 2, there).unwrap();
        let id = alone.engine.send_block(alone.now, block(2, 3000)).unwrap();
        alone.drain();
        let checkpoint = checkpoints(&alone, id)[0];

        alone.hear(path(from), &report(id, if cites { checkpoint } else { 0 }));

        assert_eq!(is_complete(&alone), is_used, "{from} {cites}");
        assert!(alone.bodies(id).contains(&Body::ReportAck(1)));
    }
}

/// An engine ID in two places: whoever has a live session keeps its place.
#[test]
fn a_stranger_with_a_live_session_is_not_moved_by_a_segment_from_elsewhere() {
    let mut alone = on_paths(&[], true);
    alone.hear(path("192.0.2.13:1113"), "00 0d 01 00 04 00 05 41*5");

    alone.hear(path("198.51.100.7:1113"), "00 0d 02 00 04 00 05 42*5");
    alone.hear(path("192.0.2.13:1113"), "03 0d 01 00 04 05 05 09 00 41*5");

    assert_eq!(alone.received().len(), 1);
    let report = alone
        .sent
        .iter()
        .find(|sent| sent.segment().session == session(13, 1));
    assert_eq!(report.unwrap().to, path("192.0.2.13:1113"));
}
