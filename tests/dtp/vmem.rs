//! The VMEM dialect, rule by rule.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{Flags, Header, Packet, Version, crc32};
use farlink::dtp::{
    Command, Config, DataPacket, Error, Event, FailReason, GetOptions, Interval, Intervals,
    MemoryRequest, Node, PayloadIdentity, Request, Session, TO_THE_END, VMEM_START_LEN,
    VmemMessage, VmemOperation, VmemStatus, VmemTransport,
};
use farlink::sim::{Host, Line, World};
use farlink::{Instant, Seed, Tag};

use crate::model_vmem::{asked, memory, message, vmem};
use crate::talk::Talk;

const V2: Version = Version::V2;
/// The memory of the captures.
const ADDRESS: u64 = 0x1000_0000;
const PAYLOAD: u8 = 9;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config(address: u16) -> Config {
    let mut config = Config {
        vmem_messages: 3,
        ..Config::default()
    };
    config.csp.address = address;
    config
}

fn server() -> Talk {
    let mut server = Talk::new(config(1));
    let data = memory();
    let payload = PAYLOAD;
    server.command(Command::Serve { payload, data }).unwrap();
    server.command(serve_memory()).unwrap();
    server
}

fn serve_memory() -> Command {
    Command::ServeMemory {
        payload: PAYLOAD,
        address: ADDRESS,
    }
}

fn request() -> Request {
    Request {
        throughput: 20_000,
        payload: 0,
        session: 0x900D_FACE,
        mtu: 208,
        keep_alive: 0,
        intervals: Intervals::ALL,
    }
}

fn start(address: u64, size: u32, request: Request) -> VmemOperation {
    VmemOperation::Start {
        address,
        size,
        request,
    }
}

/// A packet with CRC32 from a client to the port of VMEM.
fn datagram(data: &[u8]) -> Vec<u8> {
    let header = Header {
        source: 2,
        destination: 1,
        destination_port: 14,
        source_port: 18,
        flags: Flags::CRC32,
        ..Header::default()
    };
    let mut octets = Vec::new();
    Packet { header, data }.encode(V2, &mut octets);
    octets.extend(crc32(&[data]).to_be_bytes());
    octets
}

fn of(operation: VmemOperation) -> Vec<u8> {
    let version = 2;
    let (octets, len) = VmemMessage { version, operation }.encode();
    datagram(&octets[..len])
}

/// The offsets of the packets of data, and the octets.
fn data(sent: &[Vec<u8>]) -> Vec<(u32, Vec<u8>)> {
    let decoded = sent.iter().filter_map(|octets| {
        let packet = Packet::decode(V2, octets).unwrap();
        if packet.header.destination_port != 8 {
            return None;
        }
        let data = DataPacket::decode(packet.data).unwrap();
        Some((data.offset, data.data.to_vec()))
    });
    decoded.collect()
}

fn status(sent: &[Vec<u8>]) -> Vec<VmemStatus> {
    let answers = sent.iter().filter_map(|octets| {
        let packet = Packet::decode(V2, octets).unwrap();
        let packet = packet.split_crc32(V2).ok()?;
        let ports = (packet.header.source_port, packet.header.destination_port);
        assert_eq!(ports, (14, 18));
        VmemStatus::decode(packet.data).ok()
    });
    answers.collect()
}

#[test]
fn captured_messages_of_vmem_encode_to_their_octets() {
    let mut operations = [0; 4];
    for capture in vmem() {
        for frame in capture.frames() {
            let Some((octets, message)) = message(&capture, frame) else {
                continue;
            };
            let (mut encoded, len) = message.encode();
            operations[usize::from(octets[2])] += 1;
            if len == VMEM_START_LEN {
                // Old memory of libdtp.
                encoded[3..7].copy_from_slice(&octets[3..7]);
            }
            assert_eq!(encoded[..len], octets, "{}", capture.name);
        }
    }
    assert_eq!(operations, [4, 1, 4, 3]);
}

