//! The task that drives a node: the loop of all drivers, with a machine that is shared.

use alloc::sync::Arc;
use core::convert::Infallible;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::net::UdpSocket;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::adapters::Detached;
use crate::adapters::ltp::{Error, Hall, NodeSnapshot, Options, Pump};
use crate::adapters::tokio::driver::{Driver, Front};
use crate::adapters::tokio::sockets::{Counters, Sockets};
use crate::adapters::tokio::table::Table;
use crate::{Instant, Link, Machine, Output, Path, Transmit};

/// What wakes the driver when a handle has given the machine something to do.
pub(super) struct Bell {
    has_rung: AtomicBool,
    driver: Mutex<Option<Waker>>,
    counters: Arc<Counters>,
}

impl Bell {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *driver {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        drop(driver);
        // Behind the waker: a ring between the two calls it once too often, and never once too few.
        if self.has_rung.swap(false, Ordering::AcqRel) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Pump for Bell {
    fn stir(hall: &Hall<Self>) {
        let bell = &hall.pump;
        if bell.has_rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let driver = bell.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = &*driver {
            driver.wake_by_ref();
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.counters.ignored(), self.counters.lost())
    }
}

/// Starts the task of a node, fresh or saved, on a bound socket that does not block.
pub(super) fn spawn(
    socket: UdpSocket,
    options: &Options,
    saved: Option<NodeSnapshot>,
) -> Result<Arc<Hall<Bell>>, Error> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let local = socket.local_addr()?;
    let mut sockets = Sockets::new();
    sockets.add_udp(socket)?;
    let bell = Bell {
        has_rung: AtomicBool::new(false),
        driver: Mutex::new(None),
        counters: sockets.counters(),
    };
    let hall = Arc::new(Hall::new(local, options, saved, bell)?);
    let machine = Shared(Arc::clone(&hall));
    let front = Porter(Arc::clone(&hall));
    let table = Table::new(sockets, core::time::Duration::ZERO);
    let driver = Driver::new(machine, table, front, options.clock, options.limits);
    tokio::spawn(driver.run());
    Ok(hall)
}

/// The machine of a node, of which the handles have a part. They give it its commands, and events go to
/// them, so that none comes out of it.
struct Shared(Arc<Hall<Bell>>);

impl Machine for Shared {
    type Addr = Path;
    type Command = Infallible;
    type Event = Infallible;
    type Error = Infallible;

    fn receive(&mut self, now: Instant, from: Path, octets: &[u8]) {
        self.receive_batch(now, from, octets, NonZeroUsize::MAX);
    }

    fn receive_batch(&mut self, _: Instant, from: Path, train: &[u8], size: NonZeroUsize) {
        self.0.receive_batch(from.remote, train, size);
    }

    fn link(&mut self, _: Instant, at: Path, state: Link) {
        self.0.link(at, state);
    }

    fn command(&mut self, _: Instant, command: Infallible) -> Result<(), Infallible> {
        match command {}
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, Infallible> {
        self.0.poll(tx)
    }
}

/// Hears of rings and of the end.
struct Porter(Arc<Hall<Bell>>);

impl Front<Shared, TcpStream> for Porter {
    fn event(&mut self, event: Infallible) {
        match event {}
    }

    fn handed(&mut self, _: Detached<TcpStream>) {}

    fn poll_room(&mut self, _: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_command(&mut self, cx: &Context<'_>, _: Instant, _: &mut Shared) -> Poll<()> {
        self.0.pump.poll(cx)
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn rest(&mut self) {}
}

impl Drop for Porter {
    /// The socket is closed by then, or the runtime has ended.
    fn drop(&mut self) {
        self.0.end();
    }
}
