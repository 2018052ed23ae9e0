//! One machine on one byte stream, by threads that block.

use std::io::{self, Read, Write};
use std::iter;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::blocking::raw::{self, Commands, Events};
use farlink::adapters::blocking::runtime;
use farlink::adapters::raw::{DriverOptions, Notice};
use farlink::adapters::runtime::TcpIo;
use farlink::adapters::{CommandError, Detached};
use farlink::{Ask, Cause, Limits, Link, Tag};

use super::AT_LAST;
use super::toy::{Command, Event, No, QUEUE, Toy, Wish, io, pair, pattern};

#[test]
fn the_link_is_up_before_anything_else() {
    let (_handle, mut events, mut peer) = toy(DriverOptions::default());

    peer.write_all(b"hello").unwrap();

    assert_eq!(next(&mut events), Event::Cue(Link::Up));
    assert_eq!(next(&mut events), Event::Octets(Bytes::from("hello")));
}

#[test]
fn an_echo_gives_back_what_it_got() {
    let (handle, events, mut peer) = toy(DriverOptions::default());
    handle.command(Command::Echo).unwrap();
    drop(events);
    let mut reading = peer.try_clone().unwrap();

    let writer = thread::spawn(move || {
        peer.write_all(&pattern(0, 3_000_000)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = vec![0; 3_000_000];
    reading.read_exact(&mut back).unwrap();

    assert!(back == pattern(0, 3_000_000));
    writer.join().unwrap();
}

#[test]
fn a_timer_fires_while_nothing_comes() {
    let (handle, mut events, _peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    for _ in 0..3 {
        handle
            .command(Command::Timer(Duration::from_millis(5)))
            .unwrap();
        assert_eq!(next(&mut events), Event::Fired);
    }
}

#[test]
fn an_earlier_timer_wakes_a_driver_that_sleeps_for_a_later_one() {
    let (handle, mut events, _peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    handle.command(Command::Timer(AT_LAST * 10)).unwrap();
    handle
        .command(Command::Timer(Duration::from_millis(1)))
        .unwrap();

    assert_eq!(next(&mut events), Event::Fired);
}

#[test]
fn a_stream_that_takes_no_more_is_full_and_later_free() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    handle.command(Command::Send(MANY)).unwrap();
    assert_eq!(next(&mut events), Event::Cue(Link::Full));
    let mut got = vec![0; MANY];
    peer.read_exact(&mut got).unwrap();

    assert!(got == pattern(0, MANY));
    assert_eq!(next(&mut events), Event::Cue(Link::Free));
    handle.flush().unwrap();
}

#[test]
fn two_that_send_and_never_read_neither_deadlock_nor_grow() {
    let (near, far) = pair();
    let (one, mut one_events) = raw::stream(Toy::sender(MANY), io(near), DriverOptions::default());
    let (other, mut other_events) =
        raw::stream(Toy::sender(MANY), io(far), DriverOptions::default());
    let until_full = |events: &mut Events<Toy>| while next(events) != Event::Cue(Link::Full) {};
    until_full(&mut one_events);
    until_full(&mut other_events);
    until_stuck(&one);

    // Timers fire all the while. The system's buffers may still widen; beyond them nothing is written.
    for _ in 0..10 {
        one.command(Command::Timer(Duration::from_millis(1)))
            .unwrap();
        while next(&mut one_events) != Event::Fired {}
    }
    assert!(one.with_machine(|toy| toy.written).unwrap() < MANY);

    for handle in [&one, &other] {
        handle.command(Command::Want(Wish::Octets)).unwrap();
    }
    let receive = |mut events: Events<Toy>| {
        let mut got = 0;
        while got < MANY {
            if let Event::Octets(octets) = next(&mut events) {
                assert!(octets == pattern(got, octets.len()));
                got += octets.len();
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| receive(one_events));
        scope.spawn(|| receive(other_events));
    });
}

#[test]
fn a_full_stream_stops_neither_events_nor_reading() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    handle.command(Command::Send(MANY)).unwrap();
    while next(&mut events) != Event::Cue(Link::Full) {}

    peer.write_all(b"still there?").unwrap();

    assert_eq!(next_octets(&mut events), "still there?");
}

#[test]
fn a_refusal_goes_back_to_who_gave_the_command() {
    let (handle, _events, _peer) = toy(DriverOptions::default());

    assert_eq!(
        handle.command(Command::Refuse),
        Err(CommandError::Refused(No))
    );
}

#[test]
fn a_command_that_is_refused_for_now_is_given_again_once_there_is_room() {
    let (handle, events, mut peer) = toy(DriverOptions::default());
    drop(events);
    let total = 20 * QUEUE;

    let sender = thread::spawn(move || {
        for _ in 0..total / 10_000 {
            handle
                .command_when(Command::Queue(10_000), |&No| true)
                .unwrap();
            assert!(handle.with_machine(|toy| toy.queued).unwrap() <= QUEUE);
        }
        handle
    });
    let mut got = vec![0; total];
    peer.read_exact(&mut got).unwrap();

    assert!(got == pattern(0, total));
    drop(sender.join().unwrap());
}

#[test]
fn whoever_waits_for_room_is_told_of_the_end() {
    let (handle, _events, peer) = toy(DriverOptions::default());
    let endless = handle.clone();

    let sender = thread::spawn(move || {
        while endless
            .command_when(Command::Queue(10_000), |&No| true)
            .is_ok()
        {}
    });
    while handle.with_machine(|toy| toy.queued).unwrap() < QUEUE {
        thread::yield_now();
    }
    reset(peer);

    sender.join().unwrap();
}

#[test]
fn a_flush_ends_when_what_was_written_before_has_left() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));
    handle.command(Command::Send(MANY)).unwrap();
    handle.command(Command::Note(Tag(5))).unwrap();
    let flushing = handle.clone();

    let flusher = thread::spawn(move || {
        flushing.flush().unwrap();
        flushing.with_machine(|toy| toy.queued)
    });
    let mut got = vec![0; MANY];
    peer.read_exact(&mut got).unwrap();

    assert_eq!(flusher.join().unwrap(), Some(0));
    while next(&mut events) != Event::Sent(Tag(5)) {}
    handle.command(Command::Note(Tag(6))).unwrap();
    handle.command(Command::Tell(1)).unwrap();
    while next(&mut events) != Event::Told {}
}

