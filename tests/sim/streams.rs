//! Streams between machines whose address is `()`.

use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{Chunks, DropReason, Host, StreamLine, World};
use farlink::{Ask, Cause, Instant, Link, Tag};

use crate::scripted_machine::{Action, ScriptedMachine, links, octets};

type End = Host<ScriptedMachine<()>>;

const SECOND: Duration = Duration::from_secs(1);

fn at(span: Duration) -> Instant {
    Instant::ZERO + span
}

fn pair(seed: u64, line: StreamLine) -> (World, End, End) {
    let mut world = World::new(seed);
    let one = world.host((), ScriptedMachine::default());
    let two = world.host((), ScriptedMachine::default());
    world.connect(one, two, line);
    (world, one, two)
}

fn write(world: &mut World, from: End, len: usize) {
    let octets: Bytes = (0..=255).cycle().take(len).collect();
    world.command(from, Action::Append((), octets)).unwrap();
}

fn ask(world: &mut World, from: End, ask: Ask<()>) {
    world.command(from, Action::Ask(ask)).unwrap();
}

fn chunks(world: &World, host: End) -> Vec<usize> {
    let got = octets(world, host);
    got.iter().map(|(_, octets)| octets.len()).collect()
}

fn joined(world: &World, host: End) -> Vec<u8> {
    let got = octets(world, host);
    got.iter().flat_map(|(_, octets)| octets.to_vec()).collect()
}

fn cues(world: &World, host: End) -> Vec<(Instant, Link)> {
    let cues = links(world, host);
    cues.iter().map(|(time, (), link)| (*time, *link)).collect()
}

#[test]
fn both_ends_get_up() {
    let (world, one, two) = pair(1, StreamLine::default());

    assert_eq!(cues(&world, one), [(Instant::ZERO, Link::Up)]);
    assert_eq!(cues(&world, two), [(Instant::ZERO, Link::Up)]);
}

#[test]
fn a_stream_arrives_whole_in_order_and_after_its_delay() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(720 * SECOND));

    write(&mut world, one, 100_000);
    assert!(world.run_until_idle(1000 * SECOND));

    let expected: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(joined(&world, two), expected);
    assert!(
        octets(&world, two)
            .iter()
            .all(|(time, _)| *time == at(720 * SECOND))
    );
}

#[test]
fn chunks_have_the_length_that_the_line_sets() {
    for (cut, expected) in [
        (Chunks::Whole, vec![10]),
        (Chunks::Fixed(1), vec![1; 10]),
        (Chunks::Fixed(4), vec![4, 4, 2]),
        (Chunks::Fixed(0), vec![1; 10]),
    ] {
        let line = StreamLine {
            chunks: cut,
            ..StreamLine::default()
        };
        let (mut world, one, two) = pair(1, line);

        write(&mut world, one, 10);
        world.run_until_idle(SECOND);

        assert_eq!(chunks(&world, two), expected);
    }
}

#[test]
fn random_chunks_have_every_length_up_to_the_most() {
    let line = StreamLine {
        chunks: Chunks::Random(7),
        ..StreamLine::default()
    };
    let (mut world, one, two) = pair(3, line);

    write(&mut world, one, 10_000);
    world.run_until_idle(SECOND);

    let lengths = chunks(&world, two);
    for len in 1..=7 {
        let count = lengths.iter().filter(|other| **other == len).count();
        // About 2500 chunks of 4 octets on average, 357 of each length; five standard deviations are 88.
        assert!((269..=445).contains(&count), "{count} of {len}");
    }
    assert!(lengths.iter().all(|len| (1..=7).contains(len)));
    assert_eq!(joined(&world, two).len(), 10_000);
}

#[test]
fn jitter_never_reorders_a_stream() {
    let line = StreamLine {
        jitter: SECOND,
        ..StreamLine::default()
    };
    let (mut world, one, two) = pair(3, line);

    write(&mut world, one, 100_000);
    world.run_until_idle(100 * SECOND);

    let expected: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(joined(&world, two), expected);
    assert!(chunks(&world, two).len() > 10);
}

