//! What the events of a node do to what its handles share.

use core::mem;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::port::{CspCore, Line};
use super::state::ConnectionState;
use super::{AskedService, NodeAnswer, ReceivedPacket};
use crate::Tag;
use crate::csp::{CloseReason, ConnectionId, Endpoint, Event, ServiceAnswer, SfpTrailer};

/// Answers to one request that are kept, and requests to services.
const MAX_ANSWERS: usize = 1 << 14;
const MAX_ASKED: usize = 64;

/// Adds a fragment to those before it, and returns the whole behind the last one.
fn assemble(whole: &mut BytesMut, place: SfpTrailer, data: &[u8]) -> Option<Bytes> {
    whole.extend_from_slice(data);
    let is_last = whole.len() as u64 >= u64::from(place.total);
    is_last.then(|| mem::take(whole).freeze())
}

impl dyn CspCore + '_ {
    pub(in crate::adapters) fn deliver(&mut self, event: Event) {
        match event {
            Event::Connected { tag, connection } => self.on_opened(tag, Ok(connection)),
            Event::ConnectFailed { tag, reason } => self.on_opened(tag, Err(reason)),
            Event::Accepted {
                connection,
                port,
                from,
            } => self.on_accepted(connection, port, from),
            Event::Received { connection, data } => self.on_data(connection, data),
            Event::Fragment {
                connection,
                place,
                data,
            } => {
                let state = self.state().connections.get_mut(&connection);
                let whole = state.and_then(|it| assemble(&mut it.fragments, place, &data));
                if let Some(whole) = whole {
                    self.on_data(connection, whole);
                }
            }
            Event::FragmentsFailed { connection, .. } => {
                self.change(connection, |it| it.fragments = BytesMut::new());
            }
            Event::Acknowledged {
                connection,
                packets,
            } => self.change(connection, |it| it.acknowledged += u64::from(packets)),
            Event::Room(connection) => self.wake(Line::Connection(connection)),
            Event::Closed {
                connection,
                reason,
                unacknowledged,
            } => {
                self.change(connection, |it| it.end = Some((reason, unacknowledged)));
                self.state().forget_ended(connection);
            }
            Event::Datagram { port, from, data } => self.on_packet(port, from, data),
            Event::FragmentDatagram {
                port,
                from,
                place,
                data,
            } => self.on_fragment(port, from, place, &data),
            Event::FragmentDatagramsFailed { port, from, .. } => {
                let socket = self.state().sockets.get_mut(&port);
                socket.map(|it| it.fragments.remove(&from));
            }
            Event::Pong { tag, from, time } => self.on_answer(tag, from, time, None),
            Event::Answered {
                tag,
                from,
                time,
                answer,
            } => self.on_answer(tag, from, time, Some(answer)),
            Event::PingEnded { tag, .. } | Event::RequestEnded { tag, .. } => {
                if let Some(question) = self.state().questions.get_mut(&tag) {
                    question.has_ended = true;
                    self.wake(Line::Answer(tag));
                }
            }
            Event::ServiceRequested { id, from, request } => {
                let asked = &mut self.state().asked;
                if asked.len() == MAX_ASKED {
                    asked.pop_front();
                }
                asked.push_back(AskedService { id, from, request });
                self.wake(Line::Asked);
            }
            Event::Promiscuous { .. } => {}
        }
    }

    fn on_opened(&mut self, tag: Tag, outcome: Result<ConnectionId, CloseReason>) {
        let opening = self.state().opening.get_mut(&tag);
        let has_handle = opening.is_some();
        let mut peer = Endpoint::default();
        if let Some((to, place)) = opening {
            (peer, *place) = (*to, Some(outcome));
            self.wake(Line::Open(tag));
        }
        if let Ok(connection) = outcome {
            self.add_connection(connection, peer, has_handle);
        }
    }

    fn on_accepted(&mut self, connection: ConnectionId, port: u8, from: Endpoint) {
        let socket = self.state().sockets.get_mut(&port);
        let accepted = socket.map(|it| it.accepted.push_back((connection, from)));
        self.wake(Line::Socket(port));
        self.add_connection(connection, from, accepted.is_some());
    }

    /// Keeps a connection, or closes it if nobody knows of it.
    fn add_connection(&mut self, connection: ConnectionId, peer: Endpoint, has_handle: bool) {
        let state = self.state();
        state.add_connection(connection, peer, has_handle);
        if !has_handle || state.is_closing() {
            self.close_connection(connection);
        }
    }

    /// Changes what is known of a connection, and wakes whoever waits for anything of it.
    fn change(&mut self, connection: ConnectionId, change: impl FnOnce(&mut ConnectionState)) {
        if let Some(state) = self.state().connections.get_mut(&connection) {
            change(state);
            self.hold_or_release(connection);
            self.wake(Line::Connection(connection));
        }
    }

    fn on_data(&mut self, connection: ConnectionId, data: Bytes) {
        let count = data.len();
        self.change(connection, |it| it.received.put(data, count));
    }

    fn on_packet(&mut self, port: u8, from: Endpoint, data: Bytes) {
        let state = self.state();
        let Some(socket) = state.sockets.get_mut(&port) else {
            return;
        };
        if !socket.received.has_room() {
            state.sockets_full += 1;
            return;
        }
        let count = data.len();
        socket.received.put(ReceivedPacket { from, data }, count);
        self.wake(Line::Socket(port));
    }

    fn on_fragment(&mut self, port: u8, from: Endpoint, place: SfpTrailer, data: &[u8]) {
        let Some(socket) = self.state().sockets.get_mut(&port) else {
            return;
        };
        let whole = socket.fragments.entry(from).or_default();
        if let Some(data) = assemble(whole, place, data) {
            socket.fragments.remove(&from);
            self.on_packet(port, from, data);
        }
    }

    fn on_answer(&mut self, tag: Tag, from: u16, time: Duration, answer: Option<ServiceAnswer>) {
        let question = self.state().questions.get_mut(&tag);
        if let Some(question) = question.filter(|it| it.answers.len() < MAX_ANSWERS) {
            question.answers.push(NodeAnswer { from, time, answer });
        }
    }
}
