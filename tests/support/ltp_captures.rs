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

pub(crate) use crate::vector_octets::Octets;

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
    #[serde(default)]
    pub(crate) injected: bool,
}

impl Capture {
    /// The client service of the block.
    pub(crate) fn service(&self) -> u64 {
        self.conditions.client_service.unwrap_or_else(|| {
            let octets = self.segments[0].octets.to_vec();
            match Segment::decode(&octets).unwrap().body {
                Body::Data(data) => data.client,
                other => panic!("{other:?}"),
            }
        })
    }
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
