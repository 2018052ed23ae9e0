//! Encoding and decoding of the TPDUs of class 0 (ISO 8073 section 13, RFC 1006 section 6).

use alloc::vec::Vec;
use core::fmt;

use super::params::{self, Parameters};
use crate::wire::{Cursor, DecodeError, Fault};

pub(super) const CR: u8 = 0xE0;
pub(super) const CC: u8 = 0xD0;
pub(super) const DR: u8 = 0x80;
const DC: u8 = 0xC0;
const DT: u8 = 0xF0;
const ED: u8 = 0x10;
pub(super) const ER: u8 = 0x70;
const EA: u8 = 0x20;
const RJ: u8 = 0x50;
const AK: u8 = 0x60;

/// The largest length indicator; 255 is reserved (ISO 8073 13.2.1).
pub const MAX_LI: usize = 254;
/// Octets of the longest variable part of a CR, CC or DR.
pub const MAX_VARIABLE: usize = MAX_LI - 6;
/// Octets before the user data of a DT: length indicator, code, EOT and number.
pub const DATA_HEADER: usize = 3;
const END: u8 = 0x80;
/// The name of the octet behind the length indicator, in errors.
pub(super) const TPDU_CODE: &str = "TPDU code";

/// One transport protocol data unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tpdu<'a> {
    /// CR, connection request.
    ConnectionRequest(Connect<'a>),
    /// CC, connection confirm.
    ConnectionConfirm(Connect<'a>),
    /// DR, disconnect request: in class 0 the refusal of a CR.
    DisconnectRequest(DisconnectRequest<'a>),
    /// DC, disconnect confirm. Class 0 has none, but some servers answer a DR with it.
    DisconnectConfirm(DisconnectConfirm<'a>),
    /// DT, data.
    Data(DataTpdu<'a>),
    /// ED as in RFC 1006, expedited data.
    Expedited(Expedited<'a>),
    /// ER, error.
    Error(ErrorReport<'a>),
    /// A TPDU of another class: AK, RJ, EA, or ED with a reference. It is not decoded.
    OtherClass(OtherClass<'a>),
}

/// CR and CC, which have the same fields (ISO 8073 13.3, 13.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connect<'a> {
    /// Credit, 4 bits; zero in class 0.
    pub credit: u8,
    /// DST-REF: zero in a CR; in a CC the reference of the CR.
    pub destination: u16,
    /// SRC-REF: the reference chosen by the sender.
    pub source: u16,
    /// Class in bits 8-5, options in bits 4-1.
    pub class_option: u8,
    /// The variable part, not decoded, at most 248 octets.
    pub variable: &'a [u8],
    /// User data behind the header.
    pub user_data: &'a [u8],
}

impl<'a> Connect<'a> {
    /// Octets before the variable part.
    const FIXED: usize = 7;

    /// Returns the protocol class.
    #[must_use]
    pub const fn class(&self) -> u8 {
        self.class_option >> 4
    }

    /// Decodes the variable part as a list of parameters.
    ///
    /// # Errors
    ///
    /// The variable part is not a list of valid parameters; that of RDP is none.
    pub fn parameters(&self) -> Result<Parameters<'a>, DecodeError> {
        Parameters::decode(self.variable, Self::FIXED)
    }

    fn decode(code: u8, body: &mut Body<'a>) -> Result<Self, DecodeError> {
        let destination = body.header.u16("destination reference")?;
        let source = body.header.u16("source reference")?;
        let class_option = body.header.u8("class")?;
        Ok(Self {
            credit: code & 0x0F,
            destination,
            source,
            class_option,
            variable: body.header.rest(),
            user_data: body.user_data,
        })
    }

    fn encode(&self, code: u8, out: &mut Vec<u8>) {
        header(6 + self.variable.len(), code | (self.credit & 0x0F), out);
        out.extend_from_slice(&self.destination.to_be_bytes());
        out.extend_from_slice(&self.source.to_be_bytes());
        out.push(self.class_option);
        out.extend_from_slice(self.variable);
        out.extend_from_slice(self.user_data);
    }
}

/// Why a connection was refused or ended (ISO 8073 13.5.3 d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct DisconnectReason(pub u8);

impl DisconnectReason {
    /// No reason given.
    pub const NOT_SPECIFIED: Self = Self(0);
    /// The service with the selector is congested.
    pub const CONGESTION: Self = Self(1);
    /// No session entity is attached to the selector.
    pub const NOT_ATTACHED: Self = Self(2);
    /// The selector is unknown.
    pub const ADDRESS_UNKNOWN: Self = Self(3);
    /// Normal disconnect by the session entity. Class 0 does not have it, but some peers send it.
    pub const NORMAL: Self = Self(128);
    /// The proposed class is not supported. Only for a CR of classes 1 to 4.
    pub const NEGOTIATION_FAILED: Self = Self(130);

    const fn text(self) -> &'static str {
        match self.0 {
            0 => "reason not specified",
            1 => "congestion at the selector",
            2 => "no session entity attached to the selector",
            3 => "selector unknown",
            128 => "normal disconnect by the session entity",
            129 => "congestion at connect time",
            130 => "connection negotiation failed",
            131 => "duplicate source reference",
            132 => "mismatched references",
            133 => "protocol error",
            135 => "reference overflow",
            136 => "connection request refused on this network connection",
            138 => "header or parameter length invalid",
            _ => "reason unknown to ISO 8073",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.0)
    }
}

/// DR (ISO 8073 13.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisconnectRequest<'a> {
    /// DST-REF: the reference of the receiver.
    pub destination: u16,
    /// SRC-REF: zero when a CR is refused.
    pub source: u16,
    /// The reason.
    pub reason: DisconnectReason,
    /// The variable part, not decoded.
    pub variable: &'a [u8],
    /// User data behind the header.
    pub user_data: &'a [u8],
}

impl<'a> DisconnectRequest<'a> {
    /// Returns the additional information (parameter 0xE0), or the whole variable part if it is no list of
    /// parameters.
    #[must_use]
    pub fn information(&self) -> &'a [u8] {
        params::find(params::INFORMATION, self.variable).unwrap_or(self.variable)
    }

    fn decode(body: &mut Body<'a>) -> Result<Self, DecodeError> {
        let destination = body.header.u16("destination reference")?;
        let source = body.header.u16("source reference")?;
        let reason = DisconnectReason(body.header.u8("reason")?);
        Ok(Self {
            destination,
            source,
            reason,
            variable: body.header.rest(),
            user_data: body.user_data,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        header(6 + self.variable.len(), DR, out);
        out.extend_from_slice(&self.destination.to_be_bytes());
        out.extend_from_slice(&self.source.to_be_bytes());
        out.push(self.reason.0);
        out.extend_from_slice(self.variable);
        out.extend_from_slice(self.user_data);
    }
}

/// DC (ISO 8073 13.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisconnectConfirm<'a> {
    /// DST-REF.
    pub destination: u16,
    /// SRC-REF.
    pub source: u16,
    /// The variable part, not decoded.
    pub variable: &'a [u8],
}

/// DT (ISO 8073 13.7.1 a).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataTpdu<'a> {
    /// Whether the user data ends a message (EOT).
    pub is_last: bool,
    /// TPDU-NR, 7 bits; zero in class 0.
    pub number: u8,
    /// Bit 1 of the code: request of acknowledgement, in class 1 of later X.224.
    pub wants_acknowledgement: bool,
    /// Part of a message.
    pub user_data: &'a [u8],
}

impl DataTpdu<'_> {
    /// Returns the headers of TPKT and DT for `payload` octets of user data.
    ///
    /// Bound: `payload` is at most 65,528, so the packet length fits 16 bits; more saturates.
    pub(super) fn packet_header(
        payload: usize,
        is_last: bool,
    ) -> [u8; super::tpkt::HEADER + DATA_HEADER] {
        let length = u16::try_from(super::tpkt::HEADER + DATA_HEADER + payload).unwrap_or(u16::MAX);
        let [high, low] = length.to_be_bytes();
        [
            super::tpkt::VERSION,
            0,
            high,
            low,
            2,
            DT,
            if is_last { END } else { 0 },
        ]
    }
}

/// ED of RFC 1006 section 6: a DT with another code and 1 to 16 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expedited<'a> {
    /// Credit, 4 bits; zero when sent, ignored when received.
    pub credit: u8,
    /// Whether EOT is set. Senders always set it.
    pub is_last: bool,
    /// The 7 bits beside EOT; zero when sent, ignored when received.
    pub number: u8,
    /// The message.
    pub user_data: &'a [u8],
}

