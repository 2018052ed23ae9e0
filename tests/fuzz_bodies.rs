//! The bodies of the fuzz targets run on their seeds, which are made of the vectors.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

extern crate alloc;

#[path = "support/bodies/cotp.rs"]
mod bodies;
#[path = "support/cotp_captures.rs"]
mod cotp_captures;
#[path = "support/bodies/csp.rs"]
mod csp_bodies;
#[path = "support/csp_captures.rs"]
mod csp_captures;
#[path = "support/bodies/csp_carriers.rs"]
mod csp_carrier_bodies;
#[path = "support/bodies/dtp.rs"]
mod dtp_bodies;
#[path = "support/ethernet.rs"]
mod ethernet;
#[path = "support/bodies/ltp.rs"]
mod ltp_bodies;
#[path = "support/ltp_captures.rs"]
mod ltp_captures;
#[path = "support/bodies/sim.rs"]
mod sim_bodies;
#[path = "support/bodies/stun.rs"]
mod stun_bodies;
#[path = "support/stun_captures.rs"]
mod stun_captures;
#[path = "support/vector_octets.rs"]
mod vector_octets;

use alloc::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cotp_captures::{CONVERSATIONS, Conversation, Odd, Rfc, Side, stream, unhex};
use ethernet::{ACK, FIN, From, SYN, Tap};
use farlink::Seed;
use farlink::cotp::Connection;
use farlink::dtp::{
    GetOptions, PayloadIdentity, Request, Session, VMEM_START_LEN, VmemMessage, VmemStatus,
};
use farlink::ltp::Segment;
use farlink::record::read_in_all_ways;

/// The longest seed in octets; longer conversations are truncated within a packet.
const LONGEST_SEED: usize = 2000;
/// The longest file in octets; the fuzzer truncates longer ones.
const LONGEST_FILE: usize = 4096;
/// The first packets of a capture, which have one of each kind.
const SEEDS_OF_CAPTURE: usize = 6;
/// Worlds to begin with, and nodes.
const WORLDS: u64 = 40;

#[test]
fn the_seeds_decode_and_encode() {
    runs("cotp_decode", bodies::decode);
}

#[test]
fn the_frames_of_the_seeds_are_independent_of_chunking() {
    runs("cotp_framing", bodies::framing);
}

#[test]
fn an_initiator_keeps_the_laws_under_the_seeds() {
    runs("cotp_initiator", bodies::initiator);
}

#[test]
fn a_responder_keeps_the_laws_under_the_seeds() {
    runs("cotp_responder", bodies::responder);
}

#[test]
fn the_seeds_decode_as_csp_packets() {
    runs("csp_wire", csp_bodies::wire);
}

#[test]
fn the_seeds_are_carried_over_all_carriers() {
    runs("csp_carriers", csp_carrier_bodies::carriers);
}

#[test]
fn a_csp_node_keeps_the_laws_under_the_seeds() {
    runs("csp_node", csp_bodies::node);
}

#[test]
fn the_seeds_decode_as_dtp_messages() {
    runs("dtp_wire", dtp_bodies::wire);
}

#[test]
fn each_kind_of_dtp_message_is_among_the_seeds() {
    let seeds = &seeds()["dtp_wire"];
    let count = |is_one: fn(&[u8]) -> bool| seeds.values().filter(|it| is_one(it)).count();
    for found in [
        count(|it| Request::decode(it).is_ok()),
        count(|it| VmemStatus::decode(it).is_ok()),
        count(|it| VmemMessage::decode(it).is_ok_and(|it| it.encode().1 == VMEM_START_LEN)),
        count(|it| VmemMessage::decode(it).is_ok_and(|it| it.encode().1 < VMEM_START_LEN)),
    ] {
        assert!(found > 0);
    }
}

#[test]
fn the_seeds_decode_as_dtp_sessions() {
    runs("dtp_session", dtp_bodies::session);
}

#[test]
fn a_dtp_server_sends_what_the_asks_of_the_seeds_say() {
    runs("dtp_asks", dtp_bodies::asks);
}

#[test]
fn a_dtp_node_keeps_the_laws_under_the_seeds() {
    runs("dtp_node", dtp_bodies::node);
}

#[test]
fn an_authenticating_ltp_engine_keeps_the_laws_under_the_seeds() {
    runs("ltp_authenticated", ltp_bodies::authenticated);
}

#[test]
fn an_ltp_engine_keeps_the_laws_under_the_seeds() {
    runs("ltp_engine", ltp_bodies::engine);
}

#[test]
fn the_seeds_decode_as_ltp_segments() {
    runs("ltp_wire", ltp_bodies::wire);
}

#[test]
fn the_machines_of_the_seeds_keep_the_laws_in_a_world() {
    runs("sim_cotp", sim_bodies::cotp);
}

