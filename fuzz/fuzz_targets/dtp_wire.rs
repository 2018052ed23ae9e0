//! Any octets as messages of DTP: what decodes encodes to itself.
#![no_main]

#[path = "../../tests/support/bodies/dtp.rs"]
mod dtp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dtp_bodies::wire(octets));
