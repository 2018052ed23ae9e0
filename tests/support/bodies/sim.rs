//! The body of the fuzz target of the simulator. A test runs it on the seeds.
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
    AfterHandshake, Command, Config, Connection, ConnectionTimers, Event, NonTpkt, Policy,
    Proposal, Role,
};
use farlink::record::{Flush, RecordOptions, Recorder, read_in_all_ways, replay};
use farlink::sim::{Chunks, Drawing, Host, StreamLine, VariableDelay, World};
use farlink::{Instant, Limits};

/// The most connections in one world.
const MAX_PAIRS: usize = 3;
/// The most steps of a script.
const MAX_STEPS: usize = 60;
/// The most octets of one message, and of all. A stream may be read octet by octet.
const MAX_MESSAGE: usize = 4000;
const MAX_OCTETS: usize = 30_000;
/// The shortest timeout that a machine may have while it waits for octets.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The time in which a world must become idle.
const BOUND: Duration = Duration::from_secs(10_000);
/// The port of TPKT.
const PORT: u16 = 102;

/// Runs a random world of COTP machines, which checks the laws.
///
/// What arrives is a prefix of what was sent, in order. Equal octets give equal worlds, and all recordings
/// replay.
pub(crate) fn cotp(octets: &[u8]) {
    let Ok(outcome) = play(octets) else {
        return;
    };
    assert!(
        play(octets).is_ok_and(|again| again == outcome),
        "two runs of one world differ"
    );
    for recording in &outcome.recordings {
        match replay::<Connection>(recording) {
            Ok(outcome) => assert!(outcome.matches(), "{outcome}"),
            Err(error) => panic!("a recording does not replay: {error}"),
        }
    }
    read_in_all_ways::<Connection>(&outcome.capture);
}

/// All that a world gives to its script.
#[derive(PartialEq)]
struct Outcome {
    ladder: String,
    drawing: String,
    capture: Vec<u8>,
    recordings: Vec<Vec<u8>>,
}

type RecordedHost = Host<Recorder<Connection>>;

/// One end of a connection, and the messages sent by it.
struct End {
    host: RecordedHost,
    file: Sink,
    messages: Vec<Bytes>,
    expedited: Vec<Bytes>,
    /// Whether the script wrote to the stream after it was detached.
    is_written_to: bool,
}

struct Script<'a> {
    u: Unstructured<'a>,
    world: World,
    /// Peers are neighbours.
    ends: Vec<End>,
    octets: usize,
}

fn play(octets: &[u8]) -> Result<Outcome> {
    let mut u = Unstructured::new(octets);
    let world = World::new(u.arbitrary()?);
    let mut script = Script {
        u,
        world,
        ends: Vec::new(),
        octets: 0,
    };
    for _ in 0..script.u.int_in_range(1..=MAX_PAIRS)? {
        script.connect_two()?;
    }
    if script.u.ratio(7, 8)? {
        // Most handshakes are complete by then.
        script.world.run_for(Duration::from_secs(5));
    }
    for _ in 0..MAX_STEPS {
        // A script ends where its octets do.
        if script.u.is_empty() || script.step().is_err() {
            break;
        }
    }
    let end = script.world.now() + BOUND;
    script.world.run_until_idle(end);
    script.check();
    Ok(script.end())
}

