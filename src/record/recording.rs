//! Reads recordings call by call.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::Value;

use super::call::{Op, Record, TimeBase, decode};
use super::capture::Capture;
use super::entry::{Entry, EntryKind};
use super::head::{Damage, Head, RecordingEnd};
use super::json::{Digest, resolve};
use super::pcapng::{
    Block, Blocks, CUSTOM, INTERFACE, LOCAL, LOCAL_OPTION, Order, PACKET, Packet, SECTION, padding,
    take,
};
use super::section_writer::{BLOBS, CALLS, FIXED, JSON, LINK_PDU, NETWORK, NOTE, count};
use super::sink::Checksum;
use super::{ReadError, headers};
use crate::{Instant, Limits};

/// A recording in memory: one part, or several in their order.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    file: &'a [u8],
    head: Head,
}

impl<'a> Recording<'a> {
    /// Reads the head of a recording.
    ///
    /// # Errors
    ///
    /// [`ReadError`], when the file is no recording that this version can read.
    pub fn open(file: &'a [u8]) -> Result<Self, ReadError> {
        let calls = Calls::new(file).map_err(|error| match error {
            // Recordings are pcapng; a pcap file is a capture too.
            ReadError::NotACapture if Capture::open(file).is_ok() => ReadError::NotARecording,
            other => other,
        })?;
        let head = calls.head.ok_or(ReadError::NotARecording)?;
        Ok(Self { file, head })
    }

    /// Returns the head of the recording.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Returns a reader of the calls.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn calls(&self) -> Result<Calls<'a>, ReadError> {
        Calls::new(self.file)
    }
}

/// The next element of a recording, for a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step<'a> {
    /// An address is added to the table, as JSON.
    Address(&'a [u8]),
    /// The table of addresses is emptied.
    Forget,
    /// The following polls have these limits.
    Limits(Limits),
    Call(Instant, Op<'a>),
}

/// The octets of a packet, without headers or tags.
#[derive(Debug, Clone, Copy)]
struct PendingOctets<'a> {
    interface: u32,
    octets: &'a [u8],
}

/// A reader of the calls of a recording, in one pass and without copies of octets.
#[derive(Clone)]
pub struct Calls<'a> {
    file: &'a [u8],
    blocks: Blocks<'a>,
    head: Option<Head>,
    /// Whether the head of the current section was read.
    has_head: bool,
    interfaces: u32,
    /// The interfaces whose packets begin with tags.
    tagged: BTreeSet<u32>,
    /// The records of the current block that were not read.
    records: &'a [u8],
    base: TimeBase,
    /// The packets before the next record.
    pending: Vec<PendingOctets<'a>>,
    /// Whether a record used the packets, so that the next packet replaces them.
    is_used: bool,
    limits: Option<Limits>,
    is_new_part: bool,
    blobs: BTreeMap<Digest, Cow<'a, [u8]>>,
    blob_octets: usize,
    checksum: Checksum,
    verified_to: usize,
    damage: Option<Damage>,
    /// The number of calls read.
    number: u64,
    end: Option<RecordingEnd>,
    /// The table of addresses, as JSON, for [`next_entry`](Self::next_entry).
    addresses: Vec<&'a [u8]>,
}

impl<'a> Calls<'a> {
    fn new(file: &'a [u8]) -> Result<Self, ReadError> {
        let mut calls = Self {
            file,
            blocks: Blocks::new(file)?,
            head: None,
            has_head: false,
            interfaces: 0,
            tagged: BTreeSet::new(),
            records: &[],
            base: TimeBase::default(),
            pending: Vec::new(),
            is_used: false,
            limits: None,
            is_new_part: false,
            blobs: BTreeMap::new(),
            blob_octets: 0,
            checksum: Checksum::new(0),
            verified_to: 0,
            damage: None,
            number: 0,
            end: None,
            addresses: Vec::new(),
        };
        while calls.head.is_none() {
            if !calls.block()? {
                return Err(ReadError::NotARecording);
            }
        }
        calls.number = calls.head.as_ref().map_or(0, |head| head.calls);
        Ok(calls)
    }

