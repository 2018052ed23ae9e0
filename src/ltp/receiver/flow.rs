//! The segments that nearly all are: the next octets of the red part that came last, and nothing else.

use super::{Reception, Stage};
use crate::ltp::api::Service;
use crate::ltp::engine::Engine;
use crate::ltp::sdnv::Series;
use crate::ltp::wire::{Color, Data, SessionId, header};
use crate::{Addr, Instant};

/// The session whose red part went on last, and what is to come next: plain segments do alike up to their
/// offset, so that one is known by comparing it with what it should be.
#[derive(Debug)]
pub(in crate::ltp) struct Flow {
    session: SessionId,
    client: u64,
    /// Once two segments in a row were of this session.
    next: Option<Next>,
}

/// The next segment, if it is as long as the last one.
#[derive(Debug)]
struct Next {
    series: Series,
    offset: u64,
    /// Octets of the block in it.
    len: usize,
}

impl Next {
    fn behind(session: SessionId, last: &Data<'_>) -> Option<Self> {
        let mut head = header(0, session, 0);
        head.sdnv(last.client);
        let (offset, len) = (last.range().end, last.octets.len());
        Some(Self {
            // Bound: usize has at most 64 bits.
            series: Series::new(&head, offset, len as u64)?,
            offset,
            len,
        })
    }
}

impl Flow {
    /// Reads the datagram if it is the next segment, and looks forward to the one behind it.
    #[inline]
    fn data<'a>(&mut self, datagram: &'a [u8]) -> Option<Data<'a>> {
        let next = self.next.as_mut()?;
        let octets = next.series.behind(datagram, next.offset)?;
        if octets.len() != next.len {
            return None;
        }
        let offset = next.offset;
        // Bound: usize has at most 64 bits.
        next.offset += next.len as u64;
        Some(Data {
            client: self.client,
            offset,
            color: Color::Red(None),
            octets,
        })
    }
}

impl<A: Addr> Engine<A> {
    /// Takes a datagram that is the next plain segment of the session that went on last. Nothing else can be
    /// said of it: its peer is known and needs no authentication, and it has no extensions.
    #[inline]
    pub(in crate::ltp) fn flows_on(&mut self, datagram: &[u8]) -> bool {
        let Some(flow) = &mut self.flow else {
            return false;
        };
        let session = flow.session;
        let Some(data) = flow.data(datagram) else {
            return false;
        };
        let Some(import) = self.imports.get_mut(&session) else {
            return false;
        };
        let Stage::Receiving(reception) = &mut import.stage else {
            return false;
        };
        if !reception.is_next(&data) {
            return false;
        }
        self.stats.segments_received += 1;
        self.stats.red_octets += reception.go_on(&data, self.now);
        true
    }

    /// Takes the next octets of a red part that comes in order into memory that is there already. Nothing
    /// else changes, so one look into the table does.
    pub(super) fn goes_on(&mut self, slot: u32, session: SessionId, data: &Data<'_>) -> bool {
        let Some(import) = self.imports.get_mut(&session) else {
            return false;
        };
        let Stage::Receiving(reception) = &mut import.stage else {
            return false;
        };
        if !reception.is_next(data) {
            return false;
        }
        self.stats.red_octets += reception.go_on(data, self.now);
        self.flow_from(slot, session, data);
        true
    }

    /// Many sessions that take turns are no flow, and do not pay for one.
    fn flow_from(&mut self, slot: u32, session: SessionId, last: &Data<'_>) {
        let is_again = self
            .flow
            .as_ref()
            .is_some_and(|flow| flow.session == session);
        let is_open = self.span(slot).is_some_and(|span| span.keys.accepts_all());
        let next = (is_again && is_open).then(|| Next::behind(session, last));
        self.flow = Some(Flow {
            session,
            client: last.client,
            next: next.flatten(),
        });
    }
}

impl Reception {
    /// Whether a segment continues what is held, changes nothing else and needs no memory.
    #[inline]
    fn is_next(&self, data: &Data<'_>) -> bool {
        let range = data.range();
        let fits = usize::try_from(range.end).is_ok_and(|end| end <= self.granted);
        let follows = usize::try_from(range.start).is_ok_and(|start| start == self.buffer.len());
        data.color == Color::Red(None)
            && data.client == self.client
            && fits
            && follows
            && !self.is_delivered
            && self.held.end() == range.start
            && !self.held.is_empty()
            && !data.octets.is_empty()
            && self.red.is_none()
            && self.green.is_none()
            && self.service == Service::Whole
    }

    #[inline]
    fn go_on(&mut self, data: &Data<'_>, now: Instant) -> u64 {
        self.buffer.extend_from_slice(data.octets);
        self.active = now;
        self.reports.filled = now;
        self.held.insert(data.range())
    }
}