#[test]
fn a_malformed_message_is_refused() {
    let good = start(ADDRESS, 1000, request());
    let (octets, _) = VmemMessage {
        version: 2,
        operation: good,
    }
    .encode();
    let change = |at: usize, value: &[u8]| {
        let mut octets = octets;
        octets[at..at + value.len()].copy_from_slice(value);
        octets.to_vec()
    };
    for (octets, error) in [
        (vec![2, 0x80], "VMEM at offset 0: needs 3 octets, 2 left"),
        (
            change(1, &[0]),
            "VMEM type at offset 1: value 0 (0x00) is not allowed",
        ),
        (
            change(2, &[4]),
            "VMEM operation at offset 2: value 4 (0x04) is not allowed",
        ),
        (
            octets[..98].to_vec(),
            "VMEM start at offset 0: a length of 98 octets is not allowed",
        ),
        (
            change(19, &[0; 4]),
            "throughput at offset 0: value 0 (0x00) is not allowed",
        ),
        (
            change(23, &[9]),
            "nof_intervals at offset 4: value 9 (0x09) is not allowed",
        ),
        (
            change(31, &[0, 8]),
            "mtu at offset 12: value 8 (0x08) is not allowed",
        ),
        (
            vec![2, 0x80, 1, 0],
            "VMEM at offset 0: a length of 4 octets is not allowed",
        ),
        (
            vec![2, 0x80, 2, 0],
            "VMEM at offset 0: a length of 4 octets is not allowed",
        ),
    ] {
        assert_eq!(VmemMessage::decode(&octets).unwrap_err().to_string(), error);
        let mut server = server();
        server.receive(&datagram(&octets));
        server.pass(ms(2000));
        assert!(server.take_sent().is_empty(), "{error}");
        assert_eq!(server.node.stats().requests_refused, 1, "{error}");
    }
    assert!(VmemStatus::decode(&[0; 7]).is_err());
}

#[test]
fn captured_clients_of_vmem_without_rdp_get_the_packets_that_libdtp_sent() {
    let capture = &vmem()[2];
    assert_eq!(capture.name, "vmem_no_rdp");
    let mut server = server();
    for frame in capture
        .frames()
        .filter(|it| it.octets.to_vec().len() == 109)
    {
        server.receive(&frame.octets.to_vec());
    }
    server.pass(ms(5000));
    let captured: Vec<Vec<u8>> = capture.frames().map(|it| it.octets.to_vec()).collect();
    assert_eq!(server.take_sent(), captured[1..]);
}

#[test]
fn a_start_past_the_memory_or_of_none_is_refused() {
    let past = Intervals::new(&[Interval { start: 5, end: 6 }]).unwrap();
    for (operation, why) in [
        (start(ADDRESS - 1, 10, request()), "before it"),
        (start(ADDRESS + 19_999, 2, request()), "past its end"),
        (start(u64::MAX, 2, request()), "past the last address"),
        (
            start(
                ADDRESS,
                1000,
                Request {
                    intervals: past,
                    ..request()
                },
            ),
            "an interval past the size",
        ),
        (
            start(
                ADDRESS,
                1000,
                Request {
                    mtu: 300,
                    ..request()
                },
            ),
            "longer than a packet",
        ),
    ] {
        let mut server = server();
        server.receive(&of(operation));
        server.pass(ms(3000));
        assert!(server.take_sent().is_empty(), "{why}");
        assert_eq!(server.node.stats().requests_refused, 1, "{why}");
    }
    let mut server = server();
    let (octets, _) = VmemMessage {
        version: 2,
        operation: start(ADDRESS, 1000, request()),
    }
    .encode();
    let header = Header {
        source: 2,
        destination: 1,
        destination_port: 14,
        source_port: 18,
        ..Header::default()
    };
    let mut packet = Vec::new();
    Packet {
        header,
        data: &octets,
    }
    .encode(V2, &mut packet);
    server.receive(&packet);
    assert_eq!(server.node.csp().stats().forbidden, 1, "without CRC32");
}

