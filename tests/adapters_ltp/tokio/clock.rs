//! Timers and the engine live by one clock, which is that of tokio.

use std::net::UdpSocket;
use std::time::Duration;

use farlink::adapters::ltp::Error;
use farlink::ltp::Peer;
use tokio::time::Instant;

use super::pair::node;
use crate::loopback::here;
use crate::support::CLIENT;

/// A second clock would show the engine no time while tokio's timers fire, so that the driver spins.
#[tokio::test(start_paused = true)]
async fn under_a_paused_clock_timers_fire_as_fast_as_that_clock_is_moved_on() {
    let earth = node(1);
    let silent = UdpSocket::bind(here()).unwrap();
    let mut peer = Peer::at(silent.local_addr().unwrap());
    peer.timers.own_delay = Duration::from_secs(600);
    peer.timers.remote_delay = Duration::from_secs(600);
    earth.add_peer(2, peer).unwrap();
    let near = earth.open(CLIENT).unwrap();
    let start = Instant::now();

    let outcome = near.send(2, "anybody there?").await;

    assert!(matches!(outcome, Err(Error::Failed { .. })), "{outcome:?}");
    // Hours by tokio's clock, and an instant by any other.
    assert!(start.elapsed() > Duration::from_secs(3600));
    assert_eq!(earth.stats().udp.unsent, 0);
}
