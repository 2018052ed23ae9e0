//! What the fuzz targets of the simulator do with their octets. The tests run the same on the seeds.
#![allow(
    clippy::std_instead_of_alloc,
    reason = "fuzz targets link the standard library anyway"
)]

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use farlink::cotp::{
    AfterHandshake, Command, Config, Connection, Event, NonTpkt, Policy, Proposal, Role,
};
use farlink::record::{Flush, RecordOptions, Recorder, read_in_all_ways, replay};
use farlink::sim::{Chunks, Drawing, Host, StreamLine, VariableDelay, World};
use farlink::{Instant, Limits};

/// Connections in one world.
const MOST_PAIRS: usize = 3;
/// Steps of a script.
const MOST_STEPS: usize = 60;
/// Octets of one message, and of all: a stream may be read octet by octet.
const LONGEST_MESSAGE: usize = 4000;
const MOST_OCTETS: usize = 30_000;
/// The shortest timeout of a machine that waits for octets.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a world may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(10_000);
/// The port that analysers know TPKT by.
const PORT: u16 = 102;

/// A random world of COTP machines under the laws, which it asserts itself.
///
/// Whatever happens in it, what arrives is a beginning of what was sent, in order. The same octets give the
/// same world again, and what was recorded of each machine replays.
pub(crate) fn cotp(octets: &[u8]) {
    let Ok(told) = tell(octets) else {
        return;
    };
    assert!(
        tell(octets).is_ok_and(|again| again == told),
        "two runs of one world differ"
    );
    for recording in &told.recordings {
        match replay::<Connection>(recording) {
            Ok(outcome) => assert!(outcome.matches(), "{outcome}"),
            Err(error) => panic!("a recording does not replay: {error}"),
        }
    }
    read_in_all_ways::<Connection>(&told.capture);
}

/// What is seen of a world from outside.
#[derive(PartialEq)]
struct Told {
    ladder: String,
    drawing: String,
    capture: Vec<u8>,
    recordings: Vec<Vec<u8>>,
}

type End = Host<Recorder<Connection>>;

/// One end of a connection, and what is to reach the other.
struct Party {
    host: End,
    file: Sink,
    messages: Vec<Bytes>,
    expedited: Vec<Bytes>,
    /// Whether the script wrote to the stream after it was handed over.
    is_meddled_with: bool,
}

struct Script<'a> {
    u: Unstructured<'a>,
    world: World,
    /// Peers stand beside each other.
    parties: Vec<Party>,
    octets: usize,
}

fn tell(octets: &[u8]) -> Result<Told> {
    let mut u = Unstructured::new(octets);
    let world = World::new(u.arbitrary()?);
    let mut script = Script {
        u,
        world,
        parties: Vec::new(),
        octets: 0,
    };
    for _ in 0..script.u.int_in_range(1..=MOST_PAIRS)? {
        script.join_two()?;
    }
    if script.u.ratio(7, 8)? {
        // Most handshakes are over by then.
        script.world.run_for(Duration::from_secs(5));
    }
    for _ in 0..MOST_STEPS {
        // Octets that end in the middle of a step end the script there.
        if script.u.is_empty() || script.step().is_err() {
            break;
        }
    }
    let end = script.world.now() + PATIENCE;
    script.world.run_until_idle(end);
    script.check();
    Ok(script.end())
}

