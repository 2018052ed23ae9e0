//! Faults of lines, queues and contact plans.

use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{
    Bursts, Contacts, DropReason, FaultRule, Host, Line, Queue, Reorder, VariableDelay, World,
};
use farlink::{Cause, Instant, Link};

use crate::scripted_machine::{Action, Observed, ScriptedMachine, links, octets};

type NumberHost = Host<ScriptedMachine<u8>>;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn at(span: Duration) -> Instant {
    Instant::ZERO + span
}

/// Two hosts, 1 and 2, and a line from the first to the second.
fn pair(seed: u64, line: Line) -> (World, NumberHost, NumberHost) {
    let mut world = World::new(seed);
    let one = world.host(1, ScriptedMachine::default());
    let two = world.host(2, ScriptedMachine::default());
    world.line_from(one, two, line);
    (world, one, two)
}

/// Sends `count` datagrams, `apart` from each other, each with its number in `len` octets.
fn send(world: &mut World, from: NumberHost, count: u32, apart: Duration, len: usize) {
    for number in 0..count {
        world.at(world.now() + apart * number, move |world| {
            let mut octets = number.to_be_bytes().to_vec();
            octets.resize(len, 0);
            world.command(from, Action::Push(2, octets.into())).unwrap();
        });
    }
}

fn numbers(world: &World, host: NumberHost) -> Vec<u32> {
    let got = octets(world, host);
    got.iter()
        .map(|(_, octets)| u32::from_be_bytes(octets[..4].try_into().unwrap()))
        .collect()
}

/// Of each datagram in order, whether it was lost.
fn deliveries(world: &World) -> Vec<bool> {
    let packets = world.trace().packets();
    packets.map(|packet| packet.lost().is_some()).collect()
}

fn lost(world: &World, why: DropReason) -> usize {
    let packets = world.trace().packets();
    packets
        .filter(|packet| packet.lost().is_some_and(|(_, other)| other == why))
        .count()
}

#[test]
fn a_fixed_delay_is_kept_to_the_nanosecond() {
    let (mut world, one, two) = pair(1, Line::delayed(Duration::from_nanos(1_234_567_891)));

    send(&mut world, one, 2, SECOND, 4);
    assert!(world.run_until_idle(10 * SECOND));

    let times: Vec<u64> = octets(&world, two)
        .iter()
        .map(|(time, _)| time.as_nanos())
        .collect();
    assert_eq!(times, [1_234_567_891, 2_234_567_891]);
}

#[test]
fn jitter_is_spread_over_its_span_and_keeps_the_order() {
    let line = Line {
        delay: SECOND,
        jitter: 100 * MILLI,
        ..Line::default()
    };
    let (mut world, one, two) = pair(2, line);

    // Farther apart than the jitter, so that none waits for the one before.
    send(&mut world, one, 1000, SECOND, 4);
    world.run_until_idle(10_000 * SECOND);

    let trace = world.trace();
    let extra: Vec<Duration> = trace
        .packets()
        .map(|packet| packet.arrived().unwrap() - (packet.time + SECOND))
        .collect();
    let mean = extra.iter().sum::<Duration>() / 1000;
    assert!(extra.iter().all(|extra| *extra <= 100 * MILLI));
    assert!(extra.iter().any(|extra| *extra < 5 * MILLI));
    assert!(extra.iter().any(|extra| *extra > 95 * MILLI));
    // Four standard errors of a uniform distribution: 4 * 100 ms / sqrt(12 * 1000) = 3.7 ms.
    assert!(mean.abs_diff(50 * MILLI) < 4 * MILLI, "{mean:?}");
    assert_eq!(numbers(&world, two), (0..1000).collect::<Vec<_>>());
}

