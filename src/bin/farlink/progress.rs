//! Progress bars.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar for this number of octets. It is shown only if standard error is a terminal.
pub(crate) fn bar(octets: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(octets);
    let style = ProgressStyle::with_template(
        "{msg:>12} [{bar:40}] {bytes}/{total_bytes} {binary_bytes_per_sec}",
    );
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}
