//! Configuration of an engine and of its peers, and the errors of an invalid one.

use core::error::Error as StdError;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use super::auth::{Auth, Keys};
use super::beyond::{AdaptiveRedundancy, Flow, Redundancy, RtoBounds, RtoPolicy};

/// Octets into which any control segment fits, with 64-bit numbers and one claim.
pub const MIN_SEGMENT: usize = 96;

/// The configuration of an engine, and its limits. `Default` is engine 1.
///
/// With the feature `serde`, a configuration file needs only the fields that differ from the default. Unknown
/// fields are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Config {
    /// The engine ID. 0 is reserved (RFC 7116 section 3.1.2). Default 1.
    pub engine: u64,
    /// The range of session numbers. Default 32 bits, as CCSDS 734.1-B-1 requires.
    pub numbers: Numbers,
    /// The maximum number of peers. Default 16,384.
    pub max_peers: u32,
    /// The maximum number of open client services. Default 256.
    pub max_services: u32,
    /// The maximum number of blocks being sent, to all peers. Default 131,072.
    pub max_exports: u32,
    /// The maximum number of blocks being received, from all peers. Default 131,072.
    pub max_imports: u32,
    /// The maximum number of octets of blocks being sent. Default 1 GiB.
    pub export_octets: usize,
    /// The maximum number of octets allocated for blocks being received and for those the application has not
    /// taken: events that were not polled, and what waits in services opened on demand. Default 1 GiB.
    pub import_octets: usize,
    /// The maximum number of octets allocated for blocks being received from all strangers together: peers that were
    /// accepted by [`Command::AcceptUnknownPeers`](super::Command::AcceptUnknownPeers). Default 64 MiB.
    ///
    /// It is part of `import_octets`. A red segment beyond it is dropped and not claimed, unless a stranger that has
    /// proved nothing and was not heard for longer gives way.
    pub strangers: usize,
    /// The maximum number of octets of buffers that are kept for reuse after the application has dropped their
    /// blocks, within `import_octets`. Default 128 MiB; 0 keeps none.
    ///
    /// Reuse makes a sequence of large blocks several times faster. A block in a kept buffer is shared with the
    /// engine, so `Vec::from` copies the data of [`Event::Received`](super::Event::Received).
    pub pool_octets: usize,
    /// The number of events that wait to be polled before new sessions are refused. Default 65,536. What waits
    /// in services opened on demand is bounded by `import_octets` alone.
    pub max_events: u32,
    /// The maximum number of control segments queued for one peer. Further ones are dropped, and repeated by
    /// their timers. Default 16,384.
    pub max_control: u32,
    /// The maximum number of closed sessions that are remembered. Each is for twice the time in which the peer could
    /// repeat a segment of it. Default 262,144.
    pub max_closed: u32,
    /// The maximum number of sessions whose cookies are kept for [`Engine::cookies`](super::Engine::cookies)
    /// (RFC 5327 section 2.2). Default 0: cookies are ignored.
    pub max_cookies: u32,
    /// Whether this engine tells others that it is of this crate, and with it the receive buffer of its socket, by a
    /// private header extension (RFC 5326 section 3.1.4): in the first segment of a block and in every 64th until
    /// it is answered, to peers with [`Flow::Auto`]; and in reports to those who told the same. Others ignore the
    /// extension. Default true.
    pub hello: bool,
    /// Whether [`Event::Sent`](super::Event::Sent) reports that every segment of a block was sent once (RFC 5326
    /// section 7.7). Default false.
    pub notify_sent: bool,
}

/// The range of session numbers. They are drawn at random, so that nobody can guess one (RFC 5326 section 9.1)
/// and a restarted engine does not reuse one that its peers remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Numbers {
    /// From 1 to 2^32 - 1. ION and the CCSDS profile accept no others.
    #[default]
    Bits32,
    /// From 1 to 2^64 - 1.
    Bits64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: 1,
            numbers: Numbers::Bits32,
            max_peers: 1 << 14,
            max_services: 256,
            max_exports: 1 << 17,
            max_imports: 1 << 17,
            export_octets: 1 << 30,
            import_octets: 1 << 30,
            strangers: 64 << 20,
            pool_octets: 1 << 27,
            max_events: 1 << 16,
            max_control: 1 << 14,
            max_closed: 1 << 18,
            max_cookies: 0,
            hello: true,
            notify_sent: false,
        }
    }
}

