//! Requests of hostile or broken clients, and data of strangers.

use core::time::Duration;

use bytes::Bytes;
use farlink::Tag;
use farlink::csp::{
    Flags, Header, Packet, Priority, RdpFlags, RdpHeader, SequenceNumber, SynOptions, Version,
};
use farlink::dtp::{
    Command, Config, DataPacket, Error, Event, GetOptions, Interval, Intervals, PayloadIdentity,
    Request, Response, TO_THE_END,
};

use crate::talk::Talk;

const V2: Version = Version::V2;

fn config(address: u16) -> Config {
    let mut config = Config::default();
    config.csp.address = address;
    config
}

fn header(source: u16, port: u8, flags: Flags) -> Header {
    Header {
        priority: Priority::Normal,
        source,
        destination: 3 - source,
        destination_port: port,
        source_port: 20,
        flags,
    }
}

fn packet(header: Header, data: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    Packet { header, data }.encode(V2, &mut octets);
    octets
}

fn segment(flags: RdpFlags, sequence: u16, acknowledgement: u16, data: &[u8]) -> Vec<u8> {
    let rdp = RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(sequence),
        acknowledgement: SequenceNumber(acknowledgement),
    };
    packet(header(2, 7, Flags::RDP), &[data, &rdp.encode()].concat())
}

fn trailer(octets: &[u8]) -> (RdpHeader, Vec<u8>) {
    let packet = Packet::decode(V2, octets).unwrap();
    let (rdp, packet) = packet.split_rdp().unwrap();
    (rdp, packet.data.to_vec())
}

/// A server with a payload of 1000 octets, and the initial number of a connection to it.
fn server() -> (Talk, u16) {
    let mut server = Talk::new(config(1));
    let data = Bytes::from(vec![7; 1000]);
    server.command(Command::Serve { payload: 3, data }).unwrap();
    let options = SynOptions::default().encode();
    server.receive(&segment(RdpFlags::SYN, 700, 0, &options));
    let initial = trailer(&server.take_sent()[0]).0.sequence.0;
    server.receive(&segment(RdpFlags::ACK, 701, initial, &[]));
    (server, initial)
}

fn request(intervals: &[Interval]) -> Request {
    Request {
        throughput: 10_000,
        payload: 3,
        session: 99,
        mtu: 108,
        keep_alive: 0,
        intervals: Intervals::new(intervals).unwrap(),
    }
}

/// Sends a request, and returns what the server sends until 30 s later.
fn asked(octets: &[u8]) -> (Talk, Vec<Vec<u8>>) {
    let (mut server, initial) = server();
    server.receive(&segment(RdpFlags::ACK, 701, initial, octets));
    let mut sent = server.take_sent();
    for _ in 0..20 {
        // The client acknowledges, and stays.
        server.pass(Duration::from_millis(250));
        sent.extend(server.take_sent());
        let alive = segment(RdpFlags::ACK, 702, initial.wrapping_add(1), &[]);
        server.receive(&alive);
    }
    (server, sent)
}

fn assert_refused(octets: &[u8], why: &str) {
    let (server, sent) = asked(octets);
    let (rdp, data) = trailer(
        sent.iter()
            .find(|it| trailer(it).0.flags != RdpFlags::ACK)
            .unwrap(),
    );
    let closed = RdpFlags::RST | RdpFlags::ACK;
    assert_eq!((rdp.flags, data.len()), (closed, 0), "{why}");
    // In sequence, or libcsp ignores it.
    assert_eq!(rdp.acknowledgement.0, 701, "{why}");
    assert_eq!(server.node.stats().requests_refused, 1, "{why}");
    assert_eq!(server.node.stats().data_sent, 0, "{why}");
}

#[test]
fn a_bad_request_is_refused_by_rst_in_sequence() {
    let interval = |start, end| Interval { start, end };
    let good = request(&[Interval::ALL]);
    let change = |at: usize, octets: &[u8]| {
        let mut request = good.encode();
        request[at..at + octets.len()].copy_from_slice(octets);
        request
    };
    assert_refused(&change(0, &[0; 4]), "throughput 0");
    assert_refused(&change(12, &[8, 0]), "mtu 8");
    assert_refused(&change(12, &[1, 1]), "mtu over the limit of 256");
    assert_refused(&change(4, &[0]), "no interval");
    assert_refused(&change(4, &[9]), "nine intervals");
    assert_refused(&change(5, &[77]), "unknown payload");
    assert_refused(&good.encode()[..79], "too short");
    assert_refused(&request(&[interval(5, 4)]).encode(), "start behind the end");
    let past = [interval(0, 1), interval(10, 10)];
    assert_refused(&request(&past).encode(), "start past the end of 10 packets");
}

fn data_of(sent: &[Vec<u8>]) -> Vec<(u32, usize)> {
    let packets = sent.iter().filter_map(|octets| {
        let packet = Packet::decode(V2, octets).unwrap();
        let is_data = packet.header.destination_port == 8;
        is_data.then(|| {
            let data = DataPacket::decode(packet.data).unwrap();
            assert_eq!(data.session, 99);
            (data.offset, data.data.len())
        })
    });
    packets.collect()
}

