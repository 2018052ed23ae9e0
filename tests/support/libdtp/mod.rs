//! A model of libdtp in both dialects, faults included: its server and its client as programs on the model of
//! libcsp.
//!
//! It is written from descriptions of libdtp and proven by captures of it, and shares nothing with this crate but what
//! the model of libcsp does.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of a test fails the test"
)]

mod client;
mod request;
mod server;
mod vmem;

pub(crate) use client::{Client, ClientCommand, Ended, Session};
pub(crate) use request::Request;
pub(crate) use server::{Server, ServerCommand};
pub(crate) use vmem::{Memory, VmemServer};

/// Where requests go, and where data come.
const REQUEST_PORT: u8 = 7;
const DATA_PORT: u8 = 8;
/// Where messages of VMEM go.
const VMEM_PORT: u8 = 14;
/// The octets before the data in a packet.
const DATA_HEADER: u32 = 8;
