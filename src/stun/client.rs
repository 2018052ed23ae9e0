//! The client: queries to any number of servers, over UDP and TCP.

mod answer;
mod challenge;
mod channel;
mod receive;
mod server;
mod transaction;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use channel::{Blocked, Channel, Stage, carrier_of};
use server::Servers;
use transaction::{Transaction, TransactionStage};

use super::api::{Command, Error, Event, Query, QueryFailure, Stats};
use super::config::{Config, ConfigError};
use super::wire::TransactionId;
use crate::{Ask, Cause, Instant, Link, Machine, Output, Path, Proto, Rng, Seed, Tag, Transmit};

/// Answered transactions that are remembered: a second answer to one of them is no forgery.
const REMEMBERED: usize = 32;
/// The longest RTO that round trips lead to.
const MAX_RTO: Duration = Duration::from_secs(60);

/// Asks STUN servers, over sockets that it opens or is given; see the [module](super).
///
/// It is a [`Machine`] on [`Path`]s.
#[derive(Debug)]
pub struct Client {
    config: Config,
    rng: Rng,
    now: Instant,
    transactions: Vec<Transaction>,
    channels: Vec<Channel>,
    blocked: Blocked,
    servers: Servers,
    events: VecDeque<Event>,
    asks: VecDeque<Ask<Path>>,
    /// The last transactions that were answered, the latest at the end.
    answered: VecDeque<TransactionId>,
    next_id: u64,
    life: Life,
    stats: Stats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Closing,
    Done,
}

/// What was written of what waits.
enum Written {
    Something,
    Nothing,
    /// Nothing, as something had to be given up.
    Failed,
}

