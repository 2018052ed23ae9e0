//! Reads recordings call by call.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::Value;

use super::call::{Base, Op, Record, decode};
use super::capture::Capture;
use super::entry::{Act, Entry};
use super::head::{Damage, End, Head};
use super::json::{Digest, resolve};
use super::pages::{BLOBS, CALLS, FIXED, JSON, LINK_PDU, NETWORK, NOTE, count};
use super::pcapng::{
    Block, Blocks, CUSTOM, CUSTOM_OPTION, ENTERPRISE, INTERFACE, Order, PACKET, Packet, SECTION,
    padding, take,
};
use super::sink::Seal;
use super::{ReadError, synth};
use crate::{Instant, Limits};

/// A recording in memory. Parts follow each other as they were written.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    file: &'a [u8],
    head: Head,
}

impl<'a> Recording<'a> {
    /// Reads what a recording says about itself.
    ///
    /// # Errors
    ///
    /// [`ReadError`], when the file is no recording that this version can read.
    pub fn open(file: &'a [u8]) -> Result<Self, ReadError> {
        let calls = Calls::new(file).map_err(|error| match error {
            // Recordings are pcapng, but pcap is a capture too.
            ReadError::NotACapture if Capture::open(file).is_ok() => ReadError::NotARecording,
            other => other,
        })?;
        let head = calls.head.ok_or(ReadError::NotARecording)?;
        Ok(Self { file, head })
    }

    /// Returns what the recording says about itself.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Walks over the calls.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn calls(&self) -> Result<Calls<'a>, ReadError> {
        Calls::new(self.file)
    }
}

/// The next thing in a recording, for the replayer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step<'a> {
    /// The next address of the table, as JSON.
    Address(&'a [u8]),
    /// The table of addresses is empty again.
    Forget,
    /// From here on, polls got a transmit of these limits.
    Limits(Limits),
    Call(Instant, Op<'a>),
}

/// One packet, without what was put around it.
#[derive(Debug, Clone, Copy)]
struct Slip<'a> {
    interface: u32,
    octets: &'a [u8],
}

/// Walks over the calls of a recording, in one pass and without a copy of what was sent.
#[derive(Clone)]
pub struct Calls<'a> {
    file: &'a [u8],
    blocks: Blocks<'a>,
    head: Option<Head>,
    /// Whether the section being read has shown its head.
    headed: bool,
    interfaces: u32,
    /// Those whose packets say themselves what they are.
    tagged: BTreeSet<u32>,
    /// What is left of the records of the current block.
    records: &'a [u8],
    base: Base,
    /// The packets that the next record may speak of.
    slips: Vec<Slip<'a>>,
    /// Whether records have come since, so that the next packet begins a new run.
    used: bool,
    limits: Option<Limits>,
    new_part: bool,
    blobs: BTreeMap<Digest, Cow<'a, [u8]>>,
    blob_octets: usize,
    seal: Seal,
    sound: usize,
    damage: Option<Damage>,
    /// How many calls were read.
    number: u64,
    end: Option<End>,
    /// The table of addresses, as JSON, for [`next_entry`](Self::next_entry).
    names: Vec<&'a [u8]>,
}

impl<'a> Calls<'a> {
    fn new(file: &'a [u8]) -> Result<Self, ReadError> {
        let mut calls = Self {
            file,
            blocks: Blocks::new(file)?,
            head: None,
            headed: false,
            interfaces: 0,
            tagged: BTreeSet::new(),
            records: &[],
            base: Base::default(),
            slips: Vec::new(),
            used: false,
            limits: None,
            new_part: false,
            blobs: BTreeMap::new(),
            blob_octets: 0,
            seal: Seal::new(0),
            sound: 0,
            damage: None,
            number: 0,
            end: None,
            names: Vec::new(),
        };
        while calls.head.is_none() {
            if !calls.block()? {
                return Err(ReadError::NotARecording);
            }
        }
        calls.number = calls.head.as_ref().map_or(0, |head| head.calls);
        Ok(calls)
    }

