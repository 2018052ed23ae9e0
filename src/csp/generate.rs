//! Arbitrary configurations, commands and packets. They use few values, so that they refer to each other.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::api::{Command, ConnectionId, Endpoint, RequestId, SendOptions, SocketOptions};
use super::carriers::{Encapsulation, InterfaceCodec};
use super::config::Config;
use super::routing::{InterfaceConfig, Route};
use super::security::{Security, SharedKey};
use super::services::{
    Ident, InterfaceName, ServiceAnswer, ServiceRequest, ServiceSet, Services, Timestamp, port,
};
use super::wire::{
    Flags, Header, Packet, RdpFlags, RdpHeader, SequenceNumber, SfpTrailer, SynOptions, Version,
    crc32,
};
use crate::{Hop, Limits, Tag, Transmit};

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let max_window = u.int_in_range(1..=8)?;
        let version = u.arbitrary()?;
        let has_key: bool = u.arbitrary()?;
        let key = SharedKey::new([7; 16]);
        let has_xtea = version == Version::V1 && u.ratio(1, 4)?;
        let interfaces = vec![interface(u)?, interface(u)?];
        // What a full queue drops depends on how many packets of a stream come at once.
        let has_stream = interfaces.iter().any(|it| it.encapsulation.is_stream());
        let few = |u: &mut Unstructured<'a>| {
            let few = u.int_in_range(1..=3)?;
            Ok(if has_stream { 100 } else { few })
        };
        Ok(Self {
            address: u.int_in_range(1..=2)?,
            aliases: vec![3; u.int_in_range(0..=1)?],
            version,
            interfaces,
            routes: vec![Route::default(), u.arbitrary()?],
            max_routes: u.int_in_range(0..=4)?,
            forward: u.ratio(7, 8)?,
            interface_queue: few(u)?,
            max_remembered: u.int_in_range(1..=4)?,
            bridge: u.ratio(1, 16)?.then_some((0, 1)),
            promiscuous: few(u)? - 1,
            hmac_key: has_key.then(|| key.clone()),
            xtea_key: has_xtea.then_some(key),
            services: services(u, has_key)?,
            requests: send_options(u, has_key)?,
            ping: u.arbitrary()?,
            connections: u.int_in_range(0..=3)?,
            rdp: options(u, max_window)?,
            max_window,
            send_queue: u.int_in_range(1..=10)?,
            receive_queue: max_window + u.int_in_range(0..=3)?,
            datagram_queue: few(u)?,
            max_data: u.int_in_range(33..=300)?,
            max_sfp: u.int_in_range(0..=1000)?,
            sfp_senders: u.int_in_range(0..=2)?,
        })
    }
}

/// Mostly one that carries a packet in each datagram.
fn interface(u: &mut Unstructured<'_>) -> Result<InterfaceConfig> {
    let encapsulation = if u.ratio(7, 8)? {
        Encapsulation::Packet
    } else {
        u.arbitrary()?
    };
    Ok(InterfaceConfig {
        name: name(u)?,
        address: u.ratio(1, 4)?.then_some(4),
        prefix: *u.choose(&[0, 0, 3])?,
        is_default: u.arbitrary()?,
        deduplication: u.arbitrary()?,
        encapsulation,
        max_throughput: u.ratio(1, 4)?.then_some(20_000),
    })
}

fn name(u: &mut Unstructured<'_>) -> Result<InterfaceName> {
    Ok(InterfaceName::decode(u.choose(&["", "A", "B"])?.as_bytes()))
}

fn services(u: &mut Unstructured<'_>, has_key: bool) -> Result<Services> {
    let (one, other) = (u.arbitrary()?, u.arbitrary()?);
    let by_application = ServiceSet::from_bits_truncate(one);
    let by_node = ServiceSet::from_bits_truncate(other) & ServiceSet::OF_NODE;
    Ok(Services {
        by_node: by_node.difference(by_application),
        by_application,
        ident: Ident::default(),
        require_crc32: u.arbitrary()?,
        require_hmac: has_key && u.ratio(1, 4)?,
    })
}

fn send_options(u: &mut Unstructured<'_>, has_key: bool) -> Result<SendOptions> {
    let options: SendOptions = u.arbitrary()?;
    let hmac = options.hmac && has_key;
    Ok(SendOptions { hmac, ..options })
}

impl<'a> Arbitrary<'a> for Route {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            address: u.int_in_range(0..=30)?,
            prefix: u.int_in_range(0..=5)?,
            interface: u.int_in_range(0..=1)?,
            via: u.arbitrary::<bool>()?.then_some(2),
        })
    }
}

/// Mostly options that a configuration may have.
fn options(u: &mut Unstructured<'_>, max_window: u16) -> Result<SynOptions> {
    if u.ratio(1, 16)? {
        return u.arbitrary();
    }
    Ok(SynOptions {
        window: u.int_in_range(1..=max_window)?.into(),
        connection_timeout: u.int_in_range(100..=20_000)?,
        packet_timeout: u.int_in_range(0..=3000)?,
        delayed_acks: u.int_in_range(0..=1)?,
        ack_timeout: u.int_in_range(0..=1000)?,
        ack_delay_count: u.int_in_range(0..=4)?,
    })
}

