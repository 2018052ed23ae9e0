//! Other implementations on this machine. `setup.sh` in this directory installs them.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

#[cfg(feature = "cli")]
mod coturn;
#[cfg(feature = "cli")]
#[path = "../support/csp_captures.rs"]
mod csp_captures;
#[cfg(all(feature = "tokio", feature = "csp-zmq"))]
mod csp_carriers;
#[cfg(feature = "cli")]
mod csp_dissector;
#[cfg(all(feature = "tokio", feature = "csp"))]
mod csp_py;
#[cfg(all(feature = "tokio", feature = "dtp"))]
mod dtp_py;
#[cfg(feature = "cli")]
mod field_peers;
#[cfg(all(feature = "tokio", feature = "cotp", feature = "record"))]
mod hat;
#[cfg(all(feature = "blocking", feature = "ltp"))]
mod licklider;
#[cfg(all(feature = "blocking", feature = "ltp"))]
#[path = "../loopback/mod.rs"]
mod loopback;
#[cfg(all(feature = "tokio", feature = "cotp"))]
mod rusty;
#[cfg(all(feature = "tokio", any(feature = "csp", feature = "cotp")))]
#[allow(dead_code, reason = "each peer needs some of it")]
mod script;
#[cfg(all(feature = "record", feature = "cotp"))]
#[path = "../support/sink.rs"]
mod sink;
#[cfg(all(feature = "record", feature = "sim", feature = "cotp"))]
mod traces;
#[cfg(all(feature = "record", feature = "cotp"))]
mod tshark;
#[cfg(all(feature = "record", feature = "sim", feature = "cotp", feature = "ltp"))]
mod tshark_ltp;
#[cfg(feature = "cli")]
#[path = "../support/vector_octets.rs"]
mod vector_octets;
