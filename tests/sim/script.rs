//! What scripts can do, and that equal seeds give equal runs.

use alloc::rc::Rc;
use core::cell::RefCell;
use core::ops::ControlFlow;
use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{Bursts, Host, Line, Reorder, StreamLine, TraceDetail, World, for_each_seed};
use farlink::{Hop, Instant, Link, Machine, Output, Transmit};

use crate::scripted_machine::{Action, Observed, ScriptedMachine, octets};

const SECOND: Duration = Duration::from_secs(1);

fn at(span: Duration) -> Instant {
    Instant::ZERO + span
}

fn pair(seed: u64, line: Line) -> (World, Host<ScriptedMachine<u8>>, Host<ScriptedMachine<u8>>) {
    let mut world = World::new(seed);
    let one = world.host(1, ScriptedMachine::default());
    let two = world.host(2, ScriptedMachine::default());
    world.line(one, two, line);
    (world, one, two)
}

#[test]
fn calls_are_made_at_their_time_in_the_order_of_their_registration() {
    let mut world = World::new(1);
    let seen = Rc::new(RefCell::new(Vec::new()));

    for (name, time) in [("c", 2), ("a", 1), ("b", 1)] {
        let seen = Rc::clone(&seen);
        world.at(time * SECOND, move |world| {
            seen.borrow_mut().push((name, world.now()));
        });
    }
    world.run_until(3 * SECOND);

    let expected = [("a", at(SECOND)), ("b", at(SECOND)), ("c", at(2 * SECOND))];
    assert_eq!(*seen.borrow(), expected);
    assert_eq!(world.now(), at(3 * SECOND));
}

/// Has work for some polls when its deadline comes, and yields between them.
#[derive(Debug)]
struct Yielder {
    due: Option<Instant>,
    work: u8,
    log: Vec<&'static str>,
}

impl Machine for Yielder {
    type Addr = u8;
    type Command = ();
    type Event = ();
    type Error = core::convert::Infallible;

    fn receive(&mut self, _: Instant, _: u8, _: &[u8]) {
        self.log.push("received");
    }

    fn link(&mut self, _: Instant, _: u8, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Self::Error> {
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<u8>) -> Output<u8, ()> {
        tx.clear();
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.work = 3;
        }
        if self.work == 0 {
            return Output::Idle(self.due);
        }
        self.work -= 1;
        self.log.push("worked");
        Output::Yield
    }
}

#[test]
fn a_machine_that_yields_gets_its_inputs_and_lets_other_hosts_go_on_before_it_is_polled_again() {
    let mut world = World::new(1);
    let due = Some(at(2 * SECOND));
    let (work, log) = (0, Vec::new());
    let yielder = world.host(1, Yielder { due, work, log });
    let other = world.host(2, ScriptedMachine::<u8>::default());
    world.line(yielder, other, Line::delayed(SECOND));
    world
        .command(other, Action::WakeAt(at(2 * SECOND)))
        .unwrap();
    world.run_until(Duration::ZERO);
    world.command_at(SECOND, other, Action::Push(1, Bytes::from_static(b"input")));
    world.run_until(2 * SECOND);

    let log = &world.machine(yielder).log;
    assert_eq!(*log, ["worked", "received", "worked", "worked"]);
    assert_eq!(world.events(other).len(), 1, "it woke");
    assert!(world.run_until_idle(3 * SECOND));
}

