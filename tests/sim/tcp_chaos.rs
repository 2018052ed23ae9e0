//! TCP over random lines and NATs: a stream is received as it was written.

use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{
    Bursts, Chunks, Filtering, Ip, Line, Mapping, Nat, Reorder, World, for_each_seed,
};
use farlink::{Ask, Link, Path, Proto, Rng, Seed, Tag};

use crate::nats::{PathHost, addr};
use crate::scripted_machine::{Action, Observed, ScriptedMachine, links};

const SECOND: Duration = Duration::from_secs(1);

fn number(rng: &mut Rng, below: u64) -> usize {
    usize::try_from(rng.below(below)).unwrap()
}

fn part(rng: &mut Rng, most: u32) -> f64 {
    f64::from(u32::try_from(rng.below(u64::from(most))).unwrap()) / 100.0
}

fn line(rng: &mut Rng) -> Line {
    let millis = |rng: &mut Rng, below| Duration::from_millis(rng.below(below));
    Line {
        delay: millis(rng, 300),
        jitter: millis(rng, 50),
        loss: part(rng, 15),
        bursts: (rng.below(3) == 0).then_some(Bursts {
            enter: 0.02,
            leave: 0.4,
            loss: 0.9,
        }),
        reorder: (rng.below(2) == 0).then_some(Reorder {
            probability: 0.2,
            by: Duration::from_millis(200),
        }),
        duplication: part(rng, 10),
        corruption: part(rng, 5),
        rate: (rng.below(3) == 0).then(|| 100_000 + rng.below(10_000_000)),
        ..Line::default()
    }
}

/// A client, perhaps behind a NAT, and a server to which it has a connection.
struct Stage {
    world: World,
    /// Client and server, each with its path.
    ends: [(PathHost, Path); 2],
    /// What each has written.
    written: [Vec<u8>; 2],
}

impl Stage {
    fn new(seed: u64, rng: &mut Rng) -> Option<Self> {
        let mut world = World::new(seed);
        world.internet(line(rng));
        let kind = [
            Nat::full_cone(),
            Nat::symmetric(),
            Nat::of(Mapping::ConnectionDependent, Filtering::ConnectionDependent),
        ];
        let nat = world.nat(Ip::at([198, 51, 100, 1]), kind[number(rng, 3)].clone());
        let home = Ip::at([10, 0, 0, 2]).behind(nat);
        let client: PathHost = world.host(home, ScriptedMachine::default());
        let server: PathHost = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::default());
        for host in [client, server] {
            world.allow_unread(host, |_| true);
            let cut = [Chunks::Whole, Chunks::Fixed(7), Chunks::Random(3000)];
            world.chunks(host, cut[number(rng, 3)]);
        }
        world.bind(server, Proto::Tcp, addr("0.0.0.0:80"));
        let there = Path::tcp(addr("10.0.0.2:1000"), addr("192.0.2.1:80"));
        let tag = Tag(1);
        let open = Action::Ask(Ask::Open { tag, path: there });
        world.command(client, open).unwrap();
        world.run_for(300 * SECOND);
        let is_open = links(&world, client)
            .iter()
            .any(|(.., link)| *link == Link::Opened(tag));
        let back = links(&world, server)
            .iter()
            .find(|(_, path, link)| *link == Link::Up && !path.is_socket())?
            .1;
        is_open.then_some(Self {
            world,
            ends: [(client, there), (server, back)],
            written: [Vec::new(), Vec::new()],
        })
    }

    fn write(&mut self, side: usize, len: usize) {
        let (host, path) = self.ends[side];
        let start = self.written[side].len();
        let octets: Vec<u8> = (0..=250).cycle().skip(start % 251).take(len).collect();
        self.written[side].extend_from_slice(&octets);
        self.world
            .command(host, Action::Append(path, Bytes::from(octets)))
            .unwrap();
    }

    fn ask(&mut self, side: usize, ask: impl FnOnce(Path) -> Ask<Path>) {
        let (host, path) = self.ends[side];
        self.world.command(host, Action::Ask(ask(path))).unwrap();
    }

    fn received(&self, side: usize) -> Vec<u8> {
        let (host, own) = self.ends[side];
        let mut all = Vec::new();
        for (_, event) in self.world.events(host) {
            if let Observed::Octets(path, octets) = event
                && *path == own
            {
                all.extend_from_slice(octets);
            }
        }
        all
    }

    fn cues(&self, side: usize, wanted: impl Fn(Link) -> bool) -> bool {
        let (host, own) = self.ends[side];
        links(&self.world, host)
            .iter()
            .any(|(_, path, link)| *path == own && wanted(*link))
    }
}

