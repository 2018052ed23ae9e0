//! Messages of DTP in packets of CSP.

use core::fmt;

use farlink::csp::{Packet, RdpFlags, RdpHeader};
use farlink::dtp::{DataPacket, Request, Response};
use serde_json::{Value, json};

/// The port of servers.
const REQUEST_PORT: u8 = 7;
/// The port at clients that data come to.
const DATA_PORT: u8 = 8;
/// How messages begin that nodes of this crate alone send.
const OWN_MAGIC: &[u8] = b"FDt";

/// A message of the classic dialect.
pub(super) enum Message<'a> {
    Request(Request),
    Response(Response),
    Data(DataPacket<'a>),
}

impl<'a> Message<'a> {
    /// Finds the message in a packet without its trailers, by its ports.
    pub(super) fn find(packet: &Packet<'a>, rdp: Option<RdpHeader>) -> Option<Self> {
        let ports = (packet.header.source_port, packet.header.destination_port);
        let is_data = rdp.is_none_or(|rdp| rdp.flags == RdpFlags::ACK);
        if !is_data || packet.data.starts_with(OWN_MAGIC) {
            return None;
        }
        match (rdp, ports) {
            (Some(_), (_, REQUEST_PORT)) => Request::decode(packet.data).ok().map(Self::Request),
            (Some(_), (REQUEST_PORT, _)) => Response::decode(packet.data).ok().map(Self::Response),
            (None, (_, DATA_PORT)) => DataPacket::decode(packet.data).ok().map(Self::Data),
            _ => None,
        }
    }

    pub(super) fn object(&self) -> Value {
        match self {
            Self::Request(request) => {
                let intervals = request.intervals.as_slice().iter();
                json!({
                    "message": "request",
                    "payload": request.payload,
                    "rate": request.throughput,
                    "mtu": request.mtu,
                    "session": request.session,
                    "intervals": intervals.map(|it| [it.start, it.end]).collect::<Vec<_>>(),
                })
            }
            Self::Response(response) => json!({
                "message": "response",
                "octets": response.size,
                "payload_octets": response.payload_size,
            }),
            Self::Data(data) => json!({
                "message": "data",
                "offset": data.offset,
                "session": data.session,
            }),
        }
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => {
                let (payload, rate) = (request.payload, request.throughput);
                let intervals = request.intervals.as_slice().len();
                write!(
                    f,
                    "DTP request of payload {payload} at {rate} octets per second, {intervals} intervals"
                )
            }
            Self::Response(Response { size, payload_size }) => {
                write!(f, "DTP response, {size} of {payload_size} octets")
            }
            Self::Data(data) => write!(f, "DTP data from {}", data.offset),
        }
    }
}
