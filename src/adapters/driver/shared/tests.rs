use alloc::collections::VecDeque;
use alloc::task::Wake;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::future::Future as _;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io;
use std::panic::catch_unwind;

use socket2::Socket;

use super::*;
use crate::adapters::driver::event_loop::{Liveness, Turn};
use crate::adapters::driver::runtime::{DriverFuture, Kind, Source};
use crate::{Ask, Link, Machine, Output, Tag, Transmit};

/// A machine that gives the outputs it was told to give.
#[derive(Default)]
struct Puppet {
    outputs: VecDeque<Output<(), u32>>,
    deadline: Option<Instant>,
    polls: usize,
}

enum Do {
    Give(Output<(), u32>),
    Sleep(Instant),
    Panic,
}

impl Machine for Puppet {
    type Addr = ();
    type Command = Do;
    type Event = u32;
    type Error = Infallible;

    fn receive(&mut self, _: Instant, (): (), _: &[u8]) {}

    fn link(&mut self, _: Instant, (): (), _: Link) {}

    fn command(&mut self, _: Instant, command: Do) -> Result<(), Infallible> {
        match command {
            Do::Give(output) => self.outputs.push_back(output),
            Do::Sleep(until) => self.deadline = Some(until),
            Do::Panic => panic!("as it was told"),
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), u32> {
        self.polls += 1;
        tx.clear();
        self.deadline = self.deadline.filter(|deadline| *deadline > now);
        let idle = Output::Idle(self.deadline);
        let output = self.outputs.pop_front().unwrap_or(idle);
        if output == Output::Transmit {
            tx.append((), 40_000, |out| out.resize(out.len() + 40_000, 7));
        }
        output
    }
}

/// Numbers that were told, for those who wait for them.
#[derive(Default)]
struct Numbers {
    told: VecDeque<u32>,
    is_ended: bool,
}

impl Port for Numbers {
    type Machine = Puppet;
    type Line = u8;

    fn deliver(core: &mut Core<Self>, number: u32) {
        core.port.told.push_back(number);
        core.wakes.first(0);
    }

    fn end(&mut self, _: &mut Puppet, _: io::Result<()>) {
        self.is_ended = true;
    }
}

/// Counts what it carries.
#[derive(Default)]
struct Counts {
    sends: AtomicUsize,
    octets: AtomicUsize,
    looks: AtomicUsize,
    /// How many looks bring something.
    busy: AtomicUsize,
    asks: AtomicUsize,
}

struct Counter(Arc<Counts>, bool);

impl Carrier<Puppet> for Counter {
    fn begin(&mut self, _: Instant, _: &mut Puppet) {}

    fn send(&mut self, _: &Waker, tx: &mut Transmit<()>) -> Option<()> {
        self.0.sends.fetch_add(1, Ordering::Relaxed);
        self.0
            .octets
            .fetch_add(tx.octets().len(), Ordering::Relaxed);
        None
    }

    fn answer(&mut self, _: Instant, _: Ask<()>) {
        self.0.asks.fetch_add(1, Ordering::Relaxed);
    }

    fn inputs(&mut self, _: &mut Turn<'_, Puppet>) -> bool {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        let left = self.0.busy.load(Ordering::Relaxed);
        self.0.busy.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    fn is_flushed(&self) -> bool {
        true
    }

    fn liveness(&self) -> Liveness {
        if self.1 {
            Liveness::Gone
        } else {
            Liveness::Alive
        }
    }

    fn finish(&mut self, _: Instant) {
        self.1 = true;
    }
}

/// A runtime that a test turns by hand.
struct ByHand {
    start: std::time::Instant,
    passed: Mutex<Duration>,
    callers_drive: bool,
    spawned: Mutex<Option<DriverFuture>>,
}

impl Runtime for ByHand {
    fn now(&self) -> std::time::Instant {
        self.start + *self.passed.lock().unwrap()
    }

    fn timer(&self, _: std::time::Instant) -> Box<dyn Timer> {
        Box::new(Never)
    }

    fn spawn(&self, driver: DriverFuture) {
        *self.spawned.lock().unwrap() = Some(driver);
    }

