//! Arbitrary configurations, commands and packets. They use few values, so that they refer to each other.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::api::{Command, ConnectionId, Endpoint, SendOptions, SocketOptions};
use super::carriers::{Encapsulation, InterfaceCodec};
use super::config::Config;
use super::routing::{InterfaceConfig, Route};
use super::wire::{
    Flags, Header, Packet, RdpFlags, RdpHeader, SequenceNumber, SynOptions, Version, crc32,
};
use crate::{Hop, Limits, Tag, Transmit};

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let max_window = u.int_in_range(1..=8)?;
        let other = Route {
            address: u.int_in_range(0..=30)?,
            prefix: u.int_in_range(0..=5)?,
            interface: u.int_in_range(0..=1)?,
            via: u.arbitrary::<bool>()?.then_some(2),
        };
        Ok(Self {
            address: u.int_in_range(1..=2)?,
            version: u.arbitrary()?,
            interfaces: vec![interface(u)?, interface(u)?],
            routes: vec![Route::default(), other],
            ping: u.arbitrary()?,
            connections: u.int_in_range(0..=3)?,
            rdp: options(u, max_window)?,
            max_window,
            send_queue: u.int_in_range(1..=10)?,
            receive_queue: max_window + u.int_in_range(0..=3)?,
            datagram_queue: u.int_in_range(1..=4)?,
            max_data: u.int_in_range(33..=300)?,
            ..Self::default()
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
        encapsulation,
        ..InterfaceConfig::default()
    })
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
        Ok(match u.int_in_range(0..=5)? {
            0 => Self::RDP_REQUIRED,
            1 => Self::RDP_PROHIBITED,
            2 => Self::CRC32_REQUIRED,
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

impl<'a> Arbitrary<'a> for Command {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let tag = Tag(u.int_in_range(0..=3)?);
        Ok(match u.int_in_range(0..=8)? {
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
            _ => Self::Ping {
                tag,
                destination: u.int_in_range(1..=3)?,
                octets: u.int_in_range(0..=300)?,
                timeout: Duration::from_millis(u.int_in_range(0..=3000)?),
            },
        })
    }
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
    let mut data = data(u)?.to_vec();
    let header = Header {
        priority: u.arbitrary()?,
        source: u.int_in_range(1..=3)?,
        destination: match u.int_in_range(0..=7)? {
            0 => version.broadcast(),
            1 => u.arbitrary()?,
            _ => config.address,
        },
        destination_port: port(u)?,
        source_port: port(u)?,
        flags: *u.choose(&[
            Flags::empty(),
            Flags::CRC32,
            Flags::RDP,
            Flags::RDP,
            Flags::RDP | Flags::CRC32,
            Flags::FRAG,
        ])?,
    };
    if header.flags.contains(Flags::RDP) {
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
            data = options(u, 8)?.encode().to_vec();
        }
        data.extend_from_slice(&rdp.encode());
    }
    if header.flags.contains(Flags::CRC32) {
        let sum = crc32(&[&data]);
        data.extend_from_slice(&sum.to_be_bytes());
    }
    let mut octets = Vec::new();
    Packet {
        header,
        data: &data,
    }
    .encode(version, &mut octets);
    let interface = u.choose(&config.interfaces)?;
    Ok(encapsulated(interface.encapsulation, version, &octets))
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

/// A bound port, the port of pings, or one of connections.
fn port(u: &mut Unstructured<'_>) -> Result<u8> {
    Ok(match u.int_in_range(0..=3)? {
        0 => 1,
        1 => u.int_in_range(17..=63)?,
        _ => u.int_in_range(9..=11)?,
    })
}
