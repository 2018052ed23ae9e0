//! The lock around a node, and what is done when it is left.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};

use super::station::Station;
use super::{Error, NodeSnapshot, NodeStats, Options};
use crate::adapters::{Clock, seed};
use crate::{Instant, Link, Output, Path, Transmit};

/// What drives a node.
pub(crate) trait Pump: Sized + Send + Sync + 'static {
    /// Sees to it that the machine is polled: something has gone in.
    fn stir(hall: &Hall<Self>);

    /// Waits until the driver has ended, if that can be waited for here. The last handle is gone.
    fn part(hall: &Hall<Self>) {
        let _ = hall;
    }

    /// Returns how many errors the socket reported, and how many datagrams it would not send.
    fn counts(&self) -> (u64, u64);
}

/// A node, shared between its driver and its handles.
pub(crate) struct Hall<P> {
    station: Mutex<Station>,
    clock: Clock,
    local: SocketAddr,
    pub(crate) pump: P,
}

impl<P: Pump> Hall<P> {
    /// Makes a node, or takes one up that was saved.
    pub(crate) fn new(
        local: SocketAddr,
        options: &Options,
        saved: Option<NodeSnapshot>,
        pump: P,
    ) -> Result<Self, Error> {
        let station = match saved {
            Some(saved) => saved.restore(local, options, options.clock.now())?,
            None => Self::fresh(local, options)?,
        };
        Ok(Self {
            station: Mutex::new(station),
            clock: options.clock,
            local,
            pump,
        })
    }

    fn fresh(local: SocketAddr, options: &Options) -> Result<Station, Error> {
        let seed = match &options.seed {
            Some(seed) => seed.clone(),
            None => seed()?,
        };
        let config = options.config.clone();
        let import_octets = config.import_octets;
        let speaker = options.maker.make(config, seed, local)?;
        Ok(Station::new(speaker, local, import_octets))
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    #[cfg(feature = "blocking")]
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn receive_batch(&self, remote: SocketAddr, train: &[u8], size: NonZeroUsize) {
        self.with(|station, now| station.receive_batch(now, remote, train, size));
    }

    pub(crate) fn link(&self, at: Path, state: Link) {
        self.with(|station, now| station.link(now, at, state));
    }

    pub(crate) fn poll(&self, tx: &mut Transmit<Path>) -> Output<Path, Infallible> {
        self.with(|station, now| station.poll(now, tx))
    }

    /// Hears that the driver has ended.
    pub(crate) fn end(&self) {
        self.with(|station, _| station.end());
    }

    pub(super) fn stats(&self) -> NodeStats {
        let (reported, unsent) = self.pump.counts();
        NodeStats {
            reported,
            unsent,
            ..self.with(|station, _| station.stats())
        }
    }

    /// Does something that the machine may have an answer to.
    pub(super) fn order<R>(&self, act: impl FnOnce(&mut Station, Instant) -> R) -> R {
        let result = self.with(act);
        P::stir(self);
        result
    }

    /// Does something under the lock, and wakes whom it concerns.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Station, Instant) -> R) -> R {
        let mut alarm = Alarm {
            hall: self,
            is_set: true,
        };
        let mut station = self.lock();
        // Under the lock: the machine sees time go on from call to call.
        let result = act(&mut station, self.clock.now());
        let calls = station.take_calls();
        drop(station);
        alarm.is_set = false;
        for call in calls {
            call.wake();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Station> {
        self.station.lock().unwrap_or_else(|poisoned| {
            // A machine that panicked half-way is not to be trusted.
            let mut station = poisoned.into_inner();
            station.end();
            station
        })
    }
}

/// Tells everybody of the end when the machine panics.
struct Alarm<'a, P: Pump> {
    hall: &'a Hall<P>,
    is_set: bool,
}

impl<P: Pump> Drop for Alarm<'_, P> {
    fn drop(&mut self) {
        if self.is_set {
            self.hall.end();
            P::stir(self.hall);
        }
    }
}
