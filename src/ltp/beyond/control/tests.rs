use super::*;
use alloc::vec::Vec;

const SEGMENT: usize = 1400;

fn auto() -> FlowControl {
    FlowControl::new(Flow::Auto, SEGMENT, Duration::ZERO)
}

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn rate(octets: u64) -> NonZeroU64 {
    NonZeroU64::new(octets).unwrap()
}

const HELLO: Hello = Hello { window: 2 << 20 };

fn recognised(round_trip: u64) -> FlowControl {
    let mut control = auto();
    control.begin_block();
    control.on_hello_sent(at(0));
    control.on_hello(at(round_trip), HELLO);
    control
}

#[test]
fn an_unknown_peer_gets_100_mbit_in_bursts_of_64_kib_and_no_early_checkpoint() {
    let control = auto();

    assert_eq!(control.pacing(), Some((rate(12_500_000), 64_136)));
    assert_eq!(control.last_burst(), Some(16_034));
    assert_eq!(control.window(), None);
    assert_eq!(control.checkpoint_interval(), None);
    assert_eq!(control.repairs(), Repairs::OneByOne);
}

#[test]
fn what_is_given_by_hand_is_obeyed_and_nothing_is_learnt_about_it() {
    let round = Round {
        since: at(0),
        sent: 10_000_000,
        delivered: 1_000_000,
        busy: None,
        is_timed: true,
        is_delayed: false,
    };
    let paced = Flow::rate(1000).with_burst(0);
    let window = Flow::Window {
        octets: rate(8000),
        octets_per_second: Some(rate(1000)),
    };
    for (flow, pacing, octets) in [
        (paced, Some((rate(1000), 0)), None),
        (Flow::rate(1000), Some((rate(1000), 1400)), None),
        (window, Some((rate(1000), 1400)), Some(rate(8000))),
        (Flow::window(8000), None, Some(rate(8000))),
        (Flow::Unlimited, None, None),
    ] {
        let mut control = FlowControl::new(flow, SEGMENT, Duration::ZERO);

        assert!(!control.begin_block() && !control.has_hello(), "{flow:?}");
        control.on_hello(at(1), HELLO);
        assert!(!control.on_round(at(2), &round), "{flow:?}");
        assert!(!control.on_complete(at(3), at(0), 10_000_000), "{flow:?}");
        assert_eq!(control.pacing(), pacing, "{flow:?}");
        assert_eq!(control.window(), octets, "{flow:?}");
        let interval = octets.map(|octets| octets.get() / 4);
        assert_eq!(control.checkpoint_interval(), interval, "{flow:?}");
    }
}

#[test]
fn a_near_farlink_has_a_window_and_no_rate() {
    let control = recognised(1);

    assert_eq!(control.pacing(), None);
    assert_eq!(control.window(), Some(rate(2 << 20)));
    assert_eq!(control.checkpoint_interval(), Some(512 << 10));
    assert_eq!(control.repairs(), Repairs::Parallel);
    assert!(control.estimate().is_farlink);
}

#[test]
fn a_far_farlink_keeps_the_rate_and_gets_a_checkpoint_every_quarter_round_trip() {
    let control = recognised(1000);

    assert_eq!(control.pacing(), Some((rate(12_500_000), 64_136)));
    assert_eq!(control.window(), None);
    assert_eq!(control.checkpoint_interval(), Some(3_125_000));
    assert_eq!(control.repairs(), Repairs::Parallel);
}

#[test]
fn a_shorter_round_trip_than_the_first_answer_makes_a_peer_near() {
    let mut control = recognised(1000);

    control.on_round_trip(Duration::from_millis(3));
    assert_eq!(control.window(), Some(rate(2 << 20)));
    control.on_round_trip(Duration::from_secs(2));
    assert_eq!(control.window(), Some(rate(2 << 20)), "time in queues");
}

#[test]
fn configured_light_times_are_the_shortest_round_trip() {
    let light = Duration::from_millis(2600);
    let mut control = FlowControl::new(Flow::Auto, SEGMENT, light);
    control.on_hello(at(5000), HELLO);
    control.on_round_trip(Duration::from_millis(1));

    assert_eq!(control.window(), None);
    assert_eq!(control.checkpoint_interval(), Some(8_125_000));
}

#[test]
fn at_most_16_mib_are_believed_and_a_window_of_0_is_none() {
    for (window, expected) in [(64 << 20, Some(rate(16 << 20))), (0, None)] {
        let mut control = auto();
        control.on_hello_sent(at(0));
        control.on_hello(at(1), Hello { window });

        assert_eq!(control.window(), expected);
        assert!(control.checkpoint_interval().is_some());
    }
}

#[test]
fn checkpoints_are_eight_segments_apart_at_least() {
    let mut control = auto();
    control.on_hello_sent(at(0));
    control.on_hello(at(1), Hello { window: 0 });
    assert_eq!(control.checkpoint_interval(), Some(62_500), "5 ms");

    let lost = Round {
        since: at(2),
        sent: 10_000_000,
        delivered: 0,
        busy: None,
        is_timed: true,
        is_delayed: false,
    };
    control.on_round(at(3), &lost);

    assert_eq!(control.checkpoint_interval(), Some(11_200));
}

#[test]
fn blocks_have_a_hello_until_it_is_answered() {
    let mut control = auto();
    assert!(control.begin_block() && control.has_hello());

    control.on_hello(at(1), HELLO);

    assert!(!control.has_hello());
    assert!(!control.begin_block());
}

#[test]
fn a_peer_that_never_answers_is_asked_again_every_64th_block() {
    let mut control = auto();

    let asked: Vec<u32> = (0..200).filter(|_| control.begin_block()).collect();

    assert_eq!(asked, [0, 1, 2, 3, 64, 128, 192]);
}

