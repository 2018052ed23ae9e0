//! The laws find their faults: machines that keep all laws, and machines that violate one each.

mod beacon;
mod checker;
mod codecs;
mod lines;
mod random;

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
        must_accept: false,
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

/// Returns the violation of a script by a machine with `fault`; without it there is none.
#[track_caller]
fn violation(fault: Fault, script: Script) -> Violation {
    try_check(&lines(Fault::None, script.clone())).expect("the sound machine keeps the laws");
    try_check(&lines(fault, script)).expect_err("the fault is found")
}

#[track_caller]
fn beacon_violation(fault: beacon::Fault, script: Vec<Step<Hop, beacon::Command>>) -> Violation {
    let case = Case::<Beacon>::new(beacon::Fault::None, script);
    try_check(&case).expect("the sound machine keeps the laws");
    let config = fault;
    try_check(&Case { config, ..case }).expect_err("the fault is found")
}

/// The first open is answered.
const OPENED: Step<Hop, beacon::Command> = Step::Answer {
    open: 0,
    failed: None,
};

/// A datagram that the beacon answers.
fn asked(from: Hop) -> Step<Hop, beacon::Command> {
    let octets = b"?".to_vec();
    Step::Receive { from, octets }
}

#[test]
fn law_1_finds_a_drain_that_never_ends() {
    let script = vec![UP, arrive(&[b"boom"]), Step::Drain];

    let violation = violation(Fault::EventsWithoutEnd, script);

    assert_eq!(violation.law, Law::FiniteDrain, "{violation}");
    assert!(
        violation.detail.ends_with("outputs in one drain"),
        "{violation}"
    );
}

#[test]
fn law_1_finds_events_that_time_alone_yields_for_ever() {
    let violation = violation(Fault::EventEverySecond, vec![UP, arrive(&[b"boom"])]);

    assert_eq!(violation.law, Law::FiniteDrain, "{violation}");
    assert!(
        violation.detail.ends_with("events of time alone"),
        "{violation}"
    );
}

#[test]
fn law_1_finds_a_machine_that_yields_for_ever() {
    let violation = beacon_violation(beacon::Fault::YieldsForEver, vec![asked(NEAR), Step::Drain]);

    assert_eq!(violation.law, Law::FiniteDrain, "{violation}");
    assert!(
        violation.detail.ends_with("outputs in one drain"),
        "{violation}"
    );
}

#[test]
fn a_machine_that_yields_with_work_left_keeps_the_laws() {
    let mut script = vec![];
    for neighbour in 0..4 {
        script.push(Step::Command(beacon::Command::Probe(neighbour)));
    }
    script.extend([Step::Wake, Step::Wake, Step::Wake, Step::Wake]);

    let summary = try_check(&Case::<Beacon>::new(beacon::Fault::None, script)).unwrap();

    assert_eq!((summary.sends, summary.events), (12, 4));
}

#[test]
fn law_3_finds_octets_under_yield() {
    let violation = beacon_violation(beacon::Fault::OctetsUnderYield, vec![asked(NEAR)]);

    assert_eq!(violation.law, Law::TransmitWithinLimits, "{violation}");
    assert_eq!(violation.detail, "1 octets are in `tx` under `Yield`");
}

#[test]
fn law_2_finds_a_deadline_that_is_not_ahead() {
    let violation = violation(
        Fault::DeadlineInThePast,
        vec![UP, arrive(&[b"boom"]), Step::Drain],
    );

    assert_eq!(violation.law, Law::QuietUntilDeadline, "{violation}");
    assert_eq!(
        violation.detail,
        "idle until 3600.000000000s, polled at 3600.000000000s"
    );
}

#[test]
fn law_2_finds_a_deadline_that_slides_when_polled_early() {
    let violation = violation(
        Fault::DeadlineSlides,
        vec![UP, arrive(&[b"boom"]), Step::Wake],
    );

    assert_eq!(violation.law, Law::QuietUntilDeadline, "{violation}");
    assert!(
        violation.detail.ends_with("it gave another deadline"),
        "{violation}"
    );
}

#[test]
fn law_2_finds_that_an_early_poll_changes_a_later_output() {
    let script = vec![
        UP,
        Step::Drain,
        Step::Wait(Duration::from_secs(1)),
        arrive(&[b"?"]),
    ];

    let violation = violation(Fault::PollChangesState, script);

    assert_eq!(violation.law, Law::QuietUntilDeadline, "{violation}");
    assert!(
        violation
            .detail
            .starts_with("polled before its deadlines it gave Sent"),
        "{violation}"
    );
}

#[test]
fn law_3_finds_an_empty_send() {
    let violation = violation(Fault::EmptySend, vec![arrive(&[b"boom"]), Step::Drain]);

    assert_eq!(violation.law, Law::TransmitWithinLimits, "{violation}");
    assert_eq!(violation.detail, "it gave `Transmit` with an empty `tx`");
}