#[test]
fn a_rate_spaces_the_octets_of_a_stream() {
    let line = StreamLine {
        rate: Some(80_000),
        ..StreamLine::default()
    };
    let (mut world, one, two) = pair(1, line);

    write(&mut world, one, 20_000);
    world.run_until_idle(100 * SECOND);

    let got = octets(&world, two);
    assert_eq!(got.last().unwrap().0, at(2 * SECOND));
    assert!(got.len() > 10, "{} chunks", got.len());
}

#[test]
fn a_full_window_stops_the_writer_until_half_of_it_is_read() {
    let line = StreamLine {
        delay: SECOND,
        window: Some(1000),
        ..StreamLine::default()
    };
    let (mut world, one, two) = pair(1, line);

    write(&mut world, one, 600);
    write(&mut world, one, 600);
    write(&mut world, one, 600);
    world.run_until_idle(100 * SECOND);

    // The second write fills it. All is read after a second, the news takes another.
    assert_eq!(
        cues(&world, one)[1..],
        [
            (at(Duration::ZERO), Link::Full),
            (at(2 * SECOND), Link::Free)
        ]
    );
    assert_eq!(chunks(&world, two).iter().sum::<usize>(), 1800);
    assert_eq!(octets(&world, two).last().unwrap().0, at(3 * SECOND));
}

#[test]
fn what_is_not_wanted_stays_in_the_stream_and_fills_the_window() {
    let line = StreamLine {
        window: Some(1000),
        chunks: Chunks::Fixed(100),
        ..StreamLine::default()
    };
    let (mut world, one, two) = pair(1, line);
    world.allow_unread(two, |()| true);

    world.command(two, Action::Want(false)).unwrap();
    write(&mut world, one, 1000);
    world.run_until(10 * SECOND);
    assert!(octets(&world, two).is_empty());
    assert_eq!(cues(&world, one).last().unwrap().1, Link::Full);
    world.command(two, Action::Want(true)).unwrap();
    world.run_until_idle(100 * SECOND);

    assert_eq!(chunks(&world, two), [100; 10]);
    assert_eq!(
        cues(&world, one).last().unwrap(),
        &(at(10 * SECOND), Link::Free)
    );
}

#[test]
fn finish_ends_one_direction_after_what_was_written() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(SECOND));

    write(&mut world, one, 10);
    ask(&mut world, one, Ask::Finish(()));
    world.run_until(2 * SECOND);
    write(&mut world, two, 5);
    world.run_until_idle(100 * SECOND);

    assert_eq!(joined(&world, two).len(), 10);
    assert_eq!(cues(&world, two)[1..], [(at(SECOND), Link::Ended)]);
    assert_eq!(
        octets(&world, one),
        [(at(3 * SECOND), Bytes::from_static(&[0, 1, 2, 3, 4]))]
    );
}

#[test]
fn a_closed_end_gets_no_further_cues() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(SECOND));

    write(&mut world, one, 10);
    ask(&mut world, one, Ask::Close(()));
    write(&mut world, two, 5);
    ask(&mut world, two, Ask::Finish(()));
    world.run_until_idle(100 * SECOND);

    assert_eq!(joined(&world, two).len(), 10);
    assert_eq!(cues(&world, two).last().unwrap().1, Link::Ended);
    assert_eq!(cues(&world, one), [(Instant::ZERO, Link::Up)]);
    assert!(octets(&world, one).is_empty());
}

#[test]
fn abort_resets_the_peer_and_loses_what_comes_back() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(SECOND));

    write(&mut world, one, 10);
    ask(&mut world, one, Ask::Abort(()));
    write(&mut world, two, 5);
    world.run_until_idle(100 * SECOND);

    assert_eq!(
        joined(&world, two).len(),
        10,
        "what was sent before arrives before"
    );
    assert_eq!(
        cues(&world, two)[1..],
        [(at(SECOND), Link::Down(Cause::Reset))]
    );
    assert!(octets(&world, one).is_empty());
    let cut = world.trace().packets().filter(|packet| {
        packet
            .lost()
            .is_some_and(|(_, why)| why == DropReason::Reset)
    });
    assert_eq!(cut.count(), 1);
}

