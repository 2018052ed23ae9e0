//! A deterministic simulator of networks, in which machines run.
//!
//! A [`World`] has hosts, each with a [`Machine`](crate::Machine) of any protocol, and lines between them with
//! the faults of a [`Line`]. It replaces clock, sockets and network, so hours take milliseconds. Equal seeds
//! give equal runs, to the last octet.
//!
//! ```
//! # use std::convert::Infallible;
//! # use farlink::{Instant, Link, Machine, Output, Transmit};
//! # #[derive(Default)]
//! # struct Post { out: Option<u8>, got: Option<Vec<u8>> }
//! # impl Machine for Post {
//! #     type Addr = u8;
//! #     type Command = u8;
//! #     type Event = Vec<u8>;
//! #     type Error = Infallible;
//! #     fn receive(&mut self, _: Instant, _: u8, octets: &[u8]) { self.got = Some(octets.to_vec()) }
//! #     fn link(&mut self, _: Instant, _: u8, _: Link) {}
//! #     fn command(&mut self, _: Instant, to: u8) -> Result<(), Infallible> { self.out = Some(to); Ok(()) }
//! #     fn poll(&mut self, _: Instant, tx: &mut Transmit<u8>) -> Output<u8, Vec<u8>> {
//! #         tx.clear();
//! #         if let Some(got) = self.got.take() { return Output::Event(got) }
//! #         let Some(to) = self.out.take() else { return Output::Idle(None) };
//! #         tx.push(to, 5, |out| out.extend_from_slice(b"hello"));
//! #         Output::Transmit
//! #     }
//! # }
//! use core::time::Duration;
//! use farlink::sim::{FaultRule, Line, World};
//!
//! let mut world = World::new(7);
//! let earth = world.host(1, Post::default());
//! let mars = world.host(2, Post::default());
//! let delay = Duration::from_secs(12 * 60);
//! world.line(earth, mars, Line { delay, ..Line::default() }.with_rule(FaultRule::nth(1)));
//!
//! world.command(earth, 2)?;
//! world.command_at(Duration::from_secs(60), earth, 2);
//! assert!(world.run_until_idle(Duration::from_secs(3600)));
//!
//! assert_eq!(world.events(mars).len(), 1);
//! assert_eq!(world.ladder(), "      \
//!       time  1                      2
//!      0.000  |------ 5 octets --x   |  lost by choice
//!     60.000  |====== 5 octets =====>|  780.000
//!    780.000  |                      | * event
//! ");
//! # Ok::<(), Infallible>(())
//! ```
//!
//! # Addresses
//!
//! | address of the machine | added with | connected by |
//! |---|---|---|
//! | `()` | nothing | [`World::connect`]: a [`StreamLine`] each way, reliable, in any [`Chunks`] |
//! | a number | the number | [`World::line`]: a [`Line`] each way |
//! | [`Hop`](crate::Hop) | its link address | [`World::wire`] between two interfaces, [`World::bus`] among many |
//! | [`Path`](crate::Path) | its [`Ip`] addresses | the public network, and those behind each [`Nat`]; the world answers asks for sockets |
//!
//! # Scripts
//!
//! A test, or any program, is the script of a world. It gives [commands](World::command), at once or
//! [later](World::command_at), schedules calls [at](World::at) a time, [every](World::every) period or
//! [when](World::when) a condition holds, replaces lines, [resets](World::reset) streams, and runs the world
//! [until a time](World::run_until), [until a condition holds](World::run_until_holds) or
//! [until nothing is left to do](World::run_until_idle). It reads [events](World::events),
//! [detached streams](World::detached) and the [trace](World::trace).
//!
//! In debug builds the [laws](crate::laws) are checked at every poll. A machine that breaks one ends the test,
//! with its name, the time and the seed. [`for_each_seed`] runs a test for many seeds and prints the one that
//! fails.
//!
//! # Traces
//!
//! A [`Trace`] gives a [ladder diagram](Trace::ladder) as text for snapshots, and as [SVG](Trace::svg),
//! [statistics](Trace::statistics), and the single [packets](Trace::packets).

mod address;
mod contacts;
mod detached;
mod direction;
mod event;
mod event_queue;
mod host;
mod ip;
mod line;
mod lines;
mod lookup_map;
mod pipe;
mod rng;
mod script;
mod trace;
mod traffic;
mod world;

pub use address::{AnyAddr, HostAddr, Ip, SimAddr};
pub use contacts::Contacts;
pub use host::{Host, HostId, NatId, Node};
pub use ip::{
    Binding, Conflict, Filtering, Hairpin, Mapping, Nat, Parity, Pooling, Ports, Refresh,
    SimultaneousOpen, Stray, Tcp, Translation, Unsolicited,
};
pub use line::{
    Bursts, Chunks, FaultRule, Line, PacketView, Queue, Reorder, StreamLine, VariableDelay,
};
pub use lines::{BROADCAST, Bus};
pub use script::{DetachedStream, Label, When, for_each_seed};
pub use trace::{
    Axis, Bands, Contact, Delivery, Drawing, DropReason, ExternalMessage, MarkKind, PacketKind,
    Statistics, TcpFlags, Trace, TraceDetail, TraceEntry, TraceMark, TracePacket, Traffic,
};
pub use world::World;

/// Panics, because the script contradicts its world or a machine breaks a law. Worlds are for tests, and so
/// this fails the test.
#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "a broken test has to fail")]
fn misuse(what: &str) -> ! {
    std::panic::panic_any(alloc::string::String::from(what))
}
