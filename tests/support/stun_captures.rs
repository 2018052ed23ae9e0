//! Messages of RFCs and captures of coturn, as `vectors/stun` keeps them.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use core::net::SocketAddr;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::vector_octets::Octets;

pub(crate) const CAPTURES: [&str; 5] = [
    "01_binding_udp",
    "02_rfc3489_change_request",
    "03_rfc5780_discovery",
    "04_errors",
    "05_binding_tcp",
];

#[derive(Deserialize)]
pub(crate) struct Rfc {
    pub(crate) messages: Vec<Sample>,
    pub(crate) malformed: Vec<Malformed>,
}

#[derive(Deserialize)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) username: Option<String>,
    pub(crate) userhash_of: Option<String>,
    pub(crate) realm: Option<String>,
    pub(crate) password: String,
    pub(crate) key: Option<String>,
    pub(crate) software: Option<String>,
    pub(crate) mapped: Option<SocketAddr>,
    pub(crate) has_fingerprint: bool,
    pub(crate) integrity: String,
    pub(crate) octets: Octets,
}

#[derive(Deserialize)]
pub(crate) struct Malformed {
    pub(crate) name: String,
    pub(crate) octets: Octets,
}

#[derive(Deserialize)]
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) packets: Vec<Packet>,
}

#[derive(Deserialize)]
pub(crate) struct Packet {
    pub(crate) t_us: u64,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) proto: String,
    pub(crate) note: String,
    pub(crate) octets: Octets,
}

pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let file = format!("vectors/stun/{name}.toml");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
