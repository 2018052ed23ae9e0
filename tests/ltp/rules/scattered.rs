//! Scattered services: octets are given as they come, and a red part is acknowledged when it is stored.

use farlink::Seed;
use farlink::ltp::{Age, Config, Engine};

use super::*;

/// What an application has of one session, as far as it was given.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    octets: Vec<(u64, Vec<u8>)>,
    /// The length of the red part, and whether the block ends with it.
    red: Option<(u64, bool)>,
}

impl Given {
    fn of(events: &[Event]) -> Self {
        let mut given = Self::default();
        for event in events {
            match event {
                Event::Segment { offset, data, .. } => {
                    assert!(given.red.is_none(), "octets behind the last: {event:?}");
                    given.octets.push((*offset, data.to_vec()));
                }
                Event::RedPart {
                    len, ends_block, ..
                } => assert_eq!(given.red.replace((*len, *ends_block)), None, "told twice"),
                _ => {}
            }
        }
        given
    }

    /// The octets in order. None may have come twice, and none may be missing.
    fn block(&self) -> Vec<u8> {
        let mut sorted = self.octets.clone();
        sorted.sort();
        let mut block = Vec::new();
        for (offset, octets) in sorted {
            assert_eq!(offset, block.len() as u64, "a gap, or octets given twice");
            block.extend(octets);
        }
        block
    }

    fn ranges(&self) -> Vec<(u64, usize)> {
        let ranges = self.octets.iter();
        ranges
            .map(|(offset, octets)| (*offset, octets.len()))
            .collect()
    }
}

fn scattered(delay: Duration, change: impl Fn(&mut farlink::ltp::Peer<farlink::Hop>)) -> Line {
    let mut line = Line::with(1, delay, |_| {}, change);
    let far = line.far();
    far.close(Instant::ZERO, CLIENT).unwrap();
    far.open(Instant::ZERO, CLIENT, Service::Scattered).unwrap();
    line
}

fn given(line: &mut Line) -> Given {
    line.drain();
    Given::of(&line.events(2))
}

fn stored(line: &mut Line, session: SessionId) {
    let now = line.now;
    line.far().stored(now, session).unwrap();
    line.drain();
}

/// Whether a report was sent that claims all of a red part.
fn claims_all(line: &Line, red: u64) -> bool {
    let reports = reports(line);
    let is_all = |(_, scope, claims): &Reported| *scope == (0, red) && *claims == [(0, red)];
    reports.iter().any(is_all)
}

/// All that the reports claim together, of a part of `red` octets.
fn claimed(line: &Line, red: u64) -> u64 {
    let mut all = farlink::kit::RangeSet::new();
    for (_, _, claims) in reports(line) {
        for (start, end) in claims {
            all.insert(start..end.min(red));
        }
    }
    all.len()
}

#[test]
fn each_red_octet_is_given_once_as_it_comes_whatever_overlaps() {
    let mut line = scattered(OWLT, |_| {});
    line.give(2, FOREIGN, red(10, &[1; 10]));
    assert_eq!(given(&mut line).ranges(), [(10, 10)]);
    line.give(2, FOREIGN, red(40, &[2; 5]));
    assert_eq!(given(&mut line).ranges(), [(40, 5)]);

    line.give(2, FOREIGN, red(5, &[3; 38]));
    let over = given(&mut line);
    line.give(2, FOREIGN, red(5, &[4; 38]));
    let again = given(&mut line);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[5; 50]));
    let rest = given(&mut line);

    assert_eq!(over.octets, [(5, vec![3; 5]), (20, vec![3; 20])]);
    assert_eq!(again, Given::default());
    assert_eq!(rest.octets, [(0, vec![5; 5]), (45, vec![5; 5])]);
    assert_eq!(rest.red, Some((50, true)));
}

#[test]
fn segments_in_order_between_two_polls_are_given_at_once() {
    let mut line = scattered(OWLT, |_| {});
    for offset in [0, 10, 20, 50, 60] {
        line.give(2, FOREIGN, red(offset, &[1; 10]));
    }

    assert_eq!(given(&mut line).ranges(), [(0, 30), (50, 20)]);
}

