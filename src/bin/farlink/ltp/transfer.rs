//! How far blocks have got, and whether the peer is heard.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use farlink::adapters::tokio::ltp::NodeStats;
use farlink::ltp::Progress;
use indicatif::DecimalBytes;
use serde_json::json;
use tokio::time::Instant;

use super::status::{Silence, StatusLine, span};
use super::target::{Connected, Target};
use crate::output::OutputFormat;

/// What is too short to be shown, and how long nothing is heard before the port of the peer is checked.
const QUIET: Duration = Duration::from_secs(1);
/// The same while octets still leave.
const LONG: Duration = Duration::from_secs(5);

/// How far one block has got.
#[derive(Debug)]
pub(super) struct BlockProgress(Mutex<(Progress, bool)>);

impl BlockProgress {
    fn get(&self) -> (Progress, bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Progress, &mut bool)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, is_over) = &mut *state;
        change(progress, is_over);
    }

    /// Takes what the node says, which is nothing once the block is over.
    pub(super) fn set(&self, new: Option<Progress>) {
        if let Some(new) = new {
            self.change(|progress, _| *progress = new);
        }
    }

    /// Ends the block.
    pub(super) fn end(&self, is_complete: bool) {
        self.change(|progress, is_over| {
            *is_over = true;
            if is_complete {
                (progress.sent, progress.claimed) = (progress.len, progress.red);
            }
        });
    }
}

/// All blocks of a command.
pub(super) struct Transfer {
    format: OutputFormat,
    status: StatusLine,
    peer: u64,
    address: SocketAddr,
    /// Light times to the peer and back.
    light: Duration,
    blocks: Vec<Arc<BlockProgress>>,
    /// How many of them have ended and were reported. The others await an answer, or the report of its lack.
    reported: usize,
    last: Progress,
    /// When the first octets left, and when the last ones did or a report came, which repairs follow.
    begun: Option<Instant>,
    sent_at: Instant,
    silence: Silence,
    /// When a peer that was heard is given up.
    limit: Duration,
    /// Whether it was told that the system sends nothing.
    is_unsent_reported: bool,
    /// Octets sent again for blocks that are over.
    resent: u64,
}

impl Transfer {
    pub(super) fn new(format: OutputFormat, target: &Target, connected: &Connected) -> Self {
        let (now, light) = (Instant::now(), connected.light);
        Self {
            format,
            status: StatusLine::new(format),
            peer: target.to.engine,
            address: connected.address,
            light,
            blocks: Vec::new(),
            reported: 0,
            last: Progress::default(),
            begun: None,
            sent_at: now,
            silence: Silence::new(light),
            limit: target.peer_options.silence,
            is_unsent_reported: false,
            resent: 0,
        }
    }

    /// Adds a block.
    pub(super) fn begin(&mut self, red: u64, len: u64) -> Arc<BlockProgress> {
        let progress = Progress {
            red,
            len,
            ..Progress::default()
        };
        let block = Arc::new(BlockProgress(Mutex::new((progress, false))));
        self.blocks.push(Arc::clone(&block));
        block
    }

    /// Notes that the end of a block was reported.
    pub(super) const fn on_reported(&mut self) {
        self.reported += 1;
    }

    /// Returns the octets of blocks under way.
    pub(super) fn held(&self) -> u64 {
        let states = self.blocks.iter().map(|block| block.get());
        states
            .filter(|(_, is_over)| !is_over)
            .map(|(progress, _)| progress.len)
            .sum()
    }

    /// Returns the octets that were sent again since this was last asked.
    pub(super) fn resent(&mut self, stats: &NodeStats) -> u64 {
        let resent = stats.engine.octets_resent;
        resent - core::mem::replace(&mut self.resent, resent)
    }

    /// Tells whether nothing was ever heard of the peer, though it had time to answer.
    pub(super) fn is_quiet(&self) -> bool {
        // Many a peer answers nothing before the end of a block.
        let is_long = |begun: Instant| begun.elapsed() >= self.light + LONG;
        let is_due = self.sent_at.elapsed() >= QUIET || self.begun.is_some_and(is_long);
        self.silence.is_unbroken() && self.begun.is_some() && is_due
    }

