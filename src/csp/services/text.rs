//! Text of a fixed length, as CMP has it.

use core::fmt;

/// Text in `N` octets of which the last is NUL: printable ASCII of at most `N - 1` octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "alloc::string::String", into = "alloc::string::String")
)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Makes a text; `None` if it is too long, or not printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_printable = text.bytes().all(is_printable);
        (text.len() < N && is_printable).then(|| Self::decode(text.as_bytes()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|octet| *octet == 0);
        let octets = self.0.get(..end.unwrap_or(N)).unwrap_or_default();
        // All are ASCII.
        str::from_utf8(octets).unwrap_or_default()
    }

    /// Takes the octets up to the first NUL, at most `N - 1`. Those that cannot be printed become `?`.
    pub(in crate::csp) fn decode(octets: &[u8]) -> Self {
        let mut text = [0; N];
        let octets = octets.iter().take(N.saturating_sub(1));
        let octets = octets.take_while(|octet| **octet != 0);
        for (place, octet) in text.iter_mut().zip(octets) {
            *place = if is_printable(*octet) { *octet } else { b'?' };
        }
        Self(text)
    }

    /// Returns the text with the NULs behind it.
    pub(in crate::csp) const fn octets(&self) -> &[u8; N] {
        &self.0
    }
}

const fn is_printable(octet: u8) -> bool {
    octet.is_ascii_graphic() || octet == b' '
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(feature = "serde")]
impl<const N: usize> TryFrom<alloc::string::String> for Text<N> {
    type Error = alloc::string::String;

    fn try_from(text: alloc::string::String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or_else(|| {
            let limit = N.saturating_sub(1);
            alloc::format!("text {text:?} is not printable ASCII of at most {limit} octets")
        })
    }
}

#[cfg(feature = "serde")]
impl<const N: usize> From<Text<N>> for alloc::string::String {
    fn from(text: Text<N>) -> Self {
        text.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_printable_ascii_with_room_for_a_nul() {
        let text = Text::<5>::new("node").unwrap();
        assert_eq!(text.as_str(), "node");
        assert_eq!(text.octets(), b"node\0");

        assert_eq!(Text::<4>::new("node"), None);
        assert_eq!(Text::<5>::new("\u{e9}"), None);
        assert_eq!(Text::<5>::new("a\nb"), None);
    }

    #[test]
    fn what_a_node_sends_is_cut_at_the_nul_and_made_printable() {
        assert_eq!(Text::<5>::decode(b"ab\0cd").as_str(), "ab");
        assert_eq!(Text::<5>::decode(b"abcdefg").as_str(), "abcd");
        assert_eq!(Text::<5>::decode(b"a\x1b\xff").as_str(), "a??");
        assert_eq!(Text::<5>::decode(b"").as_str(), "");
    }
}
