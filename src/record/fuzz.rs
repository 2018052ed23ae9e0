//! The body of the fuzz target for files.

use super::{Capture, Flows, Recorded, Recording, redact, replay};
use crate::Instant;

/// Reads a file as a capture and as a recording, and replays and redacts it, for fuzzing: it ends and does not
/// panic.
///
/// A replay continues after damage, so that a fuzzer gets past the checksums.
pub fn read_in_all_ways<M: Recorded>(file: &[u8]) {
    if let Ok(mut capture) = Capture::open(file) {
        let mut flows = Flows::new();
        while let Ok(Some(packet)) = capture.next_packet() {
            flows.packet(&packet, |_| {});
        }
        flows.finish(Instant::ZERO, |_| {});
    }
    if let Ok(mut calls) = Recording::open(file).and_then(|recording| recording.calls()) {
        while let Ok(Some(_)) = calls.next_entry() {}
    }
    if let Ok(redacted) = redact(file) {
        debug_assert!(Recording::open(&redacted).is_ok_and(|it| it.head().redacted));
    }
    if let Ok(outcome) = replay::<M>(file) {
        let _ = alloc::format!("{outcome}");
    }
}
