//! Lines for people and objects for programs, of what is found in octets.

use core::fmt;
use core::net::SocketAddr;

use farlink::Instant;
use farlink::wire::DecodeError;
use serde_json::{Map, Value, json};

use crate::{Failure, output};

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    /// One JSON object.
    Json,
}

/// Where the octets being read set_context.
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

/// Which octets something is.
#[derive(Debug, Clone, Copy)]
pub(super) struct OctetRange {
    /// Where it begins in the input, or in the stream.
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// Prints what is found, and counts what is wrong.
#[derive(Debug)]
pub(super) struct Printer {
    style: Style,
    context: Context,
    protocol: &'static str,
    /// From where people count time.
    origin: Instant,
    faults: u64,
    /// What is left to say on standard error.
    failure: Option<String>,
}

impl Printer {
    pub(super) const fn new(style: Style) -> Self {
        Self {
            style,
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
        &mut self,
        span: OctetRange,
        text: &impl fmt::Display,
        fields: impl FnOnce() -> Value,
    ) {
        match self.style {
            Style::Text => self.text(Some(span), text),
            Style::Json => self.object(Some(span), fields()),
        }
    }

    /// Prints something about the PDU before, for people: an object has it already.
    pub(super) fn remark(&mut self, text: &impl fmt::Display) {
        if self.style == Style::Text {
            output::line_of_many(&format!("{:>15}  {text}", ""));
        }
    }

    /// Prints a PDU that cannot be read.
    pub(super) fn malformed(&mut self, span: OctetRange, name: &str, error: &DecodeError) {
        self.faults += 1;
        match self.style {
            Style::Text => {
                self.text(Some(span), &format_args!("malformed {name}: {error}"));
            }
            Style::Json => self.object(
                Some(span),
                json!({
                    "error": error.to_string(),
                    "field": error.field,
                    "field_offset": error.offset,
                }),
            ),
        }
    }

    /// Prints where a stream cannot be read any further.
    pub(super) fn broken(&mut self, offset: u64, message: &str) {
        self.faults += 1;
        match (self.style, &self.context) {
            (Style::Json, _) => {
                self.object(None, json!({ "offset": offset, "error": message }));
            }
            (Style::Text, Context::Plain) => {
                self.failure = Some(format!("packet at octet {offset}: {message}"));
            }
            (Style::Text, _) => self.text(
                None,
                &format_args!("packet at octet {offset} of the stream: {message}"),
            ),
        }
    }

    /// Prints that octets are not in the capture.
    pub(super) fn gap(&mut self, octets: u64) {
        match self.style {
            Style::Text => self.text(
                None,
                &format_args!("{octets} octets are not in the capture"),
            ),
            Style::Json => self.object(None, json!({ "gap": octets })),
        }
    }

    /// Prints that nobody will see the rest of a packet.
    pub(super) fn unfinished(&mut self, octets: usize) {
        match self.style {
            Style::Text => self.text(
                None,
                &format_args!(
                    "{octets} octets of a packet, the rest of which is not in the capture"
                ),
            ),
            Style::Json => self.object(None, json!({ "unfinished": octets })),
        }
    }

    /// Says what was wrong, if anything was.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.failure {
            Some(message) => Err(Failure::Protocol(message)),
            None if self.faults > 0 => Err(Failure::Reported),
            None => Ok(()),
        }
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

    /// Writes a time for a person, in columns.
    pub(super) fn time(&self, time: Instant) -> String {
        // A padding asks for a string: the length of what is displayed is not known before.
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
