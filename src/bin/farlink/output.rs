//! Lines for people and JSON objects for programs.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::io::{ErrorKind, Write as _};

use bytes::Bytes;
use serde_json::Value;

/// Whether standard output takes nothing any more.
static STDOUT_FAILED: AtomicBool = AtomicBool::new(false);
/// Whether something could not be written beside the work.
static HAD_WRITE_ERROR: AtomicBool = AtomicBool::new(false);

/// Prints one JSON object as one line, at once.
pub(crate) fn json(object: &Value) {
    line(&object.to_string());
}

/// Prints one line, at once. When nobody reads any more, the work goes on in silence.
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

/// Prints one line of many, of a command that does nothing else: it ends when nobody reads any more.
pub(crate) fn line_of_many(text: &str) {
    line(text);
    if STDOUT_FAILED.load(Relaxed) {
        std::process::exit(i32::from(had_write_error()));
    }
}

/// Prints one line on standard error, if anybody reads that.
pub(crate) fn stderr_line(text: &str) {
    // There is no third place to complain at.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says what could not be written, beside the work that goes on.
pub(crate) fn write_error(text: &str) {
    HAD_WRITE_ERROR.store(true, Relaxed);
    stderr_line(&format!("farlink: {text}"));
}

/// Tells whether something could not be written.
pub(crate) fn had_write_error() -> bool {
    HAD_WRITE_ERROR.load(Relaxed)
}

/// How events are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputFormat {
    is_json: bool,
    to_stderr: bool,
}

impl OutputFormat {
    /// Tells on standard output, as text or as JSON.
    pub(crate) const fn of(as_json: bool) -> Self {
        Self {
            is_json: as_json,
            to_stderr: false,
        }
    }

    /// Tells on standard error: standard output is for data.
    pub(crate) const fn on_stderr(self) -> Self {
        Self {
            to_stderr: true,
            ..self
        }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.is_json
    }

    /// Tells an event.
    pub(crate) fn report(self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        match (self.is_json, self.to_stderr) {
            (false, false) => line(&text()),
            (true, false) => json(&object()),
            (false, true) => stderr_line(&text()),
            (true, true) => stderr_line(&object().to_string()),
        }
    }

    /// Tells what went wrong: to people on standard error.
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

/// Reads octets from hex digits; blanks, colons, dashes and a leading `0x` are passed over.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut octets = Vec::new();
    let mut high = None;
    for (place, character) in text.chars().enumerate() {
        if character.is_whitespace() || matches!(character, ':' | '-') {
            continue;
        }
        let Some(digit) = character
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
        else {
            return Err(format!("{character:?} at place {place} is no hex digit"));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => octets.push(high << 4 | digit),
        }
    }
    if high.is_some() {
        return Err(String::from("an odd number of hex digits"));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_with_blanks_and_colons() {
        assert_eq!(parse_hex("0x0300:00 07\n").unwrap(), [3, 0, 0, 7]);
        assert_eq!(parse_hex("").unwrap(), [0_u8; 0]);
        assert_eq!(hex(&[3, 0xAB]), "03ab");
    }

    #[test]
    fn bad_hex_is_named_with_its_place() {
        assert_eq!(
            parse_hex("03xy").unwrap_err(),
            "'x' at place 2 is no hex digit"
        );
        assert_eq!(parse_hex("030").unwrap_err(), "an odd number of hex digits");
    }
}
