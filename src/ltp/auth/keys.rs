//! Keys ready for use: they sign and verify segments.

use alloc::vec::Vec;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::sessions::KeyHash;
use super::{Auth, Key, MAX_KEY, Signer, Verifier, check_id};
use crate::ltp::config::ConfigError;
use crate::ltp::sdnv::{put_sdnv, sdnv_len};
use crate::ltp::wire::{Extension, ExtensionTag, Segment};

/// Octets of an authentication value of suites 0 and 255.
const MAC: usize = 10;
/// The key of the NULL suite, which is public: it detects accidents, not forgeries.
const NULL_KEY: [u8; 20] = [
    0xC3, 0x7B, 0x7E, 0x64, 0x92, 0x58, 0x43, 0x40, 0xBE, 0xD1, 0x22, 0x07, 0x80, 0x89, 0x41, 0x15,
    0x50, 0x68, 0xF7, 0x38,
];
/// The maximum number of pairs of value and key that are tried: two values with two keys. More would let a forged
/// segment cost dozens of RSA operations.
const MAX_TRIES: usize = 4;
/// The maximum length of an RSA key in DER, in octets. 4096 bits take 2400.
pub(super) const MAX_DER: usize = 4096;
/// Bytes of a key of 4096 bits in memory: modulus, exponents, primes, and their Montgomery forms.
const READ: usize = 16 * 1024;

/// The keys of one peer, ready for use.
#[derive(Default, derive_more::Debug)]
#[debug("Keys(..)")]
pub(in crate::ltp) struct Keys {
    signers: Vec<ActiveKey>,
    verifiers: Vec<ActiveKey>,
    /// The header extensions, equal in every segment.
    header: Vec<u8>,
    overhead: usize,
}

/// A key with its suite and key ID.
struct ActiveKey {
    suite: u8,
    id: Bytes,
    /// Octets of its values.
    len: usize,
    key: Ready,
}

enum Ready {
    Mac(Hmac<Sha1>),
    #[cfg(feature = "ltp-rsa")]
    Private(super::rsa::Private),
    #[cfg(feature = "ltp-rsa")]
    Public(super::rsa::Public),
}

/// The result of verifying a received segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ltp) enum Verification {
    /// The segment is accepted; with the key that is to be remembered for the session, if any.
    Valid(Option<KeyHash>),
    /// The segment names no accepted suite and key, and its session named none before.
    UnknownKey,
    /// No value of the segment verifies.
    Invalid,
}

impl Keys {
    /// The bytes that the keys of one peer take at most.
    pub(in crate::ltp) const MOST: usize =
        (super::MAX_SIGNERS + super::MAX_VERIFIERS) * (2 * MAX_DER + READ + 1024);

    /// Reads the keys of a policy.
    pub(in crate::ltp) fn new(auth: &Auth) -> Result<Self, ConfigError> {
        auth.check()?;
        let signers: Vec<ActiveKey> = auth
            .send
            .iter()
            .map(ActiveKey::signer)
            .collect::<Result<_, _>>()?;
        let verifiers = auth.accept.iter().map(ActiveKey::verifier);
        let verifiers = verifiers.collect::<Result<_, _>>()?;
        let mut header = Vec::new();
        for signer in &signers {
            header.push(ExtensionTag::AUTHENTICATION.0);
            // Bound: usize has at most 64 bits.
            put_sdnv(&mut header, 1 + signer.id.len() as u64);
            header.push(signer.suite);
            header.extend_from_slice(&signer.id);
        }
        let trailers: usize = signers.iter().map(ActiveKey::trailer_len).sum();
        Ok(Self {
            overhead: header.len() + trailers,
            header,
            signers,
            verifiers,
        })
    }

    /// Returns the octets added to every segment.
    ///
    /// Header and trailer extensions are in all of them, so the order of arrival does not matter.
    pub(in crate::ltp) const fn overhead(&self) -> usize {
        self.overhead
    }

