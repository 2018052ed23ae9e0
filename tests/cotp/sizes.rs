//! Negotiation of the TPDU size by parameters 0xC0 and 0xF0.

use std::num::NonZeroU16;

use crate::cotp_probe::*;

fn size(octets: usize) -> TpduSize {
    TpduSize::from_octets(octets).unwrap()
}

fn up_to(octets: usize) -> Config {
    Config {
        tpdu_size: size(octets),
        ..anybody()
    }
}

fn proposing_size(octets: usize, units: Option<u16>) -> Config {
    Config {
        tpdu_size: size(octets),
        compat: Compat {
            preferred_size: units.and_then(NonZeroU16::new),
            ..Compat::default()
        },
        ..Config::default()
    }
}

/// Returns the size parameters of the CC to a CR with these parameters, and the negotiated size.
fn answer(config: Config, parameters: &str) -> (String, usize) {
    let mut probe = Probe::up(config);
    let parameters = hex(parameters);
    let len = u8::try_from(parameters.len()).unwrap();
    let mut cr = Vec::from([3, 0, 0, 11 + len, 6 + len, 0xE0, 0, 0, 0x12, 0x34, 0]);
    cr.extend_from_slice(&parameters);

    probe.feed_octets(&cr);

    let size = probe.connected().tpdu_size;
    let cc = probe.sent();
    (String::from(cc.get(11 * 3..).unwrap_or_default()), size)
}

