//! Texts of reasons, errors and selectors.

use std::time::Duration;

use bytes::Bytes;
use farlink::{Cause, Tag};

use crate::cotp_probe::*;
use farlink::wire::{DecodeError, Fault};

#[test]
fn every_end_reason_has_a_text() {
    let seconds = Duration::from_secs;
    for (reason, text) in [
        (EndReason::Closed, "closed by this side"),
        (
            EndReason::HalfClosed(seconds(2)),
            "closed by this side; the peer did not close the stream within 2s",
        ),
        (EndReason::Detached(Tag(7)), "the stream was detached"),
        (
            EndReason::Declined(DisconnectReason::ADDRESS_UNKNOWN),
            "refused by this side: selector unknown (3)",
        ),
        (EndReason::PeerClosed, "closed by the peer"),
        (
            EndReason::ClosedBeforeConfirm,
            "closed by the peer before it confirmed the connection; likely causes: an unknown selector, a TPDU size or parameter order it does not take, no free connection",
        ),
        (
            EndReason::ClosedBeforeRequest,
            "closed by the peer before it requested a connection",
        ),
        (
            EndReason::Link(Cause::Reset),
            "connection reset by the peer",
        ),
        (
            EndReason::Disconnected(Disconnect {
                reason: DisconnectReason(136),
                information: Bytes::from_static(b"no\n"),
                user_data: Bytes::new(),
            }),
            "disconnected by the peer: connection request refused on this network connection (136), \"no\\n\"",
        ),
        (
            EndReason::Disconnected(Disconnect {
                reason: DisconnectReason(77),
                information: Bytes::new(),
                user_data: Bytes::new(),
            }),
            "disconnected by the peer: reason unknown to ISO 8073 (77)",
        ),
        (
            EndReason::Rejected(RejectCause::TPDU_TYPE),
            "the peer reported an error: invalid TPDU type (2)",
        ),
        (
            EndReason::NoConfirm(seconds(10)),
            "no answer to the connection request within 10s",
        ),
        (
            EndReason::NoRequest(seconds(10)),
            "no connection request within 10s",
        ),
        (
            EndReason::PacketStalled(seconds(30)),
            "a packet was not complete within 30s",
        ),
        (
            EndReason::Idle(seconds(60)),
            "nothing arrived from the peer for 60s",
        ),
        (
            EndReason::SendStalled(seconds(30)),
            "the peer read none of the queued messages for 30s",
        ),
        (
            EndReason::Framing(TpktFault::TooLong {
                length: 700,
                limit: 132,
            }),
            "not a TPKT stream: TPKT length at offset 2: 700 exceeds the limit of 132",
        ),
        (
            EndReason::Malformed(DecodeError {
                field: "class",
                offset: 6,
                fault: Fault::Short { need: 1, left: 0 },
            }),
            "malformed TPDU: class at offset 6: needs 1 octets, 0 left",
        ),
        (
            EndReason::Unexpected {
                tpdu: "DT",
                awaited: "CC",
            },
            "unexpected DT; CC is allowed here",
        ),
        (
            EndReason::ProtocolError(ProtocolError::TpduNumber(1)),
            "protocol error: TPDU number 1 in class 0",
        ),
        (
            EndReason::Overrun,
            "the driver read the stream while the connection did not want octets",
        ),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn every_protocol_error_has_a_text() {
    for (error, text) in [
        (
            ProtocolError::Class(4),
            "class 4 requested without class 0 as an alternative",
        ),
        (
            ProtocolError::SelectedClass(2),
            "class 2 selected, class 0 was offered",
        ),
        (
            ProtocolError::Reference {
                expected: 1,
                found: 2,
            },
            "confirmation for reference 2, the request had 1",
        ),
        (
            ProtocolError::RequestReference(5),
            "destination reference 5 in a connection request",
        ),
        (ProtocolError::Credit(5), "credit 5 in class 0"),
        (ProtocolError::Repeated, "a parameter occurs twice"),
        (
            ProtocolError::Selector {
                expected: Selector::from(1),
                found: Selector::default(),
            },
            "selector \"\" confirmed, \"0001\" was requested",
        ),
        (
            ProtocolError::Size {
                found: 8192,
                proposed: 128,
            },
            "TPDU size 8192 confirmed, 128 was proposed",
        ),
        (
            ProtocolError::DataSize {
                len: 129,
                limit: 128,
            },
            "DT of 129 octets exceeds the negotiated TPDU size of 128",
        ),
        (ProtocolError::TpduNumber(1), "TPDU number 1 in class 0"),
        (
            ProtocolError::DataCode(0xF1),
            "DT with code 0xf1, class 0 has 0xf0",
        ),
        (
            ProtocolError::EmptySegment,
            "DT with neither user data nor end of message",
        ),
        (
            ProtocolError::MessageLimit { len: 6, limit: 5 },
            "message of at least 6 octets exceeds the limit of 5",
        ),
        (
            ProtocolError::EmptySegments { limit: 16 },
            "message exceeds the limit of 16 segments without user data",
        ),
        (
            ProtocolError::Expedited(17),
            "expedited data of 17 octets, 1 to 16 are allowed",
        ),
        (
            ProtocolError::ExpeditedSegment,
            "expedited data without end of message",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn every_command_error_has_a_text() {
    for (error, text) in [
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
        (
            Error::Empty,
            "empty messages are disabled by the configuration",
        ),
        (Error::NotAgreed, "the peer did not agree to expedited data"),
        (
            Error::Expedited { len: 17, limit: 16 },
            "expedited data of 17 octets, 1 to 16 are allowed",
        ),
        (
            Error::Flushes { limit: 64 },
            "limit of 64 pending flushes reached",
        ),
        (
            Error::MidMessage { len: 2 },
            "2 octets of an unfinished message have arrived",
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
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn every_configuration_error_has_a_text() {
    for (error, text) in [
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
            "packet limit of 131 octets is below the minimum of 132",
        ),
        (
            ConfigError::ReceiveQueue,
            "receive queue of 0 octets is below the minimum of 1",
        ),
        (
            ConfigError::ZeroTimeout {
                timer: "idle_timeout",
            },
            "idle_timeout of 0 s is below the minimum of 1 ns",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn every_framing_fault_has_a_text() {
    for (fault, text) in [
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
            "TPKT length at offset 2: 6 is below the minimum of 7",
        ),
    ] {
        assert_eq!(fault.to_string(), text);
    }
}

#[test]
fn a_selector_is_printed_in_hex() {
    assert_eq!(Selector::from(0x0102).to_string(), "0102");
    assert_eq!(Selector::from(&[1][..]).to_string(), "01");
    assert_eq!(Selector::default().to_string(), "");
    assert_eq!(format!("{:?}", Selector::from(1)), "Selector(0001)");
}

#[test]
fn debug_output_shows_the_length_and_sixteen_octets_of_a_payload() {
    let payload = Bytes::from(vec![b'a'; 5000]);
    let shown = r#"b"aaaaaaaaaaaaaaaa".. (5000 octets)"#;
    let end = ConnectionEnd {
        reason: EndReason::Disconnected(Disconnect {
            reason: DisconnectReason::NORMAL,
            information: Bytes::new(),
            user_data: payload.clone(),
        }),
        incomplete: 0,
        unsent: 0,
    };
    let proposal = Proposal {
        variable: Some(payload.clone()),
        ..Proposal::default()
    };
    let acceptance = Acceptance {
        user_data: payload.clone(),
        ..Acceptance::default()
    };

    for text in [
        format!("{:?}", Event::Received(payload.clone())),
        format!("{:?}", Event::Expedited(payload.clone())),
        format!("{:?}", Event::Closed(Box::new(end))),
        format!("{:?}", Command::Send(payload.clone())),
        format!("{:?}", Command::Accept(acceptance)),
        format!("{proposal:?}"),
        format!("{:?}", Selector::new(payload.clone())),
    ] {
        assert!(text.len() < 300, "{text}");
        assert!(text.contains("5000 octets"), "{text}");
    }
    assert_eq!(
        format!("{:?}", Event::Received(payload)),
        format!("Received({shown})")
    );
    assert_eq!(
        format!("{:?}", Command::Send("abc".into())),
        r#"Send(b"abc")"#
    );
}
