//! Messages: the header and the walk over the attributes (RFC 8489 sections 5 and 14), and how they are written.

use alloc::vec::Vec;
use core::fmt;

use super::attribute::{Attribute, AttributeType};
use super::integrity::{self, Integrity, IntegrityFault, IntegrityKey};
use crate::Rng;
use crate::wire::{DecodeError, Fault};

/// Octets of the header of a message.
pub const HEADER_LEN: usize = 20;
/// The first four octets of every transaction id since RFC 5389.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// Octets of the type and the length of an attribute.
pub(super) const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The largest number that the length field of a header can have: it is a multiple of 4.
const MAX_LENGTH: usize = 0xFFFC;

/// What a message is about: 12 bits (RFC 8489 section 18.2, RFC 8656 section 17, RFC 6062 section 6.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(u16);

impl Method {
    /// Asks for the address from which the request came.
    pub const BINDING: Self = Self(0x001);
    /// Asked for a password in RFC 3489. Obsolete.
    pub const SHARED_SECRET: Self = Self(0x002);
    /// Asks for a relayed address.
    pub const ALLOCATE: Self = Self(0x003);
    /// Keeps or ends an allocation.
    pub const REFRESH: Self = Self(0x004);
    /// Data to a peer.
    pub const SEND: Self = Self(0x006);
    /// Data from a peer.
    pub const DATA: Self = Self(0x007);
    /// Lets a peer send.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// Gives a peer a channel.
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// Asks for a TCP connection to a peer.
    pub const CONNECT: Self = Self(0x00A);
    /// Joins a TCP connection of the client with that of a peer.
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// A peer has connected by TCP.
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);

    /// Returns the method of the low 12 bits.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits & 0x0FFF)
    }

    /// Returns the 12 bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::BINDING => "Binding",
            Self::SHARED_SECRET => "SharedSecret",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            Self(_) => return None,
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "method 0x{:03x}", self.0),
        }
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a message asks, tells or answers (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "two bits")]
pub enum Class {
    /// A request, which is answered.
    Request,
    /// An indication, which is not.
    Indication,
    /// An answer to a request that succeeded.
    Success,
    /// An answer to a request that failed.
    Error,
}

impl Class {
    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }

    const fn of(bits: u16) -> Self {
        match (bits & 0x0100 != 0, bits & 0x0010 != 0) {
            (false, false) => Self::Request,
            (false, true) => Self::Indication,
            (true, false) => Self::Success,
            (true, true) => Self::Error,
        }
    }

    /// Tells whether a message of this class answers a request.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Success | Self::Error)
    }
}

/// Method and class as the 16 bits of the header, interleaved (RFC 8489 appendix A).
const fn type_bits(method: Method, class: Class) -> u16 {
    let Method(method) = method;
    (method & 0x0F80) << 2 | (method & 0x0070) << 1 | (method & 0x000F) | class.bits()
}

const fn method_of(bits: u16) -> Method {
    Method((bits & 0x3E00) >> 2 | (bits & 0x00E0) >> 1 | (bits & 0x000F))
}

/// The number that an answer has from its request: the magic cookie and 96 bits, or the 128 bits of RFC 3489.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId([u8; 16]);

impl TransactionId {
    /// Returns the id of 96 bits behind the magic cookie.
    #[must_use]
    pub fn new(bits: [u8; 12]) -> Self {
        let mut octets = [0; 16];
        let (cookie, rest) = octets.split_at_mut(4);
        cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        rest.copy_from_slice(&bits);
        Self(octets)
    }

    /// Returns the id of these 128 bits. One that does not begin with the magic cookie belongs to RFC 3489.
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// Draws an id with the magic cookie.
    pub fn random(rng: &mut Rng) -> Self {
        let mut bits = [0; 12];
        rng.fill(&mut bits);
        Self::new(bits)
    }

    /// Draws an id of RFC 3489.
    pub fn random_classic(rng: &mut Rng) -> Self {
        let mut octets = [0; 16];
        rng.fill(&mut octets);
        let mut id = Self(octets);
        if !id.is_classic() {
            // One in 2^32 has the cookie, and would be taken for a message of RFC 5389.
            id.0[0] = !id.0[0];
        }
        id
    }

