//! Timers: start, stop and expiry.

use std::time::Duration;

use bytes::Bytes;
use farlink::{Ask, Instant, Limits, Link, Output, Tag};

use crate::cotp_probe::*;

#[test]
fn ts1_starts_when_the_request_is_written() {
    let mut probe = Probe::new(bare());
    probe.link(Link::Full);
    probe.link(Link::Up);
    assert_eq!(probe.wait(), None);
    probe.pass(60 * SECOND);
    assert_eq!(probe.events(), []);

    probe.link(Link::Free);

    assert_eq!(probe.sent(), "03 00 00 0B 06 E0 00 00 00 01 00");
    assert_eq!(probe.wait(), Some(10 * SECOND));
}

#[test]
fn ts1_starts_with_the_last_octet_of_the_request() {
    let mut probe = Probe::with_limits(bare(), Limits::stream(10));
    probe.link_undrained(Link::Up);
    assert_eq!(probe.poll(), Output::Transmit);
    probe.link(Link::Full);
    assert_eq!(probe.wait(), None);

    probe.link(Link::Free);

    assert_eq!(probe.wait(), Some(10 * SECOND));
}

#[test]
fn ts1_ends_an_unanswered_request() {
    let mut probe = Probe::up(Config {
        timers: ConnectionTimers {
            answer_timeout: Some(3 * SECOND),
            ..bare().timers
        },
        ..bare()
    });

    probe.pass(Duration::from_nanos(2_999_999_999));
    assert_eq!(probe.events(), []);
    probe.pass(Duration::from_nanos(1));

    assert_eq!(probe.events(), [failed(EndReason::NoConfirm(3 * SECOND))]);
    assert_eq!(probe.asks(), [Ask::Finish(())]);
    assert_eq!(
        EndReason::NoConfirm(3 * SECOND).to_string(),
        "no answer to the connection request within 3s"
    );
}

#[test]
fn ts1_continues_while_a_confirm_arrives_in_parts() {
    let mut probe = Probe::up(bare());

    for octet in ["03", "00", "00", "0B", "06", "D0", "00", "01", "00"] {
        probe.feed(octet);
        probe.pass(SECOND);
    }
    probe.pass(SECOND);

    assert_eq!(probe.events(), [failed(EndReason::NoConfirm(10 * SECOND))]);
}

#[test]
fn ts1_stops_with_the_confirm() {
    let mut probe = Probe::initiator(bare());

    assert_eq!(probe.wait(), None);
    probe.pass(3600 * SECOND);

    assert_eq!(probe.events(), []);
}

#[test]
fn a_confirm_that_arrives_with_the_end_of_ts1_counts() {
    let mut probe = Probe::up(bare());
    probe.now += 10 * SECOND;

    probe.feed(BARE_CC);

    probe.connected();
}

#[test]
fn the_wait_for_a_request_is_limited() {
    let mut probe = Probe::up(anybody());
    assert_eq!(probe.wait(), Some(10 * SECOND));

    probe.feed("03 00 00 0B");
    probe.pass(10 * SECOND);

    assert_eq!(probe.reason(), EndReason::NoRequest(10 * SECOND));
    assert_eq!(probe.sent(), "");
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn the_wait_for_a_request_ends_with_it() {
    let mut probe = Probe::up(asking());
    probe.feed(BARE_CR);
    probe.indication();

    assert_eq!(probe.wait(), None, "the application takes its time");
}

#[test]
fn every_wait_can_be_switched_off() {
    let patient = |config: Config| Config {
        timers: ConnectionTimers {
            answer_timeout: None,
            request_timeout: None,
            packet_timeout: None,
            idle_timeout: None,
            ..config.timers
        },
        ..config
    };
    let mut requesting = Probe::up(patient(bare()));
    let mut listening = Probe::up(patient(anybody()));
    let mut open = Probe::responder(patient(anybody()));

    requesting.feed("03 00");
    listening.feed("03 00");
    open.feed("03 00");

    assert_eq!(requesting.wait(), None);
    assert_eq!(listening.wait(), None);
    assert_eq!(open.wait(), None);
}

#[test]
fn an_incomplete_packet_ends_the_connection() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 0A 02 F0 80 61");
    assert_eq!(probe.wait(), Some(30 * SECOND));
    probe.pass(20 * SECOND);
    probe.feed("62");
    probe.pass(10 * SECOND);

    let Event::Closed(end) = probe.event() else {
        panic!("not closed");
    };
    assert_eq!(end.reason, EndReason::PacketStalled(30 * SECOND));
    assert_eq!(end.incomplete, 9);
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn each_packet_restarts_the_packet_timer() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 08");
    probe.pass(20 * SECOND);
    probe.feed("02 F0 80 61 03 00 00 08");
    assert_eq!(probe.wait(), Some(30 * SECOND));
    probe.pass(20 * SECOND);
    probe.feed("02 F0 80 61");

    assert_eq!(probe.wait(), None);
    assert_eq!(probe.events(), [received(b"a"), received(b"a")]);
}

#[test]
fn the_packet_timer_stops_between_the_segments_of_a_message() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 08 02 F0 00 61");

    assert_eq!(probe.wait(), None);
}

#[test]
fn an_idle_connection_ends_when_configured() {
    let mut probe = Probe::up(Config {
        timers: ConnectionTimers {
            idle_timeout: Some(5 * SECOND),
            ..anybody().timers
        },
        ..anybody()
    });
    probe.feed(BARE_CR);
    probe.connected();
    assert_eq!(probe.wait(), Some(5 * SECOND));

    probe.pass(3 * SECOND);
    probe.feed(ABC);
    assert_eq!(
        probe.wait(),
        Some(5 * SECOND),
        "any octet is a sign of life"
    );
    probe.pass(2 * SECOND);
    probe.send(b"abc").unwrap();
    assert_eq!(probe.wait(), Some(3 * SECOND), "our own sending is none");
    probe.events();
    probe.pass(3 * SECOND);

    assert_eq!(probe.events(), [closed(EndReason::Idle(5 * SECOND))]);
}

