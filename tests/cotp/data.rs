//! Messages: segmentation, reassembly and their limits.

use farlink::{Ask, Limits, Link};

use crate::cotp_probe::*;

fn of_128() -> Config {
    Config {
        tpdu_size: TpduSize::SMALLEST,
        ..anybody()
    }
}

#[test]
fn a_message_that_fits_goes_in_one_tpdu() {
    let mut probe = Probe::responder(anybody());

    probe.send(b"abc").unwrap();

    assert_eq!(probe.sent(), ABC);
}

#[test]
fn a_long_message_is_segmented_at_the_negotiated_size() {
    let mut probe = Probe::responder(of_128());

    probe.send(&[7; 126]).unwrap();

    let mut expected = hex("03 00 00 84 02 F0 00");
    expected.extend_from_slice(&[7; 125]);
    expected.extend_from_slice(&hex("03 00 00 08 02 F0 80 07"));
    assert_eq!(probe.sent, expected);
}

#[test]
fn an_exact_multiple_ends_with_its_last_full_segment() {
    let mut probe = Probe::responder(of_128());

    probe.send(&[7; 250]).unwrap();

    assert_eq!(probe.sent.len(), 2 * 132);
    assert_eq!(probe.sent[..7], hex("03 00 00 84 02 F0 00"));
    assert_eq!(probe.sent[132..139], hex("03 00 00 84 02 F0 80"));
}

#[test]
fn the_largest_packet_carries_65528_octets_of_user_data() {
    let largest = || Config {
        tpdu_size: TpduSize::LARGEST,
        ..anybody()
    };
    let mut sender = Probe::responder(largest());
    let mut receiver = Probe::responder(largest());

    let message = vec![7; 65_528];
    sender.send(&message).unwrap();

    assert_eq!(sender.sent.len(), 65_535);
    assert_eq!(sender.sent[..7], hex("03 00 FF FF 02 F0 80"));
    receiver.feed_octets(&sender.sent);
    assert_eq!(receiver.events(), [received(&message)]);
}

#[test]
fn segments_are_reassembled_and_reported_once() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 09 02 F0 00 61 62");
    probe.feed("03 00 00 08 02 F0 00 63");
    assert_eq!(probe.events(), []);
    probe.feed("03 00 00 08 02 F0 80 64");

    assert_eq!(probe.events(), [received(b"abcd")]);
}

#[test]
fn an_empty_segment_ends_a_message() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 08 02 F0 00 61 03 00 00 07 02 F0 80");

    assert_eq!(probe.events(), [received(b"a")]);
}

#[test]
fn an_empty_message_is_reported() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 07 02 F0 80");

    assert_eq!(probe.events(), [received(b"")]);
}

#[test]
fn an_empty_message_is_not_sent_unless_configured() {
    let mut probe = Probe::responder(anybody());
    let mut sender = Probe::responder(Config {
        compat: Compat {
            empty: EmptyMessages::Send,
            ..anybody().compat
        },
        ..anybody()
    });

    assert_eq!(probe.send(b""), Err(Error::Empty));
    sender.send(b"").unwrap();

    assert_eq!(probe.sent(), "");
    assert_eq!(sender.sent(), "03 00 00 07 02 F0 80");
    assert_eq!(sender.machine.stats().messages_sent, 1);
}

#[test]
fn an_empty_segment_in_the_middle_adds_nothing() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 08 02 F0 00 61 03 00 00 07 02 F0 00 03 00 00 08 02 F0 80 62");

    assert_eq!(probe.events(), [received(b"ab")]);
    assert_eq!(probe.machine.stats().tolerated, 1);
}

#[test]
fn an_empty_segment_in_the_middle_can_be_refused() {
    let mut probe = Probe::responder(strictly(Strict::EMPTY_SEGMENT, anybody()));

    probe.feed("03 00 00 07 02 F0 00");

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::EmptySegment)
    );
}

#[test]
fn empty_segments_of_a_message_are_limited() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            empty_segment_limit: 3,
            ..anybody().limits
        },
        ..anybody()
    });

    for _ in 0..3 {
        probe.feed("03 00 00 07 02 F0 00");
    }
    assert_eq!(probe.events(), []);
    probe.feed("03 00 00 07 02 F0 00");

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::EmptySegments { limit: 3 })
    );
}

#[test]
fn the_largest_limit_of_empty_segments_holds() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            empty_segment_limit: u16::MAX,
            ..anybody().limits
        },
        ..anybody()
    });
    let segment = hex("03 00 00 07 02 F0 00");

    for _ in 0..65_535 {
        probe.feed_octets(&segment);
    }
    assert_eq!(probe.events(), []);
    probe.feed_octets(&segment);

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::EmptySegments { limit: u16::MAX })
    );
}

