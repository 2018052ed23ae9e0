//! A machine that breaks a law ends the test.

use core::convert::Infallible;
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::catch_unwind;

use farlink::sim::World;
use farlink::{Instant, Link, Machine, Output, Transmit};

/// How a machine misbehaves once its time has come.
#[derive(Debug, Clone, Copy)]
enum Crime {
    Babble,
    PastDeadline,
    EmptySend,
    LifeAfterDone,
    WriteWhenFull,
    Panic,
}

/// Behaves until five seconds have passed.
struct Criminal {
    crime: Crime,
    is_done: bool,
}

impl Machine for Criminal {
    type Addr = u8;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: u8, _: &[u8]) {}

    fn link(&mut self, _: Instant, _: u8, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<u8>) -> Output<u8, ()> {
        tx.clear();
        let noon = Instant::ZERO + Duration::from_secs(5);
        if now < noon {
            return Output::Idle(Some(noon));
        }
        match self.crime {
            Crime::Babble => Output::Event(()),
            Crime::PastDeadline => Output::Idle(Some(now)),
            Crime::EmptySend => Output::Transmit,
            Crime::LifeAfterDone if self.is_done => Output::Event(()),
            Crime::LifeAfterDone => {
                self.is_done = true;
                Output::Done
            }
            Crime::WriteWhenFull => {
                tx.push(2, 1, |out| out.push(0));
                Output::Transmit
            }
            Crime::Panic => panic!("out of luck"),
        }
    }
}

/// Runs the machine, and returns what the world said when it broke the law.
fn judge(crime: Crime) -> String {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(99);
        let host = world.host(
            1,
            Criminal {
                crime,
                is_done: false,
            },
        );
        world.name(host, "moriarty");
        let peer = world.host(
            2,
            Criminal {
                crime: Crime::PastDeadline,
                is_done: false,
            },
        );
        world.line(
            host,
            peer,
            farlink::sim::Line {
                rate: Some(8),
                queue: farlink::sim::Queue::Signal(1),
                ..Default::default()
            },
        );
        world.run_until(Duration::from_secs(10));
    }));
    let message = caught.expect_err("nobody noticed");
    message
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_default()
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "the laws are watched in debug builds")]
fn a_machine_that_breaks_a_law_is_named_with_the_time_and_the_seed() {
    for (crime, law) in [
        (Crime::Babble, "law 1"),
        (Crime::PastDeadline, "law 2"),
        (Crime::EmptySend, "law 3"),
        (Crime::WriteWhenFull, "law 11"),
    ] {
        let message = judge(crime);

        let start = "moriarty broke a law at 5.000000000s in the world of seed 99";
        assert!(message.starts_with(start), "{crime:?}: {message}");
        assert!(message.contains(law), "{crime:?}: {message}");
    }
}

#[test]
fn a_machine_that_is_done_is_not_polled_again() {
    let mut world = World::new(1);
    let host = world.host(
        1,
        Criminal {
            crime: Crime::LifeAfterDone,
            is_done: false,
        },
    );

    world.run_until(Duration::from_secs(10));
    world.command(host, ()).unwrap();
    world.run_until(Duration::from_secs(20));

    assert!(world.is_done(host));
    assert_eq!(world.events(host).len(), 0);
}

#[test]
#[should_panic(expected = "out of luck")]
fn a_panic_passes_through() {
    let mut world = World::new(99);
    let _ = world.host(
        1,
        Criminal {
            crime: Crime::Panic,
            is_done: false,
        },
    );

    world.run_until(Duration::from_secs(10));
}
