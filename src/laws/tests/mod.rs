//! The laws on trial: toys that keep them all, and toys that break one each.

mod beacon;
mod codecs;
mod lines;
mod random;
mod watching;

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::{Cause, Hop, Limits, Link, Tag};
use beacon::Beacon;
use lines::{Command, Fault, Lines, frames};

type Script = Vec<Step<(), Command>>;

const UP: Step<(), Command> = Step::Link {
    at: (),
    state: Link::Up,
};
const NEAR: Hop = beacon::neighbour(1);

fn lines(fault: Fault, script: Script) -> Case<Lines> {
    let config = lines::Config {
        fault,
        has_gate: false,
    };
    Case {
        limits: Limits::stream(8),
        ..Case::new(config, script)
    }
}

fn arrive(payloads: &[&[u8]]) -> Step<(), Command> {
    Step::Receive {
        from: (),
        octets: frames(payloads),
    }
}

fn cue(state: Link) -> Step<(), Command> {
    Step::Link { at: (), state }
}

/// Gives the breach of a script on a machine with `fault`, which the script does not find without it.
#[track_caller]
fn breach(fault: Fault, script: Script) -> Violation {
    try_check(&lines(Fault::None, script.clone())).expect("the toy keeps the laws");
    try_check(&lines(fault, script)).expect_err("the fault is found")
}

#[track_caller]
fn beacon_breach(fault: beacon::Fault, script: Vec<Step<Hop, beacon::Command>>) -> Violation {
    let case = Case::<Beacon>::new(beacon::Fault::None, script);
    try_check(&case).expect("the toy keeps the laws");
    let config = fault;
    try_check(&Case { config, ..case }).expect_err("the fault is found")
}

#[test]
fn law_1_finds_a_drain_that_never_ends() {
    let script = vec![UP, arrive(&[b"boom"]), Step::Drain];

    let breach = breach(Fault::EventsWithoutEnd, script);

    assert_eq!(breach.law, Law::DrainEnds, "{breach}");
    assert!(breach.detail.ends_with("outputs in one drain"), "{breach}");
}

#[test]
fn law_1_finds_events_that_time_alone_yields_for_ever() {
    let breach = breach(Fault::EventEverySecond, vec![UP, arrive(&[b"boom"])]);

    assert_eq!(breach.law, Law::DrainEnds, "{breach}");
    assert!(breach.detail.ends_with("events of time alone"), "{breach}");
}

#[test]
fn law_2_finds_a_deadline_that_is_not_ahead() {
    let breach = breach(
        Fault::DeadlineInThePast,
        vec![UP, arrive(&[b"boom"]), Step::Drain],
    );

    assert_eq!(breach.law, Law::IdleIsQuiet, "{breach}");
    assert_eq!(
        breach.detail,
        "idle until 3600.000000000s, polled at 3600.000000000s"
    );
}

#[test]
fn law_2_finds_a_deadline_that_slides_when_polled_early() {
    let breach = breach(
        Fault::DeadlineSlides,
        vec![UP, arrive(&[b"boom"]), Step::Wake],
    );

    assert_eq!(breach.law, Law::IdleIsQuiet, "{breach}");
    assert!(
        breach.detail.ends_with("it gave another deadline"),
        "{breach}"
    );
}

#[test]
fn law_2_finds_that_an_early_poll_is_felt_later() {
    let script = vec![
        UP,
        Step::Drain,
        Step::Wait(Duration::from_secs(1)),
        arrive(&[b"?"]),
    ];

    let breach = breach(Fault::PollIsFelt, script);

    assert_eq!(breach.law, Law::IdleIsQuiet, "{breach}");
    assert!(
        breach
            .detail
            .starts_with("polled before its deadlines it gave Sent"),
        "{breach}"
    );
}