#[test]
fn empty_segments_are_counted_for_each_message() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            empty_segment_limit: 1,
            ..anybody().limits
        },
        ..anybody()
    });

    for _ in 0..5 {
        probe.feed("03 00 00 07 02 F0 00 03 00 00 08 02 F0 80 61");
        assert_eq!(probe.event(), received(b"a"));
    }
}

#[test]
fn a_message_over_its_limit_ends_the_connection() {
    let limited = || Config {
        limits: ConnectionLimits {
            message_limit: 5,
            ..anybody().limits
        },
        ..anybody()
    };
    let mut probe = Probe::responder(limited());
    let mut whole = Probe::responder(limited());

    probe.feed("03 00 00 0A 02 F0 00 61 62 63 03 00 00 09 02 F0 80 64 65");
    assert_eq!(probe.event(), received(b"abcde"));
    probe.feed("03 00 00 0A 02 F0 00 61 62 63 03 00 00 0A 02 F0 80 64 65 66");
    whole.feed("03 00 00 0D 02 F0 80");

    let reason = EndReason::ProtocolError(ProtocolError::MessageLimit { len: 6, limit: 5 });
    assert!(matches!(probe.event(), Event::Closed(end) if end.reason == reason));
    assert_eq!(whole.reason(), reason, "as soon as the header says so");
}

#[test]
fn no_memory_is_reserved_for_a_length_in_a_header() {
    let mut probe = Probe::responder(anybody());
    let before = probe.machine.memory_used();

    probe.feed("03 00 FF FF 02 F0 00 61");

    assert!(
        probe.machine.memory_used() < before + 1000,
        "{}",
        probe.machine.memory_used()
    );
}

#[test]
fn the_tpdu_number_is_sent_as_0_and_tolerated_unless_strict() {
    let mut lenient = Probe::responder(anybody());
    let mut strict = Probe::responder(strictly(Strict::TPDU_NUMBER, anybody()));

    lenient.feed("03 00 00 08 02 F0 81 61");
    strict.feed("03 00 00 08 02 F0 FF 61");

    assert_eq!(lenient.events(), [received(b"a")]);
    assert_eq!(lenient.machine.stats().tolerated, 1);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::TpduNumber(127))
    );
}

#[test]
fn a_data_code_of_class_1_is_tolerated_unless_strict() {
    let mut lenient = Probe::responder(anybody());
    let mut probe = Probe::responder(strictly(Strict::DATA_CODE, anybody()));

    probe.feed("03 00 00 08 02 F1 80 61");
    lenient.feed("03 00 00 08 02 F1 80 61");

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::DataCode(0xF1))
    );
    assert_eq!(lenient.events(), [received(b"a")]);
    assert_eq!(lenient.machine.stats().tolerated, 1);
}

#[test]
fn a_data_header_of_another_length_is_refused() {
    for (packet, words) in [
        ("03 00 00 08 01 F0 80 61", "value 1 (0x01) is not allowed"),
        ("03 00 00 08 03 F0 80 61", "value 3 (0x03) is not allowed"),
        (
            "03 00 00 0A 04 F0 00 00 80 61",
            "value 4 (0x04) is not allowed",
        ),
        ("03 00 00 08 05 F0 80 61", "needs 5 octets, 3 left"),
        ("03 00 00 08 FF F0 80 61", "value 255 (0xff) is not allowed"),
    ] {
        let mut probe = Probe::responder(anybody());

        probe.feed(packet);

        assert_eq!(
            probe.reason().to_string(),
            format!("malformed TPDU: length indicator at offset 0: {words}")
        );
    }
}

#[test]
fn a_second_tpdu_in_a_packet_is_user_data_of_the_first() {
    let mut probe = Probe::responder(anybody());

    probe.feed("03 00 00 0B 02 F0 80 61 02 F0 80");

    assert_eq!(probe.events(), [received(b"a\x02\xF0\x80")]);
}

#[test]
fn any_chunking_gives_the_same_messages() {
    let mut stream = hex(BARE_CR);
    for packet in [
        ABC,
        "03 00 00 08 02 F0 00 61 03 00 00 07 02 F0 00 03 00 00 08 02 F0 80 62",
        "03 00 00 07 02 F0 80",
        "03 00 00 0B 06 80 00 00 00 00 00",
    ] {
        stream.extend_from_slice(&hex(packet));
    }
    let mut whole = Probe::up(anybody());
    whole.feed_octets(&stream);
    let expected = whole.events();
    assert_eq!(expected.len(), 5);

    for size in 1..stream.len() {
        let mut probe = Probe::up(anybody());
        for chunk in stream.chunks(size) {
            probe.feed_octets(chunk);
        }
        assert_eq!(probe.events(), expected, "chunks of {size}");
        assert_eq!(probe.sent, whole.sent);
    }
}

