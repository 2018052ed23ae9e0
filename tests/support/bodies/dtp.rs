//! The bodies of the fuzz targets of DTP, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use core::time::Duration;

use arbitrary::Unstructured;
use farlink::dtp::{
    Command, Config, DataPacketCodec, GetOptions, Intervals, MAX_INTERVALS, Node, Request,
    Response, Session, VmemMessage, VmemStatus,
};
use farlink::laws::codec;
use farlink::laws::{self, Case};
use farlink::sim::{Line, World};
use farlink::{Instant, Machine as _, Seed, Tag, csp};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A node under all the laws.
pub(crate) fn node(octets: &[u8]) {
    if let Ok(case) = Unstructured::new(octets).arbitrary::<Case<Node>>() {
        laws::check(case);
    }
}

/// Checks law 10 for octets as a data packet, and that what decodes as a request, a response or a message of VMEM comes
/// back.
pub(crate) fn wire(octets: &[u8]) {
    codec::check_octets::<DataPacketCodec>(octets);
    if let Ok(response) = Response::decode(octets) {
        assert_eq!(Response::decode(&response.encode()), Ok(response));
    }
    if let Ok(message) = VmemMessage::decode(octets) {
        let (encoded, len) = message.encode();
        assert_eq!(len, octets.len());
        assert_eq!(VmemMessage::decode(&encoded[..len]), Ok(message));
    }
    if let Ok(status) = VmemStatus::decode(octets) {
        assert_eq!(VmemStatus::decode(&status.encode()), Ok(status));
    }
    if let Ok(request) = Request::decode(octets) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        let intervals = request.intervals.as_slice();
        assert!((1..=MAX_INTERVALS).contains(&intervals.len()));
        assert!(intervals.iter().all(|it| it.start <= it.end));
        assert!(request.throughput > 0 && request.chunk() > 0);
    }
}

/// Checks that a session file that is read is written so that it comes back, and that its ranges are those of a payload.
pub(crate) fn session(octets: &[u8]) {
    let Ok(session) = Session::decode(octets) else {
        return;
    };
    assert_eq!(Session::decode(&session.encode()), Ok(session.clone()));
    let size = u64::from(session.size);
    let received: u64 = session.ranges().map(|it| it.end - it.start).sum();
    let missing: u64 = session.missing().map(|it| it.end - it.start).sum();
    assert_eq!(received, session.received_octets());
    assert_eq!(received + missing, size);
    assert!(
        session
            .ranges()
            .all(|it| it.start < it.end && it.end <= size)
    );
    let meta = Session::decode(&session.to_meta());
    assert!(meta.is_ok_and(|meta| meta.received_octets() <= received));
    let mut config = Config::default();
    config.csp.max_data = 65_000;
    config.csp.address = 2;
    if let Ok(mut node) = Node::new(config, &Seed::from(1)) {
        let rest = Command::GetRest {
            tag: Tag(1),
            session,
            options: GetOptions::default(),
        };
        // Not all of them have a server that can be reached.
        let _ = node.command(Instant::ZERO, rest);
    }
}

/// Sends a request to a server, and behind it packets of any octets on the same connection: what the server sends is
/// what was asked for.
pub(crate) fn asks(octets: &[u8]) {
    let mut world = World::new(1);
    let mut config = Config::default();
    config.csp.address = 1;
    let (Ok(server), Ok(client)) = (
        Node::new(config, &Seed::from(1)),
        csp::Node::new(
            csp::Config {
                address: 2,
                ..csp::Config::default()
            },
            &Seed::from(2),
        ),
    ) else {
        return;
    };
    let (server, client) = (world.host(1, server), world.host(2, client));
    world.wire((server, 0), (client, 0), Line::default());
    let serve = Command::Serve {
        payload: 3,
        data: vec![7; 2000].into(),
    };
    let connect = csp::Command::Connect {
        tag: Tag(1),
        to: csp::Endpoint {
            address: 1,
            port: 7,
        },
        options: csp::SendOptions::default(),
    };
    let began = world.command(server, serve).is_ok() && world.command(client, connect).is_ok();
    assert!(began);
    world.run_until(Instant::ZERO + MILLISECOND * 10);
    let connected = world.events(client).find_map(|(_, event)| match event {
        csp::Event::Connected { connection, .. } => Some(*connection),
        _ => None,
    });
    let Some(connection) = connected else {
        return;
    };
    let request = Request {
        throughput: 1_000_000,
        payload: 3,
        session: 99,
        mtu: 108,
        keep_alive: 0,
        intervals: Intervals::ALL,
    };
    let mut packets = vec![request.encode().to_vec()];
    let mut rest = octets;
    while let Some((kind, behind)) = rest.split_first() {
        let (octets, next) = behind.split_at(behind.len().min(usize::from(*kind % 64)));
        rest = next;
        // Most of them are asks as far as their head tells.
        let head: &[u8] = match kind {
            0..=31 => b"",
            32..=63 => b"FDta",
            _ => b"FDta\x63\0\0\0",
        };
        packets.push([head, octets].concat());
    }
    for data in packets {
        let send = csp::Command::Send {
            connection,
            data: data.into(),
        };
        // The connection may be closed by what was sent before, or have no room.
        let _ = world.command(client, send);
        world.run_until(world.now() + MILLISECOND);
    }
    world.run_until(world.now() + MILLISECOND * 100);
    let stats = world.machine(server).stats();
    // An interval is at least two octets, and has at most the 20 packets of the payload.
    let most = 20 * (1 + octets.len() as u64 / 2);
    assert!(stats.data_sent <= most, "{} of {most}", stats.data_sent);
}