impl<'a> Arbitrary<'a> for ConnectionId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            slot: u.int_in_range(0..=2)?,
            generation: u.int_in_range(0..=3)?,
        })
    }
}

impl<'a> Arbitrary<'a> for SocketOptions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=7)? {
            0 => Self::RDP_REQUIRED,
            1 => Self::RDP_PROHIBITED,
            2 => Self::CRC32_REQUIRED,
            3 => Self::HMAC_REQUIRED,
            _ => Self::empty(),
        })
    }
}

fn endpoint(u: &mut Unstructured<'_>) -> Result<Endpoint> {
    if u.ratio(1, 8)? {
        return u.arbitrary();
    }
    Ok(Endpoint {
        address: u.int_in_range(1..=3)?,
        port: u.int_in_range(9..=11)?,
    })
}

fn data(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let len = u.int_in_range(0..=40)?;
    Ok(Bytes::from(vec![u.arbitrary()?; len]))
}

impl<'a> Arbitrary<'a> for ServiceRequest {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=11)? {
            0 => Self::Ident,
            1 => Self::InterfaceStats(name(u)?),
            2 => Self::Clock,
            3 => Self::SetClock(Timestamp {
                seconds: 1,
                nanoseconds: u.arbitrary()?,
            }),
            4 => {
                let route: Route = u.arbitrary()?;
                Self::SetRoute {
                    address: route.address,
                    prefix: route.prefix,
                    via: route.via,
                    interface: name(u)?,
                }
            }
            5 => Self::Peek {
                address: u.arbitrary()?,
                octets: u.int_in_range(0..=201)?,
            },
            6 => Self::Poke {
                address: u.arbitrary()?,
                data: data(u)?,
            },
            7 => Self::Processes,
            8 => Self::FreeMemory,
            9 => Self::Reboot,
            10 => Self::FreeBuffers,
            _ => Self::Uptime,
        })
    }
}

impl<'a> Arbitrary<'a> for ServiceAnswer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=6)? {
            0 => Self::Ident(Ident::default()),
            1 => Self::Clock(u.arbitrary()?),
            2 => Self::RouteSet,
            3 => Self::Memory(data(u)?),
            4 => Self::Poked,
            5 => Self::Processes(Bytes::from(vec![b'p'; u.int_in_range(0..=3000)?])),
            _ => Self::Uptime(u.arbitrary()?),
        })
    }
}

impl<'a> Arbitrary<'a> for Command {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let tag = Tag(u.int_in_range(0..=3)?);
        Ok(match u.int_in_range(0..=12)? {
            0 | 1 => Self::Bind {
                port: u.int_in_range(9..=11)?,
                options: u.arbitrary()?,
            },
            2 => Self::Unbind(u.int_in_range(9..=11)?),
            3 => Self::Connect {
                tag,
                to: endpoint(u)?,
                options: u.arbitrary()?,
            },
            4 | 5 => Self::Send {
                connection: u.arbitrary()?,
                data: data(u)?,
            },
            6 => Self::Close(u.arbitrary()?),
            7 => Self::SendTo {
                from: u.int_in_range(9..=64)?,
                to: endpoint(u)?,
                options: u.arbitrary::<SendOptions>()?,
                data: data(u)?,
            },
            8 => command_of_service(u, tag)?,
            9 => command_of_fragments(u)?,
            10 => Self::Hold(u.arbitrary()?),
            11 => Self::Release(u.arbitrary()?),
            _ => command_of_routes(u)?,
        })
    }
}

fn command_of_service(u: &mut Unstructured<'_>, tag: Tag) -> Result<Command> {
    let destination = *u.choose(&[1, 2, 3, Version::V1.broadcast(), Version::V2.broadcast()])?;
    let timeout = Duration::from_millis(u.int_in_range(0..=3000)?);
    Ok(match u.int_in_range(0..=2)? {
        0 => Command::Ping {
            tag,
            destination,
            octets: u.int_in_range(0..=300)?,
            timeout,
        },
        1 => Command::Request {
            tag,
            destination,
            request: u.arbitrary()?,
            timeout,
        },
        _ => Command::Answer {
            request: RequestId(u.int_in_range(0..=3)?),
            answer: u.arbitrary()?,
        },
    })
}

fn command_of_fragments(u: &mut Unstructured<'_>) -> Result<Command> {
    let mtu = u.int_in_range(0..=60)?;
    let data = Bytes::from(vec![9; u.int_in_range(0..=1001)?]);
    Ok(if u.arbitrary()? {
        Command::SendFragments {
            connection: u.arbitrary()?,
            mtu,
            data,
        }
    } else {
        Command::SendFragmentsTo {
            from: u.int_in_range(9..=64)?,
            to: endpoint(u)?,
            options: u.arbitrary()?,
            mtu,
            data,
        }
    })
}