    /// Returns the bytes of memory held at most, including the policy.
    pub(in crate::ltp) fn memory_used(&self) -> usize {
        let all = self.signers.iter().chain(&self.verifiers);
        self.header.capacity() + all.map(ActiveKey::memory_used).sum::<usize>()
    }

    /// Whether segments are accepted without verification.
    pub(in crate::ltp) const fn accepts_all(&self) -> bool {
        self.verifiers.is_empty()
    }

    /// Returns the octet with the numbers of extensions.
    pub(in crate::ltp) fn counts(&self) -> u8 {
        // Bound: two at most.
        let count = u8::try_from(self.signers.len()).unwrap_or(0);
        count << 4 | count
    }

    /// Appends the header extensions.
    pub(in crate::ltp) fn put_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }

    /// Appends the trailer extensions, computed over `out` from `start` on.
    ///
    /// A value covers its own tag and length, and is last: there the two readings of RFC 5327 agree. Of two values, each
    /// covers what precedes it, which is the only rule that is not circular.
    pub(in crate::ltp) fn put_trailer(&self, out: &mut Vec<u8>, start: usize) {
        for signer in &self.signers {
            out.push(ExtensionTag::AUTHENTICATION.0);
            // Bound: usize has at most 64 bits.
            put_sdnv(out, signer.len as u64);
            let end = out.len() + signer.len;
            signer.put_value(out, start);
            // A key that was checked when it was read does not fail. The length must be as announced.
            out.resize(end, 0);
        }
    }

    /// Verifies a received segment.
    ///
    /// `known` returns the key that its session named before: the header extension must be in the first segment, and may
    /// be left out later.
    pub(in crate::ltp) fn verify(
        &self,
        octets: &[u8],
        segment: &Segment<'_>,
        known: impl FnOnce() -> Option<KeyHash>,
    ) -> Verification {
        if self.accepts_all() {
            return Verification::Valid(None);
        }
        let has_names = segment.header.find(ExtensionTag::AUTHENTICATION).is_some();
        let known = if has_names { None } else { known() };
        let is_named = |key: &ActiveKey| {
            if has_names {
                key.is_named_in(segment)
            } else {
                known == Some(key.name())
            }
        };
        let named = || self.verifiers.iter().filter(|key| is_named(key));
        let Some(first) = named().next() else {
            return Verification::UnknownKey;
        };
        let verified = values(octets, segment)
            .flat_map(|value| named().map(move |key| (value, key)))
            .filter(|(value, key)| value.mac.len() == key.len)
            .take(MAX_TRIES)
            .find(|(value, key)| key.verifies(value))
            .map(|(_, key)| key.name());
        match verified {
            Some(name) => Verification::Valid(Some(name)),
            // A fuzzer cannot compute a value, but its segments must reach the code behind.
            None if cfg!(fuzzing) => Verification::Valid(Some(first.name())),
            None => Verification::Invalid,
        }
    }
}

/// An authentication value of a received segment, and the octets it covers.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    before: &'a [u8],
    behind: &'a [u8],
    mac: &'a [u8],
}