#[test]
fn an_end_past_the_last_index_is_cut_off() {
    for end in [9, 10, 500, TO_THE_END] {
        let (_, sent) = asked(&request(&[Interval { start: 8, end }]).encode());

        assert_eq!(data_of(&sent), [(800, 100), (900, 100)], "end {end}");
        let (_, response) = trailer(&sent[0]);
        let expected = Response {
            size: 200,
            payload_size: 1000,
        };
        // Behind them is what libdtp takes as old memory.
        assert_eq!(response[..8], expected.encode()[..8]);
        assert_eq!(response.len(), 80);
    }
}

#[test]
fn overlapping_and_descending_intervals_are_served_as_asked() {
    let interval = |start, end| Interval { start, end };
    let intervals = [interval(9, 9), interval(0, 1), interval(1, 1)];

    let (_, sent) = asked(&request(&intervals).encode());

    assert_eq!(
        data_of(&sent),
        [(900, 100), (0, 100), (100, 100), (100, 100)]
    );
}

#[test]
fn a_second_request_on_a_connection_is_ignored() {
    let (mut server, initial) = server();
    let octets = request(&[Interval::ALL]).encode();
    server.receive(&segment(RdpFlags::ACK, 701, initial, &octets));
    server.receive(&segment(
        RdpFlags::ACK,
        702,
        initial.wrapping_add(1),
        &octets,
    ));
    server.pass(Duration::from_secs(5));

    assert_eq!(data_of(&server.take_sent()).len(), 10);
}

#[test]
fn a_client_that_closes_is_sent_no_more() {
    let (mut server, initial) = server();
    let octets = request(&[Interval::ALL]).encode();
    server.receive(&segment(RdpFlags::ACK, 701, initial, &octets));
    let number = initial.wrapping_add(1);
    server.receive(&segment(RdpFlags::ACK, 702, number, &[]));
    assert_eq!(data_of(&server.take_sent()).len(), 5, "the burst");

    let closed = RdpFlags::ACK | RdpFlags::RST;
    server.receive(&segment(closed, 702, number, &[]));
    server.take_sent();
    server.pass(Duration::from_secs(5));

    assert!(server.take_sent().is_empty());
}

#[test]
fn data_of_another_source_session_offset_or_length_are_dropped() {
    let mut client = Talk::new(config(2));
    let options = GetOptions {
        mtu: 108,
        ..GetOptions::default()
    };
    client
        .command(Command::Get {
            tag: Tag(1),
            server: 1,
            payload: 3,
            options,
        })
        .unwrap();
    let syn = client.take_sent();
    let (asked, initial) = {
        let packet = Packet::decode(V2, &syn[0]).unwrap();
        (packet.header, trailer(&syn[0]).0.sequence.0)
    };
    let mut answer = |flags, sequence, acknowledgement, data: &[u8]| {
        let rdp = RdpHeader {
            flags,
            count: 0,
            sequence: SequenceNumber(sequence),
            acknowledgement: SequenceNumber(acknowledgement),
        };
        let packet = packet(asked.reversed(), &[data, &rdp.encode()].concat());
        client.receive(&packet);
    };
    answer(RdpFlags::SYN | RdpFlags::ACK, 50, initial, &[]);
    let response = Response {
        size: 250,
        payload_size: 250,
    };
    answer(
        RdpFlags::ACK,
        51,
        initial.wrapping_add(1),
        &response.encode(),
    );
    let requested = client.take_sent().into_iter();
    let session = requested
        .filter_map(|octets| Request::decode(&trailer(&octets).1).ok())
        .map(|request| request.session)
        .next()
        .unwrap();
    client.take_events();
    let mut data = |source, session, offset, len: usize| {
        let data = vec![1; len];
        let mut octets = Vec::new();
        DataPacket {
            offset,
            session,
            data: &data,
        }
        .encode(&mut octets);
        let header = Header {
            destination: 2,
            ..header(source, 8, Flags::empty())
        };
        client.receive(&packet(header, &octets));
        client.take_events()
    };

    assert!(data(3, session, 0, 100).is_empty(), "another source");
    assert!(data(1, session ^ 1, 0, 100).is_empty(), "another session");
    assert!(data(1, session, 50, 100).is_empty(), "another offset");
    assert!(data(1, session, 300, 100).is_empty(), "past the end");
    assert!(data(1, session, u32::MAX, 0).is_empty(), "far past the end");
    assert!(data(1, session, 0, 99).is_empty(), "too short");
    assert!(data(1, session, 200, 100).is_empty(), "too long at the end");
    assert_eq!(data(1, session, 0, 100).len(), 1);
    assert!(data(1, session, 0, 100).is_empty(), "twice");
    assert_eq!(data(1, session, 200, 50).len(), 1);
    let last = data(1, session, 100, 100);
    assert!(matches!(
        last[..],
        [Event::Data { .. }, Event::Complete { size: 250, .. }]
    ));
    let stats = client.node.stats();
    assert_eq!(
        (stats.foreign_data, stats.duplicates, stats.data_received),
        (7, 1, 3)
    );
}

/// An offset has 32 bits.
#[test]
fn a_payload_of_more_than_4_gib_less_1_is_refused() {
    let mut talk = Talk::new(config(1));
    let mut serve = |size| {
        talk.command(Command::ServeOnDemand {
            payload: 1,
            size,
            identity: PayloadIdentity::default(),
        })
    };
    assert_eq!(serve(u64::from(u32::MAX)), Ok(()));
    let size = 1 << 32;
    assert_eq!(serve(size), Err(Error::PayloadTooLarge(size)));
}
