//! Header prediction: the next octets of the red part that was continued last, in a segment without marks.

use super::{Reception, Stage};
use crate::ltp::api::Service;
use crate::ltp::engine::Engine;
use crate::ltp::sdnv::HeaderTemplate;
use crate::ltp::wire::{Color, Data, SessionId, header};
use crate::{Addr, Instant};

/// The session whose red part was continued last, and its next segment.
#[derive(Debug)]
pub(in crate::ltp) struct Prediction {
    session: SessionId,
    client: u64,
    /// Known after two segments in a row of this session.
    next: Option<NextSegment>,
}

/// The next segment, if it is as long as the last one. Up to its offset it is equal to it, so it is recognised by
/// comparison.
#[derive(Debug)]
struct NextSegment {
    template: HeaderTemplate,
    offset: u64,
    /// Octets of the block in it.
    len: usize,
}

impl NextSegment {
    fn behind(session: SessionId, last: &Data<'_>) -> Option<Self> {
        let mut head = header(0, session, 0);
        head.sdnv(last.client);
        let (offset, len) = (last.range().end, last.octets.len());
        Some(Self {
            // Bound: usize has at most 64 bits.
            template: HeaderTemplate::new(&head, offset, len as u64)?,
            offset,
            len,
        })
    }
}

impl<A: Addr> Engine<A> {
    /// Stores the predicted segments at the front of a batch of datagrams of `size` octets, and returns how many
    /// octets of the batch they were. Their peer is known and needs no authentication, and they have no extensions.
    #[inline]
    pub(in crate::ltp) fn receive_predicted(&mut self, train: &[u8], size: usize) -> usize {
        let Some(Prediction {
            session,
            client,
            next: Some(next),
        }) = &mut self.prediction
        else {
            return 0;
        };
        if size != next.template.len() + next.len
            || next.template.behind(train, next.offset).is_none()
        {
            return 0;
        }
        let Some(import) = self.imports.get_mut(session) else {
            return 0;
        };
        let Stage::Receiving(reception) = &mut import.stage else {
            return 0;
        };
        if !reception.is_plain(*client, next.offset) {
            return 0;
        }
        let count = reception.append_datagrams(next, train.chunks_exact(size), self.now);
        self.stats.segments_received += count as u64;
        self.stats.red_octets += (count * next.len) as u64;
        count * size
    }

    /// Stores a segment that continues a red part within the memory it has. Nothing else of the session changes, so
    /// one lookup is enough.
    pub(super) fn append_predicted(
        &mut self,
        slot: u32,
        session: SessionId,
        data: &Data<'_>,
    ) -> bool {
        let Some(import) = self.imports.get_mut(&session) else {
            return false;
        };
        let Stage::Receiving(reception) = &mut import.stage else {
            return false;
        };
        if !reception.is_in_order(data) {
            return false;
        }
        self.stats.red_octets += reception.append_in_order(data, self.now);
        self.predict_next(slot, session, data);
        true
    }

    /// Predicts the next segment. Sessions that take turns are not predicted, and pay nothing for it.
    fn predict_next(&mut self, slot: u32, session: SessionId, last: &Data<'_>) {
        let is_again = self
            .prediction
            .as_ref()
            .is_some_and(|prediction| prediction.session == session);
        let is_open = self.peer(slot).is_some_and(|peer| peer.keys.accepts_all());
        let next = (is_again && is_open).then(|| NextSegment::behind(session, last));
        self.prediction = Some(Prediction {
            session,
            client: last.client,
            next: next.flatten(),
        });
    }
}

impl Reception {
    /// Whether a segment continues what was received, changes nothing else, and needs no memory.
    fn is_in_order(&self, data: &Data<'_>) -> bool {
        let range = data.range();
        data.color == Color::Red(None)
            && !data.octets.is_empty()
            && usize::try_from(range.end).is_ok_and(|end| end <= self.granted)
            && self.is_plain(data.client, range.start)
    }

    /// Whether everything before `offset` was received and nothing behind it, and a red segment there is valid.
    #[inline]
    fn is_plain(&self, client: u64, offset: u64) -> bool {
        usize::try_from(offset).is_ok_and(|offset| offset == self.buffer.len())
            && self.held.end() == offset
            && !self.held.is_empty()
            && client == self.client
            && !self.is_delivered
            && self.red.is_none()
            && self.green.is_none()
            && self.service == Service::Whole
    }

    fn append_in_order(&mut self, data: &Data<'_>, now: Instant) -> u64 {
        self.buffer.extend_from_slice(data.octets);
        self.active = now;
        self.reports.filled = now;
        self.held.insert(data.range())
    }

    /// Stores datagrams as long as they are as predicted, and returns how many.
    #[inline]
    fn append_datagrams<'a>(
        &mut self,
        next: &mut NextSegment,
        datagrams: impl Iterator<Item = &'a [u8]>,
        now: Instant,
    ) -> usize {
        let begin = next.offset;
        let mut count = 0;
        for datagram in datagrams {
            let Some(octets) = next.template.behind(datagram, next.offset) else {
                break;
            };
            if octets.len() > self.granted.saturating_sub(self.buffer.len()) {
                break;
            }
            self.buffer.extend_from_slice(octets);
            // Bound: usize has at most 64 bits.
            next.offset += octets.len() as u64;
            count += 1;
        }
        if count > 0 {
            self.active = now;
            self.reports.filled = now;
            self.held.insert(begin..next.offset);
        }
        count
    }
}
