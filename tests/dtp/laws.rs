//! The laws of every machine, checked on nodes.

use farlink::dtp::Node;
use farlink::laws::{self, Case};

#[test]
fn a_node_keeps_the_laws_under_any_script() {
    crate::tries::tries(1500, 1 << 9..=1 << 14, |u| {
        laws::check(u.arbitrary::<Case<Node>>()?);
        Ok(())
    });
}

/// Laws that hold for nodes that never send would prove little.
#[test]
fn the_scripts_lead_to_packets_and_events() {
    let [made, events, sends] = crate::scripts::outcome::<Node>();
    assert!(
        made > 200 && events > 200 && sends > 300,
        "{made} {events} {sends}"
    );
}
