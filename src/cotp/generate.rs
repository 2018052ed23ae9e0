//! Arbitrary configurations, commands and streams of packets, most of them valid, for fuzzing.

use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::api::{Acceptance, Command, Refusal};
use super::config::{
    AfterHandshake, Compat, Config, ConnectionLimits, ConnectionTimers, ParameterOrder, Proposal,
    Role, SendDisconnect, Strict,
};
use super::params::{self, Selector, TpduSize};
use super::tpkt::{HEADER, VERSION};
use super::wire::{
    Connect, DataTpdu, DisconnectConfirm, DisconnectReason, DisconnectRequest, ErrorReport,
    Expedited, MAX_VARIABLE, OtherClass, RejectCause, Tpdu,
};

/// The reference of a CC where the configuration draws that of the CR from the seed.
const ANY_REFERENCE: u16 = 1;
/// The most packets of one call of `receive`.
const MOST_PACKETS: usize = 6;

/// Generates the octets of one call of `receive`: a few packets, most of them valid, some cut or corrupted.
pub(super) fn octets(config: &Config, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if u.ratio(1, 3)? {
        handshake(config, u, &mut out)?;
    }
    for _ in 0..u.int_in_range(0..=MOST_PACKETS)? {
        any_packet(u, &mut out)?;
    }
    if u.ratio(1, 8)? && !out.is_empty() {
        let at = u.choose_index(out.len())?;
        if let Some(octet) = out.get_mut(at) {
            *octet = u.arbitrary()?;
        }
    }
    if u.ratio(1, 8)? {
        out.truncate(u.int_in_range(0..=out.len())?);
    }
    Ok(out)
}

/// Appends the CR or CC that the configuration waits for.
fn handshake(config: &Config, u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let mut variable = Vec::new();
    let tpdu = match &config.role {
        Role::Initiator(proposal) => {
            if let Some(called) = &proposal.called {
                params::encode(params::CALLED, called.octets(), &mut variable);
            }
            parameters(u, &mut variable)?;
            Tpdu::ConnectionConfirm(Connect {
                destination: config.compat.reference.unwrap_or(ANY_REFERENCE),
                ..connect(u, &variable)?
            })
        }
        Role::Responder(_) => {
            parameters(u, &mut variable)?;
            Tpdu::ConnectionRequest(connect(u, &variable)?)
        }
    };
    packet(&tpdu, out);
    Ok(())
}

fn connect<'v, 'a: 'v>(u: &mut Unstructured<'a>, variable: &'v [u8]) -> Result<Connect<'v>> {
    Ok(Connect {
        source: u.arbitrary()?,
        class_option: rarely(u, 0)?,
        credit: rarely(u, 0)? & 0x0F,
        variable: variable.get(..MAX_VARIABLE).unwrap_or(variable),
        user_data: if u.ratio(1, 4)? { few(u, 40)? } else { &[] },
        ..Connect::default()
    })
}

fn parameters(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    for _ in 0..u.int_in_range(0..=4)? {
        match u.int_in_range(0..=6)? {
            0 => params::encode(params::CALLING, few(u, 20)?, out),
            1 => params::encode(params::CALLED, few(u, 20)?, out),
            2 => params::encode(params::TPDU_SIZE, &[u.int_in_range(6..=17)?], out),
            3 => params::encode(params::TPDU_SIZE, &[TpduSize::SMALLEST.code()], out),
            4 => params::encode(params::OPTIONS, &[1], out),
            5 => params::encode(params::PREFERRED, few(u, 3)?, out),
            _ => params::encode(u.arbitrary()?, few(u, 8)?, out),
        }
    }
    Ok(())
}

fn any_packet(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let tpdu = match u.int_in_range(0..=31_u8)? {
        0..=22 => Tpdu::Data(DataTpdu {
            is_last: u.arbitrary()?,
            number: rarely(u, 0)? & 0x7F,
            wants_acknowledgement: u.ratio(1, 32)?,
            user_data: few(u, 300)?,
        }),
        23..=24 => Tpdu::Expedited(Expedited {
            credit: 0,
            is_last: true,
            number: 0,
            user_data: few(u, 18)?,
        }),
        25 => Tpdu::DisconnectRequest(DisconnectRequest {
            destination: u.arbitrary()?,
            source: 0,
            reason: DisconnectReason(u.arbitrary()?),
            variable: few(u, 20)?,
            user_data: &[],
        }),
        26 => Tpdu::Error(ErrorReport {
            destination: u.arbitrary()?,
            cause: RejectCause(u.arbitrary()?),
            variable: few(u, 20)?,
        }),
        27..=28 => Tpdu::DisconnectConfirm(DisconnectConfirm {
            destination: u.arbitrary()?,
            source: u.arbitrary()?,
            variable: &[],
        }),
        29 => Tpdu::ConnectionRequest(connect(u, &[])?),
        30 => Tpdu::ConnectionConfirm(connect(u, &[])?),
        _ => Tpdu::OtherClass(OtherClass {
            code: 0,
            octets: few(u, 12)?,
        }),
    };
    packet(&tpdu, out);
    Ok(())
}

/// Appends a TPDU in a packet. Bound: TPDUs of this generator are shorter than 1000 octets.
fn packet(tpdu: &Tpdu<'_>, out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(HEADER + tpdu.wire_len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    out.extend_from_slice(&[VERSION, 0, high, low]);
    tpdu.encode(out);
}

