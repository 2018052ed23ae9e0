//! The model of libdtp in its VMEM dialect: proven by captures of libdtp, then with nodes of this crate in both roles on
//! lines with loss, duplicates and reordering.

use core::time::Duration;

use bytes::Bytes;
use farlink::dtp::{
    Command, Config, GetOptions, MemoryRequest, Node, VmemMessage, VmemOperation, VmemTransport,
};
use farlink::sim::World;
use farlink::{Instant, Seed, Tag};

use crate::chaos::{line, ms};
use crate::csp_captures::{Capture, Frame, Side, arrivals, captures};
use crate::libcsp::{self, Build, Libcsp};
use crate::libdtp::{Client, ClientCommand, Memory, ServerCommand, Session, VmemServer};
use crate::model_chaos::{self, assert_libdtp_gets, assert_ours_gets, fresh, payload, throughput};
use crate::model_replays::{Sent, feed, node};
use crate::tries::{Named, seeds};

const SERVER: u16 = 1;
const CLIENT: u16 = 2;
const PAYLOAD: u8 = 3;
/// The memory of the captures.
const ADDRESS: u64 = 0x1000_0000;
/// In the default run; `FARLINK_TRIES` multiplies it.
const SEEDS: u64 = 200;
pub(crate) fn vmem() -> Vec<Capture> {
    let mut all = captures("dtp", "");
    all.retain(|capture| capture.name.starts_with("vmem"));
    assert_eq!(all.len(), 4);
    all
}

/// The memory of the server of the captures.
pub(crate) fn memory() -> Bytes {
    let octet = |at: u32| u8::try_from((at * 7 + (at >> 8) * 13 + 9) % 256);
    (0..20_000).map(|at| octet(at).unwrap()).collect()
}

/// The message in a captured packet, if there is one.
pub(crate) fn message(capture: &Capture, frame: &Frame) -> Option<(Vec<u8>, VmemMessage)> {
    let data = capture.data_of(&frame.octets.to_vec())?;
    let message = VmemMessage::decode(&data).ok()?;
    Some((data, message))
}

/// What the client of a capture asked for: the memory, and how it was sent.
pub(crate) fn asked(capture: &Capture) -> (u32, farlink::dtp::Request, bool) {
    let mut frames = capture.frames();
    frames
        .find_map(|frame| {
            let (_, message) = message(capture, frame)?;
            let VmemOperation::Start { size, request, .. } = message.operation else {
                return None;
            };
            Some((size, request, capture.name != "vmem_no_rdp"))
        })
        .unwrap()
}

/// When the router first looks at its timers, and whether the program runs before the router is done with each of the
/// first packets, which a capture does not say.
fn phases() -> impl Iterator<Item = (Duration, Vec<bool>)> {
    let first_ticks = (1..20).map(|it| ms(it * 5));
    first_ticks.flat_map(|tick| {
        (0..64_u32).map(move |races| (tick, (0..6).map(|at| races >> at & 1 == 1).collect()))
    })
}

#[test]
fn fed_the_clients_of_the_captures_of_vmem_the_model_sends_what_their_servers_sent() {
    for capture in vmem() {
        let (name, version) = (&capture.name, capture.version());
        let frames = &capture.phases[0].frames;
        let captured = Sent::of(version, frames, Side::Server);
        let end = frames.last().unwrap().time(frames) + ms(200);
        let arrivals = arrivals(frames, Side::Client);
        let play = |(first_tick, races)| {
            let server = VmemServer::new(CLIENT, (ADDRESS, memory()));
            let mut server = node(&capture, frames, Side::Server, races, server);
            server.tick_at = Instant::ZERO + first_tick;
            server.command(Instant::ZERO, ServerCommand::Start);
            feed(&mut server, version, arrivals.clone(), end)
        };
        assert!(
            phases().any(|it| play(it).is(&captured)),
            "{name}: {:02x?} {captured:02x?}",
            play((ms(10), Vec::new())),
        );
    }
}

