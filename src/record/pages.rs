//! The parts of a recording: packets, the records that ride on them, notes and blobs.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::mem;
use std::io;

use serde::Serialize;
use serde_json::{Value, json};

use super::Options;
use super::call::{Base, Op, Record};
use super::json::{Digest, render};
use super::pcapng::{self, Direction, NewPacket};
use super::sink::{Once, Rotate, Sink};
use super::synth::JSON_TAGS;
use crate::{Instant, Limits};

/// What stands in the section header.
pub(super) const APPLICATION: &str = concat!("farlink ", env!("CARGO_PKG_VERSION"));
/// The magic of a custom block that holds JSON.
pub(super) const NOTE: [u8; 8] = *b"farlink\n";
/// The magic of a custom block that holds records.
pub(super) const CALLS: [u8; 8] = *b"farcalls";

/// The interfaces that every section begins with.
pub(super) const NETWORK: u32 = 0;
pub(super) const JSON: u32 = 1;
pub(super) const BLOBS: u32 = 2;
pub(super) const FIXED: [(u16, &str); 3] = [
    (LINK_RAW, "network"),
    (LINK_PDU, "commands and events"),
    (LINK_BLOB, "payloads"),
];

/// `LINKTYPE_RAW`: packets begin with an IP header.
pub(super) const LINK_RAW: u16 = 101;
/// `LINKTYPE_WIRESHARK_UPPER_PDU`: packets begin with tags that name a dissector.
pub(super) const LINK_PDU: u16 = 252;
/// `LINKTYPE_USER0`.
pub(super) const LINK_BLOB: u16 = 147;

/// Octets of a blob in one packet. Wireshark refuses packets over 256 KiB.
const BLOB_PACKET: usize = 128 << 10;
/// Octets of records that may wait for a packet to ride on; an option has room for 64 KiB.
const PENDING: usize = 16 << 10;
/// Digests known at a time; beyond it, a blob may be written again.
const DIGESTS: usize = 1 << 12;

/// A packet before it is known which record rides on it.
#[derive(Clone, Copy)]
pub(super) struct Sheet<'a> {
    pub(super) interface: u32,
    pub(super) now: Instant,
    pub(super) direction: Direction,
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Writes parts, one after the other.
pub(super) struct Pages {
    sink: Sink,
    options: Options,
    /// What every part begins with, less its number.
    head: Value,
    calls: u64,
    limits: Option<Limits>,
    /// Records that wait for a packet to ride on.
    pending: Vec<u8>,
    base: Base,
    interfaces: u32,
    blobs: BTreeSet<Digest>,
    text: Vec<u8>,
}

impl Pages {
    /// `head` is an object; the number of the part is added to it.
    pub(super) fn new(rotate: Box<dyn Rotate>, options: Options, head: Value) -> Self {
        let mut pages = Self {
            sink: Sink::new(rotate, options.flush),
            options,
            head,
            calls: 0,
            limits: None,
            pending: Vec::new(),
            base: Base::default(),
            interfaces: 0,
            blobs: BTreeSet::new(),
            text: Vec::new(),
        };
        pages.begin_part();
        pages
    }

    /// Writes nothing, for the reason given.
    pub(super) fn broken(error: io::Error) -> Self {
        let mut pages = Self::new(Box::new(Once(None)), Options::default(), Value::Null);
        pages.fail(error);
        pages
    }

    pub(super) const fn error(&self) -> Option<&io::Error> {
        self.sink.error()
    }

    pub(super) const fn is_writing(&self) -> bool {
        self.sink.is_writing()
    }

    /// Which part is being written; addresses and buses are named anew in each.
    pub(super) const fn part(&self) -> u32 {
        self.sink.part()
    }

    fn begin_part(&mut self) {
        let epoch = self.options.epoch;
        self.sink
            .block(|out, _| pcapng::write_section(out, APPLICATION));
        self.interfaces = 0;
        for (link_type, name) in FIXED {
            self.interface(link_type, name);
        }
        let mut head = self.head.clone();
        if let Some(fields) = head.as_object_mut() {
            fields.insert("part".into(), self.sink.part().into());
            fields.insert("calls".into(), self.calls.into());
            fields.insert("epoch".into(), epoch.into());
        }
        self.note(&json!({ "head": head }));
        self.base = Base::default();
        self.blobs.clear();
        self.limits = None;
    }

    /// Describes one more interface and returns its number.
    pub(super) fn interface(&mut self, link_type: u16, name: &str) -> u32 {
        let epoch = self.options.epoch;
        self.sink
            .block(|out, _| pcapng::write_interface(out, link_type, name, epoch));
        let number = self.interfaces;
        self.interfaces += 1;
        number
    }

