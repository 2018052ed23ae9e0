//! Commands, events, asks and link cues as JSON, with large payloads moved to the blob lane.

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
pub(super) const INLINE: usize = 4096;
/// The longest JSON text, in octets, that stays in its packet. Wireshark refuses packets over 256 KiB.
const LONGEST: usize = 128 << 10;

const BLOB: &str = "$blob";
const CUT: &str = "$cut";

/// What is in the JSON object that a restored machine begins with.
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

/// Writes `note` into `text`, which is cleared first; hands payloads over 4 KiB to `spill` and names them
/// by their digest.
///
/// Equal notes give equal texts in one build, so a replay can compare texts.
pub(super) fn render(
    text: &mut Vec<u8>,
    note: &impl Serialize,
    spill: &mut impl FnMut(Digest, &[u8]),
) -> Result<(), serde_json::Error> {
    text.clear();
    let formatter = Spilling { spill, held: None };
    let mut serializer = serde_json::Serializer::with_formatter(&mut *text, formatter);
    note.serialize(&mut serializer)?;
    if text.len() > LONGEST {
        // Sorted, so that the order of fields does not decide the digest.
        let value: Value = serde_json::from_slice(text)?;
        text.clear();
        serde_json::to_writer(&mut *text, &value)?;
        let digest = digest_of(text);
        spill(digest, text);
        *text = blob_name(digest).to_string().into_bytes();
    }
    Ok(())
}

/// Writes JSON without spaces, in one pass, and large payloads elsewhere.
struct Spilling<'s, S> {
    spill: &'s mut S,
    held: Option<Held>,
}

/// What is known of the string being written, while its opening quotation mark is not yet out.
enum Held {
    Nothing,
    /// It began like a payload that is to be moved, and so far there was nothing else.
    Payload(Vec<u8>),
}

impl<S: FnMut(Digest, &[u8])> Spilling<'_, S> {
    /// Writes what was held back: the string is no large payload.
    fn release<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.held.take() {
            None => Ok(()),
            Some(Held::Nothing) => writer.write_all(b"\""),
            Some(Held::Payload(octets)) => {
                writer.write_all(b"\"")?;
                writer.write_all(hex::encode(&octets).as_bytes())
            }
        }
    }
}

impl<S: FnMut(Digest, &[u8])> Formatter for Spilling<'_, S> {
    fn begin_string<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.held = Some(Held::Nothing);
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if matches!(self.held, Some(Held::Nothing))
            && fragment.len() > hex::PREFIX.len() + 2 * INLINE
            && let Some(octets) = hex::decode(fragment)
        {
            self.held = Some(Held::Payload(octets));
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
        if let Some(Held::Payload(octets)) = &self.held {
            let digest = digest_of(octets);
            (self.spill)(digest, octets);
            self.held = None;
            return write!(writer, "{}", blob_name(digest));
        }
        self.release(writer)?;
        writer.write_all(b"\"")
    }
}

/// Puts the payloads back that [`render`] had moved elsewhere.
///
/// `find` gives a blob by its digest. `Ok(None)` says that nothing was moved, and that the text holds all.
pub(super) fn resolve<'b>(
    text: &[u8],
    find: &mut impl FnMut(&Digest) -> Option<&'b [u8]>,
) -> Result<Option<Value>, Unresolved> {
    if !names_a_blob(text) {
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

/// A text that names a blob which is not there.
#[derive(Debug)]
pub(super) struct Unresolved;

/// Replaces every payload by zeros of equal length, and every name of a blob by its length.
///
/// A digest would tell whoever has a guess at the payload that the guess is right.
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
    for (place, octet) in digest.iter_mut().zip(full) {
        *place = octet;
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

fn blob_name(digest: Digest) -> Value {
    let mut name = Map::new();
    name.insert(BLOB.into(), Value::String(hex::encode(&digest)));
    Value::Object(name)
}

fn digest_in(value: &Value) -> Option<Digest> {
    let fields = value.as_object()?;
    let digest = fields.get(BLOB).filter(|_| fields.len() == 1)?.as_str()?;
    hex::decode(digest)?.try_into().ok()
}

/// Tells whether the text may name a blob; a cheap look before a costly one.
fn names_a_blob(text: &[u8]) -> bool {
    let name = b"\"$blob\"";
    text.windows(name.len()).any(|window| window == name)
}

/// Tells whether two texts say the same, whatever the order of their fields.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one == other
        || serde_json::from_slice::<Value>(one)
            .is_ok_and(|one| serde_json::from_slice(other).is_ok_and(|other: Value| one == other))
}

/// Returns the text over several lines, or as it is where it is not JSON.
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
        let mut spilled = Vec::new();
        let note = Note {
            text,
            payload,
            end: 1,
        };
        render(&mut out, &note, &mut |_, octets| {
            spilled.push(octets.to_vec());
        })
        .unwrap();
        (String::from_utf8(out).unwrap(), spilled)
    }

    #[test]
    fn only_large_payloads_leave_the_text() {
        let (small, large) = (hex::encode(&[7; INLINE]), hex::encode(&[7; INLINE + 1]));
        let text = "x".repeat(3 * INLINE);

        let (kept, nothing) = rendered(&text, &small);
        let (moved, octets) = rendered("a \"b\"\n", &large);

        assert_eq!(
            kept,
            format!("{{\"text\":\"{text}\",\"payload\":\"{small}\",\"end\":1}}")
        );
        assert!(nothing.is_empty());
        assert_eq!(octets, [[7; INLINE + 1]]);
        let name = blob_name(digest_of(&[7; INLINE + 1]));
        assert_eq!(
            moved,
            format!("{{\"text\":\"a \\\"b\\\"\\n\",\"payload\":{name},\"end\":1}}")
        );
    }

    #[test]
    fn what_only_begins_like_a_payload_stays_as_it_is() {
        let almost = [&hex::encode(&[7; INLINE + 1]), "\nand more"].concat();

        let (text, spilled) = rendered("", &almost);

        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.get("payload").and_then(Value::as_str), Some(&*almost));
        assert!(spilled.is_empty());
    }
}
