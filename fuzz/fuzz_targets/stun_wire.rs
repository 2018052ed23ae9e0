//! Any octets as messages of STUN: what decodes encodes to itself.
#![no_main]

#[path = "../../tests/support/bodies/stun.rs"]
mod stun_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| stun_bodies::wire(octets));
