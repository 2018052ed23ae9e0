//! The laws of every machine, checked on engines of LTP.

use arbitrary::Unstructured;
use farlink::laws::codec;
use farlink::laws::{self, Case};
use farlink::ltp::{Engine, SegmentCodec};
use farlink::{Hop, Seed};

#[test]
fn an_engine_keeps_the_laws_under_any_script() {
    crate::tries::tries(5000, 1 << 10..=1 << 15, |u| {
        laws::check(u.arbitrary::<Case<Engine<Hop>>>()?);
        Ok(())
    });
}

/// Laws that hold for engines that never send would prove little.
#[test]
fn the_scripts_lead_to_segments_and_events() {
    let (mut made, mut events, mut sends) = (0, 0, 0);
    let mut rng = Seed::from(1).rng();
    for _ in 0..300 {
        let mut octets = [0; 1 << 14];
        rng.fill(&mut octets);
        let case = Unstructured::new(&octets).arbitrary().unwrap();
        let summary = laws::try_check::<Engine<Hop>>(&case).unwrap();
        made += usize::from(summary.is_made);
        events += summary.events;
        sends += summary.sends;
    }
    assert!(
        made > 200 && events > 20 && sends > 1000,
        "{made} {events} {sends}"
    );
}

/// Here the segments use the sessions and serial numbers that the engine drew.
#[test]
fn an_engine_keeps_the_laws_under_segments_of_its_own_sessions() {
    for body in [crate::ltp_bodies::engine, crate::ltp_bodies::authenticated] {
        crate::tries::tries(2000, 1 << 9..=1 << 13, |u| {
            let len = u.len();
            let mut octets = u.bytes(len)?.to_vec();
            // A script, and not a capture.
            if let Some(first) = octets.first_mut() {
                *first |= 1;
            }
            body(&octets);
            Ok(())
        });
    }
}

#[test]
fn random_segments_that_decode_encode_to_themselves() {
    let mut rng = Seed::from(3).rng();
    for _ in 0..200_000 {
        let mut octets = vec![0; usize::try_from(rng.below(48)).unwrap()];
        rng.fill(&mut octets);
        if let Some(first) = octets.first_mut() {
            *first &= 0xF;
        }
        for octet in octets.iter_mut().skip(1).take(3) {
            *octet &= 0x31;
        }
        codec::check_octets::<SegmentCodec>(&octets);
    }
}
