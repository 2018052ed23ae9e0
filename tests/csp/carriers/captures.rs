//! Frames of libcsp: each is what the codec makes of the packet, and gives the packet again.

use std::fs;
use std::path::Path;

use farlink::csp::carriers::{ByteOrder, CanFrame, EtherAddress, FrameStats};
use farlink::csp::{Encapsulation, Flags, Header, InterfaceCodec, Priority, Version};
use farlink::{Instant, Limits};
use serde::Deserialize;

use super::{CAN, received, sent};
use crate::csp_captures::{Fields, captures};
use crate::vector_octets::Octets;

#[derive(Deserialize)]
struct Capture {
    name: String,
    version: u8,
    packets: Vec<Fields>,
    phases: Vec<Phase>,
}

#[derive(Deserialize)]
struct Phase {
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    packet: usize,
    can_id: Option<u32>,
    octets: Octets,
}

impl Frame {
    /// The frame as a driver has it.
    fn carried(&self) -> Vec<u8> {
        let octets = self.octets.to_vec();
        let Some(identifier) = self.can_id else {
            return octets;
        };
        let mut out = Vec::new();
        CanFrame::new(identifier, &[&octets]).encode(&mut out);
        out
    }
}

fn read(name: &str) -> Capture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors/csp_carriers")
        .join(format!("{name}.toml"));
    toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn version(number: u8) -> Version {
    match number {
        1 => Version::V1,
        _ => Version::V2,
    }
}

fn packet(fields: &Fields, version: Version) -> Vec<u8> {
    let header = Header {
        priority: [
            Priority::Critical,
            Priority::High,
            Priority::Normal,
            Priority::Low,
        ][usize::from(fields.priority)],
        source: fields.source,
        destination: fields.destination,
        destination_port: fields.destination_port,
        source_port: fields.source_port,
        flags: Flags::from_bits_retain(fields.flags),
    };
    let mut octets = Vec::new();
    header.encode(version, &mut octets);
    octets.extend(fields.data.to_vec());
    octets
}

/// Proves one capture of each version, and returns how many frames there are.
fn prove(start: &str, kind: Encapsulation) -> usize {
    let mut count = 0;
    for name in [1, 2].map(|version| format!("{start}_v{version}")) {
        let capture = read(&name);
        assert_eq!(capture.name, name);
        let version = version(capture.version);
        let mut sender = InterfaceCodec::new(kind, version, 1, 256);
        let mut receiver = InterfaceCodec::new(kind, version, 2, 256);
        let frames = &capture.phases[0].frames;
        for (at, fields) in capture.packets.iter().enumerate() {
            let frames = frames.iter().filter(|frame| frame.packet == at);
            let frames: Vec<Vec<u8>> = frames.map(Frame::carried).collect();
            let packet = packet(fields, version);
            count += frames.len();

            let made = sent(&mut sender, &packet, version, Limits::default());
            assert_eq!(made, frames, "{name}: packet {at}");
            let found = received(&mut receiver, &frames, Instant::ZERO);
            assert_eq!(found, [packet], "{name}: packet {at}");
        }
        assert_eq!(receiver.stats(), FrameStats::default(), "{name}");
    }
    count
}

#[test]
fn every_captured_frame_of_kiss_is_made_and_read() {
    assert_eq!(prove("kiss", Encapsulation::KISS), 22);
}

#[test]
fn every_captured_frame_of_can_is_made_and_read() {
    assert_eq!(prove("can", CAN), 128);
}

#[test]
fn every_captured_frame_of_ethernet_is_made_and_read() {
    let kind = Encapsulation::Ethernet {
        address: EtherAddress([2, 0, 0, 0, 0, 1]),
        mtu: 150,
    };
    assert_eq!(prove("eth", kind), 26);
}

#[test]
fn every_captured_transfer_on_i2c_is_made_and_read() {
    for capture in captures("csp", "i2c_") {
        let version = capture.version();
        let [mut sender, mut receiver] = super::pair(Encapsulation::I2c, version, 256);
        for frame in capture.frames() {
            let octets = frame.octets.to_vec();
            // The captured octets follow the address, which is 2.
            let whole = [&[2 << 1][..], &octets].concat();

            let made = sent(&mut sender, &octets, version, Limits::default());

            assert_eq!(made, [whole]);
            assert_eq!(received(&mut receiver, &made, Instant::ZERO), [octets]);
        }
    }
}

#[test]
fn every_captured_message_of_zmq_is_made_and_read() {
    let mut count = 0;
    for capture in captures("csp", "zmq_") {
        let version = capture.version();
        let kind = match version {
            Version::V1 => Encapsulation::NextHop(ByteOrder::BigEndian),
            Version::V2 => Encapsulation::Packet,
        };
        let [mut sender, mut receiver] = super::pair(kind, version, 256);
        for (frame, packet) in capture.frames().zip(capture.packets()) {
            let message = frame.octets.to_vec();
            assert_eq!(
                received(&mut receiver, &[&message], Instant::ZERO),
                core::slice::from_ref(&packet)
            );

            let (header, _) = Header::decode(version, &packet).unwrap();
            let mut tx = farlink::Transmit::new(Limits::default());
            let hop = super::to(header.destination);
            sender.push(&mut tx, hop, &packet, &[]);
            assert_eq!(tx.octets(), message);
            count += 1;
        }
    }
    assert!(count > 20, "{count} messages");
}
