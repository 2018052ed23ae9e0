//! The contacts of a node, which follow a contact plan.

use core::time::Duration;

use core::net::SocketAddr;
use farlink::Instant;
use farlink::adapters::tokio::ltp::{Error, Node};
use farlink::ltp::Peer;
use serde_json::json;

use super::at_rate;
use crate::contact_plan::{ContactPlan, LinkState};
use crate::output::OutputFormat;
use crate::recording;

/// How long answers may be on their way beside the light time, when the last contact is over.
const MARGIN: Duration = Duration::from_secs(2);

/// Tells a node about the contacts with one peer.
pub(super) struct Contacts {
    pub(super) plan: ContactPlan,
    pub(super) format: OutputFormat,
    pub(super) own: u64,
    pub(super) id: u64,
    pub(super) peer: Peer<SocketAddr>,
    /// When the plan was read, by the clock of the node.
    pub(super) start: Instant,
    /// The time up to which the node knows of the plan.
    pub(super) time: i64,
}

impl Contacts {
    /// Tells the node of the link as it is.
    ///
    /// # Errors
    ///
    /// The node is closed.
    pub(super) fn begin(&mut self, node: &Node) -> Result<(), Error> {
        self.time = self.now();
        self.apply(node, self.state())
    }

    /// Follows the plan, and returns when nothing more can come of it.
    pub(super) async fn follow(mut self, node: Node) {
        let mut state = self.state();
        while let Some(next) = self.plan.next_change(self.own, self.id, self.time) {
            let wait = recording::clock().wait(self.instant(next));
            tokio::time::sleep(wait).await;
            self.time = next;
            let before = core::mem::replace(&mut state, self.state());
            if state != before && self.apply(&node, state).is_err() {
                break;
            }
        }
        // The last segments are on their way.
        tokio::time::sleep(self.peer.timers.owlt_in + MARGIN).await;
    }

    fn state(&self) -> LinkState {
        self.plan.state_at(self.own, self.id, self.time)
    }

    /// Returns the seconds that have passed.
    fn now(&self) -> i64 {
        let passed = recording::clock().now() - self.start;
        i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
    }

    fn instant(&self, time: i64) -> Instant {
        self.start + Duration::from_secs(u64::try_from(time).unwrap_or_default())
    }

    fn apply(&mut self, node: &Node, state: LinkState) -> Result<(), Error> {
        let rate = state.transmits.map(|(rate, _)| rate);
        let mut peer = at_rate(self.peer.clone(), rate);
        let timers = &mut peer.timers;
        timers.owlt_out = state.owlt_out.unwrap_or(timers.owlt_out);
        timers.owlt_in = state.owlt_in.unwrap_or(timers.owlt_in);
        if peer != self.peer {
            self.peer = peer.clone();
            node.change_peer(self.id, peer)?;
        }
        for cue in state.cues(|time| self.instant(time)) {
            node.contact(self.id, cue)?;
        }
        self.report(state);
        Ok(())
    }

    fn report(&self, state: LinkState) {
        let (id, rate) = (self.id, state.transmits.map(|(rate, _)| rate));
        let text = || {
            let own = rate.map_or("this engine must be silent".into(), |rate| {
                format!("this engine transmits {rate} octets/s")
            });
            let peer = if state.peer_transmits {
                "transmits"
            } else {
                "is silent"
            };
            format!("contact with engine {id}: {own}, the peer {peer}")
        };
        let object = || {
            json!({
                "event": "contact",
                "peer": id,
                "rate": rate,
                "peer_transmits": state.peer_transmits,
            })
        };
        self.format.report(text, object);
    }
}
