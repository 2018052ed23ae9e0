//! How to use the crate: its map, a driver of one's own, a machine of one's own, recordings.
//!
//! | page | answers |
//! |---|---|
//! | [`map`] | What is each module for, what may it import, and where is a given thing? |
//! | [`driver`] | How do I run a machine in an event loop that the crate has no adapter for? |
//! | `machine` (features `arbitrary`, `record`, `sim`) | How do I write a protocol, and what do I get for it? |
//! | `hat` (features `cotp`, `tokio`) | How do I talk to hat-drivers, and what is its call here? |
//! | `ion` (features `blocking`, `ltp`) | How do I exchange blocks with ION, and what is pyion's call here? |
//! | `hdtn` (feature `ltp`) | How do I exchange blocks with HDTN, and how fast are they? |
//! | `libcsp` (features `blocking`, `dtp`) | How do I talk to nodes of libcsp and libdtp, and what is their call here? |
//! | `recording` (features `cotp`, `record`) | How do I record what happens in production, and replay it in a test? |
//!
//! The long programs on these pages are those of the folder `examples`, which CI compiles and runs.

#[doc = include_str!("map.md")]
pub mod map {}

#[cfg(all(feature = "std", feature = "cotp", feature = "ltp"))]
#[doc = include_str!("driver.md")]
///
/// # A loop for datagrams
///
#[doc = concat!("```no_run\n", include_str!("../../examples/ltp_mio.rs"), "\n```")]
///
/// # A loop for a byte stream
///
#[doc = concat!("```no_run\n", include_str!("../../examples/cotp_std.rs"), "\n```")]
pub mod driver {}

#[cfg(all(feature = "arbitrary", feature = "record", feature = "sim"))]
#[doc = include_str!("machine.md")]
///
#[doc = concat!("```\n", include_str!("../../examples/stop_and_wait.rs"), "\n```")]
pub mod machine {}

#[cfg(all(feature = "cotp", feature = "record"))]
#[doc = include_str!("recording.md")]
#[cfg_attr(
    all(feature = "blocking", feature = "dtp"),
    doc = include_str!("recording_dtp.md")
)]
///
/// # A replay in a test
///
#[doc = concat!("```\n", include_str!("../../examples/replay_in_a_test.rs"), "\n```")]
pub mod recording {}

#[cfg(all(feature = "cotp", feature = "tokio"))]
#[doc = include_str!("hat.md")]
pub mod hat {}

#[cfg(all(feature = "blocking", feature = "ltp"))]
#[doc = include_str!("ion.md")]
pub mod ion {}

#[cfg(feature = "ltp")]
#[doc = include_str!("hdtn.md")]
pub mod hdtn {}

#[cfg(all(feature = "blocking", feature = "dtp"))]
#[doc = include_str!("libcsp.md")]
pub mod libcsp {}
