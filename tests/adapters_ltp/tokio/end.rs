//! A node ends with its runtime.

use std::net::{Ipv4Addr, SocketAddr};

use farlink::adapters::ltp::Error;
use farlink::ltp::{Peer, Red};

use super::pair::node;
use crate::support::CLIENT;

#[test]
fn a_runtime_that_ends_takes_its_nodes_with_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let near = first.block_on(async {
        let earth = node(1);
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        earth.add_peer(2, Peer::at(nobody)).unwrap();
        earth.open(CLIENT).unwrap()
    });
    let mut sending = first.block_on(near.start(2, "hello", Red::All)).unwrap();
    let receiving = second.spawn({
        let near = near.clone();
        async move { near.receive().await }
    });

    drop(first);

    second.block_on(async {
        assert!(matches!(receiving.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(sending.wait().await, Err(Error::Closed)));
        assert!(matches!(near.send(2, "more").await, Err(Error::Closed)));
    });
}
