//! A protocol of one's own: stop-and-wait with an alternating bit, both ways, in under a hundred lines.
//!
//! What it gets for them: the laws with generated scripts (and so a fuzz target), a lossy line in the
//! simulator, a recording that opens in Wireshark, and a replay that compares every octet.
//!
//! A datagram is one octet, the bit and whether it acknowledges, then the message.
//!
//! `cargo run --features sim,record,arbitrary,laws --example stop_and_wait`

#![expect(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Arbitrary as _, Unstructured};
use farlink::laws::{self, Case, LawSubject};
use farlink::record::{NoSnapshot, RecordOptions, Recorded, Recorder, replay};
use farlink::sim::{Line, World};
use farlink::{Hop, Instant, Link, Machine, Output, Seed, Transmit};

const ACKNOWLEDGMENT: u8 = 2;
/// The longest message, in octets.
const LONGEST: usize = 1000;
/// Messages that may wait for their acknowledgment.
const QUEUE: usize = 8;
/// How long an acknowledgment may take.
const PATIENCE: Duration = Duration::from_secs(3);

struct StopAndWait {
    peer: Hop,
    now: Instant,
    /// Messages not acknowledged, the one under way first.
    queue: VecDeque<Vec<u8>>,
    /// The bit of the message under way.
    bit: u8,
    /// When the message under way is sent again. `None`: it has to be sent.
    deadline: Option<Instant>,
    /// The bit of the next message to receive.
    expected: u8,
    acknowledgment: Option<u8>,
    received: VecDeque<Vec<u8>>,
    is_full: bool,
}

/// The queue is full, or the message too long.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{QUEUE} messages of at most {LONGEST} octets may wait")
    }
}

impl std::error::Error for Refused {}

impl Machine for StopAndWait {
    type Addr = Hop;
    type Command = Vec<u8>;
    type Event = Vec<u8>;
    type Error = Refused;

    fn receive(&mut self, now: Instant, _: Hop, octets: &[u8]) {
        self.now = self.now.max(now);
        match octets.split_first() {
            Some((kind @ (2 | 3), [])) if self.is_under_way(kind - ACKNOWLEDGMENT) => {
                self.queue.pop_front();
                self.bit ^= 1;
                self.deadline = None;
            }
            Some((bit @ (0 | 1), message)) if message.len() <= LONGEST => {
                // A full application gets nothing more: no acknowledgment, so the peer repeats it.
                if *bit == self.expected && self.received.len() < QUEUE {
                    self.received.push_back(message.to_vec());
                    self.expected ^= 1;
                }
                if *bit != self.expected {
                    self.acknowledgment = Some(*bit);
                }
            }
            // Malformed, or not for the message under way: dropped.
            _ => {}
        }
    }

    fn link(&mut self, now: Instant, _: Hop, state: Link) {
        self.now = self.now.max(now);
        match state {
            Link::Full | Link::Down(_) => self.is_full = true,
            Link::Free | Link::Up | Link::Opened(_) => self.is_full = false,
            Link::Failed(..) | Link::Ended => {}
        }
    }

    fn command(&mut self, now: Instant, message: Vec<u8>) -> Result<(), Refused> {
        self.now = self.now.max(now);
        if self.queue.len() == QUEUE || message.len() > LONGEST {
            return Err(Refused);
        }
        self.queue.push_back(message);
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Hop>) -> Output<Hop, Vec<u8>> {
        tx.clear();
        self.now = self.now.max(now);
        if let Some(message) = self.received.pop_front() {
            return Output::Event(message);
        }
        if self.is_full {
            return Output::Idle(None);
        }
        if let Some(bit) = self.acknowledgment.take()
            && tx.push(self.peer, 1, |out| out.push(ACKNOWLEDGMENT | bit))
        {
            return Output::Transmit;
        }
        let Some(message) = self.queue.front() else {
            return Output::Idle(None);
        };
        if let Some(deadline) = self.deadline.filter(|deadline| *deadline > self.now) {
            return Output::Idle(Some(deadline));
        }
        // The timer starts when the datagram is written, not when it is queued.
        self.deadline = Some(self.now + PATIENCE);
        let bit = self.bit;
        let is_written = tx.push(self.peer, 1 + message.len(), |out| {
            out.push(bit);
            out.extend_from_slice(message);
        });
        if is_written {
            Output::Transmit
        } else {
            // Longer than the driver's datagrams: tried again, and lost like any other.
            Output::Idle(self.deadline)
        }
    }
}