#[test]
fn law_3_finds_an_empty_send() {
    let breach = breach(Fault::EmptySend, vec![arrive(&[b"boom"]), Step::Drain]);

    assert_eq!(breach.law, Law::SendFits, "{breach}");
    assert_eq!(breach.detail, "it gave a send with nothing in `tx`");
}

#[test]
fn law_3_finds_a_send_beyond_the_limits() {
    let send = Step::Command(Command::Send(vec![1; 9]));

    let breach = breach(
        Fault::LongSend,
        vec![UP, arrive(&[b"boom"]), Step::Drain, send],
    );

    assert_eq!(breach.law, Law::SendFits, "{breach}");
    assert_eq!(breach.detail, "a send of 9 octets exceeds the limit of 8");
}

#[test]
fn law_3_finds_octets_that_nobody_will_send() {
    let breach = breach(
        Fault::OctetsUnderIdle,
        vec![arrive(&[b"boom"]), Step::Drain],
    );

    assert_eq!(breach.law, Law::SendFits, "{breach}");
    assert_eq!(breach.detail, "1 octets lie in `tx` under another deadline");
}

#[test]
fn law_3_finds_long_datagrams_and_long_batches() {
    let asked = Step::Receive {
        from: NEAR,
        octets: b"?".to_vec(),
    };

    let datagram = beacon_breach(beacon::Fault::LongDatagram, vec![asked.clone()]);
    let batch = beacon_breach(beacon::Fault::LongBatch, vec![asked]);

    assert_eq!((datagram.law, batch.law), (Law::SendFits, Law::SendFits));
    assert_eq!(
        datagram.detail,
        "a datagram of 2000 octets exceeds the limit of 1472"
    );
    assert_eq!(
        batch.detail,
        "a batch of 64 datagrams exceeds the limit of 44"
    );
}

#[test]
fn law_4_finds_a_machine_that_wakes_after_done() {
    let script = vec![UP, Step::Command(Command::Close), Step::Drain, Step::Drain];

    let breach = breach(Fault::WakesAfterDone, script);

    assert_eq!(breach.law, Law::DoneIsFused, "{breach}");
    assert_eq!(breach.detail, "after `Done` it gave no deadline");
}

#[test]
fn law_5_finds_chance_that_does_not_come_from_the_seed() {
    let breach = breach(Fault::ChanceOfItsOwn, vec![UP, arrive(&[b"?"])]);

    assert_eq!(breach.law, Law::Determined, "{breach}");
    assert!(
        breach.detail.starts_with("a second run gave Sent"),
        "{breach}"
    );
}

#[test]
fn law_6_finds_a_stream_that_follows_the_clock_back() {
    let script = vec![
        UP,
        Step::Wait(Duration::from_secs(5)),
        Step::Drain,
        Step::Back(Duration::from_secs(2)),
        arrive(&[b"late"]),
    ];

    let breach = breach(Fault::ClockGoesBack, script);

    assert_eq!(breach.law, Law::TimeStandsStill, "{breach}");
    assert!(
        breach
            .detail
            .starts_with("with the clock standing still it gave"),
        "{breach}"
    );
}

#[test]
fn law_6_is_blamed_for_what_breaks_only_while_the_clock_goes_back() {
    let script = vec![
        UP,
        Step::Wait(Duration::from_secs(29)),
        Step::Poll,
        Step::Back(Duration::from_secs(40)),
        arrive(&[b"early"]),
        Step::Drain,
    ];

    let breach = try_check(&lines(Fault::ClockGoesBack, script)).expect_err("the fault is found");

    assert_eq!(breach.law, Law::TimeStandsStill, "{breach}");
    assert!(
        breach
            .detail
            .starts_with("law 2 holds while the clock stands still, and not here: idle until"),
        "{breach}"
    );
}

#[test]
fn law_6_finds_a_timer_set_from_an_unchecked_clock() {
    let script = vec![
        Step::Wait(Duration::from_secs(5)),
        Step::Drain,
        Step::Back(Duration::from_millis(500)),
        Step::Command(beacon::Command::Probe(1)),
    ];

    let breach = beacon_breach(beacon::Fault::TimerFromTheClock, script);

    assert_eq!(breach.law, Law::TimeStandsStill, "{breach}");
}

