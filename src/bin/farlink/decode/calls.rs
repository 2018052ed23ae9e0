//! The calls of a recording, and the PDUs in them.

use alloc::collections::BTreeMap;

use farlink::record::{Calls, Entry, EntryKind, ReadError, Recording, RecordingEnd};
use farlink::{Instant, Path, Proto};
use serde_json::{Map, Value, json};

use super::dissector::{Dissector, Protocol, Start, StreamEnd};
use super::printer::{Context, Direction, Printer, Style};
use crate::{Failure, output};

/// Characters of a command or event in the text output.
const MAX_SHOWN: usize = 120;

/// What is printed of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Calls,
    /// The PDUs in them alone.
    Pdus,
}

/// Tells whether a file is a recording with packets on buses, which no capture of a network has.
pub(super) fn is_of_buses(file: &[u8]) -> bool {
    let recording = Recording::open(file);
    let protocol = recording.map(|it| Protocol::of_recording(it.head()));
    protocol.is_ok_and(|it| it.is_some_and(Protocol::is_on_buses))
}

pub(super) fn run(file: &[u8], shown: Shown, printer: Printer) -> Result<(), Failure> {
    let recording = Recording::open(file).map_err(Failure::protocol)?;
    let head = recording.head();
    let mut reader = Reader {
        protocol: Protocol::of_recording(head),
        shown,
        payloads: if head.redacted {
            Payloads::Redacted
        } else {
            Payloads::There
        },
        printer,
        directions: BTreeMap::new(),
        last: (0, Instant::ZERO),
    };
    let mut calls = recording.calls().map_err(Failure::protocol)?;
    let read = reader.read(&mut calls);
    reader.end();
    read.map_err(Failure::protocol)?;
    if let Some(damage) = calls.damage() {
        return Err(Failure::protocol(damage));
    }
    if let RecordingEnd::Cut { .. } = calls.end() {
        return Err(Failure::protocol(calls.end()));
    }
    reader.printer.finish()
}

/// Whether the recording has the payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payloads {
    There,
    Redacted,
}

struct Reader {
    /// `None` for machines without a decoder.
    protocol: Option<Protocol>,
    shown: Shown,
    payloads: Payloads,
    printer: Printer,
    /// Decoders, by the address as JSON.
    directions: BTreeMap<(String, Direction), Box<dyn Dissector>>,
    /// Number and time of the last call.
    last: (u64, Instant),
}

impl Reader {
    fn read(&mut self, calls: &mut Calls<'_>) -> Result<(), ReadError> {
        while let Some(entry) = calls.next_entry()? {
            self.last = (entry.number, entry.time);
            if self.shown == Shown::Calls {
                output::line_of_many(&self.line(&entry));
            }
            if self.payloads == Payloads::There {
                self.decode_payload(&entry.kind);
            }
        }
        Ok(())
    }

    fn line(&self, entry: &Entry<'_>) -> String {
        let Call { act, text, content } = Call::of(&entry.kind, self.payloads);
        if self.printer.style() == Style::Text {
            let (number, time) = (entry.number, self.printer.time(entry.time));
            return format!("{number:>6} {time}  {text}");
        }
        let mut object = match content {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([(String::from("note"), other)]),
        };
        object.insert("act".into(), act.into());
        object.insert("call".into(), entry.number.into());
        object.insert("time_ns".into(), entry.time.as_nanos().into());
        let mut object = Value::Object(object);
        if !self.printer.has_data {
            remove_octets(&mut object);
        }
        object.to_string()
    }

    fn decode_payload(&mut self, act: &EntryKind<'_>) {
        match act {
            EntryKind::Receive { from, octets } => self.pdus(from, Direction::In, &[octets]),
            EntryKind::Stream { to, octets } => self.pdus(to, Direction::Out, &[octets]),
            EntryKind::Datagrams { to, datagrams } => self.pdus(to, Direction::Out, datagrams),
            EntryKind::Link(note) => self.link(&json_of(note)),
            _ => {}
        }
    }

    fn pdus(&mut self, peer: &str, way: Direction, octets: &[&[u8]]) {
        let Some(protocol) = self.protocol else {
            return;
        };
        let peer = json_of(peer);
        let key = (peer.to_string(), way);
        self.set_context(peer, way);
        if protocol.goes_over(Proto::Udp) {
            for octets in octets {
                let mut dissector = protocol.start(Start::Beginning);
                dissector.octets(octets, &mut self.printer);
            }
            return;
        }
        let dissector = self
            .directions
            .entry(key)
            .or_insert_with(|| protocol.start(Start::Beginning));
        for octets in octets {
            dissector.octets(octets, &mut self.printer);
        }
    }

