//! Nodes on lines with delay and loss, in simulated time.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    CloseReason, Command, Config, ConnectionId, Deduplication, Endpoint, Error, Event,
    InterfaceConfig, Node, Route, SendOptions, SocketOptions,
};
use farlink::sim::{Host, Line, World};
use farlink::{Seed, Tag};

const TO: Endpoint = Endpoint {
    address: 2,
    port: 10,
};

struct Site {
    world: World,
    client: Host<Node>,
    server: Host<Node>,
    /// Events of the client and of the server that were looked at.
    seen: [usize; 2],
}

impl Site {
    fn new(seed: u64, line: Line) -> Self {
        let mut world = World::new(seed);
        let mut node = |address| {
            let config = Config {
                address,
                ..Config::default()
            };
            let seed = Seed::from(seed).child(&format!("node {address}"));
            world.host(address, Node::new(config, &seed).unwrap())
        };
        let (client, server) = (node(1), node(2));
        world.wire((client, 0), (server, 0), line);
        let options = SocketOptions::empty();
        let bind = Command::Bind { port: 10, options };
        world.command(server, bind).unwrap();
        Self {
            world,
            client,
            server,
            seen: [0; 2],
        }
    }

    fn connect(&mut self, tag: u64) -> Result<(), Error> {
        let connect = Command::Connect {
            tag: Tag(tag),
            to: TO,
            options: SendOptions::default(),
        };
        self.world.command(self.client, connect)
    }

    fn events(&mut self, at: usize) -> Vec<Event> {
        let host = [self.client, self.server][at];
        let events = self.world.events(host).skip(self.seen[at]);
        let events: Vec<Event> = events.map(|(_, event)| event.clone()).collect();
        self.seen[at] += events.len();
        events
    }