#[test]
fn jitter_wider_than_the_spacing_keeps_the_order_too() {
    let line = Line {
        jitter: SECOND,
        ..Line::default()
    };
    let (mut world, one, two) = pair(3, line);

    send(&mut world, one, 1000, MILLI, 4);
    world.run_until_idle(10_000 * SECOND);

    assert_eq!(numbers(&world, two), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_variable_delay_is_a_function_of_the_time_of_sending() {
    let line = Line {
        delay: SECOND,
        variable_delay: Some(VariableDelay::new(|sent| (sent - Instant::ZERO) * 2)),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 3, SECOND, 4);
    world.run_until_idle(100 * SECOND);

    let times: Vec<Instant> = octets(&world, two).iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [at(SECOND), at(4 * SECOND), at(7 * SECOND)]);
}

#[test]
fn independent_losses_keep_their_rate_and_do_not_cluster() {
    let line = Line {
        loss: 0.1,
        ..Line::default()
    };
    let (mut world, one, two) = pair(4, line);

    send(&mut world, one, 20_000, MILLI, 4);
    world.run_until_idle(1000 * SECOND);

    let deliveries = deliveries(&world);
    let losses = deliveries.iter().filter(|lost| **lost).count();
    let pairs = deliveries.windows(2).filter(|two| two[0] && two[1]).count();
    // Four standard deviations: 4 * sqrt(20000 * 0.1 * 0.9) = 170, and 4 * sqrt(200) = 57.
    assert!((1830..=2170).contains(&losses), "{losses}");
    assert!((143..=257).contains(&pairs), "{pairs}");
    assert_eq!(numbers(&world, two).len(), 20_000 - losses);
    assert_eq!(lost(&world, DropReason::Random), losses);
}

#[test]
fn bursts_have_the_length_and_the_share_of_the_gilbert_elliott_model() {
    let line = Line {
        bursts: Some(Bursts {
            enter: 0.01,
            leave: 0.2,
            loss: 1.0,
        }),
        ..Line::default()
    };
    let (mut world, one, _) = pair(5, line);

    send(&mut world, one, 50_000, MILLI, 4);
    world.run_until_idle(1000 * SECOND);

    let deliveries = deliveries(&world);
    let losses = deliveries.iter().filter(|lost| **lost).count();
    let starts = deliveries
        .windows(2)
        .filter(|two| !two[0] && two[1])
        .count();
    // The bad state takes 0.01 / 0.21 of 50000 = 2381; a burst has 1 / 0.2 = 5 datagrams.
    assert!((2000..=2800).contains(&losses), "{losses}");
    let tenths = losses * 10 / starts;
    assert!((43..=57).contains(&tenths), "{tenths} tenths");
    assert_eq!(lost(&world, DropReason::Burst), losses);
}

#[test]
fn a_burst_that_loses_half_loses_half() {
    let line = Line {
        bursts: Some(Bursts {
            enter: 1.0,
            leave: 0.0,
            loss: 0.5,
        }),
        ..Line::default()
    };
    let (mut world, one, two) = pair(6, line);

    send(&mut world, one, 10_000, MILLI, 4);
    world.run_until_idle(1000 * SECOND);

    // Four standard deviations: 4 * sqrt(10000 * 0.25) = 200.
    let got = numbers(&world, two).len();
    assert!((4800..=5200).contains(&got), "{got}");
}

#[test]
fn a_rule_drops_its_datagram_and_no_other() {
    let is_long = FaultRule::nth(3).matching(|sight| sight.octets.len() > 10);
    let (mut world, one, two) = pair(1, Line::default().with_rule(is_long));

    for len in [20, 5, 20, 5, 20, 20] {
        let octets = Bytes::from(vec![0; len]);
        world.command(one, Action::Push(2, octets)).unwrap();
    }
    world.run_until_idle(SECOND);

    let lengths: Vec<usize> = octets(&world, two)
        .iter()
        .map(|(_, octets)| octets.len())
        .collect();
    assert_eq!(lengths, [20, 5, 20, 5, 20]);
    let deliveries = deliveries(&world);
    assert_eq!(deliveries, [false, false, false, false, true, false]);
    assert_eq!(lost(&world, DropReason::Rule), 1);
}

#[test]
fn rules_delay_duplicate_or_corrupt_datagrams() {
    let line = Line::default()
        .with_rule(FaultRule::nth(1).delayed(SECOND))
        .with_rule(FaultRule::each([2]).duplicated())
        .with_rule(FaultRule::nth(3).bit_flipped(0));
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 3, MILLI, 4);
    world.run_until_idle(10 * SECOND);

    assert_eq!(numbers(&world, two), [1, 1, 0x8000_0002, 0]);
    assert_eq!(octets(&world, two)[3].0, at(SECOND));
}

