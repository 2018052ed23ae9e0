//! A node of CSP, under the laws of every machine.
#![no_main]

#[path = "../../tests/support/bodies/csp.rs"]
mod csp_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| csp_bodies::node(octets));
