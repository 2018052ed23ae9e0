//! A connection weighed by the allocator and not by its own count: law 8.
//!
//! The allocator counts for the whole process, so this file holds one test.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::alloc::System;

use arbtest::arbtest;
use farlink::laws;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_connection_holds_no_more_than_its_configuration_allows() {
    for end in [bodies::End::Initiator, bodies::End::Responder] {
        arbtest(|u| {
            let case = bodies::case(u, end)?;
            laws::check_metered(&case, allocated);
            Ok(())
        })
        .size_max(8000)
        .budget_ms(3000);
    }
}

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
