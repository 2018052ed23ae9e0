//! `farlink replay`: replays a recording and compares each call.

use std::path::PathBuf;

use farlink::record::{
    Damage, Difference, EntryKind, Outcome, Recorded, Recording, RecordingEnd, ReplayError,
    VERSION, redact, replay,
};
use farlink::{Hop, Path as NetPath, cotp, csp, dtp, ltp, stun};
use serde_json::{Value, json};

use crate::output::OutputFormat;
use crate::{Failure, input, output};

/// The fields of the JSON object.
const FIELDS: &str = "\
Fields with --json, one object:

  verdict     matches, differs, damaged, redacted or unreadable
  kind        the kind of machine
  made_by     the version of farlink that made the recording
  version     the version of this farlink
  calls       how many calls were made
  end         finished, limit, continued or cut
  difference  call, time_ns, what, after; lines recorded and replayed
  damage      octets from and to
  error       why the recording cannot be replayed

A value that is absent is null.";

/// Replays a recording on a new machine and compares each call.
///
/// The first call that differs is shown with its time, the last input, and both sides. A difference in
/// version is shown as well.
///
/// A seed determines all IDs that a machine draws, and commands have the messages. To show a recording to
/// others, write a copy with --redact, which can be viewed and not replayed.
///
/// Exit status: 0 all calls match; 1 a call differs, or the recording is damaged, redacted or cannot be
/// replayed; 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_long_help = FIELDS)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a copy without seed and payloads to OUT
    #[arg(long, value_name = "OUT")]
    redact: Option<PathBuf>,
    /// The files of the recording in order, or - for standard input
    #[arg(required = true)]
    file: Vec<PathBuf>,
}

type Replay = fn(&[u8]) -> Result<Outcome, ReplayError>;

/// The replay function of each kind of machine. A further machine is one row here.
const KINDS: [(&str, Replay); 5] = [
    (cotp::Connection::KIND, replay::<cotp::Connection>),
    (csp::Node::KIND, replay::<csp::Node>),
    (dtp::Node::KIND, replay::<dtp::Node>),
    (<ltp::Engine<NetPath> as Recorded>::KIND, replay_ltp),
    (stun::Client::KIND, replay::<stun::Client>),
];

/// Replays an engine, whose peers are on IP or on buses. The first address in the recording shows which.
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

/// Returns an address in a call.
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
    let _ = OutputFormat::of(arguments.json).with_failures();
    let mut recording = Vec::new();
    for file in &arguments.file {
        recording.extend(input::read(file)?);
    }
    if let Some(out) = &arguments.redact {
        write_redacted(&recording, out, &arguments.file)?;
    }
    let verdict = Verdict::of(&recording);
    match &verdict.replayed {
        _ if arguments.json => output::json(&verdict.object()),
        Ok(outcome) => output::line(&outcome.to_string()),
        Err(ReplayFailure { error, .. }) => {
            let name = name(&arguments.file);
            return Err(Failure::Protocol(format!("{name}: {error}")));
        }
    }
    if verdict.matches() {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

/// Returns the names of the files. Offsets in messages count through all of them.
fn name(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| input::display_name(file)).collect();
    let joined = if names.len() > 1 { " joined" } else { "" };
    format!("{}{joined}", names.join(", "))
}

fn write_redacted(recording: &[u8], out: &PathBuf, files: &[PathBuf]) -> Result<(), Failure> {
    input::check_files_differ(files, [out])?;
    let redacted = redact(recording)
        .map_err(|error| Failure::Protocol(format!("{}: {error}", name(files))))?;
    output::write_file(out, redacted)
}

/// The result of a replay.
struct Verdict {
    kind: Option<String>,
    made_by: Option<String>,
    replayed: Result<Outcome, ReplayFailure>,
}

/// Why a recording could not be replayed.
struct ReplayFailure {
    verdict: &'static str,
    error: String,
    damage: Option<Damage>,
}

impl From<ReplayError> for ReplayFailure {
    fn from(error: ReplayError) -> Self {
        let damage = error.damage();
        let verdict = match (&error, damage) {
            (ReplayError::Redacted, _) => "redacted",
            (_, Some(_)) => "damaged",
            (_, None) => "unreadable",
        };
        Self {
            verdict,
            error: error.to_string(),
            damage,
        }
    }
}

impl Verdict {
    fn of(recording: &[u8]) -> Self {
        let head = Recording::open(recording);
        let head = head.as_ref().ok().map(Recording::head);
        let known = |kind: &str| KINDS.iter().find(|(known, _)| *known == kind);
        let replayed = match head.map(|head| known(&head.kind).ok_or(head)) {
            Some(Ok((_, replay))) => replay(recording).map_err(Into::into),
            Some(Err(head)) => Err(ReplayFailure {
                verdict: "unreadable",
                error: format!(
                    "a recording of `{}` made by farlink {}; \
                     farlink {VERSION} does not have that machine",
                    head.kind, head.made_by
                ),
                damage: None,
            }),
            // Any kind of machine reports the error of the file.
            None => replay::<cotp::Connection>(recording).map_err(Into::into),
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
            Err(failure) => json!({
                "verdict": failure.verdict,
                "error": failure.error,
                "damage": failure.damage.map(damage_object),
            }),
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
