//! `farlink decode`: octets in, one line per PDU out.

use std::io::Read as _;
use std::path::PathBuf;

use clap::ValueEnum;
use farlink::Framing as _;
use farlink::cotp::{Connect, HEADER, Parameters, Tpdu, TpduSize, Tpkt};
use farlink::wire::DecodeError;
use serde_json::{Value, json};

use crate::Failure;
use crate::output::{self, hex, parse_hex};

/// Prints captured octets, one line per protocol data unit.
///
/// With --json each line is an object with `offset`, `length`, `tpdu` and the fields of that TPDU
/// (`source`, `destination`, `class`, `calling`, `called`, `tpdu_size`, `reason`, `cause`, `end`,
/// `user_data`, ...), octets as hex; a fault has `error`, `field` and `offset`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How to read the octets
    #[arg(long, value_enum, default_value_t = Protocol::Cotp)]
    protocol: Protocol,
    /// Print one JSON object per PDU
    #[arg(long)]
    json: bool,
    /// Take the input as raw octets even if it looks like hex digits
    #[arg(long)]
    raw: bool,
    /// The file to read, or - for standard input; hex digits or raw octets
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    /// TPKT packets with COTP TPDUs, as in a TCP stream
    Cotp,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let input = read(&arguments.file)?;
    let octets = if arguments.raw { input } else { unhex(input)? };
    match arguments.protocol {
        Protocol::Cotp => cotp(&octets, arguments.json),
    }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    if file.as_os_str() == "-" {
        let mut octets = Vec::new();
        return std::io::stdin()
            .read_to_end(&mut octets)
            .map(|_| octets)
            .map_err(|error| Failure::Usage(format!("standard input: {error}")));
    }
    std::fs::read(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// Text is taken for hex digits, everything else for raw octets. No PDU consists of text alone: a TPKT
/// begins with the octet 3.
fn unhex(input: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let is_text = input
        .iter()
        .all(|octet| octet.is_ascii_graphic() || octet.is_ascii_whitespace());
    match core::str::from_utf8(&input) {
        Ok(text) if is_text => parse_hex(text).map_err(|message| {
            Failure::Usage(format!("not hex: {message} (--raw for raw octets)"))
        }),
        _ => Ok(input),
    }
}

fn cotp(octets: &[u8], as_json: bool) -> Result<(), Failure> {
    let mut framing = Tpkt::default();
    let mut rest = octets;
    let mut faults = 0_usize;
    loop {
        let offset = octets.len() - rest.len();
        match framing.next(&mut rest) {
            Ok(Some(tpdu)) => faults += usize::from(!show(offset, tpdu, as_json)),
            Ok(None) => break,
            Err(_) => {
                let message = framing
                    .fault()
                    .map(|fault| fault.to_string())
                    .unwrap_or_default();
                return Err(complain(offset, &message, as_json));
            }
        }
    }
    let cut = framing.unfinished().len();
    if cut > 0 {
        let offset = octets.len() - cut;
        return Err(complain(
            offset,
            &format!("the last packet is cut short after {cut} octets"),
            as_json,
        ));
    }
    if faults > 0 {
        Err(Failure::Told)
    } else {
        Ok(())
    }
}

fn complain(offset: usize, message: &str, as_json: bool) -> Failure {
    if as_json {
        output::json(&json!({ "offset": offset, "error": message }));
        return Failure::Told;
    }
    Failure::Protocol(format!("packet at octet {offset}: {message}"))
}

/// Prints one TPDU; tells whether it was in order.
fn show(offset: usize, octets: &[u8], as_json: bool) -> bool {
    let length = HEADER + octets.len();
    let tpdu = Tpdu::decode(octets);
    match (&tpdu, as_json) {
        (Ok(tpdu), true) => output::json(&object(offset, length, tpdu)),
        (Ok(tpdu), false) => output::line(&format!("{offset:>8} {length:>6}  {tpdu}")),
        (Err(error), true) => output::json(&fault(offset, length, error)),
        (Err(error), false) => output::line(&format!(
            "{offset:>8} {length:>6}  malformed: {error} of the TPDU"
        )),
    }
    let connect = match &tpdu {
        Ok(Tpdu::ConnectionRequest(tpdu) | Tpdu::ConnectionConfirm(tpdu)) => {
            tpdu.parameters().err()
        }
        _ => None,
    };
    if let (Some(error), false) = (connect, as_json) {
        output::line(&format!(
            "{:>15}  the variable part is no parameter list: {error} of the TPDU",
            ""
        ));
    }
    tpdu.is_ok()
}

fn fault(offset: usize, length: usize, error: &DecodeError) -> Value {
    json!({
        "offset": offset,
        "length": length,
        "error": error.to_string(),
        "field": error.field,
        "field_offset": error.offset,
    })
}

fn object(offset: usize, length: usize, tpdu: &Tpdu<'_>) -> Value {
    let mut object = match tpdu {
        Tpdu::ConnectionRequest(tpdu) | Tpdu::ConnectionConfirm(tpdu) => connect(tpdu),
        Tpdu::DisconnectRequest(tpdu) => json!({
            "source": tpdu.source,
            "destination": tpdu.destination,
            "reason": tpdu.reason.0,
            "information": hex(tpdu.information()),
            "user_data": hex(tpdu.user_data),
        }),
        Tpdu::DisconnectConfirm(tpdu) => {
            json!({ "source": tpdu.source, "destination": tpdu.destination })
        }
        Tpdu::Data(tpdu) => json!({
            "end": tpdu.is_last,
            "number": tpdu.number,
            "octets": tpdu.user_data.len(),
            "user_data": hex(tpdu.user_data),
        }),
        Tpdu::Expedited(tpdu) => json!({ "end": tpdu.is_last, "user_data": hex(tpdu.user_data) }),
        Tpdu::Error(tpdu) => json!({
            "destination": tpdu.destination,
            "cause": tpdu.cause.0,
            "rejected": tpdu.invalid_tpdu().map(hex),
        }),
        Tpdu::OtherClass(tpdu) => json!({ "code": tpdu.code, "octets": hex(tpdu.octets) }),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("offset".into(), offset.into());
        fields.insert("length".into(), length.into());
        fields.insert("tpdu".into(), tpdu.name().into());
    }
    object
}

fn connect(tpdu: &Connect<'_>) -> Value {
    let parameters = tpdu.parameters();
    let (list, error) = match parameters {
        Ok(list) => (list, None),
        Err(error) => (Parameters::default(), Some(error.to_string())),
    };
    json!({
        "source": tpdu.source,
        "destination": tpdu.destination,
        "class": tpdu.class(),
        "credit": tpdu.credit,
        "calling": list.calling.map(hex),
        "called": list.called.map(hex),
        "tpdu_size": list.tpdu_size.map(TpduSize::octets),
        "preferred_size": list.preferred_size.map(|units| u32::from(units) * 128),
        "options": list.options,
        "alternatives": list.alternatives.map(hex),
        "variable": hex(tpdu.variable),
        "user_data": hex(tpdu.user_data),
        "parameter_error": error,
    })
}
