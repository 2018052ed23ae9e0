//! How values of attributes are decoded and encoded.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::attribute::{
    AddressFamily, AttributeTypes, ChangeRequest, ErrorCode, PasswordAlgorithm, PasswordAlgorithms,
};
use super::wire::{MAGIC_COOKIE, TransactionId};
use crate::wire::Fault;

/// A value to be decoded.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) value: &'a [u8],
    pub(super) id: TransactionId,
}

#[expect(clippy::unnecessary_wraps, reason = "each is called in the same way")]
impl<'a> Input<'a> {
    pub(super) fn octets(self) -> Result<&'a [u8], Fault> {
        Ok(self.value)
    }

    /// A text of at most 763 octets (RFC 8489 sections 14.3, 14.9 to 14.14).
    pub(super) fn text(self) -> Result<&'a [u8], Fault> {
        const MOST: usize = 763;
        match self.value.len() {
            0..=MOST => Ok(self.value),
            longer => Err(Fault::Length(longer)),
        }
    }

    pub(super) fn array_ref<const N: usize>(self) -> Result<&'a [u8; N], Fault> {
        let array = self.value.try_into();
        array.map_err(|_| Fault::Length(self.value.len()))
    }

    pub(super) fn array<const N: usize>(self) -> Result<[u8; N], Fault> {
        self.array_ref().copied()
    }

    pub(super) const fn empty<T>(self, attribute: T) -> Result<T, Fault>
    where
        T: Copy,
    {
        match self.value {
            [] => Ok(attribute),
            octets => Err(Fault::Length(octets.len())),
        }
    }

    pub(super) fn u8_reserved(self) -> Result<u8, Fault> {
        let [number, ..] = self.array::<4>()?;
        Ok(number)
    }

    pub(super) fn u16_reserved(self) -> Result<u16, Fault> {
        let [n0, n1, ..] = self.array::<4>()?;
        Ok(u16::from_be_bytes([n0, n1]))
    }

    pub(super) fn u32(self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(self) -> Result<u64, Fault> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn family(self) -> Result<AddressFamily, Fault> {
        let [family, ..] = self.array::<4>()?;
        AddressFamily::decode(family)
    }

    pub(super) fn change_request(self) -> Result<ChangeRequest, Fault> {
        let [.., flags] = self.array::<4>()?;
        Ok(ChangeRequest {
            ip: flags & ChangeRequest::IP != 0,
            port: flags & ChangeRequest::PORT != 0,
        })
    }

    pub(super) fn address(self) -> Result<SocketAddr, Fault> {
        let length = Fault::Length(self.value.len());
        let (&[_, family, p0, p1], ip) = self.value.split_first_chunk().ok_or(length)?;
        let port = u16::from_be_bytes([p0, p1]);
        Ok(match AddressFamily::decode(family)? {
            AddressFamily::Ipv4 => {
                let ip: [u8; 4] = ip.try_into().map_err(|_| length)?;
                (ip, port).into()
            }
            AddressFamily::Ipv6 => {
                let ip: [u8; 16] = ip.try_into().map_err(|_| length)?;
                (ip, port).into()
            }
        })
    }

    pub(super) fn xor_address(self) -> Result<SocketAddr, Fault> {
        self.address().map(|address| xor(address, self.id))
    }

    pub(super) fn error_code(self) -> Result<ErrorCode<'a>, Fault> {
        let short = Fault::Length(self.value.len());
        let (&[_, _, class, number], reason) = self.value.split_first_chunk().ok_or(short)?;
        let class = class & 7;
        if !(3..=6).contains(&class) {
            return Err(Fault::Value(class.into()));
        }
        if number > 99 {
            return Err(Fault::Value(number.into()));
        }
        let code = u16::from(class) * 100 + u16::from(number);
        let reason = Input {
            value: reason,
            id: self.id,
        };
        let reason = reason.text()?;
        Ok(ErrorCode { code, reason })
    }

    pub(super) fn types(self) -> Result<AttributeTypes<'a>, Fault> {
        if !self.value.len().is_multiple_of(2) {
            return Err(Fault::Length(self.value.len()));
        }
        Ok(AttributeTypes::from_octets(self.value))
    }

    pub(super) fn algorithm(self) -> Result<PasswordAlgorithm<'a>, Fault> {
        let (entry, behind) = PasswordAlgorithm::split(self.value)?;
        if behind.is_empty() {
            return Ok(entry);
        }
        Err(Fault::Trailing(behind.len()))
    }

    pub(super) fn algorithms(self) -> Result<PasswordAlgorithms<'a>, Fault> {
        PasswordAlgorithms::from_octets(self.value)
    }
}