#[test]
fn abort_loses_what_is_not_yet_sent() {
    let line = StreamLine {
        delay: SECOND,
        rate: Some(8000),
        ..StreamLine::default()
    };
    let (mut world, one, two) = pair(1, line);

    write(&mut world, one, 14_600);
    world.at(2 * SECOND, move |world| ask(world, one, Ask::Abort(())));
    world.run_until_idle(100 * SECOND);

    // 1460 octets take 1.46 s and a second of delay; the reset arrives at 3 s.
    assert_eq!(joined(&world, two).len(), 1460);
    assert_eq!(
        cues(&world, two).last().unwrap(),
        &(at(3 * SECOND), Link::Down(Cause::Reset))
    );
}

#[test]
fn a_scripted_reset_reaches_both_ends_and_loses_what_is_in_flight() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(10 * SECOND));

    write(&mut world, one, 10);
    write(&mut world, two, 10);
    world.run_until(SECOND);
    world.reset(one, ());
    world.run_until_idle(100 * SECOND);

    let reset = Link::Down(Cause::Reset);
    assert_eq!(cues(&world, one)[1..], [(at(SECOND), reset)]);
    assert_eq!(cues(&world, two)[1..], [(at(11 * SECOND), reset)]);
    assert!(octets(&world, one).is_empty());
    assert!(octets(&world, two).is_empty());
}

#[test]
fn a_scripted_half_close_ends_one_direction_without_the_writer() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(SECOND));

    write(&mut world, one, 10);
    world.half_close(one, ());
    write(&mut world, one, 10);
    write(&mut world, two, 3);
    world.run_until_idle(100 * SECOND);

    assert_eq!(joined(&world, two).len(), 10);
    assert_eq!(cues(&world, two).last().unwrap().1, Link::Ended);
    assert_eq!(joined(&world, one).len(), 3);
}

#[test]
fn a_detached_stream_is_read_and_written_by_the_script() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(SECOND));
    let early = Bytes::from_static(b"read too far");
    let tag = Tag(7);

    write(&mut world, two, 4);
    world.run_until(SECOND);
    ask(
        &mut world,
        one,
        Ask::Detach {
            tag,
            path: (),
            early: early.clone(),
        },
    );
    write(&mut world, two, 3);
    world.run_until(3 * SECOND);
    world.write(one, tag, b"hello");
    ask(&mut world, two, Ask::Finish(()));
    world.run_until_idle(100 * SECOND);

    let detached = &world.detached(one)[0];
    assert_eq!(detached.early, early);
    assert_eq!(detached.received, [0, 1, 2]);
    assert!(detached.is_ended);
    assert_eq!(octets(&world, one).len(), 1, "the machine reads no more");
    assert_eq!(joined(&world, two), b"hello");
    world.close(one, tag);
    world.run_until_idle(100 * SECOND);
    assert_eq!(cues(&world, two).last().unwrap().1, Link::Ended);
}

#[test]
fn a_machine_that_is_done_flushes_and_closes() {
    let (mut world, one, two) = pair(1, StreamLine::delayed(SECOND));

    write(&mut world, one, 10);
    world.command(one, Action::Stop).unwrap();
    world.run_until_idle(100 * SECOND);

    assert_eq!(joined(&world, two).len(), 10);
    assert_eq!(cues(&world, two).last().unwrap().1, Link::Ended);
}

#[test]
fn a_stream_has_no_sockets_to_open() {
    let (mut world, one, _) = pair(1, StreamLine::default());

    ask(
        &mut world,
        one,
        Ask::Open {
            tag: Tag(1),
            path: (),
        },
    );
    world.run_until_idle(SECOND);

    let failed = Link::Failed(Tag(1), Cause::Unreachable);
    assert_eq!(cues(&world, one).last().unwrap().1, failed);
}
