//! Machines that punch holes connect exactly if the oracle says that a direct path is possible.

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{Ip, Nat, Ports, World};
use farlink::{Path, Proto};

use crate::nats::{PathHost, addr, seen};
use crate::scripted_machine::{Action, ScriptedMachine};

const SECOND: Duration = Duration::from_secs(1);
const SERVER: &str = "192.0.2.1:3478";

/// Two peers that do what the textbook says, by UDP.
struct Punch {
    world: World,
    peers: [PathHost; 2],
    sockets: [SocketAddr; 2],
    /// What each peer may be reached at, as far as the other knows.
    known: [BTreeSet<SocketAddr>; 2],
}

impl Punch {
    fn new(nats: [Nat; 2]) -> Self {
        let mut world = World::new(3);
        let server = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::default());
        world.bind(server, Proto::Udp, addr(SERVER));
        let [one, other] = nats;
        let one = world.nat(Ip::at([198, 51, 100, 1]), one);
        let other = world.nat(Ip::at([203, 0, 113, 1]), other);
        let sockets = [addr("10.0.0.2:4000"), addr("10.0.0.3:5000")];
        let peers = [(one, sockets[0]), (other, sockets[1])].map(|(nat, socket)| {
            let ip = Ip::at(socket.ip()).behind(nat);
            let peer = world.host(ip, ScriptedMachine::default());
            world.bind(peer, Proto::Udp, socket);
            peer
        });
        let mut punch = Self {
            world,
            peers,
            sockets,
            known: [BTreeSet::new(), BTreeSet::new()],
        };
        for side in [0, 1] {
            punch.send(side, addr(SERVER));
            punch.world.run_for(SECOND);
            let reflexive = seen(&punch.world, server).last().unwrap().0.remote;
            punch.known[side].insert(reflexive);
        }
        punch
    }

    fn send(&mut self, side: usize, to: SocketAddr) {
        let path = Path::udp(self.sockets[side], to);
        let push = Action::Push(path, Bytes::from_static(b"knock"));
        self.world.command(self.peers[side], push).unwrap();
    }

    fn sources(&self, side: usize) -> Vec<SocketAddr> {
        let got = seen(&self.world, self.peers[side]);
        got.iter().map(|(path, _)| path.remote).collect()
    }

    fn meets(&mut self) -> bool {
        for _ in 0..4 {
            for side in [0, 1] {
                for target in self.known[1 - side].clone() {
                    self.send(side, target);
                }
                self.world.run_for(SECOND);
            }
            for side in [0, 1] {
                let sources = self.sources(1 - side);
                self.known[side].extend(sources);
            }
        }
        let [ones, others] = self.known.clone();
        ones.iter()
            .any(|one| others.iter().any(|other| self.exchanges(*one, *other)))
    }

    fn exchanges(&mut self, one: SocketAddr, other: SocketAddr) -> bool {
        let before = [self.sources(0).len(), self.sources(1).len()];
        self.send(0, other);
        self.send(1, one);
        self.world.run_for(SECOND);
        self.sources(0)[before[0]..].contains(&other) && self.sources(1)[before[1]..].contains(&one)
    }
}

#[test]
fn machines_connect_when_the_oracle_says_so() {
    let random = |nat: Nat| Nat {
        ports: Ports::Random,
        ..nat
    };
    let kinds = [
        Nat::full_cone(),
        Nat::restricted_cone(),
        Nat::port_restricted_cone(),
        Nat::symmetric(),
    ];
    let mut met = 0;
    for one in &kinds {
        for other in &kinds {
            let mut punch = Punch::new([random(one.clone()), random(other.clone())]);
            let [a, b] = punch.peers;

            let oracle = punch.world.direct_path_possible(a, b, Proto::Udp);

            assert_eq!(punch.meets(), oracle, "{one:?} {other:?}");
            met += u32::from(oracle);
        }
    }
    assert_eq!(met, 13);
}
