//! The CR as an initiator sends it and as a responder handles it.

use bytes::Bytes;
use farlink::{Ask, Instant, Limits, Link, Machine as _, Output, Seed, Transmit};

use crate::cotp_probe::*;

#[test]
fn a_bare_request_has_its_reference_and_class_0_alone() {
    let mut probe = Probe::up(bare());

    assert_eq!(probe.sent(), "03 00 00 0B 06 E0 00 00 00 01 00");
    assert_eq!(probe.events(), []);
}

#[test]
fn a_request_has_selectors_before_the_size() {
    let mut probe = Probe::up(Config {
        tpdu_size: TpduSize::from_octets(1024).unwrap(),
        ..Config::initiator(selector(&[1, 0]), selector(&[1, 2]))
    });

    assert_eq!(
        probe.sent(),
        "03 00 00 16 11 E0 00 00 00 01 00 C1 02 01 00 C2 02 01 02 C0 01 0A"
    );
}

#[test]
fn parameter_order_can_be_set() {
    use Parameter::{Called, Calling, TpduSize as Size};

    let mut probe = Probe::up(Config {
        compat: Compat {
            order: ParameterOrder([Size, Called, Calling]),
            ..Compat::default()
        },
        ..Config::initiator(selector(&[0, 1]), selector(&[0, 2]))
    });
    let mut responder = Probe::up(Config {
        compat: Compat {
            order: ParameterOrder([Size, Called, Calling]),
            ..anybody().compat
        },
        ..anybody()
    });

    assert_eq!(
        probe.sent(),
        "03 00 00 16 11 E0 00 00 00 01 00 C0 01 0B C2 02 00 02 C1 02 00 01"
    );
    responder.feed("03 00 00 16 11 E0 00 00 00 01 00 C1 02 01 00 C2 02 01 02 C0 01 0A");
    assert_eq!(
        responder.sent(),
        "03 00 00 16 11 D0 00 01 00 01 00 C0 01 0A C2 02 01 02 C1 02 01 00"
    );
}

#[test]
fn a_reference_that_is_not_configured_is_drawn_from_the_seed_and_never_0() {
    let mut references: Vec<u16> = (0..500)
        .map(|seed| {
            let mut machine = Connection::new(bare(), &Seed::from(seed)).unwrap();
            let mut tx = Transmit::new(Limits::default());
            machine.link(Instant::ZERO, (), Link::Up);
            assert_eq!(machine.poll(Instant::ZERO, &mut tx), Output::Transmit);
            u16::from_be_bytes([tx.octets()[8], tx.octets()[9]])
        })
        .collect();

    assert!(!references.contains(&0));
    references.sort_unstable();
    references.dedup();
    assert!(references.len() > 490, "{} differ", references.len());
}

#[test]
fn further_parameters_follow_the_known_ones() {
    let mut probe = Probe::up(Config {
        tpdu_size: TpduSize::from_octets(1024).unwrap(),
        ..proposing(Proposal {
            called: selector(&[1, 2]),
            extra: Bytes::from_static(&[0xC6, 2, 0, 7, 0xC7, 2, 0, 9]),
            ..Proposal::default()
        })
    });

    assert_eq!(
        probe.sent(),
        "03 00 00 1A 15 E0 00 00 00 01 00 C2 02 01 02 C0 01 0A C6 02 00 07 C7 02 00 09"
    );
}

#[test]
fn user_data_follow_the_header() {
    let mut probe = Probe::up(Config {
        tpdu_size: TpduSize::LARGEST,
        ..proposing(Proposal {
            user_data: Bytes::from_static(b"hi"),
            ..Proposal::default()
        })
    });

    assert_eq!(probe.sent(), "03 00 00 0D 06 E0 00 00 00 01 00 68 69");
}

