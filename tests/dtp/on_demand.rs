//! Payloads that the application feeds, and transfers that go on with a session.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::crc32;
use farlink::dtp::{
    Command, Config, Error, Event, GetOptions, NeedId, Node, PayloadIdentity, PayloadNeed, Session,
};
use farlink::sim::{Host, Line, Queue, World};
use farlink::{Instant, Seed, Tag};

const SIZE: usize = 300_000;

fn payload() -> Vec<u8> {
    (0..=250).cycle().take(SIZE).collect()
}

fn world(loss: f64) -> (World, Host<Node>, Host<Node>) {
    let mut world = World::new(3);
    let [server, client] = [1, 2].map(|address| {
        let mut config = Config::default();
        config.csp.address = address;
        let node = Node::new(config, &Seed::from(u64::from(address))).unwrap();
        world.host(address, node)
    });
    let line = Line {
        loss,
        ..Line::delayed(Duration::from_millis(5))
    };
    world.wire((server, 0), (client, 0), line);
    (world, server, client)
}

fn options() -> GetOptions {
    GetOptions {
        throughput: 500_000,
        ..GetOptions::default()
    }
}

/// Answers the needs of the server for so many seconds. Returns how many there were.
fn feed(world: &mut World, server: Host<Node>, seconds: u64, data: &[u8]) -> usize {
    let end = world.now() + Duration::from_secs(seconds);
    let mut fed = 0;
    while world.now() < end {
        let needs: Vec<(NeedId, u32, u32)> = world
            .events(server)
            .filter_map(|(_, event)| match event {
                Event::Need(PayloadNeed {
                    need, offset, len, ..
                }) => Some((*need, *offset, *len)),
                _ => None,
            })
            .skip(fed)
            .collect();
        fed += needs.len();
        for (need, offset, len) in needs {
            let start = usize::try_from(offset).unwrap();
            let len = usize::try_from(len).unwrap();
            let data = Bytes::copy_from_slice(&data[start..start + len]);
            world.command(server, Command::Feed { need, data }).unwrap();
        }
        world.run_until(world.now() + Duration::from_millis(1));
    }
    fed
}

#[test]
fn a_payload_on_demand_arrives_whole_over_losses() {
    let (mut world, server, client) = world(0.03);
    let data = payload();
    let identity = PayloadIdentity {
        crc32c: Some(crc32(&[&data])),
        generation: 4,
    };
    let serve = Command::ServeOnDemand {
        payload: 3,
        size: SIZE as u64,
        identity,
    };
    world.command(server, serve).unwrap();
    let get = Command::Get {
        tag: Tag(1),
        server: 1,
        payload: 3,
        options: options(),
    };
    world.command(client, get).unwrap();

    let fed = feed(&mut world, server, 5, &data);

    assert!(fed >= SIZE / 65_536, "{fed} needs");
    let complete = |event: &Event| {
        matches!(
            event,
            Event::Complete {
                is_checked: true,
                ..
            }
        )
    };
    let mut events = world.events(client);
    assert!(events.any(|(_, event)| complete(event)));
}

#[test]
fn octets_that_cannot_be_had_end_the_transfer() {
    let (mut world, server, client) = world(0.0);
    let serve = Command::ServeOnDemand {
        payload: 3,
        size: SIZE as u64,
        identity: PayloadIdentity::default(),
    };
    world.command(server, serve).unwrap();
    let get = Command::Get {
        tag: Tag(1),
        server: 1,
        payload: 3,
        options: GetOptions {
            max_fruitless: 1,
            ..options()
        },
    };
    world.command(client, get).unwrap();
    world.run_until(Instant::ZERO + Duration::from_millis(100));
    let data = Bytes::new();
    let feed = |need, data| Command::Feed { need, data };

    assert_eq!(
        world.command(server, feed(NeedId(99), data.clone())),
        Err(Error::NotNeeded(NeedId(99)))
    );
    world.command(server, feed(NeedId(0), data)).unwrap();
    world.run_until(Instant::ZERO + Duration::from_secs(30));

    let mut events = world.events(client);
    assert!(events.any(|(_, event)| matches!(event, Event::Failed { .. })));
}

#[test]
fn a_payload_beyond_4_gib_is_refused() {
    let mut node = Node::new(Config::default(), &Seed::from(1)).unwrap();
    let serve = Command::ServeOnDemand {
        payload: 3,
        size: 1 << 32,
        identity: PayloadIdentity::default(),
    };

    let refused = farlink::Machine::command(&mut node, Instant::ZERO, serve).unwrap_err();

    assert_eq!(
        refused.to_string(),
        "payload of 4294967296 octets exceeds the limit of 4294967295"
    );
}

/// Killed at any packet, a transfer goes on with what was kept of it, and brings nothing twice.
#[test]
fn a_session_brings_the_rest_and_nothing_else() {
    let data = payload();
    for killed_at in [60, 100, 300, 550, 640] {
        let (mut world, server, client) = world(0.02);
        let serve = Command::Serve {
            payload: 3,
            data: data.clone().into(),
        };
        world.command(server, serve).unwrap();
        let get = Command::Get {
            tag: Tag(1),
            server: 1,
            payload: 3,
            options: options(),
        };
        world.command(client, get).unwrap();
        world.run_until(Instant::ZERO + Duration::from_millis(killed_at));
        let mut session: Option<Session> = None;
        for (_, event) in world.events(client) {
            match event {
                Event::Started {
                    size,
                    session: id,
                    identity,
                    ..
                } => {
                    let mut begun = Session::new((1, 3), options(), *id, *size);
                    begun.identity = *identity;
                    session = Some(begun);
                }
                Event::Data { offset, data, .. } => {
                    session.as_mut().unwrap().add(*offset, data);
                }
                _ => {}
            }
        }
        let session = Session::decode(&session.unwrap().encode()).unwrap();
        let lacks = SIZE as u64 - session.received_octets();
        assert!(lacks > 0, "{killed_at}");
        world.command(client, Command::Cancel(Tag(1))).unwrap();
        let rest = Command::GetRest {
            tag: Tag(2),
            session,
            options: GetOptions::default(),
        };
        world.command(client, rest).unwrap();
        world.run_until(Instant::ZERO + Duration::from_secs(30));

        let mut brought = 0;
        let mut is_complete = false;
        for (_, event) in world.events(client) {
            match event {
                Event::Data {
                    tag: Tag(2), data, ..
                } => brought += data.len() as u64,
                Event::Complete {
                    tag: Tag(2),
                    is_checked,
                    ..
                } => is_complete = *is_checked,
                _ => {}
            }
        }
        assert!(is_complete, "killed at {killed_at} ms");
        assert_eq!(brought, lacks, "killed at {killed_at} ms");
    }
}

