//! The checker around a live machine, as a driver uses it.

use alloc::vec;
use core::net::SocketAddr;

use super::lines::{self, Command, Event, Fault, Lines, frames};
use crate::laws::{Checker, Law, LawSubject, Violation};
use crate::{Ask, Cause, Instant, Limits, Link, Machine, Output, Path, Proto, Seed, Tag, Transmit};

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn machine(fault: Fault) -> (Lines, Checker<()>) {
    let config = lines::Config {
        fault,
        must_accept: false,
    };
    let machine = Lines::make(&config, Seed::from(1)).unwrap();
    (machine, Checker::new(Limits::stream(100)))
}

fn drain(machine: &mut Lines, checker: &mut Checker<()>) -> Result<(), Violation> {
    let mut tx = Transmit::new(checker.limits());
    loop {
        let output = machine.poll(NOW, &mut tx);
        checker.polled(NOW, &output, &tx)?;
        if matches!(output, Output::Idle(_) | Output::Done) {
            return checker.settled(machine, |()| false);
        }
    }
}

fn link(machine: &mut Lines, checker: &mut Checker<()>, state: Link) {
    checker.link(NOW, (), state);
    machine.link(NOW, (), state);
}

fn receive(machine: &mut Lines, checker: &mut Checker<()>, octets: &[u8]) {
    checker.receive(machine, NOW, ());
    machine.receive(NOW, (), octets);
}

fn send(machine: &mut Lines, checker: &mut Checker<()>, len: usize) {
    checker.command(NOW);
    machine.command(NOW, Command::Send(vec![0; len])).unwrap();
}

#[test]
fn a_sound_machine_passes_and_the_calls_are_counted() {
    let (mut machine, mut checker) = machine(Fault::None);

    link(&mut machine, &mut checker, Link::Up);
    receive(&mut machine, &mut checker, &frames(&[b"a"]));
    drain(&mut machine, &mut checker).unwrap();

    assert_eq!(
        checker.calls(),
        4,
        "a cue, octets, an event and the end of the drain"
    );
    assert!(checker.is_idle());
    assert_eq!(checker.deadline(), Some(NOW + lines::SILENCE));
}

#[test]
fn a_live_machine_that_breaks_a_law_is_named_with_the_call() {
    let (mut machine, mut checker) = machine(Fault::WritesWhenFull);

    link(&mut machine, &mut checker, Link::Up);
    link(&mut machine, &mut checker, Link::Full);
    assert!(checker.is_full(()));
    send(&mut machine, &mut checker, 3);
    let violation = drain(&mut machine, &mut checker).unwrap_err();

    assert_eq!((violation.law, violation.step), (Law::NoWriteWhenClosed, 3));
    assert_eq!(violation.script, "");
}

#[test]
fn a_full_carrier_excuses_a_stream_that_is_not_wanted() {
    let (mut machine, mut checker) = machine(Fault::None);

    link(&mut machine, &mut checker, Link::Up);
    link(&mut machine, &mut checker, Link::Full);
    send(&mut machine, &mut checker, lines::MAX_OUT);
    assert!(!checker.wants(&machine, ()));
    drain(&mut machine, &mut checker).unwrap();
    link(&mut machine, &mut checker, Link::Free);
    drain(&mut machine, &mut checker).unwrap();

    assert!(checker.wants(&machine, ()));
}

#[test]
fn a_path_that_comes_up_again_begins_a_life() {
    let mut checker = Checker::<()>::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    tx.append((), 1, |out| out.push(1));
    let sent = Output::<(), Event>::Transmit;

    checker.link(NOW, (), Link::Full);
    checker.link(NOW, (), Link::Down(Cause::Reset));
    assert!(!checker.is_alive(()));
    let down = checker.clone().polled(NOW, &sent, &tx).unwrap_err();
    checker.link(NOW, (), Link::Up);

    assert_eq!(down.detail, "1 octets were written to () after `Down`");
    assert!(checker.is_alive(()));
    assert_eq!(checker.polled(NOW, &sent, &tx), Ok(()));
}

#[test]
fn a_finished_stream_is_silent_and_still_alive() {
    let mut checker = Checker::<()>::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    let finish = Output::<(), Event>::Ask(Ask::Finish(()));

    checker.link(NOW, (), Link::Up);
    checker.polled(NOW, &finish, &tx).unwrap();
    tx.append((), 1, |out| out.push(1));

    assert!(checker.is_alive(()));
    let late = checker
        .polled(NOW, &Output::<(), Event>::Transmit, &tx)
        .unwrap_err();
    assert_eq!(late.detail, "1 octets were written to () after `Finish`");
}

