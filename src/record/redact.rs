//! Removes seed and payloads from a recording.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde_json::Value;

use super::call::{Record, TimeBase, decode};
use super::json::{DIGEST, Digest, blank};
use super::pcapng::{
    Block, Blocks, ChecksumFn, FLAGS, INTERFACE, LOCAL, LOCAL_OPTION, NewPacket, Order, PACKET,
    Packet, PacketDirection, SECTION, take, write_local, write_packet,
};
use super::section_writer::{BLOBS, CALLS, JSON, LINK_PDU, NETWORK, NOTE};
use super::sink::Checksum;
use super::{ReadError, Recording, headers};

/// Returns the recording without its seed and its payloads, for viewing alone.
///
/// Octets in commands, events, snapshots and the configuration are replaced by zeros of equal length, or by
/// their length if they were over 4 KiB. Packets are truncated after their headers or tags; packets of buses
/// have no octets left. Times, addresses, lengths, texts and reasons are kept. A replay refuses the result.
///
/// # Errors
///
/// [`ReadError`], when the file is no recording, or is malformed. A truncated recording is redacted up to its
/// end.
pub fn redact(file: &[u8]) -> Result<Vec<u8>, ReadError> {
    Recording::open(file)?;
    let mut redaction = Redaction {
        file,
        out: Vec::new(),
        checksum: Checksum::new(0),
        old: TimeBase::default(),
        new: TimeBase::default(),
        interfaces: 0,
        tagged: BTreeSet::new(),
        lengths: BTreeMap::new(),
        blob: 0,
    };
    let mut blocks = Blocks::new(file)?;
    while let Some(block) = blocks.next()? {
        redaction.block(&block).ok_or(ReadError::Malformed {
            at: block.at,
            what: "a block that no recorder writes",
        })?;
    }
    Ok(redaction.out)
}

struct Redaction<'a> {
    file: &'a [u8],
    out: Vec<u8>,
    checksum: Checksum,
    /// The time of the last record read, and of the last record written.
    old: TimeBase,
    new: TimeBase,
    interfaces: u32,
    /// The interfaces whose packets begin with tags.
    tagged: BTreeSet<u32>,
    /// The length of the payload of each digest.
    lengths: BTreeMap<Digest, usize>,
    /// Octets of the current payload so far.
    blob: usize,
}

impl<'a> Redaction<'a> {
    fn block(&mut self, block: &Block<'a>) -> Option<()> {
        match block.kind {
            SECTION => {
                self.checksum = Checksum::new(self.out.len());
                self.old = TimeBase::default();
                self.new = TimeBase::default();
                self.interfaces = 0;
                self.tagged.clear();
                self.copy(block)
            }
            INTERFACE => self.interface(block),
            LOCAL => self.local(block),
            PACKET => self.packet(block),
            _ => None,
        }
    }

    fn interface(&mut self, block: &Block<'a>) -> Option<()> {
        if self.interfaces > BLOBS && Order::Little.u16(&mut { block.body }) == Some(LINK_PDU) {
            self.tagged.insert(self.interfaces);
        }
        self.interfaces = self.interfaces.saturating_add(1);
        self.copy(block)
    }

    fn copy(&mut self, block: &Block<'a>) -> Option<()> {
        let whole = self.file.get(block.at..block.at + 12 + block.body.len())?;
        self.out.extend_from_slice(whole);
        Some(())
    }

    fn local(&mut self, block: &Block<'a>) -> Option<()> {
        let mut body = block.body;
        let magic = take::<8>(&mut body)?;
        let (body, _) = body.split_last_chunk::<4>()?;
        match magic {
            CALLS => {
                let records = self.records(body)?;
                self.write_local(CALLS, &records, 0);
            }
            NOTE => {
                let mut note: Value = serde_json::from_slice(body).ok()?;
                if let Some(head) = note.get_mut("head").and_then(Value::as_object_mut) {
                    head.remove("seed");
                    head.insert("redacted".into(), true.into());
                    blank(head.get_mut("config")?, &mut |_| None);
                }
                let text = serde_json::to_vec(&note).ok()?;
                self.write_local(NOTE, &text, b' ');
            }
            _ => return None,
        }
        Some(())
    }

    fn write_local(&mut self, magic: [u8; 8], body: &[u8], filler: u8) {
        let checksum = &mut self.checksum;
        write_local(&mut self.out, magic, body, filler, |so_far| {
            checksum.up_to(so_far)
        });
    }

    fn packet(&mut self, block: &Block<'a>) -> Option<()> {
        let packet = Packet::read(block)?;
        let mut flags = None;
        let mut records = None;
        for (code, mut value) in packet.options.clone() {
            match code {
                FLAGS => flags = Order::Little.u32(&mut value),
                LOCAL_OPTION => records = Some(value.split_last_chunk::<4>()?.0),
                _ => {}
            }
        }
        if packet.interface == BLOBS {
            self.blob += packet.octets.len();
        }
        let records = match records {
            Some(records) => Some(self.records(records)?),
            None => None,
        };
        let header = match packet.interface {
            NETWORK => headers::headers(packet.octets)?,
            JSON => self.json(packet.octets)?,
            tagged if self.tagged.contains(&tagged) => {
                headers::split_tags(packet.octets)?.0.to_vec()
            }
            _ => Vec::new(),
        };
        let length = (packet.interface != JSON).then_some(packet.length);
        let packet = NewPacket {
            interface: packet.interface,
            time: packet.time,
            direction: Some(PacketDirection::from_flags(flags?)?),
            comment: "",
            header: &header,
            payload: &[],
            length,
        };
        let mut checksum = |so_far: &[u8]| self.checksum.up_to(so_far);
        let custom = records
            .as_deref()
            .map(|records| (records, &mut checksum as ChecksumFn<'_>));
        write_packet(&mut self.out, packet, custom);
        Some(())
    }

    fn json(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (tags, text) = packet.split_at_checked(headers::JSON_TAGS.len())?;
        let mut value: Value = serde_json::from_slice(text).ok()?;
        blank(&mut value, &mut |digest| self.lengths.get(digest).copied());
        let mut packet = tags.to_vec();
        serde_json::to_writer(&mut packet, &value).ok()?;
        Some(packet)
    }

    /// Rewrites the records without digests.
    fn records(&mut self, mut records: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(records.len());
        while let Some(record) = decode(&mut records, &mut self.old).ok()? {
            match record {
                Record::Blob { digest, packets } => {
                    self.lengths.insert(digest, self.blob);
                    self.blob = 0;
                    let digest = [0; DIGEST];
                    Record::Blob { digest, packets }.encode(&mut self.new, &mut out);
                }
                other => other.encode(&mut self.new, &mut out),
            }
        }
        Some(out)
    }
}
