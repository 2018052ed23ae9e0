//! Runs one body of a test on both runtimes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use farlink::adapters::runtime::Runtime;
use tokio::sync::oneshot;

/// The runtime that a test runs on.
#[derive(Clone)]
pub(crate) enum On {
    Tokio(tokio::runtime::Handle),
    Threads,
    /// Threads, with handles whose methods block.
    Blocking,
}

impl On {
    /// Runs a test on tokio, with few threads: whoever blocks one holds up others.
    pub(crate) fn tokio<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(Self::Tokio(runtime.handle().clone())));
    }

    /// Runs a test in threads.
    pub(crate) fn threads<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        futures_lite::future::block_on(test(Self::Threads));
    }

    /// Runs a test in threads, with handles whose methods block.
    pub(crate) fn blocking<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        futures_lite::future::block_on(test(Self::Blocking));
    }

    /// A name for files.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Tokio(_) => "tokio",
            Self::Threads => "threads",
            Self::Blocking => "blocking",
        }
    }

    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        match self {
            Self::Tokio(handle) => {
                let _context = handle.enter();
                farlink::adapters::tokio::runtime()
            }
            Self::Threads | Self::Blocking => farlink::adapters::blocking::runtime(),
        }
    }

    /// Runs a task beside the test; what is returned waits for its result, and fails if it panics.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (result, receiver) = oneshot::channel();
        let task = async move {
            // Who dropped the receiver does not want to know.
            let _ = result.send(task.await);
        };
        match self {
            Self::Tokio(handle) => drop(handle.spawn(task)),
            Self::Threads | Self::Blocking => {
                drop(thread::spawn(|| futures_lite::future::block_on(task)));
            }
        }
        receiver
    }

    pub(crate) async fn sleep(&self, span: Duration) {
        let runtime = self.runtime();
        let mut timer = runtime.timer(runtime.now() + span);
        std::future::poll_fn(|cx| timer.poll(cx)).await;
    }

    /// Gives everything under way time to come to rest.
    pub(crate) async fn settle(&self) {
        self.sleep(Duration::from_millis(50)).await;
    }

    /// Waits until the count moves no more, and returns it.
    pub(crate) async fn standstill(&self, count: &AtomicUsize) -> usize {
        let mut last = usize::MAX;
        loop {
            self.sleep(Duration::from_millis(200)).await;
            let now = count.load(Ordering::Relaxed);
            if now == last {
                return now;
            }
            last = now;
        }
    }
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls a future once and tells whether it waits.
pub(crate) async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    poll_once(future).await.is_pending()
}

/// Makes two tests of each body, one on tokio and one in threads.
macro_rules! on_both {
    ($(async fn $name:ident($on:ident: On) $body:block)*) => {
        $(async fn $name($on: On) $body)*

        mod on_tokio {
            $(#[test]
            fn $name() {
                super::On::tokio(super::$name);
            })*
        }

        mod in_threads {
            $(#[test]
            fn $name() {
                super::On::threads(super::$name);
            })*
        }
    };
}

/// Makes three tests of each body: one on tokio, one in threads, and one with handles whose methods block.
macro_rules! on_all {
    ($(async fn $name:ident($on:ident: On) $body:block)*) => {
        crate::on::on_both! { $(async fn $name($on: On) $body)* }

        mod that_block {
            $(#[test]
            fn $name() {
                super::On::blocking(super::$name);
            })*
        }
    };
}

pub(crate) use {on_all, on_both};
