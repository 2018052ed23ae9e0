//! The watch around a live machine, as a driver holds it.

use alloc::vec;
use core::net::SocketAddr;

use super::lines::{self, Command, Event, Fault, Lines, frames};
use crate::laws::{Checker, Law, LawSubject, Violation};
use crate::{Cause, Instant, Limits, Link, Machine, Output, Path, Proto, Seed, Transmit};

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn machine(fault: Fault) -> (Lines, Checker<()>) {
    let config = lines::Config {
        fault,
        has_gate: false,
    };
    let machine = Lines::make(&config, Seed::from(1)).unwrap();
    (machine, Checker::new(Limits::stream(100)))
}

fn drain(machine: &mut Lines, watch: &mut Checker<()>) -> Result<(), Violation> {
    let mut tx = Transmit::new(watch.limits());
    loop {
        let output = machine.poll(NOW, &mut tx);
        watch.polled(NOW, &output, &tx)?;
        if matches!(output, Output::Idle(_) | Output::Done) {
            return watch.settled(machine, |()| false);
        }
    }
}

fn link(machine: &mut Lines, watch: &mut Checker<()>, state: Link) {
    watch.link(NOW, (), state);
    machine.link(NOW, (), state);
}

fn receive(machine: &mut Lines, watch: &mut Checker<()>, octets: &[u8]) {
    watch.receive(machine, NOW, ());
    machine.receive(NOW, (), octets);
}

fn send(machine: &mut Lines, watch: &mut Checker<()>, len: usize) {
    watch.command(NOW);
    machine.command(NOW, Command::Send(vec![0; len])).unwrap();
}

#[test]
fn a_sound_machine_passes_and_the_calls_are_counted() {
    let (mut machine, mut watch) = machine(Fault::None);

    link(&mut machine, &mut watch, Link::Up);
    receive(&mut machine, &mut watch, &frames(&[b"a"]));
    drain(&mut machine, &mut watch).unwrap();

    assert_eq!(
        watch.calls(),
        4,
        "a cue, octets, an event and the end of the drain"
    );
    assert!(watch.is_idle());
    assert_eq!(watch.deadline(), Some(NOW + lines::SILENCE));
}

#[test]
fn a_live_machine_that_breaks_a_law_is_named_with_the_call() {
    let (mut machine, mut watch) = machine(Fault::WritesWhenFull);

    link(&mut machine, &mut watch, Link::Up);
    link(&mut machine, &mut watch, Link::Full);
    assert!(watch.is_full(()));
    send(&mut machine, &mut watch, 3);
    let breach = drain(&mut machine, &mut watch).unwrap_err();

    assert_eq!((breach.law, breach.step), (Law::Silence, 3));
    assert_eq!(breach.script, "");
}

#[test]
fn a_full_carrier_excuses_a_stream_that_is_not_wanted() {
    let (mut machine, mut watch) = machine(Fault::None);

    link(&mut machine, &mut watch, Link::Up);
    link(&mut machine, &mut watch, Link::Full);
    send(&mut machine, &mut watch, lines::MOST_OUT);
    assert!(!watch.wants(&machine, ()));
    drain(&mut machine, &mut watch).unwrap();
    link(&mut machine, &mut watch, Link::Free);
    drain(&mut machine, &mut watch).unwrap();

    assert!(watch.wants(&machine, ()));
}

#[test]
fn a_path_that_comes_up_again_begins_a_life() {
    let mut watch = Checker::<()>::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    tx.append((), 1, |out| out.push(1));
    let sent = Output::<(), Event>::Transmit;

    watch.link(NOW, (), Link::Full);
    watch.link(NOW, (), Link::Down(crate::Cause::Reset));
    assert!(!watch.is_alive(()));
    let down = watch.clone().polled(NOW, &sent, &tx).unwrap_err();
    watch.link(NOW, (), Link::Up);

    assert_eq!(down.detail, "1 octets were written to () after `Down`");
    assert!(watch.is_alive(()));
    assert_eq!(watch.polled(NOW, &sent, &tx), Ok(()));
}

#[test]
fn a_finished_stream_is_silent_and_still_alive() {
    let mut watch = Checker::<()>::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    let finish = Output::<(), Event>::Ask(crate::Ask::Finish(()));

    watch.link(NOW, (), Link::Up);
    watch.polled(NOW, &finish, &tx).unwrap();
    tx.append((), 1, |out| out.push(1));

    assert!(watch.is_alive(()));
    let late = watch
        .polled(NOW, &Output::<(), Event>::Transmit, &tx)
        .unwrap_err();
    assert_eq!(late.detail, "1 octets were written to () after `Finish`");
}

#[test]
fn another_buffer_than_the_driver_gave_is_found() {
    let mut watch = Checker::<()>::new(Limits::default());
    let tx = Transmit::new(Limits::stream(7));

    let breach = watch
        .polled(NOW, &Output::<(), Event>::Idle(None), &tx)
        .unwrap_err();

    assert_eq!(breach.law, Law::SendFits);
    assert_eq!(breach.detail, "it exchanged the buffer that it was given");
}

#[test]
fn what_is_said_of_a_udp_socket_holds_of_all_ways_from_it() {
    let local = SocketAddr::from(([10, 0, 0, 1], 4000));
    let socket = Path::socket(Proto::Udp, local);
    let way = Path::udp(local, SocketAddr::from(([10, 0, 0, 2], 4000)));
    let mut watch = Checker::new(Limits::default());
    let mut tx = Transmit::new(Limits::default());
    tx.push(way, 3, |out| out.extend_from_slice(b"abc"));
    let sends = |watch: &mut Checker<Path>| {
        let sent = watch.polled(NOW, &Output::<Path, ()>::Transmit, &tx);
        sent.map_err(|breach| breach.detail)
    };

    watch.link(NOW, socket, Link::Up);
    assert_eq!(sends(&mut watch), Ok(()));

    watch.link(NOW, socket, Link::Full);
    assert!(watch.is_full(way));
    let detail = sends(&mut watch).unwrap_err();
    assert!(detail.ends_with("after `Full`"), "{detail}");

    watch.link(NOW, socket, Link::Free);
    watch.link(NOW, way, Link::Full);
    watch.link(NOW, socket, Link::Down(Cause::Closed));
    assert!(!watch.is_alive(way));
    let detail = sends(&mut watch).unwrap_err();
    assert!(detail.contains("after"), "{detail}");

    watch.link(NOW, socket, Link::Up);
    assert!(watch.is_alive(way) && !watch.is_full(way));
    assert_eq!(sends(&mut watch), Ok(()));
}

#[test]
fn a_closed_listener_says_nothing_of_the_streams_it_accepted() {
    let local = SocketAddr::from(([10, 0, 0, 1], 80));
    let stream = Path::tcp(local, SocketAddr::from(([10, 0, 0, 2], 4000)));
    let mut watch = Checker::new(Limits::default());
    watch.link(NOW, Path::socket(Proto::Tcp, local), Link::Up);
    watch.link(NOW, stream, Link::Up);

    watch.link(
        NOW,
        Path::socket(Proto::Tcp, local),
        Link::Down(Cause::Closed),
    );

    assert!(watch.is_alive(stream));
}