#[test]
#[cfg(feature = "std")]
fn law_7_finds_a_panic_and_quotes_it() {
    let breach = breach(
        Fault::Panics,
        vec![UP, Step::Drain, arrive(&[b"fine", b"boom"])],
    );

    assert_eq!(breach.law, Law::NoPanic, "{breach}");
    assert_eq!(breach.detail, "it panicked: a frame it cannot bear");
}

#[test]
fn law_8_finds_a_hoard() {
    let mut script = vec![UP];
    for _ in 0..12 {
        script.extend([arrive(&[&[1; 100]]), Step::Drain]);
    }

    let breach = breach(Fault::Hoards, script);

    assert_eq!(breach.law, Law::MemoryIsBounded, "{breach}");
    assert!(
        breach
            .detail
            .contains("bytes held by its own count, above the ceiling of 1024 and"),
        "{breach}"
    );
}

#[test]
fn law_8_finds_memory_that_every_datagram_takes() {
    let datagram = Step::Receive {
        from: NEAR,
        octets: b"-".to_vec(),
    };
    let script = vec![datagram; 300];

    let breach = beacon_breach(beacon::Fault::RemembersAll, script);

    assert_eq!(breach.law, Law::MemoryIsBounded, "{breach}");
}

#[test]
fn law_8_finds_a_flooded_stream_that_is_read_on() {
    let flood = Step::Flood {
        from: (),
        octets: frames(&[b"c"]),
    };
    let script = vec![UP, arrive(&[b"a", b"b"]), flood, Step::Drain];

    let breach = breach(Fault::ReadsOnWhenFlooded, script);

    assert_eq!(breach.law, Law::MemoryIsBounded, "{breach}");
    assert_eq!(
        breach.detail,
        "() was fed on while not wanted, and is read on"
    );
}

#[test]
fn law_8_is_weighed_by_a_meter_too() {
    // A meter that sees half a kilobyte more at each look stands for an allocator that counts.
    let mut allocated = 500;
    let meter = || {
        allocated += 512;
        allocated
    };

    let breach = try_check_metered(&lines(Fault::None, vec![UP, Step::Drain]), meter);

    let breach = breach.expect_err("it grows");
    assert_eq!(breach.law, Law::MemoryIsBounded, "{breach}");
    assert!(
        breach.detail.contains("bytes held by the meter"),
        "{breach}"
    );
    assert_eq!(
        try_check_metered(&lines(Fault::None, vec![UP, Step::Drain]), || 500),
        Ok(())
    );
}

#[test]
fn law_9_finds_a_machine_that_takes_chunks_for_frames() {
    let breach = breach(Fault::EventPerChunk, vec![UP, arrive(&[b"one", b"two"])]);

    assert_eq!(breach.law, Law::ChunksVanish, "{breach}");
    assert!(
        breach
            .detail
            .starts_with("read whole the events were [Frame("),
        "{breach}"
    );
}

#[test]
fn law_9_finds_heads_lost_when_split() {
    let breach = breach(Fault::LosesSplitHeads, vec![UP, arrive(&[b"one"])]);

    assert_eq!(breach.law, Law::ChunksVanish, "{breach}");
    assert!(
        breach.detail.contains("read octet by octet they were []"),
        "{breach}"
    );
}

#[test]
fn law_11_finds_octets_between_full_and_free() {
    let send = Step::Command(Command::Send(b"now".to_vec()));

    let breach = breach(
        Fault::WritesWhenFull,
        vec![UP, cue(Link::Full), send, Step::Drain, cue(Link::Free)],
    );

    assert_eq!(breach.law, Law::Silence, "{breach}");
    assert_eq!(breach.detail, "3 octets were written to () after `Full`");
}

