//! The parameters in the variable part of CR, CC, DR and ER (ISO 8073 13.2.3).

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use nom::bytes::complete::take;
use nom::number::complete::u8 as octet;
use nom::{IResult, Parser as _};

use crate::wire::{DecodeError, Fault};

pub(super) const TPDU_SIZE: u8 = 0xC0;
pub(super) const CALLING: u8 = 0xC1;
pub(super) const CALLED: u8 = 0xC2;
pub(super) const OPTIONS: u8 = 0xC6;
pub(super) const ALTERNATIVES: u8 = 0xC7;
pub(super) const PREFERRED: u8 = 0xF0;
/// The rejected TPDU in an ER (ISO 8073 13.12.4), with the code of the calling selector.
pub(super) const INVALID_TPDU: u8 = 0xC1;
/// Additional information in a DR (ISO 8073 13.5.4).
pub(super) const INFORMATION: u8 = 0xE0;

/// A T-selector (TSAP-ID): an octet string that identifies the service at one end.
///
/// Selectors are compared octet by octet: `0001`, `01` and `00000001` differ. The standard sets no length; a
/// CR or CC has room for 246 octets in all (ISO 8073 13.3.4 a).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Selector(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes);

/// Octets that `Debug` shows of a selector.
const SHOWN: usize = 16;

impl Selector {
    /// Makes a selector of these octets.
    pub fn new(octets: impl Into<Bytes>) -> Self {
        Self(octets.into())
    }

    /// Returns the octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Returns the octets as a big-endian number, as hat-drivers shows selectors. `None` if there are more than
    /// 8.
    #[must_use]
    pub fn to_number(&self) -> Option<u64> {
        (self.0.len() <= 8).then(|| {
            self.0
                .iter()
                .fold(0, |number, &octet| number << 8 | u64::from(octet))
        })
    }
}

impl Selector {
    /// Returns the octets behind leading zeros.
    pub(super) fn without_zeros(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|&&octet| octet == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }
}

impl From<u16> for Selector {
    /// Makes the selector of two octets that hat-drivers uses for an integer.
    fn from(number: u16) -> Self {
        Self(Bytes::copy_from_slice(&number.to_be_bytes()))
    }
}

impl From<&[u8]> for Selector {
    fn from(octets: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(octets))
    }
}

impl FromStr for Selector {
    type Err = DecodeError;

    /// Reads octets in hex, two digits each, with or without `.`, `:` or spaces between them: `0102`, `01.02`.
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let fault = |at, fault| DecodeError::new("selector", at, fault);
        let between = |&(_, digit): &(usize, char)| !matches!(digit, '.' | ':' | ' ');
        let mut digits = text.char_indices().filter(between);
        let mut octets = Vec::new();
        while let Some(high) = digits.next() {
            let short = Fault::Short { need: 2, left: 1 };
            let low = digits.next().ok_or_else(|| fault(high.0, short))?;
            let mut octet = 0;
            for (at, digit) in [high, low] {
                let value = digit.to_digit(16);
                octet = octet << 4 | value.ok_or(fault(at, Fault::Value(digit.into())))?;
            }
            octets.extend(u8::try_from(octet));
        }
        Ok(Self::new(octets))
    }
}

impl fmt::Display for Selector {
    /// Writes the octets in hex. An empty selector is an empty text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN).unwrap_or(&self.0);
        f.write_str("Selector(")?;
        shown
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))?;
        if self.0.len() > SHOWN {
            write!(f, ".. ({} octets)", self.0.len())?;
        }
        f.write_str(")")
    }
}

/// A maximum TPDU size, header included, as in parameter 0xC0 (ISO 8073 13.3.4 b).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "usize", into = "usize"))]
pub struct TpduSize(u8);

impl TpduSize {
    /// 128 octets, which every implementation supports.
    pub const SMALLEST: Self = Self(7);
    /// 1024 octets, which clients of S7 controllers propose.
    pub const S7: Self = Self(10);
    /// 2048 octets, the largest size of class 0 in ISO 8073.
    pub const CLASS_0: Self = Self(11);
    /// 8192 octets, the largest size in ISO 8073.
    pub const ISO: Self = Self(13);
    /// 65,531 octets, the most that a TPKT holds. A CR without the parameter proposes it (RFC 1006 section 5).
    pub const LARGEST: Self = Self(16);

