//! What comes from servers, or claims to.

use core::mem;

use super::answer::{self, Contents, Verdict};
use super::challenge::{Challenge, Session};
use super::{Client, REMEMBERED};
use crate::stun::api::{Event, QueryFailure};
use crate::stun::framing::MessageFraming;
use crate::stun::integrity::Integrity;
use crate::stun::wire::{Message, Method, TransactionId};
use crate::{Ask, Framing as _, Instant, Path, Proto};

impl Client {
    /// Takes octets that came by a channel that is open.
    pub(super) fn on_octets(&mut self, now: Instant, id: u64, from: Path, octets: &[u8]) {
        if from.proto == Proto::Udp {
            return self.on_message(now, id, from, octets);
        }
        let Some(channel) = self.channel_mut(id) else {
            return;
        };
        let mut framing = mem::replace(&mut channel.framing, MessageFraming::new(0));
        let mut rest = octets;
        let is_broken = loop {
            match framing.next(&mut rest) {
                Ok(Some(message)) => self.on_message(now, id, from, message),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if let Some(channel) = self.channel_mut(id) {
            channel.framing = framing;
        }
        if is_broken {
            self.stats.malformed += 1;
            self.asks.push_back(Ask::Abort(from));
            self.lose(id, &QueryFailure::NotStun);
        }
    }

    fn on_message(&mut self, now: Instant, channel: u64, from: Path, octets: &[u8]) {
        let message = Message::decode(octets).ok();
        let message = message.filter(|message| message.check_fingerprint() != Some(false));
        let Some(message) = message.filter(|message| message.method() == Method::BINDING) else {
            self.stats.malformed += 1;
            return self.blame(channel, from);
        };
        if !message.class().is_answer() {
            self.stats.unasked += 1;
            return;
        }
        let mut transactions = self.transactions.iter();
        let index = transactions.position(|it| it.channel == channel && it.awaits(message.id()));
        let Some(index) = index else {
            self.stats.unmatched += 1;
            if !self.answered.contains(&message.id()) {
                self.blame(channel, from);
            }
            return;
        };
        self.on_answer(now, index, from, &message);
    }

    /// Tells the queries to a server of something that claims to be from it.
    fn blame(&mut self, channel: u64, from: Path) {
        let queries = self
            .transactions
            .iter_mut()
            .filter(|it| it.channel == channel && it.to.remote == from.remote && !it.is_queued());
        for query in queries {
            query.silence.forged = query.silence.forged.saturating_add(1);
        }
    }

    /// Takes an answer to a transaction under way.
    fn on_answer(&mut self, now: Instant, index: usize, from: Path, message: &Message<'_>) {
        let Some(transaction) = self.transactions.get_mut(index) else {
            return;
        };
        if from.proto == Proto::Udp && !transaction.expects(from.remote) {
            self.stats.elsewhere += 1;
            transaction.silence.elsewhere = Some(from.remote);
            return;
        }
        let server = self.servers.get(transaction.server());
        let session = server.and_then(|server| server.session.as_ref());
        let session = session.map(|it| (&*it.challenge.realm, it.generation));
        let verdict = answer::judge(transaction, message, session);
        if let Verdict::Unverified(code) = verdict {
            return self.on_unverified(index, code);
        }
        self.stats.answers += 1;
        self.remember(message.id());
        self.measure(now, index);
        match verdict {
            Verdict::Answered(contents, integrity) => {
                self.on_success(now, index, from, contents, integrity);
            }
            Verdict::Failed(failure) => self.fail(index, failure),
            Verdict::Challenged(challenge) => {
                self.count(index, |it| &mut it.challenges);
                self.on_challenge(now, index, Some(challenge));
            }
            Verdict::Stale(challenge) => {
                self.count(index, |it| &mut it.stale);
                self.on_challenge(now, index, challenge);
            }
            Verdict::Retry => self.retry(now, index),
            Verdict::Alternate(remote) => self.send_on(now, index, remote),
            Verdict::Unverified(_) => {}
        }
    }

    fn count(&mut self, index: usize, field: impl FnOnce(&mut super::Transaction) -> &mut u8) {
        if let Some(transaction) = self.transactions.get_mut(index) {
            *field(transaction) += 1;
        }
    }

    fn remember(&mut self, id: TransactionId) {
        if self.answered.len() >= REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back(id);
    }

    /// An answer that came after a request was sent again could be to either, and tells no time (Karn's rule).
    fn measure(&mut self, now: Instant, index: usize) {
        let Some(transaction) = self.transactions.get(index) else {
            return;
        };
        let id = transaction.channel;
        if transaction.sends == 1
            && transaction.to.proto == Proto::Udp
            && let Some(server) = self.servers.get_mut(transaction.server())
        {
            server.on_round_trip(now, transaction.round_trip(now));
        }
        if let Some(channel) = self.channel_mut(id) {
            channel.was_useful = true;
        }
    }

    /// Counts an answer that anybody could have sent. On a connection none can follow it (RFC 8489 section 9.2.5).
    fn on_unverified(&mut self, index: usize, code: Option<u16>) {
        self.stats.unverified += 1;
        let Some(transaction) = self.transactions.get_mut(index) else {
            return;
        };
        let silence = &mut transaction.silence;
        silence.unverified = silence.unverified.saturating_add(1);
        silence.unverified_code = silence.unverified_code.or(code);
        if transaction.to.proto == Proto::Tcp {
            self.fail_silent(index);
        }
    }

    fn on_success(
        &mut self,
        now: Instant,
        index: usize,
        from: Path,
        contents: Contents,
        integrity: Option<Integrity>,
    ) {
        let transaction = self.remove(index);
        let path = Path {
            remote: from.remote,
            ..from
        };
        let is_short_term = matches!(
            transaction.signature,
            super::transaction::Signature::ShortTerm { .. }
        );
        if is_short_term && let Some(server) = self.servers.get_mut(transaction.server()) {
            server.short_term = integrity;
        }
        let answer = contents.into_answer(path, &transaction, now, integrity.is_some());
        let tag = transaction.tag;
        self.events.push_back(Event::Answered { tag, answer });
    }

    /// Signs the requests to a server by its challenge from here on, and has this one begin again.
    fn on_challenge(&mut self, now: Instant, index: usize, challenge: Option<Challenge>) {
        let Some(transaction) = self.transactions.get(index) else {
            return;
        };
        let server = self.servers.get_mut(transaction.server());
        if let (Some(challenge), Some(server), Some(credentials)) =
            (challenge, server, transaction.query.credentials.clone())
        {
            let generation = server.session.as_ref().map_or(0, |it| it.generation);
            let session = Session::new(credentials, challenge, generation.wrapping_add(1));
            server.session = Some(session);
        }
        let channel = transaction.channel;
        self.requeue(index, now, channel);
    }

    fn retry(&mut self, now: Instant, index: usize) {
        if let Some(transaction) = self.transactions.get_mut(index) {
            let (wait, channel) = (transaction.back_off(), transaction.channel);
            self.requeue(index, now + wait, channel);
        }
    }

    /// Asks another server, by the same socket or another connection.
    fn send_on(&mut self, now: Instant, index: usize, remote: core::net::SocketAddr) {
        let Some(transaction) = self.transactions.get(index) else {
            return;
        };
        let (old, from) = (transaction.channel, transaction.to.remote);
        let to = Path {
            remote,
            ..transaction.to
        };
        let Ok(channel) = self.channel_for(now, to) else {
            return self.fail(index, QueryFailure::Unreachable(crate::Cause::InUse));
        };
        self.leave_channel(old);
        self.requeue(index, now, channel);
        if let Some(transaction) = self.transactions.get_mut(index) {
            transaction.visited.push(from);
            transaction.to = to;
            transaction.challenges = 0;
        }
    }
}