#[test]
fn a_raw_variable_part_replaces_all_parameters() {
    let mut probe = Probe::up(Config {
        compat: Compat {
            expedited: true,
            ..proposing(Proposal {
                called: selector(&[1, 2]),
                extra: Bytes::from_static(&[0xC6, 2, 0, 7]),
                variable: Some(Bytes::from_static(b"Cookie: arn")),
                ..Proposal::default()
            })
            .compat
        },
        ..proposing(Proposal {
            called: selector(&[1, 2]),
            extra: Bytes::from_static(&[0xC6, 2, 0, 7]),
            variable: Some(Bytes::from_static(b"Cookie: a\r\n")),
            ..Proposal::default()
        })
    });

    assert_eq!(
        probe.sent(),
        "03 00 00 16 11 E0 00 00 00 01 00 43 6F 6F 6B 69 65 3A 20 61 0D 0A"
    );
}

#[test]
fn an_indication_has_the_content_of_the_request() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 18 11 E0 00 00 12 34 00 C1 02 01 00 C2 02 01 02 C0 01 0A 68 69");

    assert_eq!(
        probe.indication(),
        Indication {
            calling: selector(&[1, 0]),
            called: selector(&[1, 2]),
            tpdu_size: 1024,
            class: 0,
            reference: 0x1234,
            variable: hex("C1 02 01 00 C2 02 01 02 C0 01 0A").into(),
            user_data: Bytes::from_static(b"hi"),
        }
    );
    assert_eq!(probe.sent(), "", "the application decides");
}

#[test]
fn the_parameters_of_a_request_come_in_any_order() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 16 11 E0 00 00 00 01 00 C0 01 0D C2 02 00 01 C1 02 00 02");

    let indication = probe.indication();
    assert_eq!(indication.calling, selector(&[0, 2]));
    assert_eq!(indication.called, selector(&[0, 1]));
    assert_eq!(indication.tpdu_size, 2048);
}

#[test]
fn of_a_repeated_parameter_the_last_one_counts() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 13 0E E0 00 00 00 01 00 C2 02 00 01 C2 02 00 02");

    assert_eq!(probe.indication().called, selector(&[0, 2]));
    assert_eq!(probe.machine.stats().tolerated, 1);
}

#[test]
fn a_repeated_parameter_can_be_refused() {
    let mut probe = Probe::up(strictly(Strict::REPEATED, asking()));

    probe.feed("03 00 00 13 0E E0 00 00 12 34 00 C2 02 00 01 C2 02 00 02");

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::Repeated)
    );
    assert_eq!(
        probe.sent(),
        "03 00 00 1A 15 70 12 34 03 C1 0F 0E E0 00 00 12 34 00 C2 02 00 01 C2 02 00 02"
    );
}

#[test]
fn an_unknown_parameter_in_a_request_is_tolerated() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 17 12 E0 00 00 00 01 00 85 02 00 0A C2 02 00 01 89 00 FF 00");

    assert_eq!(probe.indication().called, selector(&[0, 1]));
    assert_eq!(
        probe.machine.stats().tolerated,
        0,
        "that is the rule, not a favour"
    );
}

#[test]
fn a_parameter_that_overruns_the_header_is_refused() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 0F 0A E0 00 00 12 34 00 C1 0A 00 01");

    assert_eq!(
        probe.reason().to_string(),
        "malformed TPDU: parameter length at offset 8: needs 10 octets, 2 left"
    );
    assert_eq!(
        probe.sent(),
        "03 00 00 14 0F 70 12 34 03 C1 09 0A E0 00 00 12 34 00 C1 0A",
        "an ER with the request up to the fault"
    );
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn octets_behind_the_length_indicator_are_user_data() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 12 06 E0 00 00 00 01 00 C1 02 01 00 C0 01 0A");

    let indication = probe.indication();
    assert_eq!(indication.calling, None);
    assert_eq!(indication.user_data, hex("C1 02 01 00 C0 01 0A"));
}

#[test]
fn user_data_of_any_length_are_reported() {
    let mut probe = Probe::up(asking());
    let mut cr = hex("03 00 01 0B 06 E0 00 00 00 01 00");
    cr.resize(0x10B, 7);

    probe.feed_octets(&cr);

    assert_eq!(probe.indication().user_data.len(), 256);
}

