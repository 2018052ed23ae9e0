//! What a line does to the datagrams on it: configuration only, one direction each.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::rng::LineRng;
use super::{Contacts, PacketKind};
use crate::Instant;

/// One direction of a line for datagrams. The default is perfect: no delay, no loss, no limit.
///
/// A datagram meets the faults in this order: `mtu`, `contacts`, `queue` and `rate`, `rules`, `loss` and
/// `bursts`, `corruption`, the delay with `reorder`, `duplication`. What is lost on the way has occupied the
/// line all the same. All probabilities are from 0 to 1.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// The time from the last bit sent to the last bit received.
    pub delay: Duration,
    /// A random addition to the delay, evenly spread from zero to this. Order is kept.
    pub jitter: Duration,
    /// A further delay as a function of the time of sending, for ends that move. Order is kept.
    pub variable_delay: Option<VariableDelay>,
    /// The probability that a datagram is lost, each for itself.
    pub loss: f64,
    /// Losses that come in bursts, beside `loss`.
    pub bursts: Option<Bursts>,
    /// Faults of single datagrams.
    pub rules: Vec<FaultRule>,
    /// Datagrams that others overtake. Without it, order is kept.
    pub reorder: Option<Reorder>,
    /// The probability that a datagram arrives twice; the copy has a jitter of its own.
    pub duplication: f64,
    /// The probability that exactly one bit of a datagram, any of them, arrives flipped.
    pub corruption: f64,
    /// Bits per second. `None` sends in no time, and `queue` then never fills.
    pub rate: Option<u64>,
    /// Octets that each datagram occupies on the line besides its own: headers, framing.
    pub overhead: usize,
    /// What waits while the line is busy, and what happens when that is too much.
    pub queue: Queue,
    /// The longest datagram in octets; longer ones are dropped.
    pub mtu: Option<usize>,
    /// When the line is up. A datagram must be sent whole within one contact, and still arrives when the
    /// contact ends while it is in flight.
    pub contacts: Contacts,
}

impl Line {
    /// Makes a perfect line with a delay.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// Adds a fault of single datagrams.
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
    /// Takes the function. Equal times must give equal delays, or equal seeds no longer give equal runs.
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

/// Losses in bursts: the model of Gilbert and Elliott.
///
/// The line is good or bad. Before each datagram it may change. In the good state only [`Line::loss`]
/// counts; in the bad one `loss` here counts too. A burst lasts `1 / leave` datagrams on average, and the
/// bad state takes `enter / (enter + leave)` of all.
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
    /// The probability of turning bad before a datagram.
    pub enter: f64,
    /// The probability of turning good before a datagram.
    pub leave: f64,
    /// The probability of losing a datagram while bad.
    pub loss: f64,
}

/// Datagrams that others overtake.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// The probability that a datagram is held back and taken out of the order.
    pub probability: f64,
    /// For how long, evenly spread from zero to this.
    pub by: Duration,
}

/// What waits while a line with a [`rate`](Line::rate) is busy. Limits are octets, the datagram being sent
/// and overhead included; an idle line takes any datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Queue {
    /// Everything.
    #[default]
    Unlimited,
    /// So many octets; what comes beyond is dropped, as in a router.
    Drop(usize),
    /// So many octets; a host that sends more stops being polled until there is room, as with a full
    /// socket. Its inputs go on. In the network, behind the first line, it drops.
    Hold(usize),
    /// So many octets; a host that fills it hears [`Link::Full`](crate::Link::Full), what it sent is kept,
    /// and [`Link::Free`](crate::Link::Free) follows at half of it, as with a serial line or a bus. In the
    /// network, behind the first line, it drops.
    Signal(usize),
}

