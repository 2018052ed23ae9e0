//! Negotiation by CR and CC (ISO 8073 6.5), and the content of DR and ER.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::api::{Acceptance, Connected, EndReason, Indication, ProtocolError};
use super::config::{Config, ConfigError, Parameter, Proposal, Role, Strict};
use super::params::{self, MAX_TPDU, Parameters, Selector, TpduSize};
use super::segment::packet;
use super::wire::{
    Connect, DisconnectReason, DisconnectRequest, ER, ErrorReport, MAX_VARIABLE, RejectCause,
    TPDU_CODE, Tpdu,
};
use crate::wire::{DecodeError, Fault};

/// Octets of user data of CR and CC (ISO 8073 13.3.5, RFC 2126 section 4.1.1).
const MAX_USER_DATA: usize = 32;
/// Octets of a CR (ISO 8073 13.3).
const MAX_REQUEST: usize = 128;
/// Octets of additional information in a DR, which has at most 128 octets (ISO 8073 13.5.4).
pub(super) const MAX_INFORMATION: usize = 119;
/// Octets of the rejected TPDU that an ER has room for.
const MAX_INVALID_TPDU: usize = 248;
/// Octets of an ER before the rejected TPDU.
const ERROR_HEADER: usize = 7;
/// Octets in a unit of parameter 0xF0.
const UNIT: usize = 128;
/// The most units that fit a TPKT.
const MAX_UNITS: u16 = 511;
/// The lowest octet that begins a list of parameters. No parameter code is below 0x40 (ISO 8073 13.2.3), and no
/// peer uses one below 0x80; cookies, tokens and negotiations of RDP are ASCII or begin with 1 to 3.
const MIN_PARAMETER_CODE: u8 = 0x80;

/// The TPDU size in a CC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizeAnswer {
    /// No parameter: 65,531 octets.
    Absent,
    Code(TpduSize),
    Preferred(u16),
}

impl SizeAnswer {
    const fn octets(self) -> usize {
        match self {
            Self::Absent => MAX_TPDU,
            Self::Code(size) => size.octets(),
            Self::Preferred(units) => octets_of(units),
        }
    }
}

/// A valid CR that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) indication: Indication,
    size: SizeAnswer,
    /// Whether the CR requests expedited data. `None` if it lacks the parameter.
    expedited: Option<bool>,
}

/// Checks a configuration.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    if let Some(units) = config.compat.preferred_size
        && units.get() > MAX_UNITS
    {
        return Err(ConfigError::PreferredSize(units.get()));
    }
    let mut order = config.compat.order.0;
    order.sort_unstable();
    if order != [Parameter::Calling, Parameter::Called, Parameter::TpduSize] {
        return Err(ConfigError::Order);
    }
    let preferred = config
        .compat
        .preferred_size
        .map_or(0, |units| octets_of(units.get()));
    let least = super::tpkt::HEADER + config.tpdu_size.octets().max(preferred);
    if usize::from(config.limits.packet_limit) < least {
        return Err(ConfigError::PacketLimit {
            limit: config.limits.packet_limit,
            least,
        });
    }
    if config.limits.receive_queue == 0 {
        return Err(ConfigError::ReceiveQueue);
    }
    for (timer, span) in [
        ("answer_timeout", config.timers.answer_timeout),
        ("request_timeout", config.timers.request_timeout),
        ("packet_timeout", config.timers.packet_timeout),
        ("idle_timeout", config.timers.idle_timeout),
        ("drain_timeout", Some(config.timers.drain_timeout)),
        ("close_timeout", Some(config.timers.close_timeout)),
    ] {
        if span == Some(Duration::ZERO) {
            return Err(ConfigError::ZeroTimeout { timer });
        }
    }
    match &config.role {
        Role::Initiator(proposal) => check_proposal(config, proposal),
        Role::Responder(_) => Ok(()),
    }
}