#[test]
fn a_request_of_more_than_128_octets_is_accepted() {
    let mut probe = Probe::up(asking());
    let mut cr = hex("03 00 01 03 FE E0 00 00 00 01 00 C2 F6");
    cr.resize(0x103, 7);

    probe.feed_octets(&cr);

    assert_eq!(probe.indication().called, selector(&[7; 246]));
}

#[test]
fn rdp_cookie_is_carried_raw() {
    let mut probe = Probe::up(asking());
    let request = "03 00 00 2A 25 E0 00 00 00 00 00 \
        43 6F 6F 6B 69 65 3A 20 6D 73 74 73 68 61 73 68 3D 75 73 65 72 0D 0A \
        01 00 08 00 03 00 00 00";

    probe.feed(request);

    let indication = probe.indication();
    assert_eq!(
        indication.variable,
        b"Cookie: mstshash=user\r\n\x01\0\x08\0\x03\0\0\0".as_slice()
    );
    assert_eq!((indication.calling, indication.called), (None, None));
    probe
        .run(Command::Accept(Acceptance {
            variable: Some(hex("02 1F 08 00 02 00 00 00").into()),
            user_data: Bytes::new(),
        }))
        .unwrap();
    assert_eq!(
        probe.sent(),
        "03 00 00 13 0E D0 00 00 00 01 00 02 1F 08 00 02 00 00 00"
    );
}

#[test]
fn a_cookie_gets_no_parameters_back() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 15 10 E0 00 00 00 00 00 43 6F 6F 6B 69 65 3A 20 0D 0A");

    assert_eq!(probe.sent(), "03 00 00 0B 06 D0 00 00 00 01 00");
    assert_eq!(probe.connected().variable, b"Cookie: \r\n".as_slice());
}

#[test]
fn a_variable_part_that_is_no_list_is_never_decoded() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 13 0E E0 00 00 00 00 00 01 08 08 00 03 00 00 00");

    let indication = probe.indication();
    assert_eq!(indication.variable, hex("01 08 08 00 03 00 00 00"));
    probe.run(Command::Accept(Acceptance::default())).unwrap();
    assert_eq!(probe.sent(), "03 00 00 0B 06 D0 00 00 00 01 00");
}

#[test]
fn source_reference_0_is_accepted_and_echoed() {
    let mut probe = Probe::up(Config {
        tpdu_size: TpduSize::LARGEST,
        ..anybody()
    });

    probe.feed("03 00 00 0B 06 E0 00 00 00 00 00");

    assert_eq!(probe.sent(), "03 00 00 0B 06 D0 00 00 00 01 00");
    assert_eq!(probe.connected().reference, 0);
}

#[test]
fn a_destination_reference_in_a_request_is_tolerated_unless_strict() {
    let cr = "03 00 00 0B 06 E0 00 05 12 34 00";
    let mut lenient = Probe::up(anybody());
    let mut strict = Probe::up(strictly(Strict::REQUEST_REFERENCE, anybody()));

    lenient.feed(cr);
    strict.feed(cr);

    lenient.connected();
    assert_eq!(lenient.machine.stats().tolerated, 1);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::RequestReference(5))
    );
    assert_eq!(
        strict.sent(),
        "03 00 00 0F 0A 70 12 34 03 C1 04 06 E0 00 05"
    );
}

#[test]
fn credit_in_a_request_is_tolerated_unless_strict() {
    let cr = "03 00 00 0B 06 E1 00 00 12 34 00";
    let mut lenient = Probe::up(anybody());
    let mut strict = Probe::up(strictly(Strict::CREDIT, anybody()));

    lenient.feed(cr);
    strict.feed(cr);

    lenient.connected();
    assert_eq!(lenient.machine.stats().tolerated, 1);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::Credit(1))
    );
    assert_eq!(strict.sent(), "03 00 00 0D 08 70 12 34 03 C1 02 06 E1");
}