impl StopAndWait {
    fn new(peer: Hop) -> Self {
        Self {
            peer,
            now: Instant::ZERO,
            queue: VecDeque::new(),
            bit: 0,
            deadline: None,
            expected: 0,
            acknowledgment: None,
            received: VecDeque::new(),
            is_full: false,
        }
    }

    fn is_under_way(&self, bit: u8) -> bool {
        self.deadline.is_some() && self.bit == bit
    }
}

// The laws need to make the machine, and to know what memory it may use.

impl LawSubject for StopAndWait {
    type Config = Hop;

    fn make(peer: &Hop, _: Seed) -> Option<Self> {
        Some(Self::new(*peer))
    }

    fn memory_limit(_: &Hop) -> usize {
        // Two queues, each with twice the room of what is in it.
        size_of::<Self>() + 4 * QUEUE * (size_of::<Vec<u8>>() + LONGEST)
    }

    fn memory_used(&self) -> usize {
        let messages = self.queue.iter().chain(&self.received);
        let slots = self.queue.capacity() + self.received.capacity();
        let octets: usize = messages.map(Vec::capacity).sum();
        size_of::<Self>() + slots * size_of::<Vec<u8>>() + octets
    }

    fn is_stream(_: &Hop, _: Hop) -> bool {
        false
    }
}

// The recorder needs a name for it, and to make it again in a replay.

impl Recorded for StopAndWait {
    const KIND: &'static str = "stop-and-wait";
    type Config = Hop;
    type ConfigError = Infallible;
    type Snapshot = NoSnapshot;
    type RestoreError = Infallible;

    fn make(peer: Hop, _: Seed) -> Result<Self, Infallible> {
        Ok(Self::new(peer))
    }

    fn restore(_: Hop, _: Seed, none: NoSnapshot, _: Instant) -> Result<Self, Infallible> {
        match none {}
    }
}

/// Memory in place of a file.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut memory = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        memory.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hop = |via| Hop { interface: 0, via };

    // A thousand scripts of octets, cues, commands and time, each checked against every law. A fuzz target is
    // the same line: `fuzz_target!(|case: Case<StopAndWait>| laws::check(case))`.
    for number in 0..1000 {
        let mut octets = [0; 512];
        Seed::from(number).rng().fill(&mut octets);
        laws::check(Case::<StopAndWait>::arbitrary(&mut Unstructured::new(
            &octets,
        ))?);
    }
    println!("1000 scripts keep the laws");

    // Two of them on a line that loses every fifth datagram, recorded at one end.
    let file = Memory::default();
    let mut world = World::new(7);
    let sender = Recorder::<StopAndWait>::new(
        hop(2),
        Seed::from(1),
        file.clone(),
        RecordOptions::default(),
    )?;
    let sender = world.host(1, sender);
    let receiver = world.host(2, StopAndWait::new(hop(1)));
    let line = Line {
        loss: 0.2,
        ..Line::delayed(Duration::from_secs(1))
    };
    world.wire((sender, 0), (receiver, 0), line);
    for message in ["one", "two", "three", "four"] {
        world.command(sender, message.into())?;
    }
    world.run_until_idle(Duration::from_secs(600));
    for (time, message) in world.events(receiver) {
        println!("{time} {}", String::from_utf8_lossy(message));
    }
    assert_eq!(world.events(receiver).count(), 4);
    print!("{}", world.ladder());
    drop(world);

    // The recording runs again on a fresh machine, and every octet is compared.
    let file = file.0.lock().map_err(|_| "a thread has failed")?;
    let outcome = replay::<StopAndWait>(&file)?;
    println!("replay: {outcome}");
    assert!(outcome.matches());
    Ok(())
}