#[test]
fn the_seeds_decode_as_stun_messages() {
    runs("stun_wire", stun_bodies::wire);
}

#[test]
fn a_stun_client_keeps_the_laws_under_the_seeds() {
    runs("stun_client", stun_bodies::client);
}

#[test]
fn the_seeds_are_read_as_captures_and_recordings() {
    runs("record_read", read_in_all_ways::<Connection>);
}

/// The seeds in the repository are those that the vectors give.
///
/// The published crate lacks the fuzz targets, which are another package, and so their seeds.
#[test]
fn the_committed_seeds_are_those_of_the_vectors() {
    if !root().join("fuzz/Cargo.toml").exists() {
        return;
    }
    for (target, seeds) in seeds() {
        let folder = folder(target);
        let committed: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        assert!(committed == seeds, "write them again: {target}");
    }
}

#[test]
#[ignore = "writes the seeds into the repository"]
fn write_the_seeds() {
    for (target, seeds) in seeds() {
        let folder = folder(target);
        fs::create_dir_all(&folder).unwrap();
        for (name, seed) in seeds {
            fs::write(folder.join(name), seed).unwrap();
        }
    }
}

fn runs(target: &str, body: fn(&[u8])) {
    let seeds = &seeds()[target];
    assert!(seeds.len() > 20, "of {target}: {}", seeds.len());
    for seed in seeds.values() {
        body(seed);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(target: &str) -> PathBuf {
    root().join("fuzz/seeds").join(target)
}

/// Returns the seeds of each target by name.
fn seeds() -> BTreeMap<&'static str, BTreeMap<String, Vec<u8>>> {
    let mut seeds: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let mut add = |target, name: &str, seed: Vec<u8>| {
        seeds
            .entry(target)
            .or_default()
            .insert(String::from(name), seed);
    };
    let rfc: Rfc = cotp_captures::read("rfc");
    for vector in &rfc.vectors {
        add("cotp_decode", &vector.name, vector.octets.to_vec());
    }
    for malformed in &rfc.malformed {
        add("cotp_decode", &malformed.name, unhex(&malformed.octets));
    }
    for file in ["20_odd_clients", "21_odd_servers"] {
        let odd: Odd = cotp_captures::read(file);
        for case in &odd.cases {
            let (target, side, reference) = match file {
                "20_odd_clients" => ("cotp_responder", Side::Client, 1),
                _ => ("cotp_initiator", Side::Server, case.reference.expect("one")),
            };
            let octets = short(stream(&case.records, side));
            add("cotp_framing", &case.name, bodies::seed_of_stream(&octets));
            let seed = bodies::seed_of_capture(reference, &octets);
            add(target, &case.name, seed);
        }
    }
    for name in CONVERSATIONS {
        let conversation: Conversation = cotp_captures::read(name);
        let client = short(stream(&conversation.records, Side::Client));
        let server = short(stream(&conversation.records, Side::Server));
        add("cotp_responder", name, bodies::seed_of_capture(1, &client));
        let reference = u16::from_be_bytes([server[6], server[7]]);
        let seed = bodies::seed_of_capture(reference, &server);
        add("cotp_initiator", name, seed);
        add("record_read", name, pcap(&client, &server));
    }
    for capture in ltp_captures::captures() {
        for role in [1, 2] {
            let name = format!("{}_to_{role}", capture.name);
            let seed = ltp_seed(&capture, role);
            add("ltp_authenticated", &name, seed.clone());
            add("ltp_engine", &name, seed);
        }
        add("ltp_wire", &capture.name, ltp_frame(&capture));
    }
    for (name, recording) in recordings() {
        add("record_read", &name, recording);
    }
    for number in 0..WORLDS {
        for target in [
            "csp_carriers",
            "csp_node",
            "dtp_asks",
            "dtp_node",
            "sim_cotp",
            "stun_client",
        ] {
            add(target, &format!("{number:02}"), any_octets(number));
        }
    }
    for (name, octets) in stun_messages() {
        add("stun_wire", &name, octets);
    }
    for (name, octets) in dtp_sessions() {
        for len in [8, 26, 29, 44, 50] {
            let short = octets.get(..len).unwrap_or(&octets);
            add("dtp_session", &format!("{name}_{len}"), short.to_vec());
        }
        add("dtp_session", name, octets);
    }
    add("dtp_asks", "two_rounds", dtp_asks());
    for capture in csp_captures::captures("csp", "") {
        for (number, packet) in capture.packets().iter().take(SEEDS_OF_CAPTURE).enumerate() {
            let name = format!("{}_{number}", capture.name);
            add("csp_wire", &name, packet.clone());
        }
    }
    for capture in csp_captures::captures("dtp", "") {
        for (number, message) in dtp_messages(&capture).into_iter().enumerate() {
            let name = format!("{}_{number}", capture.name);
            add("dtp_wire", &name, message);
        }
    }
    seeds
}

/// Messages of RFCs, and those that coturn was sent and has sent.
fn stun_messages() -> Vec<(String, Vec<u8>)> {
    let rfc: stun_captures::Rfc = stun_captures::read("rfc");
    let samples = rfc.messages.into_iter().map(|it| (it.name, it.octets));
    let malformed = rfc.malformed.into_iter().map(|it| (it.name, it.octets));
    let packets = stun_captures::CAPTURES.iter().flat_map(|name| {
        let capture: stun_captures::Capture = stun_captures::read(name);
        let packets = capture.packets.into_iter().enumerate();
        packets.map(move |(number, packet)| (format!("{name}_{number}"), packet.octets))
    });
    let all = samples.chain(malformed).chain(packets);
    let all = all.map(|(name, octets)| (name, octets.to_vec()));
    all.filter(|(_, octets)| !octets.is_empty()).collect()
}

/// One message of each length in a capture.
fn dtp_messages(capture: &csp_captures::Capture) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for packet in capture.packets() {
        let message = capture.data_of(&packet).unwrap();
        if !message.is_empty() && messages.iter().all(|it| it.len() != message.len()) {
            messages.push(message);
        }
    }
    messages
}