/// Why a TPDU was rejected (ISO 8073 13.12.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct RejectCause(pub u8);

impl RejectCause {
    /// No cause given.
    pub const NOT_SPECIFIED: Self = Self(0);
    /// A parameter code is not allowed.
    pub const PARAMETER_CODE: Self = Self(1);
    /// The type of the TPDU is not allowed.
    pub const TPDU_TYPE: Self = Self(2);
    /// A parameter value is not allowed.
    pub const PARAMETER_VALUE: Self = Self(3);
}

impl fmt::Display for RejectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            0 => "cause not specified",
            1 => "invalid parameter code",
            2 => "invalid TPDU type",
            3 => "invalid parameter value",
            _ => "cause unknown to ISO 8073",
        };
        write!(f, "{words} ({})", self.0)
    }
}

/// ER (ISO 8073 13.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// DST-REF: the reference of the receiver.
    pub destination: u16,
    /// The cause.
    pub cause: RejectCause,
    /// The variable part, not decoded.
    pub variable: &'a [u8],
}

impl<'a> ErrorReport<'a> {
    /// Returns the rejected TPDU up to its fault (parameter 0xC1), if present.
    #[must_use]
    pub fn invalid_tpdu(&self) -> Option<&'a [u8]> {
        params::find(params::INVALID_TPDU, self.variable)
    }
}