#[test]
fn a_red_part_is_acknowledged_when_it_is_stored_and_not_before() {
    let mut line = scattered(OWLT, |_| {});
    let session = line.send(1, &pattern(5000), Red::All);
    line.run_for(Duration::from_secs(20));
    let given = given(&mut line);
    assert_eq!(given.block(), pattern(5000));
    assert_eq!(given.red, Some((5000, true)));
    assert_eq!(
        reports(&line),
        [],
        "the sender has asked again, and heard nothing"
    );
    assert_eq!(line.events(1), []);

    stored(&mut line, session);
    line.run();

    assert!(claims_all(&line, 5000));
    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.events(2), []);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn what_was_not_told_of_cannot_be_stored_and_nothing_is_stored_twice() {
    let mut line = scattered(OWLT, |_| {});
    let refused = Err(Error::NothingToStore(FOREIGN));
    let now = line.now;
    assert_eq!(line.far().stored(now, FOREIGN), refused);
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.drain();
    assert_eq!(line.far().stored(now, FOREIGN), refused);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 10, &[2; 10]));
    assert_eq!(
        line.far().stored(now, FOREIGN),
        refused,
        "its event has not left the engine"
    );
    line.drain();

    assert_eq!(line.far().stored(now, FOREIGN), Ok(()));
    assert_eq!(line.far().stored(now, FOREIGN), refused);
    line.drain();
    assert!(claims_all(&line, 20));
}

#[test]
fn a_red_part_of_a_whole_service_needs_no_storing() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[2; 10]));
    line.drain();

    let now = line.now;
    let refused = line.far().stored(now, FOREIGN);

    assert_eq!(refused, Err(Error::NothingToStore(FOREIGN)));
}

#[test]
fn a_block_that_cannot_be_stored_is_refused_before_it_is_acknowledged() {
    let mut line = scattered(OWLT, |_| {});
    let session = line.send(1, &pattern(5000), Red::All);
    line.run_for(OWLT);
    assert_eq!(given(&mut line).red, Some((5000, true)));

    let now = line.now;
    line.far().refuse(now, session).unwrap();
    line.run();

    assert_eq!(reports(&line), []);
    let events = line.events(2);
    let is_told = matches!(
        events[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::USER,
            cause: EndCause::Application,
            after_delivery: false,
            ..
        }]
    );
    assert!(is_told, "{events:?}");
    let events = line.events(1);
    let has_failed = matches!(
        events[..],
        [Event::Failed {
            by: Side::Remote,
            reason: Reason::USER,
            ..
        }]
    );
    assert!(has_failed, "{events:?}");
    assert_eq!(line.left(), (0, 0, 0));
}

/// Early claims are those of RFC 5326 section 6.11. What completes the red part is claimed when it is stored.
#[test]
fn earlier_reports_claim_what_came_and_never_what_completes_the_red_part() {
    let mut line = scattered(OWLT, |_| {});
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 0, &[1; 10]));
    line.give(2, FOREIGN, checkpoint(6, 0, Mark::Block, 20, &[1; 10]));
    line.drain();
    let serial = line
        .bodies()
        .iter()
        .find_map(|(_, segment)| match segment.body {
            Body::Report(report) if report.checkpoint == 6 => Some(report.serial),
            _ => None,
        });
    let early = reports(&line);

    line.give(
        2,
        FOREIGN,
        checkpoint(7, serial.unwrap(), Mark::None, 10, &[1; 10]),
    );
    line.drain();
    let late = reports(&line);
    stored(&mut line, FOREIGN);

    assert_eq!(
        early,
        [(5, (0, 10), vec![(0, 10)]), (6, (10, 30), vec![(20, 30)])]
    );
    assert_eq!(late, early, "nothing is said of the last octets");
    assert!(claims_all(&line, 30));
}

/// The claims of a report are made when it is written.
#[test]
fn a_report_that_waits_to_be_written_does_not_claim_what_comes_before_it_leaves() {
    for is_scattered in [true, false] {
        let mut line = scattered(OWLT, |_| {});
        if !is_scattered {
            let far = line.far();
            far.close(Instant::ZERO, CLIENT).unwrap();
            far.open_on_demand(Instant::ZERO, CLIENT, Service::Whole)
                .unwrap();
        }
        let now = line.now;
        line.far().contact(now, 1, Cue::MustStop).unwrap();
        line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 20, &[1; 10]));
        line.drain();
        line.give(2, FOREIGN, red(0, &[1; 20]));
        line.drain();

        line.far().contact(now, 1, Cue::MayTransmit).unwrap();
        line.run_for(Duration::from_secs(1));
        assert!(claimed(&line, 30) < 30, "{:?}", reports(&line));
        // Its sender asks again, and is not told either.
        line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 20, &[1; 10]));
        line.run_for(Duration::from_secs(1));
        assert!(claimed(&line, 30) < 30, "{:?}", reports(&line));

        if is_scattered {
            stored(&mut line, FOREIGN);
        } else {
            let now = line.now;
            line.far().take(now, CLIENT).unwrap();
            line.drain();
        }
        assert!(claims_all(&line, 30));
    }
}

