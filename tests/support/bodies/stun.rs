//! The bodies of the fuzz targets of STUN, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use core::time::Duration;

use arbitrary::{Arbitrary as _, Result, Unstructured};
use farlink::laws::{self, Case, Step, codec};
use farlink::stun::{
    Client, Command, Config, Integrity, IntegrityKey, Message, MessageCodec, MessageFraming,
    SecurityFeatures, TransactionId, arbitrary_answer, text,
};
use farlink::{Ask, Framing as _, Instant, Link, Machine as _, Output, Path, Seed, Transmit};

/// The most steps of a script with answers.
const MOST_STEPS: usize = 40;

/// A client under all the laws, by any script or, of every second one, by answers to what it has sent.
pub(crate) fn client(octets: &[u8]) {
    let mut u = Unstructured::new(octets);
    match bool::arbitrary(&mut u) {
        Ok(true) => {
            if let Ok(case) = answered(&mut u) {
                laws::check(case);
            }
        }
        _ => {
            if let Ok(case) = u.arbitrary::<Case<Client>>() {
                laws::check(case);
            }
        }
    }
}

/// Returns a script of queries and of answers to their requests, whose ids a run of the same seed tells.
fn answered(u: &mut Unstructured<'_>) -> Result<Case<Client>> {
    let mut case = Case::new(Config::arbitrary(u)?, Vec::new());
    case.seed = u.int_in_range(0..=3)?;
    let Ok(mut live) = Live::new(&case) else {
        return Ok(case);
    };
    while case.script.len() < MOST_STEPS && !u.is_empty() {
        let step = match (u.int_in_range(0..=9)?, live.sent.last().copied()) {
            (0..=1, _) | (_, None) => Step::Command(u.arbitrary()?),
            (2, _) => Step::Wait(Duration::from_millis(u.int_in_range(0..=1000)?)),
            (_, Some((from, id))) => Step::Receive {
                from,
                octets: arbitrary_answer(u, id)?,
            },
        };
        live.step(&step, &mut case.script);
    }
    Ok(case)
}

/// A client in a run of its own, and what it has sent.
struct Live {
    client: Client,
    now: Instant,
    tx: Transmit<Path>,
    sent: Vec<(Path, TransactionId)>,
    opened: usize,
}

impl Live {
    fn new(case: &Case<Client>) -> core::result::Result<Self, farlink::stun::ConfigError> {
        Ok(Self {
            client: Client::new(case.config.clone(), &Seed::from(case.seed))?,
            now: Instant::ZERO,
            tx: Transmit::new(case.limits),
            sent: Vec::new(),
            opened: 0,
        })
    }

    /// Takes a step, and writes it and the answers to asks into the script.
    fn step(&mut self, step: &Step<Path, Command>, script: &mut Vec<Step<Path, Command>>) {
        script.push(step.clone());
        match step {
            Step::Command(command) => {
                let _: core::result::Result<(), _> = self.client.command(self.now, command.clone());
            }
            Step::Receive { from, octets } => self.client.receive(self.now, *from, octets),
            Step::Wait(span) => self.now += *span,
            _ => {}
        }
        while self.drain(script) {}
    }

    /// Returns whether an ask was answered.
    fn drain(&mut self, script: &mut Vec<Step<Path, Command>>) -> bool {
        use farlink::laws::LawSubject as _;
        let mut opens = Vec::new();
        loop {
            match self.client.poll(self.now, &mut self.tx) {
                Output::Transmit => {
                    let first = self.tx.datagrams().next().unwrap_or(self.tx.octets());
                    if let (Some(to), Ok(message)) = (self.tx.to(), Message::decode(first)) {
                        self.sent.push((to, message.id()));
                    }
                }
                Output::Ask(Ask::Open { tag, path }) => opens.push((tag, path)),
                Output::Ask(Ask::Cancel(cancelled)) => opens.retain(|(tag, _)| *tag != cancelled),
                Output::Idle(_) | Output::Done => break,
                _ => {}
            }
        }
        script.push(Step::Drain);
        for (tag, path) in &opens {
            let path = Client::bound(*path, self.opened);
            self.opened += 1;
            self.client.link(self.now, path, Link::Opened(*tag));
            script.push(Step::Answer {
                open: 0,
                failed: None,
            });
        }
        !opens.is_empty()
    }
}

/// Checks law 10 for octets as a message, that all that counts of it lies within it, and that its stream is independent
/// of chunking.
pub(crate) fn wire(octets: &[u8]) {
    codec::check_octets::<MessageCodec>(octets);
    frames(octets);
    SecurityFeatures::of_nonce(octets).map(SecurityFeatures::cookie);
    let Ok(message) = Message::decode(octets) else {
        return;
    };
    assert_eq!(message.octets(), octets);
    assert_eq!(octets.len() % 4, 0);
    let mut end = 20;
    for raw in message.attributes() {
        assert!(raw.offset >= end, "{raw:?}");
        end = raw.offset + 4 + raw.value.len().next_multiple_of(4);
        assert!(end <= octets.len());
        assert!(text(raw.value).len() <= 3 * raw.value.len());
    }
    assert!(message.unknown_attributes().len() <= Message::MAX_UNKNOWN);
    let _: Option<bool> = message.check_fingerprint();
    let key = IntegrityKey::short_term(b"password");
    if let Ok(Integrity::Sha256) = message.verify_truncated(&key, 0) {
        let _: Result<_, _> = message.verify(&key);
    }
}

/// Messages of a stream are the same in one chunk and in single octets.
fn frames(octets: &[u8]) {
    let whole = read(octets, octets.len().max(1));
    assert_eq!(whole, read(octets, 1));
    assert_eq!(whole, read(octets, 7));
    let len: usize = whole.iter().map(Vec::len).sum();
    assert!(octets.starts_with(&whole.concat()) && len <= octets.len());
}

fn read(octets: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut framing = MessageFraming::new(4096);
    let mut frames = Vec::new();
    for chunk in octets.chunks(size) {
        let mut rest = chunk;
        while let Ok(Some(frame)) = framing.next(&mut rest) {
            frames.push(frame.to_vec());
        }
    }
    frames
}
