//! Ctrl-C and SIGTERM: the first one closes connections and nodes, the second one ends the process at once.

use core::future::poll_fn;
use core::task::Poll;

use tokio::sync::watch;

use crate::Failure;

/// The exit status of a process that Ctrl-C has ended.
const STATUS: i32 = 130;

/// Waits for the first signal.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Begins to listen for signals.
    pub(crate) async fn new() -> Self {
        let (sender, receiver) = watch::channel(false);
        let mut first = Box::pin(next_signal());
        // The signal handler is installed by the first poll.
        let before = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
        tokio::spawn(async move {
            let outcome = match before {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => first.await,
            };
            if outcome.is_err() {
                // No handler is installed, so the signal ends the process.
                return core::future::pending().await;
            }
            sender.send_replace(true);
            if next_signal().await.is_ok() {
                std::process::exit(STATUS);
            }
        });
        Self(receiver)
    }

    /// Waits for the first signal, or returns at once after it.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|heard| *heard).await.is_err() {
            core::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

/// Returns how a command ends that asked and was interrupted: well, if an answer had come.
pub(crate) fn interrupted(has_answered: bool) -> Result<(), Failure> {
    if has_answered {
        return Ok(());
    }
    Err(Failure::Protocol(
        "interrupted before an answer came".into(),
    ))
}

/// Waits for the next signal.
async fn next_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