fn command_of_routes(u: &mut Unstructured<'_>) -> Result<Command> {
    let route: Route = u.arbitrary()?;
    let (address, prefix) = (route.address, route.prefix);
    Ok(if u.arbitrary()? {
        Command::SetRoute(route)
    } else {
        Command::RemoveRoute { address, prefix }
    })
}

/// Returns the octets of a packet, mostly a valid one of a connection.
pub(super) fn octets(config: &Config, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 16)? {
        return u.arbitrary();
    }
    let version = if u.ratio(1, 16)? {
        u.arbitrary::<Version>()?
    } else {
        config.version
    };
    let header = header(config, version, u)?;
    let mut data = data(u)?.to_vec();
    if header.flags.contains(Flags::FRAG) {
        let place = SfpTrailer {
            offset: u.int_in_range(0..=2)? * 8,
            total: u.int_in_range(0..=40)?,
        };
        data.truncate(8);
        data.extend_from_slice(&place.encode());
    } else if header.destination_port <= port::UPTIME && u.ratio(7, 8)? {
        u.arbitrary::<ServiceRequest>()?.encode(version, &mut data);
    }
    if header.flags.contains(Flags::RDP) {
        trailer_of_rdp(u, &mut data)?;
    }
    if header.flags.contains(Flags::HMAC) {
        let hmac = Security::new(config).hmac(&[&data]);
        data.extend_from_slice(&hmac.unwrap_or_default());
    }
    if header.flags.contains(Flags::CRC32) {
        let sum = crc32(&[&data]);
        data.extend_from_slice(&sum.to_be_bytes());
    }
    let mut octets = Vec::new();
    let data = &data;
    Packet { header, data }.encode(version, &mut octets);
    let interface = u.choose(&config.interfaces)?;
    Ok(encapsulated(interface.encapsulation, version, &octets))
}

fn header(config: &Config, version: Version, u: &mut Unstructured<'_>) -> Result<Header> {
    let flags = *u.choose(&[
        Flags::empty(),
        Flags::CRC32,
        Flags::RDP,
        Flags::RDP,
        Flags::RDP | Flags::CRC32,
        Flags::FRAG,
        Flags::FRAG | Flags::RDP,
        Flags::HMAC | Flags::CRC32,
        Flags::HMAC | Flags::RDP,
        Flags::XTEA,
    ])?;
    Ok(Header {
        priority: u.arbitrary()?,
        source: u.int_in_range(1..=3)?,
        destination: match u.int_in_range(0..=7)? {
            0 => version.broadcast(),
            1 => u.arbitrary()?,
            2 => u.int_in_range(3..=8)?,
            _ => config.address,
        },
        destination_port: any_port(u)?,
        source_port: any_port(u)?,
        flags,
    })
}

/// Appends a trailer of RDP, behind options where it is a SYN.
fn trailer_of_rdp(u: &mut Unstructured<'_>, data: &mut Vec<u8>) -> Result<()> {
    let rdp = RdpHeader {
        flags: *u.choose(&[
            RdpFlags::SYN,
            RdpFlags::SYN | RdpFlags::ACK,
            RdpFlags::ACK,
            RdpFlags::ACK,
            RdpFlags::ACK | RdpFlags::EAK,
            RdpFlags::ACK | RdpFlags::RST,
            RdpFlags::RST,
        ])?,
        count: u.int_in_range(0..=15)?,
        sequence: SequenceNumber(u.int_in_range(0..=8)?),
        acknowledgement: SequenceNumber(u.arbitrary()?),
    };
    if rdp.flags == RdpFlags::SYN && u.ratio(7, 8)? {
        *data = options(u, 8)?.encode().to_vec();
    }
    data.extend_from_slice(&rdp.encode());
    Ok(())
}

/// Returns the first datagram, or the octets of a stream, in which an interface sends a packet.
fn encapsulated(encapsulation: Encapsulation, version: Version, packet: &[u8]) -> Vec<u8> {
    let mut codec = InterfaceCodec::new(encapsulation, version, 1, packet.len());
    let mut tx = Transmit::new(Limits::new(1 << 16, 1, 1 << 16));
    let to = Hop {
        interface: 0,
        via: 1,
    };
    let (header, data) = packet.split_at(version.header_len().min(packet.len()));
    codec.push(&mut tx, to, header, &[data]);
    tx.octets().to_vec()
}

/// A port of a service, one that may be bound, or one of connections.
fn any_port(u: &mut Unstructured<'_>) -> Result<u8> {
    Ok(match u.int_in_range(0..=3)? {
        0 => u.int_in_range(port::CMP..=port::UPTIME)?,
        1 => u.int_in_range(17..=63)?,
        _ => u.int_in_range(9..=11)?,
    })
}