#[test]
fn a_flush_that_the_end_overtakes_fails() {
    let (handle, _events, peer) = toy(DriverOptions::default());
    handle.command(Command::Send(MANY)).unwrap();

    let flusher = thread::spawn(move || handle.flush());
    reset(peer);

    let error = flusher.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn nothing_can_be_opened_on_a_stream() {
    let (handle, mut events, _peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    handle
        .command(Command::Ask(Ask::Open {
            tag: Tag(7),
            path: (),
        }))
        .unwrap();

    let failed = Link::Failed(Tag(7), Cause::Unreachable);
    assert_eq!(next(&mut events), Event::Cue(failed));
}

#[test]
fn the_peers_end_is_not_ours() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());

    peer.shutdown(Shutdown::Write).unwrap();
    while next(&mut events) != Event::Cue(Link::Ended) {}
    handle.command(Command::Send(5)).unwrap();
    handle.command(Command::Ask(Ask::Finish(()))).unwrap();

    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, pattern(0, 5));
}

#[test]
fn after_our_end_reading_goes_on() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    handle.command(Command::Send(MANY)).unwrap();
    handle.command(Command::FinishWhenSent).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    peer.write_all(b"thanks").unwrap();

    assert!(got == pattern(0, MANY));
    let octets = next_octets(&mut events);
    assert_eq!(octets, "thanks");
}

