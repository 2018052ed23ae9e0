//! How `Debug` shows payloads: the first octets, and how many there are.

use core::fmt;

/// Octets that are shown.
const SHOWN: usize = 16;

/// Octets for `Debug`: `b"abc"`, or `b"0123456789abcdef".. (5000 octets)`.
pub(crate) struct Preview<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Preview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(octets) = self;
        let shown = octets.get(..SHOWN).unwrap_or(octets);
        write!(f, "b\"{}\"", shown.escape_ascii())?;
        if octets.len() > SHOWN {
            write!(f, ".. ({} octets)", octets.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn sixteen_octets_are_shown_and_the_others_are_counted() {
        assert_eq!(format!("{:?}", Preview(b"")), r#"b"""#);
        assert_eq!(format!("{:?}", Preview(b"a\n\xff\"")), r#"b"a\n\xff\"""#);
        assert_eq!(
            format!("{:?}", Preview(b"0123456789abcdef")),
            r#"b"0123456789abcdef""#
        );
        assert_eq!(
            format!("{:?}", Preview(&[b'a'; 5000])),
            r#"b"aaaaaaaaaaaaaaaa".. (5000 octets)"#
        );
    }
}
