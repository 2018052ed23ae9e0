//! The configuration of an open connection.

use crate::cotp::config::{AfterHandshake, Compat, Config, ConnectionLimits, ConnectionTimers};

/// The fields of a [`Config`] that are needed after the handshake. An idle connection is smaller without
/// the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenConfig {
    pub(super) after_handshake: AfterHandshake,
    pub(super) limits: ConnectionLimits,
    pub(super) timers: ConnectionTimers,
    pub(super) compat: Compat,
}

impl From<&Config> for OpenConfig {
    fn from(config: &Config) -> Self {
        Self {
            after_handshake: config.after_handshake,
            limits: config.limits,
            timers: config.timers,
            compat: config.compat,
        }
    }
}
