//! Configuration of an engine and of its peers, and the errors of an invalid one.

use core::num::NonZeroU32;
use core::time::Duration;

use super::auth::{Auth, Keys};
use super::beyond::{AdaptiveRedundancy, Flow, Redundancy, RtoBounds, RtoPolicy};

/// Octets into which any control segment fits, with 64-bit numbers and one claim.
pub const MIN_SEGMENT: usize = 96;

/// The configuration of an engine: who it is, what it tells, and its limits.
///
/// Only the engine ID must be said, as [`Config::engine`] does. With the feature `serde`, a file needs the fields that
/// differ from the default, those of `limits` in a table of that name. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Config {
    /// The engine ID, by which peers know this engine. 0 is reserved (RFC 7116 section 3.1.2). Default 1.
    pub engine: u64,
    /// The range of session numbers. Default 32 bits: CCSDS 734.1-B-1 requires it, and ION takes no others.
    pub numbers: Numbers,
    /// Whether this engine tells others that it is of this crate, and with it the receive buffer of its socket, by a
    /// private header extension (RFC 5326 section 3.1.4): in the first segment of a block and in every 64th until
    /// it is answered, to peers with [`Flow::Auto`]; and in reports to those who told the same. Default true, since
    /// others ignore the extension.
    pub hello: bool,
    /// Whether [`Event::Sent`](super::Event::Sent) reports that every segment of a block was sent once (RFC 5326
    /// section 7.7). Default false, since most applications wait for the end of the block.
    pub notify_sent: bool,
    /// The limits of all peers together.
    pub limits: EngineLimits,
}

/// The limits of an engine, for all peers together. What exceeds one is refused or dropped, and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EngineLimits {
    /// The maximum number of peers. Default 16,384, which take 28 MB while they are idle.
    pub peers: u32,
    /// The maximum number of open client services. Default 256, far more than IDs are assigned (RFC 7116).
    pub services: u32,
    /// The maximum number of blocks being sent. Default 131,072: so many blocks of 8 KiB are the default of
    /// `export_octets`.
    pub exports: u32,
    /// The maximum number of blocks being received. Default 131,072, as `exports`.
    pub imports: u32,
    /// The maximum number of octets of blocks being sent, and so of one block. Default 1 GiB.
    pub export_octets: usize,
    /// The maximum number of octets allocated for blocks being received and for those the application has not
    /// taken: events that were not polled, and what waits in services opened on demand. Default 1 GiB, so that two
    /// peers can use all of [`PeerLimits::import_octets`].
    pub import_octets: usize,
    /// The maximum number of octets allocated for blocks being received from all strangers together: peers that were
    /// accepted by [`Command::AcceptUnknownPeers`](super::Command::AcceptUnknownPeers). Default 64 MiB, a sixteenth of
    /// `import_octets`, of which it is a part.
    ///
    /// A red segment beyond it is dropped and not claimed, unless a stranger that has proved nothing and was not heard
    /// for longer gives way.
    pub stranger_octets: usize,
    /// The maximum number of octets of buffers that are kept for reuse after the application has dropped their
    /// blocks, within `import_octets`. 0 keeps none. Default 128 MiB, as [`PeerLimits::session_octets`]: the buffer of
    /// the largest block.
    ///
    /// Reuse makes a sequence of large blocks several times faster. A block in a kept buffer is shared with the
    /// engine, so `Vec::from` copies the data of [`Event::Received`](super::Event::Received).
    pub pool_octets: usize,
    /// The number of events that wait to be polled before new sessions are refused. Default 65,536: one driver turn
    /// takes far fewer. What waits in services opened on demand is bounded by `import_octets` alone.
    pub events: u32,
    /// The maximum number of control segments queued for one peer. Further ones are dropped, and repeated by
    /// their timers. Default 16,384: one for each block that [`PeerLimits`] lets a peer send.
    pub control_segments: u32,
    /// The maximum number of closed sessions that are remembered. Each is for twice the time in which the peer could
    /// repeat a segment of it. Default 262,144: as many as `exports` and `imports` together.
    pub closed_sessions: u32,
    /// The maximum number of sessions whose cookies are kept for [`Engine::cookies`](super::Engine::cookies)
    /// (RFC 5327 section 2.2). Default 0: cookies are ignored, as CCSDS 734.1-B-1 forbids them.
    pub cookies: u32,
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
        Self::engine(1)
    }
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            peers: 1 << 14,
            services: 256,
            exports: 1 << 17,
            imports: 1 << 17,
            export_octets: 1 << 30,
            import_octets: 1 << 30,
            stranger_octets: 64 << 20,
            pool_octets: 128 << 20,
            events: 1 << 16,
            control_segments: 1 << 14,
            closed_sessions: 1 << 18,
            cookies: 0,
        }
    }
}