#[test]
fn reordering_happens_at_its_rate_and_moves_by_its_span() {
    let line = Line {
        delay: SECOND,
        reorder: Some(Reorder {
            probability: 0.2,
            by: 10 * MILLI,
        }),
        ..Line::default()
    };
    let (mut world, one, two) = pair(7, line);

    send(&mut world, one, 5000, MILLI, 4);
    world.run_until_idle(1000 * SECOND);

    let late: Vec<Duration> = world
        .trace()
        .packets()
        .map(|packet| packet.arrived().unwrap() - (packet.time + SECOND))
        .filter(|late| !late.is_zero())
        .collect();
    // Four standard deviations: 4 * sqrt(5000 * 0.2 * 0.8) = 113.
    assert!((887..=1113).contains(&late.len()), "{}", late.len());
    assert!(late.iter().all(|late| *late <= 10 * MILLI));
    let got = numbers(&world, two);
    assert!(got.windows(2).any(|two| two[0] > two[1]), "none overtaken");
    assert_eq!(got.len(), 5000);
}

#[test]
fn duplication_happens_at_its_rate_and_copies_are_equal() {
    let line = Line {
        duplication: 0.3,
        jitter: MILLI,
        ..Line::default()
    };
    let (mut world, one, two) = pair(8, line);

    send(&mut world, one, 5000, 10 * MILLI, 4);
    world.run_until_idle(1000 * SECOND);

    let mut got = numbers(&world, two);
    let copies = got.len() - 5000;
    got.dedup();
    // Four standard deviations: 4 * sqrt(5000 * 0.3 * 0.7) = 130.
    assert!((1370..=1630).contains(&copies), "{copies}");
    assert_eq!(got, (0..5000).collect::<Vec<_>>());
    assert_eq!(
        world
            .trace()
            .packets()
            .filter(|packet| packet.is_copy)
            .count(),
        copies
    );
}

#[test]
fn corruption_flips_exactly_one_bit_anywhere() {
    let line = Line {
        corruption: 0.5,
        ..Line::default()
    };
    let (mut world, one, two) = pair(9, line);

    for _ in 0..4000 {
        let octets = Bytes::from_static(&[0; 8]);
        world.command(one, Action::Push(2, octets)).unwrap();
    }
    world.run_until_idle(SECOND);

    let got = octets(&world, two);
    let flips = |octets: &[u8]| octets.iter().map(|octet| octet.count_ones()).sum::<u32>();
    assert!(got.iter().all(|(_, octets)| flips(octets) <= 1));
    let corrupted = got.iter().filter(|(_, octets)| flips(octets) == 1).count();
    // Four standard deviations: 4 * sqrt(4000 * 0.25) = 126.
    assert!((1874..=2126).contains(&corrupted), "{corrupted}");
    let mut places = vec![0_u32; 64];
    for (_, octets) in &got {
        let bits = u64::from_be_bytes(octets[..].try_into().unwrap());
        if bits != 0 {
            places[usize::try_from(bits.leading_zeros()).unwrap()] += 1;
        }
    }
    assert!(places.iter().all(|&count| count > 5), "{places:?}");
}

#[test]
fn a_rate_spaces_datagrams_and_counts_the_overhead() {
    let line = Line {
        rate: Some(8000),
        overhead: 28,
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 3, Duration::ZERO, 72);
    world.run_until_idle(100 * SECOND);

    // 100 octets at 1000 octets a second.
    let times: Vec<Instant> = octets(&world, two).iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [at(100 * MILLI), at(200 * MILLI), at(300 * MILLI)]);
}

#[test]
fn a_full_queue_drops_what_comes_beyond_its_limit() {
    let line = Line {
        rate: Some(8000),
        queue: Queue::Drop(300),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 6, Duration::ZERO, 100);
    world.at(150 * MILLI, move |world| {
        send(world, one, 6, Duration::ZERO, 100);
    });
    world.run_until_idle(100 * SECOND);

    // Three fit at first; after 150 ms half of the second is sent, so one more fits, and no second one.
    assert_eq!(octets(&world, two).len(), 4);
    assert_eq!(lost(&world, DropReason::QueueFull), 8);
}

#[test]
fn an_idle_line_takes_a_datagram_longer_than_its_queue() {
    let line = Line {
        rate: Some(8000),
        queue: Queue::Drop(10),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 2, Duration::ZERO, 100);
    world.run_until_idle(100 * SECOND);

    assert_eq!(octets(&world, two).len(), 1);
}