impl Client {
    /// Makes a client without sockets and queries.
    ///
    /// # Errors
    ///
    /// The configuration is invalid.
    pub fn new(config: Config, seed: &Seed) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            rng: seed.rng(),
            now: Instant::ZERO,
            transactions: Vec::new(),
            channels: Vec::new(),
            blocked: Blocked::default(),
            servers: Servers::default(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            answered: VecDeque::new(),
            next_id: 0,
            life: Life::Running,
            stats: Stats::default(),
        })
    }

    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Begins a query; see [`Command::Query`].
    ///
    /// # Errors
    ///
    /// Why the query is not possible, or not at present.
    pub fn query(&mut self, now: Instant, tag: Tag, to: Path, query: Query) -> Result<(), Error> {
        let now = self.advance(now);
        if self.life != Life::Running {
            return Err(Error::Closed);
        }
        query.check(to)?;
        if self.transactions.iter().any(|it| it.tag == tag) {
            return Err(Error::TagInUse(tag));
        }
        let queries = self.config.queries;
        let pending = self.events.len().max(self.asks.len() / 2);
        if self.transactions.len() + pending >= usize::from(queries) {
            return Err(Error::TooManyQueries(queries));
        }
        let channel = self.channel_for(now, to)?;
        let transaction = Transaction::new(tag, to, query, channel, now);
        self.transactions.push(transaction);
        Ok(())
    }

    /// Gives up a query; see [`Command::Cancel`].
    ///
    /// # Errors
    ///
    /// There is no such query.
    pub fn cancel(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        let index = self.transactions.iter().position(|it| it.tag == tag);
        self.remove(index.ok_or(Error::NoQuery(tag))?);
        Ok(())
    }

    /// Gives up all queries and closes what the client has opened; see [`Command::Close`].
    ///
    /// # Errors
    ///
    /// The client was closed before.
    pub fn close(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        if self.life != Life::Running {
            return Err(Error::Closed);
        }
        self.life = Life::Closing;
        self.transactions.clear();
        while let Some(channel) = self.channels.pop() {
            self.ask_to_close(&channel);
        }
        Ok(())
    }

    /// Time that goes backwards stands still.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn channel(&self, id: u64) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    fn channel_mut(&mut self, id: u64) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.id == id)
    }

    /// Finds the channel to `to` or opens one, and counts its user.
    fn channel_for(&mut self, now: Instant, to: Path) -> Result<u64, Error> {
        if let Some(channel) = self.channels.iter_mut().find(|it| it.serves(to)) {
            channel.users += 1;
            return Ok(channel.id);
        }
        let sockets = self.config.sockets;
        if self.channels.len() >= usize::from(sockets) {
            let unused = |channel: &Channel| channel.users == 0 && channel.is_own;
            let index = self.channels.iter().position(unused);
            self.drop_channel(index.ok_or(Error::TooManySockets(sockets))?);
        }
        let tag = Tag(self.next_id);
        let until = now + self.config.stream_timeout;
        let path = carrier_of(to);
        let id = self.add_channel(path, Stage::Opening(tag, until));
        self.asks.push_back(Ask::Open { tag, path });
        if let Some(channel) = self.channel_mut(id) {
            channel.users = 1;
        }
        Ok(id)
    }

    fn add_channel(&mut self, path: Path, stage: Stage) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        // Of 32 bits.
        let max_message = usize::try_from(self.config.max_message).unwrap_or(usize::MAX);
        self.channels
            .push(Channel::new(id, path, stage, max_message));
        id
    }

    fn drop_channel(&mut self, index: usize) {
        let channel = self.remove_channel(index);
        self.ask_to_close(&channel);
    }

    fn remove_channel(&mut self, index: usize) -> Channel {
        let channel = self.channels.remove(index);
        if channel.is_open() {
            self.blocked.forget(channel.path);
        }
        channel
    }

    fn ask_to_close(&mut self, channel: &Channel) {
        self.asks.push_back(match channel.stage {
            Stage::Opening(tag, _) => Ask::Cancel(tag),
            Stage::Open => Ask::Close(channel.path),
        });
    }

    /// Ends all queries of a channel that is gone, or was; those of a connection that served before go on by another one,
    /// as the server may have closed it because it was idle.
    fn lose(&mut self, id: u64, failure: &QueryFailure) {
        let Some(index) = self.channels.iter().position(|channel| channel.id == id) else {
            return;
        };
        let was_useful = self.remove_channel(index).was_useful;
        let mut index = 0;
        while let Some(transaction) = self.transactions.get_mut(index) {
            if transaction.channel != id {
                index += 1;
                continue;
            }
            let (to, may_go_on) = (transaction.to, was_useful && !transaction.is_moved);
            transaction.is_moved = true;
            if may_go_on && let Ok(channel) = self.channel_for(self.now, to) {
                self.requeue(index, self.now, channel);
                index += 1;
            } else {
                self.fail(index, failure.clone());
            }
        }
    }

    /// Has a transaction begin again at that time, on that channel.
    fn requeue(&mut self, index: usize, at: Instant, channel: u64) {
        self.leave_server(index);
        if let Some(transaction) = self.transactions.get_mut(index) {
            transaction.stage = TransactionStage::Queued(at);
            transaction.channel = channel;
        }
    }

    /// Lets the server of a transaction have another one.
    fn leave_server(&mut self, index: usize) {
        let transaction = self.transactions.get(index);
        if let Some(transaction) = transaction.filter(|it| !it.is_queued())
            && let Some(server) = self.servers.get_mut(transaction.server())
        {
            server.active = server.active.saturating_sub(1);
        }
    }

    fn leave_channel(&mut self, id: u64) {
        let expires = self.now + self.config.idle;
        if let Some(channel) = self.channel_mut(id) {
            channel.users = channel.users.saturating_sub(1);
            channel.expires = expires;
        }
    }

    fn remove(&mut self, index: usize) -> Transaction {
        self.leave_server(index);
        let transaction = self.transactions.remove(index);
        self.leave_channel(transaction.channel);
        transaction
    }

    fn fail(&mut self, index: usize, failure: QueryFailure) {
        let tag = self.remove(index).tag;
        self.events.push_back(Event::Failed { tag, failure });
    }

    fn fail_silent(&mut self, index: usize) {
        let now = self.now;
        if let Some(transaction) = self.transactions.get_mut(index) {
            transaction.silence.after = now - transaction.begun;
            let silence = transaction.silence;
            self.fail(index, QueryFailure::Silent(silence));
        }
    }

    /// Does all that is due: ends, sends again, closes, and starts what may start.
    fn fire(&mut self, now: Instant) {
        self.fire_transactions(now);
        self.fire_channels(now);
        let mut index = 0;
        while index < self.transactions.len() {
            if self.start_time(index).is_none_or(|at| at > now) {
                index += 1;
            } else if let Some(cause) = self.down(index) {
                self.fail(index, QueryFailure::Unreachable(cause));
            } else {
                self.start(now, index);
                index += 1;
            }
        }
    }

    fn fire_transactions(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(transaction) = self.transactions.get_mut(index) {
            let is_over = transaction.limit().is_some_and(|limit| limit <= now);
            let is_due = match transaction.stage {
                TransactionStage::Sent(until) => until <= now,
                _ => false,
            };
            if is_over || (is_due && transaction.is_last_send(&self.config)) {
                self.fail_silent(index);
                continue;
            }
            if is_due {
                transaction.stage = TransactionStage::Ready;
            }
            index += 1;
        }
    }

    fn fire_channels(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(channel) = self.channels.get(index) {
            if channel.deadline().is_none_or(|deadline| deadline > now) {
                index += 1;
            } else if channel.users == 0 {
                self.drop_channel(index);
            } else {
                let id = channel.id;
                if let Stage::Opening(tag, _) = channel.stage {
                    self.asks.push_back(Ask::Cancel(tag));
                }
                self.lose(id, &QueryFailure::Unreachable(Cause::TimedOut));
            }
        }
    }

    /// Returns when a transaction may start; `None` if something else has to happen first, or it has started.
    fn start_time(&self, index: usize) -> Option<Instant> {
        let transaction = self.transactions.get(index)?;
        let TransactionStage::Queued(at) = transaction.stage else {
            return None;
        };
        let channel = self.channel(transaction.channel)?;
        if !channel.is_open() || (channel.is_stream() && !channel.is_writable()) {
            return None;
        }
        match self.servers.get(transaction.server()) {
            Some(server) if server.active >= self.config.per_server => None,
            Some(server) => Some(at.max(server.next_start)),
            None => Some(at),
        }
    }

    /// Returns why the server of a transaction cannot be written to.
    fn down(&self, index: usize) -> Option<Cause> {
        let transaction = self.transactions.get(index)?;
        let channel = self.channel(transaction.channel)?;
        let at = Path::udp(channel.path.local, transaction.to.remote);
        match self.blocked.get(at)? {
            Link::Down(cause) => Some(cause),
            _ => None,
        }
    }

    fn start(&mut self, now: Instant, index: usize) {
        let Self {
            config,
            rng,
            transactions,
            channels,
            servers,
            stats,
            ..
        } = self;
        let Some(transaction) = transactions.get_mut(index) else {
            return;
        };
        let measured = servers.timeout(transaction.to.remote, now);
        let rto = measured.unwrap_or_default().min(MAX_RTO).max(config.rto);
        let server = servers.enter(transaction.server(), now, usize::from(config.queries));
        server.active = server.active.saturating_add(1);
        server.next_start = now + config.pace;
        transaction.begin(config, server, rto, rng);
        let mut streams = channels.iter_mut().filter(|it| it.is_stream());
        if let Some(stream) = streams.find(|it| it.id == transaction.channel) {
            stream.out.extend_from_slice(&transaction.request);
            transaction.on_sent(now, config);
            stats.requests += 1;
        }
    }

    fn write(&mut self, now: Instant, tx: &mut Transmit<Path>) -> Written {
        if self.write_stream(tx) {
            return Written::Something;
        }
        for index in 0..self.transactions.len() {
            let Some((path, len)) = self.ready(index) else {
                continue;
            };
            let Some(transaction) = self.transactions.get_mut(index) else {
                break;
            };
            let request = &transaction.request;
            if tx.push(path, len, |out| out.extend_from_slice(request)) {
                transaction.on_sent(now, &self.config);
                self.stats.requests += 1;
            } else if tx.is_empty() {
                self.fail(index, QueryFailure::TooLong { octets: len });
                return Written::Failed;
            } else {
                break;
            }
        }
        if tx.is_empty() {
            Written::Nothing
        } else {
            Written::Something
        }
    }

    /// Returns where a request has to be sent at once, and its octets.
    fn ready(&self, index: usize) -> Option<(Path, usize)> {
        let transaction = self.transactions.get(index)?;
        if transaction.stage != TransactionStage::Ready {
            return None;
        }
        let channel = self.channel(transaction.channel)?;
        let path = Path::udp(channel.path.local, transaction.to.remote);
        let may_write = !channel.is_full && self.blocked.get(path).is_none();
        may_write.then_some((path, transaction.request.len()))
    }

    fn write_stream(&mut self, tx: &mut Transmit<Path>) -> bool {
        let waiting = self.channels.iter_mut();
        let waiting = waiting.filter(|channel| channel.is_open() && !channel.is_full);
        for channel in waiting {
            let rest = channel.out.get(channel.written..).unwrap_or_default();
            let len = rest.len().min(tx.room_in_stream(channel.path));
            let run = rest.get(..len).unwrap_or_default();
            if tx.append(channel.path, len, |out| out.extend_from_slice(run)) {
                channel.written += len;
                if channel.written == channel.out.len() {
                    channel.out.clear();
                    channel.written = 0;
                }
                return true;
            }
        }
        false
    }

    fn deadline(&self) -> Option<Instant> {
        let starts = (0..self.transactions.len()).filter_map(|index| self.start_time(index));
        let transactions = self.transactions.iter().flat_map(|transaction| {
            let sent = match transaction.stage {
                TransactionStage::Sent(until) => Some(until),
                _ => None,
            };
            [sent, transaction.limit()]
        });
        let channels = self.channels.iter().map(Channel::deadline);
        let timers = transactions.chain(channels).flatten();
        timers.chain(starts).min()
    }

    fn on_opened(&mut self, tag: Tag, at: Path) {
        let is_it =
            |channel: &&mut Channel| matches!(channel.stage, Stage::Opening(it, _) if it == tag);
        if let Some(channel) = self.channels.iter_mut().find(is_it) {
            channel.stage = Stage::Open;
            channel.path = at;
        }
    }

    /// A socket or a connection that the driver was given.
    fn on_up(&mut self, at: Path) {
        let is_known = self.channels.iter().any(|channel| channel.path == at);
        // A UDP socket or a connection, and no listener.
        let is_channel = at.is_socket() == (at.proto == Proto::Udp);
        let has_room = self.channels.len() < usize::from(self.config.sockets);
        if !is_known && is_channel && has_room && self.life == Life::Running {
            self.add_channel(at, Stage::Open);
        }
    }

    /// A cue of one address that a UDP socket reaches.
    fn on_cue_of_address(&mut self, at: Path, cue: Link) {
        self.blocked.on_cue(at, cue);
        let Some(id) = self.open_at(carrier_of(at)) else {
            return;
        };
        let Link::Down(cause) = cue else {
            return;
        };
        let mut index = 0;
        while let Some(transaction) = self.transactions.get(index) {
            if transaction.channel == id && transaction.to.remote == at.remote {
                self.fail(index, QueryFailure::Unreachable(cause));
            } else {
                index += 1;
            }
        }
    }

    fn open_at(&self, at: Path) -> Option<u64> {
        let mut open = self.channels.iter().filter(|channel| channel.is_open());
        open.find(|channel| channel.path == at).map(|it| it.id)
    }

    /// Returns the bytes of memory that the client has allocated.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let transactions = self.transactions.iter().map(Transaction::memory_used);
        let channels = self.channels.iter().map(Channel::memory_used);
        let events = self.events.iter().map(Event::memory_used);
        let tables = self.transactions.capacity() * size_of::<Transaction>()
            + self.channels.capacity() * size_of::<Channel>()
            + self.events.capacity() * size_of::<Event>()
            + self.asks.capacity() * size_of::<Ask<Path>>()
            + self.answered.capacity() * size_of::<TransactionId>();
        let contents = transactions.chain(channels).chain(events).sum::<usize>();
        tables
            + contents
            + self.blocked.memory_used()
            + self.servers.memory_used()
            + self.config.software.capacity()
    }

    /// Returns the exchanges under way or remembered, each of which a peer can make cost some memory.
    pub(super) fn exchanges(&self) -> usize {
        self.channels.len() + self.servers.len() + self.transactions.len() + self.events.len()
    }

    /// Returns the bytes of memory for what was received.
    pub(super) fn memory_for_input(&self) -> usize {
        let channels = self.channels.iter().map(|it| it.framing.memory_used());
        let events = self.events.iter().map(Event::memory_used);
        channels.chain(events).sum()
    }
}

