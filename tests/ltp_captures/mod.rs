//! Captures of NASA's engines, as `vectors/ltp` keeps them.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::fs;
use std::path::Path;

use farlink::ltp::{Body, Segment};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Capture {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) sender_notices: Vec<String>,
    #[serde(default)]
    pub(crate) receiver_notices: Vec<String>,
    pub(crate) conditions: Conditions,
    pub(crate) segments: Vec<Record>,
}

#[derive(Deserialize)]
pub(crate) struct Conditions {
    pub(crate) client_service: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) t_us: u64,
    pub(crate) from: u64,
    pub(crate) octets: Octets,
    #[serde(default)]
    pub(crate) dropped: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Octets {
    Hex(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Part {
    Hex(String),
    Pattern { pattern: Pattern },
}

#[derive(Deserialize)]
pub(crate) struct Pattern {
    pub(crate) len: usize,
    pub(crate) seed: usize,
    pub(crate) start: usize,
    pub(crate) every: usize,
    pub(crate) times: usize,
}

impl Capture {
    /// The client service of the block.
    pub(crate) fn service(&self) -> u64 {
        self.conditions.client_service.unwrap_or_else(|| {
            let octets = self.segments[0].octets.joined();
            match Segment::decode(&octets).unwrap().body {
                Body::Data(data) => data.client,
                other => panic!("{other:?}"),
            }
        })
    }
}

impl Octets {
    pub(crate) fn joined(&self) -> Vec<u8> {
        match self {
            Self::Hex(hex) => octets_of(hex),
            Self::Parts(parts) => parts.iter().flat_map(Part::octets).collect(),
        }
    }
}

impl Part {
    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Hex(hex) => octets_of(hex),
            Self::Pattern { pattern } => (pattern.start..pattern.start + pattern.len)
                .map(|at| {
                    let octet = 7 * at + pattern.times * (at / pattern.every) + pattern.seed;
                    u8::try_from(octet % 256).unwrap()
                })
                .collect(),
        }
    }
}

fn octets_of(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn captures() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ltp");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let captures: Vec<Capture> = paths
        .iter()
        .map(|path| toml::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    assert_eq!(captures.len(), 34);
    captures
}
