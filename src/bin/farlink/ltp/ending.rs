//! How blocks end that are not complete.

use farlink::ltp::{EndCause, Limit, Reason, SessionId, Side};
use serde_json::{Value, json};

/// The command was interrupted.
pub(super) const SHUTDOWN: &str = "shutdown";
/// The contact plan is over.
pub(super) const PLAN_OVER: &str = "contact_plan_over";

/// A block that was cancelled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cancelled {
    pub(super) session: SessionId,
    /// The engine at the other end.
    pub(super) peer: u64,
    pub(super) by: Side,
    pub(super) reason: Reason,
    /// What it stands for.
    pub(super) cause: EndCause,
    /// Why this command ended its blocks, if it did.
    pub(super) own_cause: Option<&'static str>,
}

impl Cancelled {
    /// Returns why, in a word for programs.
    const fn cause(&self) -> &'static str {
        match (self.by, self.reason, self.own_cause) {
            // A service that is closed is unreachable.
            (Side::Local, Reason::USER | Reason::SYSTEM | Reason::UNREACHABLE, Some(own)) => own,
            (Side::Local, _, _) if matches!(self.cause, EndCause::PeerSilent(_)) => "peer_silent",
            (Side::Remote, Reason::RETRANSMISSION_LIMIT, _) => "not_heard",
            (_, Reason::USER, _) => "cancelled",
            (_, Reason::UNREACHABLE, _) => "no_service",
            (_, Reason::CYCLE_LIMIT, _) => "limit_exceeded",
            (_, Reason::MISCOLORED, _) => "miscolored",
            (Side::Local, _, _) if matches!(self.cause, EndCause::LimitExceeded { .. }) => {
                "limit_exceeded"
            }
            _ => "system",
        }
    }

    /// Returns what the reason means to a sender, to be put behind it.
    pub(super) fn meaning(&self) -> &'static str {
        match (self.cause(), self.by) {
            ("not_heard", _) => ": it hears nothing from here",
            ("system", Side::Remote) => {
                ": it has said why there, such as a limit that was exceeded"
            }
            _ => "",
        }
    }

    /// Returns what happened at a receiver.
    pub(super) fn text(&self) -> String {
        let Self {
            session,
            peer,
            reason,
            ..
        } = self;
        match (self.cause(), self.by) {
            (SHUTDOWN, _) => format!("block {session} was cancelled by Ctrl-C or SIGTERM"),
            ("no_service", Side::Local) => {
                format!("this engine cancelled block {session}: {reason}")
            }
            (_, Side::Local) => {
                let (cause, option) = (self.cause, self.option());
                format!("this engine cancelled block {session}: {cause}{option}")
            }
            (_, Side::Remote) => format!("engine {peer} cancelled block {session}: {reason}"),
        }
    }

    /// Returns the option that sets the limit that was exceeded, to be put behind it.
    const fn option(&self) -> &'static str {
        match self.cause {
            EndCause::LimitExceeded {
                limit: Limit::SessionOctets,
                ..
            } => " (--limit)",
            _ => "",
        }
    }

    /// Returns the event.
    pub(super) fn object(&self) -> Value {
        let limits = match self.cause {
            EndCause::LimitExceeded { limit, max, value } => Some((limit, max, value)),
            _ => None,
        };
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
            "exceeded": limits.map(|(limit, ..)| limit),
            "limit": limits.map(|(_, max, _)| max),
            "value": limits.map(|(.., value)| value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_exceeded_is_named_and_is_no_silence() {
        let limit = Limit::CheckpointRetries;
        let cause = EndCause::LimitExceeded {
            limit,
            max: 5,
            value: 6,
        };
        let cancelled = Cancelled {
            session: SessionId {
                originator: 1,
                number: 7,
            },
            peer: 2,
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            cause,
            own_cause: None,
        };
        let object = cancelled.object();

        assert_eq!(object["cause"], "limit_exceeded");
        assert_eq!(object["exceeded"], "checkpoint_retries");
        assert_eq!((&object["limit"], &object["value"]), (&json!(5), &json!(6)));
        let silent = Cancelled {
            cause: EndCause::PeerSilent(core::time::Duration::from_secs(12)),
            ..cancelled
        };
        assert_eq!(silent.object()["cause"], "peer_silent");
        assert_eq!(silent.object()["exceeded"], Value::Null);
    }
}