#[test]
fn a_reset_by_the_peer_takes_the_link_down() {
    let (_handle, mut events, peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    reset(peer);

    assert_eq!(next(&mut events), Event::Cue(Link::Down(Cause::Reset)));
    assert_eq!(
        next_or_end(&mut events),
        None,
        "the toy is done when its link is down"
    );
}

#[test]
fn a_reset_is_told_after_what_came_before_it() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    handle.command(Command::Want(Wish::Nothing)).unwrap();
    handle.command(Command::Send(1)).unwrap();
    peer.write_all(b"last words").unwrap();
    peer.read_exact(&mut [0]).unwrap();
    reset(peer);

    // The reset is met by writing, while the words wait in the socket or in the reader's hand.
    handle.command(Command::Want(Wish::Octets)).unwrap();
    let _ = handle.command(Command::Send(MANY));

    let mut heard = Vec::new();
    while let Some(event) = next_or_end(&mut events) {
        heard.push(event);
    }
    let down = Event::Cue(Link::Down(Cause::Reset));
    assert_eq!(heard.last(), Some(&down), "{heard:?}");
    assert_eq!(heard.iter().filter(|&event| *event == down).count(), 1);
}

#[test]
fn a_reset_reaches_a_machine_that_wants_nothing_once_it_sends() {
    let (handle, mut events, peer) = toy(DriverOptions::default());
    handle.command(Command::Want(Wish::Nothing)).unwrap();
    handle.command(Command::Send(MANY)).unwrap();
    while next(&mut events) != Event::Cue(Link::Full) {}

    reset(peer);

    // The system of the peer may have taken a little more before.
    let mut heard = iter::from_fn(|| Some(next(&mut events)));
    let first = heard.find(|event| !matches!(event, Event::Cue(Link::Full | Link::Free)));
    assert_eq!(first, Some(Event::Cue(Link::Down(Cause::Reset))));
}

#[test]
fn an_abort_is_a_reset_to_the_peer() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());

    handle.command(Command::Ask(Ask::Abort(()))).unwrap();

    let error = peer.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    handle.command(Command::Done).unwrap();
    assert_eq!(next(&mut events), Event::Cue(Link::Up));
    assert_eq!(next_or_end(&mut events), None);
}

#[test]
fn an_abort_does_not_wait_for_a_full_stream() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    handle.command(Command::Send(MANY)).unwrap();
    while next(&mut events) != Event::Cue(Link::Full) {}

    handle.command(Command::Ask(Ask::Abort(()))).unwrap();
    handle.command(Command::Done).unwrap();
    let _ = handle.closed();

    let mut got = Vec::new();
    let error = peer.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn done_flushes_before_it_closes() {
    let (handle, events, mut peer) = toy(DriverOptions::default());
    drop(events);
    // Octets nobody reads here: closing on them must not destroy what is on its way.
    handle.command(Command::Want(Wish::Nothing)).unwrap();
    peer.write_all(&pattern(0, 100_000)).unwrap();

    handle.command(Command::Send(MANY)).unwrap();
    handle.command(Command::DoneWhenSent).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();

    assert!(got == pattern(0, MANY));
    assert_eq!(handle.command(Command::Echo), Err(CommandError::Gone));
}

#[test]
fn a_close_flushes_and_the_machine_lives_on() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));

    handle.command(Command::Send(100_000)).unwrap();
    handle.command(Command::Ask(Ask::Close(()))).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    handle
        .command(Command::Timer(Duration::from_millis(1)))
        .unwrap();

    assert!(got == pattern(0, 100_000));
    assert_eq!(
        next(&mut events),
        Event::Fired,
        "and no cue after the close"
    );
}