#[test]
fn a_megabyte_crosses_in_pieces_of_any_size() {
    let message: Vec<u8> = (0..1_u32 << 20).map(|at| at.to_be_bytes()[3]).collect();
    let long = Config {
        limits: ConnectionLimits {
            send_queue: 1 << 21,
            ..ConnectionLimits::default()
        },
        ..Config::default()
    };

    for chunk in [1 << 16, 1, 1459] {
        let mut pair = Pair::open(long.clone(), anybody());
        pair.chunk = chunk;
        pair.initiator.send(&message).unwrap();
        pair.pump();
        assert_eq!(pair.responder.events(), [received(&message)]);
    }
}

#[test]
fn packets_are_split_to_fit_a_small_buffer() {
    for room in 1..20 {
        let mut probe = Probe::with_limits(of_128(), Limits::stream(room));
        probe.link(Link::Up);
        probe.feed(BARE_CR);
        probe.sent.clear();

        probe.send(&[7; 126]).unwrap();

        assert_eq!(probe.sent.len(), 132 + 8, "{room} octets at a time");
        assert_eq!(probe.sent[132..], hex("03 00 00 08 02 F0 80 07"));
    }
}

#[test]
fn messages_are_counted_both_ways() {
    let mut probe = Probe::responder(of_128());

    probe.send(&[7; 300]).unwrap();
    probe.send(b"a").unwrap();
    probe.feed("03 00 00 08 02 F0 00 61 03 00 00 09 02 F0 80 62 63");

    let stats = probe.machine.stats();
    assert_eq!((stats.messages_received, stats.octets_received), (1, 3));
    assert_eq!((stats.messages_sent, stats.octets_sent), (2, 301));
    assert_eq!((stats.tolerated, stats.discarded), (0, 0));
    assert_eq!(
        stats.to_string(),
        "1 messages (3 octets) received, 2 messages (301 octets) sent, 0 deviations tolerated, \
         0 octets discarded"
    );
}

#[test]
fn a_broken_frame_ends_the_connection_without_an_answer() {
    for (octets, fault) in [
        ("02", TpktFault::Version(2)),
        ("16 03 01", TpktFault::Version(0x16)),
        ("03 00 00 06 02 F0", TpktFault::TooShort(6)),
        ("03 00 00 00", TpktFault::TooShort(0)),
    ] {
        let mut probe = Probe::responder(Config {
            compat: Compat {
                send_disconnect: SendDisconnect::all(),
                ..anybody().compat
            },
            ..anybody()
        });

        probe.feed(octets);

        assert_eq!(probe.events(), [closed(EndReason::Framing(fault))]);
        assert_eq!(probe.sent(), "");
        assert_eq!(probe.asks(), [Ask::Finish(())]);
    }
}

#[test]
fn octets_after_the_end_in_one_read_are_discarded() {
    for receive_queue in [1, 1 << 18] {
        let mut probe = Probe::responder(Config {
            limits: ConnectionLimits {
                receive_queue,
                ..anybody().limits
            },
            ..anybody()
        });
        let mut octets = hex(&[ABC, "03 00 00 06"].join(" "));
        octets.resize(octets.len() + 5000, 7);

        probe.feed_octets(&octets);

        let reason = EndReason::Framing(TpktFault::TooShort(6));
        assert_eq!(probe.events(), [received(b"abc"), closed(reason)]);
        assert!(probe.machine.stats().discarded >= 5000);
        assert!(
            probe.machine.memory_used() < 1000,
            "{}",
            probe.machine.memory_used()
        );
    }
}

#[test]
fn a_packet_over_the_receive_limit_ends_the_connection() {
    let mut probe = Probe::responder(Config {
        tpdu_size: TpduSize::SMALLEST,
        limits: ConnectionLimits {
            packet_limit: 132,
            ..anybody().limits
        },
        ..anybody()
    });

    probe.feed("03 00 00 85");

    assert_eq!(
        probe.reason(),
        EndReason::Framing(TpktFault::TooLong {
            length: 133,
            limit: 132
        })
    );
}

#[test]
fn the_reserved_octet_is_ignored_unless_strict() {
    let mut lenient = Probe::responder(anybody());
    let mut strict = Probe::responder(strictly(Strict::RESERVED, anybody()));

    lenient.feed("03 07 00 08 02 F0 80 61");
    strict.feed("03 07 00 08 02 F0 80 61");

    assert_eq!(lenient.events(), [received(b"a")]);
    assert_eq!(strict.reason(), EndReason::Framing(TpktFault::Reserved(7)));
}
