//! A client of STUN, under the laws of every machine.
#![no_main]

#[path = "../../tests/support/bodies/stun.rs"]
mod stun_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| stun_bodies::client(octets));
