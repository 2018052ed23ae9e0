//! How fast connections are on a line that loses one packet in a hundred, in simulated time: nodes of this crate and
//! the model of libcsp, each with itself and both together.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Event, Node, Priority, SendOptions, SocketOptions, SynOptions,
};
use farlink::sim::{Host, Line, World};
use farlink::{Instant, Seed, Tag};

use crate::libcsp::{self, Build, Call, Connect, Libcsp, Sender, Sink};

const PORT: u8 = 10;
/// The octets of a packet.
const MTU: usize = 200;
/// The longest that a transfer may take.
const LIMIT: Duration = Duration::from_secs(3600);

const fn options(window: u32) -> SynOptions {
    SynOptions {
        window,
        connection_timeout: 10_000,
        packet_timeout: 1000,
        delayed_acks: 1,
        ack_timeout: 250,
        ack_delay_count: 2,
    }
}

/// 1 % loss each way and a round trip of 5 ms.
fn world(seed: u64) -> (World, Line) {
    let line = Line {
        loss: 0.01,
        ..Line::delayed(Duration::from_micros(2500))
    };
    (World::new(seed), line)
}

fn data() -> Bytes {
    Bytes::from_static(&[0x5A; MTU])
}

fn our_node(world: &mut World, address: u16, options: SynOptions) -> Host<Node> {
    let window = u16::try_from(options.window).unwrap();
    let config = Config {
        address,
        rdp: options,
        max_window: window.max(10),
        send_queue: 256,
        receive_queue: 256,
        ..Config::default()
    };
    let seed = world.seed(&format!("node {address}"));
    world.host(address, Node::new(config, &seed).unwrap())
}

fn model<A: libcsp::App>(world: &mut World, address: u16, app: A) -> Host<libcsp::Machine<A>> {
    let seed: Seed = world.seed(&format!("model {address}"));
    let node = Libcsp::new(Build::new(address), app, &seed);
    world.host(address, libcsp::Machine(node))
}

fn listening_model(world: &mut World) -> Host<libcsp::Machine<Sink>> {
    let host = model(world, 2, Sink::default());
    let listen = Call::Listen {
        port: PORT,
        crc32_required: false,
    };
    world.command(host, libcsp::Command::App(listen)).unwrap();
    host
}

/// Sends by a node of this crate as fast as it takes packets, until `has_all`.
fn send_by_ours(world: &mut World, ours: Host<Node>, has_all: impl Fn(&World) -> bool) -> Duration {
    let to = Endpoint {
        address: 2,
        port: PORT,
    };
    let connect = Command::Connect {
        tag: Tag(1),
        to,
        options: SendOptions::default(),
    };
    world.command(ours, connect).unwrap();
    let mut connection = None;
    while !has_all(world) {
        assert!(world.now() - Instant::ZERO < LIMIT, "{:?}", world.now());
        world.run_for(Duration::from_millis(1));
        for (_, event) in world.take_events(ours) {
            match event {
                Event::Connected { connection: it, .. } => connection = Some(it),
                Event::Closed { .. } | Event::ConnectFailed { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        let Some(connection) = connection else {
            continue;
        };
        let send = || Command::Send {
            connection,
            data: data(),
        };
        while world.command(ours, send()).is_ok() {}
    }
    world.now() - Instant::ZERO
}

fn model_to_model(packets: usize, options: SynOptions, seed: u64) -> Duration {
    let (mut world, line) = world(seed);
    let sender = Sender {
        packets: (0..packets + 40).map(|_| data()).collect(),
        ..Sender::default()
    };
    let one = model(&mut world, 1, sender);
    let other = listening_model(&mut world);
    world.wire((one, 0), (other, 0), line);
    let connect = Connect {
        tag: 1,
        to: (2, PORT),
        options,
        crc32: false,
        priority: Priority::Normal,
    };
    world.command(one, libcsp::Command::App(connect)).unwrap();
    while world.machine(other).0.app.read.len() < packets {
        assert!(world.now() - Instant::ZERO < LIMIT, "{:?}", world.now());
        world.run_for(Duration::from_millis(1));
    }
    world.now() - Instant::ZERO
}

fn ours_to_model(packets: usize, options: SynOptions, seed: u64) -> Duration {
    let (mut world, line) = world(seed);
    let one = our_node(&mut world, 1, options);
    let other = listening_model(&mut world);
    world.wire((one, 0), (other, 0), line);
    send_by_ours(&mut world, one, |world| {
        world.machine(other).0.app.read.len() >= packets
    })
}

fn ours_to_ours(packets: usize, options: SynOptions, seed: u64) -> Duration {
    let (mut world, line) = world(seed);
    let one = our_node(&mut world, 1, options);
    let other = our_node(&mut world, 2, options);
    world.wire((one, 0), (other, 0), line);
    let bind = Command::Bind {
        port: PORT,
        options: SocketOptions::empty(),
    };
    world.command(other, bind).unwrap();
    send_by_ours(&mut world, one, |world| {
        let is_data = |event: &Event| matches!(event, Event::Received { .. });
        let received = world.events(other).filter(|(_, event)| is_data(event));
        received.count() >= packets
    })
}

/// The sum of a few seeds.
fn total(of: impl Fn(u64) -> Duration) -> Duration {
    (1..=3).map(of).sum()
}

/// libcsp waits its packet timeout for each packet that was lost, and sends what is behind it again.
#[test]
fn ours_sends_to_libcsp_five_times_as_fast_as_libcsp_does() {
    let of_model = |window| total(|seed| model_to_model(1000, options(window), seed));
    let of_ours = |window| total(|seed| ours_to_model(1000, options(window), seed));

    for window in [4, 10] {
        let (model, ours) = (of_model(window), of_ours(window));
        assert!(model >= ours * 5, "window {window}: {model:?}, {ours:?}");
    }
}

/// A libcsp with a queue of 16 packets takes no window above 16.
#[test]
fn ours_sends_to_ours_a_hundred_times_as_fast_as_libcsp_does_to_itself() {
    let model = [4, 10, 16].map(|window| total(|seed| model_to_model(1000, options(window), seed)));
    let best = model.into_iter().min().unwrap();
    let ours = total(|seed| ours_to_ours(10_000, options(200), seed));

    assert!(best * 10 >= ours * 100, "{best:?}, {ours:?}");
}

#[test]
fn a_larger_window_is_not_slower() {
    let is_faster =
        |before: Duration, time: Duration| time.as_millis() * 20 <= before.as_millis() * 21;
    let mut before = Duration::from_secs(100);
    for window in [1, 2, 3, 4, 5, 7, 10, 14, 20, 40, 70, 100, 150, 200] {
        let time = total(|seed| ours_to_ours(3000, options(window), seed));
        assert!(
            is_faster(before, time),
            "window {window}: {time:?} after {before:?}"
        );
        before = time;
    }
    let mut before = Duration::from_secs(100);
    for window in [1, 2, 4, 6, 8, 10, 13, 16] {
        let time = total(|seed| ours_to_model(1000, options(window), seed));
        assert!(
            is_faster(before, time),
            "window {window} to libcsp: {time:?} after {before:?}"
        );
        before = time;
    }
}
