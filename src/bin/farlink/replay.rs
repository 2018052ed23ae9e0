//! `farlink replay`: a recording in, a verdict out.

use std::fs;
use std::path::{Path, PathBuf};

use farlink::record::{
    Damage, Difference, EntryKind, Outcome, Recorded, Recording, RecordingEnd, ReplayError,
    VERSION, redact, replay,
};
use farlink::{Hop, Path as NetPath, cotp, ltp};
use serde_json::{Value, json};

use crate::{Failure, input, output};

/// Replays a recording on a fresh machine and compares, call by call.
///
/// The last input, the first call that differs, its time and both sides are shown. A recording made by
/// another version of farlink matches, or that version is named.
///
/// With --json one object is printed: `verdict` (`matches`, `differs`, `damaged`, `redacted`, `unreadable`),
/// `kind` of machine, `made_by` and `version` (those of the recording and of this farlink), `calls` (how
/// many were made), `end` (`finished`, `limit`, `continued`, `cut`), and where there is one a `difference`
/// (`call`, `time_ns`, `what`, `after`, lines of `recorded` and `replayed`), `damage` (octets `from` and
/// `to`) or `error`.
///
/// A seed tells all ids that a machine will draw, and commands tell what was said. To show a recording to
/// somebody else, write a copy with --redact: it can be viewed, and not replayed.
///
/// Exit status: 0 it matches, 1 it differs, is damaged, redacted, or cannot be replayed, 2 wrong usage.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a copy without seed and payloads to OUT, for viewing only
    #[arg(long, value_name = "OUT")]
    redact: Option<PathBuf>,
    /// The recording, its parts in order; or - for standard input
    #[arg(required = true)]
    file: Vec<PathBuf>,
}

type Replay = fn(&[u8]) -> Result<Outcome, ReplayError>;

/// How to replay each kind of machine. A further machine is one row here.
const KINDS: [(&str, Replay); 2] = [
    (cotp::Connection::KIND, replay::<cotp::Connection>),
    (<ltp::Engine<NetPath> as Recorded>::KIND, replay_ltp),
];

/// An engine has its peers on IP or on buses; the first address of the recording tells.
fn replay_ltp(recording: &[u8]) -> Result<Outcome, ReplayError> {
    let address = Recording::open(recording).ok().and_then(|recording| {
        let mut calls = recording.calls().ok()?;
        core::iter::from_fn(|| calls.next_entry().ok()?.map(|entry| address(&entry.kind)))
            .flatten()
            .next()
    });
    match address.map(serde_json::from_value::<Hop>) {
        Some(Ok(_)) => replay::<ltp::Engine<Hop>>(recording),
        Some(Err(_)) | None => replay::<ltp::Engine<NetPath>>(recording),
    }
}

/// Returns an address that is named in a call.
fn address(act: &EntryKind<'_>) -> Option<Value> {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    match act {
        EntryKind::Receive { from, .. } => json(from),
        EntryKind::Datagrams { to, .. } => json(to),
        EntryKind::Link(note) => json(note)?.get("at").cloned(),
        EntryKind::Command(note) => {
            let note = json(note)?;
            let peer = ["add_peer", "change_peer"]
                .into_iter()
                .find_map(|name| note.get("command")?.get(name)?.get(1));
            peer?.get("address").cloned()
        }
        _ => None,
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut recording = Vec::new();
    for file in &arguments.file {
        recording.extend(input::read(file)?);
    }
    if let Some(out) = &arguments.redact {
        write_redacted(&recording, out, &arguments.file)?;
    }
    let verdict = Verdict::of(&recording);
    if arguments.json {
        output::json(&verdict.object());
        return if verdict.matches() {
            Ok(())
        } else {
            Err(Failure::Reported)
        };
    }
    match verdict.replayed {
        Ok(outcome) => {
            output::line(&outcome.to_string());
            if outcome.matches() {
                Ok(())
            } else {
                Err(Failure::Reported)
            }
        }
        Err(failure) => {
            let name = name(&arguments.file);
            Err(Failure::Protocol(format!("{name}: {failure}")))
        }
    }
}

