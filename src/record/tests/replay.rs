//! What is recorded is replayed, and nothing else.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::toy::{STREAM, Shared, Toy, ToyCommand, at, datagram_session, drain, recorder, send};
use crate::record::{End, Recording, ReplayError, replay};
use crate::{Hop, Link, Machine as _, Path};

#[test]
fn a_recording_replays_call_by_call() {
    let file = datagram_session();

    let outcome = replay::<Toy<Path>>(&file).unwrap();

    assert_eq!(outcome.difference, None);
    assert_eq!(outcome.damage, None);
    assert_eq!(outcome.end, End::Finished);
    assert_eq!(outcome.to_string(), "27 calls match");
}

#[test]
fn a_stream_replays_with_the_chunks_it_came_in() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.link(at(0), (), Link::Up);
    toy.receive(at(1), (), b"one chunk");
    toy.receive(at(2), (), &[7; 200_000]);
    drain(&mut toy, at(3));
    drain(&mut toy, at(5000));
    toy.command(at(5000), send((), &b"answer"[..])).unwrap();
    drain(&mut toy, at(5001));
    toy.link(at(6000), (), Link::Ended);
    toy.command(at(6000), ToyCommand::Close(())).unwrap();
    drain(&mut toy, at(6001));
    drop(toy);

    let outcome = replay::<Toy<()>>(&sink.octets()).unwrap();

    assert!(outcome.matches(), "{outcome}");
    assert_eq!(outcome.end, End::Finished);
}

#[test]
fn every_flipped_bit_is_found() {
    let file = datagram_session();

    let mut silent = Vec::new();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match replay::<Toy<Path>>(&flipped) {
            Ok(outcome) if outcome.matches() && outcome.end == End::Finished => silent.push(bit),
            _ => {}
        }
    }

    assert_eq!(silent, Vec::<usize>::new(), "of {} bits", file.len() * 8);
}
