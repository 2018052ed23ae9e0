//! Nodes of this crate and the model of libcsp, in both roles, on lines with loss, duplicates and reordering.

use bytes::Bytes;
use farlink::Seed;
use farlink::csp::{
    CloseReason, Command, Config, Endpoint, Event, Node, Priority, SendOptions, SocketOptions,
    SynOptions,
};
use farlink::sim::World;
use farlink::{Rng, Tag};

use crate::chaos::{line, ms};
use crate::libcsp::{self, Build, Call, Connect, Libcsp, Passive, Told};
use crate::tries::{Named, seeds};

const OURS: u16 = 1;
const THEIRS: u16 = 2;
const PORT: u8 = 10;
/// In the default run; `FARLINK_TRIES` multiplies it.
const SEEDS: u64 = 800;

fn options(rng: &mut Rng) -> SynOptions {
    SynOptions {
        window: u32::try_from(1 + rng.below(10)).unwrap(),
        delayed_acks: u32::from(rng.below(2) == 0),
        ack_delay_count: u32::try_from(rng.below(4)).unwrap(),
        ..SynOptions::default()
    }
}

fn packets(rng: &mut Rng) -> Vec<Bytes> {
    let count = u32::try_from(1 + rng.below(40)).unwrap();
    (0..count)
        .map(|it| Bytes::from(it.to_be_bytes().to_vec()))
        .collect()
}

#[test]
fn what_ours_sends_to_libcsp_arrives_once_and_in_order_before_the_close() {
    for seed in seeds(SEEDS) {
        Named(seed).run(|seed| {
            let seed = Seed::from(seed);
            let mut rng = seed.child("ours opens").rng();
            let mut world = World::new(rng.next_u64());
            let config = Config {
                rdp: options(&mut rng),
                send_queue: 64,
                ..Config::default()
            };
            let ours = world.host(OURS, Node::new(config, &seed).unwrap());
            let model = Libcsp::new(Build::new(THEIRS), Passive::default(), &seed);
            let theirs = world.host(THEIRS, libcsp::Machine(model));
            world.wire((ours, 0), (theirs, 0), line(&mut rng));
            let crc32_required = false;
            let listen = Call::Listen {
                port: PORT,
                crc32_required,
            };
            world.command(theirs, libcsp::Command::App(listen)).unwrap();
            let to = Endpoint {
                address: THEIRS,
                port: PORT,
            };
            let connect = Command::Connect {
                tag: Tag(1),
                to,
                options: SendOptions::default(),
            };
            world.command(ours, connect).unwrap();
            let packets = packets(&mut rng);
            let (mut read, mut end) = (Vec::new(), None);
            while end.is_none() && world.now() - farlink::Instant::ZERO < ms(300_000) {
                world.run_for(ms(10));
                for (_, event) in world.take_events(ours) {
                    match event {
                        Event::Connected { connection, .. } => {
                            for data in packets.clone() {
                                let packet = Command::Send { connection, data };
                                world.command(ours, packet).unwrap();
                            }
                            world.command(ours, Command::Close(connection)).unwrap();
                        }
                        Event::Closed {
                            reason,
                            unacknowledged,
                            ..
                        } => {
                            end = Some((reason, unacknowledged));
                        }
                        Event::Acknowledged { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                for (_, told) in world.take_events(theirs) {
                    match told {
                        Told::Read { data, .. } => read.push(data),
                        Told::Ended { handle } => {
                            let close = libcsp::Command::App(Call::Close(handle));
                            world.command(theirs, close).unwrap();
                        }
                        _ => {}
                    }
                }
            }
            assert_eq!(end, Some((CloseReason::Closed, 0)));
            assert_eq!(read, packets);
        });
    }
}

#[test]
fn what_libcsp_sends_to_ours_arrives_once_and_in_order() {
    for seed in seeds(SEEDS) {
        Named(seed).run(|seed| {
            let seed = Seed::from(seed);
            let mut rng = seed.child("theirs opens").rng();
            let mut world = World::new(rng.next_u64());
            let ours = world.host(OURS, Node::new(Config::default(), &seed).unwrap());
            let model = Libcsp::new(Build::new(THEIRS), Passive::default(), &seed);
            let theirs = world.host(THEIRS, libcsp::Machine(model));
            world.wire((ours, 0), (theirs, 0), line(&mut rng));
            let bind = Command::Bind {
                port: PORT,
                options: SocketOptions::empty(),
            };
            world.command(ours, bind).unwrap();
            let connect = Call::Connect(Connect {
                tag: 1,
                to: (OURS, PORT),
                options: options(&mut rng),
                crc32: false,
                priority: Priority::Normal,
            });
            world
                .command(theirs, libcsp::Command::App(connect))
                .unwrap();
            let packets = packets(&mut rng);
            let mut has_closed = false;
            while !has_closed && world.now() - farlink::Instant::ZERO < ms(300_000) {
                world.run_for(ms(10));
                for (_, told) in world.take_events(theirs) {
                    if let Told::Connected { handle, .. } = told {
                        for data in packets.clone() {
                            let packet = libcsp::Command::App(Call::Send { handle, data });
                            world.command(theirs, packet).unwrap();
                        }
                        let close = libcsp::Command::App(Call::Close(handle));
                        world.command(theirs, close).unwrap();
                    }
                }
                let is_end = |event: &Event| matches!(event, Event::Closed { .. });
                has_closed = world.events(ours).any(|(_, event)| is_end(event));
            }
            let data = |event: &Event| match event {
                Event::Received { data, .. } => Some(data.clone()),
                _ => None,
            };
            let got: Vec<Bytes> = world.events(ours).filter_map(|(_, it)| data(it)).collect();
            assert!(has_closed);
            assert_eq!(got, packets);
        });
    }
}
