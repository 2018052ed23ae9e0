//! Expedited data (RFC 1006 section 5 and 6).

use bytes::Bytes;
use farlink::{Limits, Link, Output};

use crate::cotp_probe::*;

fn expediting() -> Config {
    Config {
        compat: Compat {
            expedited: true,
            ..anybody().compat
        },
        ..anybody()
    }
}

/// A responder that agreed to expedited data.
fn agreed(config: Config) -> Probe {
    let mut probe = Probe::up(config);
    probe.feed("03 00 00 0E 09 E0 00 00 12 34 00 C6 01 01");
    assert!(probe.connected().expedited);
    probe.sent.clear();
    probe
}

fn urgent(probe: &mut Probe, message: &[u8]) -> Result<(), Error> {
    probe.run(Command::SendExpedited(Bytes::copy_from_slice(message)))
}

#[test]
fn expedited_data_are_agreed_on_only_when_both_ends_offer_them() {
    for (is_willing, parameters, answer, is_agreed) in [
        (true, "C6 01 01", " C6 01 01", true),
        (true, "C6 01 00", " C6 01 00", false),
        (true, "C6 01 02", " C6 01 00", false),
        (true, "85 01 01", "", false),
        (false, "C6 01 01", "", false),
    ] {
        let mut probe = Probe::up(Config {
            tpdu_size: TpduSize::LARGEST,
            compat: Compat {
                expedited: is_willing,
                ..anybody().compat
            },
            ..anybody()
        });

        probe.feed(&["03 00 00 0E 09 E0 00 00 12 34 00", parameters].join(" "));

        assert_eq!(probe.connected().expedited, is_agreed, "{parameters}");
        let sent = probe.sent();
        assert_eq!(
            sent.get("03 00 00 0B 06 D0 12 34 00 01 00".len()..),
            Some(answer)
        );
    }
}

#[test]
fn options_of_another_length_are_ignored() {
    let mut probe = Probe::up(Config {
        tpdu_size: TpduSize::LARGEST,
        ..expediting()
    });

    probe.feed("03 00 00 0F 0A E0 00 00 12 34 00 C6 02 01 01");

    assert!(!probe.connected().expedited);
    assert_eq!(probe.sent(), "03 00 00 0B 06 D0 12 34 00 01 00");
}

#[test]
fn an_initiator_proposes_expedited_data_behind_all_other_parameters() {
    let config = || Config {
        compat: Compat {
            expedited: true,
            ..bare().compat
        },
        ..bare()
    };
    let mut agreed = Probe::up(config());
    let mut refused = Probe::up(config());

    assert_eq!(agreed.sent(), "03 00 00 0E 09 E0 00 00 00 01 00 C6 01 01");
    agreed.feed("03 00 00 0E 09 D0 00 01 56 78 00 C6 01 01");
    refused.feed(BARE_CC);

    assert!(agreed.connected().expedited);
    assert!(!refused.connected().expedited);
}

#[test]
fn an_option_that_was_not_proposed_agrees_to_nothing() {
    let mut probe = Probe::up(bare());

    probe.feed("03 00 00 0E 09 D0 00 01 56 78 00 C6 01 01");

    assert!(!probe.connected().expedited);
}

#[test]
fn an_expedited_message_goes_in_an_ed() {
    let mut probe = agreed(expediting());

    urgent(&mut probe, b"A").unwrap();

    assert_eq!(probe.sent(), "03 00 00 08 02 10 80 41");
}

