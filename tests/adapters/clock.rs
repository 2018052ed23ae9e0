//! Machines, timers and handles live by the one clock of their runtime.

use std::net::TcpListener;
use std::time::Duration;

use farlink::adapters::tokio::cotp::{self, Error};
use farlink::cotp::{Config, Policy, Selector};

use crate::loopback::here;

/// With a second clock the machine would never find its deadline due, and its driver would spin.
#[tokio::test(start_paused = true)]
async fn a_handshake_times_out_by_a_clock_that_a_test_pauses() {
    let silent = TcpListener::bind(here()).unwrap();
    let mut config = Config::initiator(None, Some(Selector::from(1)));
    config.timers.answer_timeout = Some(Duration::from_secs(3600));
    let start = tokio::time::Instant::now();

    let error = cotp::connect(silent.local_addr().unwrap(), config)
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Ended(_)), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_wakes_nobody_while_the_clock_stands_still() {
    let mut config = Config::responder(Policy::AcceptAny);
    config.timers.idle_timeout = Some(Duration::from_secs(60));
    let listener = cotp::listen(here(), config).await.unwrap();
    let address = listener.local_addr();
    let connecting = cotp::connect(address, Config::initiator(None, None));
    let (near, far) = tokio::join!(connecting, listener.accept());
    let (_near, mut far) = (near.unwrap(), far.unwrap());
    let start = tokio::time::Instant::now();

    // Time goes on only while every task of the runtime sleeps.
    let error = far.receive().await.unwrap_err();

    assert!(matches!(error, Error::Ended(_)), "{error}");
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_secs(60), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(61), "{elapsed:?}");
}