impl Config {
    /// Returns the default configuration for the engine with this ID.
    #[must_use]
    pub fn engine(engine: u64) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        if self.engine == 0 {
            return Err(ConfigError::EngineZero);
        }
        Ok(())
    }
}

/// Defines the functions that serde calls for absent fields of a peer.
#[cfg(feature = "serde")]
macro_rules! defaults {
    ($($field:ident: $type:ty),* $(,)?) => {
        mod default {
            use super::*;
            $(pub(super) fn $field() -> $type {
                Peer::new(()).$field
            })*
        }
    };
}
#[cfg(feature = "serde")]
defaults! {
    remote_delay: Duration, own_delay: Duration, segment: usize, checkpoint_retries: u8,
    report_retries: u8, cancel_retries: u8, problem_limit: u32, cycle_limit: u32, max_exports: u32,
    max_imports: u32, session_octets: usize, import_octets: usize, first_silence: Duration,
    silence: Duration,
}

/// The configuration of one peer. It can be changed at any time.
///
/// With the feature `serde`, a configuration file needs the address and the fields that differ from
/// [`Peer::new`]. Durations are texts such as `"1.3s"` or `"20m"`, or numbers of seconds. Unknown fields are
/// refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Peer<A> {
    /// The address that segments to the peer are sent to. Several peers may have the same, as behind a gateway.
    pub address: A,
    /// One-way light time (OWLT) to the peer. Default 0.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::serde_duration"))]
    pub owlt_out: Duration,
    /// One-way light time (OWLT) from the peer. Default 0.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::serde_duration"))]
    pub owlt_in: Duration,
    /// The time the peer takes to queue and answer a segment. Default 1 s.
    #[cfg_attr(feature = "serde", serde(default = "default::remote_delay"))]
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub remote_delay: Duration,
    /// The time this engine takes, half of it for sending and half for receiving. Default 1 s.
    #[cfg_attr(feature = "serde", serde(default = "default::own_delay"))]
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub own_delay: Duration,
    /// How fast this engine sends. Default [`Flow::Auto`]: as fast as the peer is found to bear.
    #[cfg_attr(feature = "serde", serde(default))]
    pub flow: Flow,
    /// The maximum length of a segment in octets, all headers included, at least 96. Default 1400.
    #[cfg_attr(feature = "serde", serde(default = "default::segment"))]
    pub segment: usize,
    /// How often a checkpoint is repeated before the session is cancelled (RFC 5326 section 6.7). Default 5.
    #[cfg_attr(feature = "serde", serde(default = "default::checkpoint_retries"))]
    pub checkpoint_retries: u8,
    /// How often a report is repeated (RFC 5326 section 6.8). Default 5.
    #[cfg_attr(feature = "serde", serde(default = "default::report_retries"))]
    pub report_retries: u8,
    /// How often a cancellation is repeated (RFC 5326 section 6.16). Default 5.
    #[cfg_attr(feature = "serde", serde(default = "default::cancel_retries"))]
    pub cancel_retries: u8,
    /// The maximum number of retransmissions, or of reports with gaps, in one session (RFC 5326 sections 6.11
    /// and 6.13). Large blocks on lossy lines need many, as each part of a split report counts. Default
    /// 65,536.
    #[cfg_attr(feature = "serde", serde(default = "default::problem_limit"))]
    pub problem_limit: u32,
    /// The maximum number of retransmission cycles in one session, that is of repairs of repairs (RFC 5326
    /// section 6.22). Default 64.
    #[cfg_attr(feature = "serde", serde(default = "default::cycle_limit"))]
    pub cycle_limit: u32,
    /// The maximum number of blocks being sent to this peer. A further block is refused. Default 16,384.
    #[cfg_attr(feature = "serde", serde(default = "default::max_exports"))]
    pub max_exports: u32,
    /// The maximum number of blocks being received from this peer. Segments of further ones are dropped.
    /// Default 16,384.
    #[cfg_attr(feature = "serde", serde(default = "default::max_imports"))]
    pub max_imports: u32,
    /// The maximum length of a received red part in octets. Default 128 MiB.
    #[cfg_attr(feature = "serde", serde(default = "default::session_octets"))]
    pub session_octets: usize,
    /// The maximum number of octets allocated for blocks being received from this peer. Default 512 MiB.
    #[cfg_attr(feature = "serde", serde(default = "default::import_octets"))]
    pub import_octets: usize,
    /// Every how many segments of a red part a discretionary checkpoint is sent, beside those of the flow. Default
    /// `None`, never. ION cancels a block for any of them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub checkpoint_every: Option<NonZeroU32>,
    /// How long a report with gaps is delayed for segments in flight. It starts again with each segment that
    /// fills a gap. Default 0, not at all.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::serde_duration"))]
    pub report_delay: Duration,
    /// How long a retransmission is delayed for further reports of the same session. Default 0, not at all.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::serde_duration"))]
    pub repair_delay: Duration,
    /// The number of copies of each checkpoint, report and cancellation. Default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub redundancy: Redundancy,
    /// How the retransmission timeout is found. Default by `remote_delay` and `own_delay`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rto: RtoPolicy,
    /// The directions in which segments can be sent. Default both.
    #[cfg_attr(feature = "serde", serde(default))]
    pub direction: Direction,
    /// The interval of keep-alives in a silent direction, for NATs and firewalls on the path, at least 15 s (RFC
    /// 7122 section 3.4). Default `None`: none are sent.
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "crate::serde_duration::option")
    )]
    pub keepalive: Option<Duration>,
    /// How long a peer that was never heard may owe an answer until it is given up. Default 12 s.
    ///
    /// A peer so distant that all repetitions take longer is given that time, here and with
    /// [`silence`](Self::silence). Time in closed contacts does not count.
    #[cfg_attr(
        feature = "serde",
        serde(default = "default::first_silence", with = "crate::serde_duration")
    )]
    pub first_silence: Duration,
    /// How long a peer that was heard may be silent while it owes an answer, or while the rest of a block from it is
    /// missing. Default 10 min.
    ///
    /// Retries count only while the peer is heard. A silent one gets one signal at doubled intervals, and one a minute
    /// at most, until it is heard or given up.
    #[cfg_attr(
        feature = "serde",
        serde(default = "default::silence", with = "crate::serde_duration")
    )]
    pub silence: Duration,
    /// Whether segments of the peer are accepted from any host. Default false: from that of `address` alone, whatever
    /// the port, as ION sends from another port than it listens at.
    ///
    /// Engine IDs can be forged by anybody, so a peer that moves should be authenticated. It is answered at `address`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub roams: bool,
    /// How segments are authenticated (RFC 5327 section 2.1). Default not at all.
    #[cfg_attr(feature = "serde", serde(default))]
    pub auth: Auth,
}

