//! Any octets as TPDUs: what decodes encodes to itself.
#![no_main]

#[path = "../../tests/support/bodies/cotp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::decode(octets));
