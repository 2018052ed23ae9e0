//! The segments that nearly all are: the next octets of the red part that came last, and nothing else.

use super::{Reception, Stage};
use crate::ltp::api::Service;
use crate::ltp::engine::Engine;
use crate::ltp::sdnv::short_sdnv;
use crate::ltp::wire::{Color, Data, SessionId, header};
use crate::{Addr, Instant};

/// Octets of a header that are compared at once. It is longer with numbers above 32 bits and large names, and
/// such segments take the way of all others.
const PREFIX: usize = 16;

/// The session whose red part went on last, and how its plain segments begin: they all do alike, up to the
/// offset, so one comparison tells that another one came.
#[derive(Debug)]
pub(in crate::ltp) struct Flow {
    session: SessionId,
    client: u64,
    /// Prefix, mask and length, once two segments in a row were of this session.
    prefix: Option<(u128, u128, usize)>,
}

impl Flow {
    /// The header up to the offset, of segments without extensions.
    fn prefix(session: SessionId, client: u64) -> Option<(u128, u128, usize)> {
        let mut head = header(0, session, 0);
        head.sdnv(client);
        let octets = head.octets();
        let mut prefix = [0; PREFIX];
        let mut mask = [0; PREFIX];
        prefix.get_mut(..octets.len())?.copy_from_slice(octets);
        mask.get_mut(..octets.len())?.fill(0xFF);
        Some((
            u128::from_ne_bytes(prefix),
            u128::from_ne_bytes(mask),
            octets.len(),
        ))
    }

    /// Reads a plain segment of the session; `None` for any other.
    #[inline]
    fn data<'a>(&self, octets: &'a [u8]) -> Option<Data<'a>> {
        let (prefix, mask, len) = self.prefix?;
        let begin = u128::from_ne_bytes(*octets.first_chunk::<PREFIX>()?);
        if begin & mask != prefix {
            return None;
        }
        let rest = octets.get(len..)?;
        let (offset, len) = short_sdnv(rest)?;
        let rest = rest.get(len..)?;
        let (count, len) = short_sdnv(rest)?;
        let octets = rest.get(len..)?;
        // Bound: usize has at most 64 bits.
        (octets.len() as u64 == count).then_some(Data {
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
    pub(in crate::ltp) fn flows_on(&mut self, octets: &[u8]) -> bool {
        let Some(flow) = &self.flow else {
            return false;
        };
        let session = flow.session;
        let Some(data) = flow.data(octets) else {
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
        self.flow_from(slot, session, data.client);
        true
    }

    /// Many sessions that take turns are no flow, and do not pay for one.
    fn flow_from(&mut self, slot: u32, session: SessionId, client: u64) {
        let is_again = self
            .flow
            .as_ref()
            .is_some_and(|flow| flow.session == session);
        let is_open = self.span(slot).is_some_and(|span| span.keys.accepts_all());
        let prefix = (is_again && is_open)
            .then(|| Flow::prefix(session, client))
            .flatten();
        self.flow = Some(Flow {
            session,
            client,
            prefix,
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
