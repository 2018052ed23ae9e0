//! An engine that demands authentication, under the laws.
#![no_main]

#[path = "../ltp_bodies.rs"]
mod ltp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| ltp_bodies::authenticated(octets));
