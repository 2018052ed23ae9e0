//! DTP through its public interface: rules one by one, captures of libdtp, and the laws of every machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests fail by panicking, on machines with an allocator"
)]

mod alloc;
#[path = "../support/chaos.rs"]
mod chaos;
#[path = "../support/csp_captures.rs"]
mod csp_captures;
mod delivery;
#[path = "../support/bodies/dtp.rs"]
mod dtp_bodies;
mod hostile;
mod laws;
#[path = "../support/libcsp/mod.rs"]
mod libcsp;
#[path = "../support/libdtp/mod.rs"]
mod libdtp;
mod model_chaos;
mod model_replays;
mod model_stories;
mod model_vmem;
#[path = "../support/node_talk.rs"]
mod node_talk;
mod on_demand;
#[cfg(feature = "record")]
mod recorded;
mod replays;
#[path = "../support/scripts.rs"]
mod scripts;
mod sessions;
#[cfg(feature = "record")]
#[path = "../support/sink.rs"]
mod sink;
mod talk;
#[path = "../tries/mod.rs"]
mod tries;
#[path = "../support/vector_octets.rs"]
mod vector_octets;
mod vmem;
mod wire;
mod world;