/// A TPDU of another class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherClass<'a> {
    /// The code, credit included.
    pub code: u8,
    /// All octets of the TPDU.
    pub octets: &'a [u8],
}

/// The header behind the length indicator, and the user data.
struct Body<'a> {
    header: Cursor<'a>,
    /// Octets of the header, length indicator and code included.
    header_len: usize,
    user_data: &'a [u8],
}

impl<'a> Tpdu<'a> {
    /// Decodes one TPDU.
    ///
    /// # Errors
    ///
    /// The TPDU is invalid (ISO 8073 13.2): the length indicator fits neither the octets nor the fixed
    /// part, the code is unknown, or user data follow a header that has none.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(octets).map_err(|error| length_error(octets, error))
    }

    fn read(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut body = split(octets)?;
        let code = body.header.u8(TPDU_CODE)?;
        match (code, code & 0xF0) {
            (_, CR) => Connect::decode(code, &mut body).map(Self::ConnectionRequest),
            (_, CC) => Connect::decode(code, &mut body).map(Self::ConnectionConfirm),
            (DR, _) => DisconnectRequest::decode(&mut body).map(Self::DisconnectRequest),
            (DC, _) => decode_dc(&mut body).map(Self::DisconnectConfirm),
            (DT | 0xF1, _) => decode_dt(code, octets).map(Self::Data),
            (ER, _) => decode_er(&mut body).map(Self::Error),
            (_, ED) if octets.first() == Some(&2) => decode_ed(code, octets).map(Self::Expedited),
            (EA, _) | (_, ED | AK | RJ) => Ok(Self::OtherClass(OtherClass { code, octets })),
            _ => Err(DecodeError::new(
                TPDU_CODE,
                1,
                Fault::Value(u32::from(code)),
            )),
        }
    }

    /// Returns the number of octets that [`encode`](Self::encode) appends.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        match self {
            Self::ConnectionRequest(tpdu) | Self::ConnectionConfirm(tpdu) => {
                7 + tpdu.variable.len() + tpdu.user_data.len()
            }
            Self::DisconnectRequest(tpdu) => 7 + tpdu.variable.len() + tpdu.user_data.len(),
            Self::DisconnectConfirm(tpdu) => 6 + tpdu.variable.len(),
            Self::Data(tpdu) => DATA_HEADER + tpdu.user_data.len(),
            Self::Expedited(tpdu) => DATA_HEADER + tpdu.user_data.len(),
            Self::Error(tpdu) => 5 + tpdu.variable.len(),
            Self::OtherClass(tpdu) => tpdu.octets.len(),
        }
    }

    /// Appends the TPDU to `out`. The variable part must not exceed [`MAX_VARIABLE`] octets, in an ER 250.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::ConnectionRequest(tpdu) => tpdu.encode(CR, out),
            Self::ConnectionConfirm(tpdu) => tpdu.encode(CC, out),
            Self::DisconnectRequest(tpdu) => tpdu.encode(out),
            Self::DisconnectConfirm(tpdu) => {
                header(5 + tpdu.variable.len(), DC, out);
                out.extend_from_slice(&tpdu.destination.to_be_bytes());
                out.extend_from_slice(&tpdu.source.to_be_bytes());
                out.extend_from_slice(tpdu.variable);
            }
            Self::Data(tpdu) => {
                header(2, DT | u8::from(tpdu.wants_acknowledgement), out);
                out.push(last_and_number(tpdu.is_last, tpdu.number));
                out.extend_from_slice(tpdu.user_data);
            }
            Self::Expedited(tpdu) => {
                header(2, ED | (tpdu.credit & 0x0F), out);
                out.push(last_and_number(tpdu.is_last, tpdu.number));
                out.extend_from_slice(tpdu.user_data);
            }
            Self::Error(tpdu) => {
                header(4 + tpdu.variable.len(), ER, out);
                out.extend_from_slice(&tpdu.destination.to_be_bytes());
                out.push(tpdu.cause.0);
                out.extend_from_slice(tpdu.variable);
            }
            Self::OtherClass(tpdu) => out.extend_from_slice(tpdu.octets),
        }
    }

    /// Returns the short name of ISO 8073 table 8.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConnectionRequest(_) => "CR",
            Self::ConnectionConfirm(_) => "CC",
            Self::DisconnectRequest(_) => "DR",
            Self::DisconnectConfirm(_) => "DC",
            Self::Data(_) => "DT",
            Self::Expedited(_) => "ED",
            Self::Error(_) => "ER",
            Self::OtherClass(tpdu) => match tpdu.code & 0xF0 {
                EA => "EA",
                ED => "ED",
                AK => "AK",
                _ => "RJ",
            },
        }
    }
}

