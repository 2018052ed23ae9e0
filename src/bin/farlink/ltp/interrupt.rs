//! Ctrl-C: the first one asks to end in good order, the second one ends at once.

use tokio::sync::watch;

/// What a shell expects of a program that Ctrl-C has ended.
const STATUS: i32 = 130;

/// Hears of the first Ctrl-C.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Begins to listen.
    pub(super) fn new() -> Self {
        let (heard, receiver) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_err() {
                return core::future::pending().await;
            }
            heard.send_replace(true);
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(STATUS);
            }
        });
        Self(receiver)
    }

    /// Waits for the first Ctrl-C; returns at once when it was there.
    pub(super) async fn wait(&mut self) {
        if self.0.wait_for(|heard| *heard).await.is_err() {
            core::future::pending::<()>().await;
        }
    }

    pub(super) fn is_heard(&self) -> bool {
        *self.0.borrow()
    }
}