#[test]
fn a_part_of_memory_is_sent_from_its_address_on() {
    let mut server = server();
    server.receive(&of(start(ADDRESS + 1000, 450, request())));
    server.pass(ms(1000));
    let expected: Vec<(u32, Vec<u8>)> = [(0_u32, 1000..1200), (200, 1200..1400), (400, 1400..1450)]
        .map(|(offset, range)| (offset, memory()[range].to_vec()))
        .to_vec();
    assert_eq!(data(&server.take_sent()), expected);
    assert!(server.take_events().iter().any(|event| matches!(
        event,
        Event::Serving(request) if (request.client, request.payload, request.octets) == (2, 9, 450)
    )));
}

#[test]
fn memory_on_demand_is_needed_by_the_offset_in_its_payload() {
    let mut server = Talk::new(config(1));
    let serve = Command::ServeOnDemand {
        payload: PAYLOAD,
        size: 20_000,
        identity: PayloadIdentity::default(),
    };
    server.command(serve).unwrap();
    server.command(serve_memory()).unwrap();
    server.receive(&of(start(ADDRESS + 1000, 450, request())));
    let mut events = server.take_events().into_iter();
    let need = events
        .find_map(|event| match event {
            Event::Need(need) => Some(need),
            _ => None,
        })
        .unwrap();
    assert_eq!((need.payload, need.offset, need.len), (PAYLOAD, 1000, 450));
    let data = memory().slice(1000..1450);
    let feed = Command::Feed {
        need: need.need,
        data,
    };
    server.command(feed).unwrap();
    server.pass(ms(1000));
    assert_eq!(self::data(&server.take_sent())[1].1, memory()[1200..1400]);
}

#[test]
fn a_stop_ends_the_session_of_its_client_alone() {
    let mut server = server();
    server.receive(&of(start(ADDRESS, 16_000, request())));
    server.pass(ms(100));
    server.take_sent();
    let session = 0x900D_FACE;
    server.receive(&of(VmemOperation::Status));
    let is_busy = true;
    assert_eq!(
        status(&server.take_sent()),
        [VmemStatus { session, is_busy }]
    );
    server.receive(&of(VmemOperation::Stop { session: 1 }));
    server.pass(ms(100));
    assert!(!data(&server.take_sent()).is_empty(), "another session");
    server.receive(&of(VmemOperation::Stop { session }));
    server.pass(ms(1000));
    assert!(server.take_sent().is_empty());
    server.receive(&of(VmemOperation::Status));
    assert_eq!(status(&server.take_sent()), [VmemStatus::default()]);
    server.receive(&of(start(ADDRESS, 200, request())));
    server.pass(ms(1000));
    server.take_sent();
    server.receive(&of(VmemOperation::Status));
    let is_busy = false;
    assert_eq!(
        status(&server.take_sent()),
        [VmemStatus { session, is_busy }]
    );
}

#[test]
fn a_client_that_promised_signs_of_life_and_gives_none_is_sent_no_more() {
    let keep_alive = 500;
    for is_alive in [true, false] {
        let mut server = server();
        let request = Request {
            keep_alive,
            throughput: 2000,
            ..request()
        };
        server.receive(&of(start(ADDRESS, 10_000, request)));
        for _ in 0..12 {
            server.pass(ms(500));
            if is_alive {
                server.receive(&of(VmemOperation::Alive));
            }
        }
        // 5 s for all; in 1.5 s a third of it.
        let sent = data(&server.take_sent()).len();
        let expected = if is_alive { 50..=50 } else { 14..=20 };
        assert!(expected.contains(&sent), "{sent}, {is_alive}");
    }
}

