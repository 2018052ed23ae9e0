//! Output as text or as JSON.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::Failure;

/// Whether writing to standard output has failed.
static STDOUT_FAILED: AtomicBool = AtomicBool::new(false);
/// Whether it has failed because nobody reads it any more.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);
/// Whether some output could not be written.
static HAD_WRITE_ERROR: AtomicBool = AtomicBool::new(false);
/// The first output that could not be written while the command continued.
static FIRST_WRITE_ERROR: OnceLock<String> = OnceLock::new();
/// How failures of the command are reported; by default as text on standard error.
static FAILURES: OnceLock<OutputFormat> = OnceLock::new();
/// The line of standard error that is rewritten, if that is a terminal.
static STATUS_LINE: OnceLock<ProgressBar> = OnceLock::new();

/// Prints one JSON object as one line, at once.
pub(crate) fn json(object: &Value) {
    line(&object.to_string());
}

/// Prints one line, at once. After a failure nothing more is printed, and the command continues.
pub(crate) fn line(text: &str) {
    if STDOUT_FAILED.load(Relaxed) {
        return;
    }
    let written = above_status_line(|| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    });
    if let Err(error) = written {
        STDOUT_FAILED.store(true, Relaxed);
        if error.kind() == ErrorKind::BrokenPipe {
            STDOUT_CLOSED.store(true, Relaxed);
        } else {
            write_error(&format!("standard output: {error}"));
        }
    }
}

/// Tells whether a line could not be printed because nobody reads standard output any more.
pub(crate) fn is_stdout_closed() -> bool {
    STDOUT_CLOSED.load(Relaxed)
}

/// Keeps a line that is rewritten below everything that is printed.
pub(crate) fn set_status_line(bar: &ProgressBar) {
    // A command has one.
    let _ = STATUS_LINE.set(bar.clone());
}

fn above_status_line<T>(print: impl FnOnce() -> T) -> T {
    match STATUS_LINE.get() {
        Some(bar) => bar.suspend(print),
        None => print(),
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
    let _ = above_status_line(|| writeln!(std::io::stderr().lock(), "{text}"));
}

/// Reports why the command failed, or what of it did.
pub(crate) fn failure(text: &str) {
    match FAILURES.get() {
        Some(format) if format.is_json && (format.to_stderr || !STDOUT_FAILED.load(Relaxed)) => {
            format.report(String::new, || json!({ "event": "error", "reason": text }));
        }
        _ => stderr_line(&format!("farlink: {text}")),
    }
}

/// Reports output that could not be written. The command continues.
pub(crate) fn write_error(text: &str) {
    set_write_error();
    // The first one is told again at the end.
    let _ = FIRST_WRITE_ERROR.set(text.into());
    failure(text);
}

/// Writes a file.
pub(crate) fn write_file(path: &Path, octets: impl AsRef<[u8]>) -> Result<(), Failure> {
    std::fs::write(path, octets).map_err(|error| Failure::file(path, error))
}

/// Remembers that some output could not be written, which was reported.
pub(crate) fn set_write_error() {
    HAD_WRITE_ERROR.store(true, Relaxed);
}

/// Tells whether some output could not be written.
pub(crate) fn had_write_error() -> bool {
    HAD_WRITE_ERROR.load(Relaxed)
}

/// Returns why a command fails that has done all else, if its output could not be written.
pub(crate) fn write_outcome() -> Result<(), Failure> {
    match FIRST_WRITE_ERROR.get() {
        Some(text) if !STDOUT_FAILED.load(Relaxed) => Err(Failure::Protocol(text.clone())),
        _ if had_write_error() => Err(Failure::Reported),
        _ => Ok(()),
    }
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

    /// Reports failures of the command in the same way.
    pub(crate) fn with_failures(self) -> Self {
        // A command has one format.
        let _ = FAILURES.set(self);
        self
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