    fn watch(&self, _: Socket, _: Kind) -> io::Result<Box<dyn Source>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn callers_drive(&self) -> bool {
        self.callers_drive
    }
}

/// A timer that the test stands in for.
struct Never;

impl Timer for Never {
    fn reset(&mut self, _: std::time::Instant) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Counts wakes.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Scene {
    shared: Arc<Shared<Numbers>>,
    driver: DriverFuture,
    driver_woken: Arc<Woken>,
    runtime: Arc<ByHand>,
    counts: Arc<Counts>,
}

impl Scene {
    fn new(callers_drive: bool) -> Self {
        let clock = Clock::new();
        let runtime = Arc::new(ByHand {
            start: clock.moment(Instant::ZERO).unwrap(),
            passed: Mutex::new(Duration::ZERO),
            callers_drive,
            spawned: Mutex::default(),
        });
        let counts = Arc::<Counts>::default();
        let known: Arc<dyn Runtime> = Arc::<ByHand>::clone(&runtime);
        let carrier = Box::new(Counter(Arc::clone(&counts), false));
        let shared = Shared::start(
            &known,
            clock,
            Limits::default(),
            Numbers::default(),
            Puppet::default(),
            carrier,
        );
        let driver = runtime.spawned.lock().unwrap().take().unwrap();
        let mut scene = Self {
            shared,
            driver,
            driver_woken: Arc::default(),
            runtime,
            counts,
        };
        assert!(scene.drive().is_pending());
        scene
    }

    fn drive(&mut self) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.driver_woken));
        self.driver.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn give(&self, output: Output<(), u32>) {
        self.command(Do::Give(output));
    }

