//! What a person reads.

use super::*;
use crate::wire::{DecodeError, Fault};

#[test]
fn every_reason_has_words() {
    let seconds = Duration::from_secs;
    for (reason, words) in [
        (Reason::Closed, "closed by this side"),
        (
            Reason::HalfClosed(seconds(2)),
            "closed by this side, and the peer did not end too within 2s",
        ),
        (Reason::Detached(Tag(7)), "the stream was handed over"),
        (
            Reason::Declined(DisconnectReason::ADDRESS_UNKNOWN),
            "refused by this side: selector unknown (3)",
        ),
        (Reason::PeerClosed, "closed by the peer"),
        (
            Reason::ClosedBeforeConfirm,
            "closed before the connection was confirmed: wrong selector?",
        ),
        (
            Reason::ClosedBeforeRequest,
            "closed before a connection was requested",
        ),
        (Reason::Link(Cause::Reset), "connection reset by the peer"),
        (
            Reason::Disconnected(Disconnect {
                reason: DisconnectReason(136),
                information: Bytes::from_static(b"no\n"),
                user_data: Bytes::new(),
            }),
            "disconnected by the peer: connection request refused on this network connection (136), \"no\\n\"",
        ),
        (
            Reason::Disconnected(Disconnect {
                reason: DisconnectReason(77),
                information: Bytes::new(),
                user_data: Bytes::new(),
            }),
            "disconnected by the peer: a reason the standard does not have (77)",
        ),
        (
            Reason::Rejected(RejectCause::TPDU_TYPE),
            "the peer reported an error: invalid TPDU type (2)",
        ),
        (
            Reason::NoConfirm(seconds(10)),
            "no answer to the connection request within 10s",
        ),
        (
            Reason::NoRequest(seconds(10)),
            "no connection request within 10s",
        ),
        (
            Reason::PacketStalled(seconds(30)),
            "a packet was not finished within 30s",
        ),
        (
            Reason::Idle(seconds(60)),
            "nothing came from the peer for 60s",
        ),
        (
            Reason::SendStalled(seconds(30)),
            "the peer took nothing for 30s of what was still to be sent",
        ),
        (
            Reason::Framing(TpktFault::TooLong {
                length: 700,
                limit: 132,
            }),
            "not a TPKT stream: TPKT length at offset 2: 700 exceeds the limit of 132",
        ),
        (
            Reason::Malformed(DecodeError {
                field: "class",
                offset: 6,
                fault: Fault::Short { need: 1, left: 0 },
            }),
            "malformed TPDU: class at offset 6: needs 1 octets, 0 left",
        ),
        (
            Reason::Unexpected {
                tpdu: "DT",
                awaited: "CC",
            },
            "DT where CC was awaited",
        ),
        (
            Reason::Violation(Violation::TpduNumber(1)),
            "protocol error: TPDU number 1 in class 0",
        ),
        (
            Reason::Overrun,
            "the driver fed on while the stream was not wanted",
        ),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}

#[test]
fn every_violation_has_words() {
    for (violation, words) in [
        (
            Violation::Class(4),
            "class 4 requested without class 0 as an alternative",
        ),
        (
            Violation::SelectedClass(2),
            "class 2 selected, class 0 was offered",
        ),
        (
            Violation::Reference {
                expected: 1,
                found: 2,
            },
            "confirmation for reference 2, ours is 1",
        ),
        (
            Violation::RequestReference(5),
            "destination reference 5 in a connection request",
        ),
        (Violation::Credit(5), "credit 5 in class 0"),
        (Violation::Repeated, "a parameter stands twice"),
        (
            Violation::Selector {
                expected: Selector::from(1),
                found: Selector::default(),
            },
            "selector \"\" confirmed, \"0001\" was requested",
        ),
        (
            Violation::PreferredSize(2048),
            "preferred TPDU size 2048 confirmed, none was proposed",
        ),
        (
            Violation::Size {
                found: 8192,
                proposed: 128,
            },
            "TPDU size 8192 confirmed, 128 was proposed",
        ),
        (
            Violation::DataSize {
                len: 129,
                limit: 128,
            },
            "DT of 129 octets exceeds the agreed TPDU size of 128",
        ),
        (Violation::TpduNumber(1), "TPDU number 1 in class 0"),
        (
            Violation::DataCode(0xF1),
            "DT with code 0xf1, class 0 has 0xf0",
        ),
        (
            Violation::EmptySegment,
            "DT without user data in the middle of a message",
        ),
        (
            Violation::MessageLimit { len: 6, limit: 5 },
            "message of 6 octets or more exceeds the limit of 5",
        ),
        (
            Violation::EmptySegments { limit: 16 },
            "message with more than 16 segments without user data",
        ),
        (
            Violation::Expedited(17),
            "expedited data of 17 octets, 1 to 16 are allowed",
        ),
        (
            Violation::ExpeditedSegment,
            "expedited data that do not end with their TPDU",
        ),
    ] {
        assert_eq!(violation.to_string(), words);
    }
}

#[test]
fn every_refused_command_has_words() {
    for (error, words) in [
        (Error::NotOpen, "the connection is not open yet"),
        (Error::Closed, "the connection is closed"),
        (
            Error::NoIndication,
            "no connection request waits for an answer",
        ),
        (Error::NotPaused, "the connection is not paused"),
        (
            Error::Full {
                queued: 164,
                limit: 300,
            },
            "send queue is full: 164 octets of a limit of 300",
        ),
        (
            Error::TooLong { len: 37, limit: 36 },
            "message of 37 octets exceeds the limit of 36",
        ),
        (Error::Empty, "empty messages are not sent"),
        (Error::NotAgreed, "the peer did not agree to expedited data"),
        (
            Error::Expedited { len: 17, limit: 16 },
            "expedited data of 17 octets, 1 to 16 are allowed",
        ),
        (
            Error::Flushes { limit: 64 },
            "64 flushes are under way, the limit",
        ),
        (
            Error::MidMessage { len: 2 },
            "2 octets of an unfinished message have come",
        ),
        (
            Error::Information {
                len: 120,
                limit: 119,
            },
            "additional information of 120 octets exceeds the limit of 119",
        ),
        (
            Error::Acceptance(ConfigError::UserData { len: 33, limit: 32 }),
            "connect user data of 33 octets exceeds the limit of 32",
        ),
    ] {
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn every_refused_configuration_has_words() {
    for (error, words) in [
        (
            ConfigError::PreferredSize(512),
            "preferred size of 512 units exceeds the limit of 511",
        ),
        (
            ConfigError::Order,
            "the parameter order does not name each parameter once",
        ),
        (
            ConfigError::Variable {
                len: 249,
                limit: 248,
            },
            "variable part of 249 octets exceeds the limit of 248",
        ),
        (
            ConfigError::Request {
                len: 129,
                limit: 128,
            },
            "connection request of 129 octets exceeds the limit of 128",
        ),
        (
            ConfigError::PacketLimit {
                limit: 131,
                least: 132,
            },
            "packet limit of 131 octets is under the least of 132",
        ),
        (
            ConfigError::ReceiveQueue,
            "receive queue of 0 octets is under the least of 1",
        ),
        (
            ConfigError::NoTime {
                timer: "idle_timeout",
            },
            "idle_timeout of 0 s leaves no time",
        ),
    ] {
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn a_broken_frame_has_words() {
    for (fault, words) in [
        (
            TpktFault::Version(22),
            "TPKT version at offset 0: 22 is not 3",
        ),
        (
            TpktFault::Reserved(7),
            "TPKT reserved octet at offset 1: 7 is not 0",
        ),
        (
            TpktFault::TooShort(6),
            "TPKT length at offset 2: 6 is under the minimum of 7",
        ),
    ] {
        assert_eq!(fault.to_string(), words);
    }
}

#[test]
fn a_selector_prints_as_hex() {
    assert_eq!(Selector::from(0x0102).to_string(), "0102");
    assert_eq!(Selector::from(&[1][..]).to_string(), "01");
    assert_eq!(Selector::default().to_string(), "");
    assert_eq!(alloc::format!("{:?}", Selector::from(1)), "Selector(0001)");
}
