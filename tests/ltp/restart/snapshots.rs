//! What snapshots have, and which are refused.

use super::*;

/// Snapshots of both engines from all moments of a transfer.
fn snapshots() -> Vec<Snapshot<Hop>> {
    let mut all = Vec::new();
    for victim in [0, 1] {
        for step in (5..steps_of(3, 300, Plan::NONE)).step_by(9) {
            let plan = Plan {
                victim,
                step,
                again: Some(usize::MAX / 2),
                ..Plan::NONE
            };
            let mut world = World::new(3, 300, plan);
            world.is_stopping = true;
            all.extend(world.transfer().nodes[victim].disk.back().cloned());
        }
    }
    all
}

fn restored(
    config: Config,
    snapshot: Snapshot<Hop>,
    age: Age,
) -> Result<Engine<Hop>, RestoreError> {
    Engine::restore(
        config,
        Seed::from(77),
        snapshot,
        age,
        Instant::from_nanos(5),
    )
}

#[test]
fn what_is_restored_at_once_saves_what_it_was_restored_from() {
    for snapshot in snapshots() {
        let id = usize::try_from(snapshot.engine()).unwrap() - 1;
        let engine = restored(config(id), snapshot.clone(), Age::Current).unwrap();

        let again = engine.snapshot(Instant::from_nanos(5));

        let tags = |of: &Snapshot<Hop>| of.tags().collect::<Vec<_>>();
        assert_eq!(tags(&again), tags(&snapshot));
        let third = restored(config(id), again.clone(), Age::Current).unwrap();
        assert_eq!(third.usage().sessions, engine.usage().sessions);
        assert_eq!(third.usage().octets_held, engine.usage().octets_held);
    }
}

#[test]
fn a_snapshot_of_another_engine_or_beyond_the_limits_is_refused() {
    let snapshot = snapshots()
        .into_iter()
        .find(|one| one.tags().count() == 2)
        .unwrap();
    let refused = |change: fn(&mut Config)| {
        let mut config = config(0);
        change(&mut config);
        restored(config, snapshot.clone(), Age::Current).unwrap_err()
    };

    assert_eq!(
        refused(|config| config.engine = 5),
        RestoreError::Engine { id: 1, own: 5 }
    );
    assert_eq!(
        refused(|config| config.limits.exports = 1),
        RestoreError::Limit {
            field: "exports",
            value: 2,
            limit: 1
        }
    );
    assert_eq!(
        refused(|config| config.limits.export_octets = 2499),
        RestoreError::Limit {
            field: "export octets",
            value: 2500,
            limit: 2499
        }
    );
    assert_eq!(
        refused(|config| config.limits.peers = 0),
        RestoreError::Refused {
            field: "peers",
            at: 0,
            error: Error::TooManyPeers { limit: 0 }
        }
    );
    assert_eq!(
        refused(|config| config.limits.services = 0).to_string(),
        "services[0]: limit of 0 client services reached"
    );
}

