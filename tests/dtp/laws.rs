//! The laws of every machine, checked on nodes.

use arbitrary::Unstructured;
use farlink::Seed;
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
    let (mut made, mut events, mut sends) = (0, 0, 0);
    let mut rng = Seed::from(1).rng();
    for _ in 0..300 {
        let mut octets = [0; 1 << 13];
        rng.fill(&mut octets);
        let case = Unstructured::new(&octets).arbitrary().unwrap();
        let summary = laws::try_check::<Node>(&case).unwrap();
        made += usize::from(summary.is_made);
        events += summary.events;
        sends += summary.sends;
    }
    assert!(
        made > 200 && events > 200 && sends > 300,
        "{made} {events} {sends}"
    );
}