#[test]
fn a_start_of_a_session_that_is_sent_takes_its_place() {
    let mut server = server();
    server.receive(&of(start(ADDRESS, 16_000, request())));
    server.pass(ms(100));
    let before = data(&server.take_sent()).len();
    let rest = Intervals::new(&[Interval {
        start: 79,
        end: TO_THE_END,
    }]);
    let request = Request {
        intervals: rest.unwrap(),
        ..request()
    };
    server.receive(&of(start(ADDRESS, 16_000, request)));
    server.pass(ms(3000));
    let after = data(&server.take_sent());
    assert!((5..=20).contains(&before), "{before}");
    assert_eq!(after.iter().map(|it| it.0).collect::<Vec<_>>(), [15_800]);
}

/// A client and a server on a line, and what the client asks for.
struct Pair {
    world: World,
    server: Host<Node>,
    client: Host<Node>,
}

impl Pair {
    fn new(line: Line, change: impl Fn(&mut Config)) -> Self {
        let mut world = World::new(7);
        let mut host = |address: u16| {
            let mut config = config(address);
            change(&mut config);
            let seed = Seed::from(3).child(&format!("node {address}"));
            world.host(address, Node::new(config, &seed).unwrap())
        };
        let (server, client) = (host(1), host(2));
        world.wire((server, 0), (client, 0), line);
        let (payload, data) = (PAYLOAD, memory());
        world
            .command(server, Command::Serve { payload, data })
            .unwrap();
        world.command(server, serve_memory()).unwrap();
        Self {
            world,
            server,
            client,
        }
    }

    fn get(&mut self, request: MemoryRequest, session: Option<Session>, options: GetOptions) {
        let get = Command::GetMemory {
            tag: Tag(1),
            request,
            session,
            options,
        };
        self.world.command(self.client, get).unwrap();
    }

    fn octets(&self) -> u64 {
        let events = self.world.events(self.client);
        let octets = events.map(|(_, event)| match event {
            Event::Data { data, .. } => data.len() as u64,
            _ => 0,
        });
        octets.sum()
    }

    fn end(&self) -> Option<&Event> {
        let mut events = self.world.events(self.client).map(|(_, event)| event);
        events.find(|it| matches!(it, Event::Complete { .. } | Event::Failed { .. }))
    }
}

const TRANSPORTS: [VmemTransport; 2] = [VmemTransport::Rdp, VmemTransport::Datagrams];

#[test]
fn memory_comes_whole_over_a_lossy_line_by_either_transport() {
    for transport in TRANSPORTS {
        let line = Line {
            loss: 0.1,
            ..Line::delayed(ms(20))
        };
        let mut pair = Pair::new(line, |_| {});
        let request = MemoryRequest {
            transport,
            keep_alive: ms(100),
            ..MemoryRequest::new(1, ADDRESS, 20_000)
        };
        pair.get(request, None, GetOptions::default());
        pair.world.run_until(Instant::ZERO + ms(60_000));
        assert!(
            matches!(pair.end(), Some(Event::Complete { size: 20_000, .. })),
            "{transport:?}: {:?}",
            pair.end()
        );
        assert_eq!(pair.octets(), 20_000, "{transport:?}");
    }
}

#[test]
fn a_cancelled_or_paused_transfer_tells_the_server_to_stop() {
    for transport in TRANSPORTS {
        for command in [Command::Cancel(Tag(1)), Command::Pause(Tag(1))] {
            let mut pair = Pair::new(Line::delayed(ms(5)), |_| {});
            let request = MemoryRequest {
                transport,
                ..MemoryRequest::new(1, ADDRESS, 20_000)
            };
            let options = GetOptions {
                throughput: 10_000,
                ..GetOptions::default()
            };
            pair.get(request, None, options);
            pair.world.run_until(Instant::ZERO + ms(500));
            pair.world.command(pair.client, command.clone()).unwrap();
            pair.world.run_for(ms(3000));
            let sent = pair.world.machine(pair.server).stats().data_sent;
            assert!(
                (15..40).contains(&sent),
                "{sent}: {transport:?}, {command:?}"
            );
            if command == Command::Pause(Tag(1)) {
                let resume = Command::Resume(Tag(1));
                pair.world.command(pair.client, resume).unwrap();
                pair.world.run_for(ms(5000));
                assert!(matches!(pair.end(), Some(Event::Complete { .. })));
                assert_eq!(pair.octets(), 20_000, "none twice");
            }
        }
    }
}

