//! What tells the implementations apart.

use core::time::Duration;

use farlink::{Instant, Rng};

/// How one implementation behaves. Light times and delays are next door.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// How data is cut.
    pub(crate) cut: Cut,
    /// How sessions, checkpoints and reports are numbered.
    pub(crate) numbers: Numbers,
    /// The highest bit error rate that the limits of reports and checkpoints are made from. `None`: no limits.
    pub(crate) bit_errors: Option<f64>,
    /// The most claims in a report.
    pub(crate) claims: usize,
    /// What a report covers.
    pub(crate) scope: Scope,
    /// Whether a segment that overlaps what is held is dropped whole.
    pub(crate) drops_overlap: bool,
    /// Whether a checkpoint that came before is answered anew.
    pub(crate) answers_copies: bool,
    /// How long a report with gaps waits for segments under way.
    pub(crate) report_delay: Duration,
    /// How long reports of a session are gathered before they are answered.
    pub(crate) repair_delay: Duration,
    /// How long answers are awaited, and how often a segment is repeated.
    pub(crate) wait: Wait,
    pub(crate) retries: u32,
    /// How long a closed reception is remembered. `None`: not at all.
    pub(crate) remembers: Option<Duration>,
    /// Whether reports and cancellations of unknown sessions are acknowledged.
    pub(crate) answers_unknown: bool,
    /// How an unknown client service is refused.
    pub(crate) refusal: Refusal,
    /// After which silence an unfinished reception is given up.
    pub(crate) guard: Option<Duration>,
    /// Every how many segments a red part has a checkpoint.
    pub(crate) every: Option<usize>,
    /// Octets of data per second.
    pub(crate) rate: Option<u64>,
    /// The open client services.
    pub(crate) clients: Vec<u64>,
}

/// How data is cut into segments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// By the length of the segment. What would fit but for the serial numbers leaves one octet to the checkpoint.
    Segment(usize),
    /// By octets of data.
    Data(usize),
}

/// How sessions, checkpoints and reports are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Sessions from 1, and serial numbers of a session from a random one of 14 bits.
    Counted,
    /// Sessions at random, and serial numbers from a random one of 31 bits whose low 16 bits are 1.
    Random,
}

/// How an unknown client service is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    EachSegment,
    OncePerSession,
}

/// What a report covers, and where it is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Primary reports begin at 0, and one on a whole red part covers all of it and is the last. A gap between two
    /// parts of a report belongs to the earlier.
    FromZero,
    /// Primary reports abut. A gap between two parts of a report belongs to the later.
    Abutting,
}

/// How long answers are awaited.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    Exact(Duration),
    /// Whole seconds from the second in which the segment left, looked at once a second, at `phase` of it.
    Ticks {
        seconds: u64,
        phase: Duration,
    },
}

impl Wait {
    pub(crate) fn after(self, sent: Instant) -> Instant {
        match self {
            Self::Exact(span) => sent + span,
            Self::Ticks { seconds, phase } => {
                let second = sent.as_nanos() / 1_000_000_000;
                Instant::from_nanos((second + seconds) * 1_000_000_000) + phase
            }
        }
    }
}

