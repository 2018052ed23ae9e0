//! `farlink decode`: prints the PDUs in captures, recordings and pasted octets.

mod calls;
mod capture;
mod cotp;
mod csp;
mod dissector;
mod dtp;
mod ltp;
mod printer;

use std::io::Read;
use std::path::PathBuf;

use farlink::Proto;
use farlink::record::{Capture, ReadError};
use farlink::sim::Drawing;

use crate::output::OutputFormat;
use crate::{Failure, hexdump, input, ladder, output};
use calls::Shown;
use capture::Scope;
pub(crate) use capture::TruncatedDatagram;
pub(crate) use dissector::Protocol;
use dissector::{Start, StreamEnd};
use printer::{Context, Printer, Style};

/// Octets of a file by which it is recognised. The head of a recording is among them.
const HEAD: u64 = 1 << 20;

/// The first octets of a file that gzip has compressed.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// The dissector of CSP for Wireshark.
const DISSECTOR: &str = include_str!("decode/csp.lua");

/// The fields of JSON objects.
const FIELDS: &str = "\
Input that is text is read as hex digits, an array of C, base64, or the dump of
xxd, hexdump -C, od -tx1, tcpdump -x or Wireshark.

Fields with --json, one object per line:

  with --data also the payloads: data, user_data

  protocol      cotp, ltp, csp or csp1
  offset        octets before the PDU in the input, the stream or the datagram
  length        octets of the PDU
  error         why a PDU is malformed; with field, the name of the field, and
                field_offset, its offset in the PDU
  time_ns       of a capture: nanoseconds since 1970; of a recording: since its
                origin
  from, to      of a capture: the addresses
  gap           octets that are not in the capture
  unfinished    octets of a PDU whose end is not in the capture

  cotp: tpdu, and the fields of that TPDU: source, destination, class, credit,
  calling, called, tpdu_size, preferred_size, options, alternatives, variable,
  parameter_error, reason, information, cause, rejected, end, number, octets,
  user_data

  ltp:
  segment       red, green, RS, RA, CS, CAS, CR, CAR, keep-alive
  type          the code of the segment type
  originator    the engine of the sender of the block
  session       the session number
  header        extensions: tag, value
  trailer       extensions: tag, value
  client        the client service
  from_octet    the first octet of the segment in the block
  to_octet      the octet behind the last one
  checkpoint    serial numbers, 0 for none
  report        serial numbers, 0 for none
  ends_red_part, ends_block
  data          the octets
  lower, upper  the scope of a report
  claims        pairs of the first octet and the one behind the last
  behind        octets behind a report that have no meaning
  reason        the reason code of a cancel segment

  csp, csp1: priority, source, source_port, destination, destination_port,
  flags, crc32_is_right, rdp: flags, sequence, acknowledgement; fragment:
  offset, total; dtp: message, that is request (payload, rate, mtu, session,
  intervals), response (octets, payload_octets) or data (offset, session); data

  with --calls, and of recordings of csp and dtp: call, the number of the call; time_ns; act and its content, or
  a PDU with way, in or out, and peer

Octets are hex digits. A value that is absent is null.";