fn check_proposal(config: &Config, proposal: &Proposal) -> Result<(), ConfigError> {
    let variable = request_variable(config, proposal);
    check_connect(&variable, &proposal.user_data)?;
    let len = 7 + variable.len() + proposal.user_data.len();
    if len > MAX_REQUEST && !proposal.long_request {
        return Err(ConfigError::Request {
            len,
            limit: MAX_REQUEST,
        });
    }
    Ok(())
}

fn check_connect(variable: &[u8], user_data: &[u8]) -> Result<(), ConfigError> {
    if variable.len() > MAX_VARIABLE {
        return Err(ConfigError::Variable {
            len: variable.len(),
            limit: MAX_VARIABLE,
        });
    }
    if user_data.len() > MAX_USER_DATA {
        return Err(ConfigError::UserData {
            len: user_data.len(),
            limit: MAX_USER_DATA,
        });
    }
    Ok(())
}

/// Builds a CR.
pub(super) fn request(config: &Config, proposal: &Proposal, reference: u16) -> Bytes {
    packet(&Tpdu::ConnectionRequest(Connect {
        source: reference,
        variable: &request_variable(config, proposal),
        user_data: &proposal.user_data,
        ..Connect::default()
    }))
}

fn request_variable(config: &Config, proposal: &Proposal) -> Vec<u8> {
    if let Some(variable) = &proposal.variable {
        return variable.to_vec();
    }
    let sizes = |out: &mut Vec<u8>| {
        if config.tpdu_size != TpduSize::LARGEST {
            params::encode(params::TPDU_SIZE, &[config.tpdu_size.code()], out);
        }
        if let Some(units) = config.compat.preferred_size {
            params::encode(params::PREFERRED, minimal(&units.get().to_be_bytes()), out);
        }
    };
    let mut out = variable_part(
        config,
        proposal.calling.as_ref(),
        proposal.called.as_ref(),
        sizes,
    );
    if config.compat.expedited {
        params::encode(params::OPTIONS, &[1], &mut out);
    }
    out.extend_from_slice(&proposal.extra);
    out
}

fn variable_part(
    config: &Config,
    calling: Option<&Selector>,
    called: Option<&Selector>,
    sizes: impl Fn(&mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let selector = |code, selector: Option<&Selector>, out: &mut Vec<u8>| {
        if let Some(selector) = selector {
            params::encode(code, selector.octets(), out);
        }
    };
    for parameter in config.compat.order.0 {
        match parameter {
            Parameter::Calling => selector(params::CALLING, calling, &mut out),
            Parameter::Called => selector(params::CALLED, called, &mut out),
            Parameter::TpduSize => sizes(&mut out),
        }
    }
    out
}

/// Checks a CR and negotiates the parameters of its CC. `tolerated` counts the deviations that are tolerated.
pub(super) fn negotiate_request(
    config: &Config,
    cr: &Connect<'_>,
    tolerated: &mut u64,
) -> Result<Request, EndReason> {
    let parameters = parameters(config, cr, tolerated)?;
    for (is_off, flag, violation) in [
        (
            cr.credit != 0,
            Strict::CREDIT,
            ProtocolError::Credit(cr.credit),
        ),
        (
            cr.destination != 0,
            Strict::REQUEST_REFERENCE,
            ProtocolError::RequestReference(cr.destination),
        ),
        (
            parameters.has_repeats,
            Strict::REPEATED,
            ProtocolError::Repeated,
        ),
    ] {
        tolerate(config, is_off, flag, violation, tolerated)?;
    }
    check_class(cr, &parameters)?;
    let size = answer_size(config, &parameters);
    Ok(Request {
        indication: Indication {
            calling: parameters.calling.map(Selector::from),
            called: parameters.called.map(Selector::from),
            tpdu_size: size.octets(),
            class: cr.class(),
            reference: cr.source,
            variable: Bytes::copy_from_slice(cr.variable),
            user_data: Bytes::copy_from_slice(cr.user_data),
        },
        size,
        expedited: parameters.options.map(|bits| bits & 1 != 0),
    })
}

/// Counts a deviation, or refuses it if the configuration says so.
fn tolerate(
    config: &Config,
    is_off: bool,
    flag: Strict,
    violation: ProtocolError,
    tolerated: &mut u64,
) -> Result<(), EndReason> {
    if is_off && config.compat.strict.contains(flag) {
        return Err(EndReason::ProtocolError(violation));
    }
    *tolerated += u64::from(is_off);
    Ok(())
}

fn parameters<'a>(
    config: &Config,
    connect: &Connect<'a>,
    tolerated: &mut u64,
) -> Result<Parameters<'a>, EndReason> {
    if !is_list(connect.variable) {
        return Ok(Parameters::default());
    }
    let parameters = connect.parameters().map_err(EndReason::Malformed)?;
    match parameters.fault {
        Some(fault) if config.compat.strict.contains(Strict::PARAMETERS) => {
            return Err(EndReason::Malformed(fault));
        }
        fault => *tolerated += u64::from(fault.is_some()),
    }
    Ok(parameters)
}

