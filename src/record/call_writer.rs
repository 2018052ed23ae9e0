//! Writes the calls of a machine.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};
use core::fmt::Display;

use serde::Serialize;

use super::address_table::{AddressTable, InterfaceOf, Payload};
use super::call::{Op, Record};
use super::interface::RecordAddr;
use super::json::{AskNote, CommandNote, EventNote, LinkNote, SnapshotNote};
use super::pcapng::PacketDirection;
use super::section_writer::SectionWriter;
use crate::{Ask, Instant, Link, Output, Transmit};

/// The longest reason for refusing a command, in octets.
const MAX_REASON: usize = 4096;
/// The most detached streams that are remembered.
const MAX_DETACHED: usize = 1 << 14;

/// All of a [`Recorder`](super::Recorder) but its machine.
pub(super) struct CallWriter<A> {
    section: SectionWriter,
    addresses: AddressTable<A>,
    /// The time of the poll that has not returned.
    polling: Option<Instant>,
    /// Whether the command that has not returned is recorded.
    is_command_recorded: bool,
    /// Streams that belong to the application.
    detached: BTreeSet<A>,
}

impl<A: RecordAddr> CallWriter<A> {
    pub(super) fn new(section: SectionWriter, interface_of: InterfaceOf<A>, port: u16) -> Self {
        Self {
            section,
            addresses: AddressTable::new(interface_of, port),
            polling: None,
            is_command_recorded: false,
            detached: BTreeSet::new(),
        }
    }

    pub(super) fn set_interfaces(&mut self, interface_of: InterfaceOf<A>) {
        self.addresses.set_interfaces(interface_of);
    }

    pub(super) const fn section(&self) -> &SectionWriter {
        &self.section
    }

    pub(super) const fn section_mut(&mut self) -> &mut SectionWriter {
        &mut self.section
    }

    /// Writes the end mark, and before it the poll that a panic interrupted.
    pub(super) fn finish(&mut self) {
        if let Some(now) = self.polling.take() {
            self.record(now, Op::NoReturn);
        }
        self.section.finish();
    }

    fn record(&mut self, now: Instant, op: Op<'_>) {
        self.section.record(&Record::Call(now, op));
    }

    /// Writes the snapshot from which the machine was restored, before its first call.
    pub(super) fn restore(&mut self, now: Instant, snapshot: &impl Serialize) {
        if self.section.begin_call() {
            let note = SnapshotNote { snapshot };
            self.section
                .json(now, PacketDirection::In, &note, Op::Restore);
        }
    }

    pub(super) fn receive(&mut self, now: Instant, from: A, octets: &[u8]) {
        if self.detached.contains(&from) || !self.section.begin_call() {
            return;
        }
        let payload = Payload::Chunk(octets);
        self.addresses.write_octets(
            &mut self.section,
            now,
            from,
            PacketDirection::In,
            &payload,
            |from, packets| Op::Receive { from, packets },
        );
    }

    pub(super) fn link(&mut self, now: Instant, at: A, link: Link) {
        if matches!(link, Link::Up | Link::Opened(_)) {
            self.detached.remove(&at);
        }
        if !self.section.begin_call() {
            return;
        }
        self.addresses
            .write_link_segments(&mut self.section, now, at, link);
        let note = LinkNote { link, at };
        self.section.json(now, PacketDirection::In, &note, Op::Link);
    }

    /// Is called before the machine takes the command, so that a command that makes it panic is recorded.
    pub(super) fn command(&mut self, now: Instant, command: &impl Serialize) {
        self.is_command_recorded = self.section.begin_call();
        if self.is_command_recorded {
            let note = CommandNote { command };
            self.section
                .json(now, PacketDirection::In, &note, Op::Command);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, answer: Result<(), &impl Display>) {
        if !self.is_command_recorded {
            return;
        }
        match answer {
            Ok(()) => self.record(now, Op::Accepted),
            Err(error) => self.record(now, Op::Refused(reason(error).as_bytes())),
        }
    }

    pub(super) fn begin_poll(&mut self, now: Instant, tx: &Transmit<A>) {
        if self.section.begin_call() {
            self.section.limits(tx.limits());
            self.polling = Some(now);
        }
    }

    pub(super) fn output<E: Serialize>(
        &mut self,
        now: Instant,
        output: &Output<A, E>,
        tx: &Transmit<A>,
    ) {
        if let Output::Ask(Ask::Detach { path, .. }) = output {
            self.detach(*path);
        }
        if self.polling.take().is_none() {
            return;
        }
        match output {
            Output::Transmit => self.transmit(now, tx),
            Output::Event(event) => {
                let note = EventNote { event };
                self.section
                    .json(now, PacketDirection::Out, &note, Op::Event);
            }
            Output::Ask(ask) => {
                self.addresses
                    .write_ask_segments(&mut self.section, now, ask);
                let note = AskNote { ask };
                self.section.json(now, PacketDirection::Out, &note, Op::Ask);
            }
            Output::Yield => self.record(now, Op::Yield),
            Output::Idle(deadline) => self.record(now, Op::Idle(*deadline)),
            Output::Done => self.record(now, Op::Done),
        }
    }

    fn transmit(&mut self, now: Instant, tx: &Transmit<A>) {
        let Some(to) = tx.to() else {
            return self.record(now, Op::EmptyTransmit);
        };
        let (section, out) = (&mut self.section, PacketDirection::Out);
        if tx.is_stream() {
            let payload = Payload::Chunk(tx.octets());
            self.addresses
                .write_octets(section, now, to, out, &payload, |to, packets| Op::Stream {
                    to,
                    packets,
                });
        } else {
            let payload = Payload::Datagrams(tx.octets(), tx.segment_size());
            self.addresses
                .write_octets(section, now, to, out, &payload, |to, packets| {
                    Op::Datagrams { to, packets }
                });
        }
    }

    fn detach(&mut self, path: A) {
        if self.detached.len() >= MAX_DETACHED {
            self.detached.pop_first();
        }
        self.detached.insert(path);
    }
}

/// Returns the reason for refusing a command as it is recorded, truncated to what a record may hold.
pub(super) fn reason(error: &impl Display) -> String {
    let mut reason = error.to_string();
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
