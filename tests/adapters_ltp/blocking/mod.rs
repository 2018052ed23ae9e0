//! Every rule with methods that block.
#![allow(
    clippy::unused_async,
    reason = "methods that block stand for those that are awaited"
)]

#[path = "../blocks.rs"]
mod blocks;
#[path = "../ends.rs"]
mod ends;
#[path = "../face_blocking.rs"]
mod face;
mod limits;
#[path = "../pair.rs"]
mod pair;
#[path = "../points.rs"]
mod points;
#[path = "../restart.rs"]
mod restart;
