//! One query, and its present transaction.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::server::Server;
use crate::stun::api::{CredentialKind, Query, Silence};
use crate::stun::attribute::{Attribute, ChangeRequest};
use crate::stun::config::Config;
use crate::stun::integrity::{Integrity, IntegrityKey};
use crate::stun::wire::{Class, MessageWriter, Method, TransactionId};
use crate::{Instant, Path, Proto, Rng, Tag};

/// The waits of RFC 3489 section 9.3: they double up to the longest, and the last send is the ninth.
const CLASSIC_RTO: Duration = Duration::from_millis(100);
const CLASSIC_LONGEST: Duration = Duration::from_millis(1600);
const CLASSIC_SENDS: u8 = 9;

/// A query.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) tag: Tag,
    pub(super) query: Query,
    /// The server that is asked, and from where.
    pub(super) to: Path,
    /// The channel by which it is asked.
    pub(super) channel: u64,
    pub(super) begun: Instant,
    pub(super) stage: TransactionStage,
    pub(super) id: TransactionId,
    /// The request, which is the same each time that it is sent.
    pub(super) request: Vec<u8>,
    pub(super) signature: Signature,
    /// Requests of the present transaction.
    pub(super) sends: u8,
    first_sent: Instant,
    rto: Duration,
    /// Whether it lost a connection that had served before.
    pub(super) is_moved: bool,
    /// How often the server said 401, 438 and 5xx, and to where it sent on.
    pub(super) challenges: u8,
    pub(super) stale: u8,
    pub(super) retries: u8,
    pub(super) visited: Vec<SocketAddr>,
    /// What came in place of an answer.
    pub(super) silence: Silence,
}

/// What a transaction waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionStage {
    /// Its turn, not before this time.
    Queued(Instant),
    /// To be written.
    Ready,
    /// An answer, until this time.
    Sent(Instant),
}

/// How the request is signed.
#[derive(Debug)]
pub(super) enum Signature {
    None,
    /// By both integrity attributes if `only` is none.
    ShortTerm {
        key: IntegrityKey,
        only: Option<Integrity>,
    },
    LongTerm {
        key: IntegrityKey,
        integrity: Integrity,
        generation: u32,
    },
}

impl Signature {
    pub(super) const fn key(&self) -> Option<&IntegrityKey> {
        match self {
            Self::None => None,
            Self::ShortTerm { key, .. } | Self::LongTerm { key, .. } => Some(key),
        }
    }

    /// Tells whether an answer may be signed like this: as the request was, or in one of its ways.
    pub(super) fn allows(&self, integrity: Integrity) -> bool {
        match self {
            Self::None => false,
            Self::ShortTerm { only, .. } => only.is_none_or(|only| only == integrity),
            Self::LongTerm { integrity: own, .. } => *own == integrity,
        }
    }
}

impl Transaction {
    pub(super) fn new(tag: Tag, to: Path, query: Query, channel: u64, now: Instant) -> Self {
        Self {
            tag,
            query,
            to,
            channel,
            begun: now,
            stage: TransactionStage::Queued(now),
            id: TransactionId::from_octets([0; 16]),
            request: Vec::new(),
            signature: Signature::None,
            sends: 0,
            first_sent: now,
            rto: Duration::ZERO,
            is_moved: false,
            challenges: 0,
            stale: 0,
            retries: 0,
            visited: Vec::new(),
            silence: Silence::default(),
        }
    }

    pub(super) const fn server(&self) -> (Proto, SocketAddr) {
        (self.to.proto, self.to.remote)
    }

    pub(super) const fn is_queued(&self) -> bool {
        matches!(self.stage, TransactionStage::Queued(_))
    }

    /// Tells whether an answer with this id would be one to a request that was sent.
    pub(super) fn awaits(&self, id: TransactionId) -> bool {
        !self.is_queued() && self.sends > 0 && self.id == id
    }

    /// Begins a transaction: a request with another id.
    pub(super) fn begin(&mut self, config: &Config, server: &Server, rto: Duration, rng: &mut Rng) {
        self.id = if self.query.classic {
            TransactionId::random_classic(rng)
        } else {
            TransactionId::random(rng)
        };
        self.rto = rto;
        self.sends = 0;
        self.stage = TransactionStage::Ready;
        self.signature = self.signature_for(server);
        let mut request = core::mem::take(&mut self.request);
        request.clear();
        let method = Method::BINDING;
        let mut writer = MessageWriter::new(&mut request, method, Class::Request, self.id);
        self.write(&mut writer, config, server);
        self.request = request;
    }