    /// Returns the octets as they are in the header.
    #[must_use]
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// Tells whether the id lacks the magic cookie, as those of RFC 3489 do.
    #[must_use]
    pub fn is_classic(&self) -> bool {
        !self.0.starts_with(&MAGIC_COOKIE.to_be_bytes())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.is_classic() {
            &self.0[..]
        } else {
            self.0.get(4..).unwrap_or_default()
        };
        shown.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A message, borrowed from the octets of one datagram or of a part of a stream.
///
/// Decoding checks the header and that the attributes end where the message ends. It copies and allocates nothing.
///
/// ```
/// use farlink::stun::{Attribute, AttributeType, Class, Message, Method};
///
/// let octets = [
///     0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42, // Binding success, 12 octets, the magic cookie
///     1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, // the transaction
///     0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43, // XOR-MAPPED-ADDRESS
/// ];
/// let message = Message::decode(&octets)?;
/// assert_eq!((message.method(), message.class()), (Method::BINDING, Class::Success));
/// let mapped = message.find(AttributeType::XOR_MAPPED_ADDRESS).unwrap().decode()?;
/// assert_eq!(mapped, Attribute::XorMappedAddress("192.0.2.1:32853".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    octets: &'a [u8],
    kind: u16,
    id: TransactionId,
}

impl<'a> Message<'a> {
    /// Decodes a message that takes all the octets.
    ///
    /// Values of attributes are decoded by [`RawAttribute::decode`].
    ///
    /// # Errors
    ///
    /// The octets are no message of STUN: the header is short, the first two bits are not 0, the length is not a multiple
    /// of 4 or not that of the octets, an attribute ends behind the message, or one follows FINGERPRINT (RFC 8489
    /// sections 5, 6.3 and 14.7).
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((header, body)) = octets.split_first_chunk::<HEADER_LEN>() else {
            let (need, left) = (HEADER_LEN, octets.len());
            return Err(DecodeError::new("header", 0, Fault::Short { need, left }));
        };
        let [k0, k1, l0, l1, id @ ..] = *header;
        let kind = u16::from_be_bytes([k0, k1]);
        if kind & 0xC000 != 0 {
            let value = Fault::Value(kind.into());
            return Err(DecodeError::new("message type", 0, value));
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if !length.is_multiple_of(4) {
            return Err(DecodeError::new("length", 2, Fault::Length(length)));
        }
        if length > body.len() {
            let (need, left) = (length, body.len());
            return Err(DecodeError::new("length", 2, Fault::Short { need, left }));
        }
        if length < body.len() {
            let trailing = Fault::Trailing(body.len() - length);
            return Err(DecodeError::new("length", 2, trailing));
        }
        let id = TransactionId(id);
        let message = Self { octets, kind, id };
        let mut walk = message.walk();
        while let Some(attribute) = walk.next() {
            if attribute.kind == AttributeType::FINGERPRINT && walk.offset < octets.len() {
                let trailing = Fault::Trailing(octets.len() - walk.offset);
                return Err(DecodeError::new("FINGERPRINT", walk.offset, trailing));
            }
        }
        if walk.offset == octets.len() {
            return Ok(message);
        }
        let left = octets.len() - walk.offset;
        Err(match walk.header() {
            Some((_, len)) => {
                let need = len + ATTRIBUTE_HEADER_LEN;
                DecodeError::new("attribute", walk.offset, Fault::Short { need, left })
            }
            None => DecodeError::new("attribute", walk.offset, Fault::Trailing(left)),
        })
    }

    /// Returns the octets of the message.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Returns what the message is about.
    #[must_use]
    pub const fn method(&self) -> Method {
        method_of(self.kind)
    }

    /// Returns whether the message asks, tells or answers.
    #[must_use]
    pub const fn class(&self) -> Class {
        Class::of(self.kind)
    }

    /// Returns the number of the transaction.
    #[must_use]
    pub const fn id(&self) -> TransactionId {
        self.id
    }

    /// Returns the attributes that count, in order.
    ///
    /// Behind MESSAGE-INTEGRITY only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT count, and behind
    /// MESSAGE-INTEGRITY-SHA256 only FINGERPRINT (RFC 8489 sections 14.5 and 14.6): nobody has signed the others.
    #[must_use]
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes {
            walk: self.walk(),
            signed: Signed::No,
        }
    }