impl Config {
    /// Returns the default configuration for the engine with this ID.
    #[must_use]
    pub fn engine(engine: u64) -> Self {
        Self {
            engine,
            numbers: Numbers::Bits32,
            hello: true,
            notify_sent: false,
            limits: EngineLimits::default(),
        }
    }

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        if self.engine == 0 {
            return Err(ConfigError::EngineZero);
        }
        Ok(())
    }
}

/// The configuration of one peer: where it is, how fast it is sent to, its times and its limits. It can be changed at
/// any time.
///
/// Only the address must be said, as [`Peer::at`] does; for a radio, also its rate and its light time, as
/// [`Peer::radio`] does.
///
/// With the feature `serde`, a file needs the address and the fields that differ from [`Peer::at`], those of `timers`
/// and `limits` in tables of these names. Durations are texts such as `"1.3s"` or `"12min"`, or numbers of seconds.
/// Unknown fields are refused. A radio of 125,000 octets per second, 12 minutes away, as [`Peer::radio`] makes it, in TOML:
///
/// ```toml
/// address = "192.0.2.7:1113"
/// flow = { rate = { octets_per_second = 125000 } }
/// [timers]
/// owlt_out = "12min"
/// owlt_in = "12min"
/// remote_delay = "1.0112s"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Peer<A> {
    /// The address that segments to the peer are sent to. Several peers may have the same, as behind a gateway.
    pub address: A,
    /// How fast this engine sends. Default [`Flow::Auto`]: as fast as the peer is found to bear, since the engine
    /// cannot know the line.
    #[cfg_attr(feature = "serde", serde(default))]
    pub flow: Flow,
    /// The maximum length of a segment in octets, all headers included, at least [`MIN_SEGMENT`]. Default 1400: with
    /// the headers of UDP and IP it fits the 1500 octets of an Ethernet, in most tunnels too.
    #[cfg_attr(feature = "serde", serde(default = "default_segment"))]
    pub segment: usize,
    /// Every how many segments of a red part a discretionary checkpoint is sent, beside those of the flow. Default
    /// `None`, never: ION cancels a block for any of them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub checkpoint_every: Option<NonZeroU32>,
    /// The number of copies of each checkpoint, report and cancellation. Default none, as in RFC 5326.
    #[cfg_attr(feature = "serde", serde(default))]
    pub redundancy: Redundancy,
    /// The directions in which segments can be sent. Default both.
    #[cfg_attr(feature = "serde", serde(default))]
    pub direction: Direction,
    /// Whether segments of the peer are accepted from any host. Default false: from that of `address` alone, whatever
    /// the port, as ION sends from another port than it listens at.
    ///
    /// Engine IDs can be forged by anybody, so a peer that moves should be authenticated. It is answered at `address`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub roams: bool,
    /// How segments are authenticated (RFC 5327 section 2.1). Default not at all, as both ends need the same keys.
    #[cfg_attr(feature = "serde", serde(default))]
    pub auth: Auth,
    /// How long the line takes, and how long is waited.
    #[cfg_attr(feature = "serde", serde(default))]
    pub timers: PeerTimers,
    /// The limits of the peer and of its sessions.
    #[cfg_attr(feature = "serde", serde(default))]
    pub limits: PeerLimits,
}

#[cfg(feature = "serde")]
const fn default_segment() -> usize {
    DEFAULT_SEGMENT
}