#[test]
fn law_11_finds_octets_after_down() {
    let send = Step::Command(Command::Send(b"now".to_vec()));

    let breach = breach(
        Fault::WritesAfterDown,
        vec![UP, send, cue(Link::Down(Cause::Reset)), Step::Drain],
    );

    assert_eq!(breach.law, Law::Silence, "{breach}");
    assert_eq!(breach.detail, "3 octets were written to () after `Down`");
}

#[test]
fn law_11_finds_octets_after_close() {
    let breach = breach(
        Fault::WritesAfterClose,
        vec![UP, Step::Command(Command::Close), Step::Drain],
    );

    assert_eq!(breach.law, Law::Silence, "{breach}");
    assert_eq!(breach.detail, "1 octets were written to () after `Close`");
}

#[test]
fn law_11_holds_for_a_contact_until_it_comes_up() {
    let down = Step::Link {
        at: NEAR,
        state: Link::Down(Cause::Closed),
    };
    let up = Step::Link {
        at: NEAR,
        state: Link::Up,
    };
    let probe = Step::Command(beacon::Command::Probe(1));

    let script = vec![down, probe, Step::Drain, up, Step::Drain];
    let breach = beacon_breach(beacon::Fault::WritesWhenDown, script.clone());

    assert_eq!(breach.law, Law::Silence, "{breach}");
    let sound = try_check(&Case::<Beacon>::new(beacon::Fault::None, script)).unwrap();
    assert_eq!(sound.sends, 3, "the probe goes out once it is up");
}

#[test]
fn law_12_finds_a_stream_that_is_never_wanted_again() {
    let script = vec![UP, arrive(&[b"a", b"b", b"c"]), Step::Drain];

    let breach = breach(Fault::NeverWantsAgain, script);

    assert_eq!(breach.law, Law::WantedAgain, "{breach}");
    assert_eq!(
        breach.detail,
        "() is not wanted, and nothing is left to wait for"
    );
}

#[test]
fn a_breach_names_law_and_step_and_gives_a_small_script_to_paste() {
    let script = vec![
        UP,
        Step::Wait(Duration::from_millis(1500)),
        arrive(&[b"fine"]),
        Step::Drain,
        Step::Command(Command::Take(Tag(3))),
        Step::Command(Command::Close),
        Step::Drain,
        Step::Poll,
        Step::Back(Duration::from_secs(1)),
    ];

    let breach = breach(Fault::WakesAfterDone, script);

    assert_eq!(
        breach.to_string(),
        "\
broken at step 2, law 4: `Done` is fused
  after `Done` it gave no deadline
by this script:
Case::<farlink::laws::tests::lines::Lines> {
    config: Config { fault: WakesAfterDone, has_gate: false },
    seed: 0,
    limits: Limits::new(1472, 44, 65536),
    script: vec![
        Step::Command(Command::Close),
        Step::Drain,
    ],
}"
    );
}

#[test]
fn every_step_prints_as_an_expression() {
    let steps: Script = vec![
        Step::Flood {
            from: (),
            octets: vec![1, 2],
        },
        cue(Link::Down(Cause::Reset)),
        cue(Link::Opened(Tag(7))),
        Step::Answer {
            open: 0,
            failed: Some(Cause::InUse),
        },
        Step::Command(Command::Accept),
        Step::Wait(Duration::new(1, 5)),
        Step::Back(Duration::from_secs(2)),
        Step::Wake,
    ];

    let printed: Vec<_> = steps
        .iter()
        .map(|step| alloc::format!("{step:?}"))
        .collect();

    assert_eq!(
        printed,
        [
            "Step::Flood { from: (), octets: vec![1, 2] }",
            "Step::Link { at: (), state: Link::Down(Cause::Reset) }",
            "Step::Link { at: (), state: Link::Opened(Tag(7)) }",
            "Step::Answer { open: 0, failed: Some(Cause::InUse) }",
            "Step::Command(Command::Accept)",
            "Step::Wait(Duration::new(1, 5))",
            "Step::Back(Duration::from_secs(2))",
            "Step::Wake",
        ]
    );
}

