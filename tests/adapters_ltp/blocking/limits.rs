//! Methods that block, but for a limited time.

use std::time::Duration;

use farlink::adapters::blocking::ltp::Node;
use farlink::adapters::ltp::Error;
use farlink::ltp::{Config, Cue, Peer, Red};

use crate::loopback::here;
use crate::support::CLIENT;

#[test]
fn a_limit_of_time_is_an_error_and_changes_nothing() {
    let bind = |engine| Node::bind(here(), Config::engine(engine)).unwrap();
    let (earth, mars) = (bind(1), bind(2));
    earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut sending = near.start(2, "hello", Red::All).unwrap();

    let received = far.receive_timeout(Duration::from_millis(1));
    assert!(matches!(received, Err(Error::TimedOut)), "{received:?}");
    let ended = sending.wait_timeout(Duration::ZERO);
    assert!(matches!(ended, Err(Error::TimedOut)), "{ended:?}");
    assert_eq!(far.try_receive().unwrap(), None);

    earth.contact(2, Cue::MayTransmit).unwrap();
    assert_eq!(far.receive().unwrap().data, "hello");
    sending.wait().unwrap();
}