#[test]
fn option_bits_beside_class_0_are_tolerated() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 0B 06 E0 00 00 12 34 03");

    assert_eq!(probe.indication().class, 0);
}

/// Returns the refusal of a CR of this class with these alternatives, or `None` for a CC of class 0.
fn refusal_of(class: u8, alternatives: Option<&[u8]>) -> Option<EndReason> {
    let mut probe = Probe::up(anybody());
    let mut cr = hex("03 00 00 0B 06 E0 00 00 12 34");
    cr.push(class);
    if let Some(classes) = alternatives {
        let len = u8::try_from(classes.len()).unwrap();
        cr[3] += 2 + len;
        cr[4] += 2 + len;
        cr.extend_from_slice(&[0xC7, len]);
        cr.extend_from_slice(classes);
    }

    probe.feed_octets(&cr);

    match probe.event() {
        Event::Connected(_) => {
            assert_eq!(probe.sent(), "03 00 00 0E 09 D0 12 34 00 01 00 C0 01 0B");
            None
        }
        Event::Failed(end) => {
            assert_eq!(probe.sent(), "03 00 00 0B 06 80 12 34 00 00 82", "DR 130");
            Some(end.reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn class_0_is_chosen_where_table_3_allows_it() {
    for (class, alternatives) in [
        (0x00, None),
        (0x00, Some(&[0x40][..])),
        (0x10, None),
        (0x10, Some(&[0x00])),
        (0x10, Some(&[0x20])),
        (0x20, Some(&[0x00])),
        (0x20, Some(&[0x10, 0x00])),
        (0x30, Some(&[0x00])),
        (0x30, Some(&[0x10])),
        (0x30, Some(&[0x20, 0x10])),
        (0x40, Some(&[0x00])),
        (0x40, Some(&[0x10])),
        (0x40, Some(&[0x30, 0x20, 0x00])),
        (0x21, Some(&[0x00])),
    ] {
        assert_eq!(
            refusal_of(class, alternatives),
            None,
            "{class} {alternatives:?}"
        );
    }
}

#[test]
fn a_class_without_class_0_as_alternative_is_refused_by_dr_130() {
    for (class, alternatives) in [
        (0x20, None),
        (0x30, None),
        (0x40, None),
        (0x20, Some(&[][..])),
        (0x20, Some(&[0x10])),
        (0x20, Some(&[0x30, 0x40])),
        (0x30, Some(&[0x20])),
        (0x30, Some(&[0x40])),
        (0x40, Some(&[0x20, 0x30])),
    ] {
        assert_eq!(
            refusal_of(class, alternatives),
            Some(EndReason::ProtocolError(ProtocolError::Class(class >> 4))),
            "{class} {alternatives:?}"
        );
    }
}

#[test]
fn a_class_over_4_is_an_invalid_request() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 0B 06 E0 00 00 12 34 50");

    assert_eq!(
        probe.reason().to_string(),
        "malformed TPDU: class at offset 6: value 80 (0x50) is not allowed"
    );
    assert_eq!(
        probe.sent(),
        "03 00 00 12 0D 70 12 34 03 C1 07 06 E0 00 00 12 34 50"
    );
}

#[test]
fn an_indication_names_the_class_that_was_preferred() {
    let mut probe = Probe::up(asking());

    probe.feed("03 00 00 0E 09 E0 00 00 12 34 40 C7 01 00");

    assert_eq!(probe.indication().class, 4);
}

#[test]
fn an_invalid_request_gets_no_answer_when_silence_is_configured() {
    let mut probe = Probe::up(Config {
        compat: Compat {
            send_disconnect: SendDisconnect::empty(),
            ..anybody().compat
        },
        ..anybody()
    });

    probe.feed("03 00 00 0E 09 E0 00 00 12 34 00 C1 02 06");

    assert_eq!(probe.sent(), "");
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn a_request_too_short_for_its_reference_gets_no_answer() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 09 04 E0 00 00 12");

    assert!(matches!(probe.reason(), EndReason::Malformed(_)));
    assert_eq!(probe.sent(), "");
}

#[test]
fn a_request_without_its_class_is_reported_to_its_reference() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 0A 05 E0 00 00 12 34");

    assert_eq!(
        probe.reason().to_string(),
        "malformed TPDU: length indicator at offset 0: value 5 (0x05) is not allowed"
    );
    assert_eq!(probe.sent(), "03 00 00 0C 07 70 12 34 03 C1 01 05");
}

#[test]
fn a_length_indicator_beyond_the_request_is_reported() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 0B 07 E0 00 00 12 34 00");

    assert_eq!(
        probe.reason().to_string(),
        "malformed TPDU: length indicator at offset 0: needs 7 octets, 6 left"
    );
    assert_eq!(probe.sent(), "03 00 00 0C 07 70 12 34 03 C1 01 07");
}

#[test]
fn a_confirm_echoes_both_selectors() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 16 11 E0 00 00 00 01 00 C1 02 01 00 C2 02 01 02 C0 01 0A");

    assert_eq!(
        probe.sent(),
        "03 00 00 16 11 D0 00 01 00 01 00 C1 02 01 00 C2 02 01 02 C0 01 0A",
        "calling stays calling; clients of the snap7 family want these 22 octets"
    );
    let connected = probe.connected();
    assert_eq!(connected.calling, selector(&[1, 0]));
    assert_eq!(connected.called, selector(&[1, 2]));
}

