//! Attributes: their types and values (RFC 8489 section 14, RFC 8656 section 18, RFC 5780 section 7, RFC 6062
//! section 6.2, RFC 8445 section 16.1, RFC 7635 section 6, RFC 3489 section 11.2).

use core::fmt;
use core::net::SocketAddr;

use super::integrity::SHA1_LEN;
use super::value::{Input, Value};
use super::wire::{ATTRIBUTE_HEADER_LEN, TransactionId};
use crate::wire::Fault;

/// The address family of IPv4.
const IPV4: u8 = 1;
/// The address family of IPv6.
const IPV6: u8 = 2;
/// The bit of EVEN-PORT that asks for the next port too.
const RESERVE: u8 = 0x80;

/// The type of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// Tells whether a receiver that does not know the type must not go on (RFC 8489 section 14).
    #[must_use]
    pub const fn must_be_understood(self) -> bool {
        self.0 < 0x8000
    }

    /// Tells whether [`RawAttribute::decode`](super::RawAttribute::decode) knows the type.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.name().is_some()
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{:04x}", self.0),
        }
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Declares the types with their names.
macro_rules! types {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl AttributeType {
            $(
                #[doc = $text]
                pub const $name: Self = Self($number);
            )*

            /// Returns the name in the RFC, or `None` for an unknown type.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                Some(match self {
                    $(Self::$name => $text,)*
                    Self(_) => return None,
                })
            }
        }
    };
}

types! {
    MAPPED_ADDRESS = 0x0001, "MAPPED-ADDRESS";
    RESPONSE_ADDRESS = 0x0002, "RESPONSE-ADDRESS";
    CHANGE_REQUEST = 0x0003, "CHANGE-REQUEST";
    SOURCE_ADDRESS = 0x0004, "SOURCE-ADDRESS";
    CHANGED_ADDRESS = 0x0005, "CHANGED-ADDRESS";
    USERNAME = 0x0006, "USERNAME";
    PASSWORD = 0x0007, "PASSWORD";
    MESSAGE_INTEGRITY = 0x0008, "MESSAGE-INTEGRITY";
    ERROR_CODE = 0x0009, "ERROR-CODE";
    UNKNOWN_ATTRIBUTES = 0x000A, "UNKNOWN-ATTRIBUTES";
    REFLECTED_FROM = 0x000B, "REFLECTED-FROM";
    CHANNEL_NUMBER = 0x000C, "CHANNEL-NUMBER";
    LIFETIME = 0x000D, "LIFETIME";
    XOR_PEER_ADDRESS = 0x0012, "XOR-PEER-ADDRESS";
    DATA = 0x0013, "DATA";
    REALM = 0x0014, "REALM";
    NONCE = 0x0015, "NONCE";
    XOR_RELAYED_ADDRESS = 0x0016, "XOR-RELAYED-ADDRESS";
    REQUESTED_ADDRESS_FAMILY = 0x0017, "REQUESTED-ADDRESS-FAMILY";
    EVEN_PORT = 0x0018, "EVEN-PORT";
    REQUESTED_TRANSPORT = 0x0019, "REQUESTED-TRANSPORT";
    DONT_FRAGMENT = 0x001A, "DONT-FRAGMENT";
    ACCESS_TOKEN = 0x001B, "ACCESS-TOKEN";
    MESSAGE_INTEGRITY_SHA256 = 0x001C, "MESSAGE-INTEGRITY-SHA256";
    PASSWORD_ALGORITHM = 0x001D, "PASSWORD-ALGORITHM";
    USERHASH = 0x001E, "USERHASH";
    XOR_MAPPED_ADDRESS = 0x0020, "XOR-MAPPED-ADDRESS";
    RESERVATION_TOKEN = 0x0022, "RESERVATION-TOKEN";
    PRIORITY = 0x0024, "PRIORITY";
    USE_CANDIDATE = 0x0025, "USE-CANDIDATE";
    PADDING = 0x0026, "PADDING";
    RESPONSE_PORT = 0x0027, "RESPONSE-PORT";
    CONNECTION_ID = 0x002A, "CONNECTION-ID";
    ADDITIONAL_ADDRESS_FAMILY = 0x8000, "ADDITIONAL-ADDRESS-FAMILY";
    ADDRESS_ERROR_CODE = 0x8001, "ADDRESS-ERROR-CODE";
    PASSWORD_ALGORITHMS = 0x8002, "PASSWORD-ALGORITHMS";
    ALTERNATE_DOMAIN = 0x8003, "ALTERNATE-DOMAIN";
    ICMP = 0x8004, "ICMP";
    XOR_MAPPED_ADDRESS_DRAFT = 0x8020, "XOR-MAPPED-ADDRESS of drafts";
    SOFTWARE = 0x8022, "SOFTWARE";
    ALTERNATE_SERVER = 0x8023, "ALTERNATE-SERVER";
    CACHE_TIMEOUT = 0x8027, "CACHE-TIMEOUT";
    FINGERPRINT = 0x8028, "FINGERPRINT";
    ICE_CONTROLLED = 0x8029, "ICE-CONTROLLED";
    ICE_CONTROLLING = 0x802A, "ICE-CONTROLLING";
    RESPONSE_ORIGIN = 0x802B, "RESPONSE-ORIGIN";
    OTHER_ADDRESS = 0x802C, "OTHER-ADDRESS";
    THIRD_PARTY_AUTHORIZATION = 0x802E, "THIRD-PARTY-AUTHORIZATION";
}

