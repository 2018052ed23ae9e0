//! How blocks end that are not complete.

use farlink::ltp::{Reason, SessionId, Side};
use serde_json::{Value, json};

/// A block that was cancelled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cancelled {
    pub(super) session: SessionId,
    /// The engine at the other end.
    pub(super) peer: u64,
    pub(super) by: Side,
    pub(super) reason: Reason,
    /// Whether this command was interrupted.
    pub(super) is_interrupted: bool,
}

impl Cancelled {
    /// Returns why, in a word for programs.
    const fn cause(&self) -> &'static str {
        match (self.by, self.reason) {
            (Side::Local, Reason::USER | Reason::SYSTEM | Reason::UNREACHABLE)
                if self.is_interrupted =>
            {
                "shutdown"
            }
            (Side::Local, Reason::RETRANSMISSION_LIMIT) => "peer_silent",
            (Side::Remote, Reason::RETRANSMISSION_LIMIT) => "not_heard",
            (_, Reason::USER) => "cancelled",
            (_, Reason::UNREACHABLE) => "no_service",
            (_, Reason::CYCLE_LIMIT) => "limit_exceeded",
            (_, Reason::MISCOLORED) => "miscolored",
            _ => "system",
        }
    }

    /// Returns what the reason means here, to be put behind it.
    pub(super) fn meaning(&self) -> &'static str {
        match (self.cause(), self.by) {
            ("shutdown", _) => ": Ctrl-C or SIGTERM",
            ("peer_silent", _) => ": the peer is silent",
            ("not_heard", _) => ": it hears nothing from here",
            ("system", Side::Local) => {
                ": its sender is silent, or it exceeds a limit of this engine (--limit)"
            }
            ("system", Side::Remote) => ": it is to say why, perhaps a limit was exceeded",
            _ => "",
        }
    }

    /// Returns what happened, for people.
    pub(super) fn text(&self) -> String {
        let Self { peer, reason, .. } = self;
        let who = match self.by {
            Side::Local => "this engine".into(),
            Side::Remote => format!("engine {peer}"),
        };
        let meaning = self.meaning();
        format!("{who} cancelled block {}: {reason}{meaning}", self.session)
    }

    /// Returns the event.
    pub(super) fn object(&self) -> Value {
        json!({
            "event": "failed",
            "session": self.session.number,
            "peer": self.peer,
            "by": match self.by {
                Side::Local => "local",
                Side::Remote => "remote",
            },
            "cause": self.cause(),
            "code": self.reason,
            "reason": self.reason.to_string(),
        })
    }
}
