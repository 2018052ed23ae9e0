//! Law 8 for a connection, by the count of the allocator.
//!
//! The allocator counts for the whole process, so this file holds one test.

#[path = "support/bodies/cotp.rs"]
mod bodies;
mod tries;

use std::alloc::System;

use farlink::laws;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tries::tries;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_connection_allocates_no_more_than_its_configuration_allows() {
    for end in [bodies::End::Initiator, bodies::End::Responder] {
        tries(8000, 32..=8000, |u| {
            let case = bodies::case(u, end)?;
            laws::check_metered(&case, allocated);
            Ok(())
        });
    }
}

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