/// Session files of DTP, of this crate and of libdtp.
fn dtp_sessions() -> [(&'static str, Vec<u8>); 4] {
    let mut session = Session::new((1, 3), GetOptions::default(), 0x900D_FACE, 5050);
    let empty = session.encode();
    session.add(400, &[7; 600]);
    session.add(5000, &[7; 50]);
    session.identity = Some(PayloadIdentity {
        crc32c: Some(5),
        generation: 1,
    });
    let meta = session.to_meta();
    let without_count = meta[..26].to_vec();
    [
        ("empty", empty),
        ("own", session.encode()),
        ("meta", meta),
        ("meta_without_count", without_count),
    ]
}

/// Two asks for packets of a session, the first of them the last of its round.
fn dtp_asks() -> Vec<u8> {
    let ask = |round: u8, intervals: &[u8]| {
        let head = [0, 0, 0, 0, round, 0, 1, 0];
        let octets = [&head[..], intervals].concat();
        // More than 63: an ask, with the session.
        let kind = 64 + u8::try_from(octets.len()).unwrap();
        [&[kind][..], &octets].concat()
    };
    [ask(1, &[0, 2, 3, 1]), ask(2, &[5, 1])].concat()
}

/// Random octets, for a generator of scripts.
fn any_octets(number: u64) -> Vec<u8> {
    let mut chance = Seed::from(number).child("seed of a world").rng();
    let octet = |_| u8::try_from(chance.below(256)).unwrap();
    (0..LONGEST_SEED).map(octet).collect()
}

/// The segments that one engine of a capture received, up to the length of a seed.
fn ltp_seed(capture: &ltp_captures::Capture, role: u64) -> Vec<u8> {
    let segments: Vec<Vec<u8>> = capture
        .segments
        .iter()
        .filter(|record| record.from != role && !record.dropped)
        .map(|record| record.octets.to_vec())
        .collect();
    let client = capture.service();
    let mut kept = segments.len();
    loop {
        let seed = ltp_bodies::seed_of_capture(role, client, &segments[..kept]);
        if seed.len() <= LONGEST_SEED {
            return seed;
        }
        kept -= 1;
    }
}

/// One segment of each kind in a capture.
fn ltp_frame(capture: &ltp_captures::Capture) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut kinds = Vec::new();
    for record in &capture.segments {
        let octets = record.octets.to_vec();
        let (segment, used) = Segment::decode_first(&octets).unwrap();
        let kind = segment.body.code();
        if !kinds.contains(&kind) && frame.len() + used <= LONGEST_SEED {
            kinds.push(kind);
            frame.extend_from_slice(&octets[..used]);
        }
    }
    frame
}

/// Returns a capture with the octets of a client, then those of a server.
fn pcap(client: &[u8], server: &[u8]) -> Vec<u8> {
    let mut tap = Tap::new(102);
    for (from, octets) in [(From::Client, client), (From::Server, server)] {
        tap.segment(from, 0, SYN, b"");
        let mut sequence = 1;
        for piece in octets.chunks(400).take(4) {
            tap.segment(from, sequence, ACK, piece);
            sequence += u32::try_from(piece.len()).unwrap();
        }
        tap.segment(from, sequence, FIN, b"");
    }
    tap.file()
}

/// Returns the short recordings by name.
fn recordings() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/recordings");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.path().is_file());
    let files = files.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    files
        .filter(|(_, file)| file.len() <= LONGEST_FILE)
        .collect()
}

fn short(mut octets: Vec<u8>) -> Vec<u8> {
    octets.truncate(LONGEST_SEED);
    octets
}
