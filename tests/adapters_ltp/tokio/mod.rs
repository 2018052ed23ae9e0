//! Every rule with methods that are awaited, and those of futures.

#[path = "../blocks.rs"]
mod blocks;
mod clock;
#[path = "../ends.rs"]
mod ends;
#[path = "../face_tokio.rs"]
mod face;
mod futures;
#[path = "../pair.rs"]
mod pair;
#[path = "../points.rs"]
mod points;
#[path = "../restart.rs"]
mod restart;
