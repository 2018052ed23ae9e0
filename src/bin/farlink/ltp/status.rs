//! What is under way: a line that is rewritten on a terminal, and printed now and then elsewhere.

use core::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::output::{self, OutputFormat};

/// How often a line is printed that cannot be rewritten.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long nothing is heard before that is reported, beside the light times.
const SILENCE: Duration = Duration::from_secs(12);

/// A status line on standard error.
pub(crate) struct StatusLine {
    format: OutputFormat,
    bar: ProgressBar,
    next: Instant,
}

impl StatusLine {
    pub(crate) fn new(format: OutputFormat) -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        output::set_status_line(&bar);
        Self {
            format,
            bar,
            next: Instant::now() + INTERVAL,
        }
    }

    /// Shows what is under way.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(text());
        } else if !self.format.is_json() && self.is_due() {
            output::stderr_line(&text());
        }
    }

    /// Tells whether a line is to be printed that cannot be rewritten.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next;
        if is_due {
            self.next = now + INTERVAL;
        }
        is_due
    }

    /// Waits again before a line is printed that cannot be rewritten.
    pub(crate) fn rest(&mut self) {
        self.next = Instant::now() + INTERVAL;
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How long nothing has been heard.
pub(crate) struct Silence {
    since: Instant,
    /// Segments that were heard.
    heard: u64,
    /// After how long it is reported, and whether it was.
    limit: Duration,
    is_reported: bool,
}

impl Silence {
    /// Reports silence that lasts longer than `light`, the light times of a question and its answer, and 12 s.
    pub(crate) fn new(light: Duration) -> Self {
        Self {
            since: Instant::now(),
            heard: 0,
            limit: light + SILENCE,
            is_reported: false,
        }
    }

    /// Takes the number of segments that were heard, and returns how long there was silence if that is to be
    /// reported, which is once. Where nothing is awaited, there is none.
    pub(crate) fn check(&mut self, heard: u64, is_awaited: bool) -> Option<Duration> {
        if heard != self.heard || !is_awaited {
            self.is_reported &= heard == self.heard;
            (self.since, self.heard) = (Instant::now(), heard);
        }
        let silence = self.since.elapsed();
        let is_due = silence >= self.limit && !self.is_reported;
        self.is_reported |= is_due;
        is_due.then_some(silence)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Tells whether nothing was ever heard.
    pub(crate) const fn is_unbroken(&self) -> bool {
        self.heard == 0
    }
}

/// Returns a duration as people say it, to the second.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round();
    let whole = Duration::from_secs_f64(seconds).as_secs();
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (hours, 0, _) if hours > 0 => format!("{hours} h"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_two_units_that_count() {
        let said = |seconds| span(Duration::from_secs_f64(seconds));

        assert_eq!(said(11.6), "12 s");
        assert_eq!(said(723.2), "12 min 3 s");
        assert_eq!(said(79_260.0), "22 h 1 min");
        assert_eq!((said(600.0), said(7200.4)), ("10 min".into(), "2 h".into()));
    }
}
