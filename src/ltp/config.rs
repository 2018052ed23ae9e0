//! How an engine and its spans behave: plain fields, and the gates that refuse bad ones.

use core::error::Error as StdError;
use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use super::adapt::{AutoCopies, Copies, LearnedMargins, Margins};
use super::auth::{Auth, Keys};

/// Octets that any control segment fits into, with numbers of 64 bits and one claim.
pub const MIN_SEGMENT: usize = 96;

/// What one engine is and may hold. `Default` is engine 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Config {
    /// The engine ID, not 0, which is reserved (RFC 7116 section 3.1.2). Default 1.
    pub engine: u64,
    /// How session numbers are drawn. Default 32 bits, as the CCSDS profile wants.
    pub numbers: Numbers,
    /// Peers at a time. Default 16,384.
    pub max_peers: u32,
    /// Client services open at a time. Default 256.
    pub max_services: u32,
    /// Blocks being sent at a time, to all peers. Default 131,072.
    pub max_exports: u32,
    /// Blocks being received at a time, from all peers. Default 131,072.
    pub max_imports: u32,
    /// Octets of blocks being sent. Default 1 GiB.
    pub export_octets: usize,
    /// Octets allocated for blocks being received and for those the application has not taken. Default
    /// 1 GiB.
    pub import_octets: usize,
    /// Octets of memory of delivered blocks that are kept for blocks to come, once the application has
    /// dropped them; within `import_octets`. Large blocks in a row arrive several times faster with it. But
    /// what is kept is shared, so `Vec::from` copies what [`Event::Received`](super::Event::Received) brings;
    /// with 0 nothing is. Default 128 MiB.
    pub spare_octets: usize,
    /// Events that may wait for the application before sessions are refused. Default 65,536.
    pub max_events: u32,
    /// Segments of control that may wait for one peer; more are dropped, and repeated by their timers.
    /// Default 16,384.
    pub max_control: u32,
    /// Sessions that are remembered once closed, at least. Default 1000.
    pub closed_least: u32,
    /// Sessions that are remembered once closed, at most, while any timer of the peer could still ask for
    /// them. Default 262,144.
    pub closed_most: u32,
    /// Sessions whose cookies are kept for [`Engine::cookies`](super::Engine::cookies) (RFC 5327 section 2.2).
    /// Default 0, cookies are ignored.
    pub max_cookies: u32,
    /// Whether [`Event::Sent`](super::Event::Sent) tells that every segment of a block has left once (RFC
    /// 5326 section 7.7). Default false.
    pub tell_sent: bool,
}

/// How session numbers are drawn: always at random, so that nobody can guess one (RFC 5326 section 9.1),
/// and a restarted engine does not meet the memory of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Numbers {
    /// From 1 to 2^32 - 1: what ION and the CCSDS profile accept.
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
            spare_octets: 1 << 27,
            max_events: 1 << 16,
            max_control: 1 << 14,
            closed_least: 1000,
            closed_most: 1 << 18,
            max_cookies: 0,
            tell_sent: false,
        }
    }
}

impl Config {
    /// The default configuration for engine `engine`.
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
        if self.closed_least > self.closed_most {
            return Err(ConfigError::Closed {
                least: self.closed_least,
                most: self.closed_most,
            });
        }
        Ok(())
    }
}