#[test]
fn law_3_finds_a_send_beyond_the_limits() {
    let send = Step::Command(Command::Send(vec![1; 9]));

    let violation = violation(
        Fault::LongSend,
        vec![UP, arrive(&[b"boom"]), Step::Drain, send],
    );

    assert_eq!(violation.law, Law::TransmitWithinLimits, "{violation}");
    assert_eq!(
        violation.detail,
        "a send of 9 octets exceeds the limit of 8"
    );
}

#[test]
fn law_3_finds_octets_under_an_output_that_sends_none() {
    let violation = violation(
        Fault::OctetsUnderIdle,
        vec![arrive(&[b"boom"]), Step::Drain],
    );

    assert_eq!(violation.law, Law::TransmitWithinLimits, "{violation}");
    assert_eq!(
        violation.detail,
        "1 octets are in `tx` under another deadline"
    );
}

#[test]
fn law_3_finds_long_datagrams_and_long_batches() {
    let asked = asked(NEAR);

    let datagram = beacon_violation(beacon::Fault::LongDatagram, vec![asked.clone()]);
    let batch = beacon_violation(beacon::Fault::LongBatch, vec![asked]);

    assert_eq!(
        (datagram.law, batch.law),
        (Law::TransmitWithinLimits, Law::TransmitWithinLimits)
    );
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

    let violation = violation(Fault::WakesAfterDone, script);

    assert_eq!(violation.law, Law::DoneIsFused, "{violation}");
    assert_eq!(violation.detail, "after `Done` it gave no deadline");
}