/// Runs a client that gets a payload, and returns what it has after each event of data: its session file, and the octets
/// by then.
fn saved_at_every_event(data: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut world, server, client) = world(0.05);
    let serve = Command::Serve {
        payload: 3,
        data: Bytes::copy_from_slice(data),
    };
    world.command(server, serve).unwrap();
    let get = Command::Get {
        tag: Tag(1),
        server: 1,
        payload: 3,
        options: options(),
    };
    world.command(client, get).unwrap();
    world.run_until(Instant::ZERO + Duration::from_secs(5));
    let mut octets = vec![0; data.len()];
    let (mut session, mut saved) = (None, Vec::new());
    for (_, event) in world.events(client) {
        match event {
            Event::Started {
                size,
                session: id,
                identity,
                ..
            } => {
                let mut began = Session::new((1, 3), options(), *id, *size);
                began.identity = *identity;
                session = Some(began);
            }
            Event::Data { offset, data, .. } => {
                let start = usize::try_from(*offset).unwrap();
                octets[start..start + data.len()].copy_from_slice(data);
                session.as_mut().unwrap().add(*offset, data);
            }
            _ => continue,
        }
        saved.push((session.as_ref().unwrap().encode(), octets.clone()));
    }
    assert!(octets == data);
    saved
}

#[test]
fn a_client_that_ends_at_any_packet_goes_on_with_what_it_has() {
    let data = &payload()[..20_100];
    let all = saved_at_every_event(data);
    assert!(all.len() > 90, "an event for nearly every packet");
    for (number, (session, mut octets)) in all.into_iter().enumerate() {
        let session = Session::decode(&session).unwrap();
        let had = session.received_octets();
        let (mut world, server, client) = world(0.02);
        let serve = Command::Serve {
            payload: 3,
            data: Bytes::copy_from_slice(data),
        };
        world.command(server, serve).unwrap();
        let rest = Command::GetRest {
            tag: Tag(1),
            session,
            options: options(),
        };
        world.command(client, rest).unwrap();

        world.run_until(Instant::ZERO + Duration::from_secs(5));

        let (mut came, mut is_checked) = (0, None);
        for (_, event) in world.events(client) {
            match event {
                Event::Data { offset, data, .. } => {
                    let start = usize::try_from(*offset).unwrap();
                    octets[start..start + data.len()].copy_from_slice(data);
                    came += data.len() as u64;
                }
                Event::Complete { is_checked: it, .. } => is_checked = Some(*it),
                _ => {}
            }
        }
        assert!(octets == data, "saved {number}");
        assert_eq!(had + came, data.len() as u64, "saved {number}");
        let is_known = had < data.len() as u64;
        assert!(
            is_checked.is_some_and(|it| it || !is_known),
            "saved {number}"
        );
    }
}

/// Gets a payload at a rate that follows what arrives over a line of so many octets per second, and returns how long it
/// takes and the packets that were asked for again.
fn followed(octets_per_second: u64, loss: f64) -> (Duration, u64) {
    let mut world = World::new(5);
    let [server, client] = [1, 2].map(|address| {
        let mut config = Config::default();
        config.csp.address = address;
        let node = Node::new(config, &Seed::from(u64::from(address))).unwrap();
        world.host(address, node)
    });
    let line = Line {
        loss,
        rate: Some(octets_per_second * 8),
        queue: Queue::Drop(50_000),
        ..Line::delayed(Duration::from_millis(5))
    };
    world.wire((server, 0), (client, 0), line);
    let data = Bytes::from(vec![7; 1_000_000]);
    world
        .command(server, Command::Serve { payload: 3, data })
        .unwrap();
    let get = Command::Get {
        tag: Tag(1),
        server: 1,
        payload: 3,
        options: GetOptions {
            throughput: 100_000,
            follows_loss: true,
            ..GetOptions::default()
        },
    };
    world.command(client, get).unwrap();
    world.run_until(Instant::ZERO + Duration::from_secs(100));
    let end = world.events(client).find_map(|(time, event)| match event {
        Event::Complete { asked_again, .. } => Some((time - Instant::ZERO, *asked_again)),
        _ => None,
    });
    end.unwrap()
}

#[test]
fn a_rate_that_follows_finds_that_of_the_line() {
    for (rate, loss) in [
        (200_000, 0.0),
        (1_000_000, 0.0),
        (5_000_000, 0.0),
        (1_000_000, 0.005),
    ] {
        let (time, again) = followed(rate, loss);

        let least = Duration::from_micros(1_000_000 * 1_000_000 / rate);
        let name = format!("{rate}, {loss}: {time:?} of {least:?}, {again} of 5000 again");
        assert!(time < least * 3 / 2 + Duration::from_secs(1), "{name}");
        assert!(again < 750, "{name}");
    }
}
