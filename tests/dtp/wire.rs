//! Requests, responses and data packets, field by field.

use farlink::csp::{Flags, Packet, RdpFlags};
use farlink::dtp::{DataPacket, Interval, Intervals, Request, Response, TO_THE_END};

use crate::csp_captures::{Side, captures};
use crate::dtp_bodies;
use crate::tries::tries;
use crate::vector_octets::unhex;

/// What DTP finds in a captured packet.
enum Found {
    Request(Request, Vec<u8>),
    Response(Response),
    Data(Vec<u8>),
}

/// The packets of the classic dialect in all captures, each with the name of its capture.
fn found() -> Vec<(String, Found)> {
    let mut all = Vec::new();
    let captures = captures("dtp", "");
    assert_eq!(captures.len(), 23);
    for capture in captures.iter().filter(|it| !it.name.starts_with("vmem")) {
        for frame in capture.frames() {
            let octets = frame.octets.to_vec();
            let packet = Packet::decode(capture.version(), &octets).unwrap();
            let found = if packet.header.flags.contains(Flags::RDP) {
                let (rdp, packet) = packet.split_rdp().unwrap();
                if rdp.flags != RdpFlags::ACK || packet.data.is_empty() {
                    continue;
                }
                match frame.from.unwrap() {
                    Side::Client => {
                        let request = Request::decode(packet.data).unwrap();
                        Found::Request(request, packet.data.to_vec())
                    }
                    Side::Server => Found::Response(Response::decode(packet.data).unwrap()),
                }
            } else {
                assert_eq!(
                    (packet.header.source_port, packet.header.destination_port),
                    (0, 8)
                );
                Found::Data(packet.data.to_vec())
            };
            all.push((capture.name.clone(), found));
        }
    }
    all
}

#[test]
fn captured_requests_encode_to_their_octets() {
    let mut count = 0;
    for (name, found) in found() {
        let Found::Request(request, octets) = found else {
            continue;
        };
        // Intervals behind the count are old memory of the client.
        let used = 16 + 8 * request.intervals.as_slice().len();
        assert_eq!(request.encode()[..used], octets[..used], "{name}");
        assert_eq!(request.session, 0x900D_FACE, "{name}");
        assert_eq!(request.keep_alive, 0, "{name}");
        dtp_bodies::wire(&octets);
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn captured_responses_tell_the_size_of_the_payload() {
    let mut count = 0;
    let captures = captures("dtp", "");
    for (name, found) in found() {
        let Found::Response(response) = found else {
            continue;
        };
        let capture = captures
            .iter()
            .find(|capture| capture.name == name)
            .unwrap();
        assert_eq!(Some(response.payload_size), capture.payload_size, "{name}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn captured_data_packets_encode_to_their_octets() {
    let mut count = 0;
    for (name, found) in found() {
        let Found::Data(octets) = found else { continue };
        let packet = DataPacket::decode(&octets).unwrap();
        let mut again = Vec::new();
        packet.encode(&mut again);

        assert_eq!(again, octets, "{name}");
        assert_eq!(packet.session, 0x900D_FACE, "{name}");
        dtp_bodies::wire(&octets);
        count += 1;
    }
    assert!(count > 500, "{count}");
}

#[test]
fn a_request_of_several_intervals_decodes_to_its_fields() {
    let partial = found().into_iter().find_map(|(name, found)| match found {
        Found::Request(request, _) if name == "partial_ranges" => Some(request),
        _ => None,
    });

    let interval = |start, end| Interval { start, end };
    let intervals = [interval(3, 5), interval(10, 10), interval(20, TO_THE_END)];
    assert_eq!(
        partial,
        Some(Request {
            throughput: 20_000,
            payload: 1,
            session: 0x900D_FACE,
            mtu: 208,
            keep_alive: 0,
            intervals: Intervals::new(&intervals).unwrap(),
        })
    );
}

fn request() -> Request {
    Request {
        throughput: 1000,
        payload: 7,
        session: 0x0102_0304,
        mtu: 9,
        keep_alive: 500,
        intervals: Intervals::new(&[Interval { start: 1, end: 2 }, Interval::ALL]).unwrap(),
    }
}

#[test]
fn a_request_of_84_octets_has_its_intervals_4_octets_further() {
    let short = request().encode();
    let keep_alive = [&500_u32.to_le_bytes()[..]].concat();
    let long = [&short[..14], &[0, 0], &keep_alive, &short[16..]].concat();

    assert_eq!(long.len(), 84);
    assert_eq!(Request::decode(&long), Ok(request()));
}

#[test]
fn a_bad_request_is_refused_with_the_field_and_its_value() {
    let refused = |at: usize, octets: &[u8]| {
        let mut request = request().encode().to_vec();
        request[at..at + octets.len()].copy_from_slice(octets);
        Request::decode(&request).unwrap_err().to_string()
    };

    assert_eq!(
        refused(0, &[0; 4]),
        "throughput at offset 0: value 0 (0x00) is not allowed"
    );
    assert_eq!(
        refused(12, &[8, 0]),
        "mtu at offset 12: value 8 (0x08) is not allowed"
    );
    assert_eq!(
        refused(4, &[0]),
        "nof_intervals at offset 4: value 0 (0x00) is not allowed"
    );
    assert_eq!(
        refused(4, &[9]),
        "nof_intervals at offset 4: value 9 (0x09) is not allowed"
    );
    assert_eq!(
        refused(16, &[3, 0, 0, 0]),
        "interval start at offset 16: value 3 (0x03) is not allowed"
    );
    for len in [0, 79, 81, 85] {
        let error = Request::decode(&vec![1; len]).unwrap_err();
        let expected = format!("request at offset 0: a length of {len} octets is not allowed");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_short_response_or_data_packet_is_refused() {
    assert_eq!(
        Response::decode(&[0; 7]).unwrap_err().to_string(),
        "response at offset 0: needs 8 octets, 7 left"
    );
    assert_eq!(
        DataPacket::decode(&[0; 7]).unwrap_err().to_string(),
        "data packet at offset 0: needs 8 octets, 7 left"
    );
    let octets = unhex("0100000002000000");
    let empty = DataPacket::decode(&octets).unwrap();
    assert_eq!((empty.offset, empty.session, empty.data.len()), (1, 2, 0));
}

#[test]
fn there_are_one_to_eight_intervals() {
    assert!(Intervals::new(&[]).is_none());
    assert!(Intervals::new(&[Interval::ALL; 9]).is_none());
    let eight = Intervals::new(&[Interval::ALL; 8]).unwrap();
    assert_eq!(eight.as_slice(), [Interval::ALL; 8]);
}

#[test]
fn any_octets_that_decode_encode_to_themselves() {
    tries(2000, 0..=100, |u| {
        let mut octets = u.bytes(u.len())?.to_vec();
        dtp_bodies::wire(&octets);
        octets.resize(80, 1);
        dtp_bodies::wire(&octets);
        Ok(())
    });
}
