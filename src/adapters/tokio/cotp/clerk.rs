//! What stands between the handles of a connection and its machine.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::sync::OnceLock;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::adapters::Detached;
use crate::adapters::cotp::{Incoming, Speaker};
use crate::adapters::tokio::channel::{Receiver, Sender};
use crate::adapters::tokio::driver::Front;
use crate::cotp::{Command, Connected, End, Error, Event, Indication, Reason};
use crate::{Instant, Machine as _, Tag};

/// What an item in a queue weighs beside its octets.
const ENTRY: usize = 64;

/// The name of the only hand-over there can be.
const HAND_OVER: Tag = Tag(0);

pub(super) type Reply = oneshot::Sender<Result<(), Error>>;

/// What the handles want of the connection.
pub(super) enum Order {
    /// Give the machine a command, again once there is room if it is full.
    Command(Command, Option<Reply>),
    /// Tell when everything ordered so far is with the system.
    Flush(Reply),
    Detach(oneshot::Sender<Result<Detached<TcpStream>, Error>>),
    /// Close behind everything ordered so far. The reply is dropped at the end.
    Close(oneshot::Sender<()>),
}

impl Order {
    /// Returns what it counts in the queue of orders.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Command(Command::Send(message), _) => message.len() + ENTRY,
            Self::Command(..) | Self::Flush(_) | Self::Detach(_) | Self::Close(_) => ENTRY,
        }
    }
}

/// What the handles are told.
pub(super) enum Told {
    Indication(Box<Indication>),
    Connected(Box<Connected>),
    Incoming(Incoming),
    /// The last one.
    End(Arc<End>),
}

/// What all handles of a connection can see at any time.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// How the connection ended.
    pub(super) end: OnceLock<Arc<End>>,
    /// Why a message was refused that nobody waited for. Messages behind it would leave a hole.
    pub(super) refused: OnceLock<Error>,
    /// A close was ordered.
    pub(super) is_closing: AtomicBool,
}

/// Takes orders for a machine, and tells the handles what comes of them.
pub(super) struct Clerk {
    /// None once every handle was dropped.
    orders: Option<Receiver<Order>>,
    told: Sender<Told>,
    shared: Arc<Shared>,
    /// What the machine had no room for.
    unfilled: Option<Order>,
    is_full: bool,
    /// When to stop waiting for room, once nobody but a close waits for it.
    give_up: Option<Instant>,
    patience: Duration,
    /// Flushes that the machine works on.
    flushes: VecDeque<(Tag, Reply)>,
    flush_count: u64,
    /// Flushes of which the last octet may still be in the outbox.
    written: Vec<Reply>,
    taker: Option<oneshot::Sender<Result<Detached<TcpStream>, Error>>>,
    closers: Vec<oneshot::Sender<()>>,
}

impl Clerk {
    /// `patience` is how long a peer may take nothing while the connection is to be closed.
    pub(super) fn new(
        orders: Receiver<Order>,
        told: Sender<Told>,
        shared: Arc<Shared>,
        patience: Duration,
    ) -> Self {
        Self {
            orders: Some(orders),
            told,
            shared,
            unfilled: None,
            is_full: false,
            give_up: None,
            patience,
            flushes: VecDeque::new(),
            flush_count: 0,
            written: Vec::new(),
            taker: None,
            closers: Vec::new(),
        }
    }

    /// Waits for an order that can be given to the machine; `None` when there will be none.
    fn poll_order(&mut self, cx: &Context<'_>) -> Poll<Option<Order>> {
        if let Some(order) = self.unfilled.take() {
            return Poll::Ready(Some(order));
        }
        match &mut self.orders {
            Some(orders) => orders.poll_next(cx),
            None => Poll::Pending,
        }
    }

    fn fill(&mut self, order: Order, now: Instant, machine: &mut Speaker) {
        match order {
            Order::Command(command, reply) => match machine.command(now, command.clone()) {
                Err(Error::Full { .. }) => {
                    self.unfilled = Some(Order::Command(command, reply));
                    self.is_full = true;
                }
                answer => self.answer(reply, answer),
            },
            Order::Flush(reply) => {
                let tag = Tag(self.flush_count);
                self.flush_count += 1;
                match machine.command(now, Command::Flush(tag)) {
                    Ok(()) => self.flushes.push_back((tag, reply)),
                    refused => self.answer(Some(reply), refused),
                }
            }
            Order::Detach(taker) => match machine.command(now, Command::Detach(HAND_OVER)) {
                Ok(()) => self.taker = Some(taker),
                Err(error) => {
                    let _ = taker.send(Err(error));
                }
            },
            Order::Close(closer) => {
                // About to be somebody else's: then the reply is dropped here.
                if machine.command(now, Command::Close).is_ok() {
                    self.closers.push(closer);
                }
            }
        }
    }

