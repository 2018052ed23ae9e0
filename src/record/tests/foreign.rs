//! Captures of other programs, built octet by octet.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::toy::{tcp, udp};
use crate::record::{
    Capture, CaptureReader, CapturedPacket, Frame, PacketDirection, ReadError, SkipReason,
    Transport,
};
use crate::{Instant, Path};

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Little,
    Big,
}

/// Writes numbers in one byte order.
struct Writer(Order, Vec<u8>);

impl Writer {
    fn u16(mut self, value: u16) -> Self {
        let octets = match self.0 {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        };
        self.1.extend_from_slice(&octets);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        let octets = match self.0 {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        };
        self.1.extend_from_slice(&octets);
        self
    }

    fn raw(mut self, octets: &[u8]) -> Self {
        self.1.extend_from_slice(octets);
        self
    }

    fn padded(mut self, octets: &[u8]) -> Self {
        self.1.extend_from_slice(octets);
        self.1.resize(self.1.len().next_multiple_of(4), 0);
        self
    }

    fn option(self, code: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap();
        self.u16(code).u16(length).padded(value)
    }

    fn block(order: Order, kind: u32, body: &Self) -> Vec<u8> {
        let length = u32::try_from(body.1.len() + 12).unwrap();
        let block = Self(order, Vec::new()).u32(kind).u32(length);
        block.raw(&body.1).u32(length).1
    }
}

fn pcap(order: Order, magic: u32, link_type: u32, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut file = Writer(order, Vec::new())
        .u32(magic)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(65535)
        .u32(link_type);
    for (seconds, fraction, octets) in packets {
        let length = u32::try_from(octets.len()).unwrap();
        file = file
            .u32(*seconds)
            .u32(*fraction)
            .u32(length)
            .u32(length + 4)
            .raw(octets);
    }
    file.1
}

fn section(order: Order) -> Vec<u8> {
    let body = Writer(order, Vec::new()).u32(0x1a2b_3c4d).u16(1).u16(0);
    let body = body.u32(u32::MAX).u32(u32::MAX).option(2, b"hardware");
    Writer::block(order, 0x0a0d_0d0a, &body.u32(0))
}

/// Options, by code and value.
type Written<'a> = &'a [(u16, &'a [u8])];

fn interface(order: Order, link_type: u16, most: u32, options: Written<'_>) -> Vec<u8> {
    let mut body = Writer(order, Vec::new()).u16(link_type).u16(0).u32(most);
    for (code, value) in options {
        body = body.option(*code, value);
    }
    Writer::block(order, 1, &body.u32(0))
}

fn enhanced(order: Order, interface: u32, time: u64, octets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(octets.len()).unwrap();
    let high = u32::try_from(time >> 32).unwrap();
    let low = u32::try_from(time & 0xffff_ffff).unwrap();
    let body = Writer(order, Vec::new()).u32(interface).u32(high).u32(low);
    let body = body.u32(length).u32(length).padded(octets);
    let flags = match order {
        Order::Little => [2, 0, 0, 0],
        Order::Big => [0, 0, 0, 2],
    };
    Writer::block(order, 6, &body.option(2, &flags).u32(0))
}

fn read(file: &[u8]) -> Result<Vec<CapturedPacket<'_>>, ReadError> {
    let packets = read_whole(file);
    let (streamed, is_cut) = read_as_stream(file);
    assert_eq!(
        streamed,
        packets
            .as_ref()
            .map(Vec::len)
            .map_err(alloc::string::ToString::to_string)
    );
    if let Ok(packets) = &packets {
        let mut capture = Capture::open(file).unwrap();
        for packet in packets {
            assert_eq!(capture.next_packet(), Ok(Some(*packet)));
        }
        assert_eq!(capture.next_packet(), Ok(None));
        assert_eq!(is_cut, capture.is_cut());
    }
    packets
}

/// Reads a file octet by octet, and compares its packets. Returns their number, and whether the file is cut.
fn read_as_stream(file: &[u8]) -> (Result<usize, String>, bool) {
    struct Trickle<'a>(&'a [u8]);
    impl std::io::Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = buffer.len().min(1);
            std::io::Read::read(&mut self.0, &mut buffer[..len])
        }
    }
    let mut reader = match CaptureReader::new(Trickle(file)) {
        Ok(reader) => reader,
        Err(error) => return (Err(error.to_string()), false),
    };
    let mut capture = Capture::open(file).unwrap();
    let mut count = 0;
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) => {
                assert_eq!(Ok(Some(packet)), capture.next_packet());
                count += 1;
            }
            Ok(None) => return (Ok(count), reader.is_cut()),
            Err(error) => return (Err(error.to_string()), false),
        }
    }
}