/// Decodes captured octets, one line per protocol data unit.
///
/// The input is text, raw octets, or a pcap or pcapng file, which is recognised by its first octets. Of
/// datagrams (ltp), each line of hex digits is one; of a stream (cotp), line breaks have no meaning.
///
/// Without --protocol, the octets tell: those that begin as a TPKT does are cotp, and ltp those that begin as a
/// segment does.
///
/// Of a capture, the streams and datagrams on the ports of known protocols are decoded (cotp: TCP 102, ltp:
/// UDP 1113, csp: UDP 9600), and datagrams between other ports, if the first of them is an LTP segment. IP fragments
/// and the segments of each stream are reassembled. Link types are Ethernet, raw
/// IP, BSD loopback, Linux cooked capture and exported PDUs of Wireshark. A line begins with the time and
/// the two addresses. Times count from the first packet, or from the origin of a recording. Skipped packets
/// are counted on standard error. A recording has the protocol of its machine, whatever its ports are; whether it is
/// damaged is told by replay alone.
///
/// Exit status: 0 all PDUs are valid, 1 the input or a PDU is malformed, or a capture has no packets, 2 wrong usage
/// or no octets to decode.
#[derive(Debug, clap::Args)]
#[command(after_long_help = FIELDS)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Arguments {
    /// The protocol of the octets, by default what they look like
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Of a capture, decode this port as --protocol, or TCP as cotp and UDP as ltp, and no other; may be
    /// repeated
    #[arg(long, value_name = "N")]
    port: Vec<u16>,
    /// Of a recording, print each call with its number, and the PDUs in it
    #[arg(long, conflicts_with_all = ["port", "raw"])]
    calls: bool,
    /// Of a capture, draw the streams and datagrams as a ladder diagram into this SVG file
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    ladder: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Print payloads too
    #[arg(long)]
    data: bool,
    /// Read the input as raw octets, even if it is text
    #[arg(long)]
    raw: bool,
    /// Print a dissector in Lua for Wireshark and `tshark -X lua_script:FILE`: CSP of both versions, RDP and DTP, on
    /// UDP port 9600, Ethernet and CAN
    #[arg(long, exclusive = true)]
    dissector: bool,
    /// The file to read, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.dissector {
        output::line_of_many(DISSECTOR.trim_end());
        return Ok(());
    }
    let _ = OutputFormat::of(arguments.json).with_failures();
    let mut file = input::open(&arguments.file)?;
    let unreadable = |error| Failure::file(&arguments.file, error);
    let mut input = Vec::new();
    let read = file.by_ref().take(HEAD).read_to_end(&mut input);
    read.map_err(unreadable)?;
    let is_stream = Capture::open(&input).is_ok()
        && !arguments.raw
        && !arguments.calls
        && arguments.ladder.is_none()
        && !calls::is_of_buses(&input);
    if !is_stream {
        file.read_to_end(&mut input).map_err(unreadable)?;
    }
    let octets = if arguments.raw {
        &input[..]
    } else {
        input.trim_ascii()
    };
    if octets.is_empty() {
        let name = input::display_name(&arguments.file);
        return Err(Failure::Usage(format!("{name}: no octets to decode")));
    }
    if octets.starts_with(&GZIP) && !arguments.raw {
        let name = input::display_name(&arguments.file);
        return Err(Failure::Usage(format!(
            "{name}: compressed with gzip; decompress it first"
        )));
    }
    input::check_files_differ([&arguments.file], &arguments.ladder)?;
    let named = |failure| {
        let name = input::display_name(&arguments.file);
        match failure {
            Failure::Protocol(message) => Failure::Protocol(format!("{name}: {message}")),
            Failure::Usage(message) => Failure::Usage(format!("{name}: {message}")),
            Failure::Reported => Failure::Reported,
        }
    };
    let decoded = decode(arguments, &input, file).map_err(named);
    if let Some(path) = &arguments.ladder {
        let mut scope = Scope::new(&input, arguments.protocol, &arguments.port);
        scope.learn_all(&input);
        let trace = ladder::of_capture(&input, |path| scope.protocol(path), &[])
            .map_err(|error| named(Failure::Protocol(format!("no ladder: {error}"))))?;
        let drawing = Drawing {
            title: input::display_name(&arguments.file),
            ..Drawing::default()
        };
        output::write_file(path, trace.svg(&drawing))?;
    }
    decoded
}

/// Decodes the input, of which `rest` is not read yet if it is a capture.
fn decode(arguments: &Arguments, input: &[u8], rest: impl Read) -> Result<(), Failure> {
    let style = if arguments.json {
        Style::Json
    } else {
        Style::Text
    };
    let printer = Printer::new(style, arguments.data);
    if arguments.raw {
        return frame(input, arguments.protocol, printer);
    }
    if arguments.calls {
        return calls::run(input, Shown::Calls, printer);
    }
    if calls::is_of_buses(input) {
        return calls::run(input, Shown::Pdus, printer);
    }
    match Capture::open(input) {
        Ok(_) => {
            let mut scope = Scope::new(input, arguments.protocol, &arguments.port);
            capture::run(input.chain(rest), &mut scope, printer)
        }
        Err(ReadError::NotACapture) => pasted(arguments, input, printer),
        Err(error) => Err(Failure::protocol(error)),
    }
}

