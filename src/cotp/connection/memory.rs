//! What a connection holds.

use super::{Connection, State};
use crate::cotp::api::{Event, Indication};
use crate::cotp::config::Config;
use crate::cotp::handshake::Request;

impl Connection {
    /// Returns the bytes of memory that the connection holds beside its own size: buffers, queues and the
    /// messages in them.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.state.memory_used()
            + self.framing.memory_used()
            + self.assembly.memory_used()
            + self.held.capacity()
            + self.outbox.memory_used()
            + self.outbox.cost()
            + self.events.capacity() * size_of::<Event>()
            + self.events_cost
    }
}

impl State {
    /// Returns the bytes of memory it holds beside its own size.
    fn memory_used(&self) -> usize {
        match self {
            Self::Waiting(config) | Self::Requesting(config) | Self::Listening(config) => {
                size_of::<Config>() + config.memory_used()
            }
            // The indication shares its octets with the event that showed it, or keeps them alone.
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
            Self::Open { .. } | Self::Handing(_) | Self::Closing(_) | Self::Gone => 0,
        }
    }
}