/// Hides an address from NATs that rewrite what looks like one, or shows it again (RFC 8489 section 14.2).
fn xor(address: SocketAddr, id: TransactionId) -> SocketAddr {
    const COOKIE: [u8; 4] = MAGIC_COOKIE.to_be_bytes();
    const PORT: u16 = u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
    let port = address.port() ^ PORT;
    match address {
        SocketAddr::V4(it) => {
            let ip = u32::from(*it.ip()) ^ MAGIC_COOKIE;
            (Ipv4Addr::from(ip), port).into()
        }
        SocketAddr::V6(it) => {
            let mut mask = *id.octets();
            for (octet, cookie) in mask.iter_mut().zip(COOKIE) {
                *octet = cookie;
            }
            let ip = u128::from(*it.ip()) ^ u128::from_be_bytes(mask);
            SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, 0).into()
        }
    }
}

/// An encoded value: a few octets, and others that are borrowed.
pub(super) struct Value<'a> {
    head: [u8; 20],
    head_len: u8,
    tail: &'a [u8],
}

impl<'a> Value<'a> {
    fn new(octets: &[u8], tail: &'a [u8]) -> Self {
        let mut head = [0; 20];
        let mut head_len = 0;
        for (to, octet) in head.iter_mut().zip(octets) {
            *to = *octet;
            head_len += 1;
        }
        Self {
            head,
            head_len,
            tail,
        }
    }

    pub(super) fn head(octets: &[u8]) -> Self {
        Self::new(octets, &[])
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.head_len) + self.tail.len()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let head = self.head.get(..usize::from(self.head_len));
        out.extend_from_slice(head.unwrap_or_default());
        out.extend_from_slice(self.tail);
    }

    pub(super) fn octets(tail: &'a [u8], _: TransactionId) -> Self {
        Self::new(&[], tail)
    }

    pub(super) fn array_ref<const N: usize>(tail: &'a [u8; N], _: TransactionId) -> Self {
        Self::new(&[], tail)
    }

    pub(super) fn array<const N: usize>(octets: [u8; N], _: TransactionId) -> Self {
        Self::head(&octets)
    }

    pub(super) fn u8_reserved(number: u8, _: TransactionId) -> Self {
        Self::head(&[number, 0, 0, 0])
    }

    pub(super) fn u16_reserved(number: u16, _: TransactionId) -> Self {
        let [n0, n1] = number.to_be_bytes();
        Self::head(&[n0, n1, 0, 0])
    }

    pub(super) fn u32(number: u32, _: TransactionId) -> Self {
        Self::head(&number.to_be_bytes())
    }

    pub(super) fn u64(number: u64, _: TransactionId) -> Self {
        Self::head(&number.to_be_bytes())
    }

    pub(super) fn family(family: AddressFamily, _: TransactionId) -> Self {
        Self::head(&[family.number(), 0, 0, 0])
    }

    pub(super) fn change_request(change: ChangeRequest, _: TransactionId) -> Self {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = flag(change.ip, ChangeRequest::IP) | flag(change.port, ChangeRequest::PORT);
        Self::head(&[0, 0, 0, flags])
    }

    pub(super) fn address(address: SocketAddr, _: TransactionId) -> Self {
        let mut head = [0; 20];
        let [_, family, p0, p1, ip @ ..] = &mut head;
        [*p0, *p1] = address.port().to_be_bytes();
        let head_len = match address {
            SocketAddr::V4(it) => {
                *family = AddressFamily::Ipv4.number();
                let octets = it.ip().octets();
                ip.iter_mut().zip(octets).for_each(|(to, it)| *to = it);
                8
            }
            SocketAddr::V6(it) => {
                *family = AddressFamily::Ipv6.number();
                *ip = it.ip().octets();
                20
            }
        };
        Self {
            head,
            head_len,
            tail: &[],
        }
    }

    pub(super) fn xor_address(address: SocketAddr, id: TransactionId) -> Self {
        Self::address(xor(address, id), id)
    }

    pub(super) fn error_code(code: ErrorCode<'a>, _: TransactionId) -> Self {
        Self::family_error_code(0, code)
    }

    /// A code above 799 loses its upper bits, and none is above 699.
    pub(super) fn family_error_code(family: u8, ErrorCode { code, reason }: ErrorCode<'a>) -> Self {
        let [.., class] = (code / 100).to_be_bytes();
        let [.., number] = (code % 100).to_be_bytes();
        Self::new(&[family, 0, class & 7, number], reason)
    }

    pub(super) fn types(types: AttributeTypes<'a>, _: TransactionId) -> Self {
        Self::new(&[], types.octets())
    }

    pub(super) fn algorithm(entry: PasswordAlgorithm<'a>, _: TransactionId) -> Self {
        let [n0, n1] = entry.number.to_be_bytes();
        // Parameters fill at most one attribute.
        let len = u16::try_from(entry.parameters.len()).unwrap_or(u16::MAX);
        let [l0, l1] = len.to_be_bytes();
        Self::new(&[n0, n1, l0, l1], entry.parameters)
    }

    pub(super) fn algorithms(list: PasswordAlgorithms<'a>, _: TransactionId) -> Self {
        Self::new(&[], list.octets())
    }
}
