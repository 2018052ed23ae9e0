//! What is known of a server: how fast it answers, and how requests to it are signed.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::challenge::Session;
use crate::kit::Rtt;
use crate::stun::integrity::Integrity;
use crate::{Instant, Proto};

/// How long a round-trip time holds after the last transaction (RFC 8489 section 6.2.1).
const RTT_LIFE: Duration = Duration::from_secs(600);
/// The granularity of round-trip times.
const GRANULARITY: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Server {
    at: (Proto, SocketAddr),
    /// Transactions under way.
    pub(super) active: u8,
    /// When the next one may start.
    pub(super) next_start: Instant,
    rtt: Rtt,
    used: Instant,
    /// The realm, the nonce and the key of the last challenge.
    pub(super) session: Option<Session>,
    /// How the server signs with short-term credentials.
    pub(super) short_term: Option<Integrity>,
}

/// The servers of the last transactions.
#[derive(Debug, Default)]
pub(super) struct Servers {
    all: Vec<Server>,
}

impl Servers {
    pub(super) fn get(&self, at: (Proto, SocketAddr)) -> Option<&Server> {
        self.all.iter().find(|server| server.at == at)
    }

    pub(super) fn get_mut(&mut self, at: (Proto, SocketAddr)) -> Option<&mut Server> {
        self.all.iter_mut().find(|server| server.at == at)
    }

    /// Returns the server, which is remembered in place of the one not used for the longest time if there are `limit`.
    /// Those with transactions stay.
    pub(super) fn enter(
        &mut self,
        at: (Proto, SocketAddr),
        now: Instant,
        limit: usize,
    ) -> &mut Server {
        let known = self.all.iter().position(|server| server.at == at);
        let index = known.unwrap_or_else(|| {
            if self.all.len() >= limit {
                self.forget_oldest();
            }
            self.all.push(Server::new(at));
            self.all.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        let server = &mut self.all[index];
        server.used = now;
        server
    }

    fn forget_oldest(&mut self) {
        let idle = self.all.iter().enumerate();
        let idle = idle.filter(|(_, server)| server.active == 0);
        let oldest = idle.min_by_key(|(_, server)| server.used);
        if let Some((index, _)) = oldest {
            self.all.swap_remove(index);
        }
    }

    /// Returns the timeout by the round trips measured to this host (RFC 8489 section 6.2.1).
    pub(super) fn timeout(&self, remote: SocketAddr, now: Instant) -> Option<Duration> {
        let of_host = self.all.iter().filter(|server| {
            server.at.1.ip() == remote.ip()
                && now - server.used < RTT_LIFE
                && server.rtt.samples() > 0
        });
        let last = of_host.max_by_key(|server| server.used)?;
        last.rtt.timeout(GRANULARITY)
    }

    pub(super) fn memory_used(&self) -> usize {
        let sessions = self.all.iter().filter_map(|it| it.session.as_ref());
        self.all.capacity() * size_of::<Server>()
            + sessions.map(Session::memory_used).sum::<usize>()
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }
}

impl Server {
    const fn new(at: (Proto, SocketAddr)) -> Self {
        Self {
            at,
            active: 0,
            next_start: Instant::ZERO,
            rtt: Rtt::new(),
            used: Instant::ZERO,
            session: None,
            short_term: None,
        }
    }

    /// Takes a round-trip time of a request that was sent once.
    pub(super) fn on_round_trip(&mut self, now: Instant, sample: Duration) {
        if now - self.used >= RTT_LIFE {
            self.rtt = Rtt::new();
        }
        self.used = now;
        self.rtt.on_sample(sample);
    }
}
