//! Room for what is received: in the engine, and where events wait outside of it.

use crate::ltp::api::Error;
use crate::ltp::engine::Engine;
use crate::{Addr, Instant};

impl<A: Addr> Engine<A> {
    /// Counts octets of what was received for a client service, taken as events and not yet used up, against
    /// [`Config::import_octets`](crate::ltp::Config::import_octets). Each call replaces what the last one said.
    ///
    /// Whoever queues events for slow applications bounds them by this: while there is too much, segments
    /// are refused as if the events had not been taken. A service for which more waits than is free in all
    /// takes nothing more in, so that there is room for the others.
    ///
    /// # Errors
    ///
    /// The service is not open.
    pub fn set_waiting(&mut self, now: Instant, client: u64, octets: u64) -> Result<(), Error> {
        self.advance(now);
        // Two services that say the most there is do not overflow the sum.
        let most = usize::MAX / usize::try_from(self.config.max_services.max(1)).unwrap_or(1);
        let octets = usize::try_from(octets).map_or(most, |octets| octets.min(most));
        let opened = self.services.get_mut(&client);
        let before = &mut opened.ok_or(Error::NotOpen(client))?.waiting;
        self.waiting = self.waiting - *before + octets;
        *before = octets;
        Ok(())
    }

    /// Whether more waits for a client service than is free.
    pub(in crate::ltp) fn is_sated(&self, client: u64) -> bool {
        let opened = self.services.get(&client);
        self.waiting > 0 && opened.is_some_and(|opened| opened.waiting > self.spare_of_all())
    }

    /// Octets that may yet be allocated for receiving, from all peers.
    pub(in crate::ltp) const fn spare_of_all(&self) -> usize {
        let held = (self.import_octets + self.event_octets).saturating_add(self.waiting);
        self.config.import_octets.saturating_sub(held)
    }
}