#[test]
fn the_timers_of_the_peer_are_suspended_while_it_is_not_read() {
    let mut probe = Probe::up(Config {
        after_handshake: AfterHandshake::Pause,
        timers: ConnectionTimers {
            idle_timeout: Some(5 * SECOND),
            ..anybody().timers
        },
        ..anybody()
    });
    probe.feed(BARE_CR);
    probe.connected();

    probe.pass(5 * SECOND);
    assert_eq!(probe.events(), []);
    probe.run(Command::Resume).unwrap();
    assert_eq!(probe.wait(), Some(5 * SECOND));
    probe.pass(5 * SECOND);

    assert_eq!(probe.events(), [closed(EndReason::Idle(5 * SECOND))]);
}

#[test]
fn a_stream_that_is_not_read_has_no_deadline() {
    let mut probe = Probe::up(Config {
        after_handshake: AfterHandshake::Pause,
        timers: ConnectionTimers {
            packet_timeout: Some(Duration::from_nanos(1)),
            idle_timeout: Some(Duration::from_nanos(1)),
            ..anybody().timers
        },
        ..anybody()
    });

    // The second packet waits in part while nothing is decoded.
    probe.feed(&[BARE_CR, " 03 00 00 0A"].concat());
    probe.connected();
    assert_eq!(probe.wait(), None);
    probe.pass(3600 * SECOND);
    assert_eq!((probe.events(), probe.wait()), (Vec::new(), None));
    probe.run(Command::Resume).unwrap();
    assert_eq!(probe.events(), []);

    assert_eq!(probe.wait(), Some(Duration::from_nanos(1)));
}

#[test]
fn a_closing_connection_that_makes_no_progress_is_aborted() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();

    probe.run(Command::Close).unwrap();
    assert_eq!(probe.wait(), Some(30 * SECOND));
    probe.pass(30 * SECOND);

    assert_eq!(probe.asks(), [Ask::Abort(())]);
    assert_eq!(
        probe.events(),
        [cut_off(EndReason::SendStalled(30 * SECOND), 3)]
    );
    assert!(probe.is_done);
}

#[test]
fn progress_gives_a_closing_connection_more_time() {
    let mut probe = Probe::with_limits(anybody(), Limits::stream(10));
    probe.link(Link::Up);
    probe.feed(BARE_CR);
    probe.connected();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"abcdefgh")))
        .unwrap();
    probe.run_undrained(Command::Close).unwrap();

    probe.now += 29 * SECOND;
    assert_eq!(probe.poll(), Output::Transmit);
    probe.link(Link::Full);
    assert_eq!(probe.wait(), Some(30 * SECOND));
    probe.pass(29 * SECOND);
    probe.link(Link::Free);

    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn ts2_starts_with_our_fin_and_closes_without_the_peer() {
    let mut probe = Probe::responder(anybody());

    probe.run(Command::Close).unwrap();
    assert_eq!(probe.wait(), Some(2 * SECOND));
    probe.feed(ABC);
    probe.pass(2 * SECOND);

    assert_eq!(probe.asks(), [Ask::Finish(()), Ask::Close(())]);
    assert_eq!(probe.events(), [closed(EndReason::HalfClosed(2 * SECOND))]);
    assert!(probe.is_done);
}

#[test]
fn a_refusal_waits_for_the_peer_too() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 0E 09 E0 00 00 12 34 40 C7 01 40");
    assert_eq!(probe.sent(), "03 00 00 0B 06 80 12 34 00 00 82");
    assert_eq!(
        probe.asks(),
        [Ask::Finish(())],
        "no abort that would overtake the DR"
    );
    assert!(
        probe.wants(),
        "what comes is read, or an abort would follow"
    );
    probe.pass(2 * SECOND);

    assert_eq!(probe.asks(), [Ask::Close(())]);
    assert!(probe.is_done);
}

#[test]
fn a_detach_that_makes_no_progress_is_aborted() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();

    probe.run(Command::Detach(Tag(7))).unwrap();
    assert_eq!(probe.wait(), Some(30 * SECOND));
    probe.pass(30 * SECOND);

    assert_eq!(probe.asks(), [Ask::Abort(())]);
    assert_eq!(
        probe.events(),
        [cut_off(EndReason::SendStalled(30 * SECOND), 3)]
    );
    assert!(probe.is_done);
}

#[test]
fn time_never_goes_back() {
    let mut probe = Probe::up(bare());

    probe.now = Instant::ZERO;
    probe.drain();
    assert_eq!(probe.deadline, Some(Instant::from_nanos(11_000_000_000)));
    probe.now = Instant::from_nanos(11_000_000_000);
    probe.drain();

    assert_eq!(probe.reason(), EndReason::NoConfirm(10 * SECOND));
}

#[test]
fn at_the_end_of_time_suspended_timers_stay_suspended() {
    let mut probe = Probe::up(Config {
        after_handshake: AfterHandshake::Pause,
        timers: ConnectionTimers {
            idle_timeout: Some(5 * SECOND),
            ..anybody().timers
        },
        ..anybody()
    });
    probe.feed(BARE_CR);
    probe.connected();

    probe.now = Instant::MAX;
    probe.drain();

    assert_eq!(probe.deadline, None);
    assert_eq!(probe.events(), []);
}