    fn answer(&self, reply: Option<Reply>, answer: Result<(), Error>) {
        match (reply, answer) {
            (Some(reply), answer) => {
                // Who dropped the other end does not want to know.
                let _ = reply.send(answer);
            }
            (None, Err(error)) => {
                let _ = self.shared.refused.set(error);
            }
            (None, Ok(())) => {}
        }
    }

    /// Waits for room on behalf of those who wait for it, and gives up where nobody does.
    fn wait_for_room(&mut self, cx: &Context<'_>, now: Instant, machine: &mut Speaker) -> Poll<()> {
        let is_abandoned = match &mut self.orders {
            Some(orders) => orders.poll_abandoned(cx).is_ready(),
            None => true,
        };
        if !is_abandoned && !self.shared.is_closing.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let due = *self.give_up.get_or_insert(now + self.patience);
        if now < due {
            return Poll::Pending;
        }
        self.is_full = false;
        self.give_up = None;
        self.drop_orders();
        // What the machine accepted has its own time to be sent.
        let _ = machine.command(now, Command::Close);
        Poll::Ready(())
    }

    /// Carries out no order any more, and notes whether a message is among them that nobody waits for.
    fn drop_orders(&mut self) {
        let left = self.orders.as_mut().map(Receiver::close);
        for order in self
            .unfilled
            .take()
            .into_iter()
            .chain(left.into_iter().flatten())
        {
            match order {
                Order::Command(_, None) => self.answer(None, Err(Error::Closed)),
                Order::Close(closer) => self.closers.push(closer),
                // Those who wait for a reply find the end in its place.
                Order::Command(_, Some(_)) | Order::Flush(_) | Order::Detach(_) => {}
            }
        }
        self.orders = None;
    }

    fn end(&mut self, end: Arc<End>) {
        let _ = self.shared.end.set(Arc::clone(&end));
        if !matches!(end.reason, Reason::Detached(_)) {
            self.taker = None;
        }
        self.told.lay(Told::End(end), ENTRY);
        self.is_full = false;
        self.give_up = None;
        self.drop_orders();
        self.flushes.clear();
        self.closers.clear();
    }

    fn incoming(&mut self, incoming: Incoming) {
        let weight = match &incoming {
            Incoming::Message(octets) | Incoming::Expedited(octets) => octets.len() + ENTRY,
            Incoming::NonTpkt(_) => ENTRY,
        };
        self.told.lay(Told::Incoming(incoming), weight);
    }
}

impl Front<Speaker, TcpStream> for Clerk {
    fn event(&mut self, event: Event) {
        match event {
            Event::Indication(indication) => self.told.lay(Told::Indication(indication), ENTRY),
            Event::Connected(connected) => self.told.lay(Told::Connected(connected), ENTRY),
            Event::Received(message) => self.incoming(Incoming::Message(message)),
            Event::Expedited(message) => self.incoming(Incoming::Expedited(message)),
            Event::NonTpkt(first) => self.incoming(Incoming::NonTpkt(first)),
            Event::Room => {
                self.is_full = false;
                self.give_up = None;
            }
            Event::Flushed(tag) => {
                let is_first = self.flushes.front().is_some_and(|(first, _)| *first == tag);
                if is_first && let Some((_, reply)) = self.flushes.pop_front() {
                    self.written.push(reply);
                }
            }
            Event::Failed(end) | Event::Closed(end) => self.end(Arc::from(end)),
        }
    }

    fn handed(&mut self, handed: Detached<TcpStream>) {
        if let Some(taker) = self.taker.take() {
            // Who does not wait for it any more has dropped the connection, and the stream with it.
            let _ = taker.send(Ok(handed));
        }
    }

    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.told.poll_room(cx)
    }

    fn poll_command(&mut self, cx: &Context<'_>, now: Instant, machine: &mut Speaker) -> Poll<()> {
        if self.is_full {
            return self.wait_for_room(cx, now, machine);
        }
        if let Some(order) = ready!(self.poll_order(cx)) {
            self.fill(order, now, machine);
        } else {
            self.orders = None;
            // It can only be refused because the stream is on its way to somebody.
            let _ = machine.command(now, Command::Close);
        }
        Poll::Ready(())
    }

    /// An echo sends before it receives the next message, and waits for ever if its own messages wait for
    /// that. The queue of the machine bounds what is accepted.
    fn takes_commands_when_full(&self) -> bool {
        true
    }

    fn is_gone(&self) -> bool {
        self.orders.is_none() && self.unfilled.is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        self.give_up
    }

    fn rest(&mut self) {
        self.told.ring();
    }

    fn flushed(&mut self) {
        for reply in self.written.drain(..) {
            let _ = reply.send(Ok(()));
        }
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.drop_orders();
    }
}

/// Tells whether a message can be ordered without waiting for the answer: a queue of so many octets is
/// sure to take it sooner or later.
pub(super) fn is_sure(message: &Bytes, send_queue: usize) -> bool {
    !message.is_empty() && message.len() + ENTRY <= send_queue / 2
}