#[test]
fn a_holding_queue_loses_nothing_and_its_machine_still_gets_inputs() {
    let line = Line {
        rate: Some(8000),
        queue: Queue::Hold(250),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);
    world.line_from(two, one, Line::default());

    send(&mut world, one, 20, Duration::ZERO, 100);
    world.command_at(100 * MILLI, two, Action::Push(1, Bytes::from_static(b"hi")));
    world.run_until_idle(100 * SECOND);

    let times: Vec<Instant> = octets(&world, two).iter().map(|(time, _)| *time).collect();
    let expected: Vec<Instant> = (1..=20).map(|number| at(100 * MILLI * number)).collect();
    assert_eq!(times, expected);
    assert_eq!(lost(&world, DropReason::QueueFull), 0);
    // It is polled again once there is room for the last datagrams of its send.
    assert_eq!(octets(&world, one).len(), 1);
}

#[test]
fn a_signalling_queue_gives_full_and_later_free() {
    let line = Line {
        rate: Some(8000),
        queue: Queue::Signal(300),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 5, Duration::ZERO, 100);
    world.run_until_idle(100 * SECOND);

    // The third fills it. At 150 ms half of the limit, 150 octets, waits. The fourth and the fifth, which
    // the machine kept, leave then, and fill it again.
    let cues: Vec<(Instant, Link)> = links(&world, one)
        .iter()
        .map(|(time, _, link)| (*time, *link))
        .collect();
    assert_eq!(
        cues,
        [
            (at(Duration::ZERO), Link::Full),
            (at(150 * MILLI), Link::Free),
            (at(150 * MILLI), Link::Full),
            (at(350 * MILLI), Link::Free),
        ]
    );
    assert_eq!(numbers(&world, two), [0, 1, 2, 3, 4]);
}

#[test]
fn what_is_longer_than_the_mtu_is_dropped() {
    let line = Line {
        mtu: Some(100),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    for len in [99, 100, 101] {
        send(&mut world, one, 1, Duration::ZERO, len);
    }
    world.run_until_idle(SECOND);

    assert_eq!(octets(&world, two).len(), 2);
    assert_eq!(lost(&world, DropReason::TooLong), 1);
}

#[test]
fn a_contact_plan_passes_what_is_sent_within_a_window_and_tells_the_sender() {
    let line = Line {
        delay: 10 * SECOND,
        contacts: Contacts::windows([(2 * SECOND, 4 * SECOND), (6 * SECOND, 7 * SECOND)]),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 9, SECOND, 4);
    world.run_until_idle(100 * SECOND);

    // The machine keeps what it is told to send while the line is down. The fifth and the eighth leave at
    // the very moment at which a window ends, before the machine hears of it.
    let got: Vec<(Instant, u32)> = octets(&world, two)
        .iter()
        .zip(numbers(&world, two))
        .map(|((time, _), number)| (*time, number))
        .collect();
    let expected = [(12, 0), (12, 1), (12, 2), (13, 3), (16, 5), (16, 6)];
    assert_eq!(
        got,
        expected.map(|(time, number)| (at(time * SECOND), number))
    );
    assert_eq!(lost(&world, DropReason::NoContact), 2);
    let down = Link::Down(Cause::Unreachable);
    assert_eq!(
        links(&world, one),
        [
            (at(Duration::ZERO), 2, down),
            (at(2 * SECOND), 2, Link::Up),
            (at(4 * SECOND), 2, down),
            (at(6 * SECOND), 2, Link::Up),
            (at(7 * SECOND), 2, down),
        ]
    );
    assert!(
        links(&world, two).is_empty(),
        "the other direction has no plan"
    );
}

#[test]
fn a_contact_that_is_closed_when_the_line_is_added_is_closed_for_the_first_burst() {
    let minute = 60 * SECOND;
    let line = Line {
        contacts: Contacts::periodic(minute, 10 * minute, 40 * minute),
        ..Line::delayed(SECOND)
    };
    let (mut world, one, two) = pair(1, line);

    for number in 0..3_u8 {
        world
            .command(one, Action::Push(2, vec![number].into()))
            .unwrap();
    }
    world.run_until(Duration::ZERO);
    assert_eq!(world.trace().packets().len(), 0);
    world.run_until(2 * minute);

    let expected = [0_u8, 1, 2].map(|number| (at(minute + SECOND), Bytes::from(vec![number])));
    assert_eq!(octets(&world, two), expected);
    let down = Link::Down(Cause::Unreachable);
    assert_eq!(
        links(&world, one),
        [(at(Duration::ZERO), 2, down), (at(minute), 2, Link::Up)]
    );
}

#[test]
fn a_datagram_must_be_sent_whole_within_its_window() {
    let line = Line {
        rate: Some(8000),
        contacts: Contacts::windows([(Duration::ZERO, SECOND)]),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, line);

    send(&mut world, one, 1, Duration::ZERO, 600);
    send(&mut world, one, 1, Duration::ZERO, 600);
    send(&mut world, one, 1, Duration::ZERO, 400);
    world.run_until_idle(100 * SECOND);

    let lengths: Vec<usize> = octets(&world, two)
        .iter()
        .map(|(_, octets)| octets.len())
        .collect();
    assert_eq!(lengths, [600, 400]);
}

#[test]
fn a_replaced_line_follows_its_own_plan_only() {
    let plan = |from: Duration| Line {
        contacts: Contacts::windows([(from, from + SECOND)]),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, plan(5 * SECOND));

    world.at(SECOND, move |world| {
        world.line_from(one, two, plan(8 * SECOND));
    });
    world.run_until_idle(100 * SECOND);

    let ups: Vec<Instant> = links(&world, one)
        .iter()
        .filter(|(_, _, link)| *link == Link::Up)
        .map(|(time, ..)| *time)
        .collect();
    assert_eq!(ups, [at(8 * SECOND)]);
}

#[test]
fn a_line_without_a_plan_that_replaces_a_closed_one_is_up() {
    let closed = Line {
        contacts: Contacts::windows([(9 * SECOND, 10 * SECOND)]),
        ..Line::default()
    };
    let (mut world, one, two) = pair(1, closed);

    world.at(SECOND, move |world| {
        world.line_from(one, two, Line::default());
    });
    world.run_until_idle(100 * SECOND);

    let cues: Vec<(Instant, Link)> = links(&world, one)
        .into_iter()
        .map(|(time, _, link)| (time, link))
        .collect();
    let down = Link::Down(Cause::Unreachable);
    assert_eq!(cues, [(at(Duration::ZERO), down), (at(SECOND), Link::Up)]);
}

#[test]
fn each_direction_has_its_own_faults() {
    let (mut world, one, two) = pair(1, Line::delayed(SECOND));
    world.line_from(two, one, Line::delayed(3 * SECOND));

    world.command(two, Action::Echo).unwrap();
    send(&mut world, one, 1, Duration::ZERO, 4);
    world.run_until_idle(100 * SECOND);

    let times: Vec<Instant> = octets(&world, one).iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [at(4 * SECOND)]);
}

