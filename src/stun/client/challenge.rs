//! Challenges of servers, and what requests are signed with after them (RFC 8489 sections 9.2.3 and 9.2.5).

use alloc::boxed::Box;
use core::mem;

use crate::stun::api::{Credentials, QueryFailure};
use crate::stun::attribute::{Attribute, AttributeType, PasswordAlgorithm, PasswordAlgorithms};
use crate::stun::integrity::{Integrity, IntegrityKey, KeyAlgorithm, userhash};
use crate::stun::nonce::SecurityFeatures;
use crate::stun::wire::{Message, MessageWriter};

/// The algorithm of a challenge, and the list that it was chosen from, as it was on the wire.
type Chosen = (KeyAlgorithm, Box<[u8]>);

/// What error 401 or 438 tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) realm: Box<[u8]>,
    nonce: Box<[u8]>,
    algorithm: Option<Chosen>,
    is_anonymous: bool,
}

impl Challenge {
    /// Reads a challenge. `realm` is that of the last one, which error 438 may leave out.
    pub(super) fn read(message: &Message<'_>, realm: Option<&[u8]>) -> Result<Self, QueryFailure> {
        let nonce = octets_of(message, AttributeType::NONCE).ok_or(QueryFailure::BadChallenge)?;
        let realm = octets_of(message, AttributeType::REALM).or(realm);
        let realm = realm.ok_or(QueryFailure::BadChallenge)?;
        let features = SecurityFeatures::of_nonce(nonce).unwrap_or_default();
        let offered = message.find(AttributeType::PASSWORD_ALGORITHMS);
        let algorithm = match offered.map(|raw| raw.decode()) {
            Some(Ok(Attribute::PasswordAlgorithms(list))) => Some(choose(list)?),
            Some(_) => return Err(QueryFailure::BadChallenge),
            // The nonce, which the server will see again, tells that a list was removed.
            None if features.contains(SecurityFeatures::PASSWORD_ALGORITHMS) => {
                return Err(QueryFailure::BadChallenge);
            }
            None => None,
        };
        Ok(Self {
            realm: realm.into(),
            nonce: nonce.into(),
            algorithm,
            is_anonymous: features.contains(SecurityFeatures::USERNAME_ANONYMITY),
        })
    }
}

/// Tells whether the nonce of an answer promises a list that the answer lacks: somebody has removed it.
pub(super) fn is_bid_down(message: &Message<'_>) -> bool {
    let features = octets_of(message, AttributeType::NONCE).and_then(SecurityFeatures::of_nonce);
    features.is_some_and(|it| it.contains(SecurityFeatures::PASSWORD_ALGORITHMS))
        && message.find(AttributeType::PASSWORD_ALGORITHMS).is_none()
}

fn octets_of<'a>(message: &Message<'a>, kind: AttributeType) -> Option<&'a [u8]> {
    let raw = message.find(kind)?;
    raw.decode().ok().map(|_| raw.value)
}

/// Takes the first that is known, in the order of the server.
fn choose(list: PasswordAlgorithms<'_>) -> Result<Chosen, QueryFailure> {
    let known = list
        .iter()
        .find_map(|entry| KeyAlgorithm::of_number(entry.number));
    let algorithm = known.ok_or(QueryFailure::NoAlgorithm)?;
    Ok((algorithm, list.octets().into()))
}

/// What requests to one server are signed with.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) credentials: Credentials,
    pub(super) challenge: Challenge,
    key: IntegrityKey,
    userhash: [u8; 32],
    /// Counts challenges, so that an answer to an older nonce does not undo a newer one.
    pub(super) generation: u32,
}

impl Session {
    pub(super) fn new(credentials: Credentials, challenge: Challenge, generation: u32) -> Self {
        let (username, password) = (
            credentials.username.as_bytes(),
            credentials.password.as_bytes(),
        );
        let algorithm = challenge.algorithm.as_ref();
        let algorithm = algorithm.map_or(KeyAlgorithm::Md5, |(algorithm, _)| *algorithm);
        Self {
            key: IntegrityKey::long_term(username, &challenge.realm, password, algorithm),
            userhash: userhash(username, &challenge.realm),
            credentials,
            challenge,
            generation,
        }
    }

    /// Writes all that proves who asks, and the integrity attribute.
    pub(super) fn sign(&self, writer: &mut MessageWriter<'_>) {
        let Challenge {
            realm,
            nonce,
            algorithm,
            is_anonymous,
        } = &self.challenge;
        if *is_anonymous {
            writer.attribute(&Attribute::Userhash(&self.userhash));
        } else {
            writer.attribute(&Attribute::Username(self.credentials.username.as_bytes()));
        }
        writer.attribute(&Attribute::Realm(realm));
        writer.attribute(&Attribute::Nonce(nonce));
        if let Some((algorithm, list)) = algorithm {
            if let Ok(list) = PasswordAlgorithms::from_octets(list) {
                writer.attribute(&Attribute::PasswordAlgorithms(list));
            }
            let entry = PasswordAlgorithm {
                number: algorithm.number(),
                parameters: &[],
            };
            writer.attribute(&Attribute::PasswordAlgorithm(entry));
        }
        writer.integrity(&self.key, self.integrity());
    }

    pub(super) const fn integrity(&self) -> Integrity {
        match self.challenge.algorithm {
            Some(_) => Integrity::Sha256,
            None => Integrity::Sha1,
        }
    }

    pub(super) fn key(&self) -> IntegrityKey {
        self.key.clone()
    }

    pub(super) fn memory_used(&self) -> usize {
        let Challenge {
            realm,
            nonce,
            algorithm,
            ..
        } = &self.challenge;
        let list = algorithm.as_ref().map_or(0, |(_, list)| list.len());
        let text = self.credentials.memory_used();
        text + mem::size_of_val(&**realm) + mem::size_of_val(&**nonce) + list
    }
}
