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
        reference: Some(0),
        variable_part: VariablePart::Opaque,
        after_handshake: AfterHandshake::Pause,
        ..proposing(Proposal {
            variable: Some(hex("01 00 08 00 01 00 00 00").into()),
            long_request: true,
            ..Proposal::default()
        })
    }
}

#[test]
fn every_form_of_a_client_request_is_accepted_as_it_is() {
    let negotiation = "01 00 08 00 03 00 00 00";
    for text in [
        "",
        "Cookie: mstshash=user\r\n",
        "Cookie: msts=3640205228.15629.0000\r\n",
        "tsv://MS Terminal Services Plugin.1.farm\r\n",
        "tsv://VMResource.1.AH\r\n",
        "mth://host.example/abc\r\n",
        "anything could be here\r\n",
    ] {
        let variable = [text.as_bytes(), &hex(negotiation)].concat();
        let mut probe = Probe::up(anybody());

        probe.feed_octets(&connect(0xE0, &variable));

        let connected = probe.connected();
        assert_eq!(connected.variable, variable, "{text}");
        assert_eq!((connected.calling, connected.called), (None, None));
        assert_eq!(probe.sent(), "03 00 00 0B 06 D0 00 00 00 01 00", "{text}");
        assert_eq!(probe.machine.stats().tolerated, 0);
    }
}

#[test]
fn the_first_octet_tells_parameters_from_other_variable_parts() {
    for first in 0..=u8::MAX {
        // An odd length, so that it is no list of parameters.
        let variable = [first, 200, 0];
        let mut responder = Probe::up(anybody());
        let mut initiator = Probe::up(bare());

        responder.feed_octets(&connect(0xE0, &variable));
        initiator.feed_octets(&connect(0xD0, &variable));

        for mut probe in [responder, initiator] {
            match probe.event() {
                Event::Connected(connected) if first < 0x80 => {
                    assert_eq!(connected.variable, variable.as_slice());
                }
                Event::Failed(end) if first >= 0x80 => {
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