impl Script<'_> {
    fn connect_two(&mut self) -> Result<()> {
        let (initiator, responder) = (self.role(true)?, self.role(false)?);
        let one = self.add_host(initiator)?;
        let other = self.add_host(responder)?;
        let there = line(&mut self.u)?;
        self.world.connect(one, other, there);
        if self.u.arbitrary()? {
            let back = line(&mut self.u)?;
            self.world.stream_from(other, back);
        }
        Ok(())
    }

    /// Returns a role, mostly one that works with a peer of the other role.
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

    fn add_host(&mut self, role: Role) -> Result<RecordedHost> {
        let usual = Config {
            role: role.clone(),
            ..Config::default()
        };
        let config = if self.u.ratio(1, 3)? {
            with_long_timeouts(Config {
                role,
                ..self.u.arbitrary()?
            })
        } else {
            usual.clone()
        };
        let file = Sink::default();
        let seed = self.world.seed(&format!("party {}", self.ends.len()));
        let recorder = |config| {
            let options = RecordOptions {
                flush: Flush::Gathered(1 << 16),
                ..RecordOptions::default()
            };
            Recorder::new(config, seed.clone(), file.clone(), options)
        };
        let may_wait = matches!(config.role, Role::Responder(Policy::Ask))
            || config.after_handshake == AfterHandshake::Pause
            || config.compat.non_tpkt == NonTpkt::Offer;
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
        self.ends.push(End {
            host,
            file,
            messages: Vec::new(),
            expedited: Vec::new(),
            is_written_to: false,
        });
        Ok(host)
    }

    fn step(&mut self) -> Result<()> {
        let index = self.u.choose_index(self.ends.len())?;
        let host = self.ends[index].host;
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
            // Rare, because it ends a connection.
            26 if self.u.ratio(1, 4)? => self.world.reset(host, ()),
            27 if self.u.ratio(1, 4)? => self.world.half_close(host, ()),
            28 => {
                let (time, command) = (span(&mut self.u)?, self.u.arbitrary()?);
                self.later(index, time, command);
            }
            _ => self.use_detached(index)?,
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
                let room = MAX_OCTETS - self.octets;
                let len = message.len().min(MAX_MESSAGE).min(room);
                self.octets += len;
                Command::Send(message.slice(..len))
            }
            other => other,
        };
        let party = &mut self.ends[index];
        if self.world.command(party.host, command.clone()).is_ok() {
            match command {
                Command::Send(message) => party.messages.push(message),
                Command::SendExpedited(message) => party.expedited.push(message),
                _ => {}
            }
        }
        Ok(())
    }

    /// Schedules a command, unless it sends a message.
    fn later(&mut self, index: usize, span: Duration, command: Command) {
        let host = self.ends[index].host;
        let time = self.world.now() + span;
        if !matches!(command, Command::Send(_) | Command::SendExpedited(_)) {
            self.world.command_at(time, host, command);
        }
    }

    /// Writes to a detached stream, or closes it.
    fn use_detached(&mut self, index: usize) -> Result<()> {
        let party = &mut self.ends[index];
        let Some(detached) = self.world.detached(party.host).last() else {
            return Ok(());
        };
        let tag = detached.tag;
        if self.u.ratio(1, 4)? {
            self.world.close(party.host, tag);
        } else {
            let len = self.u.int_in_range(0..=300)?.min(self.u.len());
            let octets = self.u.bytes(len)?;
            party.is_written_to = true;
            self.world.write(party.host, tag, octets);
        }
        Ok(())
    }

    /// Checks that what was received is a prefix of what was sent.
    fn check(&self) {
        for pair in self.ends.chunks_exact(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                if from.is_written_to {
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

    fn end(self) -> Outcome {
        let trace = self.world.trace();
        let (ladder, capture) = (trace.ladder(), trace.pcapng(PORT));
        let drawing = trace.svg(&Drawing::default());
        drop(self.world);
        let recordings = self.ends.iter().map(|party| party.file.octets());
        Outcome {
            ladder,
            drawing,
            capture,
            recordings: recordings.collect(),
        }
    }
}

/// Raises timeouts that would wake a machine each nanosecond while nothing is read.
fn with_long_timeouts(config: Config) -> Config {
    let slow = |span: Option<Duration>| span.map(|span| span.max(MIN_TIMEOUT));
    Config {
        timers: ConnectionTimers {
            packet_timeout: slow(config.timers.packet_timeout),
            idle_timeout: slow(config.timers.idle_timeout),
            ..config.timers
        },
        ..config
    }
}

/// Returns one direction of a stream.
fn line(u: &mut Unstructured<'_>) -> Result<StreamLine> {
    let variable_delay = if u.ratio(1, 8)? {
        let (period, most) = (span(u)?.max(Duration::from_nanos(1)), span(u)?);
        Some(VariableDelay::new(move |sent| {
            moving_delay(sent, period, most)
        }))
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

/// The delay of a peer that moves away, again and again.
fn moving_delay(sent: Instant, period: Duration, most: Duration) -> Duration {
    let [sent, period, most] = [sent - Instant::ZERO, period, most].map(|span| span.as_nanos());
    let phase = sent % period;
    u64::try_from(most.saturating_mul(phase) / period).map_or(Duration::MAX, Duration::from_nanos)
}

/// Returns a time of any magnitude up to a second or two hours, and rarely for ever.
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

/// Returns a message in which each octet tells its offset.
fn message(u: &mut Unstructured<'_>) -> Result<Command> {
    let (first, len) = (u.arbitrary::<u8>()?, u.int_in_range(0..=MAX_MESSAGE)?);
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
