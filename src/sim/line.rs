//! Configuration of lines: what one direction does to the datagrams or the stream on it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::rng::LineRng;
use super::{Contacts, PacketKind};
use crate::Instant;
use crate::preview::Preview;

/// One direction of a line for datagrams. The default has no delay, no loss and no limit.
///
/// Faults apply in this order: `mtu`, `contacts`, `queue` and `rate`, `rules`, `loss` and `bursts`,
/// `corruption`, the delay with `reorder`, `duplication`. A lost datagram has used the time of the line all
/// the same. All probabilities are from 0 to 1.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// The time from the last bit sent to the last bit received.
    pub delay: Duration,
    /// A random addition to the delay, evenly distributed from zero to this. Order is kept.
    pub jitter: Duration,
    /// A further delay as a function of the time of sending, for nodes that move. Order is kept.
    pub variable_delay: Option<VariableDelay>,
    /// The probability that a datagram is lost, independently of others.
    pub loss: f64,
    /// Losses in bursts, in addition to `loss`.
    pub bursts: Option<Bursts>,
    /// Faults of single datagrams.
    pub rules: Vec<FaultRule>,
    /// Datagrams that are overtaken by later ones. `None` keeps the order.
    pub reorder: Option<Reorder>,
    /// The probability that a datagram arrives twice. The copy has a jitter of its own.
    pub duplication: f64,
    /// The probability that one bit of a datagram is flipped.
    pub corruption: f64,
    /// The rate in bits per second. `None` sends at once, and `queue` never fills.
    pub rate: Option<u64>,
    /// Octets that each datagram uses of the rate besides its own, such as headers.
    pub overhead: usize,
    /// What waits while the line is busy, and what happens to the excess.
    pub queue: Queue,
    /// The longest datagram in octets. Longer ones are dropped.
    pub mtu: Option<usize>,
    /// When the line is up. A datagram must be sent whole within one contact. It arrives even if the contact
    /// ends while it is in flight.
    pub contacts: Contacts,
}

impl Line {
    /// Creates a line with a delay and no faults.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// Adds a rule for faults of single datagrams.
    #[must_use]
    pub fn with_rule(mut self, rule: FaultRule) -> Self {
        self.rules.push(rule);
        self
    }
}

/// A delay as a function of the time of sending.
///
/// ```
/// use core::time::Duration;
/// use farlink::Instant;
/// use farlink::sim::{Line, VariableDelay};
///
/// // A probe that leaves at 15 km/s: light takes 50 us more after each second.
/// let leaving = VariableDelay::new(|sent| (sent - Instant::ZERO) / 20_000);
/// let line = Line { variable_delay: Some(leaving), ..Line::delayed(Duration::from_secs(1)) };
/// # let _ = line;
/// ```
#[derive(Clone)]
pub struct VariableDelay(Arc<dyn Fn(Instant) -> Duration + Send + Sync>);

impl VariableDelay {
    /// Creates the delay from a function of the time of sending. It must be pure, or equal seeds give
    /// different runs.
    #[must_use]
    pub fn new(delay: impl Fn(Instant) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(delay))
    }

    pub(super) fn delay(&self, sent: Instant) -> Duration {
        (self.0)(sent)
    }
}

impl fmt::Debug for VariableDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moving(..)")
    }
}

/// Losses in bursts, by the model of Gilbert and Elliott.
///
/// The line is in a good or a bad state, which can change before each datagram. In the good state only
/// [`Line::loss`] applies, in the bad one also `loss`. A burst lasts `1 / leave` datagrams on average, and
/// the line is bad for `enter / (enter + leave)` of all datagrams.
///
/// ```
/// use farlink::sim::{Bursts, Line};
///
/// // One datagram in a hundred begins a burst; five in a row are lost, on average.
/// let bursts = Bursts { enter: 0.01, leave: 0.2, loss: 1.0 };
/// let line = Line { bursts: Some(bursts), ..Line::default() };
/// # let _ = line;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// The probability of a change to the bad state, before each datagram.
    pub enter: f64,
    /// The probability of a change to the good state, before each datagram.
    pub leave: f64,
    /// The probability that a datagram is lost in the bad state.
    pub loss: f64,
}

/// Datagrams that are overtaken by later ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// The probability that a datagram is delayed out of order.
    pub probability: f64,
    /// The greatest additional delay. It is evenly distributed from zero to this.
    pub by: Duration,
}

/// The queue of a line with a [`rate`](Line::rate). Limits are in octets, the datagram being sent and
/// overhead included. An idle line takes any datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Queue {
    /// No limit.
    #[default]
    Unlimited,
    /// At most this many octets. Further datagrams are dropped, as by a router.
    Drop(usize),
    /// At most this many octets. A host that sends more is not polled until there is room, as if its driver
    /// waited for a full socket. It still gets its inputs. NATs drop the excess.
    Hold(usize),
    /// At most this many octets. The machine of a host that fills the queue gets
    /// [`Link::Full`](crate::Link::Full) for the carrier, and [`Link::Free`](crate::Link::Free) when half of
    /// the queue is sent, as with a serial line or a bus. Nothing is dropped. NATs drop the excess.
    Signal(usize),
}