#[test]
fn a_peer_that_takes_nothing_delays_a_close_for_a_limited_time() {
    let options = DriverOptions {
        linger: Duration::from_millis(50),
        // So much in one send that what is left of it never fits the buffers of the system.
        limits: Limits::stream(MANY),
        ..DriverOptions::default()
    };
    let (handle, events, mut peer) = toy(options);
    drop(events);
    handle.command(Command::Send(MANY)).unwrap();
    until_stuck(&handle);

    handle.command(Command::Done).unwrap();
    let _ = handle.closed();

    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn what_a_broken_stream_did_not_take_is_not_flushed() {
    for _ in 0..20 {
        let (handle, _events, peer) = toy(DriverOptions::default());
        handle.command(Command::Want(Wish::Nothing)).unwrap();
        reset(peer);

        let flusher = thread::spawn(move || {
            // The end may come before it.
            let _ = handle.command(Command::Send(10 * MANY));
            handle.flush()
        });

        let error = flusher.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_stream_is_detached_with_the_octets_read_too_far() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));
    handle.command(Command::Want(Wish::Line(Tag(3)))).unwrap();
    let mut writing = peer.try_clone().unwrap();

    let writer = thread::spawn(move || {
        let mut all = b"upgrade\n".to_vec();
        all.extend(pattern(0, MANY));
        writing.write_all(&all).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut detached = wait_detached(&mut events).unwrap();
    let mut got = detached.early.to_vec();
    detached.stream.read_to_end(&mut got).unwrap();
    detached.stream.write_all(b"and back").unwrap();
    drop(detached.stream);

    assert_eq!(detached.tag, Tag(3));
    assert!(got == pattern(0, MANY));
    let mut back = Vec::new();
    peer.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"and back");
    writer.join().unwrap();
    assert!(wait_detached(&mut events).is_none(), "it is detached once");
}

#[test]
fn a_stream_on_which_nothing_comes_is_detached_too() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    handle.command(Command::Send(70_000)).unwrap();

    let early = Bytes::from_static(b"early ");
    handle
        .command(Command::Ask(Ask::Detach {
            tag: Tag(1),
            path: (),
            early,
        }))
        .unwrap();
    let mut detached = wait_detached(&mut events).unwrap();
    let mut first = vec![0; 70_000];
    peer.read_exact(&mut first).unwrap();
    peer.write_all(b"late").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut got = detached.early.to_vec();
    detached.stream.read_to_end(&mut got).unwrap();

    assert_eq!(first, pattern(0, 70_000));
    assert_eq!(got, b"early late");
    assert_eq!(
        detached.stream.read_timeout().unwrap(),
        None,
        "it blocks without limit"
    );
}

#[test]
fn octets_that_came_while_nothing_was_wanted_leave_with_the_stream() {
    for round in 0..20 {
        let (handle, mut events, mut peer) = toy(DriverOptions::default());
        handle.command(Command::Want(Wish::Nothing)).unwrap();
        // The reader waits in a read that was allowed before, or has come out of it: both must do.
        peer.write_all(&pattern(0, 1000)).unwrap();
        if round % 2 == 0 {
            thread::yield_now();
        }

        let early = Bytes::new();
        handle
            .command(Command::Ask(Ask::Detach {
                tag: Tag(1),
                path: (),
                early,
            }))
            .unwrap();
        peer.write_all(&pattern(1000, 1000)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut detached = wait_detached(&mut events).unwrap();
        let mut got = detached.early.to_vec();
        detached.stream.read_to_end(&mut got).unwrap();

        let seen = handle.with_machine(|toy| toy.received).unwrap();
        assert_eq!(seen, 0, "round {round}");
        assert!(got == pattern(0, 2000), "round {round}");
    }
}

#[test]
fn a_stream_that_is_closed_is_not_detached() {
    let (handle, mut events, _peer) = toy(DriverOptions::default());

    handle.command(Command::Ask(Ask::Close(()))).unwrap();
    let ask = Ask::Detach {
        tag: Tag(1),
        path: (),
        early: Bytes::new(),
    };
    handle.command(Command::Ask(ask)).unwrap();
    handle.command(Command::Done).unwrap();

    assert!(wait_detached(&mut events).is_none());
}

#[test]
fn while_events_wait_in_a_full_channel_timers_fire_but_nothing_is_read_or_commanded() {
    let options = DriverOptions {
        events: 2,
        ..DriverOptions::default()
    };
    let (handle, mut events, mut peer) = toy(options);
    handle
        .command(Command::Ticks(Duration::from_millis(1)))
        .unwrap();
    while handle.with_machine(|toy| toy.ticks).unwrap() < 2 {
        thread::yield_now();
    }
    handle.command(Command::Tell(2)).unwrap();
    let waiting = handle.clone();
    let commander = thread::spawn(move || waiting.command(Command::Tell(1)));
    peer.write_all(b"unread").unwrap();

    let ticks = handle.with_machine(|toy| toy.ticks).unwrap();
    while handle.with_machine(|toy| toy.ticks).unwrap() < ticks + 50 {
        thread::yield_now();
    }

    assert_eq!(handle.with_machine(|toy| toy.received), Some(0));
    assert_eq!(
        handle.with_machine(|toy| toy.told),
        Some(2),
        "a command was taken"
    );
    let mut told = 0;
    let mut heard = false;
    while told < 3 || !heard {
        match next(&mut events) {
            Event::Told => told += 1,
            Event::Octets(octets) => heard = octets == "unread",
            _ => {}
        }
    }
    assert_eq!(commander.join().unwrap(), Ok(()));
}

#[test]
fn a_busy_sender_does_not_starve_reading_commands_or_events() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));
    let mut reading = peer.try_clone().unwrap();
    let sink = thread::spawn(move || {
        let mut scratch = vec![0; 1 << 20];
        while reading.read(&mut scratch).unwrap() > 0 {}
    });

    handle.command(Command::SendForever).unwrap();
    peer.write_all(b"hear me").unwrap();
    let octets = next_octets(&mut events);
    handle.command(Command::Done).unwrap();
    while next_or_end(&mut events).is_some() {}

    assert_eq!(octets, "hear me");
    drop(peer);
    sink.join().unwrap();
}