#[test]
fn every_repeats_until_it_breaks_and_lets_the_world_be_idle() {
    let mut world = World::new(1);
    let count = Rc::new(RefCell::new(0));

    let counter = Rc::clone(&count);
    world.every(SECOND, move |_| {
        *counter.borrow_mut() += 1;
        if *counter.borrow() == 5 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(
        world.run_until_idle(100 * SECOND),
        "nothing else is to come"
    );
    world.run_until(3500 * Duration::from_millis(1));
    assert_eq!(*count.borrow(), 3);
    world.run_until(100 * SECOND);

    assert_eq!(*count.borrow(), 5);
}

#[test]
fn a_step_handles_one_event_at_its_time() {
    let mut world = World::new(1);
    for seconds in [2, 1, 2] {
        world.at(seconds * SECOND, |_| {});
    }

    let mut times = Vec::new();
    while world.step() {
        times.push(world.now());
    }

    assert_eq!(
        times,
        [1, 2, 2].map(|seconds| Instant::ZERO + seconds * SECOND)
    );
    assert!(!world.step());
}

#[test]
fn when_acts_once_as_soon_as_its_condition_holds() {
    let (mut world, one, two) = pair(1, Line::delayed(SECOND));
    world.command(two, Action::Echo).unwrap();

    world.when(
        move |world| world.events(two).len() > 0,
        move |world| {
            world
                .command(one, Action::Push(2, Bytes::from_static(b"again")))
                .unwrap();
        },
    );
    world
        .command(one, Action::Push(2, Bytes::from_static(b"first")))
        .unwrap();
    world.run_until_idle(100 * SECOND);

    assert_eq!(
        octets(&world, two),
        [
            (at(SECOND), Bytes::from_static(b"first")),
            (at(2 * SECOND), Bytes::from_static(b"again"))
        ]
    );
}

#[test]
fn a_world_with_work_left_is_not_idle() {
    let (mut world, one, _) = pair(1, Line::delayed(10 * SECOND));
    world
        .command(one, Action::Push(2, Bytes::from_static(b"slow")))
        .unwrap();

    assert!(!world.run_until_idle(5 * SECOND));
    assert_eq!(world.now(), at(5 * SECOND));
    assert!(world.run_until_idle(15 * SECOND));
    assert_eq!(world.now(), at(10 * SECOND));
}

#[test]
fn machines_of_all_address_types_share_a_world() {
    let mut world = World::new(1);
    let name = world.host(1, ScriptedMachine::<u8>::default());
    let big_name = world.host(70_000, ScriptedMachine::<u32>::default());
    let hop = world.host(3, ScriptedMachine::<Hop>::default());
    let stream = world.host((), ScriptedMachine::<()>::default());
    let other = world.host((), ScriptedMachine::<()>::default());
    world.connect(stream, other, StreamLine::default());

    world
        .command(stream, Action::Append((), Bytes::from_static(b"x")))
        .unwrap();
    world.run_until_idle(SECOND);

    assert_eq!(world.events(name).len(), 0);
    assert_eq!(world.events(big_name).len(), 0);
    assert_eq!(world.events(hop).len(), 0);
    assert_eq!(octets(&world, other).len(), 1);
}

/// Everything that can happen by chance, in one world.
fn chaos(seed: u64) -> World {
    let line = Line {
        delay: SECOND,
        jitter: SECOND / 3,
        loss: 0.1,
        bursts: Some(Bursts {
            enter: 0.05,
            leave: 0.3,
            loss: 0.8,
        }),
        reorder: Some(Reorder {
            probability: 0.2,
            by: SECOND,
        }),
        duplication: 0.1,
        corruption: 0.1,
        ..Line::default()
    };
    let (mut world, one, two) = pair(seed, line);
    world.command(two, Action::Echo).unwrap();
    for number in 0..200_u32 {
        let octets = Bytes::copy_from_slice(&number.to_be_bytes());
        world.command_at(SECOND / 7 * number, one, Action::Push(2, octets));
    }
    world.run_until_idle(1000 * SECOND);
    world
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let (one, other, third) = (chaos(5), chaos(5), chaos(6));

    assert_eq!(one.ladder(), other.ladder());
    assert_eq!(one.statistics(), other.statistics());
    assert_ne!(one.ladder(), third.ladder());
}

#[test]
fn keeping_less_changes_nothing_but_the_trace() {
    let (mut world, one, two) = pair(
        1,
        Line {
            loss: 0.5,
            ..Line::default()
        },
    );
    let (mut other, a, b) = pair(
        1,
        Line {
            loss: 0.5,
            ..Line::default()
        },
    );
    other.trace_detail(TraceDetail::Nothing);

    for number in 0..100_u8 {
        let octets = Bytes::copy_from_slice(&[number]);
        world.command(one, Action::Push(2, octets.clone())).unwrap();
        other.command(a, Action::Push(2, octets)).unwrap();
    }
    world.run_until_idle(SECOND);
    other.run_until_idle(SECOND);

    assert_eq!(octets(&world, two), octets(&other, b));
    assert_eq!(other.trace().packets().len(), 0);
}

#[test]
fn a_further_host_changes_nothing_for_those_before() {
    let mut ladders = Vec::new();
    for further in [false, true] {
        let (mut world, one, two) = pair(
            9,
            Line {
                loss: 0.3,
                jitter: SECOND,
                ..Line::default()
            },
        );
        if further {
            let three = world.host(3, ScriptedMachine::<u8>::default());
            world.line(
                one,
                three,
                Line {
                    loss: 0.3,
                    ..Line::default()
                },
            );
            world
                .command(three, Action::Push(1, Bytes::from_static(b"hello")))
                .unwrap();
        }
        for number in 0..50_u8 {
            world
                .command(one, Action::Push(2, Bytes::copy_from_slice(&[number])))
                .unwrap();
        }
        world.run_until_idle(100 * SECOND);
        ladders.push(octets(&world, two));
    }

    assert_eq!(ladders[0], ladders[1]);
}

#[test]
fn each_seed_runs_once() {
    let seen = RefCell::new(Vec::new());

    for_each_seed(3..6, |seed| seen.borrow_mut().push(seed));

    if std::env::var_os("FARLINK_SEED").is_none() {
        assert_eq!(*seen.borrow(), [3, 4, 5]);
    }
}

#[test]
fn a_machine_can_be_called_by_its_own_methods() {
    let (mut world, one, _) = pair(1, Line::default());

    let shown = world.with(one, |machine, now| {
        format!("{now} {}", format!("{machine:?}").len() > 10)
    });
    world.run_until_idle(SECOND);

    assert_eq!(shown, "0.000000000s true");
    assert!(world.take_events(one).is_empty());
    assert!(!world.events(one).any(|(_, event)| *event == Observed::Woke));
}