    /// Returns the size of `octets`, which are a power of two from 128 to 65,536, or 65,531.
    #[must_use]
    pub const fn from_octets(octets: usize) -> Option<Self> {
        match octets {
            128 => Some(Self(7)),
            256 => Some(Self(8)),
            512 => Some(Self(9)),
            1024 => Some(Self(10)),
            2048 => Some(Self(11)),
            4096 => Some(Self(12)),
            8192 => Some(Self(13)),
            16_384 => Some(Self(14)),
            32_768 => Some(Self(15)),
            MAX_TPDU | 65_536 => Some(Self::LARGEST),
            _ => None,
        }
    }

    /// Returns the size of a parameter value, which is the binary logarithm of the size, 7 to 16.
    ///
    /// ISO 8073 ends at 13; peers use 14 to 16 as well. Other values are refused: 0 and 1 leave no room for
    /// user data, and 162 would be 2 to the power of 162.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            7..=16 => Some(Self(code)),
            _ => None,
        }
    }

    /// Returns the parameter value.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Returns the octets of the largest TPDU.
    #[must_use]
    pub const fn octets(self) -> usize {
        if self.0 >= 16 { MAX_TPDU } else { 1 << self.0 }
    }
}

#[cfg(feature = "serde")]
impl From<TpduSize> for usize {
    fn from(size: TpduSize) -> Self {
        size.octets()
    }
}

#[cfg(feature = "serde")]
impl TryFrom<usize> for TpduSize {
    type Error = &'static str;

    fn try_from(octets: usize) -> Result<Self, Self::Error> {
        Self::from_octets(octets).ok_or("a TPDU size is 65531 or a power of two from 128 to 65536")
    }
}

/// Octets of the largest TPDU that fits a TPKT: 65,535 less the packet header (RFC 1006 section 6).
pub const MAX_TPDU: usize = 65_531;

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for TpduSize {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(u.int_in_range(7..=16)?))
    }
}

/// The parameters of a CR or CC that class 0 over TCP uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters<'a> {
    /// 0xC0, the maximum TPDU size.
    pub tpdu_size: Option<TpduSize>,
    /// 0xF0, the preferred maximum TPDU size in units of 128 octets. Saturates at 65,535 (X.224 13.3.4 c).
    pub preferred_size: Option<u16>,
    /// 0xC1, the calling selector.
    pub calling: Option<&'a [u8]>,
    /// 0xC2, the called selector, or the responding selector of a CC.
    pub called: Option<&'a [u8]>,
    /// 0xC6, additional options; bit 1 is the use of expedited data (RFC 1006 section 5).
    pub options: Option<u8>,
    /// 0xC7, alternative protocol classes, one octet each with the class in bits 8-5.
    pub alternatives: Option<&'a [u8]>,
    /// Whether a parameter occurs twice. The last one counts (ISO 8073 13.2.3).
    pub has_repeats: bool,
    /// The first fault that leaves the other parameters readable: a size with an invalid value or length, which
    /// counts as absent, or octets behind the last parameter that form none.
    pub fault: Option<DecodeError>,
}

impl<'a> Parameters<'a> {
    /// Decodes the parameter list in `variable`, which begins at `offset` of its TPDU.
    ///
    /// Unknown parameters are ignored (ISO 8073 13.2.3), as is a 0xC6 that is not one octet long: S7 routing
    /// carries a subnet in it.
    ///
    /// # Errors
    ///
    /// One of these parameters extends beyond the end.
    pub fn decode(variable: &'a [u8], offset: usize) -> Result<Self, DecodeError> {
        let mut parameters = Self::default();
        for parameter in list(variable, offset) {
            let fault = match parameter {
                Ok((at, code, value)) => parameters.set(code, value, at).err(),
                Err((
                    at,
                    rest @ [
                        TPDU_SIZE..=CALLED | OPTIONS | ALTERNATIVES | PREFERRED,
                        _,
                        ..,
                    ],
                )) => return Err(overrun(rest, at)),
                Err((at, rest)) => Some(overrun(rest, at)),
            };
            parameters.fault = parameters.fault.or(fault);
        }
        Ok(parameters)
    }