/// How long the line to a peer takes, and how long is waited for the peer.
///
/// An answer is late once both light times and both delays are over, counted from when the last octet of the segment
/// has left by the rate (RFC 5326 sections 6.2 and 6.3). By default these are 2 s.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PeerTimers {
    /// One-way light time (OWLT) to the peer. Default 0, which suits any place on Earth.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub owlt_out: Duration,
    /// One-way light time (OWLT) from the peer. Default 0.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub owlt_in: Duration,
    /// The time the peer takes to queue and answer a segment. Default 1 s, as in ION.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub remote_delay: Duration,
    /// The time this engine takes, half of it for sending and half for receiving. Default 1 s, as in ION.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub own_delay: Duration,
    /// How the retransmission timeout is found. Default by `remote_delay` and `own_delay`, as in RFC 5326.
    pub rto: RtoPolicy,
    /// How long a report with gaps is delayed for segments in flight. It starts again with each segment that
    /// fills a gap. Default 0: most lines keep the order of segments.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub report_delay: Duration,
    /// How long a retransmission is delayed for further reports of the same session. Default 0: most reports are not
    /// split.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub repair_delay: Duration,
    /// The interval of keep-alives in a silent direction, at least 15 s (RFC 7122 section 3.4). Default `None`, none
    /// are sent: only NATs and firewalls on the path need them.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub keepalive: Option<Duration>,
    /// How long a peer that was never heard may owe an answer until it is given up. Default 12 s: a signal and its
    /// five repetitions, each late after 2 s.
    ///
    /// A peer so distant that all repetitions take longer is given that time, here and with
    /// [`silence`](Self::silence). Time in closed contacts does not count.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub first_silence: Duration,
    /// How long a peer that was heard may be silent while it owes an answer, or while the rest of a block from it is
    /// missing. Default 10 min, which outlasts the restart of a router or of the peer.
    ///
    /// Retries count only while the peer is heard. A silent one gets one signal at doubled intervals, and one a minute
    /// at most, until it is heard or given up.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub silence: Duration,
}

/// The limits of one peer and of its sessions. What exceeds one is refused or dropped, or ends the session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PeerLimits {
    /// The maximum number of blocks being sent to this peer. A further block is refused. Default 16,384, an eighth of
    /// [`EngineLimits::exports`].
    pub exports: u32,
    /// The maximum number of blocks being received from this peer. Segments of further ones are dropped.
    /// Default 16,384, an eighth of [`EngineLimits::imports`].
    pub imports: u32,
    /// The maximum length of a received red part in octets. Default 128 MiB, an eighth of
    /// [`EngineLimits::import_octets`].
    pub session_octets: usize,
    /// The maximum number of octets allocated for blocks being received from this peer. Default 512 MiB, half of
    /// [`EngineLimits::import_octets`], so that no peer takes all.
    pub import_octets: usize,
    /// How often a checkpoint is repeated before the session is cancelled (RFC 5326 section 6.7). Default 5: where one
    /// segment in ten is lost, one signal in a million is lost with all repetitions.
    pub checkpoint_retries: u8,
    /// How often a report is repeated (RFC 5326 section 6.8). Default 5.
    pub report_retries: u8,
    /// How often a cancellation is repeated (RFC 5326 section 6.16), and a ping. Default 5.
    pub cancel_retries: u8,
    /// The maximum number of retransmissions, or of reports with gaps, in one session (RFC 5326 sections 6.11
    /// and 6.13). Default 65,536: large blocks on lossy lines need many, as each part of a split report counts.
    pub problems: u32,
    /// The maximum number of retransmission cycles in one session, that is of repairs of repairs (RFC 5326
    /// section 6.22). Default 64: where half of all segments are lost, none is lost so often.
    pub cycles: u32,
}

impl Default for PeerTimers {
    fn default() -> Self {
        Self {
            owlt_out: Duration::ZERO,
            owlt_in: Duration::ZERO,
            remote_delay: Duration::from_secs(1),
            own_delay: Duration::from_secs(1),
            rto: RtoPolicy::Fixed,
            report_delay: Duration::ZERO,
            repair_delay: Duration::ZERO,
            keepalive: None,
            first_silence: Duration::from_secs(12),
            silence: Duration::from_secs(600),
        }
    }
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            exports: 1 << 14,
            imports: 1 << 14,
            session_octets: 128 << 20,
            import_octets: 512 << 20,
            checkpoint_retries: 5,
            report_retries: 5,
            cancel_retries: 5,
            problems: 1 << 16,
            cycles: 64,
        }
    }
}

