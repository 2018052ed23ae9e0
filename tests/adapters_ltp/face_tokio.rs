//! LTP nodes in tasks of tokio.

use std::time::Duration;

use farlink::adapters::ltp::{Error, Received};
use farlink::ltp::SessionId;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use farlink::adapters::tokio::ltp::{AccessPoint, Node, Restored, Sending};

use crate::AT_LAST;

pub(crate) fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

pub(crate) struct Task<T>(JoinHandle<T>);

pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(tokio::spawn(task))
}

impl<T> Task<T> {
    pub(crate) async fn join(self) -> T {
        timeout(AT_LAST, self.0).await.unwrap().unwrap()
    }
}

pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Receives the next block, which must come.
pub(crate) async fn next(point: &AccessPoint) -> Received {
    let received = timeout(AT_LAST, point.receive()).await;
    received.unwrap().unwrap()
}

/// Waits for the end of a block, which must come.
pub(crate) async fn end(sending: &mut Sending) -> Result<SessionId, Error> {
    timeout(AT_LAST, sending.wait()).await.unwrap()
}

/// Waits for the end of a block, and tells whether it came within `limit`.
pub(crate) async fn ends_within(sending: &mut Sending, limit: Duration) -> bool {
    timeout(limit, sending.wait()).await.is_ok()
}
