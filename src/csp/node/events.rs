//! What the node tells the application.

use super::Node;
use crate::csp::api::Event;

impl Node {
    /// Returns the next event. Connections take turns.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.pings.next_event() {
            return Some(event);
        }
        let count = self.slots.len();
        for place in 0..count {
            let at = (self.next_event + place) % count;
            if let Some(event) = self.event_of(at) {
                self.next_event = at + 1;
                return Some(event);
            }
        }
        let (about, data) = self.datagrams.pop()?;
        Some(Event::Datagram {
            port: about.port,
            from: about.from,
            data,
        })
    }

    fn event_of(&mut self, at: usize) -> Option<Event> {
        let slot = self.slots.get_mut(at)?;
        if slot.is_free() {
            return None;
        }
        // Bound: there are at most 255 slots.
        let event = slot.next_event(u8::try_from(at).unwrap_or(u8::MAX));
        if slot.is_free() {
            self.source_ports.rest(slot.port, self.now, slot.rest());
        }
        event
    }
}
