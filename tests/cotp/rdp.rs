//! Connections of RDP, whose variable parts are no parameters (MS-RDPBCGR 2.2.1.1, 2.2.1.2).

use bytes::Bytes;

use crate::cotp_probe::*;

/// Makes a CR or CC of this code with a variable part.
fn connect(code: u8, variable: &[u8]) -> Vec<u8> {
    let len = u8::try_from(variable.len()).unwrap();
    let head = [3, 0, 0, 11 + len, 6 + len, code, 0, 0, 0, 0, 0];
    [&head, variable].concat()
}

/// The CR of a client, without a cookie.
fn client() -> Config {
    Config {
        after_handshake: AfterHandshake::Pause,
        compat: Compat {
            reference: Some(0),
            ..proposing(Proposal {
                variable: Some(hex("01 00 08 00 01 00 00 00").into()),
                long_request: true,
                ..Proposal::default()
            })
            .compat
        },
        ..proposing(Proposal {
            variable: Some(hex("01 00 08 00 01 00 00 00").into()),
            long_request: true,
            ..Proposal::default()
        })
    }
}

#[test]
fn every_form_of_a_client_request_is_accepted_as_it_is() {
    for text in [
        "",
        "Cookie: mstshash=user\r\n",
        "Cookie: msts=3640205228.15629.0000\r\n",
        "tsv://MS Terminal Services Plugin.1.farm\r\n",
        "tsv://VMResource.1.AH\r\n",
        "mth://host.example/abc\r\n",
        "anything could be here\r\n",
    ] {
        accepts_as_it_is(&[text.as_bytes(), &hex("01 00 08 00 03 00 00 00")].concat());
        accepts_as_it_is(text.as_bytes());
    }
}

/// Restricted administration (1), redirected authentication (2), and correlation information (8), in 36 octets.
#[test]
fn negotiation_requests_with_any_flags_and_protocols_are_accepted() {
    for flags in 0..=u8::MAX {
        for protocols in [0, 1, 3, 0x0B, 0x1F, 0xFF] {
            let request = [1, flags, 8, 0, protocols, 0, 0, 0];
            let correlation = [&[6, 0, 36, 0][..], &[0xA5; 32]].concat();

            accepts_as_it_is(&request);
            accepts_as_it_is(&[&request[..], &correlation].concat());
        }
    }
}

/// Checks that a CR with this variable part is accepted, and shown as it is.
fn accepts_as_it_is(variable: &[u8]) {
    let mut probe = Probe::up(anybody());

    probe.feed_octets(&connect(0xE0, variable));

    let connected = probe.connected();
    assert_eq!(connected.variable, variable);
    assert_eq!((connected.calling, connected.called), (None, None));
    assert_eq!(probe.machine.stats().tolerated, 0);
    if !variable.is_empty() {
        assert_eq!(probe.sent(), "03 00 00 0B 06 D0 00 00 00 01 00");
    }
}

/// The codes of the parameters that are read.
const USED: [u8; 6] = [0xC0, 0xC1, 0xC2, 0xC6, 0xC7, 0xF0];

#[test]
fn the_first_octet_tells_parameters_from_other_variable_parts() {
    for first in 0..=u8::MAX {
        // An odd length, so that it is no list of parameters.
        let variable = [first, 200, 0];
        let mut responder = Probe::up(anybody());
        let mut initiator = Probe::up(bare());

        responder.feed_octets(&connect(0xE0, &variable));
        initiator.feed_octets(&connect(0xD0, &variable));

        // The CC is for reference 0.
        for (mut probe, deviations) in [(responder, 0), (initiator, 1)] {
            match probe.event() {
                Event::Connected(connected) if !USED.contains(&first) => {
                    assert_eq!(connected.variable, variable.as_slice());
                    let deviations = deviations + u64::from(first >= 0x80);
                    assert_eq!(probe.machine.stats().tolerated, deviations);
                }
                Event::Failed(end) if USED.contains(&first) => {
                    assert!(matches!(end.reason, EndReason::Malformed(_)), "{end}");
                }
                other => panic!("0x{first:02x}: {other:?}"),
            }
        }
    }
}

#[test]
fn servers_that_confirm_any_reference_are_connected() {
    for (cc, variable) in [
        // xrdp.
        (
            "03 00 00 13 0E D0 00 00 12 34 00 02 01 08 00 01 00 00 00",
            "02 01 08 00 01 00 00 00",
        ),
        // FreeRDP.
        (
            "03 00 00 13 0E D0 00 00 00 00 00 02 03 08 00 01 00 00 00",
            "02 03 08 00 01 00 00 00",
        ),
        // A server without security, which answers a CR as of 2001.
        ("03 00 00 0B 06 D0 12 34 00 00 00", ""),
    ] {
        let mut probe = Probe::up(client());
        assert_eq!(
            probe.sent(),
            "03 00 00 13 0E E0 00 00 00 00 00 01 00 08 00 01 00 00 00"
        );

        probe.feed(cc);

        assert_eq!(probe.connected().variable, Bytes::from(hex(variable)));
        probe.run(Command::Detach(farlink::Tag(7))).unwrap();
        assert_eq!(probe.asks().len(), 1, "the stream is free for TLS");
    }
}