/// Names what is replayed; of several parts, the octets are those of all of them.
fn name(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| input::display_name(file)).collect();
    let joined = if names.len() > 1 { " joined" } else { "" };
    format!("{}{joined}", names.join(", "))
}

fn write_redacted(recording: &[u8], out: &Path, files: &[PathBuf]) -> Result<(), Failure> {
    for file in files {
        input::check_not_overwritten(file, out)?;
    }
    let redacted = redact(recording)
        .map_err(|error| Failure::Protocol(format!("{}: {error}", name(files))))?;
    fs::write(out, redacted).map_err(|error| Failure::Usage(format!("{}: {error}", out.display())))
}

/// What came of a replay.
struct Verdict {
    kind: Option<String>,
    made_by: Option<String>,
    replayed: Result<Outcome, ReplayFailure>,
}

/// Why nothing was compared.
enum ReplayFailure {
    Replay(ReplayError),
    /// A machine that this farlink does not have.
    Kind {
        kind: String,
        made_by: String,
    },
}

impl core::fmt::Display for ReplayFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Replay(error) => error.fmt(f),
            Self::Kind { kind, made_by } => write!(
                f,
                "a recording of `{kind}` made by farlink {made_by}; \
                 farlink {VERSION} knows nothing of that machine"
            ),
        }
    }
}

impl Verdict {
    fn of(recording: &[u8]) -> Self {
        let head = Recording::open(recording);
        let head = head.as_ref().ok().map(Recording::head);
        let known = |kind: &str| KINDS.iter().find(|(known, _)| *known == kind);
        let replayed = match head.map(|head| known(&head.kind).ok_or(head)) {
            Some(Ok((_, replay))) => replay(recording).map_err(ReplayFailure::Replay),
            Some(Err(head)) => Err(ReplayFailure::Kind {
                kind: head.kind.clone(),
                made_by: head.made_by.clone(),
            }),
            // Any machine says what is wrong with the file.
            None => replay::<cotp::Connection>(recording).map_err(ReplayFailure::Replay),
        };
        Self {
            kind: head.map(|head| head.kind.clone()),
            made_by: head.map(|head| head.made_by.clone()),
            replayed,
        }
    }

    fn matches(&self) -> bool {
        self.replayed.as_ref().is_ok_and(Outcome::matches)
    }

    fn object(&self) -> Value {
        let mut object = json!({
            "kind": self.kind,
            "made_by": self.made_by,
            "version": VERSION,
        });
        let fields = match &self.replayed {
            Ok(outcome) => outcome_object(outcome),
            Err(ReplayFailure::Replay(ReplayError::Redacted)) => json!({ "verdict": "redacted" }),
            Err(ReplayFailure::Replay(error)) if error.damage().is_some() => json!({
                "verdict": "damaged",
                "error": error.to_string(),
                "damage": error.damage().map(damage_object),
            }),
            Err(failure) => json!({ "verdict": "unreadable", "error": failure.to_string() }),
        };
        if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
            object.extend(fields);
        }
        object
    }
}

fn outcome_object(outcome: &Outcome) -> Value {
    let verdict = match (&outcome.difference, outcome.damage) {
        (Some(_), _) => "differs",
        (None, Some(_)) => "damaged",
        (None, None) => "matches",
    };
    let end = match outcome.end {
        RecordingEnd::Finished => "finished",
        RecordingEnd::Limit => "limit",
        RecordingEnd::Continued => "continued",
        RecordingEnd::Cut { .. } => "cut",
    };
    json!({
        "verdict": verdict,
        "calls": outcome.calls,
        "end": end,
        "difference": outcome.difference.as_ref().map(difference_object),
        "damage": outcome.damage.map(damage_object),
    })
}

fn damage_object(damage: Damage) -> Value {
    json!({ "from": damage.from, "to": damage.to })
}

fn difference_object(difference: &Difference) -> Value {
    json!({
        "call": difference.number,
        "time_ns": difference.time.as_nanos(),
        "what": difference.call,
        "after": difference.after,
        "recorded": difference.recorded,
        "replayed": difference.replayed,
    })
}
