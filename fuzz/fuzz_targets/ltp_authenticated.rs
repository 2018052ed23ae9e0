//! An engine that demands authentication, under the laws.
#![no_main]

#[path = "../../tests/support/bodies/ltp.rs"]
mod ltp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| ltp_bodies::authenticated(octets));
