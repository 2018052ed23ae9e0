//! How the bench reads streams: while they are wanted, in pieces of the run's choice.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Bench;
use crate::Link;
use crate::laws::log::{Pieces, Seen, Stall};
use crate::laws::{LawSubject, Step, Violation};

/// What the socket of a stream holds.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) octets: BytesMut,
    pub(super) fin: Fin,
    /// The longest chunk that the machine was fed in one go.
    pub(super) largest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fin {
    #[default]
    None,
    Coming,
    Given,
}

impl<M: LawSubject> Bench<'_, '_, M> {
    pub(super) fn ask_wants(&mut self) {
        let streams: Vec<M::Addr> = self.pipes.keys().copied().collect();
        for at in streams {
            if self.watch.is_alive(at) {
                let wants = self.watch.wants(&self.machine, at);
                self.note(Seen::Wants(at, wants));
            }
        }
    }

    /// Reads every stream while it is wanted, and tells whether there was anything to read.
    pub(super) fn read_on(&mut self, pieces: Pieces) -> Result<bool, Violation> {
        let mut has_read = false;
        let streams: Vec<M::Addr> = self.pipes.keys().copied().collect();
        for from in streams {
            while self.watch.is_alive(from) && self.watch.wants(&self.machine, from) {
                let Some(piece) = self.cut(from, pieces) else {
                    break;
                };
                has_read = true;
                if piece.is_empty() {
                    self.link(from, Link::Ended)?;
                } else {
                    self.feed(from, &piece)?;
                }
                if pieces == Pieces::RandomDrained {
                    self.drain()?;
                }
            }
        }
        Ok(has_read)
    }

    /// Takes the next piece out of the socket, as a read does: an empty one is the end of the stream.
    fn cut(&mut self, from: M::Addr, pieces: Pieces) -> Option<Bytes> {
        let pipe = self.pipes.get_mut(&from)?;
        let ready = pipe.octets.len();
        if ready == 0 {
            let is_end = pipe.fin == Fin::Coming;
            pipe.fin = if is_end { Fin::Given } else { pipe.fin };
            return is_end.then(Bytes::new);
        }
        let len = match pieces {
            Pieces::Whole => ready,
            Pieces::Octets => 1,
            Pieces::Random | Pieces::RandomDrained => {
                let bound = u64::try_from(ready).unwrap_or(u64::MAX);
                usize::try_from(self.chance.below(bound)).map_or(ready, |less| less + 1)
            }
        };
        self.log.has_read = true;
        Some(pipe.octets.split_to(len).freeze())
    }

    /// Drains and reads in turns until nothing moves.
    pub(super) fn settle(&mut self, pieces: Pieces) -> Result<(), Violation> {
        self.drain()?;
        while self.read_on(pieces)? {
            self.drain()?;
        }
        Ok(())
    }

    /// Makes a step and settles, unless more octets of the same chunk follow.
    pub(super) fn settle_step(
        &mut self,
        step: &Step<M::Addr, M::Command>,
        next: Option<&Step<M::Addr, M::Command>>,
        pieces: Pieces,
    ) -> Result<(), Violation> {
        if !matches!(step, Step::Poll | Step::Drain | Step::Flood { .. }) {
            self.apply(step)?;
        }
        if let (Step::Receive { from, .. }, Some(Step::Receive { from: again, .. })) = (step, next)
            && from == again
            && self.pipes.contains_key(&M::route(*from, &self.opened))
        {
            self.log.stalls.push(Stall::Joined);
            return Ok(());
        }
        self.settle(pieces)?;
        let stall = self.stall();
        self.log.stalls.push(stall);
        Ok(())
    }

    fn stall(&self) -> Stall {
        self.pipes
            .iter()
            .filter(|(at, pipe)| self.watch.is_alive(**at) && pipe.has_more())
            .map(|(at, _)| {
                if self.machine.awaits(*at) {
                    Stall::Awaiting
                } else {
                    Stall::Blocked
                }
            })
            .min()
            .unwrap_or(Stall::None)
    }
}

impl Pipe {
    fn has_more(&self) -> bool {
        !self.octets.is_empty() || self.fin == Fin::Coming
    }
}
