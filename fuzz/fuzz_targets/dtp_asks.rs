//! Any octets behind a request to a server of DTP, in simulated time.
#![no_main]

#[path = "../../tests/support/bodies/dtp.rs"]
mod dtp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dtp_bodies::asks(octets));
