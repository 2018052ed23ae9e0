//! Output as text or as JSON.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::io::{ErrorKind, Write as _};

use bytes::Bytes;
use serde_json::Value;

/// Whether writing to standard output has failed.
static STDOUT_FAILED: AtomicBool = AtomicBool::new(false);
/// Whether some output could not be written.
static HAD_WRITE_ERROR: AtomicBool = AtomicBool::new(false);

/// Prints one JSON object as one line, at once.
pub(crate) fn json(object: &Value) {
    line(&object.to_string());
}

/// Prints one line, at once. After a failure nothing more is printed, and the command continues.
pub(crate) fn line(text: &str) {
    if STDOUT_FAILED.load(Relaxed) {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        STDOUT_FAILED.store(true, Relaxed);
        if error.kind() != ErrorKind::BrokenPipe {
            write_error(&format!("standard output: {error}"));
        }
    }
}

/// Prints one line of a command that only prints, which ends when standard output is closed.
pub(crate) fn line_of_many(text: &str) {
    line(text);
    if STDOUT_FAILED.load(Relaxed) {
        std::process::exit(i32::from(had_write_error()));
    }
}

/// Prints one line on standard error.
pub(crate) fn stderr_line(text: &str) {
    // There is no other stream to report the failure on.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Reports output that could not be written. The command continues.
pub(crate) fn write_error(text: &str) {
    HAD_WRITE_ERROR.store(true, Relaxed);
    stderr_line(&format!("farlink: {text}"));
}

/// Tells whether some output could not be written.
pub(crate) fn had_write_error() -> bool {
    HAD_WRITE_ERROR.load(Relaxed)
}

/// How events are reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputFormat {
    is_json: bool,
    to_stderr: bool,
}

impl OutputFormat {
    /// Reports on standard output, as text or as JSON.
    pub(crate) const fn of(as_json: bool) -> Self {
        Self {
            is_json: as_json,
            to_stderr: false,
        }
    }

    /// Reports on standard error, since standard output is for data.
    pub(crate) const fn on_stderr(self) -> Self {
        Self {
            to_stderr: true,
            ..self
        }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.is_json
    }

    /// Reports an event.
    pub(crate) fn report(self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        match (self.is_json, self.to_stderr) {
            (false, false) => line(&text()),
            (true, false) => json(&object()),
            (false, true) => stderr_line(&text()),
            (true, true) => stderr_line(&object().to_string()),
        }
    }

    /// Reports a failure, as text on standard error.
    pub(crate) fn report_failure(
        self,
        text: impl FnOnce() -> String,
        object: impl FnOnce() -> Value,
    ) {
        if self.is_json {
            self.report(text, object);
        } else {
            stderr_line(&format!("farlink: {}", text()));
        }
    }
}

/// Returns octets as hex digits.
pub(crate) fn hex(octets: &[u8]) -> String {
    format!("{:x}", Bytes::copy_from_slice(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_written_as_hex_digits() {
        assert_eq!(hex(&[3, 0xAB]), "03ab");
    }
}