#[test]
fn losses_lower_the_window_of_a_near_farlink_and_the_rate_of_others() {
    let lost = Round {
        since: at(5),
        sent: 1_000_000,
        delivered: 500_000,
        busy: None,
        is_timed: true,
        is_delayed: false,
    };
    let (mut near, mut unknown) = (recognised(1), auto());

    assert!(near.on_round(at(6), &lost));
    assert!(unknown.on_round(at(6), &lost));

    assert_eq!(near.window(), Some(rate(943_718)));
    assert_eq!(near.pacing(), None);
    assert_eq!(unknown.pacing(), Some((rate(5_625_000), 28_091)));
    let estimate = unknown.estimate();
    assert_eq!((estimate.reductions, estimate.loss), (1, 500_000));
}

#[test]
fn a_near_farlink_behind_a_slow_line_has_the_rate_of_the_line() {
    let mut control = recognised(1);
    let overload = Round {
        since: at(100),
        sent: 1_000_000,
        delivered: 68_800,
        busy: None,
        is_timed: true,
        is_delayed: false,
    };

    assert!(control.on_round(at(801), &overload));

    assert_eq!(control.window(), None);
    assert_eq!(control.pacing(), Some((rate(100_000), 1400)));
    assert_eq!(control.checkpoint_interval(), Some(11_200));
    assert_eq!(control.repair_interval(), Some(89_600));
    let estimate = control.estimate();
    assert_eq!((estimate.reductions, estimate.loss), (1, 931_200));
    control.forget();
    assert_eq!(control.pacing(), Some((rate(START), 64_136)));
}

#[test]
fn the_rate_rises_beyond_400_mbit_to_farlink_alone() {
    let (mut far, mut unknown) = (recognised(1000), auto());
    for control in [&mut far, &mut unknown] {
        for block in 1..=10 {
            control.on_complete(at(block * 2 + 1), at(block * 2), 1_000_000);
        }
    }

    assert!(far.pacing().unwrap().0.get() > 600_000_000);
    assert_eq!(unknown.pacing(), Some((rate(50_000_000), 64_136)));
}

#[test]
fn a_peer_that_cancels_for_early_checkpoints_gets_none_until_it_is_forgotten() {
    let mut control = recognised(1);

    assert!(control.on_limit_exceeded(true));
    assert!(!control.estimate().is_farlink);
    assert!(control.begin_block(), "it is asked again");
    control.on_hello(at(100), HELLO);
    assert_eq!(control.checkpoint_interval(), None);
    assert_eq!(control.window(), None);

    control.forget();
    control.on_hello_sent(at(200));
    control.on_hello(at(201), HELLO);
    assert_eq!(control.window(), Some(rate(2 << 20)));
}

#[test]
fn a_window_given_by_hand_is_given_up_for_a_peer_that_takes_no_checkpoints() {
    let mut control = FlowControl::new(Flow::window(8000), SEGMENT, Duration::ZERO);
    assert!(control.allows_checkpoints());

    assert!(control.on_limit_exceeded(true));

    assert!(!control.allows_checkpoints());
    assert_eq!(control.window(), None);
    assert_eq!(control.checkpoint_interval(), None);
    assert_eq!(control.pacing(), Some((rate(12_500_000), 64_136)));
    control.configure(Flow::window(8000), SEGMENT, Duration::ZERO);
    assert_eq!(control.window(), Some(rate(8000)), "given once more");
}

#[test]
fn short_retransmissions_are_sent_several_times_on_a_line_that_loses_a_tenth_anyway() {
    let mut control = auto();
    control.on_round_trip(Duration::from_millis(200));
    assert_eq!(control.repair_copies(140_000, 0), 1, "no losses are known");
    for second in 1..4 {
        let round = Round {
            since: at(second * 1000),
            sent: 10_000_000,
            delivered: 9_000_000,
            busy: None,
            is_timed: true,
            is_delayed: false,
        };
        control.on_round(at(second * 1000 + 1), &round);
    }

    assert_eq!(control.repair_copies(1400, 0), 2);
    assert_eq!(control.repair_copies(14_000, 0), 3);
    assert_eq!(control.repair_copies(140_000, 0), 4);
    assert_eq!(
        control.repair_copies(500_000, 0),
        2,
        "a half of a round trip"
    );
    assert_eq!(control.repair_copies(2_000_000, 0), 1);
}

#[test]
fn a_block_without_early_checkpoints_is_not_sent_again() {
    let mut control = recognised(1);

    assert!(!control.on_limit_exceeded(false));

    assert_eq!(
        control.checkpoint_interval(),
        None,
        "it may be another peer"
    );
    control.on_hello_sent(at(200));
    control.on_hello(at(201), HELLO);
    assert!(control.window().is_some());
}

#[test]
fn the_rest_of_a_report_is_awaited_for_10_ms_near_and_1_s_far() {
    let far = |light| FlowControl::new(Flow::Auto, SEGMENT, Duration::from_secs(light));

    assert_eq!(auto().gathering_time(), Duration::from_millis(10));
    assert_eq!(far(2).gathering_time(), Duration::from_millis(250));
    assert_eq!(far(2400).gathering_time(), Duration::from_secs(1));
}

#[test]
fn a_changed_configuration_keeps_what_was_learnt() {
    let mut control = recognised(1);

    control.configure(Flow::Unlimited, SEGMENT, Duration::ZERO);
    assert_eq!(control.window(), None);
    control.configure(Flow::Auto, SEGMENT, Duration::ZERO);

    assert_eq!(control.window(), Some(rate(2 << 20)));
}
