//! What an answer means for its transaction (RFC 8489 sections 6.3.3, 6.3.4 and 9).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::challenge::{Challenge, is_bid_down};
use super::transaction::{Signature, Transaction};
use crate::stun::api::{BindingAnswer, CredentialKind, QueryFailure};
use crate::stun::attribute::{Attribute, AttributeType, ErrorCode, text};
use crate::stun::integrity::{Integrity, IntegrityFault};
use crate::stun::wire::{Class, Message, RawAttribute};

/// How often the challenges of one query are answered, in all realms.
const MAX_CHALLENGES: u8 = 2;
/// How many stale nonces may follow each other.
const MAX_STALE: u8 = 3;
/// How often a request is sent again after an error of the server (RFC 8489 section 6.3.4).
const MAX_RETRIES: u8 = 4;
/// How often a query is sent on to another server.
const MAX_HOPS: usize = 4;

/// What is to be done with a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has succeeded; the path and the times are filled in.
    Answered(Contents, Option<Integrity>),
    Failed(QueryFailure),
    /// The answer is not signed as it should be; it may be forged.
    Unverified(Option<u16>),
    /// Another transaction: signed by this challenge, or by a newer one.
    Challenged(Challenge),
    /// The same, as the nonce was stale.
    Stale(Option<Challenge>),
    /// Another transaction, after a while.
    Retry,
    /// Another transaction, with that server.
    Alternate(SocketAddr),
}

/// What a success says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) mapped: SocketAddr,
    pub(super) mapped_in_clear: Option<SocketAddr>,
    pub(super) origin: Option<SocketAddr>,
    pub(super) other: Option<SocketAddr>,
    pub(super) software: Option<String>,
    pub(super) padding: usize,
}

/// Judges an answer that has the id of the transaction and came from where it should. `session` are the realm and the
/// generation of the present session with the server.
pub(super) fn judge(
    transaction: &Transaction,
    message: &Message<'_>,
    session: Option<(&[u8], u32)>,
) -> Verdict {
    let code = error_code(message);
    let verified = match verify(transaction, message, code.as_ref().map(|(code, _)| *code)) {
        Ok(verified) => verified,
        Err(code) => return Verdict::Unverified(code),
    };
    let unknown = message.unknown_attributes();
    if !unknown.is_empty() {
        return Verdict::Failed(QueryFailure::UnknownAttributes(unknown));
    }
    match (message.class(), code) {
        (Class::Success, _) => match contents(message) {
            Some(contents) => Verdict::Answered(contents, verified),
            None => Verdict::Failed(QueryFailure::Incomplete),
        },
        (_, None) => Verdict::Failed(QueryFailure::Incomplete),
        (_, Some((code, reason))) => on_error(
            transaction,
            message,
            session,
            code,
            reason,
            verified.is_some(),
        ),
    }
}

/// Returns how the answer is signed, or, if that is not as it should be, the code of an error that is not signed at all.
fn verify(
    transaction: &Transaction,
    message: &Message<'_>,
    code: Option<u16>,
) -> Result<Option<Integrity>, Option<u16>> {
    let signature = &transaction.signature;
    let Some(key) = signature.key() else {
        return Ok(None);
    };
    let is_challenge = matches!(code, Some(401 | 438));
    let is_long_term = matches!(signature, Signature::LongTerm { .. });
    match message.verify(key) {
        // What is signed and still lacks the list of its nonce is of no use.
        Ok(_) if !is_challenge && is_bid_down(message) => Err(None),
        Ok(integrity) if signature.allows(integrity) => Ok(Some(integrity)),
        // Servers do not sign challenges.
        Err(IntegrityFault::Missing) if is_long_term && is_challenge => Ok(None),
        Err(IntegrityFault::Missing) => Err(code),
        Ok(_) | Err(_) => Err(None),
    }
}

fn on_error(
    transaction: &Transaction,
    message: &Message<'_>,
    session: Option<(&[u8], u32)>,
    code: u16,
    reason: String,
    is_verified: bool,
) -> Verdict {
    let credentials = transaction.query.credentials.as_ref();
    let has_long_term = credentials.is_some_and(|it| it.kind == CredentialKind::LongTerm);
    match code {
        401 if has_long_term => challenged(transaction, message, session, reason),
        438 if has_long_term => stale(transaction, message, session),
        300 if is_verified => alternate(transaction, message, reason),
        500..600 if transaction.retries < MAX_RETRIES => Verdict::Retry,
        _ => Verdict::Failed(QueryFailure::Rejected {
            code,
            reason,
            unknown: unknown_types(message),
        }),
    }
}

fn challenged(
    transaction: &Transaction,
    message: &Message<'_>,
    session: Option<(&[u8], u32)>,
    reason: String,
) -> Verdict {
    let challenge = match Challenge::read(message, None) {
        Ok(challenge) => challenge,
        Err(failure) => return Verdict::Failed(failure),
    };
    let is_signed = transaction.signature.key().is_some();
    let is_same_realm = session.is_some_and(|(realm, _)| *realm == *challenge.realm);
    if transaction.challenges >= MAX_CHALLENGES || (is_signed && is_same_realm) {
        return Verdict::Failed(QueryFailure::WrongCredentials { reason });
    }
    Verdict::Challenged(challenge)
}