    /// Shows what has changed.
    pub(super) fn check(&mut self, stats: &NodeStats) {
        let now = Instant::now();
        let total = self.total();
        let has_changed = total != self.last;
        if has_changed || total.claimed == total.red {
            self.sent_at = now;
        }
        if total.sent > 0 {
            self.begun.get_or_insert(now);
        }
        self.last = total;
        if self.format.is_json() && total.sent > 0 && (has_changed || self.status.is_due()) {
            self.status.rest();
            let due = self.due().map(|due| due.as_secs_f64());
            self.format.report(String::new, || {
                json!({
                    "event": "progress",
                    "sent": total.sent,
                    "claimed": total.claimed,
                    "red": total.red,
                    "octets": total.len,
                    "due": due,
                })
            });
        }
        let text = self.text();
        self.status.show(|| text);
        // Before the end of its red part, a block may draw no answer.
        self.report_silence(stats, !has_changed);
        self.report_unsent(stats);
    }

    fn total(&self) -> Progress {
        let states = self.blocks.iter().map(|block| block.get());
        states.fold(Progress::default(), |sum, (progress, _)| Progress {
            sent: sum.sent + progress.sent,
            claimed: sum.claimed + progress.claimed,
            red: sum.red + progress.red,
            len: sum.len + progress.len,
        })
    }

    /// Returns when an answer to what was sent last can be there, if one is awaited.
    fn due(&self) -> Option<Duration> {
        let Progress {
            sent, claimed, red, ..
        } = self.last;
        let is_awaited = claimed < red.min(sent);
        is_awaited.then(|| self.light.saturating_sub(self.sent_at.elapsed()))
    }

    fn text(&self) -> String {
        let Progress {
            sent,
            claimed,
            red,
            len,
        } = self.last;
        let overdue = self.sent_at.elapsed().saturating_sub(self.light);
        let answer = match self.due() {
            Some(due) if due >= QUIET => format!(", an answer can be here in {}", span(due)),
            Some(_) if overdue >= QUIET => format!(", an answer is overdue for {}", span(overdue)),
            _ => String::new(),
        };
        let [sent, claimed, red, len] = [sent, claimed, red, len].map(DecimalBytes);
        format!("{sent} of {len} sent, {claimed} of {red} claimed{answer}")
    }

    fn report_silence(&mut self, stats: &NodeStats, is_resting: bool) {
        let is_awaited = is_resting && self.last.sent > 0 && self.reported < self.blocks.len();
        let heard = stats.engine.segments_received;
        let Some(silence) = self.silence.check(heard, is_awaited) else {
            return;
        };
        let (peer, seconds) = (self.peer, silence.as_secs());
        self.format.report_failure(
            || {
                let until = if self.silence.is_unbroken() {
                    String::new()
                } else {
                    format!(", trying until {}", span(self.limit))
                };
                format!(
                    "nothing heard from engine {peer} for {}{until}",
                    span(silence)
                )
            },
            || json!({ "event": "silent", "peer": peer, "seconds": seconds }),
        );
    }

    /// Reports once that the system refuses to send, as it does to addresses that it has no way to.
    fn report_unsent(&mut self, stats: &NodeStats) {
        let (unsent, at) = (stats.udp.unsent, self.address);
        if unsent > 0 && !self.is_unsent_reported {
            self.is_unsent_reported = true;
            self.format.report_failure(
                || format!("the system refuses to send to {at}, datagrams so far: {unsent}"),
                || json!({ "event": "unsent", "at": at.to_string(), "count": unsent }),
            );
        }
    }

    /// Returns what is known of a block that was given up here.
    pub(super) fn silence_remark(&self) -> String {
        let (peer, silence) = (self.peer, self.silence.elapsed());
        if silence < self.light + QUIET {
            return String::new();
        }
        let silence = span(silence);
        format!("; nothing was heard from engine {peer} for {silence}")
    }

    /// Returns what is known when a block was cancelled.
    pub(super) fn remarks(&self) -> String {
        let Progress { claimed, red, .. } = self.last;
        if red == 0 {
            return String::new();
        }
        let plural = if self.blocks.len() == 1 {
            ""
        } else {
            " of all blocks"
        };
        format!("; it claimed {claimed} of {red} red octets{plural}")
    }
}