/// Returns the usual value, and any other in one of 16 calls.
fn rarely<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>, usual: T) -> Result<T> {
    if u.ratio(1, 16)? {
        u.arbitrary()
    } else {
        Ok(usual)
    }
}

fn few<'a>(u: &mut Unstructured<'a>, most: usize) -> Result<&'a [u8]> {
    let len = u.int_in_range(0..=most)?.min(u.len());
    u.bytes(len)
}

/// Written by hand, since most configurations of a derived generator would be refused.
impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let usual = Self::default();
        Ok(Self {
            role: u.arbitrary()?,
            tpdu_size: u.arbitrary()?,
            after_handshake: if u.ratio(1, 6)? {
                AfterHandshake::Pause
            } else {
                AfterHandshake::Receive
            },
            compat: Compat {
                preferred_size: rarely(u, usual.compat.preferred_size)?,
                reference: u.arbitrary()?,
                order: any_order(u, usual.compat.order)?,
                expedited: u.arbitrary()?,
                non_tpkt: u.arbitrary()?,
                empty: u.arbitrary()?,
                strict: rarely(u, usual.compat.strict)?,
                send_disconnect: u.arbitrary()?,
            },
            limits: ConnectionLimits {
                packet_limit: rarely(u, usual.limits.packet_limit)?,
                message_limit: limit(u, usual.limits.message_limit)?,
                empty_segment_limit: u.int_in_range(0..=20)?,
                receive_queue: limit(u, usual.limits.receive_queue)?,
                send_queue: limit(u, usual.limits.send_queue)?,
            },
            timers: ConnectionTimers {
                answer_timeout: span(u, usual.timers.answer_timeout)?,
                request_timeout: span(u, usual.timers.request_timeout)?,
                packet_timeout: span(u, usual.timers.packet_timeout)?,
                idle_timeout: span(u, usual.timers.idle_timeout)?,
                drain_timeout: span(u, None)?.unwrap_or(usual.timers.drain_timeout),
                close_timeout: span(u, None)?.unwrap_or(usual.timers.close_timeout),
            },
        })
    }
}

fn any_order(u: &mut Unstructured<'_>, usual: ParameterOrder) -> Result<ParameterOrder> {
    let mut order = usual.0;
    if u.arbitrary()? {
        order.reverse();
    }
    rarely(u, ParameterOrder(order))
}

/// Returns the usual limit, a small one, or any.
fn limit(u: &mut Unstructured<'_>, usual: usize) -> Result<usize> {
    match u.int_in_range(0..=7)? {
        0 => u.arbitrary(),
        1..=3 => u.int_in_range(0..=2000),
        _ => Ok(usual),
    }
}

/// Returns the usual duration, `None`, or one of any magnitude from 0 to 19 hours.
fn span(u: &mut Unstructured<'_>, usual: Option<Duration>) -> Result<Option<Duration>> {
    Ok(match u.int_in_range(0..=3)? {
        0 => None,
        1 => {
            let scale = u.int_in_range(0..=46)?;
            Some(Duration::from_nanos(u.int_in_range(0..=1_u64 << scale)?))
        }
        _ => usual,
    })
}

impl<'a> Arbitrary<'a> for Strict {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::from_bits_truncate)
    }
}

impl<'a> Arbitrary<'a> for SendDisconnect {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::from_bits_truncate)
    }
}

impl<'a> Arbitrary<'a> for Proposal {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            calling: u.arbitrary()?,
            called: u.arbitrary()?,
            extra: seldom(u)?.unwrap_or_default(),
            variable: seldom(u)?,
            user_data: seldom(u)?.unwrap_or_default(),
            long_request: u.arbitrary()?,
        })
    }
}

impl<'a> Arbitrary<'a> for Selector {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        short(u).map(Self::from)
    }
}

impl<'a> Arbitrary<'a> for Acceptance {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            variable: seldom(u)?,
            user_data: seldom(u)?.unwrap_or_default(),
        })
    }
}

impl<'a> Arbitrary<'a> for Refusal {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            reason: u.arbitrary()?,
            information: seldom(u)?.unwrap_or_default(),
        })
    }
}

impl<'a> Arbitrary<'a> for Command {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=31)? {
            0..=1 => Self::Accept(u.arbitrary()?),
            2 => Self::Refuse(u.arbitrary()?),
            3..=6 => Self::SendExpedited(Bytes::copy_from_slice(few(u, 18)?)),
            7..=10 => Self::Flush(u.arbitrary()?),
            11..=14 => Self::Resume,
            15 => Self::Detach(u.arbitrary()?),
            16..=17 => Self::Close,
            // Long messages use up no octets of the input in this way.
            18 => Self::Send(Bytes::from(alloc::vec![0x5A; u.int_in_range(0..=200_000)?])),
            _ => Self::Send(Bytes::copy_from_slice(few(u, 300)?)),
        })
    }
}

/// Returns a few octets, or more than a header has room for.
fn short<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    if u.ratio(15, 16)? {
        few(u, 20)
    } else {
        few(u, 260)
    }
}

fn seldom(u: &mut Unstructured<'_>) -> Result<Option<Bytes>> {
    Ok(if u.ratio(1, 8)? {
        Some(Bytes::copy_from_slice(short(u)?))
    } else {
        None
    })
}