fn stale(
    transaction: &Transaction,
    message: &Message<'_>,
    session: Option<(&[u8], u32)>,
) -> Verdict {
    if transaction.stale >= MAX_STALE {
        return Verdict::Failed(QueryFailure::StaleNonces);
    }
    if let (Signature::LongTerm { generation, .. }, Some((_, newest))) =
        (&transaction.signature, session)
        && *generation != newest
    {
        return Verdict::Stale(None);
    }
    match Challenge::read(message, session.map(|(realm, _)| realm)) {
        Ok(challenge) => Verdict::Stale(Some(challenge)),
        Err(failure) => Verdict::Failed(failure),
    }
}

/// Follows the first alternate server of the same family that the query has not been to (RFC 8489 section 10).
fn alternate(transaction: &Transaction, message: &Message<'_>, reason: String) -> Verdict {
    let asked = transaction.to.remote;
    let servers = message.attributes().filter_map(|raw| match raw.decode() {
        Ok(Attribute::AlternateServer(server)) => Some(server),
        _ => None,
    });
    let mut servers = servers.filter(|server| server.is_ipv4() == asked.is_ipv4());
    let next = servers.next().filter(|server| {
        let is_known = *server == asked || transaction.visited.contains(server);
        !is_known && server.port() != 0 && transaction.visited.len() < MAX_HOPS
    });
    match next {
        Some(server) => Verdict::Alternate(server),
        None => Verdict::Failed(QueryFailure::Rejected {
            code: 300,
            reason,
            unknown: Vec::new(),
        }),
    }
}

fn error_code(message: &Message<'_>) -> Option<(u16, String)> {
    if message.class() != Class::Error {
        return None;
    }
    match message.find(AttributeType::ERROR_CODE)?.decode() {
        Ok(Attribute::ErrorCode(ErrorCode { code, reason })) => Some((code, text(reason))),
        _ => None,
    }
}

fn unknown_types(message: &Message<'_>) -> Vec<AttributeType> {
    let raw = message.find(AttributeType::UNKNOWN_ATTRIBUTES);
    match raw.map(|raw| raw.decode()) {
        Some(Ok(Attribute::UnknownAttributes(types))) => {
            types.iter().take(Message::MAX_UNKNOWN).collect()
        }
        _ => Vec::new(),
    }
}

/// Reads a success, if it has an address (RFC 8489 section 6.3.3). That of a family that is not known counts as missing.
fn contents(message: &Message<'_>) -> Option<Contents> {
    let find = |kind| message.find(kind).and_then(|raw| raw.decode().ok());
    let address = |kind| find(kind).and_then(address_of);
    let mapped_in_clear = address(AttributeType::MAPPED_ADDRESS);
    let mapped = address(AttributeType::XOR_MAPPED_ADDRESS)
        .or_else(|| address(AttributeType::XOR_MAPPED_ADDRESS_DRAFT))
        .or(mapped_in_clear)?;
    let origin = address(AttributeType::RESPONSE_ORIGIN);
    let other = address(AttributeType::OTHER_ADDRESS);
    let octets = |kind| message.find(kind).map(|raw: RawAttribute<'_>| raw.value);
    Some(Contents {
        mapped,
        mapped_in_clear,
        origin: origin.or_else(|| address(AttributeType::SOURCE_ADDRESS)),
        other: other.or_else(|| address(AttributeType::CHANGED_ADDRESS)),
        software: match find(AttributeType::SOFTWARE) {
            Some(Attribute::Software(name)) => Some(text(name)),
            _ => None,
        },
        padding: octets(AttributeType::PADDING).map_or(0, <[u8]>::len),
    })
}

const fn address_of(attribute: Attribute<'_>) -> Option<SocketAddr> {
    match attribute {
        Attribute::MappedAddress(address)
        | Attribute::XorMappedAddress(address)
        | Attribute::XorMappedAddressDraft(address)
        | Attribute::ResponseOrigin(address)
        | Attribute::OtherAddress(address)
        | Attribute::SourceAddress(address)
        | Attribute::ChangedAddress(address) => Some(address),
        _ => None,
    }
}

impl Contents {
    /// Adds what the client knows of the answer.
    pub(super) fn into_answer(
        self,
        path: crate::Path,
        transaction: &Transaction,
        now: crate::Instant,
        is_verified: bool,
    ) -> BindingAnswer {
        BindingAnswer {
            path,
            mapped: self.mapped,
            mapped_in_clear: self.mapped_in_clear,
            origin: self.origin,
            other: self.other,
            software: self.software,
            padding: self.padding,
            is_verified,
            sends: transaction.silence.sends,
            round_trip: transaction.round_trip(now),
        }
    }
}
