//! Peers that answer, and whose answers bring a block no further: a checkpoint is sent as often as the retries say, and
//! the block fails.

use farlink::ltp::{Body, Claims, Color, Config, EndCause, Event, Flow, Limit, Peer, Report, Side};

use super::{PEER, block, checkpoints};
use crate::ltp_alone::{Alone, encode, secs};

/// What a peer says about a checkpoint, given its serial number, the first one of the session and the end of the block.
type Answer =
    fn(serial: u64, count: u64, first: u64, end: u64) -> (u64, u64, core::ops::Range<u64>);

/// Returns the checkpoints that were sent, and the event that ended the block.
fn talk(retries: u8, answer: Answer) -> (Vec<u64>, Option<Event>) {
    let mut alone = Alone::new(Config::engine(1), 1);
    let mut peer = Peer::at(PEER);
    peer.limits.checkpoint_retries = retries;
    alone.engine.add_peer(alone.now, 2, peer).unwrap();
    let end = 10_000;
    let id = alone.engine.send_block(alone.now, block(2, end)).unwrap();
    alone.drain();
    let (mut answered, mut count) = (0, 0);
    for _ in 0..1800 {
        let sent: Vec<u64> = alone
            .bodies(id)
            .iter()
            .filter_map(|body| match body {
                Body::Data(data) => match data.color {
                    Color::Red(one) => one.map(|one| one.serial),
                    Color::Green { .. } => None,
                },
                _ => None,
            })
            .collect();
        for serial in &sent[answered..] {
            count += 1;
            let (number, checkpoint, scope) = answer(*serial, count, sent[0], end as u64);
            let first = 0..1;
            let report = Report {
                serial: number,
                checkpoint,
                scope: scope.into(),
                claims: Claims::new(core::slice::from_ref(&first)),
            };
            let octets = encode(id, Body::Report(report));
            alone.receive(PEER, &octets);
        }
        answered = sent.len();
        alone.run_for(secs(1));
    }
    assert_eq!(alone.engine.usage().sessions, (0, 0));
    let end = alone.events.iter().map(|(_, event)| event.clone());
    let mut end = end.filter(|event| matches!(event, Event::Failed { .. }));
    let end = end.next();
    (checkpoints(&alone, id), end)
}

#[test]
fn answers_that_claim_nothing_more_count_as_none() {
    let answers: [(&str, Answer); 7] = [
        ("the same claim", |serial, count, _, end| {
            (99 + count, serial, 0..end)
        }),
        ("the same report", |serial, _, _, end| (99, serial, 0..end)),
        ("a short scope", |serial, count, _, _| {
            (99 + count, serial, 0..1)
        }),
        ("the first checkpoint", |_, count, first, end| {
            (99 + count, first, 0..end)
        }),
        ("no checkpoint", |_, count, _, end| (99 + count, 0, 0..end)),
        ("no checkpoint and a short scope", |_, count, _, _| {
            (99 + count, 0, 0..1)
        }),
        (
            "a checkpoint that was never sent",
            |serial, count, _, end| (99 + count, serial + 9, 0..end),
        ),
    ];
    for (name, answer) in answers {
        for retries in [0, 1, 5] {
            let (sent, end) = talk(retries, answer);

            // The first answer claims an octet, so the count begins anew there once.
            let most = 2 * (usize::from(retries) + 1);
            assert!(
                sent.len() <= most,
                "{name}: {} checkpoints, {retries} retries",
                sent.len()
            );
            let Some(Event::Failed { by, cause, .. }) = end else {
                panic!("{name}: {end:?}");
            };
            assert_eq!(by, Side::Local, "{name}");
            let is_of_retries = matches!(
                cause,
                EndCause::LimitExceeded {
                    limit: Limit::CheckpointRetries,
                    ..
                }
            );
            assert!(is_of_retries, "{name}: {cause:?}");
        }
    }
}

/// Honest receivers claim segments. One octet a round would be as many rounds as the block has octets.
#[test]
fn answers_that_claim_one_octet_each_count_as_none() {
    for is_narrow in [true, false] {
        let mut alone = Alone::new(Config::engine(1), 1);
        let mut peer = Peer::at(PEER).with_flow(Flow::rate(1_000_000));
        peer.limits.problems = 100_000;
        peer.limits.cycles = 100_000;
        alone.engine.add_peer(alone.now, 2, peer).unwrap();
        let block = block(2, 10_000);
        let id = alone.engine.send_block(alone.now, block).unwrap();
        alone.drain();
        let (mut answered, mut count) = (0, 0);
        for _ in 0..200 {
            let sent = checkpoints(&alone, id);
            for serial in &sent[answered..] {
                count += 1;
                let scope = if is_narrow {
                    count - 1..count
                } else {
                    0..10_000
                };
                let claim = if is_narrow {
                    count - 1..count
                } else {
                    0..count
                };
                let report = Report {
                    serial: 99 + count,
                    checkpoint: *serial,
                    scope: scope.into(),
                    claims: Claims::new(core::slice::from_ref(&claim)),
                };
                let octets = encode(id, Body::Report(report));
                alone.receive(PEER, &octets);
            }
            answered = sent.len();
            alone.run_for(secs(60));
        }

        assert!(count <= 12, "{count} checkpoints, {is_narrow}");
        assert_eq!(alone.engine.usage().sessions, (0, 0));
    }
}

/// Reports for which nothing asked, as fast as they come, do not keep a session.
#[test]
fn reports_that_nothing_asked_for_do_not_put_off_the_end_of_a_block() {
    for checkpoint_of in [0, 1] {
        let mut alone = Alone::new(Config::engine(1), 1);
        alone.engine.add_peer(alone.now, 2, Peer::at(PEER)).unwrap();
        let id = alone.engine.send_block(alone.now, block(2, 5000)).unwrap();
        alone.drain();
        let first = checkpoints(&alone, id)[0];
        for count in 0..600 {
            let claim = 0..1;
            let report = Report {
                serial: 100 + count,
                checkpoint: checkpoint_of * first,
                scope: (0..1).into(),
                claims: Claims::new(core::slice::from_ref(&claim)),
            };
            let octets = encode(id, Body::Report(report));
            alone.receive(PEER, &octets);
            alone.run_for(core::time::Duration::from_millis(500));
        }

        assert_eq!(alone.engine.usage().sessions.0, 0, "{checkpoint_of}");
    }
}