    fn signature_for(&self, server: &Server) -> Signature {
        let Some(credentials) = &self.query.credentials else {
            return Signature::None;
        };
        match (credentials.kind, &server.session) {
            (CredentialKind::ShortTerm, _) => Signature::ShortTerm {
                key: IntegrityKey::short_term(credentials.password.as_bytes()),
                only: server.short_term,
            },
            (CredentialKind::LongTerm, Some(session)) if session.credentials == *credentials => {
                Signature::LongTerm {
                    key: session.key(),
                    integrity: session.integrity(),
                    generation: session.generation,
                }
            }
            (CredentialKind::LongTerm, _) => Signature::None,
        }
    }

    fn write(&self, writer: &mut MessageWriter<'_>, config: &Config, server: &Server) {
        let Query {
            classic,
            change,
            response_port,
            padding,
            credentials,
            ..
        } = &self.query;
        if *change != ChangeRequest::default() {
            writer.attribute(&Attribute::ChangeRequest(*change));
        }
        if *classic {
            return;
        }
        if !config.software.is_empty() {
            writer.attribute(&Attribute::Software(config.software.as_bytes()));
        }
        if let Some(port) = response_port {
            writer.attribute(&Attribute::ResponsePort(*port));
        }
        if *padding > 0 {
            let octets = alloc::vec![0; usize::from(*padding)];
            writer.attribute(&Attribute::Padding(&octets));
        }
        match (&self.signature, credentials, &server.session) {
            (Signature::ShortTerm { key, only }, Some(credentials), _) => {
                writer.attribute(&Attribute::Username(credentials.username.as_bytes()));
                for kind in [Integrity::Sha1, Integrity::Sha256] {
                    if only.is_none_or(|only| only == kind) {
                        writer.integrity(key, kind);
                    }
                }
            }
            (Signature::LongTerm { .. }, _, Some(session)) => session.sign(writer),
            _ => {}
        }
        if config.fingerprint {
            writer.fingerprint();
        }
    }

    /// Notes that the request was sent.
    pub(super) fn on_sent(&mut self, now: Instant, config: &Config) {
        if self.sends == 0 {
            self.first_sent = now;
        }
        self.sends += 1;
        self.silence.sends = self.silence.sends.saturating_add(1);
        self.stage = TransactionStage::Sent(now + self.wait(config));
    }

    /// How long an answer to the last send is awaited.
    fn wait(&self, config: &Config) -> Duration {
        if self.to.proto == Proto::Tcp {
            return config.stream_timeout;
        }
        let doublings = u32::from(self.sends.saturating_sub(1));
        if self.query.classic {
            return (CLASSIC_RTO * (1 << doublings.min(4))).min(CLASSIC_LONGEST);
        }
        if self.sends < config.sends {
            self.rto.saturating_mul(1 << doublings)
        } else {
            self.rto.saturating_mul(config.last_wait.into())
        }
    }

    /// Tells whether no request follows the last one.
    pub(super) fn is_last_send(&self, config: &Config) -> bool {
        let most = match (self.to.proto, self.query.classic) {
            (Proto::Tcp, _) => 1,
            (Proto::Udp, true) => CLASSIC_SENDS,
            (Proto::Udp, false) => config.sends,
        };
        self.sends >= most
    }

    /// Returns the time since the first request of the transaction.
    pub(super) fn round_trip(&self, now: Instant) -> Duration {
        now - self.first_sent
    }

    /// Returns how long to wait before the next retry, twice as long each time.
    pub(super) fn back_off(&mut self) -> Duration {
        self.retries += 1;
        self.rto.saturating_mul(1 << self.retries.min(8))
    }

    /// Returns when the query ends, whatever comes.
    pub(super) fn limit(&self) -> Option<Instant> {
        Some(self.begun + self.query.limit?)
    }

    /// Tells whether an answer may come from there (RFC 8489 section 6.3.1.2): from another IP address or port exactly if
    /// that was asked for.
    pub(super) fn expects(&self, from: SocketAddr) -> bool {
        let ChangeRequest { ip, port } = self.query.change;
        let asked = self.to.remote;
        if !ip && !port {
            return from == asked;
        }
        (from.ip() != asked.ip()) == ip && (from.port() != asked.port()) == port
    }

    pub(super) fn memory_used(&self) -> usize {
        let credentials = self.query.credentials.as_ref();
        credentials.map_or(0, crate::stun::api::Credentials::memory_used)
            + self.request.capacity()
            + self.visited.capacity() * size_of::<SocketAddr>()
    }
}