    /// Begins a call, in the next part if this one is full; false when nothing is to be recorded.
    pub(super) fn begin_call(&mut self) -> bool {
        let full = self
            .options
            .part_octets
            .is_some_and(|most| self.sink.part_octets() >= most);
        if full && self.sink.is_writing() {
            self.turn();
        }
        if !self.sink.is_writing() {
            return false;
        }
        // Only between calls: a block of records in the middle of a batch would claim its packets.
        if self.pending.len() > PENDING {
            self.flush_pending();
        }
        self.calls += 1;
        true
    }

    fn turn(&mut self) {
        let another = self.sink.prepare();
        self.end_part(if another { "continued" } else { "limit" });
        self.sink.switch();
        if another {
            self.begin_part();
        }
    }

    fn end_part(&mut self, how: &str) {
        self.flush_pending();
        let calls = self.calls;
        self.note(&json!({ "end": how, "calls": calls }));
    }

    /// Writes what is still to be written and the mark that says that nothing is missing.
    pub(super) fn finish(&mut self) {
        if self.sink.is_writing() {
            self.end_part("finished");
            self.sink.end();
        }
    }

    /// Gives up and remembers why.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.flush_pending();
        self.sink.fail(error);
    }

    /// Hands everything so far to the sink.
    pub(super) fn flush(&mut self) {
        self.flush_pending();
        self.sink.flush();
    }

    fn note(&mut self, note: &Value) {
        let text = format!("{note}");
        self.sink
            .block(|out, seal| pcapng::write_custom(out, NOTE, text.as_bytes(), b' ', seal));
    }

    fn flush_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = &self.pending;
        self.sink
            .block(|out, seal| pcapng::write_custom(out, CALLS, pending, 0, seal));
        self.pending.clear();
    }

    /// Notes the limits that polls get from here on.
    pub(super) fn limits(&mut self, limits: Limits) {
        if self.limits != Some(limits) {
            self.limits = Some(limits);
            self.flush_pending();
            self.note(&json!({ "limits": limits }));
        }
    }

    /// Writes a record that needs no packet; it rides on the next one.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        if !self.sink.is_writing() {
            return;
        }
        record.encode(&mut self.base, &mut self.pending);
    }

    /// Writes a packet that a later record, or none, speaks of.
    pub(super) fn packet(&mut self, sheet: Sheet<'_>) {
        self.sink
            .block(|out, _| pcapng::write_packet(out, new_packet(sheet), None));
    }

    /// Writes a packet with the record that it belongs to.
    pub(super) fn packet_with(&mut self, sheet: Sheet<'_>, record: &Record<'_>) {
        self.record(record);
        let pending = &self.pending;
        self.sink.block(|out, seal| {
            pcapng::write_packet(out, new_packet(sheet), Some((pending, seal)));
        });
        self.pending.clear();
    }

    /// Writes a note into the JSON lane, with the record that it belongs to.
    pub(super) fn json(
        &mut self,
        now: Instant,
        direction: Direction,
        note: &impl Serialize,
        op: Op<'_>,
    ) {
        let mut text = mem::take(&mut self.text);
        let rendered = render(&mut text, note, &mut |digest, octets| {
            self.blob(now, direction, digest, octets);
        });
        match rendered {
            Ok(()) => {
                let sheet = Sheet {
                    interface: JSON,
                    now,
                    direction,
                    header: &JSON_TAGS,
                    payload: &text,
                };
                self.packet_with(sheet, &Record::Call(now, op));
            }
            Err(error) => self.fail(error.into()),
        }
        self.text = text;
    }

    fn blob(&mut self, now: Instant, direction: Direction, digest: Digest, octets: &[u8]) {
        if self.blobs.contains(&digest) {
            return;
        }
        if self.blobs.len() >= DIGESTS {
            self.blobs.clear();
        }
        self.blobs.insert(digest);
        let packets = octets.len().div_ceil(BLOB_PACKET);
        for (place, payload) in octets.chunks(BLOB_PACKET).enumerate() {
            let sheet = Sheet {
                interface: BLOBS,
                now,
                direction,
                header: &[],
                payload,
            };
            if place + 1 < packets {
                self.packet(sheet);
            } else {
                let packets = count(packets);
                self.packet_with(sheet, &Record::Blob { digest, packets });
            }
        }
    }
}

fn new_packet(sheet: Sheet<'_>) -> NewPacket<'_> {
    NewPacket {
        interface: sheet.interface,
        time: sheet.now.as_nanos(),
        direction: Some(sheet.direction),
        comment: "",
        header: sheet.header,
        payload: sheet.payload,
        length: None,
    }
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