#[test]
fn many_checkpoints_do_not_make_a_withheld_report_leave() {
    let mut line = scattered(OWLT, |peer| {
        peer.timers.report_delay = Duration::from_millis(1);
    });
    for serial in 0..20 {
        line.give(
            2,
            FOREIGN,
            checkpoint(5 + serial, 0, Mark::None, 10, &[1; 10]),
        );
    }
    let now = line.now;
    line.far().contact(now, 1, Cue::MustStop).unwrap();
    line.drain();
    line.give(2, FOREIGN, checkpoint(40, 0, Mark::Block, 0, &[1; 20]));
    for serial in 0..20 {
        line.give(
            2,
            FOREIGN,
            checkpoint(41 + serial, 0, Mark::None, 0, &[1; 20]),
        );
    }
    line.far().contact(now, 1, Cue::MayTransmit).unwrap();
    line.run_for(Duration::from_secs(60));

    assert!(claimed(&line, 20) < 20, "{:?}", reports(&line));
    stored(&mut line, FOREIGN);
    assert!(claims_all(&line, 20));
}

#[test]
fn the_green_part_of_a_scattered_block_comes_as_in_any_other() {
    let mut line = scattered(OWLT, |_| {});
    let session = line.send(1, &pattern(5000), Red::Octets(3000));
    line.run_for(OWLT * 2);
    let events = line.events(2);
    let green: usize = events
        .iter()
        .map(|event| match event {
            Event::Green { data, .. } => data.len(),
            _ => 0,
        })
        .sum();
    let given = Given::of(&events);
    assert_eq!(given.red, Some((3000, false)));
    assert_eq!(
        (given.block(), green),
        (pattern(5000)[..3000].to_vec(), 2000)
    );

    stored(&mut line, session);
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_receive_only_engine_keeps_a_session_until_its_red_part_is_stored() {
    let mut line = scattered(OWLT, |_| {});
    let now = line.now;
    let peer = farlink::ltp::Peer {
        direction: farlink::ltp::Direction::ReceiveOnly,
        ..farlink::ltp::Peer::at(crate::line::hop(1))
    };
    line.far().change_peer(now, 1, peer).unwrap();
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    line.run_for(Duration::from_secs(7200));
    assert_eq!(given(&mut line).red, Some((10, true)));

    stored(&mut line, FOREIGN);
    line.run();

    assert_eq!(line.events(2), []);
    assert_eq!(line.left(), (0, 0, 0));
    assert_eq!(reports(&line), []);
}

#[test]
fn a_take_gives_one_run_or_the_end_of_the_red_part() {
    let mut line = scattered(Duration::ZERO, |_| {});
    let far = line.far();
    far.close(Instant::ZERO, CLIENT).unwrap();
    far.open_on_demand(Instant::ZERO, CLIENT, Service::Scattered)
        .unwrap();
    let session = line.send(1, &pattern(5000), Red::All);
    line.run_for(Duration::from_secs(1));
    assert_eq!(line.events(2), []);
    assert!(line.far().has_waiting(CLIENT));

    let mut all = Vec::new();
    for _ in 0..2 {
        let now = line.now;
        line.far().take(now, CLIENT).unwrap();
        line.drain();
        let events = line.events(2);
        assert_eq!(events.len(), 1);
        all.extend(events);
    }
    assert!(!line.far().has_waiting(CLIENT));
    let given = Given::of(&all);
    assert_eq!(
        (given.block(), given.red),
        (pattern(5000), Some((5000, true)))
    );
    assert_eq!(line.events(1), []);

    stored(&mut line, session);
    line.run_for(Duration::from_secs(1));
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn an_engine_keeps_no_octets_that_it_gave() {
    let mut line = scattered(OWLT, |_| {});
    let segment = vec![7; 1000];
    let mut most = 0;
    for at in 0..5000 {
        // Every other one is missing at first.
        let at = if at < 2500 {
            2 * at
        } else {
            2 * (at - 2500) + 1
        };
        line.give(2, FOREIGN, red(1000 * at, &segment));
        line.drain();
        most = most.max(line.far().usage().octets_held);
    }

    let given = Given::of(&line.events(2));
    assert_eq!(given.block().len(), 5_000_000);
    assert!(most < 200_000, "{most} octets held for 2500 ranges");
    assert!(line.far().usage().octets_held < 2000);
}

#[test]
fn a_service_that_takes_nothing_is_held_to_half_and_its_sender_is_told_nothing_false() {
    const LIMIT: usize = 200_000;
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |config| config.limits.import_octets = LIMIT,
        |_| {},
    );
    let far = line.far();
    far.open_on_demand(Instant::ZERO, 5, Service::Scattered)
        .unwrap();
    for tag in 1..=4 {
        let silent = farlink::ltp::Block {
            client: 5,
            ..block(tag, &pattern(60_000), Red::All)
        };
        let now = line.now;
        line.near().send_block(now, silent).unwrap();
        line.run_for(Duration::from_secs(1));
    }
    let held = line.far().usage().octets_held;
    assert!(held <= LIMIT * 2 / 3, "{held}");

    line.send(5, &pattern(60_000), Red::All);
    line.run_for(Duration::from_secs(10));

    assert!(received(&line.events(2)).is_some());
    assert!(is_complete(&line.events(1), 5));
    // What was kept is given, and what was not comes again.
    let mut events = Vec::new();
    for _ in 0..400 {
        let now = line.now;
        line.far().take(now, 5).unwrap();
        line.run_for(Duration::from_millis(50));
        for event in line.events(2) {
            if let Event::RedPart { session, .. } = event {
                stored(&mut line, session);
            }
            events.push(event);
        }
    }
    let parts = events
        .iter()
        .filter(|event| matches!(event, Event::RedPart { .. }));
    assert_eq!(parts.count(), 4, "{:?}", line.events(1));
}

#[test]
fn a_cancelled_block_is_followed_by_nothing_and_leaves_nothing() {
    for is_taken in [true, false] {
        let mut line = scattered(OWLT, |_| {});
        line.judge(lose(3, usize::MAX));
        line.send(1, &pattern(5000), Red::All);
        if is_taken {
            line.run_for(OWLT);
            assert!(!line.events(2).is_empty());
        }
        let now = line.now;
        line.near().cancel(now, Tag(1)).unwrap();
        line.judge(|_| SegmentOutcome::Pass);
        line.run();

        let events = line.events(2);
        let is_told = matches!(
            events.last(),
            Some(Event::Cancelled {
                after_delivery: false,
                ..
            })
        );
        assert!(is_told || !is_taken, "{events:?}");
        assert_eq!(line.left(), (0, 0, 0));
    }
}

#[test]
fn closing_a_service_cancels_what_is_not_stored() {
    let mut line = scattered(OWLT, |_| {});
    line.send(1, &pattern(5000), Red::All);
    line.run_for(OWLT);
    assert!(given(&mut line).red.is_some());

    let now = line.now;
    line.far().close(now, CLIENT).unwrap();
    line.run();

    assert!(!is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

/// The number may be used again, and what is stored of the old block must not acknowledge the new one.
#[test]
fn a_block_that_waits_to_be_stored_does_not_give_way_to_another_under_its_number() {
    let mut line = scattered(OWLT, |_| {});
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    assert_eq!(given(&mut line).red, Some((10, true)));

    line.give(2, FOREIGN, checkpoint(9000, 0, Mark::Block, 0, &[2; 20]));
    line.drain();

    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            cause: EndCause::StateLost,
            after_delivery: false,
            ..
        }]
    ));
    let now = line.now;
    let refused = line.far().stored(now, FOREIGN);
    assert_eq!(refused, Err(Error::NothingToStore(FOREIGN)));
    assert_eq!(reports(&line), []);
}

