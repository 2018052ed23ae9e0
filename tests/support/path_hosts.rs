//! Two hosts on IP with scripted machines.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{DropReason, Host, Ip, Line, Tcp, TracePacket, World};
use farlink::{Ask, Instant, Link, Path, Tag};

use crate::scripted_machine::{Action, ScriptedMachine, links, octets};

pub(crate) type PathHost = Host<ScriptedMachine<Path>>;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn at(span: Duration) -> Instant {
    Instant::ZERO + span
}

/// Two hosts in the public network, 192.0.2.1 and 192.0.2.2, a second apart.
pub(crate) fn pair(seed: u64) -> (World, PathHost, PathHost) {
    let mut world = World::new(seed);
    world.internet(Line::delayed(SECOND));
    let one = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::default());
    let two = world.host(Ip::at([192, 0, 2, 2]), ScriptedMachine::default());
    for host in [one, two] {
        let first_timeout = 3 * SECOND;
        world.tcp(
            host,
            Tcp {
                first_timeout,
                ..Tcp::default()
            },
        );
    }
    (world, one, two)
}

pub(crate) fn ask(world: &mut World, host: PathHost, ask: Ask<Path>) {
    world.command(host, Action::Ask(ask)).unwrap();
}

pub(crate) fn open(world: &mut World, host: PathHost, tag: u64, path: Path) {
    let tag = Tag(tag);
    ask(world, host, Ask::Open { tag, path });
}

pub(crate) fn push(world: &mut World, host: PathHost, path: Path, octets: &[u8]) {
    let octets = Bytes::copy_from_slice(octets);
    world.command(host, Action::Push(path, octets)).unwrap();
}

pub(crate) fn append(world: &mut World, host: PathHost, path: Path, octets: &[u8]) {
    let octets = Bytes::copy_from_slice(octets);
    world.command(host, Action::Append(path, octets)).unwrap();
}

pub(crate) fn joined(world: &World, host: PathHost) -> Vec<u8> {
    let got = octets(world, host);
    got.iter().flat_map(|(_, octets)| octets.to_vec()).collect()
}

pub(crate) fn last_link(world: &World, host: PathHost) -> (Instant, Path, Link) {
    *links(world, host).last().expect("it heard nothing")
}

pub(crate) fn losses(world: &World) -> Vec<DropReason> {
    let lost = world.trace().packets().filter_map(TracePacket::lost);
    lost.map(|(_, why)| why).collect()
}