impl Machine for Client {
    type Addr = Path;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: Path, octets: &[u8]) {
        let now = self.advance(now);
        match self.open_at(carrier_of(from)) {
            Some(id) => self.on_octets(now, id, from, octets),
            None => self.stats.unmatched += 1,
        }
    }

    fn link(&mut self, now: Instant, at: Path, state: Link) {
        self.advance(now);
        let is_of_socket = at.proto == Proto::Udp && !at.is_socket();
        match state {
            Link::Up | Link::Full | Link::Free | Link::Down(_) if is_of_socket => {
                self.on_cue_of_address(at, state);
            }
            Link::Up => self.on_up(at),
            Link::Opened(tag) => self.on_opened(tag, at),
            Link::Failed(tag, cause) => {
                let mut opening = self.channels.iter();
                let failed = opening
                    .find(|it| matches!(it.stage, Stage::Opening(it, _) if it == tag))
                    .map(|it| it.id);
                if let Some(id) = failed {
                    self.lose(id, &QueryFailure::Unreachable(cause));
                }
            }
            Link::Full | Link::Free => {
                let channels = self.channels.iter_mut().filter(|it| it.is_open());
                for channel in channels.filter(|it| it.path == at) {
                    channel.is_full = state == Link::Full;
                }
            }
            Link::Ended => {
                if let Some(id) = self.open_at(at).filter(|_| at.proto == Proto::Tcp) {
                    self.asks.push_back(Ask::Close(at));
                    self.lose(id, &QueryFailure::Unreachable(Cause::Closed));
                }
            }
            Link::Down(cause) => {
                if let Some(id) = self.open_at(at) {
                    self.lose(id, &QueryFailure::Unreachable(cause));
                }
            }
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match command {
            Command::Query { tag, to, query } => self.query(now, tag, to, query),
            Command::Cancel(tag) => self.cancel(now, tag),
            Command::Close => self.close(now),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Path>) -> Output<Path, Event> {
        tx.clear();
        let now = self.advance(now);
        self.fire(now);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            if let Some(ask) = self.asks.pop_front() {
                return Output::Ask(ask);
            }
            if self.life != Life::Running {
                self.life = Life::Done;
                return Output::Done;
            }
            match self.write(now, tx) {
                Written::Something => return Output::Transmit,
                Written::Nothing => return Output::Idle(self.deadline()),
                Written::Failed => self.fire(now),
            }
        }
    }
}