impl<A> Peer<A> {
    /// Returns the default configuration of a peer at `address`, which has no light time.
    ///
    /// It is sent to as fast as it is found to bear ([`Flow::Auto`]). For a radio, set light times and a rate.
    #[must_use]
    pub const fn new(address: A) -> Self {
        Self {
            address,
            owlt_out: Duration::ZERO,
            owlt_in: Duration::ZERO,
            remote_delay: Duration::from_secs(1),
            own_delay: Duration::from_secs(1),
            flow: Flow::Auto,
            segment: 1400,
            checkpoint_retries: 5,
            report_retries: 5,
            cancel_retries: 5,
            problem_limit: 1 << 16,
            cycle_limit: 64,
            max_exports: 1 << 14,
            max_imports: 1 << 14,
            session_octets: 1 << 27,
            import_octets: 1 << 29,
            checkpoint_every: None,
            report_delay: Duration::ZERO,
            repair_delay: Duration::ZERO,
            redundancy: Redundancy::Fixed(0),
            rto: RtoPolicy::Fixed,
            direction: Direction::Both,
            keepalive: None,
            roams: false,
            first_silence: Duration::from_secs(12),
            silence: Duration::from_secs(600),
            auth: Auth::OFF,
        }
    }

    /// Returns the same peer with a one-way light time of `owlt` in both directions.
    #[must_use]
    pub fn at_distance(self, owlt: Duration) -> Self {
        Self {
            owlt_out: owlt,
            owlt_in: owlt,
            ..self
        }
    }

