//! Commands, events, asks, link cues and snapshots as JSON, with large payloads on an interface of their own.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Link, hex};

/// Octets of a digest: 128 bits of SHA-256.
pub(super) const DIGEST: usize = 16;
pub(super) type Digest = [u8; DIGEST];

/// The longest payload, in octets, that stays in its JSON text.
pub(super) const MAX_INLINE: usize = 4096;
/// The longest JSON text, in octets, that stays in its packet. Wireshark refuses packets over 256 KiB.
const MAX_TEXT: usize = 128 << 10;

const BLOB: &str = "$blob";
const CUT: &str = "$cut";

/// The JSON object of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotNote<S> {
    pub(super) snapshot: S,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CommandNote<C> {
    pub(super) command: C,
}

#[derive(Debug, Serialize)]
pub(super) struct EventNote<E> {
    pub(super) event: E,
}

#[derive(Debug, Serialize)]
pub(super) struct AskNote<A> {
    pub(super) ask: A,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LinkNote<A> {
    pub(super) link: Link,
    pub(super) at: A,
}

/// Writes `note` into `text`, which is cleared first; passes payloads over 4 KiB to `move_out` and writes their
/// digests in their place.
///
/// Equal notes give equal texts in one build, so that a replay can compare texts.
pub(super) fn render(
    text: &mut Vec<u8>,
    note: &impl Serialize,
    move_out: &mut impl FnMut(Digest, &[u8]),
) -> Result<(), serde_json::Error> {
    text.clear();
    let formatter = PayloadMover {
        move_out,
        string: None,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut *text, formatter);
    note.serialize(&mut serializer)?;
    if text.len() > MAX_TEXT {
        // Sorted, so that the order of fields does not decide the digest.
        let value: Value = serde_json::from_slice(text)?;
        text.clear();
        serde_json::to_writer(&mut *text, &value)?;
        let digest = digest_of(text);
        move_out(digest, text);
        *text = digest_object(digest).to_string().into_bytes();
    }
    Ok(())
}

/// Writes JSON without spaces in one pass, and passes on large payloads.
struct PayloadMover<'s, S> {
    move_out: &'s mut S,
    string: Option<HeldString>,
}

/// A string of which nothing was written yet.
enum HeldString {
    Empty,
    /// So far it is a large payload.
    Payload(Vec<u8>),
}

impl<S: FnMut(Digest, &[u8])> PayloadMover<'_, S> {
    /// Writes the string so far, which is no large payload.
    fn release<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.string.take() {
            None => Ok(()),
            Some(HeldString::Empty) => writer.write_all(b"\""),
            Some(HeldString::Payload(octets)) => {
                writer.write_all(b"\"")?;
                writer.write_all(hex::encode(&octets).as_bytes())
            }
        }
    }
}

impl<S: FnMut(Digest, &[u8])> Formatter for PayloadMover<'_, S> {
    fn begin_string<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.string = Some(HeldString::Empty);
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if matches!(self.string, Some(HeldString::Empty))
            && fragment.len() > hex::PREFIX.len() + 2 * MAX_INLINE
            && let Some(octets) = hex::decode(fragment)
        {
            self.string = Some(HeldString::Payload(octets));
            return Ok(());
        }
        self.release(writer)?;
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.release(writer)?;
        CompactFormatter.write_char_escape(writer, escape)
    }

    fn end_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if let Some(HeldString::Payload(octets)) = &self.string {
            let digest = digest_of(octets);
            (self.move_out)(digest, octets);
            self.string = None;
            return write!(writer, "{}", digest_object(digest));
        }
        self.release(writer)?;
        writer.write_all(b"\"")
    }
}

/// Puts back the payloads that [`render`] passed on.
///
/// `find` returns a payload by its digest. `Ok(None)` means that the text is complete.
pub(super) fn resolve<'b>(
    text: &[u8],
    find: &mut impl FnMut(&Digest) -> Option<&'b [u8]>,
) -> Result<Option<Value>, Unresolved> {
    if !may_have_digest(text) {
        return Ok(None);
    }
    let value = serde_json::from_slice(text).map_err(|_| Unresolved)?;
    if let Some(digest) = digest_in(&value) {
        let whole = find(&digest).ok_or(Unresolved)?;
        let mut value = serde_json::from_slice(whole).map_err(|_| Unresolved)?;
        restore_strings(&mut value, find)?;
        return Ok(Some(value));
    }
    let mut value = value;
    restore_strings(&mut value, find)?;
    Ok(Some(value))
}