#[test]
fn whatever_the_line_a_stream_is_what_was_written() {
    let mut opened = 0;
    for seed in 0..120 {
        let mut rng = Seed::from(seed).child("tcp").rng();
        let Some(mut stage) = Stage::new(seed, &mut rng) else {
            continue;
        };
        opened += 1;
        for _ in 0..12 {
            let (side, len) = (number(&mut rng, 2), 1 + number(&mut rng, 60_000));
            stage.write(side, len);
            if rng.below(4) == 0 {
                let (host, _) = stage.ends[number(&mut rng, 2)];
                stage.world.command(host, Action::Want(false)).unwrap();
                stage
                    .world
                    .run_for(Duration::from_millis(rng.below(20_000)));
                stage.world.command(host, Action::Want(true)).unwrap();
            }
            stage.world.run_for(Duration::from_millis(rng.below(3000)));
        }
        stage.world.run_for(3000 * SECOND);
        for side in [0, 1] {
            stage.ask(side, Ask::Finish);
        }
        stage.world.run_for(3000 * SECOND);

        for side in [0, 1] {
            assert!(
                !stage.cues(side, |link| matches!(link, Link::Down(_))),
                "seed {seed}"
            );
            assert_eq!(
                stage.received(side).len(),
                stage.written[1 - side].len(),
                "seed {seed}"
            );
            assert_eq!(stage.received(side), stage.written[1 - side], "seed {seed}");
            assert!(stage.cues(side, |link| link == Link::Ended), "seed {seed}");
        }
        assert!(
            stage
                .world
                .run_until_idle(stage.world.now() + 3000 * SECOND),
            "seed {seed}"
        );
    }
    assert!(opened > 110, "{opened}");
}

#[test]
fn however_it_ends_a_stream_is_a_prefix_of_what_was_written() {
    for_each_seed(0..150, |seed| {
        let mut rng = Seed::from(seed).child("end").rng();
        let Some(mut stage) = Stage::new(seed, &mut rng) else {
            return;
        };
        let mut is_over = [false, false];
        for _ in 0..12 {
            let side = number(&mut rng, 2);
            let is_alive = !stage.cues(side, |link| matches!(link, Link::Down(_)));
            match rng.below(10) {
                _ if is_over[side] || !is_alive => {}
                0 => stage.ask(side, Ask::Finish),
                1 => stage.ask(side, Ask::Close),
                2 => stage.ask(side, Ask::Abort),
                3 => {
                    let (host, path) = stage.ends[side];
                    stage.world.reset(host, path);
                }
                _ => {
                    let len = 1 + number(&mut rng, 30_000);
                    stage.write(side, len);
                    // What a machine still holds it must not write after its end.
                    stage.world.run_for(60 * SECOND);
                    continue;
                }
            }
            is_over[side] = true;
            stage.world.run_for(Duration::from_millis(rng.below(3000)));
        }
        assert!(
            stage
                .world
                .run_until_idle(stage.world.now() + 30_000 * SECOND),
            "seed {seed}"
        );

        for side in [0, 1] {
            assert!(
                stage.written[1 - side].starts_with(&stage.received(side)),
                "seed {seed}"
            );
        }
    });
}
