//! Two nodes, and what is done with them.

use bytes::Bytes;
use farlink::adapters::ltp::{Error, ReceivedKind};
use farlink::ltp::{Config, Flow, Peer, Reason, Side};

use super::face::{AccessPoint, Node, Task, next, spawn};
use crate::loopback::here;

pub(crate) fn node(engine: u64) -> Node {
    Node::bind(here(), Config::engine(engine)).unwrap()
}

/// Two nodes that know each other.
pub(crate) fn pair() -> (Node, Node) {
    let (one, two) = (node(1), node(2));
    one.add_peer(2, Peer::at(two.local_addr())).unwrap();
    two.add_peer(1, Peer::at(one.local_addr())).unwrap();
    (one, two)
}

/// Makes `from` send so many octets a second to `to`.
pub(crate) fn slow_down(from: &Node, to: &Node, rate: u64) {
    let flow = Flow::rate(rate).with_burst(10_000);
    let peer = Peer::at(to.local_addr()).with_flow(flow);
    from.change_peer(2, peer).unwrap();
}

/// Sends a block and waits for its end, beside the caller.
pub(crate) fn sending(near: &AccessPoint, block: Bytes) -> Task<Result<(), Error>> {
    let near = near.clone();
    spawn(async move { near.send(2, block).await.map(drop) })
}

/// Waits behind the pieces for the end of a reception.
pub(crate) async fn cancellation(far: &AccessPoint) -> (Side, Reason) {
    loop {
        match next(far).await.kind {
            ReceivedKind::Piece { .. } => {}
            ReceivedKind::Cancelled { by, reason, .. } => return (by, reason),
            other => panic!("{other:?}"),
        }
    }
}