/// Tells whether a variable part is a list of parameters.
fn is_list(variable: &[u8]) -> bool {
    variable
        .first()
        .is_none_or(|&first| first >= MIN_PARAMETER_CODE)
}

/// Checks that a CR offers class 0 (ISO 8073 table 3).
fn check_class(cr: &Connect<'_>, parameters: &Parameters<'_>) -> Result<(), EndReason> {
    let class = cr.class();
    let offers = |wanted: u8| {
        parameters
            .alternatives
            .unwrap_or_default()
            .iter()
            .any(|octet| octet >> 4 == wanted)
    };
    let is_offered = match class {
        0 | 1 => true,
        2 => offers(0),
        3 | 4 => offers(0) || offers(1),
        _ => {
            let fault = Fault::Value(u32::from(cr.class_option));
            return Err(EndReason::Malformed(DecodeError::new("class", 6, fault)));
        }
    };
    if is_offered {
        Ok(())
    } else {
        Err(EndReason::ProtocolError(ProtocolError::Class(class)))
    }
}

/// Returns the size for the CC. A size in the CR is always answered (RFC 2126 section 6.4), and 0xF0 by
/// 0xF0 (X.224 6.5.4 k).
fn answer_size(config: &Config, parameters: &Parameters<'_>) -> SizeAnswer {
    if let Some(proposed) = parameters.preferred_size {
        let own = config
            .compat
            .preferred_size
            .map_or_else(|| units_of(config.tpdu_size), core::num::NonZeroU16::get);
        return SizeAnswer::Preferred(proposed.min(own).min(MAX_UNITS));
    }
    match parameters.tpdu_size {
        Some(proposed) if proposed > config.tpdu_size => {
            // A peer that takes 65,536 may not take 16,384: all peers know the sizes of ISO 8073 alone.
            SizeAnswer::Code(config.tpdu_size.min(TpduSize::ISO))
        }
        Some(proposed) => SizeAnswer::Code(proposed),
        None if config.tpdu_size == TpduSize::LARGEST => SizeAnswer::Absent,
        None => SizeAnswer::Code(config.tpdu_size),
    }
}

const fn octets_of(units: u16) -> usize {
    let octets = units as usize * UNIT;
    if octets > MAX_TPDU { MAX_TPDU } else { octets }
}

fn units_of(size: TpduSize) -> u16 {
    u16::try_from(size.octets() / UNIT).unwrap_or(MAX_UNITS)
}