    /// Returns the same peer with this flow.
    #[must_use]
    pub fn with_flow(self, flow: Flow) -> Self {
        Self { flow, ..self }
    }

    /// Returns the same peer with its address mapped to another type.
    #[must_use]
    pub fn map_address<B>(self, map: impl FnOnce(A) -> B) -> Peer<B> {
        Peer {
            address: map(self.address),
            owlt_out: self.owlt_out,
            owlt_in: self.owlt_in,
            remote_delay: self.remote_delay,
            own_delay: self.own_delay,
            flow: self.flow,
            segment: self.segment,
            checkpoint_retries: self.checkpoint_retries,
            report_retries: self.report_retries,
            cancel_retries: self.cancel_retries,
            problem_limit: self.problem_limit,
            cycle_limit: self.cycle_limit,
            max_exports: self.max_exports,
            max_imports: self.max_imports,
            session_octets: self.session_octets,
            import_octets: self.import_octets,
            checkpoint_every: self.checkpoint_every,
            report_delay: self.report_delay,
            repair_delay: self.repair_delay,
            redundancy: self.redundancy,
            rto: self.rto,
            direction: self.direction,
            keepalive: self.keepalive,
            roams: self.roams,
            first_silence: self.first_silence,
            silence: self.silence,
            auth: self.auth,
        }
    }

    /// Returns the same peer with everything that adapts to the line: copies of signals, duplicate repairs, a
    /// learned timeout, and, if a rate is set, a discretionary checkpoint every quarter of a round trip of the
    /// light.
    ///
    /// A block that takes longer to send than the light takes is then repaired while it is sent. The line is
    /// assumed to keep the order of segments ([`AdaptiveRedundancy`]). Set light times and rate before.
    #[must_use]
    pub fn adaptive(self) -> Self {
        let light = self.owlt_out + self.owlt_in;
        let quarter = self.flow.given_rate().map(|rate| {
            let octets = light.as_nanos() * u128::from(rate.get()) / 4_000_000_000;
            let segments = octets / (self.segment.max(1) as u128);
            let segments = u32::try_from(segments).unwrap_or(u32::MAX);
            NonZeroU32::MIN.saturating_add(segments.saturating_sub(1))
        });
        Self {
            redundancy: Redundancy::Adaptive(AdaptiveRedundancy {
                spacing: light / 32,
                duplicate_repairs: 3,
                ..AdaptiveRedundancy::default()
            }),
            rto: RtoPolicy::Learned(RtoBounds::default()),
            checkpoint_every: quarter.or(self.checkpoint_every),
            ..self
        }
    }

    /// Checks the configuration, and returns its keys ready for use.
    pub(super) fn check(&self) -> Result<Keys, ConfigError> {
        let keys = Keys::new(&self.auth)?;
        let min = MIN_SEGMENT + keys.overhead();
        if self.segment < min {
            let len = self.segment;
            return Err(ConfigError::Segment { len, min });
        }
        let limit = Duration::from_secs(MAX_DURATION);
        let durations = [
            self.owlt_out,
            self.owlt_in,
            self.remote_delay,
            self.own_delay,
            self.report_delay,
            self.repair_delay,
            self.redundancy.spacing(),
            self.rto.longest(),
            self.keepalive.unwrap_or_default(),
            self.first_silence,
            self.silence,
        ];
        self.redundancy.check()?;
        self.rto.check(MIN_ROUND_TRIP)?;
        if let Some(interval) = self.keepalive.filter(|interval| *interval < MIN_KEEPALIVE) {
            return Err(ConfigError::KeepAlive { interval });
        }
        match durations.into_iter().find(|duration| *duration > limit) {
            Some(duration) => Err(ConfigError::Duration { duration, limit }),
            None if self.round_trip() < MIN_ROUND_TRIP => Err(ConfigError::RoundTrip),
            None => Ok(keys),
        }
    }