#[test]
fn an_expedited_message_overtakes_queued_messages_between_packets() {
    let mut probe = Probe::with_limits(
        Config {
            tpdu_size: TpduSize::SMALLEST,
            ..expediting()
        },
        Limits::stream(140),
    );
    probe.link(Link::Up);
    probe.feed("03 00 00 0E 09 E0 00 00 12 34 00 C6 01 01");
    probe.connected();
    probe
        .run_undrained(Command::Send(vec![7; 250].into()))
        .unwrap();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"z")))
        .unwrap();
    assert_eq!(probe.poll(), Output::Transmit);
    assert_eq!(
        probe.tx.octets().len(),
        140,
        "the first packet and 8 octets of the second"
    );

    urgent(&mut probe, b"A").unwrap();

    let mut expected = vec![7; 124];
    expected.extend_from_slice(&hex("03 00 00 08 02 10 80 41"));
    expected.extend_from_slice(&hex("03 00 00 08 02 F0 80 7A"));
    assert_eq!(probe.sent[probe.sent.len() - expected.len()..], expected);
}

#[test]
fn an_ed_may_arrive_between_the_segments_of_a_message() {
    let mut probe = agreed(expediting());

    probe.feed("03 00 00 08 02 F0 00 61 03 00 00 08 02 10 80 41 03 00 00 08 02 F0 80 62");

    assert_eq!(
        probe.events(),
        [Event::Expedited(Bytes::from_static(b"A")), received(b"ab")]
    );
}

#[test]
fn an_expedited_message_has_1_to_16_octets() {
    let mut probe = agreed(expediting());

    assert_eq!(
        urgent(&mut probe, b""),
        Err(Error::Expedited { len: 0, limit: 16 })
    );
    assert_eq!(
        urgent(&mut probe, &[7; 17]),
        Err(Error::Expedited { len: 17, limit: 16 })
    );
    urgent(&mut probe, &[7; 16]).unwrap();
    assert_eq!(probe.sent.len(), 4 + 3 + 16);

    probe.feed("03 00 00 17 02 10 80 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F");
    assert!(matches!(probe.event(), Event::Expedited(message) if message.len() == 16));
    probe.feed("03 00 00 18 02 10 80 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F 10");
    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::Expedited(17))
    );
}

#[test]
fn an_empty_ed_is_an_error() {
    let mut probe = agreed(expediting());

    probe.feed("03 00 00 07 02 10 80");

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::Expedited(0))
    );
}

#[test]
fn an_ed_without_end_of_message_is_an_error() {
    let mut probe = agreed(expediting());

    probe.feed("03 00 00 08 02 10 00 41");

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::ExpeditedSegment)
    );
}

#[test]
fn credit_and_number_of_an_ed_are_ignored_unless_strict() {
    let mut lenient = agreed(expediting());
    let mut number = agreed(strictly(Strict::TPDU_NUMBER, expediting()));
    let mut credit = agreed(strictly(Strict::CREDIT, expediting()));

    lenient.feed("03 00 00 08 02 1F FF 41");
    number.feed("03 00 00 08 02 1F FF 41");
    credit.feed("03 00 00 08 02 1F FF 41");

    assert_eq!(
        lenient.events(),
        [Event::Expedited(Bytes::from_static(b"A"))]
    );
    assert_eq!(lenient.machine.stats().tolerated, 2);
    assert_eq!(
        number.reason(),
        EndReason::ProtocolError(ProtocolError::TpduNumber(127))
    );
    assert_eq!(
        credit.reason(),
        EndReason::ProtocolError(ProtocolError::Credit(15))
    );
}

#[test]
fn without_agreement_expedited_data_are_neither_sent_nor_received() {
    let mut probe = Probe::responder(expediting());

    assert_eq!(urgent(&mut probe, b"A"), Err(Error::NotAgreed));
    probe.feed("03 00 00 08 02 10 80 41");

    assert_eq!(
        probe.reason(),
        EndReason::Unexpected {
            tpdu: "ED",
            awaited: "DT"
        }
    );
}

#[test]
fn an_ed_of_another_class_is_refused_even_after_agreement() {
    let mut probe = agreed(expediting());

    probe.feed("03 00 00 0A 04 10 00 01 80 41");

    assert_eq!(
        probe.reason(),
        EndReason::Unexpected {
            tpdu: "ED",
            awaited: "DT"
        }
    );
}
