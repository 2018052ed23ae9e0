//! What an error of the system means to a machine.

use crate::Cause;

/// Says in the machine's terms why a socket failed.
///
/// What has no name of its own counts as [`Cause::Reset`]: the link was cut, and not in good order.
pub(crate) fn cause_of(error: &std::io::Error) -> Cause {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Cause::Refused,
        Kind::AddrInUse | Kind::AlreadyExists => Cause::InUse,
        Kind::TimedOut => Cause::TimedOut,
        Kind::AddrNotAvailable
        | Kind::NetworkUnreachable
        | Kind::HostUnreachable
        | Kind::NetworkDown
        | Kind::PermissionDenied
        | Kind::InvalidInput
        | Kind::Unsupported => Cause::Unreachable,
        _ => Cause::Reset,
    }
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
    }
}
