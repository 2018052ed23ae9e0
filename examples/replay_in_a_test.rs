//! Record a connection where it runs, and replay it in a test.
//!
//! A fault in production becomes a file, and the file becomes a test that fails until the fault is mended.
//!
//! `cargo run --features cotp,record --example replay_in_a_test`

#![expect(
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::fs::{self, File};

use farlink::cotp::{Config, Connection, Event, Policy};
use farlink::record::{RecordOptions, Recorder, replay};
use farlink::{Instant, Limits, Link, Machine, Output, Seed, Transmit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("farlink-{}.pcapng", std::process::id()));
    in_production(File::create(&path)?)?;
    let outcome = in_a_test(&fs::read(&path)?);
    fs::remove_file(&path)?;
    outcome
}

/// Drives a recorder as one would drive the connection in it. The peer is three octet strings here.
fn in_production(file: File) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::responder(Policy::AcceptAny);
    let mut machine: Recorder<Connection> =
        Recorder::new(config, Seed::from(7), file, RecordOptions::default())?;
    let mut tx = Transmit::new(Limits::default());
    machine.link(Instant::ZERO, (), Link::Up);
    let chunks: [&[u8]; 3] = [
        &[3, 0, 0, 14, 9, 0xe0, 0, 0, 0, 1, 0, 0xc0, 1, 10],
        &[3, 0, 0, 12, 2, 0xf0, 0x80, b'h', b'e'],
        b"llo",
    ];
    for (second, chunk) in (1..).zip(chunks) {
        let now = Instant::from_nanos(second * 1_000_000_000);
        machine.receive(now, (), chunk);
        loop {
            match machine.poll(now, &mut tx) {
                Output::Event(Event::Received(message)) => println!("received {message:?}"),
                Output::Idle(_) | Output::Done => break,
                _ => {}
            }
        }
    }
    // The end mark: without it a replay tells that the recording was cut.
    machine.finish();
    Ok(())
}

/// What a test does with the file: it fails with both sides of the first difference.
fn in_a_test(recording: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let outcome = replay::<Connection>(recording)?;
    assert!(outcome.matches(), "{outcome}");
    println!("{outcome}");
    Ok(())
}