    const fn walk(&self) -> Walk<'a> {
        Walk {
            octets: self.octets,
            offset: HEADER_LEN,
            id: self.id,
        }
    }

    /// Returns the first attribute of this type that counts. Further ones are ignored (RFC 8489 section 14).
    #[must_use]
    pub fn find(&self, kind: AttributeType) -> Option<RawAttribute<'a>> {
        self.attributes().find(|attribute| attribute.kind == kind)
    }

    /// Returns the types of attributes that have to be understood and are unknown here, each once.
    ///
    /// They fail a request with error 420, and a transaction that they answer (RFC 8489 section 6.3). No more than
    /// [`MAX_UNKNOWN`](Self::MAX_UNKNOWN) are returned.
    #[must_use]
    pub fn unknown_attributes(&self) -> Vec<AttributeType> {
        let mut unknown = Vec::new();
        for RawAttribute { kind, .. } in self.attributes() {
            let is_unknown = kind.must_be_understood() && !kind.is_known();
            if is_unknown && unknown.len() < Self::MAX_UNKNOWN && !unknown.contains(&kind) {
                unknown.push(kind);
            }
        }
        unknown
    }

    /// The most types that [`unknown_attributes`](Self::unknown_attributes) returns.
    pub const MAX_UNKNOWN: usize = 32;

    /// Checks FINGERPRINT: whether it is right, or `None` if there is none (RFC 8489 section 14.7).
    #[must_use]
    pub fn check_fingerprint(&self) -> Option<bool> {
        let raw = self.find(AttributeType::FINGERPRINT)?;
        let before = self.octets.get(..raw.offset).unwrap_or_default();
        let right = integrity::fingerprint(before);
        Some(raw.decode() == Ok(Attribute::Fingerprint(right)) || cfg!(fuzzing))
    }

    /// Verifies MESSAGE-INTEGRITY-SHA256 if there is one, else MESSAGE-INTEGRITY, and returns which it was.
    ///
    /// With both, only the stronger counts: a fall back to SHA-1 would let an attacker choose (RFC 8489 sections 9.1.3
    /// and 9.2.4). A truncated MESSAGE-INTEGRITY-SHA256 is refused, as no usage here allows it (RFC 8489 section
    /// 14.6); see [`verify_truncated`](Self::verify_truncated).
    ///
    /// # Errors
    ///
    /// There is none, or it is not that of the key.
    pub fn verify(&self, key: &IntegrityKey) -> Result<Integrity, IntegrityFault> {
        self.verify_truncated(key, integrity::SHA256_LEN)
    }

    /// Does the same as [`verify`](Self::verify), and accepts MESSAGE-INTEGRITY-SHA256 of at least `shortest` octets, 16
    /// to 32.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn verify_truncated(
        &self,
        key: &IntegrityKey,
        shortest: usize,
    ) -> Result<Integrity, IntegrityFault> {
        let find = |kind: Integrity| Some((kind, self.find(kind.attribute_type())?));
        let found = find(Integrity::Sha256).or_else(|| find(Integrity::Sha1));
        let (kind, raw) = found.ok_or(IntegrityFault::Missing)?;
        let length = raw.offset + ATTRIBUTE_HEADER_LEN + raw.value.len();
        let signed = integrity::SignedOctets::new(self.octets, raw.offset, length);
        key.verify(kind, &signed, raw.value, shortest)?;
        Ok(kind)
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?} ", self.method(), self.class(), self.id)?;
        f.debug_list().entries(self.attributes()).finish()
    }
}

/// An attribute whose value is not decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawAttribute<'a> {
    /// The type.
    pub kind: AttributeType,
    /// The value, without padding.
    pub value: &'a [u8],
    /// Octets of the message before the attribute.
    pub offset: usize,
    id: TransactionId,
}

impl<'a> RawAttribute<'a> {
    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// The value is not one of its type: another length, or an unknown address family.
    pub fn decode(&self) -> Result<Attribute<'a>, DecodeError> {
        let offset = self.offset + ATTRIBUTE_HEADER_LEN;
        Attribute::decode(self.kind, self.value, self.id).map_err(|fault| {
            let field = self.kind.name().unwrap_or("attribute");
            DecodeError::new(field, offset, fault)
        })
    }
}

impl fmt::Debug for RawAttribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Ok(attribute) => attribute.fmt(f),
            Err(error) => write!(f, "malformed {error}"),
        }
    }
}

/// The attributes of a message that count; see [`Message::attributes`].
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    walk: Walk<'a>,
    signed: Signed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Signed {
    No,
    BySha1,
    BySha256,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = RawAttribute<'a>;

    fn next(&mut self) -> Option<RawAttribute<'a>> {
        loop {
            let attribute = self.walk.next()?;
            let last = self.signed;
            let counts = match attribute.kind {
                AttributeType::FINGERPRINT => true,
                AttributeType::MESSAGE_INTEGRITY_SHA256 => last < Signed::BySha256,
                _ => last == Signed::No,
            };
            if !counts {
                continue;
            }
            match attribute.kind {
                AttributeType::MESSAGE_INTEGRITY => self.signed = Signed::BySha1,
                AttributeType::MESSAGE_INTEGRITY_SHA256 => self.signed = Signed::BySha256,
                _ => {}
            }
            return Some(attribute);
        }
    }
}

/// All attributes, up to the first that is not whole.
#[derive(Debug, Clone)]
struct Walk<'a> {
    octets: &'a [u8],
    offset: usize,
    id: TransactionId,
}

