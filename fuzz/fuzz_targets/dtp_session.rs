//! Any octets as a session file of DTP: what decodes comes back.
#![no_main]

#[path = "../../tests/support/bodies/dtp.rs"]
mod dtp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dtp_bodies::session(octets));