/// A fault of single datagrams: the ones that match, counted from 1.
///
/// ```
/// use farlink::sim::{FaultRule, Line};
///
/// let third_long_one = FaultRule::nth(3).matching(|sight| sight.octets.len() > 100).lost();
/// let line = Line::default().with_rule(third_long_one);
/// # let _ = line;
/// ```
#[derive(Clone)]
pub struct FaultRule {
    which: Which,
    matches: Option<Predicate>,
    pub(super) delivery: LineFault,
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

/// What a [`FaultRule`] sees of a datagram or a TCP segment.
#[derive(Debug, Clone, Copy)]
pub struct PacketView<'a> {
    /// When its last bit leaves.
    pub sent: Instant,
    /// What carries it.
    pub kind: PacketKind,
    /// Its octets; of a TCP segment, the data.
    pub octets: &'a [u8],
}

impl FaultRule {
    /// Chooses the `n`th.
    #[must_use]
    pub fn nth(n: u64) -> Self {
        Self::each([n])
    }

    /// Chooses those with these numbers.
    #[must_use]
    pub fn each(numbers: impl IntoIterator<Item = u64>) -> Self {
        Self::new(Which::Numbered(numbers.into_iter().collect()))
    }

    /// Chooses all.
    #[must_use]
    pub const fn every() -> Self {
        Self::new(Which::Every)
    }

    const fn new(which: Which) -> Self {
        Self {
            which,
            matches: None,
            delivery: LineFault::Lost,
        }
    }

    /// Counts only those that `matches`.
    #[must_use]
    pub fn matching(
        mut self,
        matches: impl Fn(&PacketView<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.matches = Some(Arc::new(matches));
        self
    }

    /// Loses them, which is also what happens when nothing else is said.
    #[must_use]
    pub const fn lost(mut self) -> Self {
        self.delivery = LineFault::Lost;
        self
    }

    /// Delays them by so much more; others overtake them.
    #[must_use]
    pub const fn delayed(mut self, by: Duration) -> Self {
        self.delivery = LineFault::Delayed(by);
        self
    }

    /// Lets them arrive twice.
    #[must_use]
    pub const fn duplicated(mut self) -> Self {
        self.delivery = LineFault::Duplicated;
        self
    }

    /// Flips one bit, counted from the first octet's most significant one and round the end.
    #[must_use]
    pub const fn bit_flipped(mut self, bit: usize) -> Self {
        self.delivery = LineFault::BitFlipped(bit);
        self
    }

    /// Tells whether `sight` is of the kind that is counted.
    pub(super) fn counts(&self, sight: &PacketView<'_>) -> bool {
        self.matches.as_ref().is_none_or(|matches| matches(sight))
    }

    /// Tells whether the datagram that is the `number`th of those counted is chosen.
    pub(super) fn takes(&self, number: u64) -> bool {
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
            .field("fate", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// One direction of a stream that joins two machines whose address is `()`. The default is perfect.
#[derive(Debug, Clone, Default)]
pub struct StreamLine {
    /// The time from sending to receiving.
    pub delay: Duration,
    /// A random addition to the delay of each chunk, evenly spread from zero to this. Order is kept.
    pub jitter: Duration,
    /// A further delay as a function of the time of sending.
    pub variable_delay: Option<VariableDelay>,
    /// Bits per second.
    pub rate: Option<u64>,
    /// How the stream is cut before the receiver sees it.
    pub chunks: Chunks,
    /// How many octets may be on the way or unread. A writer that reaches it hears
    /// [`Link::Full`](crate::Link::Full), and [`Link::Free`](crate::Link::Free) at half of it.
    pub window: Option<usize>,
}

impl StreamLine {
    /// Makes a perfect stream with a delay.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }
}

/// How a stream is cut before the receiver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chunks {
    /// As much as is there.
    #[default]
    Whole,
    /// So many octets at a time, fewer at the end; 0 counts as 1.
    Fixed(usize),
    /// A random number of octets from 1 to this; 0 counts as 1.
    Random(usize),
}

impl Chunks {
    /// Draws the length of the next chunk, if that much is there.
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