#[test]
fn selectors_of_any_width_are_echoed_octet_by_octet() {
    for called in [&[][..], &[1], &[0, 0, 0, 1], b"SIMATIC-ROOT-HMI", &[7; 64]] {
        let mut probe = Probe::up(anybody());
        let len = u8::try_from(called.len()).unwrap();
        let mut cr = hex("03 00 00 0E 09 E0 00 00 00 01 00 C0 01 0D C2");
        cr[3] += 2 + len;
        cr[4] += 2 + len;
        cr.push(len);
        cr.extend_from_slice(called);
        let mut cc = hex("03 00 00 0E 09 D0 00 01 00 01 00 C2");
        cc[3] += 2 + len;
        cc[4] += 2 + len;
        cc.push(len);
        cc.extend_from_slice(called);
        cc.extend_from_slice(&[0xC0, 1, 0x0B]);

        probe.feed_octets(&cr);

        assert_eq!(probe.sent, cc);
        assert_eq!(probe.connected().called, selector(called));
    }
}

#[test]
fn absent_selectors_stay_absent_and_an_empty_one_stays_empty() {
    let mut probe = Probe::up(anybody());

    probe.feed("03 00 00 0D 08 E0 00 00 00 01 00 C1 00");

    assert_eq!(
        probe.sent(),
        "03 00 00 10 0B D0 00 01 00 01 00 C1 00 C0 01 0B"
    );
    let connected = probe.connected();
    assert_eq!(connected.calling, selector(&[]));
    assert_eq!(connected.called, None);
}

#[test]
fn selectors_too_long_for_the_confirm_are_not_echoed() {
    let mut probe = Probe::up(anybody());
    let mut cr = hex("03 00 01 03 FE E0 00 00 12 34 00 C2 F6");
    cr.resize(0x103, 7);

    probe.feed_octets(&cr);

    assert_eq!(probe.connected().called, selector(&[7; 246]));
    assert_eq!(
        probe.sent(),
        "03 00 00 0E 09 D0 12 34 00 01 00 C0 01 0B",
        "the size goes first, the echo is a courtesy (ISO 8073 13.3.4 a)"
    );
}

