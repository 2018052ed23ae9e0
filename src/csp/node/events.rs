//! What the node tells the application.

use super::Node;
use super::fragments::SenderStep;
use crate::csp::api::{Event, SfpFault};
use crate::csp::rdp::DataKind;
use crate::csp::sfp::{Step, without_trailer};

impl Node {
    /// Returns the next event. Connections take turns.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.requests.next_event() {
            return Some(event);
        }
        if let Some(event) = self.next_requested() {
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
        if let Some(event) = self.next_datagram() {
            return Some(event);
        }
        let (from, octets) = self.router.next_captured()?;
        Some(Event::Promiscuous { from, octets })
    }

    fn next_datagram(&mut self) -> Option<Event> {
        let limit = self.config.max_sfp;
        if let Some(event) = self.fragments.next_timed_out(self.now) {
            return Some(event);
        }
        while let Some((about, octets)) = self.datagrams.front() {
            let (port, from) = (about.port, about.from);
            if about.kind == DataKind::Packet {
                let (_, data) = self.datagrams.pop()?;
                return Some(Event::Datagram { port, from, data });
            }
            let step = self.fragments.step(self.now, (port, from), octets, limit);
            match step {
                SenderStep::Step(Step::Next(place)) => {
                    let (_, octets) = self.datagrams.pop()?;
                    let data = without_trailer(octets);
                    return Some(Event::FragmentDatagram {
                        port,
                        from,
                        place,
                        data,
                    });
                }
                SenderStep::Step(Step::FailedBefore(fault)) => {
                    return Some(Event::FragmentDatagramsFailed { port, from, fault });
                }
                SenderStep::Step(Step::Failed(fault)) => {
                    self.stats.bad_fragment += 1;
                    self.datagrams.discard();
                    return Some(Event::FragmentDatagramsFailed { port, from, fault });
                }
                SenderStep::Step(Step::Dropped) => self.stats.bad_fragment += 1,
                SenderStep::GaveWay { port, from } => {
                    self.stats.fragments_full += 1;
                    let fault = SfpFault::GaveWay;
                    return Some(Event::FragmentDatagramsFailed { port, from, fault });
                }
                SenderStep::Full => self.stats.fragments_full += 1,
            }
            self.datagrams.discard();
        }
        None
    }

    fn event_of(&mut self, at: usize) -> Option<Event> {
        let slot = self.slots.get_mut(at)?;
        if slot.is_free() {
            return None;
        }
        // Bound: there are at most 255 slots.
        let number = u8::try_from(at).unwrap_or(u8::MAX);
        let event = slot.next_event(number, self.config.max_sfp, &mut self.stats);
        if slot.is_free() {
            self.source_ports.rest(slot.port, self.now, slot.rest());
        }
        event
    }
}
