//! Reads streams while they are wanted, in the chunks of the run.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Runner;
use crate::Link;
use crate::laws::log::{Chunking, Observed, Unread};
use crate::laws::{LawSubject, Step, Violation};

/// The socket of a stream.
#[derive(Debug, Default)]
pub(super) struct StreamSocket {
    pub(super) octets: BytesMut,
    pub(super) fin: Fin,
    /// The longest chunk that the machine received.
    pub(super) largest: usize,
}

/// The end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fin {
    #[default]
    None,
    Pending,
    Read,
}

impl<M: LawSubject> Runner<'_, '_, M> {
    pub(super) fn log_wants(&mut self) {
        let streams: Vec<M::Addr> = self.sockets.keys().copied().collect();
        for at in streams {
            if self.checker.is_alive(at) {
                let wants = self.checker.wants(&self.machine, at);
                self.note(Observed::Wants(at, wants));
            }
        }
    }

    /// Reads every stream while it is wanted, and tells whether there was anything to read.
    pub(super) fn read_streams(&mut self, chunking: Chunking) -> Result<bool, Violation> {
        let mut has_read_streams = false;
        let streams: Vec<M::Addr> = self.sockets.keys().copied().collect();
        for from in streams {
            while self.checker.is_alive(from) && self.checker.wants(&self.machine, from) {
                let Some(chunk) = self.next_chunk(from, chunking) else {
                    break;
                };
                has_read_streams = true;
                if chunk.is_empty() {
                    self.link(from, Link::Ended)?;
                } else {
                    self.feed(from, &chunk)?;
                }
                if chunking == Chunking::RandomDrained {
                    self.drain()?;
                }
            }
        }
        Ok(has_read_streams)
    }

    /// Reads the next chunk. An empty one is the end of the stream.
    fn next_chunk(&mut self, from: M::Addr, chunking: Chunking) -> Option<Bytes> {
        let socket = self.sockets.get_mut(&from)?;
        let ready = socket.octets.len();
        if ready == 0 {
            let is_end = socket.fin == Fin::Pending;
            socket.fin = if is_end { Fin::Read } else { socket.fin };
            return is_end.then(Bytes::new);
        }
        let len = match chunking {
            Chunking::Whole => ready,
            Chunking::SingleOctets => 1,
            Chunking::Random | Chunking::RandomDrained => {
                let bound = u64::try_from(ready).unwrap_or(u64::MAX);
                usize::try_from(self.rng.below(bound)).map_or(ready, |less| less + 1)
            }
        };
        self.log.has_read_streams = true;
        Some(socket.octets.split_to(len).freeze())
    }

    /// Drains and reads in turns until neither does anything.
    pub(super) fn settle(&mut self, chunking: Chunking) -> Result<(), Violation> {
        self.drain()?;
        while self.read_streams(chunking)? {
            self.drain()?;
        }
        Ok(())
    }

    /// Applies a step and settles it, unless more octets of the same chunk follow.
    pub(super) fn settle_step(
        &mut self,
        step: &Step<M::Addr, M::Command>,
        next: Option<&Step<M::Addr, M::Command>>,
        chunking: Chunking,
    ) -> Result<(), Violation> {
        if !matches!(step, Step::Poll | Step::Drain | Step::Flood { .. }) {
            self.apply(step)?;
        }
        if let (Step::Receive { from, .. }, Some(Step::Receive { from: again, .. })) = (step, next)
            && from == again
            && self.sockets.contains_key(&M::route(*from, &self.opened))
        {
            self.log.unread.push(Unread::MoreFollows);
            return Ok(());
        }
        self.settle(chunking)?;
        let unread = self.unread();
        self.log.unread.push(unread);
        Ok(())
    }

    fn unread(&self) -> Unread {
        self.sockets
            .iter()
            .filter(|(at, socket)| self.checker.is_alive(**at) && socket.has_more())
            .map(|(at, _)| {
                if self.machine.awaits(*at) {
                    Unread::Awaiting
                } else {
                    Unread::NoRoom
                }
            })
            .min()
            .unwrap_or(Unread::None)
    }
}

impl StreamSocket {
    fn has_more(&self) -> bool {
        !self.octets.is_empty() || self.fin == Fin::Pending
    }
}