#[test]
fn an_unknown_selector_is_refused_as_unknown() {
    let mut probe = Probe::up(Config::responder(Policy::Selectors(Vec::from([
        Selector::from(1),
        Selector::from(2),
    ]))));

    probe.feed("03 00 00 0F 0A E0 00 00 12 34 00 C2 02 00 03");

    assert_eq!(
        probe.events(),
        [failed(EndReason::Declined(
            DisconnectReason::ADDRESS_UNKNOWN
        ))]
    );
    assert_eq!(probe.sent(), "03 00 00 0B 06 80 12 34 00 00 03");
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn selectors_match_octet_by_octet() {
    let policy = || {
        Config::responder(Policy::Selectors(Vec::from([
            Selector::from(1),
            Selector::new("SIMATIC-ROOT-HMI"),
        ])))
    };
    for (called, is_accepted) in [
        ("C2 02 00 01", true),
        ("C2 01 01 00", false),
        ("C2 00 85 00", false),
        ("85 00 85 00", false),
    ] {
        let mut probe = Probe::up(policy());

        probe.feed(&["03 00 00 0F 0A E0 00 00 12 34 00", called].join(" "));

        let event = probe.event();
        assert_eq!(
            matches!(event, Event::Connected(_)),
            is_accepted,
            "{called}: {event:?}"
        );
    }
}

#[test]
fn an_absent_selector_matches_an_empty_one() {
    for cr in [BARE_CR, "03 00 00 0D 08 E0 00 00 12 34 00 C2 00"] {
        let mut probe = Probe::up(Config::responder(Policy::Selectors(Vec::from([
            Selector::default(),
        ]))));

        probe.feed(cr);

        probe.connected();
    }
}

#[test]
fn the_application_accepts_with_its_own_variable_part_and_user_data() {
    let mut probe = Probe::up(asking());
    probe.feed(BARE_CR);
    probe.indication();

    probe
        .run(Command::Accept(Acceptance {
            variable: Some(hex("C2 01 07").into()),
            user_data: Bytes::from_static(b"hi"),
        }))
        .unwrap();

    assert_eq!(
        probe.sent(),
        "03 00 00 10 09 D0 12 34 00 01 00 C2 01 07 68 69"
    );
    probe.connected();
}

#[test]
fn the_application_refuses_with_reason_and_information() {
    let mut probe = Probe::up(asking());
    probe.feed(BARE_CR);
    probe.indication();

    probe
        .run(Command::Refuse(Refusal {
            reason: DisconnectReason::CONGESTION,
            information: Bytes::from_static(b"busy"),
        }))
        .unwrap();

    assert_eq!(
        probe.sent(),
        "03 00 00 11 0C 80 12 34 00 00 01 E0 04 62 75 73 79"
    );
    assert_eq!(
        probe.events(),
        [failed(EndReason::Declined(DisconnectReason::CONGESTION))]
    );
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn information_that_exceeds_119_octets_is_refused_and_the_request_still_waits() {
    let mut probe = Probe::up(asking());
    probe.feed(BARE_CR);
    probe.indication();
    let refuse = |len| {
        Command::Refuse(Refusal {
            reason: DisconnectReason::NOT_SPECIFIED,
            information: vec![7; len].into(),
        })
    };

    assert_eq!(
        probe.run(refuse(120)),
        Err(Error::Information {
            len: 120,
            limit: 119
        })
    );
    probe.run(refuse(119)).unwrap();

    assert_eq!(probe.sent.len(), 4 + 128);
}

#[test]
fn an_acceptance_that_fits_no_confirm_is_refused_and_the_request_still_waits() {
    let mut probe = Probe::up(asking());
    probe.feed(BARE_CR);
    probe.indication();
    let accept = |variable: usize, user_data: usize| {
        Command::Accept(Acceptance {
            variable: Some(vec![0xC1; variable].into()),
            user_data: vec![7; user_data].into(),
        })
    };

    assert_eq!(
        probe.run(accept(249, 0)),
        Err(Error::Acceptance(ConfigError::Variable {
            len: 249,
            limit: 248
        }))
    );
    assert_eq!(
        probe.run(accept(248, 33)),
        Err(Error::Acceptance(ConfigError::UserData {
            len: 33,
            limit: 32
        }))
    );
    probe.run(accept(248, 32)).unwrap();

    assert_eq!(probe.sent.len(), 4 + 7 + 248 + 32);
    probe.connected();
}
