//! What an error of the system means to a machine.

use std::io;

use crate::Cause;

/// Says in the machine's terms why a socket broke.
///
/// What has no name of its own counts as [`Cause::Reset`]: the link was cut, and not in good order.
pub(crate) fn cause_of(error: &io::Error) -> Cause {
    named(error).unwrap_or(Cause::Reset)
}

/// Says in the machine's terms why a socket could not be opened.
///
/// What has no name of its own counts as [`Cause::Unreachable`]: there is no way from here.
pub(crate) fn cause_of_failure(error: &io::Error) -> Cause {
    named(error).unwrap_or(Cause::Unreachable)
}

/// Says in the machine's terms why there is no connection. The socket was bound, so its own address exists:
/// an address that is not available is a pair of addresses that is taken.
pub(crate) fn cause_of_connect(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::AddrNotAvailable {
        Cause::InUse
    } else {
        cause_of_failure(error)
    }
}

fn named(error: &io::Error) -> Option<Cause> {
    use io::ErrorKind as Kind;
    Some(match error.kind() {
        Kind::ConnectionRefused => Cause::Refused,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Cause::Reset,
        Kind::AddrInUse | Kind::AlreadyExists => Cause::InUse,
        Kind::TimedOut => Cause::TimedOut,
        Kind::AddrNotAvailable
        | Kind::NetworkUnreachable
        | Kind::HostUnreachable
        | Kind::NetworkDown => Cause::Unreachable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn errors_of_the_system_have_a_name_in_the_contract() {
        let cases = [
            (ErrorKind::ConnectionRefused, Cause::Refused),
            (ErrorKind::ConnectionReset, Cause::Reset),
            (ErrorKind::BrokenPipe, Cause::Reset),
            (ErrorKind::AddrInUse, Cause::InUse),
            (ErrorKind::AddrNotAvailable, Cause::Unreachable),
            (ErrorKind::TimedOut, Cause::TimedOut),
        ];

        for (kind, cause) in cases {
            assert_eq!(cause_of(&Error::from(kind)), cause, "{kind:?}");
        }
        assert_eq!(cause_of(&Error::other("no name")), Cause::Reset);
    }

    #[test]
    fn what_cannot_be_opened_for_a_reason_without_a_name_is_unreachable() {
        let taken = Error::from(ErrorKind::AddrInUse);
        assert_eq!(cause_of_failure(&taken), Cause::InUse);
        let nameless = Error::other("no such family");
        assert_eq!(cause_of_failure(&nameless), Cause::Unreachable);
    }
}