/// Builds a CC, and returns the result of the handshake. The CC repeats both selectors of the CR, as
/// clients of the snap7 family require. If they leave no room for a size that the CR lacks, they are left
/// out, since the size is required and they are not (ISO 8073 13.3.4 a, RFC 2126 section 6.4).
pub(super) fn confirm(
    config: &Config,
    request: &Request,
    acceptance: &Acceptance,
    reference: u16,
) -> Result<(Bytes, Connected), ConfigError> {
    let Request {
        indication,
        size,
        expedited,
    } = request.clone();
    let is_expedited = config.compat.expedited && expedited == Some(true);
    let sizes = |out: &mut Vec<u8>| match size {
        SizeAnswer::Absent => (),
        SizeAnswer::Code(size) => params::encode(params::TPDU_SIZE, &[size.code()], out),
        SizeAnswer::Preferred(units) => {
            params::encode(params::PREFERRED, minimal(&units.to_be_bytes()), out);
        }
    };
    let list = |calling, called| {
        let mut out = variable_part(config, calling, called, sizes);
        if config.compat.expedited && expedited.is_some() {
            params::encode(params::OPTIONS, &[u8::from(is_expedited)], &mut out);
        }
        out
    };
    let variable = match &acceptance.variable {
        Some(variable) => variable.to_vec(),
        None if !is_list(&indication.variable) => Vec::new(),
        None => Some(list(
            indication.calling.as_ref(),
            indication.called.as_ref(),
        ))
        .filter(|echo| echo.len() <= MAX_VARIABLE)
        .unwrap_or_else(|| list(None, None)),
    };
    check_connect(&variable, &acceptance.user_data)?;
    let cc = packet(&Tpdu::ConnectionConfirm(Connect {
        destination: indication.reference,
        source: reference,
        variable: &variable,
        user_data: &acceptance.user_data,
        ..Connect::default()
    }));
    let connected = Connected {
        calling: indication.calling,
        called: indication.called,
        tpdu_size: size.octets(),
        expedited: is_expedited,
        reference: indication.reference,
        variable: indication.variable,
        user_data: indication.user_data,
    };
    Ok((cc, connected))
}

/// Removes leading zeros, as implementations encode 0xF0.
fn minimal(octets: &[u8]) -> &[u8] {
    match octets {
        [0, rest @ ..] => rest,
        all => all,
    }
}

/// Checks a CC and returns the result of the handshake. `tolerated` counts the deviations that are tolerated.
pub(super) fn negotiate_confirm(
    config: &Config,
    proposal: &Proposal,
    reference: u16,
    cc: &Connect<'_>,
    tolerated: &mut u64,
) -> Result<Connected, EndReason> {
    if cc.class() != 0 {
        return Err(EndReason::ProtocolError(ProtocolError::SelectedClass(
            cc.class(),
        )));
    }
    let parameters = parameters(config, cc, tolerated)?;
    let mut tolerate = |is_off, flag, error| tolerate(config, is_off, flag, error, tolerated);
    tolerate(
        cc.destination != reference,
        Strict::CONFIRM_REFERENCE,
        ProtocolError::Reference {
            expected: reference,
            found: cc.destination,
        },
    )?;
    tolerate(
        cc.credit != 0,
        Strict::CREDIT,
        ProtocolError::Credit(cc.credit),
    )?;
    tolerate(
        parameters.has_repeats,
        Strict::REPEATED,
        ProtocolError::Repeated,
    )?;
    for (ours, theirs, flag) in [
        (&proposal.calling, parameters.calling, Strict::CALLING),
        (&proposal.called, parameters.called, Strict::RESPONDING),
    ] {
        let expected = ours.clone().unwrap_or_default();
        let found = theirs.map_or_else(|| expected.clone(), Selector::from);
        // A responder may give a selector that was not requested (ISO 8073 13.3.4 a).
        let differs = ours.is_some() && found != expected;
        let is_padded = expected.without_zeros() == found.without_zeros();
        let flag = if is_padded { Strict::PADDING } else { flag };
        tolerate(differs, flag, ProtocolError::Selector { expected, found })?;
    }
    let (found, proposed) = selected_size(config, proposal, &parameters);
    let error = ProtocolError::Size { found, proposed };
    tolerate(found > proposed, Strict::CONFIRM_SIZE, error)?;
    Ok(Connected {
        calling: parameters
            .calling
            .map(Selector::from)
            .or_else(|| proposal.calling.clone()),
        called: parameters
            .called
            .map(Selector::from)
            .or_else(|| proposal.called.clone()),
        tpdu_size: found.min(proposed),
        expedited: config.compat.expedited && parameters.options.is_some_and(|bits| bits & 1 != 0),
        reference: cc.source,
        variable: Bytes::copy_from_slice(cc.variable),
        user_data: Bytes::copy_from_slice(cc.user_data),
    })
}

