//! What drives a node: one thread reads, one keeps the time, and whoever has given the machine something to do
//! sends a little of what comes of it.
//!
//! The machine is polled by one thread at a time, which sends what it got before it polls again: a
//! checkpoint that overtakes data would draw a report of gaps that are none.

use alloc::sync::Arc;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::wire::{self, Counters, Inlet, Outlet};
use crate::adapters::cause::cause_of;
use crate::adapters::ltp::{Error, Hall, NodeSnapshot, Options, Pump};
use crate::{Instant, Limits, Link, Output, Path, Proto, Transmit};

/// Sends, and inputs of others, of a thread that has other things to do; the rest is the keeper's.
const SHARE: usize = 4;
/// Errors of a socket in a row after which it is of no use any more.
const MOST_ERRORS: usize = 64;

/// The threads of a node, and what they share.
pub(super) struct Threads {
    /// Of whoever has the turn. None once the socket is closed.
    outlet: Mutex<Option<Outlet>>,
    limits: Limits,
    counters: Counters,
    turn: Mutex<Turn>,
    keeper: Condvar,
    handles: Mutex<Option<JoinHandle<()>>>,
}

/// Whose turn it is to poll the machine, and when.
#[derive(Default)]
struct Turn {
    whose: Whose,
    /// What the machine said when it was polled last.
    deadline: Option<Instant>,
    /// When the keeper wakes by itself.
    alarm: Option<Instant>,
    /// The buffer of an earlier turn.
    spare: Option<Transmit<Path>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Whose {
    #[default]
    Nobodys,
    /// Somebody had it and has not finished; the keeper is to go on.
    Left,
    /// A thread polls.
    Taken,
    /// A thread polls, and something has gone in since.
    Wanted,
    /// The machine is done, or broken.
    Over,
}

impl Pump for Threads {
    fn stir(hall: &Hall<Self>) {
        turn(hall, SHARE);
    }

    fn part(hall: &Hall<Self>) {
        let threads = &hall.pump;
        let keeper = lock(&threads.handles).take();
        if let Some(keeper) = keeper {
            // One that panicked has ended all the same.
            let _ = keeper.join();
        }
    }

    fn counts(&self) -> (u64, u64) {
        self.counters.get()
    }
}

/// Starts the threads of a node, fresh or saved, on a bound socket.
pub(super) fn spawn(
    socket: UdpSocket,
    options: &Options,
    saved: Option<NodeSnapshot>,
) -> Result<Arc<Hall<Threads>>, Error> {
    let (outlet, inlet) = wire::part(socket, &options.buffers())?;
    let local = outlet.local();
    let threads = Threads {
        outlet: Mutex::new(Some(outlet)),
        limits: options.limits,
        counters: Counters::default(),
        turn: Mutex::new(Turn::default()),
        keeper: Condvar::new(),
        handles: Mutex::new(None),
    };
    let hall = Arc::new(Hall::new(local, options, saved, threads)?);
    hall.link(Path::socket(Proto::Udp, local), Link::Up);
    let for_reader = Arc::clone(&hall);
    let reader = start("farlink ltp reader", move || read(&for_reader, inlet))?;
    let for_keeper = Arc::clone(&hall);
    let keeper = start("farlink ltp keeper", move || keep(&for_keeper, reader));
    match keeper {
        Ok(keeper) => *lock(&hall.pump.handles) = Some(keeper),
        Err(error) => {
            // The reader sees it, and lets go of the socket.
            hall.pump.stop();
            return Err(error.into());
        }
    }
    // One that was saved has something to send.
    turn(&hall, SHARE);
    Ok(hall)
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

/// Polls the machine and sends, unless another thread does, which then goes on for this one.
fn turn(hall: &Hall<Threads>, share: usize) {
    let threads = &hall.pump;
    let Some(mut tx) = threads.take_turn() else {
        return;
    };
    let mut relay = Relay {
        threads,
        is_carried: true,
    };
    threads.poll(hall, &mut tx, share);
    relay.is_carried = false;
    lock(&threads.turn).spare = Some(tx);
}

/// Ends everything when the machine panics in the middle of a turn.
struct Relay<'a> {
    threads: &'a Threads,
    is_carried: bool,
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        if self.is_carried {
            self.threads.stop();
        }
    }
}

