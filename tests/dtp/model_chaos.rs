//! Nodes of this crate and the model of libdtp, in both roles, on lines with loss, duplicates and reordering, and with
//! restarts.

use core::time::Duration;

use bytes::Bytes;
use farlink::dtp::{Command, Config, Event, GetOptions, Node};
use farlink::sim::{Host, World};
use farlink::{Instant, Rng, Seed, Tag};

use crate::chaos::{line, ms};
use crate::libcsp::{self, Build, Libcsp};
use crate::libdtp::{Client, ClientCommand, Ended, Server, ServerCommand, Session};
use crate::tries::{Named, seeds};

const SERVER: u16 = 1;
const CLIENT: u16 = 2;
/// In the default run; `FARLINK_TRIES` multiplies it.
const SEEDS: u64 = 600;
const PAYLOAD: u8 = 3;
/// The longest that a transfer may take.
const LIMIT: Duration = Duration::from_secs(1200);

/// Returns some octets, at most so many.
pub(crate) fn payload(rng: &mut Rng, most: u64) -> Bytes {
    let octets = 1 + rng.below(most);
    (0..octets)
        .map(|_| rng.next_u64().to_le_bytes()[0])
        .collect()
}

pub(crate) fn throughput(rng: &mut Rng) -> u32 {
    [8000, 20_000, 40_000, 200_000][usize::try_from(rng.below(4)).unwrap()]
}

pub(crate) fn our_node(address: u16, seed: &Seed, mut config: Config) -> Node {
    config.csp.address = address;
    Node::new(config, &seed.child("ours")).unwrap()
}

/// Returns the session that libdtp begins with.
pub(crate) fn fresh(payload: u8, throughput: u32) -> Session {
    Session {
        server: SERVER,
        payload,
        id: 0x900D_FACE,
        mtu: 208,
        throughput,
        idle_timeout: 3,
        octets: 0,
        size: 0,
        ranges: Vec::new(),
    }
}

/// Runs until the transfer of our client is over, and checks that it has brought `data`.
pub(crate) fn assert_ours_gets(world: &mut World, ours: Host<Node>, data: &Bytes) {
    let mut got = vec![None; data.len()];
    let mut end = None;
    while end.is_none() && world.now() - Instant::ZERO < LIMIT {
        world.run_for(ms(10));
        for (_, event) in world.take_events(ours) {
            match event {
                Event::Data { offset, data, .. } => {
                    let start = usize::try_from(offset).unwrap();
                    for (octet, place) in data.iter().zip(&mut got[start..]) {
                        *place = Some(*octet);
                    }
                }
                Event::Complete { .. } | Event::Failed { .. } => end = Some(event),
                _ => {}
            }
        }
    }
    assert!(matches!(end, Some(Event::Complete { .. })), "{end:?}");
    let octets: Vec<u8> = got.into_iter().map(Option::unwrap).collect();
    assert!(octets == *data, "other octets");
}

/// Runs libdtp's client, which resumes by hand, until it has all of `data` or refuses to resume. `begin` is its command
/// where nothing has come, so that there is nothing to resume.
pub(crate) fn assert_libdtp_gets(
    world: &mut World,
    theirs: Host<libcsp::Machine<Client>>,
    data: &Bytes,
    begin: &ClientCommand,
) {
    let mut command = begin.clone();
    loop {
        world
            .command(theirs, libcsp::Command::App(command))
            .unwrap();
        let ended = loop {
            assert!(world.now() - Instant::ZERO < LIMIT, "no end");
            world.run_for(ms(10));
            if let Some((_, ended)) = world.take_events(theirs).pop() {
                break ended;
            }
        };
        let client = &world.machine(theirs).0.app;
        let session = client.session.as_ref().unwrap();
        let mut octets = client.file.iter().zip(data);
        assert!(
            octets.all(|(got, octet)| got.is_none_or(|got| got == *octet)),
            "other octets"
        );
        let is_whole = client.file.len() == data.len() && client.file.iter().all(Option::is_some);
        let has_begun = !session.ranges.is_empty();
        if is_whole || has_begun && is_given_up(session, ended) {
            return;
        }
        command = if has_begun {
            ClientCommand::Resume
        } else {
            begin.clone()
        };
    }
}

/// Tells whether libdtp refuses to ask for the rest: with as many octets as the payload has, copies counted, or with a
/// last packet alone missing.
fn is_given_up(session: &Session, ended: Ended) -> bool {
    const SESSION_EXHAUSTED: u8 = 7;
    ended.error == SESSION_EXHAUSTED
        && (session.octets >= session.size || session.holes().is_empty())
}

#[test]
fn ours_gets_every_payload_whole_from_libdtp() {
    for seed in seeds(SEEDS) {
        Named(seed).run(|seed| {
            let seed = Seed::from(seed);
            let mut rng = seed.child("ours gets").rng();
            let mut world = World::new(rng.next_u64());
            let ours = world.host(CLIENT, our_node(CLIENT, &seed, Config::default()));
            let model = Libcsp::new(Build::new(SERVER), Server::new(CLIENT), &seed);
            let theirs = world.host(SERVER, libcsp::Machine(model));
            world.wire((ours, 0), (theirs, 0), line(&mut rng));
            let data = payload(&mut rng, 20_000);
            let serve = ServerCommand::Serve(PAYLOAD, data.clone());
            for command in [ServerCommand::Start, serve] {
                world
                    .command(theirs, libcsp::Command::App(command))
                    .unwrap();
            }
            // One of four servers is killed and started again on the way.
            if rng.below(4) == 0 {
                let at = Instant::ZERO + ms(rng.below(3000));
                world.command_at(at, theirs, libcsp::Command::Restart);
                let start = libcsp::Command::App(ServerCommand::Start);
                world.command_at(at + ms(500), theirs, start);
            }
            let get = Command::Get {
                tag: Tag(1),
                server: SERVER,
                payload: PAYLOAD,
                options: GetOptions {
                    throughput: throughput(&mut rng),
                    ..GetOptions::default()
                },
            };
            world.command(ours, get).unwrap();
            assert_ours_gets(&mut world, ours, &data);
        });
    }
}

#[test]
fn libdtp_gets_every_payload_whole_from_ours_unless_it_refuses_to_resume() {
    for seed in seeds(SEEDS) {
        Named(seed).run(|seed| {
            let seed = Seed::from(seed);
            let mut rng = seed.child("libdtp gets").rng();
            let mut world = World::new(rng.next_u64());
            let ours = world.host(SERVER, our_node(SERVER, &seed, Config::default()));
            let model = Libcsp::new(Build::new(CLIENT), Client::new(), &seed);
            let theirs = world.host(CLIENT, libcsp::Machine(model));
            world.wire((ours, 0), (theirs, 0), line(&mut rng));
            let data = payload(&mut rng, 20_000);
            let serve = Command::Serve {
                payload: PAYLOAD,
                data: data.clone(),
            };
            world.command(ours, serve).unwrap();
            let get = ClientCommand::Get(fresh(PAYLOAD, throughput(&mut rng)));
            assert_libdtp_gets(&mut world, theirs, &data, &get);
        });
    }
}
