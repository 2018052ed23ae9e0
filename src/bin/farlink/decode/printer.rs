//! Output of PDUs as text or as JSON.

use core::fmt;
use core::net::SocketAddr;

use farlink::Instant;
use farlink::wire::DecodeError;
use serde_json::{Map, Value, json};

use crate::{Failure, output};

/// Fields with payloads.
const PAYLOADS: [&str; 2] = ["data", "user_data"];

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    /// One JSON object.
    Json,
}

/// The source of the octets.
#[derive(Debug, Clone)]
pub(super) enum Context {
    /// In the input itself.
    Plain,
    /// In a packet of a capture.
    Packet {
        time: Instant,
        from: SocketAddr,
        to: SocketAddr,
    },
    /// In a call of a recording.
    Call {
        number: u64,
        time: Instant,
        way: Direction,
        /// An address as JSON.
        peer: Value,
    },
}

/// Which way octets went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    In,
    Out,
}

/// A range of octets.
#[derive(Debug, Clone, Copy)]
pub(super) struct OctetRange {
    /// The offset in the input, the stream or the datagram.
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// Prints PDUs and counts errors.
#[derive(Debug)]
pub(super) struct Printer {
    style: Style,
    /// Whether payloads are printed.
    pub(super) has_data: bool,
    context: Context,
    protocol: &'static str,
    /// The origin of times in text.
    origin: Instant,
    faults: u64,
    /// The error that ends the output.
    failure: Option<String>,
}

impl Printer {
    pub(super) const fn new(style: Style, has_data: bool) -> Self {
        Self {
            style,
            has_data,
            context: Context::Plain,
            protocol: "",
            origin: Instant::ZERO,
            faults: 0,
            failure: None,
        }
    }

    pub(super) const fn style(&self) -> Style {
        self.style
    }

    pub(super) const fn set_origin(&mut self, origin: Instant) {
        self.origin = origin;
    }

    pub(super) fn set_context(&mut self, context: Context, protocol: &'static str) {
        self.context = context;
        self.protocol = protocol;
    }

    /// Prints one PDU.
    pub(super) fn pdu(
        &self,
        span: OctetRange,
        text: &impl fmt::Display,
        fields: impl FnOnce() -> Value,
    ) {
        self.print(Some(span), text, fields);
    }

    /// Prints a remark on the PDU before, as text. JSON objects have it in a field.
    pub(super) fn remark(&self, text: &impl fmt::Display) {
        if self.style == Style::Text {
            output::line_of_many(&format!("{:>15}  {text}", ""));
        }
    }

    /// Prints a malformed PDU.
    pub(super) fn malformed(&mut self, span: OctetRange, name: &str, error: &DecodeError) {
        self.faults += 1;
        self.print(
            Some(span),
            &format_args!("malformed {name}: {error}"),
            || {
                json!({
                    "error": error.to_string(),
                    "field": error.field,
                    "field_offset": error.offset,
                })
            },
        );
    }

    /// Prints the end of a stream that is malformed.
    pub(super) fn broken(&mut self, offset: u64, message: &str) {
        self.faults += 1;
        if let (Style::Text, Context::Plain) = (self.style, &self.context) {
            self.failure = Some(format!("packet at octet {offset}: {message}"));
            return;
        }
        let fields = || json!({ "offset": offset, "error": message });
        self.print(
            None,
            &format_args!("packet at octet {offset} of the stream: {message}"),
            fields,
        );
    }

    /// Prints that octets are not in the capture.
    pub(super) fn gap(&self, octets: u64) {
        self.print(
            None,
            &format_args!("{octets} octets are not in the capture"),
            || json!({ "gap": octets }),
        );
    }

    /// Prints that the rest of a packet is not in the capture.
    pub(super) fn unfinished(&self, octets: usize) {
        self.print(
            None,
            &format_args!("{octets} octets of a packet, the rest of which is not in the capture"),
            || json!({ "unfinished": octets }),
        );
    }

    /// Returns the error, if there was one.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.failure {
            Some(message) => Err(Failure::Protocol(message)),
            None if self.faults > 0 => Err(Failure::Reported),
            None => Ok(()),
        }
    }

    fn print(
        &self,
        span: Option<OctetRange>,
        text: &dyn fmt::Display,
        fields: impl FnOnce() -> Value,
    ) {
        if self.style == Style::Text {
            return self.text(span, text);
        }
        let mut fields = fields();
        if let (false, Some(fields)) = (self.has_data, fields.as_object_mut()) {
            fields.retain(|name, _| !PAYLOADS.contains(&name.as_str()));
        }
        self.object(span, fields);
    }

    fn text(&self, span: Option<OctetRange>, text: &dyn fmt::Display) {
        output::line_of_many(&match (&self.context, span) {
            (Context::Plain, Some(OctetRange { offset, length })) => {
                format!("{offset:>8} {length:>6}  {text}")
            }
            (Context::Plain, None) => text.to_string(),
            (Context::Packet { time, from, to }, _) => {
                format!("{}  {from} > {to}  {text}", self.time(*time))
            }
            (Context::Call { way, .. }, _) => {
                let arrow = match way {
                    Direction::In => '<',
                    Direction::Out => '>',
                };
                format!("{:>23} {arrow} {text}", "")
            }
        });
    }

    /// Returns a time as text of fixed width.
    pub(super) fn time(&self, time: Instant) -> String {
        // Only a string can be padded, since the length of other displays is unknown.
        let time = (Instant::ZERO + (time - self.origin)).to_string();
        format!("{time:>14}")
    }

    fn object(&self, span: Option<OctetRange>, fields: Value) {
        let mut object = Map::new();
        match &self.context {
            Context::Plain => {}
            Context::Packet { time, from, to } => {
                object.insert("time_ns".into(), time.as_nanos().into());
                object.insert("from".into(), from.to_string().into());
                object.insert("to".into(), to.to_string().into());
            }
            Context::Call {
                number,
                time,
                way,
                peer,
            } => {
                object.insert("call".into(), (*number).into());
                object.insert("time_ns".into(), time.as_nanos().into());
                let way = match way {
                    Direction::In => "in",
                    Direction::Out => "out",
                };
                object.insert("way".into(), way.into());
                object.insert("peer".into(), peer.clone());
            }
        }
        object.insert("protocol".into(), self.protocol.into());
        if let Some(OctetRange { offset, length }) = span {
            object.insert("offset".into(), offset.into());
            object.insert("length".into(), length.into());
        }
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        output::line_of_many(&Value::Object(object).to_string());
    }
}