fn read_whole(file: &[u8]) -> Result<Vec<CapturedPacket<'_>>, ReadError> {
    let mut capture = Capture::open(file)?;
    let mut packets = Vec::new();
    while let Some(packet) = capture.next_packet()? {
        packets.push(packet);
    }
    Ok(packets)
}

fn nanos(packets: &[CapturedPacket<'_>]) -> Vec<u64> {
    packets
        .iter()
        .map(|packet| packet.time.as_nanos())
        .collect()
}

#[test]
fn pcap_is_read_in_both_orders_and_both_resolutions() {
    let micro = 0xa1b2_c3d4;
    let nano = 0xa1b2_3c4d;
    for order in [Order::Little, Order::Big] {
        for (magic, fraction) in [(micro, 7000), (nano, 7)] {
            let file = pcap(order, magic, 1, &[(5, 7, b"first"), (6, 0, b"second!")]);

            let packets = read(&file).unwrap();

            assert_eq!(nanos(&packets), [5_000_000_000 + fraction, 6_000_000_000]);
            assert_eq!(packets[1].octets, b"second!");
            assert_eq!(packets[1].length, 11);
            assert_eq!(packets[1].link_type, 1);
        }
    }
}

#[test]
fn pcapng_is_read_in_both_orders() {
    for order in [Order::Little, Order::Big] {
        let file = [
            section(order),
            interface(order, 101, 0, &[(2, b"eth0")]),
            enhanced(order, 0, 3, b"five."),
        ]
        .concat();

        let packets = read(&file).unwrap();

        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].octets, b"five.");
        assert_eq!(packets[0].link_type, 101);
        assert_eq!(packets[0].time, Instant::from_nanos(3000));
        assert_eq!(packets[0].direction, Some(PacketDirection::Out));
    }
}

#[test]
fn every_section_has_its_own_order_and_interfaces() {
    let (little, big) = (Order::Little, Order::Big);
    let file = [
        section(little),
        interface(little, 1, 0, &[]),
        interface(little, 113, 0, &[]),
        enhanced(little, 1, 0, b"one"),
        section(big),
        interface(big, 276, 0, &[]),
        enhanced(big, 0, 0, b"two"),
    ]
    .concat();

    let packets = read(&file).unwrap();

    let types: Vec<u16> = packets.iter().map(|packet| packet.link_type).collect();
    assert_eq!(types, [113, 276]);
    let beyond = [file, enhanced(big, 1, 0, b"of the first section")].concat();
    assert!(matches!(read(&beyond), Err(ReadError::Malformed { .. })));
}

