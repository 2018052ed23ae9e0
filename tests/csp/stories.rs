//! What goes wrong between two libcsp and is reported again and again, with a node of this crate at one end and the
//! model of libcsp at the other.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    CloseReason, Command, Config, ConnectionId, Endpoint, Event, Node, SendOptions, SynOptions,
};
use farlink::sim::{FaultRule, Host, Line, World};
use farlink::{Seed, Tag};

use crate::libcsp::{self, App, Build, Call, Libcsp, Passive, Sink, Told};

const PORT: u8 = 10;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A node that connects to a model, with a line of 5 ms between them.
struct Scene<A: App> {
    world: World,
    ours: Host<Node>,
    theirs: Host<libcsp::Machine<A>>,
}

impl<A: App<Command = Call>> Scene<A> {
    fn new(options: SynOptions, app: A) -> Self {
        let seed = Seed::from(7);
        let mut world = World::new(7);
        let config = Config {
            rdp: options,
            send_queue: 200,
            ..Config::default()
        };
        let ours = world.host(1, Node::new(config, &seed).unwrap());
        let model = Libcsp::new(Build::new(2), app, &seed);
        let theirs = world.host(2, libcsp::Machine(model));
        world.wire((ours, 0), (theirs, 0), Line::delayed(ms(5)));
        let mut scene = Self {
            world,
            ours,
            theirs,
        };
        scene.listen();
        scene
    }

    fn listen(&mut self) {
        self.call(Call::Listen {
            port: PORT,
            crc32_required: false,
        });
    }

    fn call(&mut self, call: Call) {
        let command = libcsp::Command::App(call);
        self.world.command(self.theirs, command).unwrap();
    }

    /// Connects, and sends so many packets with their numbers.
    fn send(&mut self, packets: u32) -> ConnectionId {
        let to = Endpoint {
            address: 2,
            port: PORT,
        };
        let connect = Command::Connect {
            tag: Tag(1),
            to,
            options: SendOptions::default(),
        };
        self.world.command(self.ours, connect).unwrap();
        self.world.run_for(ms(100));
        let connected = self.world.take_events(self.ours).pop();
        let Some((_, Event::Connected { connection, .. })) = connected else {
            panic!("{connected:?}");
        };
        for number in 0..packets {
            let data = Bytes::from(number.to_be_bytes().to_vec());
            let send = Command::Send { connection, data };
            self.world.command(self.ours, send).unwrap();
        }
        connection
    }

    fn close(&mut self, connection: ConnectionId) {
        let close = Command::Close(connection);
        self.world.command(self.ours, close).unwrap();
    }

    /// How the connection ended, with what was not acknowledged.
    fn end(&mut self) -> Option<(CloseReason, u32)> {
        let mut events = self.world.take_events(self.ours).into_iter();
        let end = |event| match event {
            Event::Closed {
                reason,
                unacknowledged,
                ..
            } => Some((reason, unacknowledged)),
            _ => None,
        };
        events.find_map(|(_, event)| end(event))
    }
}

fn numbers<'a>(read: impl IntoIterator<Item = &'a Bytes>) -> Vec<u32> {
    let number = |data: &Bytes| u32::from_be_bytes(data[..].try_into().unwrap());
    read.into_iter().map(number).collect()
}

fn all(packets: u32) -> Vec<u32> {
    (0..packets).collect()
}

/// libcsp 102: such a libcsp acknowledges a packet once, and drops what comes again.
#[test]
fn any_lost_acknowledgement_without_delayed_acks_is_drawn_again() {
    for window in [1, 2, 10] {
        for lost in 1..=14 {
            let options = SynOptions {
                window,
                delayed_acks: 0,
                ..SynOptions::default()
            };
            let mut scene = Scene::new(options, Sink::default());
            let line = Line::delayed(ms(5)).with_rule(FaultRule::nth(lost));
            let connection = scene.send(12);
            let (ours, theirs) = ((scene.ours, 0), (scene.theirs, 0));
            scene.world.wire_from(theirs, ours, line);
            scene.close(connection);

            scene.world.run_for(ms(5000));

            let name = format!("window {window} without packet {lost}");
            assert_eq!(scene.end(), Some((CloseReason::Closed, 0)), "{name}");
            let sink = &scene.world.machine(scene.theirs).0.app;
            assert_eq!(numbers(&sink.read), all(12), "{name}");
            assert_eq!(sink.ended, 1, "{name}");
        }
    }
}

/// libcsp 1013: the reset of a libcsp that closes comes right behind its last window, and is lost with it.
#[test]
fn the_last_window_and_the_reset_for_a_full_queue_lose_neither_data_nor_close() {
    let options = SynOptions {
        window: 10,
        ..SynOptions::default()
    };
    let mut scene = Scene::new(options, Sink::default());
    scene.call(Call::Read(false));
    let connection = scene.send(40);
    scene.close(connection);
    scene.world.run_for(ms(4000));
    assert_eq!(scene.end(), None, "the program has not read");
    assert!(scene.world.machine(scene.theirs).0.app.read.is_empty());

    scene.call(Call::Read(true));
    scene.world.run_for(ms(5000));

    assert_eq!(scene.end(), Some((CloseReason::Closed, 0)));
    let sink = &scene.world.machine(scene.theirs).0.app;
    assert_eq!(numbers(&sink.read), all(40));
    assert_eq!(sink.ended, 1);
}

/// libcsp 109: both ends wait for the other's window, and for its acknowledgement.
#[test]
fn a_full_window_both_ways_with_libcsp_does_not_block() {
    for window in [1, 4, 10] {
        let options = SynOptions {
            window,
            ..SynOptions::default()
        };
        let sink = Sink {
            echoes: true,
            ..Sink::default()
        };
        let mut scene = Scene::new(options, sink);
        scene.send(100);

        scene.world.run_for(ms(60_000));

        let data = |event: &Event| match event {
            Event::Received { data, .. } => Some(data.clone()),
            Event::Closed { .. } => panic!("{event:?}"),
            _ => None,
        };
        let events = scene.world.take_events(scene.ours);
        let got: Vec<Bytes> = events.iter().filter_map(|(_, it)| data(it)).collect();
        assert_eq!(numbers(&got), all(100), "window {window}");
        let sink = &scene.world.machine(scene.theirs).0.app;
        assert_eq!(numbers(&sink.read), all(100), "window {window}");
    }
}

#[test]
fn a_peer_that_rebooted_in_mid_connection_is_told_with_what_it_has_not_and_found_again() {
    let mut scene = Scene::new(SynOptions::default(), Passive::default());
    let connection = scene.send(3);
    scene.world.run_for(ms(1000));
    scene
        .world
        .command(scene.theirs, libcsp::Command::Restart)
        .unwrap();
    scene.listen();
    let data = Bytes::from_static(b"lost");
    let send = Command::Send { connection, data };
    scene.world.command(scene.ours, send).unwrap();

    scene.world.run_for(ms(11_000));

    let (reason, unacknowledged) = scene.end().unwrap();
    assert_ne!(reason, CloseReason::Closed);
    assert_eq!(unacknowledged, 1);
    scene.world.take_events(scene.theirs);
    scene.send(2);
    scene.world.run_for(ms(1000));
    let events = scene.world.take_events(scene.theirs);
    let read = |told: &Told| match told {
        Told::Read { data, .. } => Some(data.clone()),
        _ => None,
    };
    let read: Vec<Bytes> = events.iter().filter_map(|(_, it)| read(it)).collect();
    assert_eq!(numbers(&read), all(2));
}
