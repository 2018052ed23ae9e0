//! What a connection holds.

use super::{Connection, State};
use crate::cotp::api::{Event, Indication};
use crate::cotp::config::Config;
use crate::cotp::handshake::Request;

impl Connection {
    /// Returns the bytes of memory that the connection holds beside its own size: buffers, queues and the
    /// messages in them.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held()
            + self.framing.held()
            + self.assembly.held()
            + self.held.capacity()
            + self.outbox.held()
            + self.outbox.cost()
            + self.events.capacity() * size_of::<Event>()
            + self.events_cost
    }
}

impl State {
    /// Returns the bytes of memory it holds beside its own size.
    fn held(&self) -> usize {
        match self {
            Self::Waiting(config) | Self::Requesting(config) | Self::Listening(config) => {
                size_of::<Config>() + config.held()
            }
            // The indication shares its octets with the event that showed it, or keeps them alone.
            Self::Deciding(config, request) => {
                let Indication {
                    variable,
                    user_data,
                    ..
                } = &request.indication;
                size_of::<Config>()
                    + config.held()
                    + size_of::<Request>()
                    + variable.len() * 2
                    + user_data.len()
            }
            Self::Open { .. } | Self::Handing(_) | Self::Closing(_) | Self::Gone => 0,
        }
    }
}