    /// Returns the number of calls read, including those of first parts that are missing.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.number
    }

    /// Returns the first damage found so far.
    #[must_use]
    pub const fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// Returns how the recording ends, as far as it was read.
    #[must_use]
    pub fn end(&self) -> RecordingEnd {
        let at = self.blocks.at();
        self.end.unwrap_or(RecordingEnd::Cut { at })
    }

    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Malformed`], after which nothing can be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        loop {
            match self.step()? {
                Some(Step::Address(name)) => self.addresses.push(name),
                Some(Step::Forget) => self.addresses.clear(),
                Some(Step::Limits(_)) => {}
                Some(Step::Call(time, op)) => {
                    let kind = EntryKind::read(self, op)?;
                    let number = self.number;
                    return Ok(Some(Entry { number, time, kind }));
                }
                None => return Ok(None),
            }
        }
    }

    /// Returns an address of the table as JSON.
    pub(super) fn address(&self, index: u32) -> Result<&'a [u8], ReadError> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.addresses.get(index).copied())
            .ok_or_else(|| self.malformed("an address that is not in the table"))
    }

    /// Returns the next step, or `None` at the end.
    pub(super) fn step(&mut self) -> Result<Option<Step<'a>>, ReadError> {
        loop {
            if self.is_new_part {
                self.is_new_part = false;
                return Ok(Some(Step::Forget));
            }
            if let Some(limits) = self.limits.take() {
                return Ok(Some(Step::Limits(limits)));
            }
            let invalid = self.malformed("a record that no recorder writes");
            match decode(&mut self.records, &mut self.base).map_err(|_| invalid)? {
                Some(Record::Call(time, op)) => {
                    self.is_used = true;
                    self.number += u64::from(is_call(&op));
                    return Ok(Some(Step::Call(time, op)));
                }
                Some(Record::Address(name)) => return Ok(Some(Step::Address(name))),
                Some(Record::Forget) => return Ok(Some(Step::Forget)),
                Some(Record::Blob { digest, packets }) => self.blob(digest, packets)?,
                None if self.block()? => {}
                None => return Ok(None),
            }
        }
    }

    pub(super) const fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed {
            at: self.blocks.at(),
            what,
        }
    }

    /// Reads one block. Returns false at the end of the file.
    fn block(&mut self) -> Result<bool, ReadError> {
        if self.is_used {
            self.is_used = false;
            self.pending.clear();
        }
        let Some(block) = self.blocks.next()? else {
            return Ok(false);
        };
        if block.order != Order::Little {
            return Err(ReadError::NotARecording);
        }
        let malformed = |what| Err(ReadError::Malformed { at: block.at, what });
        if block.kind != SECTION && self.end.is_some() {
            return malformed("a block behind the end mark");
        }
        match block.kind {
            SECTION => self.section(&block)?,
            INTERFACE => self.interface(&block)?,
            PACKET if self.has_head => self.packet(&block)?,
            LOCAL | CUSTOM => self.local(&block)?,
            _ if self.has_head => return malformed("a block that no recorder writes"),
            _ => return Err(ReadError::NotARecording),
        }
        Ok(true)
    }

    fn section(&mut self, block: &Block<'a>) -> Result<(), ReadError> {
        let malformed = |what| Err(ReadError::Malformed { at: block.at, what });
        match (&self.head, self.end) {
            (None, _) | (_, Some(RecordingEnd::Continued)) => {}
            (_, Some(_)) => return malformed("another recording, behind the end of the first"),
            (_, None) => return malformed("a further part, behind one that breaks off"),
        }
        self.has_head = false;
        self.interfaces = 0;
        self.tagged.clear();
        self.base = TimeBase::default();
        self.pending.clear();
        self.checksum = Checksum::new(block.at);
        self.verified_to = block.at;
        self.end = None;
        self.is_new_part = self.head.is_some();
        Ok(())
    }

    fn interface(&mut self, block: &Block<'a>) -> Result<(), ReadError> {
        let mut body = block.body;
        let link_type = block.order.u16(&mut body);
        let fixed = usize::try_from(self.interfaces)
            .ok()
            .and_then(|index| FIXED.get(index));
        if fixed.is_some_and(|&(expected, _)| link_type != Some(expected)) {
            return Err(ReadError::NotARecording);
        }
        if fixed.is_none() && link_type == Some(LINK_PDU) {
            self.tagged.insert(self.interfaces);
        }
        self.interfaces = self.interfaces.saturating_add(1);
        Ok(())
    }

    fn packet(&mut self, block: &Block<'a>) -> Result<(), ReadError> {
        let malformed = |what| ReadError::Malformed { at: block.at, what };
        let packet = Packet::read(block).ok_or(malformed("a packet longer than its block"))?;
        let octets = match packet.interface {
            NETWORK => headers::payload(packet.octets),
            JSON => packet.octets.get(headers::JSON_TAGS.len()..),
            tagged if self.tagged.contains(&tagged) => {
                headers::split_tags(packet.octets).map(|(_, payload)| payload)
            }
            _ => Some(packet.octets),
        };
        let octets = octets.ok_or(malformed("a packet shorter than its headers"))?;
        self.pending.push(PendingOctets {
            interface: packet.interface,
            octets,
        });
        let mut options = packet.options;
        while let Some((code, value)) = options.next() {
            if code != LOCAL_OPTION {
                continue;
            }
            let left = options.rest.len() + padding(value.len());
            let end = block.at + 8 + block.body.len().saturating_sub(left);
            return self
                .read_option(value, end)
                .ok_or(malformed("a packet without its checksum"));
        }
        Ok(())
    }

    fn local(&mut self, block: &Block<'a>) -> Result<(), ReadError> {
        let unknown = if self.has_head {
            ReadError::Malformed {
                at: block.at,
                what: "a local block that no recorder writes",
            }
        } else {
            ReadError::NotARecording
        };
        let mut body = block.body;
        if block.kind == CUSTOM {
            // So that a recording of format 2 is refused with its number.
            take::<4>(&mut body);
        }
        let magic = take::<8>(&mut body);
        let end = block.at + 8 + block.body.len();
        let Some((text, checksum)) = body.split_last_chunk::<4>() else {
            return Err(unknown);
        };
        if !matches!(magic, Some(NOTE | CALLS)) {
            return Err(unknown);
        }
        self.verify_checksum(u32::from_le_bytes(*checksum), end - 4);
        if magic == Some(CALLS) && self.has_head {
            self.records = text;
            return Ok(());
        }
        let note = serde_json::from_slice(text).map_err(|_| ReadError::Malformed {
            at: block.at,
            what: "a note that cannot be read",
        })?;
        self.note(note, block.at)
    }

    fn note(&mut self, mut note: Value, at: usize) -> Result<(), ReadError> {
        if let Some(head) = note.get_mut("head").filter(|_| !self.has_head) {
            return match Head::read(head.take()) {
                // The magic number says that it is a recording.
                Err(ReadError::NotARecording) => Err(ReadError::Malformed {
                    at,
                    what: "a head with fields missing",
                }),
                head => self.head(head?),
            };
        }
        if !self.has_head {
            return Err(ReadError::NotARecording);
        }
        if let Some(limits) = note.get("limits") {
            self.limits = Limits::deserialize(limits).ok();
        }
        self.end = match note.get("end").and_then(Value::as_str) {
            Some("finished") => Some(RecordingEnd::Finished),
            Some("limit") => Some(RecordingEnd::Limit),
            Some("continued") => Some(RecordingEnd::Continued),
            _ => None,
        };
        if self.limits.is_none() && self.end.is_none() {
            let what = "a note that no recorder writes";
            return Err(ReadError::Malformed { at, what });
        }
        Ok(())
    }

    fn head(&mut self, head: Head) -> Result<(), ReadError> {
        self.has_head = true;
        let Some(before) = &mut self.head else {
            self.head = Some(head);
            return Ok(());
        };
        let expected = before.part.saturating_add(1);
        if head.part != expected || head.calls != self.number || !head.is_same_recording(before) {
            return Err(ReadError::Part {
                expected,
                found: head.part,
            });
        }
        before.part = head.part;
        Ok(())
    }

    /// Reads the records of an option that ends with a checksum at `end`.
    fn read_option(&mut self, value: &'a [u8], end: usize) -> Option<()> {
        let (records, checksum) = value.split_last_chunk::<4>()?;
        self.verify_checksum(u32::from_le_bytes(*checksum), end.checked_sub(4)?);
        self.records = records;
        Some(())
    }

    fn verify_checksum(&mut self, checksum: u32, at: usize) {
        let so_far = self.file.get(..at).unwrap_or_default();
        if self.checksum.up_to(so_far) == checksum {
            self.verified_to = at;
        } else if self.damage.is_none() {
            self.damage = Some(Damage {
                from: self.verified_to,
                to: at,
            });
        }
    }

    fn blob(&mut self, digest: Digest, packets: u64) -> Result<(), ReadError> {
        self.is_used = true;
        let malformed = self.malformed("a payload without its packets");
        if count(self.pending.len()) != packets
            || self.pending.iter().any(|packet| packet.interface != BLOBS)
        {
            return Err(malformed);
        }
        let content = match self.pending.as_slice() {
            [one] => Cow::Borrowed(one.octets),
            many => Cow::Owned(
                many.iter()
                    .flat_map(|packet| packet.octets)
                    .copied()
                    .collect(),
            ),
        };
        self.blob_octets += content.len();
        self.blobs.insert(digest, content);
        Ok(())
    }

    /// Returns the packets of the last call, if their number is that of its record.
    pub(super) fn packets(&self, packets: u64) -> Result<Packets<'_, 'a>, ReadError> {
        let on_json_interface =
            |packet: &PendingOctets<'_>| matches!(packet.interface, JSON | BLOBS);
        if count(self.pending.len()) != packets || self.pending.iter().any(on_json_interface) {
            return Err(self.malformed("a call without its packets"));
        }
        Ok(Packets(&self.pending))
    }

    /// Returns the JSON text of the last call.
    pub(super) fn text(&self) -> Result<&'a [u8], ReadError> {
        match self
            .pending
            .iter()
            .rev()
            .find(|packet| packet.interface == JSON)
        {
            Some(packet) => Ok(packet.octets),
            None => Err(self.malformed("a call without its JSON")),
        }
    }

    /// Returns the JSON of the last call with its large payloads; `None` if it has none.
    pub(super) fn value(&self, text: &[u8]) -> Result<Option<Value>, ReadError> {
        // A small file could refer to one large payload any number of times.
        let mut budget = self.blob_octets.saturating_mul(8);
        resolve(text, &mut |digest| {
            let content = self.blobs.get(digest)?;
            budget = budget.checked_sub(content.len())?;
            Some(content)
        })
        .map_err(|_| self.malformed("a payload that is not in the recording"))
    }
}

/// The packets of one call.
#[derive(Clone, Copy)]
pub(super) struct Packets<'c, 'a>(&'c [PendingOctets<'a>]);

impl<'c, 'a> Packets<'c, 'a> {
    pub(super) fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + 'c {
        self.0.iter().map(|packet| packet.octets)
    }

    /// Returns all octets back to back.
    pub(super) fn joined(self) -> Cow<'a, [u8]> {
        match self.0 {
            [one] => Cow::Borrowed(one.octets),
            _ => Cow::Owned(self.iter().flatten().copied().collect()),
        }
    }

    /// Returns all octets back to back, in `scratch` if they are in several packets.
    pub(super) fn join<'s>(self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if let [one] = self.0 {
            return one.octets;
        }
        scratch.clear();
        for octets in self.iter() {
            scratch.extend_from_slice(octets);
        }
        scratch
    }
}

/// Tells whether an operation is a call of its own; an answer belongs to the command before it.
const fn is_call(op: &Op<'_>) -> bool {
    !matches!(op, Op::Accepted | Op::Refused(_))
}