#[test]
fn law_5_finds_random_numbers_that_do_not_come_from_the_seed() {
    let violation = violation(Fault::RandomOutsideSeed, vec![UP, arrive(&[b"?"])]);

    assert_eq!(violation.law, Law::Deterministic, "{violation}");
    assert!(
        violation.detail.starts_with("a second run gave Sent"),
        "{violation}"
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

    let violation = violation(Fault::ClockGoesBack, script);

    assert_eq!(violation.law, Law::MonotonicTime, "{violation}");
    assert!(
        violation
            .detail
            .starts_with("with the clock standing still it gave"),
        "{violation}"
    );
}

#[test]
fn law_6_is_reported_for_a_violation_that_occurs_only_while_the_clock_goes_back() {
    let script = vec![
        UP,
        Step::Wait(Duration::from_secs(29)),
        Step::Poll,
        Step::Back(Duration::from_secs(40)),
        arrive(&[b"early"]),
        Step::Drain,
    ];

    let violation =
        try_check(&lines(Fault::ClockGoesBack, script)).expect_err("the fault is found");

    assert_eq!(violation.law, Law::MonotonicTime, "{violation}");
    assert!(
        violation
            .detail
            .starts_with("law 2 holds while the clock stands still, and not here: idle until"),
        "{violation}"
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

    let violation = beacon_violation(beacon::Fault::TimerFromTheClock, script);

    assert_eq!(violation.law, Law::MonotonicTime, "{violation}");
}

#[test]
#[cfg(feature = "std")]
fn law_7_finds_a_panic_and_quotes_it() {
    let violation = violation(
        Fault::Panics,
        vec![UP, Step::Drain, arrive(&[b"fine", b"boom"])],
    );

    assert_eq!(violation.law, Law::NoPanic, "{violation}");
    assert_eq!(
        violation.detail,
        "it panicked: a frame that it does not handle"
    );
}

#[test]
fn law_8_finds_memory_that_is_never_freed() {
    let mut script = vec![UP];
    for _ in 0..12 {
        script.extend([arrive(&[&[1; 100]]), Step::Drain]);
    }

    let violation = violation(Fault::NeverFrees, script);

    assert_eq!(violation.law, Law::BoundedMemory, "{violation}");
    assert!(
        violation
            .detail
            .contains("bytes used by its own count, above the limit of 1024 and"),
        "{violation}"
    );
}

#[test]
fn law_8_finds_memory_that_every_datagram_takes() {
    let datagram = Step::Receive {
        from: NEAR,
        octets: b"-".to_vec(),
    };
    let script = vec![datagram; 300];

    let violation = beacon_violation(beacon::Fault::RemembersAll, script);

    assert_eq!(violation.law, Law::BoundedMemory, "{violation}");
}

#[test]
fn law_8_finds_a_flooded_stream_that_is_read_on() {
    let flood = Step::Flood {
        from: (),
        octets: frames(&[b"c"]),
    };
    let script = vec![UP, arrive(&[b"a", b"b"]), flood, Step::Drain];

    let violation = violation(Fault::ReadsOnWhenFlooded, script);

    assert_eq!(violation.law, Law::BoundedMemory, "{violation}");
    assert_eq!(
        violation.detail,
        "() was fed while not wanted, and is still read"
    );
}

#[test]
fn law_8_is_checked_by_an_allocator_that_counts_too() {
    // Stands for the count of an allocator, which grows by half a kilobyte at each call.
    let mut allocated = 500;
    let meter = || {
        allocated += 512;
        allocated
    };

    let violation = try_check_metered(&lines(Fault::None, vec![UP, Step::Drain]), meter);

    let violation = violation.expect_err("it grows");
    assert_eq!(violation.law, Law::BoundedMemory, "{violation}");
    assert!(
        violation.detail.contains("bytes used by the allocator"),
        "{violation}"
    );
    assert_eq!(
        try_check_metered(&lines(Fault::None, vec![UP, Step::Drain]), || 500),
        Ok(())
    );
}

#[test]
fn law_9_finds_a_machine_that_takes_chunks_for_frames() {
    let violation = violation(Fault::EventPerChunk, vec![UP, arrive(&[b"one", b"two"])]);

    assert_eq!(violation.law, Law::ChunkingIndependent, "{violation}");
    assert!(
        violation
            .detail
            .starts_with("read whole the events were [Frame("),
        "{violation}"
    );
}

#[test]
fn law_9_finds_heads_lost_when_split() {
    let violation = violation(Fault::LosesSplitHeads, vec![UP, arrive(&[b"one"])]);

    assert_eq!(violation.law, Law::ChunkingIndependent, "{violation}");
    assert!(
        violation
            .detail
            .contains("read octet by octet they were []"),
        "{violation}"
    );
}

#[test]
fn law_11_finds_octets_between_full_and_free() {
    let send = Step::Command(Command::Send(b"now".to_vec()));

    let violation = violation(
        Fault::WritesWhenFull,
        vec![UP, cue(Link::Full), send, Step::Drain, cue(Link::Free)],
    );

    assert_eq!(violation.law, Law::NoWriteWhenClosed, "{violation}");
    assert_eq!(violation.detail, "3 octets were written to () after `Full`");
}

#[test]
fn law_11_finds_octets_after_down() {
    let send = Step::Command(Command::Send(b"now".to_vec()));

    let violation = violation(
        Fault::WritesAfterDown,
        vec![UP, send, cue(Link::Down(Cause::Reset)), Step::Drain],
    );

    assert_eq!(violation.law, Law::NoWriteWhenClosed, "{violation}");
    assert_eq!(violation.detail, "3 octets were written to () after `Down`");
}

#[test]
fn law_11_finds_octets_after_close() {
    let violation = violation(
        Fault::WritesAfterClose,
        vec![UP, Step::Command(Command::Close), Step::Drain],
    );

    assert_eq!(violation.law, Law::NoWriteWhenClosed, "{violation}");
    assert_eq!(
        violation.detail,
        "1 octets were written to () after `Close`"
    );
}

#[test]
fn law_11_finds_octets_after_cancel() {
    let script = vec![
        Step::Command(beacon::Command::Open(Tag(5))),
        Step::Drain,
        OPENED,
        Step::Drain,
        asked(beacon::OPENED),
        Step::Command(beacon::Command::Cancel(0)),
        Step::Drain,
    ];

    let violation = beacon_violation(beacon::Fault::WritesAfterCancel, script);

    assert_eq!(violation.law, Law::NoWriteWhenClosed, "{violation}");
    assert!(violation.detail.ends_with("after `Cancel`"), "{violation}");
}

#[test]
fn a_cancelled_open_is_not_answered_and_its_path_brings_nothing() {
    let open = Step::Command(beacon::Command::Open(Tag(5)));
    let cancel = Step::Command(beacon::Command::Cancel(0));
    let before = vec![
        open.clone(),
        Step::Drain,
        cancel.clone(),
        Step::Drain,
        OPENED,
        Step::Drain,
    ];
    let after = vec![
        open,
        Step::Drain,
        OPENED,
        Step::Drain,
        cancel,
        Step::Drain,
        asked(beacon::OPENED),
        Step::Drain,
    ];

    let before = try_check(&Case::<Beacon>::new(beacon::Fault::None, before)).unwrap();
    let after = try_check(&Case::<Beacon>::new(beacon::Fault::None, after)).unwrap();

    assert_eq!((before.asks, before.events, before.sends), (2, 0, 0));
    assert_eq!((after.asks, after.events, after.sends), (2, 1, 0));
}

#[test]
fn law_11_applies_to_a_contact_until_it_comes_up() {
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
    let violation = beacon_violation(beacon::Fault::WritesWhenDown, script.clone());

    assert_eq!(violation.law, Law::NoWriteWhenClosed, "{violation}");
    let sound = try_check(&Case::<Beacon>::new(beacon::Fault::None, script)).unwrap();
    assert_eq!(sound.sends, 3, "the probe goes out once it is up");
}

#[test]
fn law_12_finds_a_stream_that_is_never_wanted_again() {
    let script = vec![UP, arrive(&[b"a", b"b", b"c"]), Step::Drain];

    let violation = violation(Fault::NeverWantsAgain, script);

    assert_eq!(violation.law, Law::ReadResumes, "{violation}");
    assert_eq!(
        violation.detail,
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

    let violation = violation(Fault::WakesAfterDone, script);

    assert_eq!(
        violation.to_string(),
        "\
violated at step 2, law 4: `Done` is fused
  after `Done` it gave no deadline
by this script:
Case::<farlink::laws::tests::lines::Lines> {
    config: Config { fault: WakesAfterDone, must_accept: false },
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
fn octets_behind_a_decision_are_kept_however_they_are_chunked() {
    let config = lines::Config {
        fault: Fault::None,
        must_accept: true,
    };
    let script = vec![
        UP,
        arrive(&[b"hello", b"?", b"early"]),
        Step::Drain,
        Step::Command(Command::Accept),
        arrive(&[b"more"]),
    ];

    let summary = try_check(&Case::<Lines>::new(config, script)).unwrap();

    // The last event is the loss, after the silence that follows the script.
    assert_eq!((summary.events, summary.chunked_steps), (5, 5));
}

#[test]
fn a_stream_is_detached_with_the_same_octets_however_it_was_chunked() {
    let config = lines::Config {
        fault: Fault::None,
        must_accept: true,
    };
    let script = vec![
        UP,
        arrive(&[b"hello", b"raw octets"]),
        Step::Command(Command::Take(Tag(1))),
    ];

    let summary = try_check(&Case::<Lines>::new(config, script)).unwrap();

    assert_eq!((summary.asks, summary.chunked_steps), (1, 3));
}

#[test]
fn events_of_octets_that_waited_for_room_may_come_before_or_after_it() {
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

    // Four frames, the room and the loss.
    assert_eq!((summary.events, summary.chunked_steps), (6, 8));
}

#[test]
fn an_abort_may_lose_what_another_chunking_has_sent() {
    let reset = arrive(&[b"?", b"a", b""]);

    let summary = try_check(&lines(Fault::None, vec![UP, reset])).unwrap();

    assert_eq!((summary.events, summary.chunked_steps), (3, 2));
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
fn unsent_answers_delay_done_until_they_can_be_sent() {
    let asked = asked(NEAR);
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
fn law_13_finds_answers_that_are_longer_than_the_questions() {
    let mut script = vec![asked(NEAR), Step::Drain, asked(NEAR), Step::Drain];

    let violation = beacon_violation(beacon::Fault::AnswersLong, script.clone());

    assert_eq!(violation.law, Law::NoAmplification, "{violation}");
    assert!(
        violation
            .detail
            .starts_with("1200 octets were sent to the stranger Hop { interface: 0, via: 1 }, from which 2 came, above the bound of 1030"),
        "{violation}"
    );
    // A command has named the neighbour.
    script.insert(0, Step::Command(beacon::Command::Probe(1)));
    let case = Case::<Beacon>::new(beacon::Fault::AnswersLong, script);
    assert!(try_check(&case).is_ok());
}

#[test]
fn law_13_counts_hosts_apart() {
    let far = beacon::neighbour(2);
    let script = vec![asked(NEAR), Step::Drain, asked(far), Step::Drain];

    let case = Case::<Beacon>::new(beacon::Fault::AnswersLong, script);

    assert_eq!(try_check(&case).unwrap().sends, 2);
}

#[test]
fn law_14_finds_memory_by_the_number_in_a_datagram() {
    let number = |number: u64| Step::Receive {
        from: NEAR,
        octets: number.to_be_bytes().to_vec(),
    };
    let sound = vec![number(2064)];
    let case = Case::<Beacon>::new(beacon::Fault::AllocatesByNumber, sound);
    assert!(try_check(&case).is_ok());

    let violation = beacon_violation(beacon::Fault::AllocatesByNumber, vec![number(2065)]);

    assert_eq!(violation.law, Law::MemoryFollowsInput, "{violation}");
    assert!(
        violation
            .detail
            .starts_with("2065 bytes are held for 8 octets in 1 sessions, of which 0 are continued, above the bound of 2064"),
        "{violation}"
    );
}

#[test]
fn the_laws_are_numbered_as_they_are_listed() {
    let numbers: Vec<u8> = Law::ALL.iter().map(|law| law.number()).collect();

    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert!(
        Law::NoWriteWhenClosed
            .to_string()
            .starts_with("law 11: nothing is written between")
    );
}
