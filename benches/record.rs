//! How fast calls are recorded and replayed.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "benches link the standard library anyway"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use farlink::record::{Flush, NoSnapshot, RecordOptions, Recorded, Recorder, replay};
use farlink::{Instant, Limits, Link, Machine, Output, Path, Seed, Transmit};

/// Datagrams in one recording; each makes a receive, a send and an idle poll.
const DATAGRAMS: usize = 100_000;

/// Sends every datagram back, with or without an event.
struct Echo {
    has_events: bool,
    back: Option<(Path, Bytes)>,
    event: Option<Bytes>,
}

#[derive(serde::Serialize)]
struct Got(#[serde(with = "farlink::hex")] Bytes);

impl Machine for Echo {
    type Addr = Path;
    type Command = ();
    type Event = Got;
    type Error = Infallible;

    fn receive(&mut self, _: Instant, from: Path, octets: &[u8]) {
        let octets = Bytes::copy_from_slice(octets);
        self.event = self.has_events.then(|| octets.clone());
        self.back = Some((from, octets));
    }

    fn link(&mut self, _: Instant, _: Path, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Path>) -> Output<Path, Got> {
        tx.clear();
        if let Some(event) = self.event.take() {
            return Output::Event(Got(event));
        }
        if let Some((to, octets)) = self.back.take() {
            tx.push(to, octets.len(), |out| out.extend_from_slice(&octets));
            return Output::Transmit;
        }
        Output::Idle(Some(now + Duration::from_secs(1)))
    }
}

impl Recorded for Echo {
    const KIND: &'static str = "echo";
    type Config = bool;
    type ConfigError = Infallible;
    type Snapshot = NoSnapshot;
    type RestoreError = Infallible;

    fn make(has_events: bool, _: Seed) -> Result<Self, Infallible> {
        Ok(Self {
            has_events,
            back: None,
            event: None,
        })
    }

    fn restore(_: bool, _: Seed, none: NoSnapshot, _: Instant) -> Result<Self, Infallible> {
        match none {}
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut file = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        file.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the number of calls.
fn run(machine: &mut impl Machine<Addr = Path>) -> u64 {
    let path = Path::udp(([10, 0, 0, 1], 1113).into(), ([10, 0, 0, 2], 1113).into());
    let mut tx = Transmit::new(Limits::default());
    let mut now = Instant::ZERO;
    let mut calls = 0;
    for _ in 0..DATAGRAMS {
        now += Duration::from_micros(10);
        machine.receive(now, path, black_box(&[0xa5; 32]));
        calls += 1;
        loop {
            calls += 1;
            if let Output::Idle(_) = machine.poll(now, &mut tx) {
                break;
            }
        }
    }
    calls
}

fn record(has_events: bool, sink: impl io::Write + Send + 'static) -> u64 {
    let options = RecordOptions {
        flush: Flush::Gathered(1 << 16),
        ..RecordOptions::default()
    };
    let recorder = Recorder::<Echo>::new(has_events, Seed::from(1), sink, options);
    recorder.map_or(0, |mut recorder| run(&mut recorder))
}

fn bench(c: &mut Criterion) {
    for (name, has_events) in [("datagrams", false), ("datagrams and events", true)] {
        let mut group = c.benchmark_group(name);
        let sink = Shared::default();
        let calls = record(has_events, sink.clone());
        let file = sink.0.lock().map(|file| file.clone()).unwrap_or_default();
        group.throughput(Throughput::Elements(calls));
        group.sample_size(20);
        group.bench_function("bare", |b| {
            b.iter(|| Echo::make(has_events, Seed::from(1)).map(|mut echo| run(&mut echo)));
        });
        group.bench_function("record", |b| b.iter(|| record(has_events, io::sink())));
        group.bench_function("replay", |b| {
            b.iter(|| replay::<Echo>(&file).is_ok_and(|outcome| outcome.matches()));
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