/// Returns the size that an initiator takes from a CC with these parameters.
fn confirmed(config: Config, parameters: &str) -> Result<usize, EndReason> {
    let mut probe = Probe::up(config);
    let parameters = hex(parameters);
    let len = u8::try_from(parameters.len()).unwrap();
    let mut cc = Vec::from([3, 0, 0, 11 + len, 6 + len, 0xD0, 0, 1, 0x56, 0x78, 0]);
    cc.extend_from_slice(&parameters);

    probe.feed_octets(&cc);

    match probe.event() {
        Event::Connected(connected) => Ok(connected.tpdu_size),
        Event::Failed(end) => Err(end.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_smaller_of_both_sizes_is_confirmed() {
    for (own, proposed, confirmed, octets) in [
        (8192, "C0 01 07", "C0 01 07", 128),
        (8192, "C0 01 0B", "C0 01 0B", 2048),
        (8192, "C0 01 0D", "C0 01 0D", 8192),
        (1024, "C0 01 0D", "C0 01 0A", 1024),
        (128, "C0 01 0C", "C0 01 07", 128),
        (65_531, "C0 01 0E", "C0 01 0E", 16_384),
        (65_531, "C0 01 0F", "C0 01 0F", 32_768),
        (65_531, "C0 01 10", "C0 01 10", 65_531),
        (32_768, "C0 01 0E", "C0 01 0E", 16_384),
    ] {
        assert_eq!(
            answer(up_to(own), proposed),
            (String::from(confirmed), octets),
            "{proposed} to {own}"
        );
    }
}

#[test]
fn a_size_beyond_the_standard_that_is_too_large_is_answered_by_a_standard_size() {
    for (own, proposed) in [
        (8192, "C0 01 10"),
        (16_384, "C0 01 10"),
        (32_768, "C0 01 10"),
        (16_384, "C0 01 0F"),
    ] {
        assert_eq!(
            answer(up_to(own), proposed),
            (String::from("C0 01 0D"), 8192),
            "{proposed} to {own}"
        );
    }
}

#[test]
fn a_size_without_a_valid_value_counts_as_absent_unless_strict() {
    for (parameter, words) in [
        (
            "C0 01 00",
            "TPDU size at offset 9: value 0 (0x00) is not allowed",
        ),
        (
            "C0 01 01",
            "TPDU size at offset 9: value 1 (0x01) is not allowed",
        ),
        (
            "C0 01 06",
            "TPDU size at offset 9: value 6 (0x06) is not allowed",
        ),
        (
            "C0 01 11",
            "TPDU size at offset 9: value 17 (0x11) is not allowed",
        ),
        (
            "C0 01 A2",
            "TPDU size at offset 9: value 162 (0xa2) is not allowed",
        ),
        (
            "C0 01 FF",
            "TPDU size at offset 9: value 255 (0xff) is not allowed",
        ),
        (
            "C0 00",
            "TPDU size at offset 8: a length of 0 octets is not allowed",
        ),
        (
            "C0 02 04 00",
            "TPDU size at offset 8: a length of 2 octets is not allowed",
        ),
        (
            "F0 00",
            "preferred maximum TPDU size at offset 8: a length of 0 octets is not allowed",
        ),
        (
            "F0 05 00 00 00 00 10",
            "preferred maximum TPDU size at offset 8: a length of 5 octets is not allowed",
        ),
        (
            "F0 01 00",
            "preferred maximum TPDU size at offset 9: value 0 (0x00) is not allowed",
        ),
    ] {
        let parameters = hex(parameter);
        let len = u8::try_from(parameters.len()).unwrap();
        let mut packet = Vec::from([3, 0, 0, 11 + len, 6 + len, 0xE0, 0, 0, 0x12, 0x34, 0]);
        packet.extend_from_slice(&parameters);
        let mut lenient = Probe::up(up_to(1024));
        let mut strict = Probe::up(strictly(Strict::PARAMETERS, up_to(1024)));

        lenient.feed_octets(&packet);
        strict.feed_octets(&packet);

        assert_eq!(lenient.connected().tpdu_size, 1024, "{parameter}");
        assert_eq!(lenient.sent(), "03 00 00 0E 09 D0 12 34 00 01 00 C0 01 0A");
        assert_eq!(lenient.machine.stats().tolerated, 1);
        assert_eq!(
            strict.reason().to_string(),
            format!("malformed TPDU: {words}")
        );
        assert_eq!(strict.sent[5], 0x70, "an ER");
        let proposed = || proposing_size(2048, NonZeroU16::MIN.get().into());
        assert_eq!(confirmed(proposed(), parameter), Ok(2048), "{parameter}");
        assert!(matches!(
            confirmed(strictly(Strict::PARAMETERS, proposed()), parameter),
            Err(EndReason::Malformed(_))
        ));
    }
}

#[test]
fn no_size_on_either_side_is_65531_octets() {
    assert_eq!(answer(up_to(65_531), ""), (String::new(), 65_531));
    assert_eq!(confirmed(bare(), ""), Ok(65_531));
}

#[test]
fn a_size_that_was_not_proposed_is_confirmed_when_it_is_a_limit() {
    assert_eq!(answer(up_to(8192), ""), (String::from("C0 01 0D"), 8192));
    assert_eq!(answer(up_to(128), ""), (String::from("C0 01 07"), 128));
    assert_eq!(confirmed(bare(), "C0 01 0B"), Ok(2048));
    assert_eq!(confirmed(bare(), "C0 01 10"), Ok(65_531));
}

#[test]
fn a_preferred_size_is_answered_by_a_preferred_size_alone() {
    for (config, proposed, confirmed, octets) in [
        (up_to(8192), "F0 01 10", "F0 01 10", 2048),
        (up_to(8192), "C0 01 0D F0 01 10", "F0 01 10", 2048),
        (up_to(8192), "F0 01 10 C0 01 07", "F0 01 10", 2048),
        (up_to(8192), "F0 02 01 FF", "F0 01 40", 8192),
        (up_to(65_531), "F0 02 01 FF", "F0 02 01 FF", 65_408),
        (up_to(65_531), "F0 02 02 00", "F0 02 01 FF", 65_408),
        (up_to(65_531), "F0 04 FF FF FF FF", "F0 02 01 FF", 65_408),
        (up_to(65_531), "F0 03 00 00 01", "F0 01 01", 128),
        (up_to(128), "F0 01 10", "F0 01 01", 128),
    ] {
        assert_eq!(
            answer(config, proposed),
            (String::from(confirmed), octets),
            "{proposed}"
        );
    }
}

#[test]
fn a_responder_can_limit_the_preferred_size_by_itself() {
    let config = || Config {
        compat: Compat {
            preferred_size: NonZeroU16::new(20),
            ..up_to(8192).compat
        },
        ..up_to(8192)
    };

    assert_eq!(
        answer(config(), "F0 01 40"),
        (String::from("F0 01 14"), 2560)
    );
    assert_eq!(
        answer(config(), "C0 01 0D"),
        (String::from("C0 01 0D"), 8192)
    );
    assert_eq!(answer(config(), ""), (String::from("C0 01 0D"), 8192));
}

#[test]
fn a_preferred_size_is_proposed_beside_the_other_one() {
    let mut probe = Probe::up(proposing_size(2048, Some(16)));
    let mut large = Probe::up(proposing_size(8192, Some(511)));

    assert_eq!(
        probe.sent(),
        "03 00 00 11 0C E0 00 00 00 01 00 C0 01 0B F0 01 10"
    );
    assert_eq!(
        large.sent(),
        "03 00 00 12 0D E0 00 00 00 01 00 C0 01 0D F0 02 01 FF"
    );
}

#[test]
fn the_confirmed_size_follows_the_table() {
    for (config, parameters, octets) in [
        // 0xF0 in the CC counts in units of 128.
        (proposing_size(2048, Some(100)), "F0 01 10", 2048),
        (proposing_size(2048, Some(100)), "F0 01 64", 12_800),
        // 0xC0 in the CC: the peer does not know 0xF0.
        (proposing_size(2048, Some(100)), "C0 01 0A", 1024),
        (proposing_size(2048, None), "C0 01 0B", 2048),
        // Neither: the size that was proposed by 0xC0.
        (proposing_size(2048, Some(100)), "", 2048),
        (proposing_size(2048, None), "", 2048),
        // 16 is 65,531.
        (bare(), "C0 01 10", 65_531),
    ] {
        assert_eq!(confirmed(config, parameters), Ok(octets), "{parameters}");
    }
}

#[test]
fn a_preferred_size_that_was_not_proposed_counts_up_to_the_proposal() {
    let large = || proposing_size(2048, None);

    assert_eq!(confirmed(large(), "F0 01 04"), Ok(512));
    assert_eq!(confirmed(large(), "F0 01 20"), Ok(2048));
    assert_eq!(
        confirmed(strictly(Strict::CONFIRM_SIZE, large()), "F0 01 20"),
        Err(EndReason::ProtocolError(ProtocolError::Size {
            found: 4096,
            proposed: 2048
        }))
    );
}

#[test]
fn a_size_above_the_proposal_is_clamped_unless_strict() {
    for (config, parameters, found, proposed) in [
        (proposing_size(2048, None), "C0 01 0D", 8192, 2048),
        (proposing_size(2048, None), "C0 01 10", 65_531, 2048),
        (proposing_size(2048, Some(4)), "F0 01 05", 640, 512),
    ] {
        let strict = strictly(Strict::CONFIRM_SIZE, config.clone());

        assert_eq!(confirmed(config, parameters), Ok(proposed));
        assert_eq!(
            confirmed(strict, parameters),
            Err(EndReason::ProtocolError(ProtocolError::Size {
                found,
                proposed
            }))
        );
    }
}

/// What a responder with the size of RFC 1006, and one with that of ISO 8073, can both receive.
#[test]
fn a_size_absent_from_the_confirm_is_the_one_proposed() {
    assert_eq!(confirmed(proposing_size(2048, None), ""), Ok(2048));
    assert_eq!(confirmed(proposing_size(128, None), ""), Ok(128));
}

#[test]
fn the_size_is_by_default_the_largest_of_class_0() {
    let mut initiator = Probe::up(Config {
        compat: Compat {
            reference: Some(1),
            ..Compat::default()
        },
        ..Config::initiator(None, None)
    });

    assert_eq!(
        initiator.sent(),
        "03 00 00 0E 09 E0 00 00 00 01 00 C0 01 0B"
    );
    for parameter in ["C0 01 0D", "C0 01 10", ""] {
        let responder = Config {
            compat: Compat {
                reference: Some(1),
                ..Compat::default()
            },
            ..Config::responder(Policy::AcceptAny)
        };
        assert_eq!(answer(responder, parameter), ("C0 01 0B".into(), 2048));
    }
}

#[test]
fn sizes_of_a_raw_request_are_unknown_so_what_is_confirmed_counts() {
    let raw = || {
        proposing(Proposal {
            variable: Some(hex("F0 01 64").into()),
            ..Proposal::default()
        })
    };

    assert_eq!(confirmed(raw(), "F0 01 64"), Ok(12_800));
    assert_eq!(confirmed(raw(), "C0 01 0F"), Ok(32_768));
    assert_eq!(confirmed(raw(), ""), Ok(65_531));
}

#[test]
fn both_ends_send_no_larger_than_negotiated() {
    for (own, theirs) in [(128, 65_531), (8192, 128), (256, 256)] {
        let mut pair = Pair::open(proposing_size(own, None), up_to(theirs));
        let least = own.min(theirs);
        let message = vec![7; 1000];

        pair.initiator.send(&message).unwrap();
        pair.responder.send(&message).unwrap();

        for probe in [&mut pair.initiator, &mut pair.responder] {
            let mut rest = probe.sent.as_slice();
            while let [3, 0, high, low, ..] = *rest {
                let (packet, behind) = rest.split_at(u16::from_be_bytes([high, low]).into());
                assert!(packet.len() <= 4 + least);
                rest = behind;
            }
            assert!(rest.is_empty());
        }
        pair.pump();
        assert_eq!(pair.initiator.events(), [received(&message)]);
        assert_eq!(pair.responder.events(), [received(&message)]);
    }
}

#[test]
fn a_data_tpdu_larger_than_negotiated_is_tolerated_unless_strict() {
    let limits = |strict| strictly(strict, up_to(128));
    let mut packet = hex("03 00 00 85 02 F0 80");
    packet.resize(0x85, 7);
    let mut lenient = Probe::responder(limits(Strict::default()));
    let mut strict = Probe::responder(limits(Strict::DATA_SIZE));

    lenient.feed_octets(&packet);
    strict.feed_octets(&packet);

    assert_eq!(lenient.events(), [received(&[7; 126])]);
    assert_eq!(lenient.machine.stats().tolerated, 1);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::DataSize {
            len: 129,
            limit: 128
        })
    );
}

#[test]
fn a_data_tpdu_of_the_negotiated_size_breaks_no_rule() {
    let mut packet = hex("03 00 00 84 02 F0 80");
    packet.resize(0x84, 7);
    let mut probe = Probe::responder(strictly(Strict::all(), up_to(128)));

    probe.feed_octets(&packet);

    assert_eq!(probe.events(), [received(&[7; 125])]);
}
