//! Random tests by numbered seeds, as the unit tests have them.
#![allow(
    dead_code,
    unused_imports,
    reason = "every test target uses another part of it"
)]

#[path = "../../src/tests/tries.rs"]
mod numbered;

pub(crate) use numbered::{Named, number, seeds, tries};
