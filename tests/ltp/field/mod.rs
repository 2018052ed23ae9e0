//! What an engine owes to real peers, bad lines and restarts: one module for each part of the promise.

mod ends;
mod flow;
mod identity;
mod models;
mod order;
mod others;
mod restarts;
mod scene;
mod silence;
mod strangers;
mod useless;

use farlink::ltp::{Block, Body, Color, SessionId};
use farlink::{Addr, Tag};

use crate::ltp_alone::Alone;

/// The address of the only peer.
const PEER: u64 = 1;

/// A red block in which octets differ.
fn block(to: u64, len: usize) -> Block {
    Block::red(Tag(len as u64), to, 4, pattern(len).into())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (7 * at + at / 251) as u8).collect()
}

/// The serial numbers of the checkpoints that were sent in a session, each once.
fn checkpoints<A: Addr>(alone: &Alone<A>, session: SessionId) -> Vec<u64> {
    let mut serials: Vec<u64> = alone
        .bodies(session)
        .iter()
        .filter_map(|body| match body {
            Body::Data(data) => match data.color {
                Color::Red(one) => one.map(|one| one.serial),
                Color::Green { .. } => None,
            },
            _ => None,
        })
        .collect();
    serials.dedup();
    serials
}
