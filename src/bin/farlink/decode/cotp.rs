//! TPKT packets and the COTP TPDUs in them.

use farlink::Framing as _;
use farlink::cotp::{Connect, HEADER, MIN_PACKET, Parameters, Tpdu, TpduSize, Tpkt, VERSION};
use serde_json::{Value, json};

use super::dissector::{Dissector, Start, StreamEnd};
use super::printer::{OctetRange, Printer};
use crate::output::hex;

/// One direction of a stream.
pub(super) struct Cotp {
    framing: Tpkt,
    /// Octets of the stream before those being read.
    position: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Packets are decoded.
    Framed,
    /// The start of the next packet is unknown.
    Lost,
    /// The octets are not packets.
    Broken,
}

impl Cotp {
    pub(super) fn new(start: Start) -> Self {
        Self {
            framing: Tpkt::default(),
            position: 0,
            state: match start {
                Start::Beginning | Start::Frame => State::Framed,
                Start::Middle => State::Lost,
            },
        }
    }
}

impl Dissector for Cotp {
    fn octets(&mut self, octets: &[u8], out: &mut Printer) {
        if self.state == State::Lost && begins_a_packet(octets) {
            self.state = State::Framed;
        }
        let Self {
            framing,
            position,
            state,
        } = self;
        let mut rest = octets;
        while *state == State::Framed {
            let offset = *position + count(octets.len() - rest.len());
            let offset = offset.saturating_sub(count(framing.unfinished().len()));
            match framing.next(&mut rest) {
                Ok(Some(tpdu)) => show(offset, tpdu, out),
                Ok(None) => break,
                Err(_) => {
                    *state = State::Broken;
                    let fault = framing.fault().map(|fault| fault.to_string());
                    out.broken(offset, &fault.unwrap_or_default());
                }
            }
        }
        *position += count(octets.len());
    }

    fn gap(&mut self, octets: u64, out: &mut Printer) {
        self.end(StreamEnd::Truncated, out);
        out.gap(octets);
        self.position = self.position.saturating_add(octets);
        if self.state == State::Framed {
            self.framing = Tpkt::default();
            self.state = State::Lost;
        }
    }

    fn end(&mut self, ending: StreamEnd, out: &mut Printer) {
        let unfinished = self.framing.unfinished().len();
        if unfinished == 0 || self.state != State::Framed {
            return;
        }
        match ending {
            StreamEnd::Truncated => out.unfinished(unfinished),
            StreamEnd::Whole => out.broken(
                self.position.saturating_sub(count(unfinished)),
                &format!("the last packet is cut short after {unfinished} octets"),
            ),
        }
    }
}

/// Tells whether octets look like the start of a packet. Behind a gap, others are skipped.
fn begins_a_packet(octets: &[u8]) -> bool {
    let &[VERSION, 0, high, low, li, code, ..] = octets else {
        return false;
    };
    let packet = usize::from(u16::from_be_bytes([high, low]));
    packet >= MIN_PACKET
        && usize::from(li) + HEADER < packet
        && matches!(code >> 4, 0x1 | 0x7 | 0x8 | 0xC | 0xD | 0xE | 0xF)
}

fn count(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}

fn show(offset: u64, octets: &[u8], out: &mut Printer) {
    let length = HEADER + octets.len();
    let span = OctetRange { offset, length };
    let tpdu = match Tpdu::decode(octets) {
        Ok(tpdu) => tpdu,
        Err(error) => return out.malformed(span, "TPDU", &error),
    };
    let text = tpdu.to_string();
    let text = match &tpdu {
        // The payload is behind the colon.
        Tpdu::Data(_) | Tpdu::Expedited(_) if !out.has_data => text.split(':').next(),
        _ => Some(&*text),
    };
    out.pdu(span, &text.unwrap_or_default(), || object(&tpdu));
    if let Tpdu::ConnectionRequest(tpdu) | Tpdu::ConnectionConfirm(tpdu) = &tpdu
        && let Some(fault) = tpdu.parameters().map_or_else(Some, |list| list.fault)
    {
        out.remark(&format_args!(
            "the variable part is not a parameter list: {fault} of the TPDU"
        ));
    }
}

fn object(tpdu: &Tpdu<'_>) -> Value {
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
        Tpdu::Expedited(tpdu) => json!({
            "end": tpdu.is_last,
            "octets": tpdu.user_data.len(),
            "user_data": hex(tpdu.user_data),
        }),
        Tpdu::Error(tpdu) => json!({
            "destination": tpdu.destination,
            "cause": tpdu.cause.0,
            "rejected": tpdu.invalid_tpdu().map(hex),
        }),
        Tpdu::OtherClass(tpdu) => json!({ "code": tpdu.code, "octets": hex(tpdu.octets) }),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("tpdu".into(), tpdu.name().into());
    }
    object
}

fn connect(tpdu: &Connect<'_>) -> Value {
    let parameters = tpdu.parameters();
    let (list, error) = match parameters {
        Ok(list) => (list, list.fault.map(|fault| fault.to_string())),
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