/// Returns the authentication values of a segment. RFC 5327 section 2.1 requires all of them to be verified.
///
/// A single value covers everything but itself, also the trailers behind it. Of several, each covers what precedes
/// it.
fn values<'a>(octets: &'a [u8], segment: &Segment<'a>) -> impl Iterator<Item = Value<'a>> {
    let is_value =
        |(_, extension): &(usize, Extension<'_>)| extension.tag == ExtensionTag::AUTHENTICATION;
    let is_single = segment.trailer.ends().filter(is_value).count() == 1;
    let start = octets.len() - segment.trailer.octets().len();
    segment
        .trailer
        .ends()
        .filter(is_value)
        .map(move |(end, extension)| {
            let value = extension.value;
            let (before, behind) = octets.split_at_checked(start + end).unwrap_or_default();
            let before = before.get(..before.len() - value.len());
            Value {
                before: before.unwrap_or_default(),
                behind: if is_single { behind } else { &[] },
                mac: value,
            }
        })
}

impl ActiveKey {
    fn signer(signer: &Signer) -> Result<Self, ConfigError> {
        match signer {
            Signer::Null => Self::null(),
            Signer::HmacSha1(key) => Self::hmac_sha1(key),
            #[cfg(feature = "ltp-rsa")]
            Signer::RsaSha256(key) => {
                let private = super::rsa::Private::read(&key.der)?;
                Self::new(1, &key.id, private.len(), Ready::Private(private))
            }
        }
    }

    fn verifier(verifier: &Verifier) -> Result<Self, ConfigError> {
        match verifier {
            Verifier::Null => Self::null(),
            Verifier::HmacSha1(key) => Self::hmac_sha1(key),
            #[cfg(feature = "ltp-rsa")]
            Verifier::RsaSha256(key) => {
                let public = super::rsa::Public::read(&key.der)?;
                Self::new(1, &key.id, public.len(), Ready::Public(public))
            }
        }
    }

    fn null() -> Result<Self, ConfigError> {
        Self::mac(255, &Bytes::new(), &NULL_KEY)
    }

    fn hmac_sha1(key: &Key) -> Result<Self, ConfigError> {
        key.check()?;
        Self::mac(0, &key.id, &key.secret)
    }

    fn mac(suite: u8, id: &Bytes, secret: &[u8]) -> Result<Self, ConfigError> {
        let len = secret.len();
        // HMAC takes keys of any length; the limit is checked before.
        let mac =
            Hmac::<Sha1>::new_from_slice(secret).map_err(|_| ConfigError::Key { len, limit: 0 })?;
        Self::new(suite, id, MAC, Ready::Mac(mac))
    }

    fn new(suite: u8, id: &Bytes, len: usize, key: Ready) -> Result<Self, ConfigError> {
        check_id(id)?;
        Ok(Self {
            suite,
            id: id.clone(),
            len,
            key,
        })
    }

    fn is_named_in(&self, segment: &Segment<'_>) -> bool {
        segment.header.iter().any(|extension| {
            extension.tag == ExtensionTag::AUTHENTICATION
                && extension.value.split_first() == Some((&self.suite, &self.id))
        })
    }

    fn name(&self) -> KeyHash {
        KeyHash::of(self.suite, &self.id)
    }

    const fn trailer_len(&self) -> usize {
        // Bound: usize has at most 64 bits.
        1 + sdnv_len(self.len as u64) + self.len
    }

    fn memory_used(&self) -> usize {
        let read = match self.key {
            Ready::Mac(_) => 0,
            #[cfg(feature = "ltp-rsa")]
            Ready::Private(_) | Ready::Public(_) => MAX_DER + READ,
        };
        size_of::<Self>() + 2 * MAX_KEY + read
    }

    fn put_value(&self, out: &mut Vec<u8>, start: usize) {
        let covered = out.get(start..).unwrap_or_default();
        match &self.key {
            Ready::Mac(mac) => {
                let value = mac.clone().chain_update(covered).finalize().into_bytes();
                out.extend(value.iter().take(MAC));
            }
            #[cfg(feature = "ltp-rsa")]
            Ready::Private(private) => {
                let value = private.sign(covered);
                out.extend_from_slice(&value);
            }
            #[cfg(feature = "ltp-rsa")]
            Ready::Public(_) => {}
        }
    }

    /// Verifies a value. Its length must be that of the suite.
    fn verifies(&self, one: &Value<'_>) -> bool {
        match &self.key {
            Ready::Mac(mac) => mac
                .clone()
                .chain_update(one.before)
                .chain_update(one.behind)
                // In constant time.
                .verify_truncated_left(one.mac)
                .is_ok(),
            #[cfg(feature = "ltp-rsa")]
            Ready::Public(public) => public.verifies([one.before, one.behind], one.mac),
            #[cfg(feature = "ltp-rsa")]
            Ready::Private(_) => false,
        }
    }
}
