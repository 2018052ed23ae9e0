//! The bodies of the fuzz targets of LTP. The tests run them on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use farlink::laws::codec;
use farlink::laws::{self, Case, LawSubject as _, Step};
use farlink::ltp::{
    Auth, Block, Body, Color, Command, Config, Engine, Flow, Key, Peer, Red, Report, Segment,
    SegmentCodec, Service, SessionId,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The first octet of a seed that holds a capture.
const CAPTURE: u8 = 0;
/// The maximum number of steps of a script behind its start.
const MOST_STEPS: usize = 60;
/// The maximum number of segments of a capture.
const MOST_SEGMENTS: usize = 80;
/// The maximum number of octets of data in a segment of a capture.
const LONGEST_DATA: u16 = 1400;
/// Outputs of one drain of the engine that is only asked for its numbers.
const MOST_OUTPUTS: usize = 10_000;
/// The key of both ends, and its ID.
const SECRET: &[u8] = b"secret";
const KEY_ID: &[u8] = b"k";

/// Checks law 10 on octets as one segment, and as several in a frame.
pub(crate) fn wire(octets: &[u8]) {
    codec::check_octets::<SegmentCodec>(octets);
    let mut rest = octets;
    while let Ok((segment, used)) = Segment::decode_first(rest) {
        let Some((one, behind)) = rest.split_at_checked(used).filter(|_| used > 0) else {
            panic!("{segment:?} took {used} of {} octets", rest.len());
        };
        codec::check_octets::<SegmentCodec>(one);
        codec::check_item::<SegmentCodec>(&segment);
        rest = behind;
    }
}

/// An engine under all the laws.
pub(crate) fn engine(octets: &[u8]) {
    check(octets, &Auth::OFF);
}

/// An engine that accepts only segments with a valid value.
pub(crate) fn authenticated(octets: &[u8]) {
    let key = Key {
        id: Bytes::from_static(KEY_ID),
        secret: Bytes::from_static(SECRET),
    };
    check(octets, &Auth::hmac_sha1(key));
}

/// The first octet tells a capture from a generated script, so that captures can be seeds.
fn check(octets: &[u8], auth: &Auth) {
    let case = match octets {
        [CAPTURE, octets @ ..] => capture(&mut Unstructured::new(octets), auth),
        _ => case(&mut Unstructured::new(octets), auth),
    };
    if let Ok(mut case) = case {
        Aim::at(&mut case, auth);
        laws::check(case);
    }
}

/// Encodes the segments that one engine received as a seed. Data are encoded by their length alone.
pub(crate) fn seed_of_capture(role: u64, client: u64, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut seed = vec![CAPTURE];
    seed.extend(role.to_le_bytes());
    seed.extend(client.to_le_bytes());
    seed.extend(6000_u16.to_le_bytes());
    seed.extend(5000_u16.to_le_bytes());
    for octets in segments {
        let data = match Segment::decode_first(octets) {
            Ok((segment, _)) => match segment.body {
                Body::Data(data) => data.octets.len(),
                _ => 0,
            },
            Err(_) => 0,
        };
        let head = octets.len() - data;
        seed.extend(u16::try_from(data).unwrap_or(u16::MAX).to_le_bytes());
        seed.extend(u16::try_from(head).unwrap_or(u16::MAX).to_le_bytes());
        seed.extend_from_slice(octets.get(..head).unwrap_or_default());
    }
    seed
}

/// Captured segments, with a drain after each, for an engine in the place of the one that received them.
fn capture(u: &mut Unstructured<'_>, auth: &Auth) -> Result<Case<Engine<Hop>>> {
    let role = 1 + (u64::arbitrary(u)?.wrapping_sub(1) % 2);
    let client = u64::arbitrary(u)?;
    let (len, red): (u16, u16) = u.arbitrary()?;
    let other = 3 - role;
    let peer = Peer {
        auth: auth.clone(),
        ..Peer::at(hop(other)).with_flow(Flow::Unlimited)
    };
    let mut script = vec![
        Step::Command(Command::AddPeer(other, Box::new(peer))),
        Step::Command(Command::Open(client, Service::Whole)),
    ];
    if role == 1 {
        script.push(Step::Command(Command::Send(Block {
            tag: Tag(1),
            to: other,
            client,
            data: vec![7; usize::from(len % 8192)].into(),
            red: Red::Octets(u64::from(red)),
        })));
        script.push(Step::Drain);
    }
    for _ in 0..MOST_SEGMENTS {
        let Ok((data, head)) = <(u16, u16)>::arbitrary(u) else {
            break;
        };
        let Ok(head) = u.bytes(usize::from(head).min(u.len())) else {
            break;
        };
        let mut octets = head.to_vec();
        octets.resize(head.len() + usize::from(data % (LONGEST_DATA + 1)), 0xA5);
        if octets.is_empty() {
            break;
        }
        script.push(Step::Receive {
            from: hop(other),
            octets,
        });
        script.push(Step::Drain);
    }
    script.extend([Step::Wake, Step::Wake]);
    Ok(Case::new(Config::engine(role), script))
}

/// A script that adds peers and opens services first, most times.
fn case(u: &mut Unstructured<'_>, auth: &Auth) -> Result<Case<Engine<Hop>>> {
    let config: Config = u.arbitrary()?;
    let seed = u.arbitrary()?;
    let limits = match u.int_in_range(0..=3)? {
        0 | 1 => Limits::default(),
        2 => Limits::single(u.int_in_range(1..=400)?),
        _ => Limits::new(
            u.int_in_range(1..=2000)?,
            u.int_in_range(1..=8)?,
            u.int_in_range(1..=4000)?,
        ),
    };
    let mut script = Vec::new();
    for id in 1..=3 {
        if u.ratio(7, 8)? {
            let peer = Peer {
                address: hop(id),
                ..peer(u, auth)?
            };
            script.push(Step::Command(Command::AddPeer(id, Box::new(peer))));
        }
        if u.ratio(3, 4)? {
            let service = u.arbitrary()?;
            script.push(Step::Command(if u.ratio(1, 3)? {
                Command::OpenOnDemand(id, service)
            } else {
                Command::Open(id, service)
            }));
        }
    }
    while script.len() < MOST_STEPS && !u.is_empty() {
        script.push(step(&config, u, auth)?);
    }
    Ok(Case {
        config,
        seed,
        limits,
        script,
    })
}

/// A peer, mostly one with the key.
fn peer(u: &mut Unstructured<'_>, auth: &Auth) -> Result<Peer<Hop>> {
    let peer: Peer<Hop> = u.arbitrary()?;
    if u.ratio(1, 8)? {
        return Ok(peer);
    }
    Ok(Peer {
        auth: auth.clone(),
        ..peer
    })
}

/// One step, mostly with octets that decode as LTP.
fn step(config: &Config, u: &mut Unstructured<'_>, auth: &Auth) -> Result<Step<Hop, Command<Hop>>> {
    let route = |at| Engine::<Hop>::route(at, &[]);
    Ok(match u.arbitrary()? {
        Step::Receive { from, .. } => Step::Receive {
            from: route(from),
            octets: Engine::arbitrary_octets(config, u)?,
        },
        Step::Flood { from, .. } => Step::Flood {
            from: route(from),
            octets: Engine::arbitrary_octets(config, u)?,
        },
        Step::Link { at, state } => Step::Link {
            at: route(at),
            state,
        },
        Step::Command(Command::ChangePeer(id, _)) => {
            let peer = Peer {
                address: hop(id),
                ..peer(u, auth)?
            };
            Step::Command(Command::ChangePeer(id, Box::new(peer)))
        }
        other => other,
    })
}

fn hop(engine: u64) -> Hop {
    Hop {
        interface: 0,
        via: u16::try_from(engine % 3).unwrap_or(0),
    }
}

/// Gives the segments of a script the numbers that the engine draws.
///
/// Nobody can guess them, so the octets of a fuzzer would hit no session of the engine. An engine with the same seed
/// runs the script before the trial, and its numbers are taken.
struct Aim {
    engine: Engine<Hop>,
    tx: Transmit<Hop>,
    now: Instant,
    /// Sessions that it sends.
    exports: Vec<SessionId>,
    /// Serial numbers of the checkpoints sent.
    checkpoints: Vec<u64>,
    /// Sessions and serial numbers of the reports sent.
    reports: Vec<(SessionId, u64)>,
    /// Serial numbers in the octets of the script, in the order in which they came.
    named: Vec<u64>,
    acknowledged: Vec<u64>,
}

impl Aim {
    fn at(case: &mut Case<Engine<Hop>>, auth: &Auth) {
        let Ok(engine) = Engine::new(case.config.clone(), Seed::from(case.seed)) else {
            return;
        };
        let mut aim = Self {
            engine,
            tx: Transmit::new(case.limits),
            now: Instant::ZERO,
            exports: Vec::new(),
            checkpoints: Vec::new(),
            reports: Vec::new(),
            named: Vec::new(),
            acknowledged: Vec::new(),
        };
        for step in &mut case.script {
            aim.live_through(step, case.config.engine, auth);
        }
    }

    fn live_through(&mut self, step: &mut Step<Hop, Command<Hop>>, own: u64, auth: &Auth) {
        match step {
            Step::Receive { from, octets } | Step::Flood { from, octets } => {
                if let Some(aimed) = self.aimed(octets, own, auth) {
                    *octets = aimed;
                }
                self.engine.receive(self.now, *from, octets);
            }
            Step::Link { at, state } => self.engine.link(self.now, *at, *state),
            Step::Command(Command::Send(block)) => {
                let session = self.engine.send_block(self.now, block.clone());
                self.exports.extend(session);
            }
            Step::Command(command) => {
                let _ = self.engine.command(self.now, command.clone());
            }
            Step::Wait(span) => self.now += *span,
            Step::Wake => {
                if let Some(deadline) = self.drain(MOST_OUTPUTS) {
                    self.now = self.now.max(deadline);
                }
                self.drain(MOST_OUTPUTS);
            }
            Step::Poll => drop(self.drain(1)),
            Step::Drain => drop(self.drain(MOST_OUTPUTS)),
            Step::Answer { .. } | Step::Back(_) => {}
        }
    }

    fn drain(&mut self, most: usize) -> Option<Instant> {
        for _ in 0..most {
            match self.engine.poll(self.now, &mut self.tx) {
                Output::Transmit => self.note(),
                Output::Idle(deadline) => return deadline,
                Output::Event(_) | Output::Ask(_) | Output::Yield | Output::Done => {}
            }
        }
        None
    }

    fn note(&mut self) {
        for octets in self.tx.datagrams() {
            let Ok(segment) = Segment::decode(octets) else {
                continue;
            };
            match segment.body {
                Body::Data(data) => {
                    if let Color::Red(Some(checkpoint)) = data.color
                        && !self.checkpoints.contains(&checkpoint.serial)
                    {
                        self.checkpoints.push(checkpoint.serial);
                    }
                }
                Body::Report(report) => {
                    let name = (segment.session, report.serial);
                    if !self.reports.contains(&name) {
                        self.reports.push(name);
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns the same segment for a session of the engine, signed. `None` if it does not decode.
    fn aimed(&mut self, octets: &[u8], own: u64, auth: &Auth) -> Option<Vec<u8>> {
        let (mut segment, used) = Segment::decode_first(octets).ok()?;
        let number = usize::try_from(segment.session.number).ok()?;
        match &mut segment.body {
            Body::Report(Report { checkpoint, .. }) if segment.session.originator == own => {
                let place = place(&mut self.named, *checkpoint);
                *checkpoint = *self.checkpoints.get(place).unwrap_or(checkpoint);
            }
            Body::ReportAck(serial) => {
                let place = place(&mut self.acknowledged, *serial);
                if let Some((session, report)) = self.reports.get(place) {
                    segment.session = *session;
                    *serial = *report;
                }
            }
            _ => {}
        }
        let is_to_sender = matches!(
            segment.body,
            Body::Report(_) | Body::CancelByReceiver(_) | Body::CancelAckToSender
        );
        if is_to_sender
            && segment.session.originator == own
            && let Some(session) = self.exports.get(number % self.exports.len().max(1))
        {
            segment.session = *session;
        }
        let mut out = Vec::new();
        segment.encode(&mut out);
        if *auth != Auth::OFF && segment.header.count() == 0 && segment.trailer.count() == 0 {
            sign(&mut out, segment.body.wire_len());
        }
        out.extend_from_slice(octets.get(used..)?);
        Some(out)
    }
}

/// Returns the index of a number among those seen, in the order of their first use.
fn place(seen: &mut Vec<u64>, number: u64) -> usize {
    if let Some(place) = seen.iter().position(|one| *one == number) {
        return place;
    }
    seen.push(number);
    seen.len() - 1
}

/// Adds the extensions of suite 0 to a segment without any, whose body is `body` octets long.
fn sign(octets: &mut Vec<u8>, body: usize) {
    let at = octets.len() - body;
    if let Some(counts) = octets.get_mut(at - 1) {
        *counts = 0x11;
    }
    let head = [&[0, 2, 0], KEY_ID].concat();
    octets.splice(at..at, head);
    octets.extend([0, 10]);
    if let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(SECRET) {
        mac.update(octets);
        octets.extend(mac.finalize().into_bytes().iter().take(10));
    }
}
