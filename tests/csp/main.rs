//! CSP through its public interface: rules one by one, captures of libcsp, and the laws of every machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    reason = "tests fail by panicking, on machines with an allocator"
)]

mod alloc;
mod bounds;
#[path = "../support/bodies/csp_carriers.rs"]
mod carrier_bodies;
mod carriers;
#[path = "../support/chaos.rs"]
mod chaos;
#[path = "../support/bodies/csp.rs"]
mod csp_bodies;
#[path = "../support/csp_captures.rs"]
mod csp_captures;
mod laws;
#[path = "../support/libcsp/mod.rs"]
mod libcsp;
mod libcsp_chaos;
mod libcsp_replays;
mod node;
#[path = "../support/node_talk.rs"]
mod node_talk;
mod packets;
mod rates;
mod replays;
mod routing;
#[path = "../support/scripts.rs"]
mod scripts;
mod security;
mod service_replays;
mod services;
mod sfp;
mod stories;
mod talk;
#[path = "../tries/mod.rs"]
mod tries;
#[path = "../support/vector_octets.rs"]
mod vector_octets;
mod wire;
mod world;