#[test]
#[should_panic(expected = "law 12")]
fn check_panics_with_the_breach() {
    check(lines(
        Fault::NeverWantsAgain,
        vec![UP, arrive(&[b"a", b"b", b"c"])],
    ));
}

#[test]
fn octets_behind_a_gate_are_held_however_they_are_cut() {
    let config = lines::Config {
        fault: Fault::None,
        has_gate: true,
    };
    let script = vec![
        UP,
        arrive(&[b"hello", b"?", b"early"]),
        Step::Drain,
        Step::Command(Command::Accept),
        arrive(&[b"more"]),
    ];

    let summary = try_check(&Case::<Lines>::new(config, script)).unwrap();

    // The last event is the end, after the silence that follows the script.
    assert_eq!((summary.events, summary.cut), (5, 5));
}

#[test]
fn a_stream_is_handed_over_with_the_same_octets_however_it_was_cut() {
    let config = lines::Config {
        fault: Fault::None,
        has_gate: true,
    };
    let script = vec![
        UP,
        arrive(&[b"hello", b"raw octets"]),
        Step::Command(Command::Take(Tag(1))),
    ];

    let summary = try_check(&Case::<Lines>::new(config, script)).unwrap();

    assert_eq!((summary.asks, summary.cut), (1, 3));
}

#[test]
fn octets_that_waited_for_room_may_speak_before_or_behind_it() {
    let send = |len| Step::Command(Command::Send(vec![b'-'; len]));
    let script = vec![
        UP,
        cue(Link::Full),
        send(40),
        send(40),
        arrive(&[b"?", b"?", b"?", b"a"]),
        Step::Drain,
        cue(Link::Free),
        Step::Drain,
    ];

    let summary = try_check(&lines(Fault::None, script)).unwrap();

    // Four frames, the room and the end.
    assert_eq!((summary.events, summary.cut), (6, 8));
}

#[test]
fn an_abort_may_lose_what_another_chunking_has_sent() {
    let reset = arrive(&[b"?", b"a", b""]);

    let summary = try_check(&lines(Fault::None, vec![UP, reset])).unwrap();

    assert_eq!((summary.events, summary.cut), (3, 2));
}

#[test]
fn an_open_is_answered_where_it_was_asked() {
    let open = Step::Command(beacon::Command::Open(Tag(5)));
    let opened = Step::Answer {
        open: 0,
        failed: None,
    };
    let failed = Step::Answer {
        open: 0,
        failed: Some(Cause::InUse),
    };

    let script = vec![open.clone(), open, Step::Drain, opened, failed, Step::Drain];
    let summary = try_check(&Case::<Beacon>::new(beacon::Fault::None, script)).unwrap();

    assert_eq!((summary.asks, summary.events), (2, 1));
}

#[test]
fn what_was_to_be_written_delays_done_and_not_for_ever() {
    let asked = Step::Receive {
        from: NEAR,
        octets: b"?".to_vec(),
    };
    let cue = |state| Step::Link { at: NEAR, state };
    let stop = Step::Command(beacon::Command::Stop);
    let full = vec![cue(Link::Full), asked, stop, Step::Drain];
    let mut free = full.clone();
    free.push(cue(Link::Free));

    let full = try_check(&Case::<Beacon>::new(beacon::Fault::None, full)).unwrap();
    let free = try_check(&Case::<Beacon>::new(beacon::Fault::None, free)).unwrap();

    assert_eq!((full.sends, free.sends), (0, 1));
}

#[test]
fn the_laws_are_numbered_as_they_are_listed() {
    let numbers: Vec<u8> = Law::ALL.iter().map(|law| law.number()).collect();

    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert!(
        Law::Silence
            .to_string()
            .starts_with("law 11: nothing is written between")
    );
}