#[test]
fn an_unknown_host_and_a_missing_line_are_different_reasons() {
    let (mut world, one, two) = pair(1, Line::default());

    world
        .command(one, Action::Push(9, Bytes::from_static(b"?")))
        .unwrap();
    world
        .command(two, Action::Push(1, Bytes::from_static(b"?")))
        .unwrap();
    world.run_until_idle(SECOND);

    assert_eq!(lost(&world, DropReason::NoHost), 1);
    assert_eq!(lost(&world, DropReason::NoLine), 1);
}

#[test]
fn what_comes_for_a_machine_that_is_done_is_lost() {
    let (mut world, one, two) = pair(1, Line::default());

    world.command(two, Action::Stop).unwrap();
    send(&mut world, one, 1, Duration::ZERO, 4);
    world.run_until_idle(SECOND);

    assert!(world.is_done(two));
    assert_eq!(lost(&world, DropReason::Closed), 1);
}

#[test]
fn an_application_that_stopped_reading_gets_what_its_socket_held() {
    let (mut world, one, two) = pair(1, Line::default());

    world.stop_reading(two);
    send(&mut world, one, 300, MILLI, 1000);
    world.run_until(SECOND);
    assert!(octets(&world, two).is_empty());
    world.resume_reading(two);

    assert_eq!(octets(&world, two).len(), 212);
    assert_eq!(lost(&world, DropReason::QueueFull), 88);
}

#[test]
fn a_deadline_is_kept() {
    let (mut world, one, _) = pair(1, Line::default());

    world.command(one, Action::WakeAt(at(5 * SECOND))).unwrap();
    world.command(one, Action::WakeAt(at(3 * SECOND))).unwrap();
    world.run_until_idle(100 * SECOND);

    let woken: Vec<Instant> = world
        .events(one)
        .filter(|(_, event)| **event == Observed::Woke)
        .map(|(time, _)| time)
        .collect();
    assert_eq!(woken, [at(3 * SECOND)]);
}