    /// Returns how long an answer takes, delays of both sides included.
    pub(super) fn round_trip(&self) -> Duration {
        self.owlt_out + self.owlt_in + self.remote_delay + self.own_delay
    }
}

/// The directions in which segments can be sent between this engine and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Direction {
    /// Both directions.
    #[default]
    Both,
    /// Only from the peer to this engine, which is receive-only. Blocks received whole are delivered. Nothing is
    /// reported, acknowledged or cancelled (RFC 5326 sections 4.2 and 6.21).
    ReceiveOnly,
    /// Only from this engine to the peer: this engine is a beacon. Blocks must be green, as nothing acknowledges
    /// red octets.
    SendOnly,
}

/// The longest duration of a peer, in seconds: a century, so that sums never saturate.
const MAX_DURATION: u64 = 100 * 366 * 86_400;
/// The shortest round trip, delays included. A timer that falls due at once would never let a drain end.
const MIN_ROUND_TRIP: Duration = Duration::from_micros(1);

/// The shortest interval of keep-alives (RFC 7122 section 3.4).
const MIN_KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a configuration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Engine ID 0 is reserved (RFC 7116 section 3.1.2).
    EngineZero,
    /// Segments are too short for control segments.
    Segment {
        /// Octets given.
        len: usize,
        /// Octets needed.
        min: usize,
    },
    /// A duration is too long.
    Duration {
        /// The duration given.
        duration: Duration,
        /// The longest that is accepted, about a century.
        limit: Duration,
    },
    /// Light times and delays add up to less than 1 us, or the learned margin may be below it.
    RoundTrip,
    /// A loss is too high.
    Loss {
        /// The loss given, in parts per million.
        loss: u32,
        /// The highest that is accepted.
        limit: u32,
    },
    /// [`RtoBounds::min`] is above [`RtoBounds::max`].
    RtoBounds {
        /// The shortest margin given.
        min: Duration,
        /// The longest margin given.
        max: Duration,
    },
    /// Keep-alives follow each other too closely.
    KeepAlive {
        /// The interval given.
        interval: Duration,
    },
    /// A key or key ID is empty or too long.
    Key {
        /// Octets given.
        len: usize,
        /// The maximum number of octets.
        limit: usize,
    },
    /// A peer has too many keys.
    Keys {
        /// Keys given.
        count: usize,
        /// The maximum number of keys.
        limit: usize,
    },
    /// The octets are not the DER of an RSA key of 1024 to 4096 bits.
    #[cfg(feature = "ltp-rsa")]
    RsaKey {
        /// Octets given.
        len: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EngineZero => f.write_str("engine ID 0 is reserved"),
            Self::Segment { len, min } => {
                write!(
                    f,
                    "segment length of {len} octets is below the minimum of {min}"
                )
            }
            Self::Duration { duration, limit } => {
                write!(f, "duration of {duration:?} exceeds the limit of {limit:?}")
            }
            Self::RoundTrip => write!(
                f,
                "round trip with delays, or learned margin, below the minimum of {MIN_ROUND_TRIP:?}"
            ),
            Self::Loss { loss, limit } => write!(
                f,
                "loss of {loss} parts per million exceeds the limit of {limit}"
            ),
            Self::RtoBounds { min, max } => {
                write!(
                    f,
                    "minimum margin of {min:?} exceeds the maximum of {max:?}"
                )
            }
            Self::KeepAlive { interval } => write!(
                f,
                "keep-alive interval of {interval:?} is below the minimum of {MIN_KEEPALIVE:?}"
            ),
            Self::Key { len, limit } => {
                write!(
                    f,
                    "key or key ID of {len} octets, the limits are 1 and {limit}"
                )
            }
            Self::Keys { count, limit } => write!(f, "{count} keys exceed the limit of {limit}"),
            #[cfg(feature = "ltp-rsa")]
            Self::RsaKey { len } => {
                write!(
                    f,
                    "{len} octets are not an RSA key of 1024 to 4096 bits in DER"
                )
            }
        }
    }
}

impl StdError for ConfigError {}