/// Replaces every leaf of a document, one after the other, by each of many values.
#[cfg(feature = "serde")]
fn damage(document: &serde_json::Value, each: &mut dyn FnMut(&str, serde_json::Value)) {
    use serde_json::{Value, json};
    fn leaves(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    leaves(&format!("{at}/{name}"), field, found);
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate().take(3) {
                    leaves(&format!("{at}/{place}"), item, found);
                }
            }
            _ => {}
        }
        found.push(at.to_string());
    }
    let mut found = Vec::new();
    leaves("", document, &mut found);
    for at in found {
        let old = document.pointer(&at).unwrap();
        let mut values = vec![
            json!(null),
            json!(0),
            json!(1),
            json!(u64::MAX),
            json!("hex:00"),
        ];
        values.extend([json!(u64::MAX - 1), json!(true), json!(false), json!([])]);
        if let Some(number) = old.as_u64() {
            values.extend([json!(number.wrapping_add(1)), json!(number.wrapping_sub(1))]);
        }
        if let Some(items) = old.as_array() {
            values.push([items.as_slice(), items].concat().into());
            values.push(items.iter().rev().cloned().collect());
        }
        for value in values {
            let mut damaged = document.clone();
            *damaged.pointer_mut(&at).unwrap() = value;
            each(&at, damaged);
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_damaged_snapshot_is_refused_or_makes_an_engine_that_works_within_its_limits() {
    use farlink::laws::LawSubject as _;

    let small = |id| Config {
        limits: EngineLimits {
            exports: 4,
            imports: 4,
            export_octets: 5000,
            import_octets: 20_000,
            events: 16,
            ..EngineLimits::default()
        },
        ..config(id)
    };
    let (mut refused, mut taken) = (0, 0);
    for snapshot in snapshots().into_iter().step_by(7) {
        let id = usize::try_from(snapshot.engine()).unwrap() - 1;
        let document = serde_json::to_value(&snapshot).unwrap();
        damage(&document, &mut |at, damaged| {
            let Ok(snapshot) = serde_json::from_value(damaged) else {
                refused += 1;
                return;
            };
            let config = small(id);
            let ceiling = Engine::<Hop>::memory_limit(&config);
            let Ok(mut engine) = restored(config.clone(), snapshot, Age::Current) else {
                refused += 1;
                return;
            };
            taken += 1;
            assert!(engine.memory() <= ceiling, "{at}");
            live_on(&mut engine, at);
            assert!(engine.memory() <= ceiling, "{at}");
            // What it then is can be saved and restored.
            let again = engine.snapshot(Instant::from_nanos(6));
            restored(config, again, Age::Behind).unwrap();
        });
    }
    assert!(refused > 1000 && taken > 300, "{refused} {taken}");
}

#[cfg(feature = "serde")]
fn live_on(engine: &mut Engine<Hop>, at: &str) {
    let mut tx = Transmit::new(Limits::default());
    let mut now = Instant::from_nanos(5);
    for _ in 0..2000 {
        match engine.poll(now, &mut tx) {
            Output::Idle(Some(deadline)) => now = deadline,
            Output::Idle(None) => return,
            _ => {}
        }
    }
    panic!("it never ends: {at}");
}

/// A peer must not be able to bring an engine into a state that cannot be restored.
#[cfg(feature = "arbitrary")]
#[test]
fn whatever_was_done_to_an_engine_its_snapshot_is_taken_back() {
    use farlink::laws::LawSubject as _;
    use farlink::ltp::Command;

    let mut busy = 0;
    tries(2500, 1 << 10..=1 << 14, |u| {
        let config: Config = u.arbitrary()?;
        let Some(mut engine) = Engine::<Hop>::make(&config, Seed::from(9)) else {
            return Ok(());
        };
        let ceiling = Engine::<Hop>::memory_limit(&config);
        let mut tx = Transmit::new(Limits::default());
        let mut now = Instant::ZERO;
        while !u.is_empty() {
            match u.int_in_range(0..=9)? {
                0..=2 => drop(engine.command(now, u.arbitrary::<Command<Hop>>()?)),
                3..=6 => {
                    let octets = Engine::<Hop>::arbitrary_octets(&config, u)?;
                    engine.receive(now, u.arbitrary()?, &octets);
                }
                7 => now += Duration::from_millis(u.int_in_range(0..=3000)?),
                _ => drop(engine.poll(now, &mut tx)),
            }
            if u.ratio(1, 8)? {
                let age = if u.arbitrary()? {
                    Age::Current
                } else {
                    Age::Behind
                };
                let snapshot = engine.snapshot(now);
                busy += usize::from(engine.usage().sessions != (0, 0));
                engine =
                    Engine::restore(config.clone(), Seed::from(3), snapshot, age, now).unwrap();
                assert!(engine.memory() <= ceiling);
            }
        }
        Ok(())
    });
    let is_alone = number("FARLINK_SEED").is_some();
    assert!(busy > 20 || is_alone, "{busy} snapshots with sessions");
}

#[test]
fn strangers_and_contacts_are_as_they_were() {
    let now = Instant::ZERO;
    let mut engine = Engine::new(config(1), Seed::from(1)).unwrap();
    engine.open(now, CLIENT, Service::Whole).unwrap();
    engine
        .accept_unknown_peers(now, Some(Peer::at(hop(9)).with_flow(Flow::Unlimited)), 2)
        .unwrap();
    let data = |originator| {
        let session = SessionId {
            originator,
            number: 5,
        };
        let mut octets = Vec::new();
        let body = Body::Data(Data {
            client: CLIENT,
            offset: 0,
            color: Color::Red(None),
            octets: &[7; 10],
        });
        Segment::new(session, body).encode(&mut octets);
        octets
    };
    engine.receive(now, hop(3), &data(3));
    engine.contact(now, 3, Cue::MustStop).unwrap();
    engine.contact(now, 3, Cue::PeerStopped).unwrap();

    let mut engine = restored(config(1), engine.snapshot(now), Age::Current).unwrap();

    let mut tx = Transmit::new(Limits::default());
    assert!(matches!(
        engine.poll(Instant::from_nanos(5), &mut tx),
        Output::Event(Event::UnknownPeer { peer: 3 })
    ));
    assert_eq!(
        engine.poll(Instant::from_nanos(6), &mut tx),
        Output::Idle(Some(Instant::from_nanos(5) + Duration::from_secs(30))),
        "timers stand still but the one that ends the session of a stranger, nothing is sent"
    );
    assert_eq!(engine.usage().sessions, (0, 1));
    engine.receive(now, hop(4), &data(4));
    engine.receive(now, hop(5), &data(5));
    assert_eq!(engine.usage().sessions, (0, 2), "two sessions, no more");
}
