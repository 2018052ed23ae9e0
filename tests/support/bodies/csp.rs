//! The bodies of the fuzz targets of CSP, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use core::time::Duration;

use arbitrary::{Arbitrary as _, Result, Unstructured};
use farlink::csp::{
    Command, Config, Flags, Header, InterfaceConfig, Node, Packet, PacketV1Codec, PacketV2Codec,
    Priority, RdpFlags, RdpHeader, Route, SequenceNumber, SfpTrailer, SocketOptions, SynOptions,
    Text, Version, check_decoders, eack_numbers,
};
use farlink::laws::codec;
use farlink::laws::{self, Case, Step};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Transmit};

/// The most steps of a script on an open connection.
const MOST_STEPS: usize = 60;
/// The initial sequence number of the peer.
const PEER_INITIAL: u16 = u16::MAX - 3;
const FROM: Hop = Hop {
    interface: 0,
    via: 2,
};

/// A node under all the laws, by any script or, of every second one, by packets of a connection that is open.
pub(crate) fn node(octets: &[u8]) {
    let mut u = Unstructured::new(octets);
    match bool::arbitrary(&mut u) {
        Ok(true) => {
            if let Ok(case) = open_connection(&mut u) {
                laws::check(case);
            }
        }
        _ => {
            if let Ok(case) = u.arbitrary::<Case<Node>>() {
                laws::check(case);
            }
        }
    }
}

/// Returns a script of packets whose numbers are near those of a connection.
fn open_connection(u: &mut Unstructured<'_>) -> Result<Case<Node>> {
    let config = Config {
        max_window: 6,
        send_queue: 4,
        receive_queue: 6,
        rdp: SynOptions::default(),
        ..Config::default()
    };
    let seed = u.int_in_range(0..=3)?;
    let options = SynOptions {
        window: u.int_in_range(1..=8)?,
        delayed_acks: u.int_in_range(0..=1)?,
        connection_timeout: u.int_in_range(100..=10_000)?,
        packet_timeout: u.int_in_range(10..=2000)?,
        ..SynOptions::default()
    };
    let mut start = vec![
        Step::Command(Command::Bind {
            port: 10,
            options: SocketOptions::empty(),
        }),
        receive(RdpFlags::SYN, PEER_INITIAL, 0, &options.encode()),
        Step::Drain,
    ];
    let initial = initial_of(&config, seed, &start);
    start.push(receive(
        RdpFlags::ACK,
        PEER_INITIAL.wrapping_add(1),
        initial,
        &[],
    ));
    start.push(Step::Drain);
    let mut case = Case::new(config, start);
    case.seed = seed;
    case.limits = Limits::default();
    while case.script.len() < MOST_STEPS && !u.is_empty() {
        case.script.push(step(u, initial)?);
    }
    Ok(case)
}

fn step(u: &mut Unstructured<'_>, initial: u16) -> Result<Step<Hop, Command>> {
    Ok(match u.int_in_range(0..=9)? {
        0 | 1 => Step::Drain,
        2 => Step::Wait(Duration::from_millis(u.int_in_range(0..=4000)?)),
        3 => Step::Command(u.arbitrary()?),
        _ => {
            let flags = *u.choose(&[
                RdpFlags::ACK,
                RdpFlags::ACK,
                RdpFlags::ACK,
                RdpFlags::ACK | RdpFlags::EAK,
                RdpFlags::ACK | RdpFlags::RST,
                RdpFlags::SYN,
            ])?;
            let sequence = PEER_INITIAL.wrapping_add(u.int_in_range(0..=15)?);
            let number = initial.wrapping_add(u.int_in_range(0..=5)?);
            let data = [u.arbitrary()?; 8];
            let len = u.int_in_range(0..=data.len())?;
            receive(flags, sequence, number, &data[..len])
        }
    })
}

fn receive(flags: RdpFlags, sequence: u16, number: u16, data: &[u8]) -> Step<Hop, Command> {
    let header = Header {
        priority: Priority::Normal,
        source: 2,
        destination: 1,
        destination_port: 10,
        source_port: 20,
        flags: Flags::RDP,
    };
    let rdp = RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(sequence),
        acknowledgement: SequenceNumber(number),
    };
    let data = [data, &rdp.encode()].concat();
    let mut octets = Vec::new();
    Packet {
        header,
        data: &data,
    }
    .encode(Version::V2, &mut octets);
    Step::Receive { from: FROM, octets }
}

/// Returns the initial sequence number that a node answers a SYN with.
fn initial_of(config: &Config, seed: u64, script: &[Step<Hop, Command>]) -> u16 {
    let Ok(mut node) = Node::new(config.clone(), &Seed::from(seed)) else {
        return 0;
    };
    let mut tx = Transmit::new(Limits::default());
    let now = Instant::ZERO;
    for step in script {
        match step {
            Step::Command(command) => {
                let _: core::result::Result<(), _> = node.command(now, command.clone());
            }
            Step::Receive { from, octets } => node.receive(now, *from, octets),
            _ => {}
        }
    }
    while !matches!(node.poll(now, &mut tx), Output::Idle(_)) {
        let mut packets = tx.datagrams();
        let Some(Ok(packet)) = packets.next().map(|it| Packet::decode(Version::V2, it)) else {
            continue;
        };
        if let Ok((rdp, _)) = packet.split_rdp() {
            return rdp.sequence.0;
        }
    }
    0
}

/// Checks law 10 for octets as a packet of both versions, and that its trailers come back, and all else that a packet
/// may hold.
pub(crate) fn wire(octets: &[u8]) {
    check_decoders(octets);
    if let Ok(text) = str::from_utf8(octets) {
        table(text);
    }
    codec::check_octets::<PacketV1Codec>(octets);
    codec::check_octets::<PacketV2Codec>(octets);
    for version in [Version::V1, Version::V2] {
        let Ok(packet) = Packet::decode(version, octets) else {
            continue;
        };
        assert!(packet.header.fits(version), "{packet:?}");
        let packet = packet.split_crc32(version).unwrap_or(packet);
        check_decoders(packet.data);
        if let Ok((sfp, rest)) = packet.split_sfp() {
            assert_eq!(SfpTrailer::decode(sfp.encode()), sfp);
            assert_eq!([rest.data, &sfp.encode()].concat(), packet.data);
        }
        if let Ok((rdp, rest)) = packet.split_rdp() {
            assert_eq!(RdpHeader::decode(rdp.encode()), rdp);
            assert_eq!([rest.data, &rdp.encode()].concat(), packet.data);
            assert_eq!(eack_numbers(rest.data).count(), rest.data.len() / 2);
            if let Ok(options) = SynOptions::decode(rest.data) {
                assert_eq!(options.encode(), rest.data[..SynOptions::LEN]);
            }
        }
    }
}

/// A table of routes that is read is printed as what is read as the same.
fn table(text: &str) {
    let named = InterfaceConfig {
        name: Text::new("CAN").unwrap_or_default(),
        ..InterfaceConfig::default()
    };
    let interfaces = [InterfaceConfig::default(), named];
    for version in [Version::V1, Version::V2] {
        if let Ok(routes) = Route::parse_table(text, version, &interfaces) {
            let printed = Route::table_text(&routes, version, &interfaces).to_string();
            let again = Route::parse_table(&printed, version, &interfaces);
            assert_eq!(again.as_ref(), Ok(&routes), "{text:?}");
        }
    }
}