impl Walk<'_> {
    /// Returns the type of the next attribute and the length of its value.
    fn header(&self) -> Option<(AttributeType, usize)> {
        let rest = self.octets.get(self.offset..)?;
        let &[t0, t1, l0, l1] = rest.first_chunk()?;
        let kind = AttributeType(u16::from_be_bytes([t0, t1]));
        Some((kind, usize::from(u16::from_be_bytes([l0, l1]))))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = RawAttribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawAttribute<'a>> {
        let (kind, len) = self.header()?;
        let offset = self.offset;
        let start = offset + ATTRIBUTE_HEADER_LEN;
        let end = start + len.next_multiple_of(4);
        if end > self.octets.len() {
            return None;
        }
        let value = self.octets.get(start..start + len)?;
        self.offset = end;
        Some(RawAttribute {
            kind,
            value,
            offset,
            id: self.id,
        })
    }
}

/// Writes one message behind what a buffer holds.
///
/// ```
/// use farlink::stun::{Attribute, Class, Message, MessageWriter, Method, TransactionId};
///
/// let mut octets = Vec::new();
/// let id = TransactionId::new([7; 12]);
/// let mut writer = MessageWriter::new(&mut octets, Method::BINDING, Class::Request, id);
/// writer.attribute(&Attribute::Software(b"farlink"));
/// writer.fingerprint();
///
/// let message = Message::decode(&octets)?;
/// assert_eq!(message.check_fingerprint(), Some(true));
/// # Ok::<(), farlink::wire::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct MessageWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    id: TransactionId,
}

impl<'o> MessageWriter<'o> {
    /// Writes a header.
    pub fn new(out: &'o mut Vec<u8>, method: Method, class: Class, id: TransactionId) -> Self {
        let start = out.len();
        out.extend_from_slice(&type_bits(method, class).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(id.octets());
        Self { out, start, id }
    }

    /// Returns the octets of the message so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Tells whether the message has no attributes yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == HEADER_LEN
    }

    /// Appends an attribute, padded with zeros.
    ///
    /// Returns false, and writes nothing, when the message would exceed 65,552 octets.
    pub fn attribute(&mut self, attribute: &Attribute<'_>) -> bool {
        let value = attribute.value(self.id);
        let len = value.len();
        if self.len() + ATTRIBUTE_HEADER_LEN + len.next_multiple_of(4) > HEADER_LEN + MAX_LENGTH {
            return false;
        }
        // Lengths up to that of a message fit into 16 bits.
        let length = u16::try_from(len).unwrap_or(u16::MAX);
        self.out
            .extend_from_slice(&attribute.kind().0.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        value.write(self.out);
        let padding = len.next_multiple_of(4) - len;
        self.out.resize(self.out.len() + padding, 0);
        self.set_length(self.len());
        true
    }

    /// Appends MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 over what was written (RFC 8489 sections 14.5 and 14.6).
    ///
    /// Returns false, and writes nothing, when the message would exceed 65,552 octets.
    pub fn integrity(&mut self, key: &IntegrityKey, kind: Integrity) -> bool {
        let message = self.out.get(self.start..).unwrap_or_default();
        let length = message.len() + ATTRIBUTE_HEADER_LEN + kind.len();
        let signed = integrity::SignedOctets::new(message, message.len(), length);
        match kind {
            Integrity::Sha1 => {
                let value = key.sha1(&signed);
                self.attribute(&Attribute::MessageIntegrity(&value))
            }
            Integrity::Sha256 => {
                let value = key.sha256(&signed);
                self.attribute(&Attribute::MessageIntegritySha256(&value))
            }
        }
    }

    /// Appends FINGERPRINT, which has to be the last attribute (RFC 8489 section 14.7).
    ///
    /// Returns false, and writes nothing, when the message would exceed 65,552 octets.
    pub fn fingerprint(&mut self) -> bool {
        const LEN: usize = ATTRIBUTE_HEADER_LEN + 4;
        if self.len() + LEN > HEADER_LEN + MAX_LENGTH {
            return false;
        }
        self.set_length(self.len() + LEN);
        let before = self.out.get(self.start..).unwrap_or_default();
        let value = integrity::fingerprint(before);
        self.attribute(&Attribute::Fingerprint(value))
    }

    /// Sets the length field of the header to that of a message of `len` octets.
    fn set_length(&mut self, len: usize) {
        let body = u16::try_from(len - HEADER_LEN).unwrap_or(u16::MAX);
        let field = self.out.get_mut(self.start + 2..self.start + 4);
        if let Some(field) = field {
            field.copy_from_slice(&body.to_be_bytes());
        }
    }
}
