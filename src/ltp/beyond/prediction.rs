//! Header prediction: the next octets of the red part that was continued last, in a segment without marks.

use crate::ltp::api::Service;
use crate::ltp::context::{Context, Core};
use crate::ltp::import::{Imports, Parts, Reception};
use crate::ltp::sdnv::{Head, HeaderTemplate};
use crate::ltp::wire::{Color, Data, SessionId, put_header};

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
        let mut head = Head::new();
        put_header(&mut head, 0, session, 0);
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

impl Imports {
    /// Stores the predicted segments at the front of a batch of datagrams of `size` octets, and returns how many
    /// octets of the batch they were. Their peer is known and needs no authentication, and they have no extensions.
    #[inline]
    pub(in crate::ltp) fn receive_predicted(
        &mut self,
        core: &mut Core,
        train: &[u8],
        size: usize,
    ) -> usize {
        let node = &mut core.node;
        let Some(Prediction {
            session,
            client,
            next: Some(next),
        }) = &mut node.prediction
        else {
            return 0;
        };
        if size != next.template.len() + next.len
            || next.template.behind(train, next.offset).is_none()
        {
            return 0;
        }
        let import = self.table.find_mut(session);
        let Some(import) = import else {
            return 0;
        };
        let slot = import.slot;
        let Some(reception) = import.stage.open_mut() else {
            return 0;
        };
        if !reception.is_plain(*client, next.offset) {
            return 0;
        }
        let datagrams = train.chunks_exact(size);
        let Some(parts) = &mut reception.parts else {
            return 0;
        };
        let begin = next.offset;
        let mut count = 0;
        for datagram in datagrams {
            let Some(octets) = next.template.behind(datagram, next.offset) else {
                break;
            };
            if !parts.red.has_room_for(octets.len()) {
                break;
            }
            parts.red.append(octets);
            // Bound: usize has at most 64 bits.
            next.offset += octets.len() as u64;
            count += 1;
        }
        if count > 0 {
            parts.hear(count, count * next.len);
            parts.red.held.insert(begin..next.offset);
            parts.reports.filled = node.now;
            reception.active = node.now;
        }
        let len = next.len;
        node.stats.segments_received += count as u64;
        node.stats.red_octets += (count * len) as u64;
        if let Some(peer) = core.peers.get_mut(slot) {
            peer.on_heard(node);
        }
        count * size
    }
}

impl Reception {
    /// Stores a segment that continues a red part within the memory it has, and changes nothing else. False for any
    /// other.
    #[inline]
    pub(in crate::ltp) fn append_predicted(
        &mut self,
        data: &Data<'_>,
        cx: &mut Context<'_>,
    ) -> bool {
        let range = data.range();
        let is_in_order = data.color == Color::Red(None)
            && !data.octets.is_empty()
            && self.is_plain(data.client, range.start);
        let parts = self.parts.as_mut().filter(|_| is_in_order);
        let Some(parts) = parts.filter(|parts| parts.red.has_room_for(data.octets.len())) else {
            return false;
        };
        parts.hear(1, data.octets.len());
        parts.red.append(data.octets);
        parts.red.held.insert(range);
        parts.reports.filled = cx.node.now;
        self.active = cx.node.now;
        cx.node.stats.red_octets += data.octets.len() as u64;
        predict_next(data, cx);
        true
    }

    /// Whether everything before `offset` was received and nothing behind it, and a red segment there is valid.
    #[inline]
    fn is_plain(&self, client: u64, offset: u64) -> bool {
        let is_next = |parts: &Parts| parts.green.is_none() && parts.red.ends_at(offset);
        client == self.client
            && !self.is_delivered
            && self.red.is_none()
            && self.service != Service::Streaming
            && self.parts.as_deref().is_some_and(is_next)
    }
}

/// Predicts the next segment. Sessions that take turns are not predicted, and pay nothing for it.
fn predict_next(last: &Data<'_>, cx: &mut Context<'_>) {
    let session = cx.session;
    let before = cx.node.prediction.as_ref();
    let is_again = before.is_some_and(|prediction| prediction.session == session);
    // What a stranger sends is counted segment by segment.
    let is_open = cx.peer.keys.accepts_all() && cx.peer.unproved(cx.node).is_none();
    let next = (is_again && is_open).then(|| NextSegment::behind(session, last));
    cx.node.prediction = Some(Prediction {
        session,
        client: last.client,
        next: next.flatten(),
    });
}
