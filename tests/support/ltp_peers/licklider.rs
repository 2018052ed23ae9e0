//! licklider-core 0.1.1 as a machine. It is the implementation itself, not a model of it: 64 reports in a session, then
//! RLEXC.

use core::convert::Infallible;
use std::collections::VecDeque;

use bytes::Bytes;
use farlink::ltp::{Reason, SessionId};
use farlink::{Instant, Link, Machine, Output, Transmit};
use licklider_core as other;
use other::{EngineId, Input, Timestamp};

use super::{Notice, Send};

/// An engine of licklider with one peer.
pub(crate) struct Licklider {
    engine: other::Engine,
    peer: u64,
    now: Instant,
    /// What it has sent, its notices, and no poll has taken.
    segments: VecDeque<Vec<u8>>,
    notices: VecDeque<Notice>,
}

impl Licklider {
    /// Starts an engine with the defaults of licklider, and client service 4.
    pub(crate) fn new(id: u64, peer: u64, seed: u64) -> Self {
        let config = other::Config::new(EngineId(id), seed);
        Self::with(config, other::PeerConfig::new(EngineId(peer)), 4)
    }

    /// Starts an engine with one client service.
    pub(crate) fn with(config: other::Config, peer: other::PeerConfig, client: u64) -> Self {
        let mut engine = other::Engine::new(config).unwrap();
        let id = peer.engine.0;
        engine.add_peer(peer).unwrap();
        engine.register_client_service(client);
        Self {
            engine,
            peer: id,
            now: Instant::ZERO,
            segments: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// Its clock counts microseconds.
    const fn stamp(&self) -> Timestamp {
        Timestamp::from_micros(self.now.as_nanos() / 1000)
    }

    fn take(&mut self) {
        let stamp = self.stamp();
        self.engine.handle_timeout(stamp);
        while let Some(output) = self.engine.poll_output(stamp) {
            match output {
                other::Output::Transmit { segment, .. } => self.segments.push_back(segment),
                other::Output::Notice(of) => self.notices.extend(notice(of)),
            }
        }
    }
}

fn notice(of: other::Notice) -> Option<Notice> {
    let id = |session: other::SessionId| SessionId {
        originator: session.originator.0,
        number: session.number,
    };
    Some(match of {
        other::Notice::RedPartReceived { session, data, .. } => Notice::Received {
            session: id(session),
            data: Bytes::from(data),
        },
        other::Notice::TransmissionSessionCompleted { session } => Notice::Complete {
            number: id(session).number,
        },
        other::Notice::TransmissionSessionCancelled { session, reason } => Notice::Failed {
            number: id(session).number,
            reason: Reason(reason.code()),
        },
        other::Notice::ReceptionSessionCancelled { session, reason } => Notice::Cancelled {
            session: id(session),
            reason: Reason(reason.code()),
        },
        _ => return None,
    })
}

impl Machine for Licklider {
    type Addr = u64;
    type Command = Send;
    type Event = Notice;
    type Error = Infallible;

    fn receive(&mut self, now: Instant, _: u64, octets: &[u8]) {
        self.now = now;
        let stamp = self.stamp();
        let peer = EngineId(self.peer);
        self.engine
            .handle_input(stamp, Input::Segment { peer, data: octets });
    }

    fn link(&mut self, _: Instant, _: u64, _: Link) {}

    fn command(&mut self, now: Instant, command: Send) -> Result<(), Infallible> {
        self.now = now;
        let stamp = self.stamp();
        let request = other::TransmissionRequest {
            destination: EngineId(self.peer),
            client_service: command.client,
            data: command.data.to_vec().into(),
            red_len: command.red as u64,
        };
        self.engine.request_transmission(stamp, request).unwrap();
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<u64>) -> Output<u64, Notice> {
        tx.clear();
        self.now = now;
        self.take();
        if let Some(notice) = self.notices.pop_front() {
            return Output::Event(notice);
        }
        while let Some(segment) = self.segments.front()
            && tx.push(self.peer, segment.len(), |out| {
                out.extend_from_slice(segment);
            })
        {
            self.segments.pop_front();
        }
        if tx.is_empty() {
            let next = self.engine.next_timeout();
            // Due when its clock, which is coarser, has reached it.
            Output::Idle(next.map(|at| Instant::from_nanos(at.as_micros() * 1000)))
        } else {
            Output::Transmit
        }
    }
}
