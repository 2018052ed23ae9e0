//! Any stream, however cut, gives the same frames.
#![no_main]

#[path = "../../tests/support/bodies/cotp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::framing(octets));