    /// Returns how many calls were read, those of missing first parts included.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.number
    }

    /// Returns the first damage that was seen so far.
    #[must_use]
    pub const fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// Returns how the recording ends, as far as it was read.
    #[must_use]
    pub fn end(&self) -> End {
        let at = self.blocks.at();
        self.end.unwrap_or(End::Cut { at })
    }

    /// Gives the next call or answer, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Malformed`], where nothing can be read any more.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        loop {
            match self.step()? {
                Some(Step::Address(name)) => self.names.push(name),
                Some(Step::Forget) => self.names.clear(),
                Some(Step::Limits(_)) => {}
                Some(Step::Call(time, op)) => {
                    let act = Act::read(self, op)?;
                    let number = self.number;
                    return Ok(Some(Entry { number, time, act }));
                }
                None => return Ok(None),
            }
        }
    }

    /// Returns an address of the table as JSON.
    pub(super) fn name(&self, index: u32) -> Result<&'a [u8], ReadError> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.names.get(index).copied())
            .ok_or_else(|| self.malformed("an address that was not named"))
    }

    /// Gives the next step, or `None` at the end.
    pub(super) fn step(&mut self) -> Result<Option<Step<'a>>, ReadError> {
        loop {
            if self.new_part {
                self.new_part = false;
                return Ok(Some(Step::Forget));
            }
            if let Some(limits) = self.limits.take() {
                return Ok(Some(Step::Limits(limits)));
            }
            let garbled = self.malformed("a record that no recorder writes");
            match decode(&mut self.records, &mut self.base).map_err(|_| garbled)? {
                Some(Record::Call(time, op)) => {
                    self.used = true;
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

    /// Reads one block: false at the end of the file.
    fn block(&mut self) -> Result<bool, ReadError> {
        if self.used {
            self.used = false;
            self.slips.clear();
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
            PACKET if self.headed => self.packet(&block)?,
            CUSTOM => self.custom(&block)?,
            _ if self.headed => return malformed("a block that no recorder writes"),
            _ => return Err(ReadError::NotARecording),
        }
        Ok(true)
    }

    fn section(&mut self, block: &Block<'a>) -> Result<(), ReadError> {
        let malformed = |what| Err(ReadError::Malformed { at: block.at, what });
        match (&self.head, self.end) {
            (None, _) | (_, Some(End::Continued)) => {}
            (_, Some(_)) => return malformed("another recording, behind the end of the first"),
            (_, None) => return malformed("a further part, behind one that breaks off"),
        }
        self.headed = false;
        self.interfaces = 0;
        self.tagged.clear();
        self.base = Base::default();
        self.slips.clear();
        self.seal = Seal::new(block.at);
        self.sound = block.at;
        self.end = None;
        self.new_part = self.head.is_some();
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
            NETWORK => synth::payload(packet.octets),
            JSON => packet.octets.get(synth::JSON_TAGS.len()..),
            tagged if self.tagged.contains(&tagged) => {
                synth::split_tags(packet.octets).map(|(_, payload)| payload)
            }
            _ => Some(packet.octets),
        };
        let octets = octets.ok_or(malformed("a packet shorter than its headers"))?;
        self.slips.push(Slip {
            interface: packet.interface,
            octets,
        });
        let mut options = packet.options;
        while let Some((code, value)) = options.next() {
            if code != CUSTOM_OPTION {
                continue;
            }
            let left = options.rest.len() + padding(value.len());
            let end = block.at + 8 + block.body.len().saturating_sub(left);
            return self
                .sealed(value, end)
                .ok_or(malformed("a packet without its seal"));
        }
        Ok(())
    }

    fn custom(&mut self, block: &Block<'a>) -> Result<(), ReadError> {
        let unknown = if self.headed {
            ReadError::Malformed {
                at: block.at,
                what: "a custom block that no recorder writes",
            }
        } else {
            ReadError::NotARecording
        };
        let mut body = block.body;
        let enterprise = block.order.u32(&mut body);
        let magic = take::<8>(&mut body);
        let end = block.at + 8 + block.body.len();
        let Some((text, seal)) = body.split_last_chunk::<4>() else {
            return Err(unknown);
        };
        if enterprise != Some(ENTERPRISE) || !matches!(magic, Some(NOTE | CALLS)) {
            return Err(unknown);
        }
        self.check_seal(u32::from_le_bytes(*seal), end - 4);
        if magic == Some(CALLS) && self.headed {
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
        if let Some(head) = note.get_mut("head").filter(|_| !self.headed) {
            return match Head::read(head.take()) {
                // A recording it is, as the magic says.
                Err(ReadError::NotARecording) => Err(ReadError::Malformed {
                    at,
                    what: "a head without what belongs into it",
                }),
                head => self.head(head?),
            };
        }
        if !self.headed {
            return Err(ReadError::NotARecording);
        }
        if let Some(limits) = note.get("limits") {
            self.limits = Limits::deserialize(limits).ok();
        }
        self.end = match note.get("end").and_then(Value::as_str) {
            Some("finished") => Some(End::Finished),
            Some("limit") => Some(End::Limit),
            Some("continued") => Some(End::Continued),
            _ => None,
        };
        if self.limits.is_none() && self.end.is_none() {
            let what = "a note that no recorder writes";
            return Err(ReadError::Malformed { at, what });
        }
        Ok(())
    }

    fn head(&mut self, head: Head) -> Result<(), ReadError> {
        self.headed = true;
        let Some(before) = &mut self.head else {
            self.head = Some(head);
            return Ok(());
        };
        let expected = before.part.saturating_add(1);
        if head.part != expected || head.calls != self.number || !head.is_of_one_with(before) {
            return Err(ReadError::Part {
                expected,
                found: head.part,
            });
        }
        before.part = head.part;
        Ok(())
    }

    /// Takes the records out of an option that ends in a seal at `end`.
    fn sealed(&mut self, value: &'a [u8], end: usize) -> Option<()> {
        let mut rest = value;
        let enterprise = Order::Little.u32(&mut rest)?;
        let (records, seal) = rest.split_last_chunk::<4>()?;
        if enterprise != ENTERPRISE {
            return None;
        }
        self.check_seal(u32::from_le_bytes(*seal), end.checked_sub(4)?);
        self.records = records;
        Some(())
    }

    fn check_seal(&mut self, seal: u32, at: usize) {
        let so_far = self.file.get(..at).unwrap_or_default();
        if self.seal.up_to(so_far) == seal {
            self.sound = at;
        } else if self.damage.is_none() {
            self.damage = Some(Damage {
                from: self.sound,
                to: at,
            });
        }
    }

    fn blob(&mut self, digest: Digest, packets: u64) -> Result<(), ReadError> {
        self.used = true;
        let malformed = self.malformed("a payload without its packets");
        if count(self.slips.len()) != packets
            || self.slips.iter().any(|slip| slip.interface != BLOBS)
        {
            return Err(malformed);
        }
        let content = match self.slips.as_slice() {
            [one] => Cow::Borrowed(one.octets),
            many => Cow::Owned(many.iter().flat_map(|slip| slip.octets).copied().collect()),
        };
        self.blob_octets += content.len();
        self.blobs.insert(digest, content);
        Ok(())
    }

    /// Returns the packets of the call just read, if there are as many as it says.
    pub(super) fn packets(&self, packets: u64) -> Result<Packets<'_, 'a>, ReadError> {
        let on_json_lane = |slip: &Slip<'_>| matches!(slip.interface, JSON | BLOBS);
        if count(self.slips.len()) != packets || self.slips.iter().any(on_json_lane) {
            return Err(self.malformed("a call without its packets"));
        }
        Ok(Packets(&self.slips))
    }

    /// Returns the JSON text of the call just read.
    pub(super) fn text(&self) -> Result<&'a [u8], ReadError> {
        match self.slips.iter().rev().find(|slip| slip.interface == JSON) {
            Some(slip) => Ok(slip.octets),
            None => Err(self.malformed("a call without its JSON")),
        }
    }

    /// Returns the JSON text of the call just read, with the payloads put back; `None` if none was moved.
    pub(super) fn value(&self, text: &[u8]) -> Result<Option<Value>, ReadError> {
        // A small file could name one large payload any number of times.
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
pub(super) struct Packets<'c, 'a>(&'c [Slip<'a>]);

impl<'c, 'a> Packets<'c, 'a> {
    pub(super) fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + 'c {
        self.0.iter().map(|slip| slip.octets)
    }

    /// Returns all octets back to back.
    pub(super) fn joined(self) -> Cow<'a, [u8]> {
        match self.0 {
            [one] => Cow::Borrowed(one.octets),
            _ => Cow::Owned(self.iter().flatten().copied().collect()),
        }
    }

    /// Returns all octets back to back, in `scratch` if they are not so already.
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

/// An answer belongs to the command before it; everything else is a call.
const fn is_call(op: &Op<'_>) -> bool {
    !matches!(op, Op::Accepted | Op::Refused(_))
}
