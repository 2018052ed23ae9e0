//! An initiator under the laws.
#![no_main]

#[path = "../../tests/support/bodies/cotp.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::initiator(octets));