#[test]
fn yield_counts_as_an_output_and_is_no_idle() {
    let mut checker = Checker::<()>::new(Limits::default());
    let tx = Transmit::new(Limits::default());
    checker.allow(3, 3);
    let yields = |checker: &mut Checker<()>| {
        let polled = checker.polled(NOW, &Output::<(), Event>::Yield, &tx);
        polled.map_err(|violation| (violation.law, violation.detail))
    };

    for _ in 0..3 {
        assert_eq!(yields(&mut checker), Ok(()));
        assert!(!checker.is_idle());
    }
    let endless = (Law::FiniteDrain, "more than 3 outputs in one drain".into());
    assert_eq!(yields(&mut checker.clone()), Err(endless));

    checker
        .polled(NOW, &Output::<(), Event>::Idle(None), &tx)
        .unwrap();
    let (law, detail) = yields(&mut checker).unwrap_err();
    assert_eq!(law, Law::QuietUntilDeadline);
    assert!(detail.ends_with("it gave `Yield`"), "{detail}");
}

#[test]
fn an_open_is_due_for_an_answer_until_it_is_answered_or_cancelled() {
    let mut checker = Checker::<()>::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    let ask = |checker: &mut Checker<()>, ask| {
        let tx = Transmit::new(Limits::default());
        let polled = checker.polled(NOW, &Output::<(), Event>::Ask(ask), &tx);
        polled.unwrap();
    };
    let (tag, other) = (Tag(1), Tag(2));

    ask(&mut checker, Ask::Open { tag, path: () });
    assert!(checker.is_opening(tag) && !checker.is_opening(other));
    ask(&mut checker, Ask::Cancel(tag));
    assert!(!checker.is_opening(tag) && checker.is_alive(()));

    ask(&mut checker, Ask::Open { tag, path: () });
    checker.link(NOW, (), Link::Opened(tag));
    assert!(!checker.is_opening(tag));
    ask(&mut checker, Ask::Cancel(other));
    assert!(checker.is_alive(()), "nothing was opened under this tag");
    ask(&mut checker, Ask::Cancel(tag));
    assert!(!checker.is_alive(()));

    tx.append((), 1, |out| out.push(1));
    let late = checker.polled(NOW, &Output::<(), Event>::Transmit, &tx);
    let late = late.unwrap_err();
    assert_eq!(late.law, Law::NoWriteWhenClosed);
    assert_eq!(late.detail, "1 octets were written to () after `Cancel`");
}

#[test]
fn another_buffer_than_the_driver_gave_is_found() {
    let mut checker = Checker::<()>::new(Limits::default());
    let tx = Transmit::new(Limits::stream(7));

    let violation = checker
        .polled(NOW, &Output::<(), Event>::Idle(None), &tx)
        .unwrap_err();

    assert_eq!(violation.law, Law::TransmitWithinLimits);
    assert_eq!(violation.detail, "it replaced the buffer that it was given");
}

#[test]
fn a_cue_of_a_udp_socket_applies_to_all_its_paths() {
    let local = SocketAddr::from(([10, 0, 0, 1], 4000));
    let socket = Path::socket(Proto::Udp, local);
    let way = Path::udp(local, SocketAddr::from(([10, 0, 0, 2], 4000)));
    let mut checker = Checker::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    tx.push(way, 3, |out| out.extend_from_slice(b"abc"));
    let sends = |checker: &mut Checker<Path>| {
        let sent = checker.polled(NOW, &Output::<Path, ()>::Transmit, &tx);
        sent.map_err(|violation| violation.detail)
    };

    checker.link(NOW, socket, Link::Up);
    assert_eq!(sends(&mut checker), Ok(()));

    checker.link(NOW, socket, Link::Full);
    assert!(checker.is_full(way));
    let detail = sends(&mut checker).unwrap_err();
    assert!(detail.ends_with("after `Full`"), "{detail}");

    checker.link(NOW, socket, Link::Free);
    checker.link(NOW, way, Link::Full);
    checker.link(NOW, socket, Link::Down(Cause::Closed));
    assert!(!checker.is_alive(way));
    let detail = sends(&mut checker).unwrap_err();
    assert!(detail.contains("after"), "{detail}");

    checker.link(NOW, socket, Link::Up);
    assert!(checker.is_alive(way) && !checker.is_full(way));
    assert_eq!(sends(&mut checker), Ok(()));
}

#[test]
fn a_closed_listener_says_nothing_of_the_streams_it_accepted() {
    let local = SocketAddr::from(([10, 0, 0, 1], 80));
    let stream = Path::tcp(local, SocketAddr::from(([10, 0, 0, 2], 4000)));
    let mut checker = Checker::new(Limits::default());
    checker.link(NOW, Path::socket(Proto::Tcp, local), Link::Up);
    checker.link(NOW, stream, Link::Up);

    checker.link(
        NOW,
        Path::socket(Proto::Tcp, local),
        Link::Down(Cause::Closed),
    );

    assert!(checker.is_alive(stream));
}
