//! Any octets as segments: what decodes encodes to itself.
#![no_main]

#[path = "../../tests/support/bodies/ltp.rs"]
mod ltp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| ltp_bodies::wire(octets));
