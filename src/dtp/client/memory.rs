//! A transfer by messages of VMEM: nothing answers them but the packets of data.

use core::time::Duration;

use super::{Download, FailReason, Interval, Stage, TO_THE_END};
use crate::Instant;
use crate::dtp::api::{MemoryRequest, VmemTransport};
use crate::dtp::session::Session;
use crate::dtp::vmem::VmemOperation;

/// How long the first packet may take after a start of which it is not known whether it has arrived.
const FIRST_PACKET: Duration = Duration::from_secs(5);
/// How much longer a start may take of which a packet is lost.
const LOST_START: Duration = Duration::from_secs(1);

/// What is got by VMEM.
#[derive(Debug, Clone, Copy)]
pub(in crate::dtp) struct Memory {
    pub(in crate::dtp) request: MemoryRequest,
    /// Whether nothing has come since the last start.
    awaits_first: bool,
    /// When the server is told next that the client is there.
    alive_at: Instant,
}

impl Download {
    /// Gets memory, or what a session lacks of it.
    pub(in crate::dtp) fn get_memory(
        &mut self,
        now: Instant,
        request: MemoryRequest,
        session: Option<&Session>,
    ) {
        self.memory = Some(Memory {
            request,
            awaits_first: false,
            alive_at: now,
        });
        if let Some(session) = session {
            return self.restore(session);
        }
        self.size = Some(request.size);
        self.reset_holes();
        self.first_missing = self.holes.missing();
        self.missing_before = self.holes.missing();
        self.is_announced = false;
        if self.holes.is_empty() {
            self.complete();
        }
    }

    /// Tells whether all is asked for at first.
    pub(super) fn is_all_of_memory(&self) -> bool {
        let all = Interval {
            start: 0,
            end: TO_THE_END,
        };
        let is_first = self.memory.is_some() && self.requests == 0;
        is_first && self.wanted() == all && self.holes.missing() == self.packets()
    }

    /// Returns the start for the next holes. A server of libdtp that is told by a connection may be busy.
    pub(in crate::dtp) fn next_start(&mut self, now: Instant) -> Option<VmemOperation> {
        let memory = self.memory?;
        let has_come = self.holes.missing() < self.first_missing;
        let patience = match memory.request.transport {
            // Its server is there and ready.
            _ if has_come => self.silence() + LOST_START,
            VmemTransport::Rdp => self.options.response_timeout,
            VmemTransport::Datagrams => FIRST_PACKET,
        };
        let mut request = self.next_request();
        let interval = memory.request.keep_alive;
        request.keep_alive = u16::try_from(interval.as_millis()).unwrap_or(u16::MAX);
        self.asks.set_server(None);
        self.expect(now, None, patience);
        self.memory = Some(Memory {
            awaits_first: true,
            alive_at: now + interval,
            ..memory
        });
        Some(VmemOperation::Start {
            address: memory.request.address,
            size: memory.request.size,
            request,
        })
    }

    /// The start did not arrive.
    pub(in crate::dtp) fn on_start_lost(&mut self, now: Instant) {
        let is_waiting = matches!(self.stage, Stage::Receiving { .. });
        if is_waiting && self.memory.is_some_and(|it| it.awaits_first) {
            self.fail_request(now, FailReason::NoAnswer);
        }
    }

    /// A packet has come.
    pub(super) fn on_packet_of_memory(&mut self, now: Instant) {
        if let Some(memory) = self.memory.as_mut().filter(|it| it.awaits_first) {
            memory.awaits_first = false;
            self.on_setup(now);
        }
    }

    /// Returns when the server is to be told that the client is there.
    pub(super) fn alive_at(&self) -> Option<Instant> {
        let memory = self.memory?;
        let is_receiving = matches!(self.stage, Stage::Receiving { .. });
        let is_wanted = is_receiving && !memory.request.keep_alive.is_zero();
        is_wanted.then_some(memory.alive_at)
    }

    /// Tells whether the server is to be told that the client is there.
    pub(in crate::dtp) fn take_alive(&mut self, now: Instant) -> bool {
        let is_due = self.alive_at().is_some_and(|at| at <= now);
        if let Some(memory) = self.memory.as_mut().filter(|_| is_due) {
            memory.alive_at = now + memory.request.keep_alive;
        }
        is_due
    }
}
