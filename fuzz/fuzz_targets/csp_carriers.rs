//! Any octets on the carriers of CSP, and packets over those that lose, swap and repeat frames.
#![no_main]

#[path = "../../tests/support/bodies/csp_carriers.rs"]
mod csp_carrier_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| csp_carrier_bodies::carriers(octets));