impl Habits {
    /// ION 4.1.3, with one-way light times of `light` seconds.
    ///
    /// | rule | observed |
    /// |---|---|
    /// | no report before the end of the red part: any checkpoint before it cancels (RLEXC) | live, blocks of 60,000 octets and more |
    /// | then a limit of reports that find gaps, [`limit`](Self::limit), and the same of checkpoints at the sender | captures 15, 18, 26, 28, 29, and live up to 50 MB |
    /// | a report has at most 20 claims; its parts share a checkpoint, and cost one | captures 15, 28 |
    /// | scope from 0, or from the lower bound of the report that the checkpoint cites | captures 18, 26, 28 |
    /// | a whole red part is reported once, from 0; later checkpoints are ignored | captures 05, 12 |
    /// | that report comes unasked if no checkpoint completes the red part | capture 16 |
    /// | a segment that overlaps what is held is dropped whole | source |
    /// | timers in whole seconds, looked at once a second | captures 04, 22 |
    /// | repeats: the fewest that all fail once in a million, at least 3 | captures 06, 11, 13 |
    /// | nothing is answered for sessions that are over | captures 06, 13 |
    /// | an unknown client service is refused with each segment, without a session | captures 10, 14 |
    /// | sessions from 1 after each start; serial numbers from 1 to 16,383 | all |
    /// | closed receptions are remembered for 10 s and twice all repeats | source |
    pub(crate) fn ion(segment: usize, bit_errors: f64, light: u64) -> Self {
        let loss = segment_loss(segment, bit_errors);
        let retries = (3..100).find(|n| loss.powi(*n) <= 1e-6).unwrap_or(100);
        let retries = u32::try_from(retries).unwrap_or(100);
        Self {
            cut: Cut::Segment(segment),
            numbers: Numbers::Counted,
            bit_errors: Some(bit_errors),
            claims: 20,
            scope: Scope::FromZero,
            drops_overlap: true,
            answers_copies: true,
            report_delay: Duration::ZERO,
            repair_delay: Duration::ZERO,
            wait: Wait::Ticks {
                seconds: 2 * light + 1,
                phase: Duration::from_millis(180),
            },
            retries,
            remembers: Some(Duration::from_secs(10 + 2 * u64::from(retries) * 2 * light)),
            answers_unknown: false,
            refusal: Refusal::EachSegment,
            guard: None,
            every: None,
            rate: None,
            clients: vec![4],
        }
    }

    /// HDTN 1.3.1, which takes `round_trip` for an answer.
    ///
    /// | rule | observed |
    /// |---|---|
    /// | every checkpoint is answered, also before the end of the red part, without limits | capture 40 |
    /// | primary reports abut; secondary ones begin where the cited report does | captures 40, 42 |
    /// | at most 65 claims; a gap between two parts belongs to the later | capture 42 |
    /// | a checkpoint that came before is ignored, and the timer of the report repeats it | capture 40 |
    /// | 20 ms for segments under way before a report with gaps, and for further reports before a repair | source; off in the captures |
    /// | exact timers, five repeats | captures 40, 41 |
    /// | closed receptions are forgotten at once, and reports of sessions that are over acknowledged | capture 41 |
    /// | an unfinished reception is given up after all repeats (USR_CNCLD) | source |
    /// | random numbers, whose low 16 bits count serial numbers from 1 | captures 40 to 42 |
    pub(crate) fn hdtn(round_trip: Duration) -> Self {
        Self {
            cut: Cut::Data(1360),
            numbers: Numbers::Random,
            bit_errors: None,
            claims: 65,
            scope: Scope::Abutting,
            drops_overlap: false,
            answers_copies: false,
            report_delay: Duration::from_millis(20),
            repair_delay: Duration::from_millis(20),
            wait: Wait::Exact(round_trip),
            retries: 5,
            remembers: None,
            answers_unknown: true,
            refusal: Refusal::OncePerSession,
            guard: Some(round_trip * 6),
            every: None,
            rate: None,
            clients: vec![4],
        }
    }

    /// How many reports that find gaps, or checkpoints, a session has whose red part is this long.
    pub(crate) fn limit(&self, red: usize) -> Option<u32> {
        let segment = match self.cut {
            Cut::Segment(len) | Cut::Data(len) => len,
        };
        let loss = segment_loss(segment, self.bit_errors?);
        let mut limit = 2;
        let mut expected = red as f64 / segment as f64 * loss;
        while expected >= 1.0 {
            limit += (1..1 << 20).find(|n| f64::from(*n) * 19.0 >= expected)?;
            expected *= loss;
        }
        Some(limit)
    }

    pub(crate) fn first_serial(&self, rng: &mut Rng) -> u64 {
        match self.numbers {
            Numbers::Counted => 1 + rng.below((1 << 14) - 1),
            Numbers::Random => ((1 + rng.below((1 << 15) - 1)) << 16) + 1,
        }
    }
}

/// The probability that a segment has a bit error.
fn segment_loss(segment: usize, bit_errors: f64) -> f64 {
    1.0 - (1.0 - bit_errors).powf(8.0 * segment as f64)
}