fn restored(line: &mut Line, age: Age) {
    let now = line.now;
    let snapshot = line.far().snapshot(now);
    #[cfg(feature = "serde")]
    let snapshot = {
        let text = serde_json::to_string(&snapshot).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        assert_eq!(snapshot, read);
        read
    };
    let seed = Seed::from(9);
    line.nodes[1].engine = Engine::restore(Config::engine(2), seed, snapshot, age, now).unwrap();
    line.drain();
}

#[test]
fn a_snapshot_has_what_was_not_given_and_the_ranges_of_what_was() {
    let mut line = scattered(OWLT, |_| {});
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.give(2, FOREIGN, red(30, &[1; 10]));
    line.drain();
    line.give(2, FOREIGN, red(20, &[2; 10]));
    line.give(2, FOREIGN, red(60, &[2; 10]));
    let before = Given::of(&line.events(2));

    restored(&mut line, Age::Current);
    let after = given(&mut line);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 10, &[3; 70]));
    let rest = given(&mut line);
    stored(&mut line, FOREIGN);

    assert_eq!(before.ranges(), [(0, 10), (30, 10)]);
    assert_eq!(after.ranges(), [(20, 10), (60, 10)]);
    assert_eq!(rest.ranges(), [(10, 10), (40, 20), (70, 10)]);
    assert_eq!(rest.red, Some((80, true)));
    assert!(claims_all(&line, 80));
}

#[test]
fn a_red_part_that_waits_to_be_stored_is_told_again_after_a_restart() {
    for age in [Age::Current, Age::Behind] {
        let mut line = scattered(OWLT, |_| {});
        let session = line.send(1, &pattern(5000), Red::All);
        line.run_for(OWLT);
        assert!(given(&mut line).red.is_some());

        restored(&mut line, age);
        line.run_for(Duration::from_secs(5));
        let again = given(&mut line);
        assert_eq!((again.octets.len(), again.red), (0, Some((5000, true))));
        assert_eq!(reports(&line), []);
        stored(&mut line, session);
        line.run();

        assert!(is_complete(&line.events(1), 1));
        assert_eq!(line.left(), (0, 0, 0));
    }
}