/// Splits a TPDU at its length indicator, which counts the header without itself (ISO 8073 13.2.1).
fn split(octets: &[u8]) -> Result<Body<'_>, DecodeError> {
    const FIELD: &str = "length indicator";
    let mut cursor = Cursor::new(octets);
    let length = usize::from(cursor.u8(FIELD)?);
    let left = cursor.rest().len();
    if length > MAX_LI {
        return Err(DecodeError::new(FIELD, 0, Fault::Value(255)));
    }
    if length > left {
        return Err(DecodeError::new(
            FIELD,
            0,
            Fault::Short { need: length, left },
        ));
    }
    // The header keeps its length indicator, so that offsets count from the start of the TPDU.
    let (header, user_data) = octets.split_at(length + 1);
    let mut header = Cursor::new(header);
    header.u8(FIELD)?;
    Ok(Body {
        header,
        header_len: length + 1,
        user_data,
    })
}

/// Reports a header that is shorter than its fixed part as an error of its length indicator (ISO 8073
/// 13.2.2.1).
fn length_error(octets: &[u8], error: DecodeError) -> DecodeError {
    match (error.fault, octets.first()) {
        (Fault::Short { .. }, Some(&length)) if error.offset > 0 => {
            DecodeError::new("length indicator", 0, Fault::Value(u32::from(length)))
        }
        _ => error,
    }
}

fn decode_dc<'a>(body: &mut Body<'a>) -> Result<DisconnectConfirm<'a>, DecodeError> {
    let destination = body.header.u16("destination reference")?;
    let source = body.header.u16("source reference")?;
    nothing_behind(body)?;
    Ok(DisconnectConfirm {
        destination,
        source,
        variable: body.header.rest(),
    })
}

fn decode_er<'a>(body: &mut Body<'a>) -> Result<ErrorReport<'a>, DecodeError> {
    let destination = body.header.u16("destination reference")?;
    let cause = RejectCause(body.header.u8("reject cause")?);
    nothing_behind(body)?;
    Ok(ErrorReport {
        destination,
        cause,
        variable: body.header.rest(),
    })
}

fn nothing_behind(body: &Body<'_>) -> Result<(), DecodeError> {
    match body.user_data.len() {
        0 => Ok(()),
        count => {
            let fault = Fault::Trailing(count);
            Err(DecodeError::new("user data", body.header_len, fault))
        }
    }
}

/// LI is 2, since the only parameter of a DT is the checksum of class 4 (ISO 8073 13.7.4).
fn decode_dt(code: u8, octets: &[u8]) -> Result<DataTpdu<'_>, DecodeError> {
    let (last, user_data) = data_fields(octets)?;
    Ok(DataTpdu {
        is_last: last & END != 0,
        number: last & !END,
        wants_acknowledgement: code != DT,
        user_data,
    })
}

fn decode_ed(code: u8, octets: &[u8]) -> Result<Expedited<'_>, DecodeError> {
    let (last, user_data) = data_fields(octets)?;
    Ok(Expedited {
        credit: code & 0x0F,
        is_last: last & END != 0,
        number: last & !END,
        user_data,
    })
}

fn data_fields(octets: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let mut cursor = Cursor::new(octets);
    let length = cursor.u8("length indicator")?;
    if length != 2 {
        return Err(DecodeError::new(
            "length indicator",
            0,
            Fault::Value(u32::from(length)),
        ));
    }
    cursor.u8(TPDU_CODE)?;
    let last = cursor.u8("EOT and TPDU number")?;
    Ok((last, cursor.rest()))
}

/// Appends length indicator and code. Bound: callers keep the length at or below [`MAX_LI`]; more saturates to
/// the reserved value.
fn header(length: usize, code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[u8::try_from(length).unwrap_or(u8::MAX), code]);
}

const fn last_and_number(is_last: bool, number: u8) -> u8 {
    (if is_last { END } else { 0 }) | (number & !END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_header_of_data_counts_itself() {
        assert_eq!(
            DataTpdu::packet_header(0, true),
            [3, 0, 0, 7, 2, 0xF0, 0x80]
        );
        assert_eq!(
            DataTpdu::packet_header(125, false),
            [3, 0, 0, 0x84, 2, 0xF0, 0]
        );
        assert_eq!(
            DataTpdu::packet_header(65_528, true),
            [3, 0, 0xFF, 0xFF, 2, 0xF0, 0x80]
        );
    }
}