/// What is known and wanted of one peer: a span. It can be changed at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Peer<A> {
    /// Where segments for it go. No two peers share one.
    pub address: A,
    /// One-way light time to the peer. Default 0.
    pub owlt_out: Duration,
    /// One-way light time from the peer. Default 0.
    pub owlt_in: Duration,
    /// What the peer takes to queue and answer a segment. Default 1 s.
    pub remote_delay: Duration,
    /// What this end takes, half of it on the way out and half on the way in. Default 1 s.
    pub own_delay: Duration,
    /// Octets per second that may be sent, or `None` for no limit. Default `None`.
    pub rate: Option<NonZeroU64>,
    /// Octets that may leave at once under `rate`. Default 65,536.
    pub burst: u32,
    /// Octets of the longest segment, all headers included, at least 96. Default 1400.
    pub segment: usize,
    /// How often a checkpoint is repeated before the session is cancelled (RFC 5326 section 6.7).
    /// Default 5.
    pub checkpoint_retries: u8,
    /// How often a report is repeated (RFC 5326 section 6.8). Default 5.
    pub report_retries: u8,
    /// How often a cancellation is repeated (RFC 5326 section 6.16). Default 5.
    pub cancel_retries: u8,
    /// Runs of retransmission, or reports with gaps, in one session (RFC 5326 sections 6.11 and 6.13).
    /// Large blocks on lossy lines need many: each report of a split one counts. Default 65,536.
    pub problem_limit: u32,
    /// Generations of retransmission in one session: repairs of repairs (RFC 5326 section 6.22).
    /// Default 64.
    pub cycle_limit: u32,
    /// Blocks being sent to this peer at a time; a red or green block more is refused. Default 16,384.
    pub max_exports: u32,
    /// Blocks being received from this peer at a time; segments of more are dropped. Default 16,384.
    pub max_imports: u32,
    /// Octets of the longest red part received. Default 128 MiB.
    pub session_octets: usize,
    /// Octets allocated for blocks being received from this peer. Default 512 MiB.
    pub import_octets: usize,
    /// Every how many segments of the red part a discretionary checkpoint stands. Default never.
    pub checkpoint_every: Option<NonZeroU32>,
    /// Red octets that may be under way, sent and not yet claimed by a report, before first passes wait for
    /// reports. For peers so near that the line holds less than this: it keeps a fast sender from filling the
    /// socket of its peer to overflowing. A discretionary checkpoint follows every quarter of it. Half of the
    /// receive buffer of the peer is a good value; with light times it is to be far more than the rate times
    /// the round trip. Receivers that allow few reports in a session, as ION does, are better served by
    /// `rate`. Default no limit, as in RFC 5326.
    pub window: Option<NonZeroU64>,
    /// How long a report with gaps waits for segments under way, anew for each that fills a gap.
    /// Default 0, not at all.
    pub report_delay: Duration,
    /// How long a retransmission waits for further reports of the same session. Default 0, not at all.
    pub repair_delay: Duration,
    /// Copies of each checkpoint, report and cancellation that follow it: worth a round trip each time the
    /// first is lost. Default none.
    pub copies: Copies,
    /// How long answers may take beyond the light times. Default as `remote_delay` and `own_delay` say.
    pub margins: Margins,
    /// Which ways there are. Default both.
    pub ways: Ways,
    /// How long nothing is sent before a keep-alive is, for the sake of NATs and firewalls on the way: 15 s
    /// or more (RFC 7122 section 3.4). Default none is sent.
    pub keepalive: Option<Duration>,
    /// How segments are authenticated (RFC 5327 section 2.1). Default not at all.
    pub auth: Auth,
}

impl<A> Peer<A> {
    /// A peer next door at `address`, all else by default.
    ///
    /// Nothing holds a fast sender back from flooding it: what its socket has no room for is lost, and sent
    /// again. Blocks longer than some 100 KB want a [`window`](Self::window) or a [`rate`](Self::rate).
    #[must_use]
    pub const fn new(address: A) -> Self {
        Self {
            address,
            owlt_out: Duration::ZERO,
            owlt_in: Duration::ZERO,
            remote_delay: Duration::from_secs(1),
            own_delay: Duration::from_secs(1),
            rate: None,
            burst: 1 << 16,
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
            window: None,
            report_delay: Duration::ZERO,
            repair_delay: Duration::ZERO,
            copies: Copies::Fixed(0),
            margins: Margins::Fixed,
            ways: Ways::Both,
            keepalive: None,
            auth: Auth::OFF,
        }
    }

    /// The same peer, `owlt` away both ways.
    #[must_use]
    pub fn at_distance(self, owlt: Duration) -> Self {
        Self {
            owlt_out: owlt,
            owlt_in: owlt,
            ..self
        }
    }

    /// The same peer at another kind of address.
    #[must_use]
    pub fn map_address<B>(self, map: impl FnOnce(A) -> B) -> Peer<B> {
        Peer {
            address: map(self.address),
            owlt_out: self.owlt_out,
            owlt_in: self.owlt_in,
            remote_delay: self.remote_delay,
            own_delay: self.own_delay,
            rate: self.rate,
            burst: self.burst,
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
            window: self.window,
            report_delay: self.report_delay,
            repair_delay: self.repair_delay,
            copies: self.copies,
            margins: self.margins,
            ways: self.ways,
            keepalive: self.keepalive,
            auth: self.auth,
        }
    }

    /// The same peer with all that adapts to the line: copies of signals and of repairs, margins, and, where
    /// a rate is set, a discretionary checkpoint every quarter of a light time there and back.
    ///
    /// Blocks that take longer to send than the light takes are then repaired while they are sent. The line is
    /// taken to keep the order of segments ([`AutoCopies`]).
    #[must_use]
    pub fn adaptive(self) -> Self {
        let light = self.owlt_out + self.owlt_in;
        let quarter = self.rate.map(|rate| {
            let octets = light.as_nanos() * u128::from(rate.get()) / 4_000_000_000;
            let segments = octets / (self.segment.max(1) as u128);
            let segments = u32::try_from(segments).unwrap_or(u32::MAX);
            NonZeroU32::MIN.saturating_add(segments.saturating_sub(1))
        });
        Self {
            copies: Copies::Auto(AutoCopies {
                spread: light / 32,
                repairs: 3,
                ..AutoCopies::default()
            }),
            margins: Margins::Learned(LearnedMargins::default()),
            checkpoint_every: quarter.or(self.checkpoint_every),
            ..self
        }
    }