    fn set(&mut self, code: u8, value: &'a [u8], at: usize) -> Result<(), DecodeError> {
        let repeated = match code {
            TPDU_SIZE => self.tpdu_size.replace(tpdu_size(value, at)?).is_some(),
            PREFERRED => self
                .preferred_size
                .replace(preferred_size(value, at)?)
                .is_some(),
            CALLING => self.calling.replace(value).is_some(),
            CALLED => self.called.replace(value).is_some(),
            OPTIONS => match value {
                &[bits] => self.options.replace(bits).is_some(),
                _ => false,
            },
            ALTERNATIVES => self.alternatives.replace(value).is_some(),
            _ => false,
        };
        self.has_repeats |= repeated;
        Ok(())
    }
}

/// Returns the value of the last parameter with this code, if `variable` is a list of parameters.
pub(super) fn find(code: u8, variable: &[u8]) -> Option<&[u8]> {
    list(variable, 0).try_fold(None, |found, parameter| match parameter {
        Ok((_, other, value)) if other == code => Some(Some(value)),
        Ok(_) => Some(found),
        Err(_) => None,
    })?
}

/// The offset, code and value of a parameter, or the offset and the octets of a rest that forms none.
type Item<'a> = Result<(usize, u8, &'a [u8]), (usize, &'a [u8])>;

/// Returns the parameters of a list that begins at `offset`, and the rest, if there is one.
fn list(variable: &[u8], offset: usize) -> impl Iterator<Item = Item<'_>> {
    let mut rest = variable;
    core::iter::from_fn(move || {
        let at = offset + variable.len() - rest.len();
        match parameter(rest) {
            _ if rest.is_empty() => None,
            Ok((behind, (code, value))) => {
                rest = behind;
                Some(Ok((at, code, value)))
            }
            Err(_) => Some(Err((at, core::mem::take(&mut rest)))),
        }
    })
}

/// Splits off one parameter: code, length, value (ISO 8073 13.2.3).
fn parameter(octets: &[u8]) -> IResult<&[u8], (u8, &[u8])> {
    let (rest, (code, length)) = (octet, octet).parse(octets)?;
    let (rest, value) = take(length).parse(rest)?;
    Ok((rest, (code, value)))
}

fn overrun(rest: &[u8], at: usize) -> DecodeError {
    match rest {
        [_, length, value @ ..] => {
            let fault = Fault::Short {
                need: usize::from(*length),
                left: value.len(),
            };
            DecodeError::new("parameter length", at + 1, fault)
        }
        _ => DecodeError::new(
            "parameter length",
            at + 1,
            Fault::Short { need: 1, left: 0 },
        ),
    }
}

fn tpdu_size(value: &[u8], at: usize) -> Result<TpduSize, DecodeError> {
    let &[code] = value else {
        return Err(DecodeError::new(
            "TPDU size",
            at + 1,
            Fault::Length(value.len()),
        ));
    };
    TpduSize::from_code(code).ok_or(DecodeError::new(
        "TPDU size",
        at + 2,
        Fault::Value(u32::from(code)),
    ))
}

fn preferred_size(value: &[u8], at: usize) -> Result<u16, DecodeError> {
    const FIELD: &str = "preferred maximum TPDU size";
    if !(1..=4).contains(&value.len()) {
        return Err(DecodeError::new(FIELD, at + 1, Fault::Length(value.len())));
    }
    let number = value
        .iter()
        .fold(0_u32, |number, &octet| number << 8 | u32::from(octet));
    if number == 0 {
        return Err(DecodeError::new(FIELD, at + 2, Fault::Value(0)));
    }
    Ok(u16::try_from(number).unwrap_or(u16::MAX))
}