    fn run(&mut self, time: Duration) {
        let until = self.world.now() + time;
        self.world.run_until(until);
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn lossy(delay: u64, loss: f64) -> Line {
    Line {
        loss,
        ..Line::delayed(ms(delay))
    }
}

/// libcsp loses slots so, for ever.
#[test]
fn a_thousand_short_connections_over_ten_percent_loss_leave_no_slot_taken() {
    let mut site = Site::new(11, lossy(5, 0.1));
    let mut delivered = vec![0; 1000];
    let (mut ended, mut next) = (0, 0);
    while ended < 1000 {
        // Source ports rest for 10 s: 47 of them carry four connections a second.
        if next < 1000 && site.world.now() - farlink::Instant::ZERO >= ms(250) * next {
            // All slots may be taken for a moment, where RSTs are lost.
            next += u32::from(site.connect(next.into()).is_ok());
        }
        site.run(ms(10));
        for event in site.events(0) {
            match event {
                Event::Connected { tag, connection } => {
                    let data = Bytes::from(tag.0.to_be_bytes().to_vec());
                    let send = Command::Send { connection, data };
                    site.world.command(site.client, send).unwrap();
                    let close = Command::Close(connection);
                    site.world.command(site.client, close).unwrap();
                }
                Event::Closed { unacknowledged, .. } => {
                    assert_eq!(unacknowledged, 0);
                    ended += 1;
                }
                Event::Acknowledged { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for event in site.events(1) {
            if let Event::Received { data, .. } = event {
                let tag = u64::from_be_bytes(data[..].try_into().unwrap());
                delivered[usize::try_from(tag).unwrap()] += 1;
            }
        }
        assert!(site.world.now() - farlink::Instant::ZERO < ms(1_000_000));
    }
    assert_eq!(delivered, vec![1; 1000], "each once");

    // All slots of both ends can be had.
    site.run(ms(30_000));
    for tag in 0..8 {
        site.connect(tag).unwrap();
    }
    site.run(ms(5000));
    let events = site.events(0);
    let connected = |event: &&Event| matches!(event, Event::Connected { .. });
    assert_eq!(events.iter().filter(connected).count(), 8, "{events:?}");
}

/// Returns the connection of both ends.
fn open(site: &mut Site) -> (ConnectionId, ConnectionId) {
    site.connect(1).unwrap();
    site.run(ms(3000));
    let Some(Event::Connected { connection, .. }) = site.events(0).pop() else {
        panic!("connected");
    };
    let Some(Event::Accepted { connection: at, .. }) = site.events(1).pop() else {
        panic!("accepted");
    };
    (connection, at)
}

#[test]
fn a_full_window_both_ways_does_not_block() {
    for seed in 0..10 {
        let mut site = Site::new(seed, lossy(5, 0.02));
        let (client, server) = open(&mut site);
        let mut got = [0, 0];
        for number in 0..200_u32 {
            for (host, connection) in [(site.client, client), (site.server, server)] {
                let data = Bytes::from(number.to_be_bytes().to_vec());
                let send = Command::Send { connection, data };
                while site.world.command(host, send.clone()).is_err() {
                    site.run(ms(5));
                }
            }
        }
        site.run(ms(5000));
        for at in [0, 1] {
            let events = site.events(at);
            for event in events {
                if let Event::Received { data, .. } = event {
                    assert_eq!(data[..], u32::to_be_bytes(got[at]), "seed {seed}");
                    got[at] += 1;
                }
            }
        }
        assert_eq!(got, [200, 200], "seed {seed}");
    }
}

/// What arrived at the server on a connection.
fn received_on(site: &mut Site, at: ConnectionId) -> usize {
    let data = |event: Event| match event {
        Event::Received { connection, data } if connection == at => data.len(),
        Event::Closed { .. } => panic!("{event:?}"),
        _ => 0,
    };
    site.events(1).into_iter().map(data).sum()
}

#[test]
fn a_connection_that_is_held_closes_its_window_and_another_transfers_10_mb() {
    const TOTAL: usize = 10_000_000;
    const PACKET: usize = 200;
    let mut site = Site::new(9, lossy(1, 0.0));
    let (unread, unread_there) = open(&mut site);
    let (read, read_there) = open(&mut site);
    let hold = Command::Hold(unread_there);
    site.world.command(site.server, hold).unwrap();
    let offer = |site: &mut Site, connection| {
        let data = Bytes::from_static(&[7; PACKET]);
        let packet = Command::Send { connection, data };
        site.world.command(site.client, packet)
    };
    let (mut sent, mut got, mut kept) = (0, 0, 0);
    while got < TOTAL {
        while sent < TOTAL && offer(&mut site, read).is_ok() {
            sent += PACKET;
        }
        while offer(&mut site, unread).is_ok() {
            kept += PACKET;
        }
        site.run(ms(1));
        got += received_on(&mut site, read_there);
    }

    let queues = Config::default().receive_queue + Config::default().send_queue;
    assert!(kept <= usize::from(queues) * PACKET, "{kept} octets");
    let release = Command::Release(unread_there);
    site.world.command(site.server, release).unwrap();
    // The client repeats what found no room after the packet timeout.
    // What found no room comes again within the packet timeout.
    site.run(ms(1000));
    assert_eq!(received_on(&mut site, unread_there), kept);
}

#[test]
fn a_dead_line_ends_both_ends_with_what_was_not_acknowledged() {
    let mut site = Site::new(3, lossy(5, 0.0));
    let (client, server) = open(&mut site);
    let dead = lossy(5, 1.0);
    let ends = [(site.client, 0), (site.server, 0)];
    site.world.wire_from(ends[0], ends[1], dead.clone());
    site.world.wire_from(ends[1], ends[0], dead);
    let data = Bytes::from("lost");
    let send = Command::Send {
        connection: client,
        data,
    };
    site.world.command(site.client, send).unwrap();

    site.run(ms(12_000));

    for (at, connection, unacknowledged) in [(0, client, 1), (1, server, 0)] {
        let closed = Event::Closed {
            connection,
            reason: CloseReason::TimedOut,
            unacknowledged,
        };
        assert_eq!(site.events(at), [closed]);
    }
}

/// At 1 % loss and 5 ms round trip, libcsp sends some 10 packets a second: each loss costs it its packet timeout.
#[test]
fn a_loss_costs_a_round_trip_from_window_1_to_30() {
    for (window, least) in [(1, 150), (4, 500), (10, 1200), (30, 3000)] {
        let mut site = Site::new(5, lossy(2, 0.01));
        let mut node = |address, seed| {
            let mut config = Config {
                address,
                ..Config::default()
            };
            config.rdp.window = window;
            site.world
                .host(address, Node::new(config, &Seed::from(seed)).unwrap())
        };
        (site.client, site.server) = (node(1, 21), node(2, 22));
        site.world
            .wire((site.client, 0), (site.server, 0), lossy(2, 0.01));
        let options = SocketOptions::empty();
        let bind = Command::Bind { port: 10, options };
        site.world.command(site.server, bind).unwrap();
        let (client, _) = open(&mut site);
        let start = site.world.now();
        let mut sent = 0;
        while site.world.now() - start < ms(10_000) {
            let data = Bytes::from_static(&[1; 200]);
            let packet = Command::Send {
                connection: client,
                data,
            };
            while site.world.command(site.client, packet.clone()).is_ok() {
                sent += 1;
            }
            site.run(ms(1));
        }

        let rate = sent / 10;
        assert!(rate >= least, "window {window}: {rate} packets a second");
    }
}

/// A router looks for repetitions, and a packet that was lost behind it and is sent again is none.
#[test]
fn a_loss_behind_a_router_that_drops_repetitions_costs_a_round_trip_too() {
    let rate = |deduplication| {
        let mut world = World::new(5);
        let mut node = |address, interfaces, routes| {
            let config = Config {
                address,
                interfaces: vec![
                    InterfaceConfig {
                        deduplication,
                        ..InterfaceConfig::default()
                    };
                    interfaces
                ],
                routes,
                ..Config::default()
            };
            let seed = Seed::from(u64::from(address));
            world.host(address, Node::new(config, &seed).unwrap())
        };
        let route = |address, interface| Route {
            address,
            prefix: 14,
            interface,
            via: None,
        };
        let client = node(1, 1, vec![Route::default()]);
        let server = node(2, 1, vec![Route::default()]);
        let router = node(3, 2, vec![route(1, 0), route(2, 1)]);
        world.wire((client, 0), (router, 0), lossy(1, 0.0));
        world.wire((router, 1), (server, 0), lossy(1, 0.02));
        let options = SocketOptions::empty();
        let bind = Command::Bind { port: 10, options };
        world.command(server, bind).unwrap();
        let mut site = Site {
            world,
            client,
            server,
            seen: [0; 2],
        };
        let (connection, _) = open(&mut site);
        let start = site.world.now();
        let mut sent = 0;
        while site.world.now() - start < ms(10_000) {
            let data = Bytes::from(vec![1; 200]);
            let packet = Command::Send { connection, data };
            while site.world.command(site.client, packet.clone()).is_ok() {
                sent += 1;
            }
            site.run(ms(1));
        }
        sent / 10
    };

    let (off, forwarded) = (rate(Deduplication::Off), rate(Deduplication::Forwarded));
    assert!(forwarded * 10 > off * 9, "{forwarded} of {off}");
}