    fn command(&self, command: Do) {
        let done = self.shared.with(|core| core.give(command));
        assert_eq!(done, Ok(Ok(())));
    }
}

/// Waits for the next number, as the first in line.
fn next(core: &mut Core<Numbers>, place: WaitStatus) -> Poll<Option<u32>> {
    match core.port.told.pop_front() {
        Some(number) if place.is_first => Poll::Ready(Some(number)),
        Some(number) => {
            core.port.told.push_front(number);
            Poll::Pending
        }
        None if core.port.is_ended => Poll::Ready(None),
        None => Poll::Pending,
    }
}

fn poll<F: Future + Unpin>(future: &mut F, woken: &Arc<Woken>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(woken));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

fn wakers<const N: usize>() -> [Arc<Woken>; N] {
    core::array::from_fn(|_| Arc::default())
}

#[test]
fn waiters_are_served_in_order_each_by_the_one_before() {
    let mut scene = Scene::new(false);
    let woken = wakers::<3>();
    let shared = Arc::clone(&scene.shared);
    let mut waits: Vec<_> = woken.iter().map(|_| shared.until(0, next)).collect();
    for (wait, woken) in waits.iter_mut().zip(&woken) {
        assert!(poll(wait, woken).is_pending());
    }

    for number in [1, 2, 3] {
        scene.give(Output::Event(number));
    }
    assert!(scene.drive().is_pending());

    for (number, (mut wait, woken)) in (1..).zip(waits.into_iter().zip(&woken)) {
        assert_eq!(
            woken.take(),
            1,
            "waiter {number} is called once, and in its turn"
        );
        assert_eq!(poll(&mut wait, woken), Poll::Ready(Ok(Some(number))));
    }
}

#[test]
fn a_wait_that_is_dropped_after_its_call_passes_it_on() {
    let mut scene = Scene::new(false);
    let [first_woken, second_woken] = wakers();
    let shared = Arc::clone(&scene.shared);
    let (mut first, mut second) = (shared.until(0, next), shared.until(0, next));
    assert!(poll(&mut first, &first_woken).is_pending());
    assert!(poll(&mut second, &second_woken).is_pending());
    scene.give(Output::Event(1));
    assert!(scene.drive().is_pending());
    assert_eq!((first_woken.take(), second_woken.take()), (1, 0));

    drop(first);

    assert_eq!(second_woken.take(), 1);
    assert_eq!(poll(&mut second, &second_woken), Poll::Ready(Ok(Some(1))));
}

#[test]
fn an_interrupt_reaches_all_that_wait_whatever_else_they_were_called_for() {
    let mut scene = Scene::new(false);
    let woken = wakers::<3>();
    let shared = Arc::clone(&scene.shared);
    let look = |core: &mut Core<Numbers>, place: WaitStatus| {
        if place.is_interrupted {
            return Poll::Ready(None);
        }
        next(core, place)
    };
    let mut waits: Vec<_> = woken.iter().map(|_| shared.until(0, look)).collect();
    for (wait, woken) in waits.iter_mut().zip(&woken) {
        assert!(poll(wait, woken).is_pending());
    }
    scene.give(Output::Event(1));
    assert!(scene.drive().is_pending());

    shared.with(|core| core.wakes.interrupt(0)).unwrap();

    for (wait, woken) in waits.iter_mut().zip(&woken) {
        assert!(woken.take() > 0);
        assert_eq!(poll(wait, woken), Poll::Ready(Ok(None)));
    }
    let mut later = shared.until(0, look);
    assert_eq!(poll(&mut later, &woken[0]), Poll::Ready(Ok(Some(1))));
}

#[test]
fn a_panic_under_the_lock_ends_that_connection_alone() {
    let (mut scene, mut other) = (Scene::new(false), Scene::new(false));
    let [woken] = wakers();
    let shared = Arc::clone(&scene.shared);
    let mut wait = shared.until(0, next);
    assert!(poll(&mut wait, &woken).is_pending());

    let panicked = catch_unwind(AssertUnwindSafe(|| scene.command(Do::Panic)));

    assert!(panicked.is_err());
    assert_eq!(woken.take(), 1);
    assert_eq!(poll(&mut wait, &woken), Poll::Ready(Err(Closed)));
    assert_eq!(shared.with(|_| ()), Err(Closed));
    assert_eq!(scene.driver_woken.take(), 1);
    assert!(scene.drive().is_ready());
    let carrier = Arc::downgrade(&scene.counts);
    drop((scene.driver, scene.counts));
    assert!(carrier.upgrade().is_none(), "the carrier is closed");
    other.give(Output::Event(1));
    assert!(other.drive().is_pending());
    assert_eq!(other.shared.with(|core| core.port.told.len()), Ok(1));
}

#[test]
fn a_driver_that_is_dropped_ends_every_wait() {
    let scene = Scene::new(false);
    let [woken] = wakers();
    let mut wait = scene.shared.until(0, next);
    assert!(poll(&mut wait, &woken).is_pending());

    drop(scene.driver);

    assert_eq!(woken.take(), 1);
    assert_eq!(poll(&mut wait, &woken), Poll::Ready(Ok(None)));
}

#[test]
fn wakers_are_called_and_dropped_outside_the_lock() {
    /// Enters the lock when it is called or dropped.
    struct Enters(Arc<Shared<Numbers>>);

    impl Wake for Enters {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Enters {
        fn drop(&mut self) {
            self.0.with(|_| ()).unwrap();
        }
    }

    let scene = Scene::new(false);
    let shared = &scene.shared;
    let enters = || Waker::from(Arc::new(Enters(Arc::clone(shared))));
    let mut wait = shared.until(0, next);
    for _ in 0..2 {
        // The second replaces the first.
        let waker = enters();
        let polled = Pin::new(&mut wait).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    shared.with(|core| core.wakes.all(0)).unwrap();
    let waker = enters();
    assert!(
        Pin::new(&mut wait)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    drop(wait);
}

#[test]
fn where_callers_drive_they_send_and_the_driver_sleeps_on() {
    let scene = Scene::new(true);

    scene.give(Output::Transmit);

    assert_eq!(scene.counts.sends.load(Ordering::Relaxed), 1);
    assert_eq!(scene.driver_woken.take(), 0);
}

#[test]
fn where_callers_do_not_drive_the_driver_is_woken_once_for_many_commands() {
    let mut scene = Scene::new(false);

    for _ in 0..3 {
        scene.give(Output::Transmit);
    }

    assert_eq!(scene.counts.sends.load(Ordering::Relaxed), 0);
    assert_eq!(scene.driver_woken.take(), 1);
    assert!(scene.drive().is_pending());
    assert_eq!(scene.counts.sends.load(Ordering::Relaxed), 3);
}

#[test]
fn a_callers_turn_that_saw_an_ask_wakes_the_driver() {
    let scene = Scene::new(true);

    scene.give(Output::Ask(Ask::Cancel(Tag(1))));

    assert_eq!(scene.counts.asks.load(Ordering::Relaxed), 1);
    assert_eq!(scene.driver_woken.take(), 1);
}

#[test]
fn a_callers_turn_that_is_busy_still_wakes_the_driver() {
    let scene = Scene::new(true);
    let [woken] = wakers();
    scene.counts.busy.store(10, Ordering::Relaxed);

    let mut wait = scene.shared.until(0, next);
    assert!(poll(&mut wait, &woken).is_pending());

    assert_eq!(scene.counts.busy.load(Ordering::Relaxed), 10 - CALLER_TURNS);
    assert_eq!(scene.driver_woken.take(), 1);
}

#[test]
fn a_caller_that_got_what_it_wanted_from_a_busy_turn_wakes_the_driver_too() {
    let scene = Scene::new(true);
    let [woken] = wakers();
    scene.counts.busy.store(10, Ordering::Relaxed);
    scene
        .shared
        .with(|core| {
            core.machine().outputs.push_back(Output::Event(1));
            // Nobody knows of it.
            core.is_dirty = false;
        })
        .unwrap();

    let mut wait = scene.shared.until(0, next);
    assert_eq!(poll(&mut wait, &woken), Poll::Ready(Ok(Some(1))));

    assert_eq!(scene.driver_woken.take(), 1);
}

#[test]
fn an_earlier_deadline_wakes_a_driver_that_sleeps_for_a_later_one() {
    let mut scene = Scene::new(true);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    scene.command(Do::Sleep(at(20)));
    assert_eq!(scene.driver_woken.take(), 1, "it had no deadline");
    assert!(scene.drive().is_pending());

    scene.command(Do::Sleep(at(30)));
    assert_eq!(scene.driver_woken.take(), 0, "it looks at 20 s anyway");
    scene.command(Do::Sleep(at(10)));

    assert_eq!(scene.driver_woken.take(), 1);
}

#[test]
fn a_deadline_set_after_an_earlier_one_has_passed_unseen_is_not_lost() {
    let mut scene = Scene::new(true);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    scene.command(Do::Sleep(at(1)));
    assert!(scene.drive().is_pending());
    *scene.runtime.passed.lock().unwrap() = Duration::from_secs(5);
    assert!(scene.drive().is_pending());
    scene.driver_woken.take();

    scene.command(Do::Sleep(at(10)));

    assert_eq!(scene.driver_woken.take(), 1);
}

#[test]
fn a_turn_ends_after_64_sends_or_a_mebibyte() {
    let mut scene = Scene::new(false);
    for _ in 0..60 {
        scene.give(Output::Transmit);
    }
    scene.counts.looks.store(0, Ordering::Relaxed);

    assert!(scene.drive().is_pending());

    // 27 sends of 40,000 octets are more than a mebibyte; the third turn sends the last 6.
    assert_eq!(scene.counts.octets.load(Ordering::Relaxed), 60 * 40_000);
    assert_eq!(scene.counts.looks.load(Ordering::Relaxed), 3);
}

#[test]
fn a_machine_that_yields_lets_the_inputs_be_looked_at_once() {
    let mut scene = Scene::new(false);
    for output in [Output::Yield, Output::Yield, Output::Event(1)] {
        scene.give(output);
    }
    scene.counts.looks.store(0, Ordering::Relaxed);

    assert!(scene.drive().is_pending());

    assert_eq!(scene.counts.looks.load(Ordering::Relaxed), 3);
    assert_eq!(scene.shared.with(|core| core.port.told.len()), Ok(1));
}

#[test]
fn after_32_turns_other_tasks_run() {
    let mut scene = Scene::new(false);
    scene.counts.busy.store(100, Ordering::Relaxed);
    scene.driver_woken.take();

    assert!(scene.drive().is_pending());

    assert_eq!(scene.counts.busy.load(Ordering::Relaxed), 100 - TURNS);
    assert_eq!(scene.driver_woken.take(), 1);
}

#[test]
fn a_machine_that_is_done_ends_its_driver() {
    let mut scene = Scene::new(false);
    let [woken] = wakers();
    let shared = Arc::clone(&scene.shared);
    let mut wait = shared.until(0, next);
    assert!(poll(&mut wait, &woken).is_pending());

    scene.give(Output::Done);

    assert!(scene.drive().is_ready());
    assert_eq!(poll(&mut wait, &woken), Poll::Ready(Ok(None)));
}

#[test]
fn many_waiters_are_all_called_at_once() {
    let scene = Scene::new(false);
    let woken = wakers::<20>();
    let mut waits: Vec<_> = woken.iter().map(|_| scene.shared.until(5, next)).collect();
    for (wait, woken) in waits.iter_mut().zip(&woken) {
        assert!(poll(wait, woken).is_pending());
    }

    scene.shared.with(|core| core.wakes.all(5)).unwrap();

    let calls: Vec<_> = woken.iter().map(|woken| woken.take()).collect();
    assert_eq!(calls, vec![1; 20]);
}
