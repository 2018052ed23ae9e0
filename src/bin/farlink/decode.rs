//! `farlink decode`: octets in, one line per PDU out.

mod calls;
mod capture;
mod cotp;
mod dissector;
mod ltp;
mod printer;

use alloc::borrow::Cow;
use std::path::PathBuf;

use farlink::Proto;
use farlink::record::{Capture, ReadError};
use farlink::sim::Drawing;

use crate::output::parse_hex;
use crate::{Failure, input, ladder};
use capture::Scope;
pub(crate) use capture::TruncatedDatagram;
pub(crate) use dissector::Protocol;
use dissector::{Start, StreamEnd};
use printer::{Context, Printer, Style};

/// Prints captured octets, one line per protocol data unit.
///
/// The input is hex digits, raw octets, or a pcap or pcapng file, which is known by how it begins. Of
/// datagrams (ltp) each line of hex digits is one; of a stream (cotp) line breaks mean nothing.
///
/// Of a capture, the streams and datagrams on the port of a known protocol are read (cotp: TCP 102, ltp: UDP
/// 1113), fragments of IP put together, and each direction of a stream put back in order. Link types are
/// Ethernet, raw IP, BSD loopback, Linux cooked capture and PDUs that Wireshark has exported. A line begins
/// with the time and the two addresses. Times count from the first packet, in a recording of farlink from its
/// origin. What was passed over is counted on standard error.
///
/// With --json each line is an object with `protocol`, `offset` and `length` (octets, from the beginning of
/// the input, the stream or the datagram), and the fields of the PDU, octets as hex. Of cotp these are `tpdu`
/// and what that TPDU has: `source`, `destination`, `class`, `calling`, `called`, `tpdu_size`, `reason`,
/// `cause`, `end`, `user_data`, ... Of ltp they are `segment` (red, green, RS, RA, CS, CAS, CR, CAR,
/// keep-alive), `type` (its code), `originator` and `session`, the extensions of `header` and `trailer`
/// (`tag`, `value`), and by segment `client`, `from_octet` and `to_octet` (of the block), `checkpoint` and
/// `report` (serial numbers, 0 for none), `ends_red_part`, `ends_block`, `data`, `lower`, `upper`, `claims`
/// (pairs of first octet and the one behind the last), octets `behind` a report that say nothing, `reason`.
/// A fault has `error` and `offset`, inside a PDU also `field` and `field_offset`. Of a capture each object has
/// `time_ns` (nanoseconds since 1970, in a recording since its origin), `from` and `to`; octets that are
/// not in it are a `gap`. With --calls an object has `call`, `time_ns`, and either `act` and what belongs to
/// it, or a PDU with `way` and `peer`.
///
/// Exit status: 0 all is in order, 1 the input is broken or holds something malformed, 2 wrong usage.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How to read the octets
    #[arg(long, value_enum, default_value_t = Protocol::Cotp)]
    protocol: Protocol,
    /// Of a capture, read this port as --protocol, instead of all known ports; may be repeated
    #[arg(long, value_name = "N")]
    port: Vec<u16>,
    /// Of a recording of farlink, print every call with its number, and the PDUs in it
    #[arg(long, conflicts_with_all = ["port", "raw"])]
    calls: bool,
    /// Of a capture, draw the ladder of the streams and datagrams into this file, as SVG
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    ladder: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Take the input as raw octets whatever it looks like
    #[arg(long)]
    raw: bool,
    /// The file to read, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let input = input::read(&arguments.file)?;
    if let Some(ladder) = &arguments.ladder {
        input::check_not_overwritten(&arguments.file, ladder)?;
    }
    let named = |failure| {
        let name = input::display_name(&arguments.file);
        match failure {
            Failure::Protocol(message) => Failure::Protocol(format!("{name}: {message}")),
            Failure::Usage(message) => Failure::Usage(format!("{name}: {message}")),
            Failure::Reported => Failure::Reported,
        }
    };
    let decoded = decode(arguments, &input).map_err(named);
    if let Some(path) = &arguments.ladder {
        let scope = Scope::new(&input, arguments.protocol, &arguments.port);
        let trace = ladder::of_capture(&input, |path| scope.protocol(path), &[])
            .map_err(|error| named(Failure::Protocol(format!("no ladder: {error}"))))?;
        let drawing = Drawing {
            title: input::display_name(&arguments.file),
            ..Drawing::default()
        };
        std::fs::write(path, trace.svg(&drawing))
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    }
    decoded
}

fn decode(arguments: &Arguments, input: &[u8]) -> Result<(), Failure> {
    let printer = Printer::new(if arguments.json {
        Style::Json
    } else {
        Style::Text
    });
    if arguments.raw {
        return plain(&[input], arguments.protocol, printer);
    }
    if arguments.calls {
        return calls::run(input, printer);
    }
    match Capture::open(input) {
        Ok(capture) => {
            let scope = Scope::new(input, arguments.protocol, &arguments.port);
            capture::run(input, capture, &scope, printer)
        }
        Err(ReadError::NotACapture) => {
            let octets = unhex(input, arguments.protocol)?;
            plain(&octets, arguments.protocol, printer)
        }
        Err(error) => Err(broken(&error)),
    }
}

fn broken(error: &ReadError) -> Failure {
    Failure::Protocol(error.to_string())
}

/// Text is taken for hex digits, everything else for raw octets. No PDU consists of text alone: a TPKT
/// begins with the octet 3, a segment of LTP has an octet of 0 before its content.
fn unhex(input: &[u8], protocol: Protocol) -> Result<Vec<Cow<'_, [u8]>>, Failure> {
    let is_text = input
        .iter()
        .all(|octet| octet.is_ascii_graphic() || octet.is_ascii_whitespace());
    match core::str::from_utf8(input) {
        Ok(text) if is_text && protocol.goes_over(Proto::Udp) => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .zip(1..)
            .map(|(line, number)| digits(line, &format!(" in datagram {number}")))
            .collect(),
        Ok(text) if is_text => Ok(vec![digits(text, "")?]),
        _ => Ok(vec![input.into()]),
    }
}

fn digits(text: &str, context: &str) -> Result<Cow<'static, [u8]>, Failure> {
    parse_hex(text).map(Cow::Owned).map_err(|message| {
        Failure::Usage(format!(
            "not hex{context}: {message} (--raw for raw octets)"
        ))
    })
}

/// The octets of one stream, or datagrams.
fn plain(
    input: &[impl AsRef<[u8]>],
    protocol: Protocol,
    mut printer: Printer,
) -> Result<(), Failure> {
    printer.set_context(Context::Plain, protocol.kind());
    let mut dissector = protocol.start(Start::Beginning);
    for octets in input {
        dissector.octets(octets.as_ref(), &mut printer);
    }
    dissector.end(StreamEnd::Whole, &mut printer);
    printer.finish()
}
