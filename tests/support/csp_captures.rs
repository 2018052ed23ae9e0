//! Captures of libcsp and libdtp, as `vectors/csp` and `vectors/dtp` keep them.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use core::time::Duration;
use std::fs;
use std::path::Path;

use farlink::csp::{Flags, Packet, Version};
use serde::Deserialize;

pub(crate) use crate::vector_octets::Octets;

#[derive(Deserialize)]
pub(crate) struct Capture {
    pub(crate) name: String,
    version: u8,
    pub(crate) hmac_passphrase: Option<String>,
    pub(crate) payload_size: Option<u32>,
    #[serde(default)]
    pub(crate) server_notices: Vec<String>,
    #[serde(default)]
    pub(crate) packets: Vec<Fields>,
    pub(crate) phases: Vec<Phase>,
}

/// A packet as it was handed to an interface.
#[derive(Deserialize)]
pub(crate) struct Fields {
    pub(crate) priority: u8,
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) destination_port: u8,
    pub(crate) source_port: u8,
    pub(crate) flags: u8,
    pub(crate) data: Octets,
}

#[derive(Deserialize)]
pub(crate) struct Phase {
    pub(crate) outcome: Option<String>,
    pub(crate) session_file: Option<Octets>,
    pub(crate) frames: Vec<Frame>,
}

#[derive(Deserialize)]
pub(crate) struct Frame {
    pub(crate) t_us: u64,
    pub(crate) from: Option<Side>,
    pub(crate) packet: Option<usize>,
    pub(crate) octets: Octets,
    #[serde(default)]
    pub(crate) dropped: bool,
    #[serde(default)]
    pub(crate) duplicated: bool,
    #[serde(default)]
    pub(crate) held: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    Client,
    Server,
}

impl Capture {
    pub(crate) fn version(&self) -> Version {
        if self.version == 1 {
            Version::V1
        } else {
            Version::V2
        }
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.phases.iter().flat_map(|phase| &phase.frames)
    }

    /// What a packet carries before the trailers of RDP and CRC32, if it is well-formed.
    pub(crate) fn data_of(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let mut packet = Packet::decode(self.version(), octets).ok()?;
        if packet.header.flags.contains(Flags::CRC32) {
            packet = packet.split_crc32(self.version()).ok()?;
        }
        if packet.header.flags.contains(Flags::RDP) {
            packet = packet.split_rdp().ok()?.1;
        }
        Some(packet.data.to_vec())
    }

    /// The octets of each packet, from its header on.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        // On a hub of ZMQ a link address comes before the header of version 1.
        let before = usize::from(self.name == "zmq_v1");
        self.frames()
            .map(|frame| frame.octets.to_vec()[before..].to_vec())
            .collect()
    }
}

/// The frames of one end as they arrived at the other, with their times after the first frame of both.
pub(crate) fn arrivals(frames: &[Frame], side: Side) -> Vec<(Duration, Vec<u8>)> {
    let mut arrivals = Vec::new();
    let mut held: Option<&Frame> = None;
    for frame in frames.iter().filter(|frame| frame.from == Some(side)) {
        let time = frame.time(frames);
        if frame.held {
            // The one before it was held until this one.
            if let Some(held) = held.replace(frame) {
                arrivals.push((time, held.octets.to_vec()));
            }
            continue;
        }
        let copies = match (frame.dropped, frame.duplicated) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..copies {
            arrivals.push((time, frame.octets.to_vec()));
        }
        if let Some(held) = held.take() {
            arrivals.push((time, held.octets.to_vec()));
        }
    }
    arrivals
}

impl Frame {
    /// Returns the time after the first of `frames`.
    pub(crate) fn time(&self, frames: &[Frame]) -> Duration {
        let start = frames.first().map_or(0, |first| first.t_us);
        Duration::from_micros(self.t_us - start)
    }
}

/// Reads the captures of a folder whose names begin with `start`.
pub(crate) fn captures(protocol: &str, start: &str) -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(protocol);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            name.starts_with(start)
        })
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| toml::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}
