//! Services opened on demand: what waits in the engine until it is taken, and how it is bounded.

use farlink::Seed;
use farlink::ltp::{Age, Config, Engine, EngineLimits};

use super::*;

const LIMIT: usize = 100_000;
/// Services that are opened on demand.
const SILENT: u64 = 5;
const BUSY: u64 = 6;

#[test]
fn a_take_is_answered_at_once_when_a_block_waits() {
    let mut line = limited();
    send(&mut line, SILENT, 1, 1000);
    arrive(&mut line);
    assert_eq!(line.events(1), [], "nobody has the block");
    assert_eq!(line.events(2), []);

    take(&mut line, SILENT);

    assert_eq!(lengths(&line.events(2)), [1000]);
    assert_eq!(line.far().usage().octets_waiting, 0);
    arrive(&mut line);
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn a_take_waits_for_the_next_block() {
    let mut line = limited();
    take(&mut line, SILENT);
    assert_eq!(line.events(2), []);

    send(&mut line, SILENT, 1, 1000);
    send(&mut line, SILENT, 2, 2000);
    arrive(&mut line);

    assert_eq!(lengths(&line.events(2)), [1000]);
}

#[test]
fn each_take_is_answered_by_one_item_in_the_order_of_arrival() {
    let mut line = limited();
    for tag in 1..=4 {
        send(&mut line, SILENT, tag, 1000 * usize::try_from(tag).unwrap());
    }
    arrive(&mut line);

    take(&mut line, SILENT);
    assert_eq!(lengths(&line.events(2)), [1000]);
    for _ in 0..5 {
        take(&mut line, SILENT);
    }
    assert_eq!(lengths(&line.events(2)), [2000, 3000, 4000]);

    // Two takes are left over.
    for tag in 5..=7 {
        send(&mut line, SILENT, tag, 1000 * usize::try_from(tag).unwrap());
    }
    arrive(&mut line);
    assert_eq!(lengths(&line.events(2)), [5000, 6000]);
}

#[test]
fn a_withdrawn_take_leaves_the_block_to_the_next_one() {
    let mut line = limited();
    let now = line.now;
    take(&mut line, SILENT);
    line.far().untake(now, SILENT).unwrap();
    send(&mut line, SILENT, 1, 1000);
    arrive(&mut line);
    assert_eq!(line.events(2), []);

    // A take is answered by a poll; until then it can be withdrawn.
    let now = line.now;
    line.far().take(now, SILENT).unwrap();
    line.far().untake(now, SILENT).unwrap();
    line.drain();
    assert_eq!(line.events(2), []);

    take(&mut line, SILENT);
    assert_eq!(lengths(&line.events(2)), [1000]);
    let refused = line.far().untake(now, SILENT);
    assert_eq!(refused, Err(Error::NotTaking(SILENT)));
}

#[test]
fn takes_are_refused_where_blocks_come_unasked_and_where_nothing_is_open() {
    let mut line = limited();
    let now = line.now;
    for (client, error) in [
        (CLIENT, Error::NotOnDemand(CLIENT)),
        (99, Error::NotOpen(99)),
    ] {
        assert_eq!(line.far().take(now, client), Err(error));
        assert_eq!(line.far().untake(now, client), Err(error));
    }
    let refused = line.far().open_on_demand(now, SILENT, Service::Whole);
    assert_eq!(refused, Err(Error::Service(SILENT)));
}

#[test]
fn services_with_many_takes_take_turns() {
    let mut line = limited();
    for (tag, client) in [(1, SILENT), (2, SILENT), (3, BUSY), (4, BUSY)] {
        send(&mut line, client, tag, 100);
    }
    arrive(&mut line);

    let now = line.now;
    for client in [SILENT, SILENT, BUSY, BUSY] {
        line.far().take(now, client).unwrap();
    }
    line.drain();

    let clients: Vec<u64> = line
        .events(2)
        .iter()
        .filter_map(|event| match event {
            Event::Received { client, .. } => Some(*client),
            _ => None,
        })
        .collect();
    assert_eq!(clients, [SILENT, BUSY, SILENT, BUSY]);
}

#[test]
fn green_segments_and_cancellations_wait_to_be_taken_too() {
    let mut line = limited();
    let now = line.now;
    let mut mixed = block(1, &pattern(1000), Red::Octets(400));
    mixed.client = SILENT;
    line.near().send_block(now, mixed).unwrap();
    arrive(&mut line);
    // A block whose end is lost for good.
    line.judge(lose(3, usize::MAX));
    send(&mut line, SILENT, 2, 5000);
    let now = line.now;
    line.drain();
    line.near().cancel(now, Tag(2)).unwrap();
    arrive(&mut line);
    line.judge(|_| SegmentOutcome::Pass);
    assert_eq!(line.events(2), []);

    for _ in 0..3 {
        take(&mut line, SILENT);
    }

    let events = line.events(2);
    assert!(
        matches!(
            events[..],
            [
                Event::Received {
                    ends_block: false,
                    ..
                },
                Event::Green {
                    ends_block: true,
                    ..
                },
                Event::Cancelled { .. }
            ]
        ),
        "{events:?}"
    );
}

#[test]
fn a_streaming_service_gives_one_piece_for_each_take() {
    let mut line = limited();
    let now = line.now;
    line.far()
        .open_on_demand(now, 7, Service::Streaming)
        .unwrap();
    take(&mut line, 7);
    take(&mut line, 7);
    // The last segment of the red part comes late.
    line.judge(lose(3, 1));
    send(&mut line, 7, 1, 5000);
    line.run_for(Duration::from_secs(3));

    let events = line.events(2);
    let [
        Event::Started { .. },
        Event::Piece {
            offset: 0, data, ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    let first = data.len() as u64;
    for _ in 0..3 {
        take(&mut line, 7);
    }
    let events = line.events(2);
    let [
        Event::Piece {
            offset, data: rest, ..
        },
        Event::Received { data: all, .. },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(*offset, first);
    assert_eq!(first + rest.len() as u64, all.len() as u64);
    assert_eq!(*all, pattern(5000));
}

#[test]
fn what_is_left_of_a_stream_that_was_cancelled_is_one_event() {
    let mut line = limited();
    let now = line.now;
    line.far()
        .open_on_demand(now, 7, Service::Streaming)
        .unwrap();
    line.judge(lose(3, usize::MAX));
    send(&mut line, 7, 1, 5000);
    line.run();

    for _ in 0..5 {
        take(&mut line, 7);
    }

    let events = line.events(2);
    assert!(
        matches!(events[..], [Event::Started { .. }, Event::Cancelled { .. }]),
        "{events:?}"
    );
}

#[test]
fn what_waits_counts_against_the_limit() {
    let mut line = limited();
    for tag in 1..=12 {
        let client = if tag > 8 { BUSY } else { SILENT };
        send(&mut line, client, tag, 5000);
        arrive(&mut line);
        assert!(line.far().has_waiting(client));
    }
    assert!((60_000..72_000).contains(&line.far().usage().octets_waiting));

    line.send(13, &pattern(33_000), Red::All);
    arrive(&mut line);

    assert!(received(&line.events(2)).is_none());
    assert!(line.far().stats().no_room > 0);
    let now = line.now;
    line.near().cancel(now, Tag(13)).unwrap();

    for _ in 0..4 {
        take(&mut line, BUSY);
    }
    assert_eq!(lengths(&line.events(2)), [5000; 4]);
    line.send(14, &pattern(33_000), Red::All);
    arrive(&mut line);

    assert!(received(&line.events(2)).is_some());
}

#[test]
fn a_service_for_which_more_waits_than_is_free_leaves_the_rest_to_the_others() {
    let mut line = limited();
    for tag in 1..=9 {
        send(&mut line, SILENT, tag, 5000);
        arrive(&mut line);
    }
    assert!(line.far().usage().octets_waiting > 9 * 5000);

    send(&mut line, SILENT, 10, 20_000);
    send(&mut line, CLIENT, 11, 20_000);
    arrive(&mut line);

    assert!(received(&line.events(2)).is_some());
    let events = line.events(1);
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::Complete { tag: Tag(10), .. }))
    );
    assert!(is_complete(&events, 11));
}

#[test]
fn a_silent_service_is_held_to_about_half_and_stalls_nobody_else() {
    let mut line = limited();
    let mut accepted = 0;
    for tag in 1..=20 {
        let before = line.far().usage().octets_waiting;
        send(&mut line, SILENT, tag, 5000);
        arrive(&mut line);
        if line.far().usage().octets_waiting > before {
            accepted += 1;
        } else {
            let now = line.now;
            line.near().cancel(now, Tag(tag)).unwrap();
        }
    }
    assert!((8..=12).contains(&accepted), "{accepted}");
    assert!(line.far().usage().octets_waiting <= LIMIT);

    for tag in 21..=30 {
        send(&mut line, BUSY, tag, 5000);
        arrive(&mut line);
        take(&mut line, BUSY);
        assert_eq!(lengths(&line.events(2)), [5000]);
        arrive(&mut line);
        assert!(is_complete(&line.events(1), tag));
    }
    // What was accepted is there, and leaves room for more.
    for _ in 0..32 {
        take(&mut line, SILENT);
    }
    let blocks = lengths(&line.events(2));
    assert!((8..=10).contains(&blocks.len()), "{blocks:?}");
    assert!(blocks.iter().all(|len| *len == 5000), "{blocks:?}");
    assert_eq!(line.far().usage().octets_waiting, 0);
    send(&mut line, SILENT, 31, 5000);
    take(&mut line, SILENT);
    arrive(&mut line);
    assert!(is_complete(&line.events(1), 31));
}

#[test]
fn green_data_are_refused_like_red_ones() {
    let mut line = limited();
    send(&mut line, SILENT, 1, 55_000);
    arrive(&mut line);

    let now = line.now;
    let mut green = block(2, &pattern(1000), Red::Octets(0));
    green.client = SILENT;
    line.near().send_block(now, green).unwrap();
    arrive(&mut line);
    take(&mut line, SILENT);
    take(&mut line, SILENT);

    assert_eq!(lengths(&line.events(2)), [55_000]);
    assert_eq!(line.far().stats().green_octets, 0);
}

#[test]
fn what_waits_for_a_service_that_closes_is_forgotten() {
    let mut line = limited();
    send(&mut line, SILENT, 1, 55_000);
    arrive(&mut line);
    let now = line.now;
    let far = line.far();
    far.close(now, SILENT).unwrap();

    assert_eq!(far.usage().octets_waiting, 0);
    assert_eq!(far.take(now, SILENT), Err(Error::NotOpen(SILENT)));
    line.drain();
    // It was not acknowledged.
    assert!(matches!(line.events(2)[..], [Event::Cancelled { .. }]));
    let far = line.far();
    far.open_on_demand(now, SILENT, Service::Whole).unwrap();
    send(&mut line, SILENT, 2, 20_000);
    arrive(&mut line);
    take(&mut line, SILENT);

    assert_eq!(lengths(&line.events(2)), [20_000]);
}

#[test]
fn what_waits_is_in_a_snapshot_and_takes_are_not() {
    let mut line = limited();
    send(&mut line, SILENT, 1, 3000);
    send(&mut line, SILENT, 2, 2000);
    arrive(&mut line);
    take(&mut line, BUSY);
    let now = line.now;
    let snapshot = line.far().snapshot(now);

    let config = Config {
        limits: EngineLimits {
            import_octets: LIMIT,
            ..EngineLimits::default()
        },
        ..Config::engine(2)
    };
    let seed = Seed::from(9);
    let mut restored = Engine::restore(config, seed, snapshot.clone(), Age::Current, now).unwrap();

    assert_eq!(
        restored.usage().octets_waiting,
        line.far().usage().octets_waiting
    );
    assert_eq!(restored.untake(now, BUSY), Err(Error::NotTaking(BUSY)));
    line.nodes[1].engine = restored;
    take(&mut line, SILENT);
    take(&mut line, SILENT);
    assert_eq!(lengths(&line.events(2)), [3000, 2000]);
}

#[test]
fn a_service_that_closes_behind_its_block_does_not_cancel_it() {
    let mut line = Line::new(1, OWLT);
    line.send(1, &pattern(5000), Red::All);
    line.run_until(Instant::ZERO + OWLT);
    assert!(received(&line.events(2)).is_some());

    let now = line.now;
    line.far().close(now, CLIENT).unwrap();
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.events(2), []);
    assert_eq!(line.left(), (0, 0, 0));
}

fn limited() -> Line {
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |config| config.limits.import_octets = LIMIT,
        |_| {},
    );
    for client in [SILENT, BUSY] {
        let far = line.far();
        far.open_on_demand(Instant::ZERO, client, Service::Whole)
            .unwrap();
    }
    line
}

fn send(line: &mut Line, client: u64, tag: u64, len: usize) {
    let now = line.now;
    let mut block = block(tag, &pattern(len), Red::All);
    block.client = client;
    line.near().send_block(now, block).unwrap();
}

/// Lets what was sent arrive, before anything is sent again.
fn arrive(line: &mut Line) {
    line.run_for(Duration::from_secs(1));
}

fn take(line: &mut Line, client: u64) {
    let now = line.now;
    line.far().take(now, client).unwrap();
    line.drain();
}

fn lengths(events: &[Event]) -> Vec<usize> {
    let blocks = events.iter().filter_map(|event| match event {
        Event::Received { data, .. } => Some(data.len()),
        Event::Cancelled {
            by: Side::Remote, ..
        } => None,
        other => panic!("{other:?}"),
    });
    blocks.collect()
}