/// Decodes text or raw octets.
fn pasted(arguments: &Arguments, input: &[u8], printer: Printer) -> Result<(), Failure> {
    let protocol = arguments.protocol;
    let is_text = input
        .iter()
        .all(|octet| octet.is_ascii_graphic() || octet.is_ascii_whitespace());
    // No PDU consists of text alone: a TPKT begins with the octet 3, a segment of LTP has an octet of 0
    // before its content.
    let Some(text) = core::str::from_utf8(input).ok().filter(|_| is_text) else {
        return frame(input, protocol, printer);
    };
    let octets = unhex(text, protocol)?;
    if octets.iter().all(Vec::is_empty) {
        return Err(Failure::Usage("no octets to decode".into()));
    }
    let Some(packets) = ip_capture(&octets) else {
        return plain(&octets, protocol, Start::Beginning, printer);
    };
    let mut scope = Scope::new(&packets, protocol, &arguments.port);
    capture::run(&packets[..], &mut scope, printer)
}

/// Reads dumps, or hex digits: of datagrams one in each line.
fn unhex(text: &str, protocol: Option<Protocol>) -> Result<Vec<Vec<u8>>, Failure> {
    let fault = |message: String| {
        Failure::Usage(format!("not hex: {message} (--raw reads text as octets)"))
    };
    if let Some(dumps) = hexdump::dumps(text) {
        return dumps.map_err(fault);
    }
    let lines = text.lines().zip(1_usize..);
    let lines = lines.filter(|(line, _)| !line.trim().is_empty());
    let digits =
        |text: &str| hexdump::digits(text).or_else(|error| hexdump::base64(text).ok_or(error));
    let whole = digits(text);
    let protocol = protocol.unwrap_or_else(|| match &whole {
        Ok(octets) => Protocol::of_octets(octets),
        Err(_) => lines
            .clone()
            .find_map(|(line, _)| digits(line).ok())
            .map_or(Protocol::Cotp, |octets| Protocol::of_octets(&octets)),
    });
    if !protocol.goes_over(Proto::Udp) {
        return Ok(vec![whole.map_err(fault)?]);
    }
    lines
        .map(|(line, number)| {
            digits(line).map_err(|message| fault(format!("line {number}: {message}")))
        })
        .collect()
}

/// Returns a capture of IP packets, if the octets are such packets, as `tcpdump -x` prints them.
fn ip_capture(packets: &[Vec<u8>]) -> Option<Vec<u8>> {
    // A pcap file in little-endian order, with microseconds, up to 65,535 octets a packet, of raw IP (101).
    let mut file = Vec::from([0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0]);
    for field in [0_u32, 0, 65_535, 101] {
        file.extend(field.to_le_bytes());
    }
    for packet in packets {
        let word = |at: usize| match packet.get(at..at + 2) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        let length = match (packet.first()?, packet.len()) {
            (0x45..=0x4F, 20..) => word(2),
            (0x60..=0x6F, 40..) => 40 + word(4),
            _ => return None,
        };
        // Ethernet pads short packets.
        let captured = packet.get(..length).unwrap_or(packet);
        for field in [0, 0, captured.len(), length] {
            file.extend(u32::try_from(field).ok()?.to_le_bytes());
        }
        file.extend_from_slice(captured);
    }
    (!packets.is_empty()).then_some(file)
}

/// Decodes raw octets, of a stream or of a frame.
fn frame(input: &[u8], protocol: Option<Protocol>, printer: Printer) -> Result<(), Failure> {
    plain(&[input], protocol, Start::Frame, printer)
}

/// Decodes the octets of one stream, or datagrams.
fn plain(
    input: &[impl AsRef<[u8]>],
    protocol: Option<Protocol>,
    start: Start,
    mut printer: Printer,
) -> Result<(), Failure> {
    let first = input.first().map(AsRef::as_ref).unwrap_or_default();
    let protocol = protocol.unwrap_or_else(|| Protocol::of_octets(first));
    printer.set_context(Context::Plain, protocol.kind());
    let mut dissector = protocol.start(start);
    for octets in input {
        dissector.octets(octets.as_ref(), &mut printer);
    }
    dissector.end(StreamEnd::Whole, &mut printer);
    printer.finish()
}
