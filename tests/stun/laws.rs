//! The laws of every machine, checked on clients.

use arbitrary::Unstructured;
use farlink::Seed;
use farlink::laws::{self, Case};
use farlink::stun::Client;

#[test]
fn a_client_keeps_the_laws_under_any_script() {
    crate::tries::tries(1000, 1 << 9..=1 << 14, |u| {
        laws::check(u.arbitrary::<Case<Client>>()?);
        Ok(())
    });
}

/// Here the answers are to requests that were sent.
#[test]
fn a_client_keeps_the_laws_under_answers_to_its_requests() {
    crate::tries::tries(1500, 1 << 7..=1 << 11, |u| {
        let len = u.len();
        let octets = u.bytes(len)?;
        crate::stun_bodies::client(&[&[1], octets].concat());
        Ok(())
    });
}

/// Laws that hold for clients that never send would prove little.
#[test]
fn the_scripts_lead_to_requests_and_events() {
    let (mut made, mut events, mut sends) = (0, 0, 0);
    let mut rng = Seed::from(1).rng();
    for _ in 0..300 {
        let mut octets = [0; 1 << 13];
        rng.fill(&mut octets);
        let case = Unstructured::new(&octets).arbitrary().unwrap();
        let summary = laws::try_check::<Client>(&case).unwrap();
        made += usize::from(summary.is_made);
        events += summary.events;
        sends += summary.sends;
    }
    assert!(
        made > 200 && events > 300 && sends > 150,
        "{made} {events} {sends}"
    );
}