    /// Refuses what cannot be; else returns the keys, read.
    pub(super) fn check(&self) -> Result<Keys, ConfigError> {
        let keys = Keys::new(&self.auth)?;
        let least = MIN_SEGMENT + keys.overhead();
        if self.segment < least {
            return Err(ConfigError::Segment {
                len: self.segment,
                least,
            });
        }
        let longest = Duration::from_secs(LONGEST_SPAN);
        let spans = [
            self.owlt_out,
            self.owlt_in,
            self.remote_delay,
            self.own_delay,
            self.report_delay,
            self.repair_delay,
            self.copies.spread(),
            self.margins.longest(),
            self.keepalive.unwrap_or_default(),
        ];
        self.copies.check()?;
        self.margins.check(SHORTEST_ROUND)?;
        if let Some(span) = self.keepalive.filter(|span| *span < SHORTEST_KEEPALIVE) {
            return Err(ConfigError::KeepAlive { span });
        }
        match spans.into_iter().find(|span| *span > longest) {
            Some(span) => Err(ConfigError::Span { span, longest }),
            None if self.round_trip() < SHORTEST_ROUND => Err(ConfigError::RoundTrip),
            None => Ok(keys),
        }
    }

    /// How long an answer takes, margins included.
    pub(super) fn round_trip(&self) -> Duration {
        self.owlt_out + self.owlt_in + self.remote_delay + self.own_delay
    }
}

/// Which ways there are between this engine and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Ways {
    /// Both.
    #[default]
    Both,
    /// Only from the peer, a beacon to which nothing can be sent: this end is receive-only for it. What came
    /// whole is delivered; nothing is reported, acknowledged or cancelled (RFC 5326 sections 4.2 and 6.21).
    FromPeer,
    /// Only to the peer: this end is a beacon. Blocks must be green, as nothing acknowledges red octets.
    ToPeer,
}

/// Longest span of a peer, in seconds: a century, so that sums never saturate.
const LONGEST_SPAN: u64 = 100 * 366 * 86_400;
/// Shortest round trip, margins included: a timer that fires at once would never let a drain end.
const SHORTEST_ROUND: Duration = Duration::from_micros(1);

/// Shortest interval of keep-alives (RFC 7122 section 3.4).
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a configuration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Engine ID 0 is reserved.
    EngineZero,
    /// More closed sessions are to be remembered at least than at most.
    Closed {
        /// At least.
        least: u32,
        /// At most.
        most: u32,
    },
    /// Control segments would not fit.
    Segment {
        /// Octets given.
        len: usize,
        /// Octets needed.
        least: usize,
    },
    /// A span is too long.
    Span {
        /// The span given.
        span: Duration,
        /// The longest that is taken.
        longest: Duration,
    },
    /// Light times and delays are all zero, or margins may be.
    RoundTrip,
    /// A loss is too high to do anything against it.
    Loss {
        /// The loss given, of a million.
        loss: u32,
        /// The highest that is taken.
        limit: u32,
    },
    /// The least margin is longer than the longest.
    Margins {
        /// The least.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// Keep-alives are too close to each other.
    KeepAlive {
        /// The interval given.
        span: Duration,
    },
    /// A key or key ID is too long or empty.
    Key {
        /// Octets given.
        len: usize,
        /// Octets that are taken.
        limit: usize,
    },
    /// More keys than one peer can have.
    Keys {
        /// Keys given.
        count: usize,
        /// Keys that are taken.
        limit: usize,
    },
    /// Not the DER of an RSA key of 1024 to 4096 bits.
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
            Self::Closed { least, most } => write!(
                f,
                "{least} closed sessions remembered at least exceed the limit of {most}"
            ),
            Self::Segment { len, least } => {
                write!(f, "segments of {len} octets, {least} are needed")
            }
            Self::Span { span, longest } => {
                write!(f, "a span of {span:?} exceeds the limit of {longest:?}")
            }
            Self::RoundTrip => {
                write!(
                    f,
                    "a round trip with its delays takes at least {SHORTEST_ROUND:?}"
                )
            }
            Self::Loss { loss, limit } => {
                write!(
                    f,
                    "a loss of {loss} in a million exceeds the limit of {limit}"
                )
            }
            Self::Margins { least, most } => {
                write!(
                    f,
                    "a least margin of {least:?} exceeds the longest of {most:?}"
                )
            }
            Self::KeepAlive { span } => {
                write!(
                    f,
                    "keep-alives every {span:?}, at least {SHORTEST_KEEPALIVE:?} is needed"
                )
            }
            Self::Key { len, limit } => {
                write!(f, "key or key ID of {len} octets, 1 to {limit} are taken")
            }
            Self::Keys { count, limit } => {
                write!(f, "{count} keys exceed the limit of {limit}")
            }
            #[cfg(feature = "ltp-rsa")]
            Self::RsaKey { len } => {
                write!(f, "{len} octets are no RSA key of 1024 to 4096 bits")
            }
        }
    }
}

impl StdError for ConfigError {}
