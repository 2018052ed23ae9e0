//! The configuration of an open connection.

use core::time::Duration;

use crate::cotp::config::{AfterHandshake, Config, EmptyMessages, NonTpkt, SendDisconnect, Strict};

/// The fields of a [`Config`] that are needed after the handshake. An idle connection is smaller without
/// the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenConfig {
    pub(super) after_handshake: AfterHandshake,
    pub(super) non_tpkt: NonTpkt,
    pub(super) empty: EmptyMessages,
    pub(super) strict: Strict,
    pub(super) send_disconnect: SendDisconnect,
    pub(super) empty_segment_limit: u16,
    pub(super) message_limit: usize,
    pub(super) receive_queue: usize,
    pub(super) send_queue: usize,
    pub(super) packet_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) drain_timeout: Duration,
    pub(super) close_timeout: Duration,
}

impl From<&Config> for OpenConfig {
    fn from(config: &Config) -> Self {
        let (limits, timers, compat) = (&config.limits, &config.timers, &config.compat);
        Self {
            after_handshake: config.after_handshake,
            non_tpkt: compat.non_tpkt,
            empty: compat.empty,
            strict: compat.strict,
            send_disconnect: compat.send_disconnect,
            empty_segment_limit: limits.empty_segment_limit,
            message_limit: limits.message_limit,
            receive_queue: limits.receive_queue,
            send_queue: limits.send_queue,
            packet_timeout: timers.packet_timeout,
            idle_timeout: timers.idle_timeout,
            drain_timeout: timers.drain_timeout,
            close_timeout: timers.close_timeout,
        }
    }
}