/// A rule for faults of single datagrams. It counts the matching ones from 1, and applies to some of them.
///
/// ```
/// use farlink::sim::{FaultRule, Line};
///
/// let third_long_one = FaultRule::nth(3).matching(|packet| packet.octets.len() > 100).lost();
/// let line = Line::default().with_rule(third_long_one);
/// # let _ = line;
/// ```
#[derive(Clone)]
pub struct FaultRule {
    which: Which,
    matches: Option<Predicate>,
    pub(super) fault: LineFault,
}

type Predicate = Arc<dyn Fn(&PacketView<'_>) -> bool + Send + Sync>;

#[derive(Debug, Clone)]
enum Which {
    Every,
    Numbered(BTreeSet<u64>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum LineFault {
    Lost,
    Delayed(Duration),
    Duplicated,
    BitFlipped(usize),
}

/// What a [`FaultRule`] can look at in a datagram or a TCP segment.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PacketView<'a> {
    /// When its last bit is sent.
    pub sent: Instant,
    /// Its kind.
    pub kind: PacketKind,
    /// Its octets. Those of a TCP segment are its data.
    pub octets: &'a [u8],
}

impl fmt::Debug for PacketView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketView")
            .field("sent", &self.sent)
            .field("kind", &self.kind)
            .field("octets", &Preview(self.octets))
            .finish()
    }
}

impl FaultRule {
    /// Applies to the `n`th matching datagram.
    #[must_use]
    pub fn nth(n: u64) -> Self {
        Self::each([n])
    }

    /// Applies to the matching datagrams with these numbers.
    #[must_use]
    pub fn each(numbers: impl IntoIterator<Item = u64>) -> Self {
        Self::new(Which::Numbered(numbers.into_iter().collect()))
    }

    /// Applies to all matching datagrams.
    #[must_use]
    pub const fn every() -> Self {
        Self::new(Which::Every)
    }

    const fn new(which: Which) -> Self {
        Self {
            which,
            matches: None,
            fault: LineFault::Lost,
        }
    }

    /// Counts the datagrams for which `matches` returns true. By default, all match.
    #[must_use]
    pub fn matching(
        mut self,
        matches: impl Fn(&PacketView<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.matches = Some(Arc::new(matches));
        self
    }

    /// Drops them. This is the default.
    #[must_use]
    pub const fn lost(mut self) -> Self {
        self.fault = LineFault::Lost;
        self
    }

    /// Delays them by this much more, out of order.
    #[must_use]
    pub const fn delayed(mut self, by: Duration) -> Self {
        self.fault = LineFault::Delayed(by);
        self
    }

    /// Duplicates them.
    #[must_use]
    pub const fn duplicated(mut self) -> Self {
        self.fault = LineFault::Duplicated;
        self
    }

    /// Flips the bit with this index. Index 0 is the most significant bit of the first octet; indices beyond
    /// the last bit wrap around.
    #[must_use]
    pub const fn bit_flipped(mut self, bit: usize) -> Self {
        self.fault = LineFault::BitFlipped(bit);
        self
    }

    /// Tells whether the rule counts a packet.
    pub(super) fn counts(&self, packet: &PacketView<'_>) -> bool {
        self.matches.as_ref().is_none_or(|matches| matches(packet))
    }

    /// Tells whether the rule applies to the counted packet with this number.
    pub(super) fn applies_to(&self, number: u64) -> bool {
        match &self.which {
            Which::Every => true,
            Which::Numbered(numbers) => numbers.contains(&number),
        }
    }
}

impl fmt::Debug for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen")
            .field("which", &self.which)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// One direction of a stream between two machines whose address is `()`. The default has no delay and no
/// limit.
#[derive(Debug, Clone, Default)]
pub struct StreamLine {
    /// The time from sending to receiving.
    pub delay: Duration,
    /// A random addition to the delay of each chunk, evenly distributed from zero to this. Order is kept.
    pub jitter: Duration,
    /// A further delay as a function of the time of sending.
    pub variable_delay: Option<VariableDelay>,
    /// The rate in bits per second.
    pub rate: Option<u64>,
    /// How the stream is split into the chunks that the receiver gets.
    pub chunks: Chunks,
    /// How many octets may be in flight or unread. The writer gets [`Link::Full`](crate::Link::Full) at this
    /// limit, and [`Link::Free`](crate::Link::Free) at half of it.
    pub window: Option<usize>,
}

impl StreamLine {
    /// Creates a stream with a delay and no limit.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }
}

/// How a stream is split into the chunks that a machine receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chunks {
    /// All octets that are there.
    #[default]
    Whole,
    /// Chunks of this length, the last one shorter. 0 means 1.
    Fixed(usize),
    /// Chunks of a random length from 1 to this. 0 means 1.
    Random(usize),
}

impl Chunks {
    /// Returns the length of the next chunk, which may be more than there is.
    pub(super) fn draw(self, rng: &mut LineRng) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Fixed(size) => size.max(1),
            Self::Random(most) => {
                let most = u64::try_from(most.max(1)).unwrap_or(u64::MAX);
                usize::try_from(rng.below(most)).map_or(usize::MAX, |size| size + 1)
            }
        }
    }
}
