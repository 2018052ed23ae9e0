//! The memory that a connection holds.

use super::{Connection, State};
use crate::cotp::api::{Event, Indication};
use crate::cotp::config::Config;
use crate::cotp::handshake::Request;

impl Connection {
    /// Returns the bytes of memory that the connection holds on the heap: buffers, queues and the messages
    /// in them.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.state.memory_used()
            + self.framing.memory_used()
            + self.reassembly.memory_used()
            + self.unread.capacity()
            + self.outbox.memory_used()
            + self.outbox.cost()
            + self.events.capacity() * size_of::<Event>()
            + self.events_cost
    }
}

impl State {
    /// Returns the bytes of memory that the state holds on the heap.
    fn memory_used(&self) -> usize {
        match self {
            Self::AwaitingLink(config) | Self::AwaitingCc(config) | Self::AwaitingCr(config) => {
                size_of::<Config>() + config.memory_used()
            }
            // The octets of the indication are shared with the event, until the application drops it.
            Self::Deciding(config, request) => {
                let Indication {
                    variable,
                    user_data,
                    ..
                } = &request.indication;
                size_of::<Config>()
                    + config.memory_used()
                    + size_of::<Request>()
                    + variable.len() * 2
                    + user_data.len()
            }
            Self::Open { .. } | Self::Detaching(_) | Self::Closing(_) | Self::Done => 0,
        }
    }
}
