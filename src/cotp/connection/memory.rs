//! The memory that a connection holds.

use super::{Connection, State};
use crate::cotp::api::{Event, Indication};
use crate::cotp::config::Config;
use crate::cotp::handshake::Request;

/// Bytes that events and messages may take beside twice the octets that came.
const MAX_BESIDE_INPUT: usize = 48 << 10;

impl Connection {
    /// Returns the bytes of memory that the connection holds on the heap: buffers, queues and the messages
    /// in them.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.state.memory_used()
            + self.outbox.memory_used()
            + self.outbox.cost()
            + self.unread_memory()
            + self.events_memory()
    }

    /// Returns the octets of an unfinished message or packet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.reassembly.len() + self.framing.unfinished().len()
    }

    /// Returns the bytes held for octets that came from the peer.
    pub(in crate::cotp) fn memory_for_input(&self) -> usize {
        if self.decoded == 0 {
            return self.unread_memory();
        }
        let request = match &self.state {
            State::Deciding(_, request) => memory_of(request),
            _ => 0,
        };
        request + self.unread_memory() + self.events_memory()
    }

    /// Returns the bytes held for an unfinished message and for octets that wait to be decoded.
    #[must_use]
    pub fn unread_memory(&self) -> usize {
        self.framing.memory_used() + self.reassembly.memory_used() + self.unread.capacity()
    }

    fn events_memory(&self) -> usize {
        self.events.capacity() * size_of::<Event>() + self.events_cost
    }

    /// Tells whether events and messages take little more than the octets from which they were made, or whether no
    /// event waits. Messages of single octets take many times as much.
    pub(super) fn is_held_within_input(&self) -> bool {
        if self.events.is_empty() {
            return true;
        }
        // The queue and the memory of a message may double with the next segment.
        let held = self.events_cost
            + 2 * self.events.len() * size_of::<Event>()
            + 2 * self.reassembly.memory_used();
        held <= self
            .decoded
            .saturating_mul(2)
            .saturating_add(MAX_BESIDE_INPUT)
    }
}

/// Returns the bytes that a request holds. The octets of the indication are shared with the event, until the
/// application drops it.
fn memory_of(request: &Request) -> usize {
    let Indication {
        variable,
        user_data,
        ..
    } = &request.indication;
    size_of::<Request>() + variable.len() * 2 + user_data.len()
}

impl State {
    /// Returns the bytes of memory that the state holds on the heap.
    fn memory_used(&self) -> usize {
        match self {
            Self::AwaitingLink(config) | Self::AwaitingCc(config) | Self::AwaitingCr(config) => {
                size_of::<Config>() + config.memory_used()
            }
            Self::Deciding(config, request) => {
                size_of::<Config>() + config.memory_used() + memory_of(request)
            }
            Self::Open { .. } | Self::Detaching(_) | Self::Closing(_) | Self::Done => 0,
        }
    }
}
