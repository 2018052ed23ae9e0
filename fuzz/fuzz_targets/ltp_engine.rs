//! An engine under the laws, with commands and segments of all kinds.
#![no_main]

#[path = "../../tests/support/bodies/ltp.rs"]
mod ltp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| ltp_bodies::engine(octets));