#[test]
fn times_follow_resolution_and_offset() {
    let order = Order::Little;
    let cases: [(Written<'_>, u64, u64); 7] = [
        (&[], 5, 5_000),
        (&[(9, &[9])], 5, 5),
        (&[(9, &[3])], 5, 5_000_000),
        (&[(9, &[12])], 5999, 5),
        (&[(9, &[0x8a])], 1024, 1_000_000_000),
        (&[(14, &[2, 0, 0, 0, 0, 0, 0, 0])], 5, 2_000_005_000),
        (&[(9, &[0]), (14, &[0xff; 8])], 2, 1_000_000_000),
    ];
    for (options, units, expected) in cases {
        let file = [
            section(order),
            interface(order, 1, 0, options),
            enhanced(order, 0, units, b"?"),
        ]
        .concat();

        assert_eq!(nanos(&read(&file).unwrap()), [expected], "{options:?}");
    }
}

#[test]
fn simple_and_obsolete_packets_are_read_and_other_blocks_skipped() {
    let order = Order::Big;
    let simple = Writer(order, Vec::new()).u32(9).padded(b"cut off");
    let obsolete = Writer(order, Vec::new()).u16(0).u16(3).u32(0).u32(8);
    let obsolete = obsolete.u32(5).u32(5).padded(b"older");
    let file = [
        section(order),
        interface(order, 1, 7, &[]),
        Writer::block(order, 4, &Writer(order, Vec::new()).u32(0)),
        Writer::block(order, 3, &simple),
        Writer::block(order, 0xbad, &Writer(order, Vec::new()).u32(32473)),
        Writer::block(order, 2, &obsolete),
    ]
    .concat();

    let packets = read(&file).unwrap();

    assert_eq!(packets[0].octets, b"cut off");
    assert_eq!((packets[0].length, packets[0].time), (9, Instant::ZERO));
    assert_eq!(packets[1].octets, b"older");
    assert_eq!(packets[1].time, Instant::from_nanos(8000));
}

/// A pcapng file of two sections and a classic one, of two packets each.
fn files_of_two_packets() -> [Vec<u8>; 2] {
    let ng = [
        section(Order::Big),
        interface(Order::Big, 1, 0, &[]),
        enhanced(Order::Big, 0, 0, b"whole"),
        section(Order::Little),
        interface(Order::Little, 1, 0, &[]),
        enhanced(Order::Little, 0, 0, b"parts"),
    ];
    let packets: [(u32, u32, &[u8]); 2] = [(0, 0, b"whole"), (0, 0, b"part")];
    [ng.concat(), pcap(Order::Big, 0xa1b2_c3d4, 1, &packets)]
}

#[test]
fn a_file_truncated_within_a_packet_gives_the_packets_before() {
    for file in files_of_two_packets() {
        let mut capture = Capture::open(&file[..file.len() - 1]).unwrap();

        assert_eq!(capture.next_packet().unwrap().unwrap().octets, b"whole");
        assert_eq!(capture.next_packet(), Ok(None));
        assert!(capture.is_cut());
    }
}

#[test]
fn impossible_lengths_are_refused_with_their_offset() {
    let order = Order::Little;
    let head = [section(order), interface(order, 1, 0, &[])].concat();
    let whole = enhanced(order, 0, 0, b"1234");
    let broken = |at: usize, value: u8| {
        let mut block = whole.clone();
        block[at] = value;
        let file = [&head[..], &block].concat();
        read(&file).unwrap_err().to_string()
    };
    let place: String = head.len().to_string();

    for (at, value, what) in [
        (4, 5, "the length of a block"),
        (4, 8, "the length of a block"),
        (whole.len() - 4, 0, "the second length of a block"),
        (20, 200, "a packet of an unknown interface, or truncated"),
    ] {
        assert_eq!(
            broken(at, value),
            alloc::format!("malformed at octet {place}: {what}")
        );
    }
}

/// An IPv4 packet with a UDP datagram `hi` from 10.0.0.2:5 to 10.0.0.1:6.
const IPV4: [u8; 30] = [
    0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, //
    0, 5, 0, 6, 0, 10, 0, 0, b'h', b'i',
];

/// An IPv6 packet with a segment `hi` from `[2001:db8::2]:5` to `[2001:db8::1]:6`, after hop-by-hop options.
const IPV6: [u8; 70] = [
    0x60, 0, 0, 0, 0, 30, 0, 64, //
    0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, //
    0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
    6, 0, 1, 4, 0, 0, 0, 0, //
    0, 5, 0, 6, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0, b'h', b'i',
];

#[test]
fn every_link_type_leads_to_the_same_datagram() {
    let vlan = [&[0; 12][..], &[0x81, 0, 0, 9, 8, 0], &IPV4, b"padding"].concat();
    let twice = [
        &[0; 12][..],
        &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 9, 8, 0],
        &IPV4,
    ]
    .concat();
    let ethernet = [&[0; 12][..], &[8, 0], &IPV4].concat();
    let cooked = [&[0; 14][..], &[8, 0], &IPV4].concat();
    let cooked2 = [&[8, 0][..], &[0; 18], &IPV4].concat();
    let null_little = [&[2, 0, 0, 0][..], &IPV4].concat();
    let null_big = [&[0, 0, 0, 2][..], &IPV4].concat();
    let cases = [
        (1, ethernet),
        (1, vlan),
        (1, twice),
        (101, IPV4.to_vec()),
        (12, IPV4.to_vec()),
        (228, IPV4.to_vec()),
        (0, null_little),
        (0, null_big.clone()),
        (108, null_big),
        (113, cooked),
        (276, cooked2),
    ];

    for (link_type, packet) in cases {
        let frame = Frame::read(link_type, &packet).unwrap();

        assert_eq!(frame.payload, b"hi", "{link_type}");
        assert_eq!(frame.transport, Transport::Udp);
        let path = Path::udp(frame.destination, frame.source);
        assert_eq!(path, udp("10.0.0.1:6", "10.0.0.2:5"));
    }
}