/// Appends one parameter. Bound: the caller has checked the length of the header, so `value` has at most 255
/// octets.
pub(super) fn encode(code: u8, value: &[u8], out: &mut Vec<u8>) {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[code, length]);
    out.extend(value.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn a_selector_is_read_from_hex_as_controllers_and_tools_write_it() {
        let expected = Selector::from(0x0102);

        for text in ["0102", "01.02", "01:02", "01 02"] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
        }
        assert_eq!("".parse(), Ok(Selector::default()));
        assert_eq!(expected.to_string().parse(), Ok(expected));
        let refused = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert_eq!(
            refused("0g"),
            "selector at offset 1: value 103 (0x67) is not allowed"
        );
        assert_eq!(
            refused("010"),
            "selector at offset 2: needs 2 octets, 1 left"
        );
    }

    #[test]
    fn a_list_is_read_in_any_order() {
        let variable = [
            0xC7, 2, 0, 0x10, 0xF0, 2, 1, 0xFF, 0xC6, 1, 1, 0xC2, 2, 1, 2, 0xC0, 1, 10, 0xC1, 0,
        ];

        assert_eq!(
            Parameters::decode(&variable, 7),
            Ok(Parameters {
                tpdu_size: TpduSize::from_octets(1024),
                preferred_size: Some(511),
                calling: Some(&[]),
                called: Some(&[1, 2]),
                options: Some(1),
                alternatives: Some(&[0, 0x10]),
                has_repeats: false,
                fault: None,
            })
        );
    }

    #[test]
    fn of_a_repeated_parameter_the_last_one_counts() {
        for (variable, is_repeated) in [
            (&[0xC1, 1, 1, 0xC1, 1, 2][..], true),
            (&[0xC1, 1, 1, 0xC2, 1, 2], false),
            // Unknown ones are passed over, as is a subnet in the place of options.
            (&[0x85, 1, 1, 0x85, 1, 2], false),
            (&[0xC6, 1, 1, 0xC6, 2, 0, 0], false),
        ] {
            let parameters = Parameters::decode(variable, 7).unwrap();
            assert_eq!(parameters.has_repeats, is_repeated, "{variable:?}");
        }
        assert_eq!(
            Parameters::decode(&[0xC1, 1, 1, 0xC1, 1, 2], 7)
                .unwrap()
                .calling,
            Some(&[2][..])
        );
    }

    #[test]
    fn a_fault_is_named_with_its_offset() {
        assert_eq!(
            Parameters::decode(&[0xC1, 0, 0xC2, 3, 1], 7)
                .unwrap_err()
                .to_string(),
            "parameter length at offset 10: needs 3 octets, 1 left"
        );
        for (variable, words) in [
            (
                &[0xC1][..],
                "parameter length at offset 8: needs 1 octets, 0 left",
            ),
            (
                &[0xC1, 0, 0x85],
                "parameter length at offset 10: needs 1 octets, 0 left",
            ),
            (
                &[0xC1, 0, 0x85, 3, 1],
                "parameter length at offset 10: needs 3 octets, 1 left",
            ),
            (
                &[0xC0, 2, 7, 0, 0],
                "TPDU size at offset 8: a length of 2 octets is not allowed",
            ),
            (
                &[0xC0, 1, 6],
                "TPDU size at offset 9: value 6 (0x06) is not allowed",
            ),
            (
                &[0xC0, 1, 17],
                "TPDU size at offset 9: value 17 (0x11) is not allowed",
            ),
        ] {
            let parameters = Parameters::decode(variable, 7).unwrap();
            assert_eq!(parameters.fault.unwrap().to_string(), words);
        }
    }

    #[test]
    fn sizes_are_powers_of_two_but_the_largest() {
        for (code, octets) in [
            (7, 128),
            (8, 256),
            (9, 512),
            (10, 1024),
            (11, 2048),
            (12, 4096),
            (13, 8192),
            (14, 16_384),
            (15, 32_768),
            (16, 65_531),
        ] {
            let size = TpduSize::from_code(code).unwrap();
            assert_eq!((size.code(), size.octets()), (code, octets));
            assert_eq!(TpduSize::from_octets(octets), Some(size));
        }
        assert_eq!(TpduSize::from_octets(65_536), Some(TpduSize::LARGEST));
        for octets in [0, 1, 64, 127, 129, 65_530, 65_535, 131_072] {
            assert_eq!(TpduSize::from_octets(octets), None);
        }
    }

    #[test]
    fn selectors_read_as_numbers_up_to_eight_octets() {
        assert_eq!(Selector::from(0x0102).octets(), [1, 2]);
        assert_eq!(Selector::from(0x0102).to_number(), Some(0x0102));
        assert_eq!(Selector::default().to_number(), Some(0));
        assert_eq!(Selector::from(&[0, 0, 1][..]).to_number(), Some(1));
        assert_eq!(Selector::from(&[0xFF; 8][..]).to_number(), Some(u64::MAX));
        assert_eq!(Selector::from(&[0; 9][..]).to_number(), None);
        assert_ne!(Selector::from(1), Selector::from(&[1][..]));
    }
}
