//! Every rule with methods that are awaited, and that of their runtime.

#[path = "../blocks.rs"]
mod blocks;
mod clock;
mod end;
#[path = "../ends.rs"]
mod ends;
#[path = "../face_tokio.rs"]
mod face;
#[path = "../pair.rs"]
mod pair;
#[path = "../points.rs"]
mod points;
#[path = "../restart.rs"]
mod restart;
