//! A node of DTP, under the laws of every machine.
#![no_main]

#[path = "../../tests/support/bodies/dtp.rs"]
mod dtp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dtp_bodies::node(octets));