impl Script<'_> {
    fn join_two(&mut self) -> Result<()> {
        let (initiator, responder) = (self.role(true)?, self.role(false)?);
        let one = self.settle_in(initiator)?;
        let other = self.settle_in(responder)?;
        let there = line(&mut self.u)?;
        self.world.connect(one, other, there);
        if self.u.arbitrary()? {
            let back = line(&mut self.u)?;
            self.world.stream_from(other, back);
        }
        Ok(())
    }

    /// Most times one that gets on with a peer of the other role.
    fn role(&mut self, is_initiator: bool) -> Result<Role> {
        let u = &mut self.u;
        Ok(match (u.int_in_range(0..=7)?, is_initiator) {
            (0, _) => u.arbitrary()?,
            (1..=3, true) => Role::Initiator(u.arbitrary()?),
            (1..=3, false) => Role::Responder(u.arbitrary()?),
            (_, true) => Role::Initiator(Proposal::default()),
            (_, false) => Role::Responder(Policy::AcceptAny),
        })
    }

    fn settle_in(&mut self, role: Role) -> Result<End> {
        let usual = Config {
            role: role.clone(),
            ..Config::default()
        };
        let config = if self.u.ratio(1, 3)? {
            patient(Config {
                role,
                ..self.u.arbitrary()?
            })
        } else {
            usual.clone()
        };
        let file = Sink::default();
        let seed = self.world.seed(&format!("party {}", self.parties.len()));
        let recorder = |config| {
            let options = RecordOptions {
                flush: Flush::Gathered(1 << 16),
                ..RecordOptions::default()
            };
            Recorder::new(config, seed.clone(), file.clone(), options)
        };
        let may_wait = matches!(config.role, Role::Responder(Policy::Ask))
            || config.after_handshake == AfterHandshake::Pause
            || config.non_tpkt == NonTpkt::Offer;
        let Ok(machine) = recorder(config).or_else(|_| recorder(usual)) else {
            return Err(arbitrary::Error::IncorrectFormat);
        };
        let host = self.world.host((), machine);
        if may_wait {
            self.world.allow_unread(host, |()| true);
        }
        if self.u.arbitrary()? {
            let octets = self.u.int_in_range(1..=4000)?;
            self.world.limits(host, Limits::stream(octets));
        }
        self.parties.push(Party {
            host,
            file,
            messages: Vec::new(),
            expedited: Vec::new(),
            is_meddled_with: false,
        });
        Ok(host)
    }

    fn step(&mut self) -> Result<()> {
        let index = self.u.choose_index(self.parties.len())?;
        let host = self.parties[index].host;
        match self.u.int_in_range(0..=31)? {
            0..=11 => self.command(index)?,
            12..=20 => {
                let span = span(&mut self.u)?;
                self.world.run_for(span);
            }
            21 => {
                self.world.step();
            }
            22 => self.world.stop_reading(host),
            23 | 24 => self.world.resume_reading(host),
            25 => {
                let line = line(&mut self.u)?;
                self.world.stream_from(host, line);
            }
            // What ends a connection is rare, or little else would be tried.
            26 if self.u.ratio(1, 4)? => self.world.reset(host, ()),
            27 if self.u.ratio(1, 4)? => self.world.half_close(host, ()),
            28 => {
                let (time, command) = (span(&mut self.u)?, self.u.arbitrary()?);
                self.later(index, time, command);
            }
            _ => self.meddle(index)?,
        }
        Ok(())
    }

    fn command(&mut self, index: usize) -> Result<()> {
        let command = if self.u.arbitrary()? {
            message(&mut self.u)?
        } else {
            self.u.arbitrary()?
        };
        let command = match command {
            Command::Send(message) => {
                let room = MOST_OCTETS - self.octets;
                let len = message.len().min(LONGEST_MESSAGE).min(room);
                self.octets += len;
                Command::Send(message.slice(..len))
            }
            other => other,
        };
        let party = &mut self.parties[index];
        if self.world.command(party.host, command.clone()).is_ok() {
            match command {
                Command::Send(message) => party.messages.push(message),
                Command::SendExpedited(message) => party.expedited.push(message),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives a command that adds nothing to what is to arrive.
    fn later(&mut self, index: usize, span: Duration, command: Command) {
        let host = self.parties[index].host;
        let time = self.world.now() + span;
        if !matches!(command, Command::Send(_) | Command::SendExpedited(_)) {
            self.world.command_at(time, host, command);
        }
    }

    /// Writes to a stream that was handed over, or closes it.
    fn meddle(&mut self, index: usize) -> Result<()> {
        let party = &mut self.parties[index];
        let Some(detached) = self.world.detached(party.host).last() else {
            return Ok(());
        };
        let tag = detached.tag;
        if self.u.ratio(1, 4)? {
            self.world.close(party.host, tag);
        } else {
            let len = self.u.int_in_range(0..=300)?.min(self.u.len());
            let octets = self.u.bytes(len)?;
            party.is_meddled_with = true;
            self.world.write(party.host, tag, octets);
        }
        Ok(())
    }

    /// What was received is a beginning of what was sent.
    fn check(&self) {
        for pair in self.parties.chunks_exact(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                if from.is_meddled_with {
                    continue;
                }
                let (mut messages, mut expedited) = (from.messages.iter(), from.expedited.iter());
                for (time, event) in self.world.events(to.host) {
                    let (sent, received) = match event {
                        Event::Received(message) => (messages.next(), message),
                        Event::Expedited(message) => (expedited.next(), message),
                        _ => continue,
                    };
                    assert!(
                        sent == Some(received),
                        "at {time}: {received:?} of {sent:?}"
                    );
                }
            }
        }
    }

    fn end(self) -> Told {
        let trace = self.world.trace();
        let (ladder, capture) = (trace.ladder(), trace.pcapng(PORT));
        let drawing = trace.svg(&Drawing::default());
        drop(self.world);
        let recordings = self.parties.iter().map(|party| party.file.octets());
        Told {
            ladder,
            drawing,
            capture,
            recordings: recordings.collect(),
        }
    }
}

/// A timer that is put off while nothing is read wakes its machine again and again: not each nanosecond.
fn patient(config: Config) -> Config {
    let slow = |span: Option<Duration>| span.map(|span| span.max(SHORTEST_TIMEOUT));
    Config {
        packet_timeout: slow(config.packet_timeout),
        idle_timeout: slow(config.idle_timeout),
        ..config
    }
}

/// One direction of a stream.
fn line(u: &mut Unstructured<'_>) -> Result<StreamLine> {
    let variable_delay = if u.ratio(1, 8)? {
        let (period, most) = (span(u)?.max(Duration::from_nanos(1)), span(u)?);
        Some(VariableDelay::new(move |sent| far(sent, period, most)))
    } else {
        None
    };
    Ok(StreamLine {
        delay: span(u)?,
        jitter: span(u)?,
        variable_delay,
        rate: match u.int_in_range(0..=7)? {
            0 => Some(u.arbitrary()?),
            1 | 2 => Some(u.int_in_range(100..=1_000_000)?),
            _ => None,
        },
        chunks: match u.int_in_range(0..=3)? {
            0 => Chunks::Whole,
            1 => Chunks::Fixed(1),
            2 => Chunks::Fixed(u.int_in_range(0..=2000)?),
            _ => Chunks::Random(u.int_in_range(0..=2000)?),
        },
        window: match u.int_in_range(0..=3)? {
            0 => Some(u.int_in_range(0..=100)?),
            1 => Some(u.int_in_range(100..=20_000)?),
            _ => None,
        },
    })
}

/// A peer that comes and goes.
fn far(sent: Instant, period: Duration, most: Duration) -> Duration {
    let [sent, period, most] = [sent - Instant::ZERO, period, most].map(|span| span.as_nanos());
    let phase = sent % period;
    u64::try_from(most.saturating_mul(phase) / period).map_or(Duration::MAX, Duration::from_nanos)
}

/// A span of any order of magnitude up to a second or two hours, and once in a while for ever.
fn span(u: &mut Unstructured<'_>) -> Result<Duration> {
    let scale = match u.arbitrary()? {
        0..=70_u8 => return Ok(Duration::ZERO),
        71..=100 => 43,
        101..=254 => 30,
        255 => return Ok(Duration::MAX),
    };
    let scale = u.int_in_range(0..=scale)?;
    u.int_in_range(0..=1_u64 << scale).map(Duration::from_nanos)
}

/// A message in which each octet tells its place.
fn message(u: &mut Unstructured<'_>) -> Result<Command> {
    let (first, len) = (u.arbitrary::<u8>()?, u.int_in_range(0..=LONGEST_MESSAGE)?);
    let octets = (first..=u8::MAX).chain((0..=u8::MAX).cycle());
    Ok(Command::Send(octets.take(len).collect()))
}

/// A file in memory.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn octets(&self) -> Vec<u8> {
        self.0
            .lock()
            .map_or_else(|_| Vec::new(), |file| file.clone())
    }
}

impl io::Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut file = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        file.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