#[test]
fn a_session_brings_what_it_lacks_of_memory() {
    let mut pair = Pair::new(Line::delayed(ms(5)), |_| {});
    let options = GetOptions::default();
    let mut session = Session::new((1, 0), options, 77, 20_000);
    session.add(0, &memory()[..10_000]);
    let request = MemoryRequest::new(1, ADDRESS, 20_000);
    let other = Command::GetMemory {
        tag: Tag(1),
        request: MemoryRequest::new(1, ADDRESS, 10_000),
        session: Some(session.clone()),
        options,
    };
    let (session_size, size) = (20_000, 10_000);
    let refused = Error::SessionSize {
        session: session_size,
        size,
    };
    assert_eq!(pair.world.command(pair.client, other), Err(refused));
    pair.get(request, Some(session), options);
    pair.world.run_until(Instant::ZERO + ms(5000));
    assert!(matches!(pair.end(), Some(Event::Complete { .. })));
    assert_eq!(pair.octets(), 10_000);
}

#[test]
fn a_server_tells_its_status_or_is_silent() {
    for transport in TRANSPORTS {
        let mut pair = Pair::new(Line::delayed(ms(5)), |_| {});
        let ask = |tag: u64, server| Command::MemoryStatus {
            tag: Tag(tag),
            server,
            transport,
            timeout: ms(5000),
        };
        let request = MemoryRequest {
            transport,
            ..MemoryRequest::new(1, ADDRESS, 20_000)
        };
        pair.get(request, None, GetOptions::default());
        pair.world.run_for(ms(100));
        pair.world.command(pair.client, ask(2, 1)).unwrap();
        pair.world.command(pair.client, ask(3, 5)).unwrap();
        pair.world.run_for(ms(10_000));
        let statuses: Vec<(u64, Option<bool>)> = pair
            .world
            .events(pair.client)
            .filter_map(|(_, event)| match event {
                Event::MemoryStatus { tag, status } => {
                    Some((tag.0, status.map(|status| status.is_busy)))
                }
                _ => None,
            })
            .collect();
        assert_eq!(statuses, [(2, Some(true)), (3, None)], "{transport:?}");
    }
}

#[test]
fn memory_that_no_server_has_fails_in_the_end() {
    for transport in TRANSPORTS {
        let mut pair = Pair::new(Line::delayed(ms(5)), |_| {});
        let request = MemoryRequest {
            transport,
            ..MemoryRequest::new(1, 5, 20_000)
        };
        let options = GetOptions {
            max_fruitless: 2,
            response_timeout: ms(3000),
            ..GetOptions::default()
        };
        pair.get(request, None, options);
        pair.world.run_until(Instant::ZERO + ms(60_000));
        assert!(
            matches!(
                pair.end(),
                Some(Event::Failed {
                    reason: FailReason::Fruitless,
                    ..
                })
            ),
            "{:?}",
            pair.end()
        );
    }
}

#[test]
fn a_connection_that_brings_no_message_is_closed_and_its_room_free_again() {
    let mut config = config(2);
    config.csp.connections = 8;
    let mut pair = Pair::new(Line::delayed(ms(5)), |_| {});
    for tag in 0..4 {
        let connect = farlink::csp::Command::Connect {
            tag: Tag(100 + tag),
            to: farlink::csp::Endpoint {
                address: 1,
                port: 14,
            },
            options: farlink::csp::SendOptions {
                crc32: true,
                ..farlink::csp::SendOptions::default()
            },
        };
        pair.world
            .command(pair.client, Command::Csp(connect))
            .unwrap();
    }
    pair.world.run_for(ms(1000));
    let stats = pair.world.machine(pair.server).stats();
    assert_eq!((stats.no_slot, stats.no_request), (1, 0), "one too many");
    pair.world.run_for(ms(15_000));
    let stats = pair.world.machine(pair.server).stats();
    assert_eq!(stats.no_request, 3);
    pair.get(
        MemoryRequest::new(1, ADDRESS, 1000),
        None,
        GetOptions::default(),
    );
    pair.world.run_for(ms(5000));
    assert!(matches!(pair.end(), Some(Event::Complete { .. })));
}