#[test]
fn dropping_the_last_handle_gives_the_last_command() {
    let options = DriverOptions {
        on_drop: Some(Command::DoneWhenSent),
        ..DriverOptions::default()
    };
    let (handle, mut events, mut peer) = toy(options);
    let clone = handle.clone();
    clone.command(Command::Send(100_000)).unwrap();

    drop(handle);
    clone.command(Command::Send(5)).unwrap();
    drop(clone);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();

    assert_eq!(got.len(), 100_005);
    while next_or_end(&mut events).is_some() {}
}

#[test]
fn without_a_last_command_the_machine_goes_on_until_it_is_done() {
    let (handle, events, mut peer) = toy(DriverOptions::default());
    handle.command(Command::Echo).unwrap();
    let probe = handle
        .with_machine(|toy| Arc::downgrade(&toy.probe))
        .unwrap();

    drop(handle);
    drop(events);
    peer.write_all(b"anybody?").unwrap();
    let mut back = [0; 8];
    peer.read_exact(&mut back).unwrap();
    reset(peer);

    assert_eq!(&back, b"anybody?");
    until_dropped(&probe);
}

#[test]
fn events_that_nobody_takes_are_discarded() {
    let options = DriverOptions {
        events: 1,
        ..DriverOptions::default()
    };
    let (handle, events, mut peer) = toy(options);

    drop(events);
    peer.write_all(&pattern(0, MANY)).unwrap();
    handle.command(Command::Tell(1000)).unwrap();

    while handle.with_machine(|toy| toy.received).unwrap() < MANY {
        thread::yield_now();
    }
}

#[test]
fn nothing_outlives_the_connection() {
    let endings: [fn(&Commands<Toy>, TcpStream); 5] = [
        |handle, _peer| handle.command(Command::Done).unwrap(),
        |_, peer| reset(peer),
        |handle, _peer| {
            handle.command(Command::Ask(Ask::Abort(()))).unwrap();
            handle.command(Command::Done).unwrap();
        },
        |handle, _peer| {
            handle.command(Command::Send(MANY)).unwrap();
            handle.command(Command::Ask(Ask::Abort(()))).unwrap();
            handle.command(Command::Done).unwrap();
        },
        |handle, _peer| {
            let early = Bytes::new();
            handle
                .command(Command::Ask(Ask::Detach {
                    tag: Tag(1),
                    path: (),
                    early,
                }))
                .unwrap();
            // The driver may have ended with its stream.
            let _ = handle.command(Command::Done);
        },
    ];
    for end in endings {
        let (handle, events, peer) = toy(DriverOptions::default());
        let probe = handle
            .with_machine(|toy| Arc::downgrade(&toy.probe))
            .unwrap();

        end(&handle, peer);
        let _ = handle.closed();

        drop(handle);
        drop(events);
        // The driver has to return from its last call only.
        until_dropped(&probe);
    }
}