    /// Begins the streams of a link that comes up, and ends a stream.
    fn link(&mut self, note: &Value) {
        let (cue, peer) = (&note["link"], &note["at"]);
        let key = |way| (peer.to_string(), way);
        if cue == "up" || cue.get("opened").is_some() {
            self.directions.remove(&key(Direction::In));
            self.directions.remove(&key(Direction::Out));
        } else if cue == "ended"
            && let Some(mut dissector) = self.directions.remove(&key(Direction::In))
        {
            self.set_context(peer.clone(), Direction::In);
            dissector.end(StreamEnd::Whole, &mut self.printer);
        }
    }

    fn end(&mut self) {
        while let Some(((peer, way), mut dissector)) = self.directions.pop_first() {
            self.set_context(json_of(&peer), way);
            dissector.end(StreamEnd::Truncated, &mut self.printer);
        }
    }

    fn set_context(&mut self, peer: Value, way: Direction) {
        let (number, time) = self.last;
        let context = Context::Call {
            number,
            time,
            way,
            peer,
        };
        let protocol = self.protocol.map_or("", Protocol::kind);
        self.printer.set_context(context, protocol);
    }
}

/// A call, in both forms of output.
struct Call {
    act: &'static str,
    text: String,
    /// Its fields, or what it was called with.
    content: Value,
}

impl Call {
    fn of(kind: &EntryKind<'_>, payloads: Payloads) -> Self {
        let count = |octets: &[u8]| match payloads {
            Payloads::There => (format!("{} octets", octets.len()), octets.len().into()),
            Payloads::Redacted => ("redacted octets".into(), Value::Null),
        };
        let noted = |act, note: &str| {
            let content = json_of(note);
            (act, clip(&content.to_string()), content)
        };
        let plain = |act, text: &str| (act, text.into(), Value::Null);
        let (act, text, content) = match kind {
            EntryKind::Receive { from, octets } => {
                let (text, octets) = count(octets);
                let text = format!("received {text} from {}", label(from));
                let fields = json!({ "from": json_of(from), "octets": octets });
                ("receive", text, fields)
            }
            EntryKind::Restore(note) => noted("restore", note),
            EntryKind::Link(note) => noted("link", note),
            EntryKind::Command(note) => noted("command", note),
            EntryKind::Event(note) => noted("event", note),
            EntryKind::Ask(note) => noted("ask", note),
            EntryKind::Accepted => plain("accepted", "accepted"),
            EntryKind::Refused(reason) => {
                let text = clip(&format!("refused: {}", reason.escape_debug()));
                ("refused", text, json!({ "reason": reason }))
            }
            EntryKind::Datagrams { to, datagrams } => {
                let octets: Vec<Value> = datagrams.iter().map(|octets| count(octets).1).collect();
                let text = format!("sent {} datagrams to {}", datagrams.len(), label(to));
                let fields = json!({ "to": json_of(to), "octets": octets });
                ("datagrams", text, fields)
            }
            EntryKind::Stream { to, octets } => {
                let (text, octets) = count(octets);
                let text = format!("sent {text} to {}", label(to));
                let fields = json!({ "to": json_of(to), "octets": octets });
                ("stream", text, fields)
            }
            EntryKind::Yield => plain("yield", "yield"),
            EntryKind::Idle(deadline) => {
                let text = deadline.map_or("idle".into(), |at| format!("idle until {at}"));
                let deadline = deadline.map(Instant::as_nanos);
                ("idle", text, json!({ "deadline_ns": deadline }))
            }
            EntryKind::Done => plain("done", "done"),
            EntryKind::NoReturn => plain("no_return", "no return: the machine panicked"),
            _ => plain("nothing", "nothing"),
        };
        Self { act, text, content }
    }
}

/// Replaces octets in a command or event by their number.
fn remove_octets(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(octets) = farlink::hex::decode(text) {
                *value = octets.len().into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(remove_octets),
        Value::Object(fields) => fields.values_mut().for_each(remove_octets),
        _ => {}
    }
}

/// Parses JSON. Text from a file is written anew, so that it cannot control a terminal.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Returns an address as text.
fn label(address: &str) -> String {
    let address = json_of(address);
    if address.is_null() {
        return "the peer".into();
    }
    match serde_json::from_value::<Path>(address.clone()) {
        Ok(path) => path.remote.to_string(),
        Err(_) => address.to_string(),
    }
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}
