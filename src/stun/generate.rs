//! Arbitrary configurations, commands and messages. They use few values, so that they refer to each other.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::api::{Command, Credentials, Query};
use super::attribute::{
    Attribute, AttributeType, AttributeTypes, ChangeRequest, ErrorCode, PasswordAlgorithms,
};
use super::config::Config;
use super::integrity::{Integrity, IntegrityKey, KeyAlgorithm};
use super::wire::{Class, MessageWriter, Method, TransactionId};
use crate::{Path, Tag};

/// User name and password of all queries.
const SECRETS: [&str; 2] = ["alice", "secret"];
const REALM: &[u8] = b"lab.example";
/// Nonces of servers of RFC 5389, and of RFC 8489 without and with password algorithms and anonymity.
const NONCES: [&[u8]; 4] = [
    b"f//499k954d6OL34",
    b"obMatJos2AAAA1",
    b"obMatJos2gAAA2",
    b"obMatJos2wAAA3",
];

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let time = |u: &mut Unstructured<'a>| -> Result<Duration> {
            Ok(Duration::from_millis(u.int_in_range(0..=2000)?))
        };
        Ok(Self {
            rto: time(u)?,
            sends: u.int_in_range(1..=7)?,
            last_wait: u.int_in_range(1..=16)?,
            stream_timeout: time(u)?,
            per_server: u.int_in_range(1..=3)?,
            pace: time(u)? / 20,
            queries: u.int_in_range(1..=6)?,
            sockets: u.int_in_range(1..=3)?,
            idle: time(u)?,
            software: String::from(*u.choose(&["", "test"])?),
            fingerprint: u.arbitrary()?,
            max_message: u.int_in_range(576..=2000)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Command {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let tag = Tag(u.int_in_range(0..=3)?);
        Ok(match u.int_in_range(0..=40)? {
            0 => Self::Close,
            1..=5 => Self::Cancel(tag),
            _ => Self::Query {
                tag,
                to: path(u)?,
                query: u.arbitrary()?,
            },
        })
    }
}

/// From a socket of the configuration or from one to open, to one of few servers.
fn path(u: &mut Unstructured<'_>) -> Result<Path> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, *u.choose(&[1000, 0, 0, 1001])?));
    let port = u.int_in_range(3477..=3479)?;
    let remote = SocketAddr::from(([192, 0, 2, 1], port));
    Ok(if u.ratio(1, 3)? {
        Path::tcp(local, remote)
    } else {
        Path::udp(local, remote)
    })
}

impl<'a> Arbitrary<'a> for Query {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let credentials = if u.ratio(1, 2)? {
            let [username, password] = SECRETS.map(String::from);
            Some(Credentials {
                username,
                password,
                kind: u.arbitrary()?,
            })
        } else {
            None
        };
        Ok(Self {
            classic: u.ratio(1, 8)?,
            change: if u.ratio(1, 8)? {
                u.arbitrary()?
            } else {
                ChangeRequest::default()
            },
            response_port: u.ratio(1, 16)?.then_some(5000),
            padding: if u.ratio(1, 16)? {
                u.int_in_range(0..=3000)?
            } else {
                0
            },
            credentials,
            limit: u
                .ratio(1, 8)?
                .then_some(Duration::from_millis(u.int_in_range(0..=5000)?)),
        })
    }
}

/// Generates a message of a server, or any octets. Nobody can guess the id of a transaction.
pub(super) fn octets(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 4)? {
        let len = u.int_in_range(0..=64)?.min(u.len());
        return u.bytes(len).map(<[u8]>::to_vec);
    }
    let id = TransactionId::new([u.arbitrary()?; 12]);
    answer(u, id)
}

/// Generates an answer to a transaction, mostly a sound one, for fuzzing.
///
/// # Errors
///
/// Those of `arbitrary`.
pub fn answer(u: &mut Unstructured<'_>, id: TransactionId) -> Result<Vec<u8>> {
    let class = *u.choose(&[
        Class::Success,
        Class::Success,
        Class::Error,
        Class::Error,
        Class::Error,
        Class::Indication,
    ])?;
    let mut octets = Vec::new();
    let method = if u.ratio(31, 32)? {
        Method::BINDING
    } else {
        Method::ALLOCATE
    };
    let mut writer = MessageWriter::new(&mut octets, method, class, id);
    if class == Class::Error {
        let code = *u.choose(&[401, 401, 401, 438, 438, 300, 420, 500, 400, 699])?;
        let reason = b"why\0";
        writer.attribute(&Attribute::ErrorCode(ErrorCode { code, reason }));
    }
    for _ in 0..u.int_in_range(1..=5)? {
        attribute(u, &mut writer)?;
    }
    sign(u, &mut writer)?;
    if u.ratio(1, 2)? {
        writer.fingerprint();
    }
    if u.ratio(1, 16)? && !octets.is_empty() {
        let at = u.choose_index(octets.len())?;
        if let Some(octet) = octets.get_mut(at) {
            *octet ^= 1 << u.int_in_range(0..=7)?;
        }
    }
    Ok(octets)
}

fn attribute(u: &mut Unstructured<'_>, writer: &mut MessageWriter<'_>) -> Result<()> {
    let server = SocketAddr::from(([192, 0, 2, 1], u.int_in_range(3477..=3479)?));
    let both = [0, 2, 0, 0, 0, 1, 0, 0];
    let list = *u.choose(&[&both[..], &both[4..], &[0, 9, 0, 0]])?;
    let unknown = Attribute::Unknown(AttributeType(0x7777), b"x");
    let list = PasswordAlgorithms::from_octets(list).map_or(unknown, Attribute::PasswordAlgorithms);
    let nonce = *u.choose(&NONCES)?;
    let types = [0x77, 0x77, 0, 0x26];
    let attribute = *u.choose(&[
        Attribute::XorMappedAddress(server),
        Attribute::MappedAddress(server),
        Attribute::Realm(REALM),
        Attribute::Realm(REALM),
        Attribute::Nonce(nonce),
        Attribute::Nonce(nonce),
        Attribute::Realm(b"other.example"),
        list,
        list,
        Attribute::AlternateServer(server),
        Attribute::Software(b"server"),
        Attribute::OtherAddress(server),
        Attribute::UnknownAttributes(AttributeTypes::from_octets(&types)),
        unknown,
    ])?;
    writer.attribute(&attribute);
    Ok(())
}

/// Signs as the queries do, mostly.
fn sign(u: &mut Unstructured<'_>, writer: &mut MessageWriter<'_>) -> Result<()> {
    let [username, password] = SECRETS.map(str::as_bytes);
    let long_term = |algorithm| IntegrityKey::long_term(username, REALM, password, algorithm);
    let key = match u.int_in_range(0..=7)? {
        0..=2 => return Ok(()),
        3..=4 => IntegrityKey::short_term(password),
        5 => long_term(KeyAlgorithm::Sha256),
        _ => long_term(KeyAlgorithm::Md5),
    };
    let kind: Integrity = u.arbitrary()?;
    writer.integrity(&key, kind);
    Ok(())
}
