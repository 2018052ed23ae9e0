//! Any octets as packets of CSP: what decodes encodes to itself.
#![no_main]

#[path = "../../tests/support/bodies/csp.rs"]
mod csp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| csp_bodies::wire(octets));
