//! What is made of a stream before a machine gets it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use std::io;

use super::runtime::ByteStream;

/// Makes another stream of each one, such as TLS over TCP.
#[derive(Clone, derive_more::Debug)]
#[debug("StreamUpgrade(..)")]
pub struct StreamUpgrade(Arc<dyn Fn(Box<dyn ByteStream>) -> Upgraded + Send + Sync>);

type Upgraded = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send>>;

impl StreamUpgrade {
    /// Upgrades streams by calling `upgrade`.
    pub fn new<F>(upgrade: impl Fn(Box<dyn ByteStream>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'static,
    {
        Self(Arc::new(move |stream| Box::pin(upgrade(stream))))
    }

    /// Upgrades a stream.
    ///
    /// # Errors
    ///
    /// The peer does not take part, or the stream breaks.
    pub async fn upgrade(&self, stream: Box<dyn ByteStream>) -> io::Result<Box<dyn ByteStream>> {
        (self.0)(stream).await
    }
}
