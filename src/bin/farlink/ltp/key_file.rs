//! Files of shared keys: on each line the ID of a key, and the key in hex digits.

use std::path::Path;

use bytes::Bytes;
use farlink::ltp::{Auth, Key, Signer, Verifier};

use crate::{Failure, hexdump, input};

/// Reads a policy: the first key signs, and each of them is accepted (RFC 5327 section 2.1).
pub(super) fn read(path: &Path) -> Result<Auth, Failure> {
    let text = input::read_text(path)?;
    parse(&text).map_err(|error| Failure::file(path, error))
}

fn parse(text: &str) -> Result<Auth, String> {
    let mut auth = Auth::default();
    input::each_line(text, |words| {
        let key = match *words {
            [] => return Ok(()),
            // The message does not repeat a secret.
            [id, secret] => Key {
                id: Bytes::copy_from_slice(id.as_bytes()),
                secret: hexdump::digits(secret)
                    .map_err(|_| "the key is not in pairs of hex digits")?
                    .into(),
            },
            _ => return Err("a line has an ID and a key".into()),
        };
        if auth.send.is_empty() {
            auth.send.push(Signer::HmacSha1(key.clone()));
        }
        auth.accept.push(Verifier::HmacSha1(key));
        Ok(())
    })?;
    if auth.send.is_empty() {
        return Err("no key".into());
    }
    Ok(auth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_signs_and_each_is_accepted() {
        let auth = parse("# of May\nmay 00ff10\n\napril 77 # until June\n").unwrap();

        let key = |id: &'static str, secret: &'static [u8]| Key {
            id: id.into(),
            secret: secret.into(),
        };
        let (may, april) = (key("may", &[0, 0xFF, 0x10]), key("april", &[0x77]));
        assert_eq!(auth.send, [Signer::HmacSha1(may.clone())]);
        let accepted = [Verifier::HmacSha1(may), Verifier::HmacSha1(april)];
        assert_eq!(auth.accept, accepted);
    }

    #[test]
    fn errors_name_the_line_and_never_the_key() {
        assert_eq!(parse("# nothing\n").unwrap_err(), "no key");
        assert_eq!(
            parse("\nmay").unwrap_err(),
            "line 2: a line has an ID and a key"
        );
        let error = parse("may 00f").unwrap_err();
        assert_eq!(error, "line 1: the key is not in pairs of hex digits");
    }
}