/// An attribute with its value.
///
/// Texts are octets, as a realm and a user name count as they are on the wire; [`text`] shows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute<'a> {
    /// The address from which the request came, in clear, which some NATs rewrite.
    MappedAddress(SocketAddr),
    /// Where RFC 3489 wanted the answer. Obsolete: a server that obeys it floods others.
    ResponseAddress(SocketAddr),
    /// From where the answer is wanted (RFC 5780 section 7.2).
    ChangeRequest(ChangeRequest),
    /// From where the answer was sent (RFC 3489).
    SourceAddress(SocketAddr),
    /// The other address and the other port of the server (RFC 3489).
    ChangedAddress(SocketAddr),
    /// The user, as UTF-8.
    Username(&'a [u8]),
    /// A password of RFC 3489. Obsolete.
    Password(&'a [u8]),
    /// HMAC-SHA1 over what stands before.
    MessageIntegrity(&'a [u8; SHA1_LEN]),
    /// Why the request failed.
    ErrorCode(ErrorCode<'a>),
    /// The types that the server does not know.
    UnknownAttributes(AttributeTypes<'a>),
    /// Who asked for an answer elsewhere (RFC 3489). Obsolete.
    ReflectedFrom(SocketAddr),
    /// The number of a channel.
    ChannelNumber(u16),
    /// How long an allocation lives, in seconds.
    Lifetime(u32),
    /// A peer.
    XorPeerAddress(SocketAddr),
    /// The octets of a datagram to or from a peer.
    Data(&'a [u8]),
    /// The realm of a long-term credential.
    Realm(&'a [u8]),
    /// What the server wants to see again.
    Nonce(&'a [u8]),
    /// The relayed address.
    XorRelayedAddress(SocketAddr),
    /// The family of the relayed address.
    RequestedAddressFamily(AddressFamily),
    /// The relayed port is to be even.
    EvenPort {
        /// The port behind it is to be reserved.
        reserve: bool,
    },
    /// The protocol of the relayed address: 17 is UDP, 6 is TCP.
    RequestedTransport(u8),
    /// The server is to set DF towards the peer.
    DontFragment,
    /// A token of OAuth (RFC 7635).
    AccessToken(&'a [u8]),
    /// HMAC-SHA256 over what stands before, or the first octets of it.
    MessageIntegritySha256(&'a [u8]),
    /// How the key is made.
    PasswordAlgorithm(PasswordAlgorithm<'a>),
    /// The digest of user and realm, in place of the user.
    Userhash(&'a [u8; 32]),
    /// The address from which the request came.
    XorMappedAddress(SocketAddr),
    /// Names the port that was reserved.
    ReservationToken([u8; 8]),
    /// The priority of a candidate of ICE.
    Priority(u32),
    /// The candidate of ICE is to be used.
    UseCandidate,
    /// Octets without meaning, to fill a packet.
    Padding(&'a [u8]),
    /// The port to which the answer is wanted.
    ResponsePort(u16),
    /// The number of a connection to a peer.
    ConnectionId(u32),
    /// The family of a second relayed address.
    AdditionalAddressFamily(AddressFamily),
    /// Why there is no relayed address of a family.
    AddressErrorCode(AddressFamily, ErrorCode<'a>),
    /// How a key can be made, in the server's order.
    PasswordAlgorithms(PasswordAlgorithms<'a>),
    /// The name of the alternate server.
    AlternateDomain(&'a [u8]),
    /// An ICMP message about a datagram to a peer.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// Such as the MTU.
        data: u32,
    },
    /// As [`XorMappedAddress`](Self::XorMappedAddress), in servers of old drafts.
    XorMappedAddressDraft(SocketAddr),
    /// The name of the program.
    Software(&'a [u8]),
    /// The server to ask.
    AlternateServer(SocketAddr),
    /// A number of seconds, of which RFC 5780 says nothing.
    CacheTimeout(u32),
    /// The CRC of what stands before.
    Fingerprint(u32),
    /// The controlled agent of ICE.
    IceControlled(u64),
    /// The controlling agent of ICE.
    IceControlling(u64),
    /// From where the answer was sent.
    ResponseOrigin(SocketAddr),
    /// The other address and the other port of the server.
    OtherAddress(SocketAddr),
    /// The server of OAuth (RFC 7635).
    ThirdPartyAuthorization(&'a [u8]),
    /// One that is not known.
    Unknown(AttributeType, &'a [u8]),
}

/// Pairs the variants with their types, for those whose value has a codec of its own shape.
macro_rules! codecs {
    ($($name:ident, $variant:ident, $decode:ident, $encode:ident;)*) => {
        impl<'a> Attribute<'a> {
            /// Returns the type of the attribute.
            #[must_use]
            pub const fn kind(&self) -> AttributeType {
                match self {
                    $(Self::$variant(_) => AttributeType::$name,)*
                    Self::EvenPort { .. } => AttributeType::EVEN_PORT,
                    Self::DontFragment => AttributeType::DONT_FRAGMENT,
                    Self::UseCandidate => AttributeType::USE_CANDIDATE,
                    Self::AddressErrorCode(..) => AttributeType::ADDRESS_ERROR_CODE,
                    Self::Icmp { .. } => AttributeType::ICMP,
                    Self::Unknown(kind, _) => *kind,
                }
            }

            pub(super) fn decode(
                kind: AttributeType,
                value: &'a [u8],
                id: TransactionId,
            ) -> Result<Self, Fault> {
                let input = Input { value, id };
                Ok(match kind {
                    $(AttributeType::$name => Self::$variant(input.$decode()?),)*
                    AttributeType::EVEN_PORT => {
                        let [octet] = input.array()?;
                        Self::EvenPort { reserve: octet & RESERVE != 0 }
                    }
                    AttributeType::DONT_FRAGMENT => input.empty(Self::DontFragment)?,
                    AttributeType::USE_CANDIDATE => input.empty(Self::UseCandidate)?,
                    AttributeType::ADDRESS_ERROR_CODE => {
                        let code = input.error_code()?;
                        let family = value.first().copied().unwrap_or_default();
                        Self::AddressErrorCode(AddressFamily::decode(family)?, code)
                    }
                    AttributeType::ICMP => {
                        let [_, _, kind, code, data @ ..] = input.array::<8>()?;
                        Self::Icmp { kind, code, data: u32::from_be_bytes(data) }
                    }
                    _ => Self::Unknown(kind, value),
                })
            }

            pub(super) fn value(&self, id: TransactionId) -> Value<'a> {
                match *self {
                    $(Self::$variant(value) => Value::$encode(value, id),)*
                    Self::EvenPort { reserve: true } => Value::head(&[RESERVE]),
                    Self::EvenPort { reserve: false } => Value::head(&[0]),
                    Self::DontFragment | Self::UseCandidate => Value::head(&[]),
                    Self::AddressErrorCode(family, code) => {
                        Value::family_error_code(family.number(), code)
                    }
                    Self::Icmp { kind, code, data } => {
                        let [d0, d1, d2, d3] = data.to_be_bytes();
                        Value::head(&[0, 0, kind, code, d0, d1, d2, d3])
                    }
                    Self::Unknown(_, value) => Value::octets(value, id),
                }
            }
        }
    };
}

codecs! {
    MAPPED_ADDRESS, MappedAddress, address, address;
    RESPONSE_ADDRESS, ResponseAddress, address, address;
    CHANGE_REQUEST, ChangeRequest, change_request, change_request;
    SOURCE_ADDRESS, SourceAddress, address, address;
    CHANGED_ADDRESS, ChangedAddress, address, address;
    USERNAME, Username, text, octets;
    PASSWORD, Password, octets, octets;
    MESSAGE_INTEGRITY, MessageIntegrity, array_ref, array_ref;
    ERROR_CODE, ErrorCode, error_code, error_code;
    UNKNOWN_ATTRIBUTES, UnknownAttributes, types, types;
    REFLECTED_FROM, ReflectedFrom, address, address;
    CHANNEL_NUMBER, ChannelNumber, u16_reserved, u16_reserved;
    LIFETIME, Lifetime, u32, u32;
    XOR_PEER_ADDRESS, XorPeerAddress, xor_address, xor_address;
    DATA, Data, octets, octets;
    REALM, Realm, text, octets;
    NONCE, Nonce, text, octets;
    XOR_RELAYED_ADDRESS, XorRelayedAddress, xor_address, xor_address;
    REQUESTED_ADDRESS_FAMILY, RequestedAddressFamily, family, family;
    REQUESTED_TRANSPORT, RequestedTransport, u8_reserved, u8_reserved;
    ACCESS_TOKEN, AccessToken, octets, octets;
    MESSAGE_INTEGRITY_SHA256, MessageIntegritySha256, octets, octets;
    PASSWORD_ALGORITHM, PasswordAlgorithm, algorithm, algorithm;
    USERHASH, Userhash, array_ref, array_ref;
    XOR_MAPPED_ADDRESS, XorMappedAddress, xor_address, xor_address;
    RESERVATION_TOKEN, ReservationToken, array, array;
    PRIORITY, Priority, u32, u32;
    PADDING, Padding, octets, octets;
    RESPONSE_PORT, ResponsePort, u16_reserved, u16_reserved;
    CONNECTION_ID, ConnectionId, u32, u32;
    ADDITIONAL_ADDRESS_FAMILY, AdditionalAddressFamily, family, family;
    PASSWORD_ALGORITHMS, PasswordAlgorithms, algorithms, algorithms;
    ALTERNATE_DOMAIN, AlternateDomain, text, octets;
    XOR_MAPPED_ADDRESS_DRAFT, XorMappedAddressDraft, xor_address, xor_address;
    SOFTWARE, Software, text, octets;
    ALTERNATE_SERVER, AlternateServer, address, address;
    CACHE_TIMEOUT, CacheTimeout, u32, u32;
    FINGERPRINT, Fingerprint, u32, u32;
    ICE_CONTROLLED, IceControlled, u64, u64;
    ICE_CONTROLLING, IceControlling, u64, u64;
    RESPONSE_ORIGIN, ResponseOrigin, address, address;
    OTHER_ADDRESS, OtherAddress, address, address;
    THIRD_PARTY_AUTHORIZATION, ThirdPartyAuthorization, text, octets;
}

impl Attribute<'_> {
    /// Returns the octets of the attribute in a message: type, length, value and padding.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        // No length depends on the transaction.
        let value = self.value(TransactionId::from_octets([0; 16]));
        ATTRIBUTE_HEADER_LEN + value.len().next_multiple_of(4)
    }
}

/// From where the answer to a Binding request is wanted (RFC 5780 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ChangeRequest {
    /// From the other IP address of the server.
    pub ip: bool,
    /// From the other port of the server.
    pub port: bool,
}

impl ChangeRequest {
    pub(super) const IP: u8 = 4;
    pub(super) const PORT: u8 = 2;
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[expect(clippy::exhaustive_enums, reason = "those of IP")]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    pub(super) const fn decode(number: u8) -> Result<Self, Fault> {
        match number {
            IPV4 => Ok(Self::Ipv4),
            IPV6 => Ok(Self::Ipv6),
            _ => Err(Fault::Value(number as u32)),
        }
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => IPV4,
            Self::Ipv6 => IPV6,
        }
    }
}

/// Why a request failed (RFC 8489 section 14.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    /// The code, 300 to 699.
    pub code: u16,
    /// The reason, for people. Some servers count its padding into it.
    pub reason: &'a [u8],
}

/// The types of attributes that a server does not know (RFC 8489 section 14.10).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AttributeTypes<'a>(&'a [u8]);

impl<'a> AttributeTypes<'a> {
    /// Takes types of 16 bits each, big-endian; an odd octet at the end is left out.
    #[must_use]
    pub fn from_octets(octets: &'a [u8]) -> Self {
        Self(octets.get(..octets.len() & !1).unwrap_or_default())
    }

    pub(super) const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Returns the types. RFC 3489 repeats one to get an even number.
    pub fn iter(self) -> impl Iterator<Item = AttributeType> {
        let (pairs, _) = self.0.as_chunks();
        pairs
            .iter()
            .map(|pair| AttributeType(u16::from_be_bytes(*pair)))
    }
}

impl fmt::Debug for AttributeTypes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An algorithm by which a key is made, with parameters, of which those known have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordAlgorithm<'a> {
    /// The number; see [`KeyAlgorithm`](super::KeyAlgorithm).
    pub number: u16,
    /// The parameters.
    pub parameters: &'a [u8],
}

impl<'a> PasswordAlgorithm<'a> {
    /// Splits the first entry of a list off.
    pub(super) fn split(octets: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        let short = |need: usize| Fault::Short {
            need,
            left: octets.len(),
        };
        let (&[n0, n1, l0, l1], rest) = octets.split_first_chunk().ok_or(short(4))?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let parameters = rest.get(..len).ok_or(short(4 + len))?;
        let number = u16::from_be_bytes([n0, n1]);
        let behind = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Ok((Self { number, parameters }, behind))
    }
}

/// Algorithms by which keys can be made, as they are on the wire: a client returns them octet for octet (RFC 8489
/// section 9.2.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordAlgorithms<'a>(&'a [u8]);

impl<'a> PasswordAlgorithms<'a> {
    /// Takes a list of entries.
    ///
    /// # Errors
    ///
    /// An entry is not whole.
    pub fn from_octets(octets: &'a [u8]) -> Result<Self, Fault> {
        let mut rest = octets;
        while !rest.is_empty() {
            (_, rest) = PasswordAlgorithm::split(rest)?;
        }
        Ok(Self(octets))
    }

    /// Returns the list as it is on the wire.
    #[must_use]
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Returns the entries.
    pub fn iter(self) -> impl Iterator<Item = PasswordAlgorithm<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (entry, behind) = PasswordAlgorithm::split(rest).ok()?;
            rest = behind;
            Some(entry)
        })
    }
}

impl fmt::Debug for PasswordAlgorithms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Shows a text of an attribute: without zeros at its end, which some servers count into it, and without control
/// characters.
///
/// ```
/// use farlink::stun::text;
///
/// assert_eq!(text(b"Unauthorized\0\0\0\0"), "Unauthorized");
/// ```
#[must_use]
pub fn text(octets: &[u8]) -> alloc::string::String {
    let shown = alloc::string::String::from_utf8_lossy(octets);
    let shown = shown.trim_end_matches('\0').chars();
    shown
        .map(|it| if it.is_control() { '\u{FFFD}' } else { it })
        .collect()
}
