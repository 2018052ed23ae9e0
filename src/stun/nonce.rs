//! What a nonce tells of its server (RFC 8489 sections 9.2 and 18.1).

use bitflags::bitflags;

/// How the nonce of a server of RFC 8489 begins.
const COOKIE: &[u8; 9] = b"obMatJos2";

bitflags! {
    /// The security features of a server, 24 bits.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SecurityFeatures: u32 {
        /// The server offers PASSWORD-ALGORITHMS.
        const PASSWORD_ALGORITHMS = 1 << 23;
        /// The server wants USERHASH in place of USERNAME.
        const USERNAME_ANONYMITY = 1 << 22;
        const _ = 0x00FF_FFFF;
    }
}

impl SecurityFeatures {
    /// Returns the features in a nonce; `None` for that of a server before RFC 8489.
    ///
    /// ```
    /// use farlink::stun::SecurityFeatures;
    ///
    /// let features = SecurityFeatures::of_nonce(b"obMatJos2gAAAf//499k954d6OL34oL9FSTvy64sA");
    /// assert_eq!(features, Some(SecurityFeatures::PASSWORD_ALGORITHMS));
    /// assert_eq!(SecurityFeatures::of_nonce(b"f//499k954d6OL34oL9FSTvy64sA"), None);
    /// ```
    #[must_use]
    pub fn of_nonce(nonce: &[u8]) -> Option<Self> {
        let rest = nonce.strip_prefix(COOKIE)?;
        let digits: &[u8; 4] = rest.first_chunk()?;
        let mut bits = 0;
        for &digit in digits {
            bits = bits << 6 | sextet(digit)?;
        }
        Some(Self::from_bits_retain(bits))
    }

    /// Returns how a nonce of a server with these features begins.
    ///
    /// ```
    /// use farlink::stun::SecurityFeatures;
    ///
    /// assert_eq!(&SecurityFeatures::all().intersection(SecurityFeatures::USERNAME_ANONYMITY).cookie(), b"obMatJos2QAAA");
    /// ```
    #[must_use]
    pub fn cookie(self) -> [u8; 13] {
        let mut cookie = [0; 13];
        let digits = [18, 12, 6, 0].map(|shift| digit(self.bits() >> shift & 0x3F));
        let octets = COOKIE.iter().copied().chain(digits);
        cookie
            .iter_mut()
            .zip(octets)
            .for_each(|(to, octet)| *to = octet);
        cookie
    }
}

/// Returns the six bits of a character of Base64.
fn sextet(digit: u8) -> Option<u32> {
    let of = |first: u8, value: u32| value + u32::from(digit - first);
    Some(match digit {
        b'A'..=b'Z' => of(b'A', 0),
        b'a'..=b'z' => of(b'a', 26),
        b'0'..=b'9' => of(b'0', 52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Returns the character of Base64 for six bits.
fn digit(sextet: u32) -> u8 {
    // Below 64.
    let [.., number] = sextet.to_be_bytes();
    match number {
        0..26 => b'A' + number,
        26..52 => b'a' + number - 26,
        52..62 => b'0' + number - 52,
        62 => b'+',
        _ => b'/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_names_its_features_in_base64() {
        let both =
            SecurityFeatures::PASSWORD_ALGORITHMS.union(SecurityFeatures::USERNAME_ANONYMITY);
        for (features, digits) in [
            (SecurityFeatures::empty(), b"AAAA"),
            (SecurityFeatures::PASSWORD_ALGORITHMS, b"gAAA"),
            (SecurityFeatures::USERNAME_ANONYMITY, b"QAAA"),
            (both, b"wAAA"),
            (SecurityFeatures::from_bits_retain(0xFF_FFBE), b"//++"),
            (SecurityFeatures::from_bits_retain(0x69_B7_1D), b"abcd"),
        ] {
            let nonce = [&COOKIE[..], digits].concat();
            assert_eq!(SecurityFeatures::of_nonce(&nonce), Some(features));
            assert_eq!(&features.cookie()[..], nonce);
        }
        for nonce in [&b"obMatJos2gAA"[..], b"obMatJos2gA-A", b"obMatJos"] {
            assert_eq!(SecurityFeatures::of_nonce(nonce), None);
        }
    }
}