impl<A> Peer<A> {
    /// Returns the default configuration of a peer at `address`, which has no light time.
    ///
    /// It is sent to as fast as it is found to bear ([`Flow::Auto`]).
    #[must_use]
    pub fn at(address: A) -> Self {
        Self {
            address,
            flow: Flow::Auto,
            segment: DEFAULT_SEGMENT,
            checkpoint_every: None,
            redundancy: Redundancy::Fixed(0),
            direction: Direction::Both,
            roams: false,
            auth: Auth::OFF,
            timers: PeerTimers::default(),
            limits: PeerLimits::default(),
        }
    }

    /// Returns the same peer behind a radio of `rate` octets per second, headers included, whose signals take
    /// `light_time` in each direction.
    ///
    /// Segments leave at the rate, in bursts that follow from it ([`Flow::rate`]). An answer may wait for the segment
    /// that the peer is sending, so its time is added to the default of [`PeerTimers::remote_delay`]. Set
    /// [`segment`](Self::segment) before. [`adaptive`](Self::adaptive) adds what helps against losses.
    ///
    /// ```
    /// use farlink::ltp::Peer;
    /// use core::time::Duration;
    ///
    /// let moon = Peer::at("192.0.2.7:1113").radio(4000, Duration::from_millis(1300));
    /// assert_eq!(moon.timers.remote_delay, Duration::from_millis(1350));
    /// ```
    #[must_use]
    pub fn radio(self, rate: u64, light_time: Duration) -> Self {
        let mut peer = self.at_distance(light_time).with_flow(Flow::rate(rate));
        let segment = peer.segment as u128 * 1_000_000_000 / u128::from(rate.max(1));
        let segment = u64::try_from(segment).unwrap_or(u64::MAX);
        peer.timers.remote_delay =
            PeerTimers::default().remote_delay + Duration::from_nanos(segment);
        peer
    }

    /// Returns the same peer with a one-way light time of `owlt` in both directions.
    #[must_use]
    pub fn at_distance(mut self, owlt: Duration) -> Self {
        self.timers.owlt_out = owlt;
        self.timers.owlt_in = owlt;
        self
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
            flow: self.flow,
            segment: self.segment,
            checkpoint_every: self.checkpoint_every,
            redundancy: self.redundancy,
            direction: self.direction,
            roams: self.roams,
            auth: self.auth,
            timers: self.timers,
            limits: self.limits,
        }
    }

    /// Returns the same peer with everything that adapts to the line: copies of signals, duplicate repairs, a
    /// learned timeout, and, if a rate is set, a discretionary checkpoint every quarter of a round trip of the
    /// light.
    ///
    /// A block that takes longer to send than the light takes is then repaired while it is sent. The line is
    /// assumed to keep the order of segments ([`AdaptiveRedundancy`]). Set light times and rate before.
    #[must_use]
    pub fn adaptive(mut self) -> Self {
        let light = self.timers.light();
        let quarter = self.flow.given_rate().map(|rate| {
            let octets = light.as_nanos() * u128::from(rate.get()) / 4_000_000_000;
            let segments = octets / (self.segment.max(1) as u128);
            let segments = u32::try_from(segments).unwrap_or(u32::MAX);
            NonZeroU32::MIN.saturating_add(segments.saturating_sub(1))
        });
        self.timers.rto = RtoPolicy::Learned(RtoBounds::default());
        Self {
            redundancy: Redundancy::Adaptive(AdaptiveRedundancy {
                spacing: light / 32,
                duplicate_repairs: 3,
                ..AdaptiveRedundancy::default()
            }),
            checkpoint_every: quarter.or(self.checkpoint_every),
            ..self
        }
    }

    /// Checks the configuration, and returns its keys ready for use.
    pub(super) fn check(&self) -> Result<Keys, ConfigError> {
        let keys = Keys::new(&self.auth)?;
        let (len, min) = (self.segment, MIN_SEGMENT + keys.overhead());
        if len < min {
            return Err(ConfigError::Segment { len, min });
        }
        self.redundancy.check()?;
        check_duration("redundancy.spacing", self.redundancy.spacing())?;
        self.timers.check()?;
        Ok(keys)
    }
}

impl PeerTimers {
    /// Returns the light time of a round trip.
    pub(super) fn light(&self) -> Duration {
        self.owlt_out + self.owlt_in
    }

    /// Returns how long an answer takes, delays of both sides included.
    pub(super) fn round_trip(&self) -> Duration {
        self.light() + self.remote_delay + self.own_delay
    }