#[test]
fn a_machine_that_panics_ends_everything() {
    let (handle, mut events, mut peer) = toy(DriverOptions::default());
    assert_eq!(next(&mut events), Event::Cue(Link::Up));
    let waiting = thread::spawn(move || next_or_end(&mut events));

    let panicking = handle.clone();
    let outcome = thread::spawn(move || panicking.command(Command::Panic)).join();

    assert!(outcome.is_err());
    assert_eq!(waiting.join().unwrap(), None);
    assert_eq!(handle.command(Command::Echo), Err(CommandError::Gone));
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "the stream is closed");
}

#[cfg(unix)]
#[test]
fn any_stream_socket_will_do() {
    let (near, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let near = TcpIo::new(&*runtime(), near.into()).unwrap();
    let (handle, events) = raw::stream(Toy::default(), near, DriverOptions::default());
    handle.command(Command::Echo).unwrap();
    drop(events);
    let mut reading = peer.try_clone().unwrap();

    let writer = thread::spawn(move || peer.write_all(&pattern(0, MANY)).unwrap());
    let mut back = vec![0; MANY];
    reading.read_exact(&mut back).unwrap();

    assert!(back == pattern(0, MANY));
    writer.join().unwrap();
}

/// More than the buffers of a loopback connection hold.
const MANY: usize = 16_000_000;

fn toy(options: DriverOptions<Toy>) -> (Commands<Toy>, Events<Toy>, TcpStream) {
    let (near, peer) = pair();
    peer.set_read_timeout(Some(AT_LAST)).unwrap();
    let (handle, events) = raw::stream(Toy::default(), io(near), options);
    (handle, events, peer)
}

fn next(events: &mut Events<Toy>) -> Event {
    next_or_end(events).expect("an event")
}

/// Like `next`, but the end is fine too; only a driver that hangs is not.
fn next_or_end(events: &mut Events<Toy>) -> Option<Event> {
    match events.recv_timeout(AT_LAST).unwrap() {
        Some(Notice::Event(event)) => Some(event),
        Some(Notice::Detached(_)) => panic!("detached"),
        None => {
            assert!(events.is_finished());
            None
        }
    }
}

/// Passes over events; `None` at the end.
fn wait_detached(events: &mut Events<Toy>) -> Option<Detached<TcpStream>> {
    loop {
        if let Notice::Detached(detached) = events.recv_timeout(AT_LAST).unwrap()? {
            let detached = detached.into_tcp().unwrap();
            detached.stream.set_nonblocking(false).unwrap();
            return Some(detached);
        }
    }
}

/// Passes over everything else: a stream may be full and free more than once.
fn next_octets(events: &mut Events<Toy>) -> Bytes {
    loop {
        if let Event::Octets(octets) = next(events) {
            return octets;
        }
    }
}

/// Waits until the system takes no more: it may find memory for a while.
fn until_stuck(handle: &Commands<Toy>) {
    let tick = Duration::from_millis(1);
    handle.command(Command::Ticks(tick)).unwrap();
    let progress = || handle.with_machine(|toy| (toy.ticks, toy.written)).unwrap();
    let (mut since, mut last) = progress();
    loop {
        let (ticks, written) = progress();
        if written != last {
            (since, last) = (ticks, written);
        } else if ticks > since + 200 {
            return;
        }
        thread::yield_now();
    }
}

fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
    drop(stream);
}

fn until_dropped(probe: &Weak<()>) {
    while probe.strong_count() > 0 {
        thread::yield_now();
    }
}
