//! A world in which machines meet, decided by a seed.

mod agenda;
mod contacts;
mod dice;
mod handed;
mod host;
mod ip;
mod line;
mod links;
mod pipe;
mod place;
mod script;
mod trace;
mod traffic;
mod way;
mod world;

pub use contacts::Contacts;
pub use host::{Host, HostId, NatId, Node};
pub use ip::{
    Binding, Conflict, Filtering, Hairpin, Mapping, Nat, Parity, Pooling, Ports, Refresh,
    SimultaneousOpen, Stray, Tcp, Translation, Unsolicited,
};
pub use line::{Bursts, Chosen, Chunks, Line, Moving, Queue, Reorder, Sight, StreamLine};
pub use links::{BROADCAST, Bus};
pub use place::{Ip, Place, Placed, Site};
pub use script::{Handed, Moment, for_each_seed};
pub use trace::{
    Axis, Bands, Carrier, Contact, Drawing, Ending, Fate, Flags, HowEnded, Keep, Mark, MarkKind,
    Noted, Packet, Seen, Statistics, Trace, Traffic, Why,
};
pub use world::World;

/// Ends a test whose script contradicts its world, or whose machine breaks a law. A world is a test, and this
/// is how tests fail.
#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "a broken test has to fail")]
fn misuse(what: &str) -> ! {
    std::panic::panic_any(alloc::string::String::from(what))
}