/// A text with the digest of an unknown payload.
#[derive(Debug)]
pub(super) struct Unresolved;

/// Replaces every payload by zeros of equal length, and every digest by the length of its payload.
///
/// A digest would confirm a guess at the payload.
pub(super) fn blank(value: &mut Value, length_of: &mut impl FnMut(&Digest) -> Option<usize>) {
    if let Some(digest) = digest_in(value) {
        let mut cut = Map::new();
        cut.insert(CUT.into(), length_of(&digest).into());
        *value = Value::Object(cut);
        return;
    }
    match value {
        Value::String(text) if hex::decode(text).is_some() => {
            let digits = text.len() - hex::PREFIX.len();
            text.truncate(hex::PREFIX.len());
            text.extend(core::iter::repeat_n('0', digits));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, length_of)),
        Value::Object(fields) => fields.values_mut().for_each(|item| blank(item, length_of)),
        _ => {}
    }
}

pub(super) fn digest_of(octets: &[u8]) -> Digest {
    let full = Sha256::digest(octets);
    let mut digest = [0; DIGEST];
    for (to, octet) in digest.iter_mut().zip(full) {
        *to = octet;
    }
    digest
}

fn restore_strings<'b>(
    value: &mut Value,
    find: &mut impl FnMut(&Digest) -> Option<&'b [u8]>,
) -> Result<(), Unresolved> {
    if let Some(digest) = digest_in(value) {
        *value = Value::String(hex::encode(find(&digest).ok_or(Unresolved)?));
        return Ok(());
    }
    match value {
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| restore_strings(item, find)),
        Value::Object(fields) => fields
            .values_mut()
            .try_for_each(|item| restore_strings(item, find)),
        _ => Ok(()),
    }
}

fn digest_object(digest: Digest) -> Value {
    let mut name = Map::new();
    name.insert(BLOB.into(), Value::String(hex::encode(&digest)));
    Value::Object(name)
}

fn digest_in(value: &Value) -> Option<Digest> {
    let fields = value.as_object()?;
    let digest = fields.get(BLOB).filter(|_| fields.len() == 1)?.as_str()?;
    hex::decode(digest)?.try_into().ok()
}

/// Tells whether the text may contain a digest, without parsing it.
fn may_have_digest(text: &[u8]) -> bool {
    let name = b"\"$blob\"";
    text.windows(name.len()).any(|window| window == name)
}

/// Tells whether two texts are equal JSON, whatever the order of their fields.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one == other
        || serde_json::from_slice::<Value>(one)
            .is_ok_and(|one| serde_json::from_slice(other).is_ok_and(|other: Value| one == other))
}

/// Returns the text in several lines, or unchanged if it is not JSON.
pub(super) fn pretty(text: &[u8]) -> String {
    serde_json::from_slice::<Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[derive(Serialize)]
    struct Note<'a> {
        text: &'a str,
        payload: &'a str,
        end: u8,
    }

    fn rendered(text: &str, payload: &str) -> (String, Vec<Vec<u8>>) {
        let mut out = Vec::new();
        let mut moved = Vec::new();
        let note = Note {
            text,
            payload,
            end: 1,
        };
        render(&mut out, &note, &mut |_, octets| {
            moved.push(octets.to_vec());
        })
        .unwrap();
        (String::from_utf8(out).unwrap(), moved)
    }

    #[test]
    fn only_large_payloads_are_moved_out_of_the_text() {
        let (small, large) = (
            hex::encode(&[7; MAX_INLINE]),
            hex::encode(&[7; MAX_INLINE + 1]),
        );
        let text = "x".repeat(3 * MAX_INLINE);

        let (kept, nothing) = rendered(&text, &small);
        let (moved, octets) = rendered("a \"b\"\n", &large);

        assert_eq!(
            kept,
            format!("{{\"text\":\"{text}\",\"payload\":\"{small}\",\"end\":1}}")
        );
        assert!(nothing.is_empty());
        assert_eq!(octets, [[7; MAX_INLINE + 1]]);
        let name = digest_object(digest_of(&[7; MAX_INLINE + 1]));
        assert_eq!(
            moved,
            format!("{{\"text\":\"a \\\"b\\\"\\n\",\"payload\":{name},\"end\":1}}")
        );
    }

    #[test]
    fn a_string_that_only_begins_like_a_payload_is_not_moved() {
        let almost = [&hex::encode(&[7; MAX_INLINE + 1]), "\nand more"].concat();

        let (text, moved) = rendered("", &almost);

        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.get("payload").and_then(Value::as_str), Some(&*almost));
        assert!(moved.is_empty());
    }
}