#[test]
fn extension_headers_of_ipv6_are_skipped() {
    let frame = Frame::read(229, &IPV6).unwrap();

    let path = Path::tcp(frame.destination, frame.source);
    assert_eq!(path, tcp("[2001:db8::1]:6", "[2001:db8::2]:5"));
    assert_eq!(frame.payload, b"hi");
    let (sequence, flags) = (9, 0x18);
    assert_eq!(frame.transport, Transport::Tcp { sequence, flags });
}

#[test]
fn octets_that_were_not_captured_are_counted() {
    let frame = Frame::read(101, &IPV4[..29]).unwrap();

    assert_eq!((frame.payload, frame.missing), (&b"h"[..], 1));
}

#[test]
fn lengths_of_zero_stand_for_the_whole_packet() {
    let mut packet = IPV4;
    packet[2..4].fill(0);
    packet[24..26].fill(0);

    assert_eq!(Frame::read(101, &packet).unwrap().payload, b"hi");
}

#[test]
fn packets_without_udp_and_tcp_are_skipped_with_a_reason() {
    let mut fragment = IPV4;
    fragment[6] = 0x20;
    let mut icmp = IPV4;
    icmp[9] = 1;
    let mut short = IPV4;
    short[24..26].copy_from_slice(&[0, 7]);
    let arp = [&[0; 12][..], &[8, 6], &IPV4].concat();

    assert_eq!(Frame::read(101, &fragment), Err(SkipReason::Fragment));
    assert_eq!(Frame::read(101, &icmp), Err(SkipReason::Other));
    assert_eq!(Frame::read(101, &short), Err(SkipReason::Malformed));
    assert_eq!(Frame::read(101, &IPV4[..25]), Err(SkipReason::Malformed));
    assert_eq!(Frame::read(1, &arp), Err(SkipReason::Other));
    assert_eq!(Frame::read(147, &IPV4), Err(SkipReason::LinkType(147)));
}

#[test]
fn a_capture_cut_anywhere_reads_as_a_stream_as_it_does_whole() {
    for file in files_of_two_packets() {
        let lengths = (0..=file.len()).map(|end| read(&file[..end]).map_or(0, |read| read.len()));

        assert_eq!(lengths.max(), Some(2));
    }
}
