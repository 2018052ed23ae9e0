//! A world in which machines meet, decided by a seed.
//!
//! A [`World`] has hosts, each a [`Machine`](crate::Machine) of any protocol, and lines between them on
//! which things go wrong as asked. It is the clock, the sockets and the network in one, so a script of
//! hours runs in milliseconds, and the same seed gives the same run to the last octet.
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
//! # What hosts are joined by
//!
//! | address | site | joined by |
//! |---|---|---|
//! | `()` | nothing | [`World::connect`]: a [`StreamLine`] each way, reliable, cut in any [`Chunks`] |
//! | a number | the number | [`World::line`]: a [`Line`] each way, with every fault there is |
//! | [`Hop`](crate::Hop) | its link address | [`World::wire`] between two interfaces, [`World::bus`] among many |
//! | [`Path`](crate::Path) | its [`Ip`] addresses | the public network and those behind each [`Nat`]; the world answers asks for sockets |
//!
//! # What a script does
//!
//! It gives [commands](World::command), now or [later](World::command_at), calls back
//! [at](World::at) a time, [every](World::every) so often or [when](World::when) something holds, changes
//! lines, [cuts](World::reset) streams, and looks at [events](World::events), [handed](World::handed)
//! streams and the [trace](World::trace). In debug builds the [laws](crate::laws) are asserted at every
//! poll: a machine that breaks one ends the test, with its name, the time and the seed.
//! [`for_each_seed`] runs a test with many seeds and prints the one that fails.
//!
//! # What is seen
//!
//! One [`Trace`] gives a [ladder](Trace::ladder) of text for snapshots, a [drawing](Trace::svg), a
//! [table](Trace::statistics), and the [packets](Trace::packets) one by one.

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

/// Ends a test whose script contradicts its world, or whose machine breaks a law. A world is a test, and this
/// is how tests fail.
#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "a broken test has to fail")]
fn misuse(what: &str) -> ! {
    std::panic::panic_any(alloc::string::String::from(what))
}