impl Threads {
    /// Polls until the machine rests, or `share` is used up.
    fn poll(&self, hall: &Hall<Self>, tx: &mut Transmit<Path>, share: usize) {
        let mut steps = 0;
        while steps < share {
            match hall.poll(tx) {
                Output::Transmit => {
                    if let Some(outlet) = &*lock(&self.outlet) {
                        outlet.send(tx, &self.counters);
                    }
                    steps += 1;
                }
                // An engine asks for no sockets, and tells nothing past its books.
                Output::Ask(_) => {}
                Output::Event(event) => match event {},
                Output::Yield => return,
                Output::Idle(deadline) => {
                    if self.end_turn(deadline) {
                        return;
                    }
                    steps += 1;
                }
                Output::Done => {
                    self.stop();
                    return;
                }
            }
        }
        lock(&self.turn).whose = Whose::Left;
        self.keeper.notify_all();
    }

    /// Takes the turn, with a buffer for it; `None` when another thread has it.
    fn take_turn(&self) -> Option<Transmit<Path>> {
        let mut turn = lock(&self.turn);
        match turn.whose {
            Whose::Nobodys | Whose::Left => {}
            Whose::Taken | Whose::Wanted => {
                turn.whose = Whose::Wanted;
                return None;
            }
            Whose::Over => return None,
        }
        turn.whose = Whose::Taken;
        let spare = turn.spare.take();
        Some(spare.unwrap_or_else(|| Transmit::new(self.limits)))
    }

    /// Gives the turn back, and tells whether it is over: not if something has gone in since the last poll.
    fn end_turn(&self, deadline: Option<Instant>) -> bool {
        let mut turn = lock(&self.turn);
        if turn.whose == Whose::Wanted {
            turn.whose = Whose::Taken;
            return false;
        }
        turn.whose = Whose::Nobodys;
        turn.deadline = deadline;
        let is_earlier = deadline.is_some_and(|new| turn.alarm.is_none_or(|old| new < old));
        drop(turn);
        if is_earlier {
            self.keeper.notify_all();
        }
        true
    }

    fn stop(&self) {
        lock(&self.turn).whose = Whose::Over;
        self.keeper.notify_all();
    }

    fn is_over(&self) -> bool {
        lock(&self.turn).whose == Whose::Over
    }

    /// Waits until there is something to do for the keeper, and tells whether the node goes on.
    fn await_work(&self, hall: &Hall<Self>) -> bool {
        let mut turn = lock(&self.turn);
        loop {
            // Whoever has the turn fires what is due, and says when to look next.
            turn.alarm = match turn.whose {
                Whose::Over => return false,
                Whose::Left => return true,
                Whose::Nobodys => turn.deadline,
                Whose::Taken | Whose::Wanted => None,
            };
            turn = match turn.alarm.map(|alarm| hall.clock().wait(alarm)) {
                Some(Duration::ZERO) => return true,
                Some(wait) => {
                    let woken = self.keeper.wait_timeout(turn, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .keeper
                    .wait(turn)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Fires timers, and goes on with turns that were too long for whoever began them. Ends the node.
fn keep(hall: &Hall<Threads>, reader: JoinHandle<()>) {
    let threads = &hall.pump;
    while threads.await_work(hall) {
        turn(hall, usize::MAX);
    }
    let outlet = lock(&threads.outlet).take();
    if let Some(outlet) = outlet {
        outlet.wake();
    }
    // One that panicked has ended all the same.
    let _ = reader.join();
    // The last to be told: the socket is closed by then.
    hall.end();
}

fn read(hall: &Hall<Threads>, mut inlet: Inlet) {
    let counters = &hall.pump.counters;
    let mut errors = 0;
    while !hall.pump.is_over() {
        match inlet.receive(counters, |from, train, size| {
            hall.receive_batch(from.remote, train, size);
        }) {
            Ok(true) => {
                errors = 0;
                turn(hall, SHARE);
            }
            Ok(false) => errors = 0,
            Err(error) => {
                errors += 1;
                if errors == MOST_ERRORS {
                    let itself = Path::socket(Proto::Udp, inlet.local());
                    hall.link(itself, Link::Down(cause_of(&error)));
                    turn(hall, SHARE);
                    return;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way, so what is poisoned is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