    fn check(&self) -> Result<(), ConfigError> {
        let keepalive = self.keepalive.unwrap_or(MIN_KEEPALIVE);
        for (field, duration) in [
            ("timers.owlt_out", self.owlt_out),
            ("timers.owlt_in", self.owlt_in),
            ("timers.remote_delay", self.remote_delay),
            ("timers.own_delay", self.own_delay),
            ("timers.rto.learned.max", self.rto.longest()),
            ("timers.report_delay", self.report_delay),
            ("timers.repair_delay", self.repair_delay),
            ("timers.keepalive", keepalive),
            ("timers.first_silence", self.first_silence),
            ("timers.silence", self.silence),
        ] {
            check_duration(field, duration)?;
        }
        self.rto.check(MIN_ROUND_TRIP)?;
        if keepalive < MIN_KEEPALIVE {
            let interval = keepalive;
            return Err(ConfigError::KeepAlive { interval });
        }
        if self.round_trip() < MIN_ROUND_TRIP {
            return Err(ConfigError::RoundTrip);
        }
        Ok(())
    }
}

fn check_duration(field: &'static str, duration: Duration) -> Result<(), ConfigError> {
    let limit = Duration::from_secs(MAX_DURATION);
    if duration > limit {
        return Err(ConfigError::Duration {
            field,
            duration,
            limit,
        });
    }
    Ok(())
}

impl Default for Peer<()> {
    fn default() -> Self {
        Self::at(())
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

/// The length of a segment by default, in octets.
const DEFAULT_SEGMENT: usize = 1400;

/// The longest duration of a peer, in seconds: a century, so that sums never saturate.
const MAX_DURATION: u64 = 100 * 366 * 86_400;
/// The shortest round trip, delays included. A timer that falls due at once would never let a drain end.
const MIN_ROUND_TRIP: Duration = Duration::from_micros(1);

/// The shortest interval of keep-alives (RFC 7122 section 3.4).
const MIN_KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a configuration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Engine ID 0 is reserved (RFC 7116 section 3.1.2).
    #[display("engine ID 0 is reserved")]
    EngineZero,
    /// Segments are too short for control segments.
    #[display("segment length of {len} octets is below the minimum of {min}")]
    Segment {
        /// Octets given.
        len: usize,
        /// Octets needed.
        min: usize,
    },
    /// A duration is too long.
    #[display("{field}: duration of {duration:?} exceeds the limit of {limit:?}")]
    Duration {
        /// The field, with those that it is in.
        field: &'static str,
        /// The duration given.
        duration: Duration,
        /// The longest that is accepted, about a century.
        limit: Duration,
    },
    /// Light times and delays add up to less than 1 us, or the learned margin may be below it.
    #[display("round trip with delays, or learned margin, below the minimum of {MIN_ROUND_TRIP:?}")]
    RoundTrip,
    /// A loss is too high.
    #[display("loss of {loss} parts per million exceeds the limit of {limit}")]
    Loss {
        /// The loss given, in parts per million.
        loss: u32,
        /// The highest that is accepted.
        limit: u32,
    },
    /// [`RtoBounds::min`] is above [`RtoBounds::max`].
    #[display("minimum margin of {min:?} exceeds the maximum of {max:?}")]
    RtoBounds {
        /// The shortest margin given.
        min: Duration,
        /// The longest margin given.
        max: Duration,
    },
    /// Keep-alives follow each other too closely.
    #[display("keep-alive interval of {interval:?} is below the minimum of {MIN_KEEPALIVE:?}")]
    KeepAlive {
        /// The interval given.
        interval: Duration,
    },
    /// A key or key ID is empty or too long.
    #[display("key or key ID of {len} octets, the limits are 1 and {limit}")]
    Key {
        /// Octets given.
        len: usize,
        /// The maximum number of octets.
        limit: usize,
    },
    /// A peer has too many keys.
    #[display("{count} keys exceed the limit of {limit}")]
    Keys {
        /// Keys given.
        count: usize,
        /// The maximum number of keys.
        limit: usize,
    },
    /// The octets are not the DER of an RSA key of 1024 to 4096 bits.
    #[cfg(feature = "ltp-rsa")]
    #[display("{len} octets are not an RSA key of 1024 to 4096 bits in DER")]
    RsaKey {
        /// Octets given.
        len: usize,
    },
}