/// Returns the size that the CC selects, and the size that was proposed, in octets. A CC without a size selects
/// the size that was proposed (RFC 2126 section 6.4).
fn selected_size(
    config: &Config,
    proposal: &Proposal,
    parameters: &Parameters<'_>,
) -> (usize, usize) {
    let proposed = match (config.compat.preferred_size, parameters.preferred_size) {
        // A variable part of the application may propose any size.
        _ if proposal.variable.is_some() => MAX_TPDU,
        (Some(ours), Some(_)) => octets_of(ours.get()),
        _ => config.tpdu_size.octets(),
    };
    let preferred = parameters.preferred_size.map(octets_of);
    let found = preferred.or(parameters.tpdu_size.map(TpduSize::octets));
    (found.unwrap_or(proposed), proposed)
}

/// Builds the DR that refuses a CR. SRC-REF is 0, since no reference was assigned (ISO 8073 6.6.3).
pub(super) fn refuse(destination: u16, reason: DisconnectReason, information: &[u8]) -> Bytes {
    disconnect(destination, 0, reason, information)
}

/// Builds a DR.
pub(super) fn disconnect(
    destination: u16,
    source: u16,
    reason: DisconnectReason,
    information: &[u8],
) -> Bytes {
    let mut variable = Vec::new();
    if !information.is_empty() {
        params::encode(params::INFORMATION, information, &mut variable);
    }
    packet(&Tpdu::DisconnectRequest(DisconnectRequest {
        destination,
        source,
        reason,
        variable: &variable,
        user_data: &[],
    }))
}

/// Builds the ER that rejects `tpdu`, if `reason` is a fault in it. The ER has the TPDU up to and including the
/// fault (ISO 8073 13.12.4), as far as `size` octets allow.
pub(super) fn report(
    destination: u16,
    reason: &EndReason,
    tpdu: &[u8],
    size: usize,
) -> Option<Bytes> {
    let (cause, fault) = reject_cause(reason, tpdu)?;
    let most = MAX_INVALID_TPDU.min(size.saturating_sub(ERROR_HEADER));
    let len = fault.saturating_add(1).min(tpdu.len()).min(most);
    let mut variable = Vec::new();
    params::encode(
        params::INVALID_TPDU,
        tpdu.get(..len).unwrap_or(tpdu),
        &mut variable,
    );
    Some(packet(&Tpdu::Error(ErrorReport {
        destination,
        cause,
        variable: &variable,
    })))
}

/// Returns the reject cause of a TPDU and the offset of its fault. An ER is never answered by another (ISO 8073
/// 6.22.3 note 2).
fn reject_cause(reason: &EndReason, tpdu: &[u8]) -> Option<(RejectCause, usize)> {
    let &[length, code, ..] = tpdu else {
        return None;
    };
    let fault = match reason {
        _ if code == ER => return None,
        EndReason::Unexpected { .. } | EndReason::ProtocolError(ProtocolError::DataCode(_)) => {
            return Some((RejectCause::TPDU_TYPE, 1));
        }
        EndReason::Malformed(error) if error.field == TPDU_CODE => {
            return Some((RejectCause::TPDU_TYPE, 1));
        }
        EndReason::Malformed(error) => error.offset,
        EndReason::ProtocolError(violation) => match violation {
            // The answer is a DR.
            ProtocolError::Class(_) => return None,
            ProtocolError::Credit(_) => 1,
            ProtocolError::Reference { .. } | ProtocolError::RequestReference(_) => 3,
            ProtocolError::SelectedClass(_) => 6,
            ProtocolError::Repeated
            | ProtocolError::Selector { .. }
            | ProtocolError::Size { .. } => usize::from(length),
            _ => 2,
        },
        _ => return None,
    };
    Some((RejectCause::PARAMETER_VALUE, fault))
}

/// Returns SRC-REF of a CR or CC, which may be malformed otherwise.
pub(super) fn source_of(tpdu: &[u8], code: u8) -> Option<u16> {
    match *tpdu {
        [_, first, _, _, high, low, ..] if first & 0xF0 == code => {
            Some(u16::from_be_bytes([high, low]))
        }
        _ => None,
    }
}
