//! Random worlds of COTP machines under the laws.
#![no_main]

#[path = "../../tests/support/bodies/sim.rs"]
mod sim_bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sim_bodies::cotp(octets));
