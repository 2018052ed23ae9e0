//! Ctrl-C, and the signal by which systems end services: the first one asks to end in good order, the second
//! one ends at once.

use core::future::poll_fn;
use core::task::Poll;

use tokio::sync::watch;

/// What a shell expects of a program that Ctrl-C has ended.
const STATUS: i32 = 130;

/// Hears of the first Ctrl-C.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Begins to listen, before anything is told that somebody could answer by Ctrl-C.
    pub(crate) async fn new() -> Self {
        let (heard, receiver) = watch::channel(false);
        let mut first = Box::pin(asked());
        // It listens once it is polled.
        let before = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
        tokio::spawn(async move {
            let outcome = match before {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => first.await,
            };
            if outcome.is_err() {
                // Nothing will be heard here; the system ends the program by itself.
                return core::future::pending().await;
            }
            heard.send_replace(true);
            if asked().await.is_ok() {
                std::process::exit(STATUS);
            }
        });
        Self(receiver)
    }

    /// Waits for the first Ctrl-C; returns at once when it was there.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|heard| *heard).await.is_err() {
            core::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_heard(&self) -> bool {
        *self.0.borrow()
    }
}

/// Waits until somebody asks for the end.
async fn asked() -> std::io::Result<()> {
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