#[test]
fn without_room_for_messages_there_is_no_vmem() {
    let mut node = Talk::new(Config::default());
    let get = Command::GetMemory {
        tag: Tag(1),
        request: MemoryRequest::new(2, 0, 1),
        session: None,
        options: GetOptions::default(),
    };
    let status = Command::MemoryStatus {
        tag: Tag(1),
        server: 2,
        transport: VmemTransport::Rdp,
        timeout: ms(1),
    };
    for command in [get, status, serve_memory()] {
        assert_eq!(node.command(command), Err(Error::VmemOff));
    }
    assert!(Error::VmemOff.to_string().contains("vmem_messages is 0"));
    let bind = farlink::csp::Command::Bind {
        port: 14,
        options: farlink::csp::SocketOptions::default(),
    };
    assert_eq!(node.command(Command::Csp(bind.clone())), Ok(()), "a port");
    let mut server = server();
    let refused = Err(farlink::csp::Error::PortInUse(14).into());
    assert_eq!(server.command(Command::Csp(bind)), refused);
}

#[test]
fn empty_memory_is_complete_at_once() {
    let mut client = Talk::new(config(2));
    let get = Command::GetMemory {
        tag: Tag(1),
        request: MemoryRequest::new(1, ADDRESS, 0),
        session: None,
        options: GetOptions::default(),
    };
    client.command(get).unwrap();
    assert!(matches!(
        client.take_events()[..],
        [Event::Started { size: 0, .. }, Event::Complete { .. }]
    ));
    assert!(client.take_sent().is_empty());
}

/// Fed what servers of libdtp sent, a client of this crate sends the same messages and has the same octets.
#[test]
fn captured_servers_of_vmem_bring_the_octets_that_their_clients_had() {
    for capture in vmem() {
        let (size, request, is_rdp) = asked(&capture);
        // The stop is the application's, and RDP numbers are drawn anew.
        if is_rdp {
            continue;
        }
        let mut client = Talk::new(config(2));
        let get = Command::GetMemory {
            tag: Tag(1),
            request: MemoryRequest {
                transport: VmemTransport::Datagrams,
                ..MemoryRequest::new(1, ADDRESS, size)
            },
            session: None,
            options: GetOptions {
                throughput: request.throughput,
                mtu: request.mtu,
                ..GetOptions::default()
            },
        };
        client.command(get).unwrap();
        let sent = client.take_sent();
        let packet = Packet::decode(V2, &sent[0])
            .unwrap()
            .split_crc32(V2)
            .unwrap();
        let ours = VmemMessage::decode(packet.data).unwrap();
        let VmemOperation::Start { request: ours, .. } = ours.operation else {
            panic!("{ours:?}");
        };
        let session = ours.session;
        assert_eq!(Request { session, ..request }, ours);
        for frame in capture.frames().skip(1) {
            let octets = frame.octets.to_vec();
            let mut packet = Packet::decode(V2, &octets).unwrap();
            let data = DataPacket::decode(packet.data).unwrap();
            let mut renamed = Vec::new();
            DataPacket { session, ..data }.encode(&mut renamed);
            packet.data = &renamed;
            let mut octets = Vec::new();
            packet.encode(V2, &mut octets);
            client.receive(&octets);
        }
        let events = client.take_events();
        let got: Vec<u8> = events
            .iter()
            .filter_map(|event| match event {
                Event::Data { data, .. } => Some(data.to_vec()),
                _ => None,
            })
            .flatten()
            .collect();
        let expected: Bytes = memory().slice(..usize::try_from(size).unwrap());
        assert!(got == expected);
        assert!(matches!(events.last(), Some(Event::Complete { .. })));
    }
}