#[test]
fn fed_the_servers_of_the_captures_of_vmem_the_model_sends_and_keeps_what_their_clients_did() {
    for capture in vmem() {
        let (name, version) = (&capture.name, capture.version());
        let phase = &capture.phases[0];
        let frames = &phase.frames;
        let (size, request, is_rdp) = asked(&capture);
        let end = frames.last().unwrap().time(frames) + ms(100);
        let captured = Sent::of(version, frames, Side::Client);
        let arrivals = arrivals(frames, Side::Server);
        let memory_asked = Memory {
            address: ADDRESS,
            size,
            is_rdp,
            keep_alive: (name == "vmem_keepalive").then_some(ms(500)),
            asks_status: ["vmem_full", "vmem_stop"].contains(&name.as_str()),
        };
        let session = Session {
            server: SERVER,
            payload: 0,
            id: request.session,
            mtu: request.mtu,
            throughput: request.throughput,
            idle_timeout: phase.session_file.as_ref().map_or(5, |it| it.to_vec()[8]),
            octets: 0,
            size: 0,
            ranges: Vec::new(),
        };
        let play = |(first_tick, races)| {
            let mut client = node(&capture, frames, Side::Client, races, Client::new());
            client.tick_at = Instant::ZERO + first_tick;
            if name == "vmem_stop" {
                client.command(Instant::ZERO, ClientCommand::StopAfter(10));
            }
            let get = ClientCommand::GetMemory(session.clone(), memory_asked);
            client.command(Instant::ZERO, get);
            let sent = feed(&mut client, version, arrivals.clone(), end);
            (client, sent)
        };
        let played = phases().map(play).find(|(_, sent)| sent.is(&captured));
        let Some((mut client, _)) = played else {
            panic!(
                "{name}: {:02x?} {captured:02x?}",
                play((ms(10), Vec::new())).1
            );
        };
        let ended = libcsp::App::next_event(&mut client.app);
        let session = client.app.session.clone().unwrap();
        let (expected, octets) = phase.ended();
        assert_eq!(ended, Some(expected), "{name}");
        assert_eq!(
            format!("{}/{}", session.octets, session.size),
            octets,
            "{name}"
        );
        if let Some(file) = &phase.session_file {
            assert_eq!(session.encode(), file.to_vec(), "{name}");
        }
        let statuses = client.app.statuses();
        let word = |octets: [u8; 4], busy: u8| [&octets[..], &[0, 0, 0, busy]].concat();
        let known = [0x90, 0x0D, 0xFA, 0xCE];
        let expected = match name.as_str() {
            "vmem_full" => vec![word(known, 1), word(known, 0)],
            "vmem_stop" => vec![word(known, 1), word([0; 4], 0)],
            _ => Vec::new(),
        };
        assert_eq!(statuses, expected, "{name}");
    }
}

fn our_node(address: u16, seed: &Seed) -> Node {
    let config = Config {
        vmem_messages: 4,
        ..Config::default()
    };
    model_chaos::our_node(address, seed, config)
}

#[test]
fn ours_gets_all_memory_whole_from_libdtp_by_vmem() {
    for seed in seeds(SEEDS) {
        Named(seed).run(|seed| {
            let seed = Seed::from(seed);
            let mut rng = seed.child("ours gets").rng();
            let mut world = World::new(rng.next_u64());
            let ours = world.host(CLIENT, our_node(CLIENT, &seed));
            let data = payload(&mut rng, 10_000);
            let server = VmemServer::new(CLIENT, (ADDRESS, data.clone()));
            let model = Libcsp::new(Build::new(SERVER), server, &seed);
            let theirs = world.host(SERVER, libcsp::Machine(model));
            world.wire((ours, 0), (theirs, 0), line(&mut rng));
            let start = libcsp::Command::App(ServerCommand::Start);
            world.command(theirs, start).unwrap();
            let request = MemoryRequest {
                transport: [VmemTransport::Rdp, VmemTransport::Datagrams]
                    [usize::try_from(rng.below(2)).unwrap()],
                keep_alive: ms(200 * rng.below(2)),
                ..MemoryRequest::new(SERVER, ADDRESS, u32::try_from(data.len()).unwrap())
            };
            let get = Command::GetMemory {
                tag: Tag(1),
                request,
                session: None,
                options: GetOptions {
                    throughput: throughput(&mut rng),
                    max_fruitless: 20,
                    ..GetOptions::default()
                },
            };
            world.command(ours, get).unwrap();
            assert_ours_gets(&mut world, ours, &data);
        });
    }
}

#[test]
fn libdtp_gets_all_memory_whole_from_ours_by_vmem_unless_it_refuses_to_resume() {
    for seed in seeds(SEEDS) {
        Named(seed).run(|seed| {
            let seed = Seed::from(seed);
            let mut rng = seed.child("libdtp gets").rng();
            let mut world = World::new(rng.next_u64());
            let ours = world.host(SERVER, our_node(SERVER, &seed));
            let model = Libcsp::new(Build::new(CLIENT), Client::new(), &seed);
            let theirs = world.host(CLIENT, libcsp::Machine(model));
            world.wire((ours, 0), (theirs, 0), line(&mut rng));
            let data = payload(&mut rng, 10_000);
            let serve = Command::Serve {
                payload: PAYLOAD,
                data: data.clone(),
            };
            world.command(ours, serve).unwrap();
            let memory = Command::ServeMemory {
                payload: PAYLOAD,
                address: ADDRESS,
            };
            world.command(ours, memory).unwrap();
            let memory = Memory {
                address: ADDRESS,
                size: u32::try_from(data.len()).unwrap(),
                is_rdp: rng.below(2) == 0,
                keep_alive: (rng.below(2) == 0).then_some(ms(200)),
                asks_status: rng.below(2) == 0,
            };
            let fresh = fresh(0, throughput(&mut rng));
            let get = ClientCommand::GetMemory(fresh, memory);
            assert_libdtp_gets(&mut world, theirs, &data, &get);
        });
    }
}
