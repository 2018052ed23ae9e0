//! Threads as a [`Runtime`]: callers block, and one thread in the background runs what they leave.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;
use core::future::{Future, pending};
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::panic::catch_unwind;
use std::sync::LazyLock;
use std::thread;
use std::thread_local;

use async_executor::Executor;
use async_io::Async;
pub(crate) use futures_lite::future::block_on;
use futures_lite::future::or;
use socket2::{SockRef, Socket};

use crate::adapters::Clock;
use crate::adapters::runtime::{DriverFuture, Kind, Moved, Runtime, Source, Timer, Way};

/// Returns the runtime of all blocking handles. Its thread starts with the first call.
#[must_use]
pub fn runtime() -> Arc<dyn Runtime> {
    static RUNTIME: LazyLock<Arc<dyn Runtime>> = LazyLock::new(|| {
        // Should the system refuse a thread, callers still drive as far as they can.
        let _ = thread::Builder::new()
            .name("farlink driver".into())
            .spawn(run_drivers);
        Arc::new(Threads)
    });
    Arc::clone(&RUNTIME)
}

struct Threads;

thread_local! {
    static IS_DRIVER: Cell<bool> = const { Cell::new(false) };
}

/// Tells whether the calling thread runs the drivers, which must not wait for one of them.
#[cfg(any(feature = "csp", feature = "ltp"))]
pub(crate) fn is_driver_thread() -> bool {
    IS_DRIVER.get()
}

/// The executor of all drivers.
static DRIVERS: Executor<'static> = Executor::new();

fn run_drivers() {
    IS_DRIVER.set(true);
    loop {
        // A driver that panics ends its own connection alone.
        let forever = AssertUnwindSafe(DRIVERS.run(pending::<()>()));
        let _ = catch_unwind(|| async_io::block_on({ forever }.0));
    }
}

impl Runtime for Threads {
    fn now(&self) -> std::time::Instant {
        Clock::system_now()
    }

    fn timer(&self, at: std::time::Instant) -> Box<dyn Timer> {
        Box::new(async_io::Timer::at(at))
    }

    fn spawn(&self, driver: DriverFuture) {
        DRIVERS.spawn(driver).detach();
    }

    fn watch(&self, socket: Socket, _: Kind) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(Watched {
            socket: Async::new_nonblocking(socket)?,
            drained: [const { AtomicBool::new(false) }; 2],
        }))
    }

    fn callers_drive(&self) -> bool {
        true
    }
}

impl Timer for async_io::Timer {
    fn reset(&mut self, at: std::time::Instant) {
        self.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        core::pin::Pin::new(self).poll(cx).map(drop)
    }
}

struct Watched {
    socket: Async<Socket>,
    /// Whether the next operation in either direction would block.
    drained: [AtomicBool; 2],
}

impl Source for Watched {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.socket.get_ref())
    }

    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        way: Way,
        op: &mut dyn FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        let [drained_in, drained_out] = &self.drained;
        let drained = match way {
            Way::In => drained_in,
            Way::Out => drained_out,
        };
        let poll_ready = |cx: &mut Context<'_>| match way {
            Way::In => self.socket.poll_readable(cx),
            Way::Out => self.socket.poll_writable(cx),
        };
        // Only once: a wake says that the operation is worth a try, and this may say the opposite.
        if drained.swap(false, Ordering::Relaxed) {
            ready!(poll_ready(cx))?;
        }
        loop {
            match op(self.socket.get_ref()) {
                Ok(moved) => {
                    drained.store(moved.drained, Ordering::Relaxed);
                    return Poll::Ready(Ok(moved.count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(poll_ready(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn into_socket(self: Box<Self>) -> io::Result<Socket> {
        self.socket.into_inner()
    }
}

/// Waits for `future` in the calling thread, at most for `limit`.
pub(crate) fn block_on_timeout<T>(
    future: impl Future<Output = T>,
    limit: Duration,
) -> io::Result<T> {
    let timeout = async {
        async_io::Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    block_on(or(async { Ok(future.await) }, timeout))
}
