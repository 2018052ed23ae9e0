//! Writes the parts of a recording, each a pcapng section: packets with their records, JSON and payloads.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::mem;
use std::io;

use serde::Serialize;
use serde_json::{Value, json};

use super::RecordOptions;
use super::call::{Op, Record, TimeBase};
use super::headers::JSON_TAGS;
use super::json::{Digest, render};
use super::pcapng::{self, NewPacket, PacketDirection};
use super::sink::{Once, Rotate, Sink};
use crate::{Instant, Limits};

/// The application that the section header names.
pub(super) const APPLICATION: &str = concat!("farlink ", env!("CARGO_PKG_VERSION"));
/// The magic of a local block that holds JSON.
pub(super) const NOTE: [u8; 8] = *b"farlink\n";
/// The magic of a local block that holds records.
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

/// The most octets of a large payload in one packet. Wireshark refuses packets over 256 KiB.
const BLOB_PACKET: usize = 128 << 10;
/// The most octets of records that wait for a packet; an option has room for 64 KiB.
const MAX_PENDING: usize = 16 << 10;
/// The most digests that are remembered; beyond it, a payload may be written again.
const MAX_DIGESTS: usize = 1 << 12;

/// A packet to be written, with or without a record.
#[derive(Clone, Copy)]
pub(super) struct PendingPacket<'a> {
    pub(super) interface: u32,
    pub(super) now: Instant,
    pub(super) direction: PacketDirection,
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Writes the parts of a recording.
pub(super) struct SectionWriter {
    sink: Sink,
    options: RecordOptions,
    /// The head of every part, without the fields that differ.
    head: Value,
    calls: u64,
    limits: Option<Limits>,
    /// Records that wait for a packet.
    pending: Vec<u8>,
    base: TimeBase,
    interfaces: u32,
    blobs: BTreeSet<Digest>,
    text: Vec<u8>,
}

impl SectionWriter {
    /// `head` is an object, to which each part adds its number.
    pub(super) fn new(rotate: Box<dyn Rotate>, options: RecordOptions, head: Value) -> Self {
        let mut writer = Self {
            sink: Sink::new(rotate, options.flush),
            options,
            head,
            calls: 0,
            limits: None,
            pending: Vec::new(),
            base: TimeBase::default(),
            interfaces: 0,
            blobs: BTreeSet::new(),
            text: Vec::new(),
        };
        writer.begin_part();
        writer
    }

    /// Returns a writer that failed with `error`.
    pub(super) fn broken(error: io::Error) -> Self {
        let mut writer = Self::new(Box::new(Once(None)), RecordOptions::default(), Value::Null);
        writer.fail(error);
        writer
    }

    pub(super) const fn error(&self) -> Option<&io::Error> {
        self.sink.error()
    }

    pub(super) const fn is_writing(&self) -> bool {
        self.sink.is_writing()
    }

    /// Returns the number of the current part; each part has its own tables.
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
        self.base = TimeBase::default();
        self.blobs.clear();
        self.limits = None;
    }

    /// Writes the description of an interface and returns its number.
    pub(super) fn interface(&mut self, link_type: u16, name: &str) -> u32 {
        let epoch = self.options.epoch;
        self.sink
            .block(|out, _| pcapng::write_interface(out, link_type, name, epoch));
        let number = self.interfaces;
        self.interfaces += 1;
        number
    }

    /// Begins a call, in the next part if this one is full. Returns false when nothing is recorded.
    pub(super) fn begin_call(&mut self) -> bool {
        let full = self
            .options
            .part_octets
            .is_some_and(|most| self.sink.part_octets() >= most);
        if full && self.sink.is_writing() {
            self.next_part();
        }
        if !self.sink.is_writing() {
            return false;
        }
        // Only between calls: a block of records within a batch would take its packets.
        if self.pending.len() > MAX_PENDING {
            self.flush_pending();
        }
        self.calls += 1;
        true
    }

    fn next_part(&mut self) {
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

    /// Writes the waiting records and the end mark.
    pub(super) fn finish(&mut self) {
        if self.sink.is_writing() {
            self.end_part("finished");
            self.sink.end();
        }
    }

    /// Ends the recording with an error.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.flush_pending();
        self.sink.fail(error);
    }

    /// Passes everything so far to the sink.
    pub(super) fn flush(&mut self) {
        self.flush_pending();
        self.sink.flush();
    }

    fn note(&mut self, note: &Value) {
        let text = format!("{note}");
        self.sink.block(|out, checksum| {
            pcapng::write_local(out, NOTE, text.as_bytes(), b' ', checksum);
        });
    }

    fn flush_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = &self.pending;
        self.sink
            .block(|out, checksum| pcapng::write_local(out, CALLS, pending, 0, checksum));
        self.pending.clear();
    }

    /// Writes the limits of the following polls, if they have changed.
    pub(super) fn limits(&mut self, limits: Limits) {
        if self.limits != Some(limits) {
            self.limits = Some(limits);
            self.flush_pending();
            self.note(&json!({ "limits": limits }));
        }
    }

    /// Writes a record without a packet; the next packet carries it.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        if !self.sink.is_writing() {
            return;
        }
        record.encode(&mut self.base, &mut self.pending);
    }

    /// Writes a packet without a record.
    pub(super) fn packet(&mut self, packet: PendingPacket<'_>) {
        self.sink
            .block(|out, _| pcapng::write_packet(out, new_packet(packet), None));
    }

    /// Writes a packet with its record.
    pub(super) fn packet_with(&mut self, packet: PendingPacket<'_>, record: &Record<'_>) {
        self.record(record);
        let pending = &self.pending;
        self.sink.block(|out, checksum| {
            pcapng::write_packet(out, new_packet(packet), Some((pending, checksum)));
        });
        self.pending.clear();
    }

    /// Writes a JSON packet with its record.
    pub(super) fn json(
        &mut self,
        now: Instant,
        direction: PacketDirection,
        note: &impl Serialize,
        op: Op<'_>,
    ) {
        let mut text = mem::take(&mut self.text);
        let rendered = render(&mut text, note, &mut |digest, octets| {
            self.blob(now, direction, digest, octets);
        });
        match rendered {
            Ok(()) => {
                let packet = PendingPacket {
                    interface: JSON,
                    now,
                    direction,
                    header: &JSON_TAGS,
                    payload: &text,
                };
                self.packet_with(packet, &Record::Call(now, op));
            }
            Err(error) => self.fail(error.into()),
        }
        self.text = text;
    }

    fn blob(&mut self, now: Instant, direction: PacketDirection, digest: Digest, octets: &[u8]) {
        if self.blobs.contains(&digest) {
            return;
        }
        if self.blobs.len() >= MAX_DIGESTS {
            self.blobs.clear();
        }
        self.blobs.insert(digest);
        let packets = octets.len().div_ceil(BLOB_PACKET);
        for (number, payload) in octets.chunks(BLOB_PACKET).enumerate() {
            let packet = PendingPacket {
                interface: BLOBS,
                now,
                direction,
                header: &[],
                payload,
            };
            if number + 1 < packets {
                self.packet(packet);
            } else {
                let packets = count(packets);
                self.packet_with(packet, &Record::Blob { digest, packets });
            }
        }
    }
}

fn new_packet(packet: PendingPacket<'_>) -> NewPacket<'_> {
    NewPacket {
        interface: packet.interface,
        time: packet.now.as_nanos(),
        direction: Some(packet.direction),
        comment: "",
        header: packet.header,
        payload: packet.payload,
        length: None,
    }
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
