//! The heap that an idle connection takes, with its driver, its handles and what the runtime has for it.
#![cfg(all(feature = "cotp", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::net::Ipv4Addr;
use std::alloc::System;

use farlink::adapters::tokio::cotp;
use farlink::cotp::{Config, Policy};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn an_idle_connection_takes_at_most_three_kibibytes_with_its_driver_and_handles() {
    const PAIRS: usize = 200;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Config::responder(Policy::AcceptAny);
        let listener = cotp::listen((Ipv4Addr::LOCALHOST, 0), server)
            .await
            .unwrap();
        let mut connections = Vec::with_capacity(2 * PAIRS + 20);
        // What is made once is made by the first.
        for _ in 0..10 {
            connections.extend(pair(&listener).await);
        }
        let region = Region::new(HEAP);

        for _ in 0..PAIRS {
            connections.extend(pair(&listener).await);
        }
        // Tasks of handshakes end.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }

        let change = region.change();
        let bytes = change.bytes_allocated - change.bytes_deallocated;
        let each = bytes / (2 * PAIRS);
        println!("{each} bytes each");
        assert!(each <= 3 << 10, "{each} bytes each");
    });
}

async fn pair(listener: &cotp::Listener) -> [cotp::Connection; 2] {
    let connecting = cotp::connect(listener.local_addr(), Config::default());
    let (near, far) = tokio::join!(connecting, listener.accept());
    [near.unwrap(), far.unwrap()]
}
