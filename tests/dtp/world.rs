//! Nodes on lines with delay and loss, in simulated time.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp;
use farlink::dtp::{Command, Config, Error, Event, FailReason, GetOptions, Node};
use farlink::sim::{FaultRule, Host, Line, Reorder, World};
use farlink::{Instant, Machine as _, Seed, Tag};

const SERVER: u16 = 1;
const CLIENT: u16 = 2;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn payload(octets: u32) -> Bytes {
    let octet = |at: u32| u8::try_from((at * 7 + (at >> 8) * 13) % 256).unwrap();
    (0..octets).map(octet).collect::<Vec<u8>>().into()
}

fn node(address: u16, seed: u64, change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config::default();
    config.csp.address = address;
    change(&mut config);
    let seed = Seed::from(seed).child(&format!("node {address}"));
    Node::new(config, &seed).unwrap()
}

/// What an application has of a transfer.
#[derive(Debug, Default)]
struct Got {
    octets: Vec<Option<u8>>,
    delivered: usize,
    end: Option<Event>,
}

impl Got {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Started { size, .. } => {
                self.octets.resize(usize::try_from(*size).unwrap(), None);
            }
            Event::Data { offset, data, .. } => {
                let start = usize::try_from(*offset).unwrap();
                for (place, octet) in self.octets[start..].iter_mut().zip(data) {
                    *place = Some(*octet);
                }
                self.delivered += data.len();
            }
            Event::Complete { .. } | Event::Failed { .. } => self.end = Some(event.clone()),
            _ => {}
        }
    }

    fn assert_is(&self, payload: &Bytes, name: &str) {
        assert!(
            matches!(self.end, Some(Event::Complete { .. })),
            "{name}: {:?}",
            self.end
        );
        let octets: Vec<u8> = self.octets.iter().map(|octet| octet.unwrap()).collect();
        assert!(octets == payload[..], "{name}");
    }

    fn requests(&self) -> u32 {
        match self.end {
            Some(Event::Complete { requests, .. }) => requests,
            _ => panic!("{:?}", self.end),
        }
    }
}

struct Site {
    world: World,
    server: Host<Node>,
    client: Host<Node>,
}

impl Site {
    fn new(seed: u64, line: Line) -> Self {
        let mut world = World::new(seed);
        let server = world.host(SERVER, node(SERVER, seed, |_| {}));
        let client = world.host(CLIENT, node(CLIENT, seed, |_| {}));
        world.wire((server, 0), (client, 0), line);
        Self {
            world,
            server,
            client,
        }
    }

    fn serve(&mut self, payload: u8, data: &Bytes) {
        let data = data.clone();
        let serve = Command::Serve { payload, data };
        self.world.command(self.server, serve).unwrap();
    }

    fn get(&mut self, tag: u64, payload: u8, options: GetOptions) {
        let get = Command::Get {
            tag: Tag(tag),
            server: SERVER,
            payload,
            options,
        };
        self.world.command(self.client, get).unwrap();
    }

    fn got(&self, tag: u64) -> Got {
        let mut got = Got::default();
        for (_, event) in self.world.events(self.client) {
            let of = match event {
                Event::Started { tag, .. }
                | Event::Data { tag, .. }
                | Event::Complete { tag, .. }
                | Event::Failed { tag, .. } => tag.0,
                _ => continue,
            };
            if of == tag {
                got.take(event);
            }
        }
        got
    }

    /// Runs until the transfer has ended, and returns how long it took.
    fn run(&mut self, tag: u64) -> Duration {
        let start = self.world.now();
        let mut looked = 0;
        while self.world.now() - start < ms(600_000) {
            self.world.run_until(self.world.now() + ms(5));
            let mut events = self.world.events(self.client).skip(looked);
            let has_ended = events.any(|(_, event)| match event {
                Event::Complete { tag: of, .. } | Event::Failed { tag: of, .. } => of.0 == tag,
                _ => false,
            });
            if has_ended {
                return self.world.now() - start;
            }
            looked = self.world.events(self.client).count();
        }
        panic!("no end");
    }
}

fn options(throughput: u32) -> GetOptions {
    GetOptions {
        throughput,
        ..GetOptions::default()
    }
}

#[test]
fn payloads_of_any_size_are_complete_after_one_request() {
    for size in [0, 1, 199, 200, 201, 400, 2000, 5050] {
        let mut site = Site::new(1, Line::delayed(ms(5)));
        let data = payload(size);
        site.serve(3, &data);
        site.get(1, 3, options(20_000));

        site.run(1);

        let got = site.got(1);
        got.assert_is(&data, &format!("{size} octets"));
        assert_eq!((got.requests(), got.delivered), (1, data.len()));
    }
}

#[test]
fn a_transfer_is_complete_by_itself_over_any_line() {
    for seed in 0..40_u32 {
        let line = Line {
            loss: f64::from(seed % 5) * 0.04,
            duplication: f64::from(seed % 3) * 0.05,
            reorder: (seed % 4 > 0).then_some(Reorder {
                probability: 0.1,
                by: ms(15),
            }),
            ..Line::delayed(ms(1 + u64::from(seed) * 7))
        };
        let mut site = Site::new(seed.into(), line);
        let data = payload(20_000 + seed * 100);
        site.serve(3, &data);
        site.get(1, 3, options(200_000));

        site.run(1);

        site.got(1).assert_is(&data, &format!("seed {seed}"));
    }
}

#[test]
fn the_rate_that_was_asked_for_is_kept() {
    for throughput in [1000, 20_000, 500_000] {
        let mut site = Site::new(1, Line::delayed(ms(5)));
        let data = payload(throughput * 4);
        site.serve(3, &data);
        site.get(1, 3, options(throughput));

        let time = site.run(1);

        // Four seconds, less the burst: four packets ahead of the rate, and the one that is due.
        let burst = Duration::from_secs_f64(1000.0 / f64::from(throughput));
        let least = ms(4000).saturating_sub(burst);
        assert!(time >= least && time < ms(4200), "{time:?} at {throughput}");
    }
}

#[test]
fn holes_are_asked_for_and_little_else() {
    let mut site = Site::new(
        4,
        Line {
            loss: 0.05,
            ..Line::delayed(ms(10))
        },
    );
    let data = payload(200_000);
    site.serve(3, &data);
    site.get(1, 3, options(1_000_000));

    site.run(1);

    let got = site.got(1);
    got.assert_is(&data, "5 % loss");
    let sent = site.world.machine(site.server).stats().data_sent;
    assert!(sent < 1000 * 140 / 100, "{sent} packets of 1000");
}

#[test]
fn an_unknown_payload_is_refused() {
    let mut site = Site::new(1, Line::delayed(ms(5)));
    site.get(1, 77, options(20_000));

    let time = site.run(1);

    let refused = Event::Failed {
        tag: Tag(1),
        reason: FailReason::Refused,
        missing: 0,
        rounds: 0,
        asked_again: 0,
    };
    assert_eq!(site.got(1).end, Some(refused));
    assert!(time < ms(3000), "{time:?}");
}

#[test]
fn a_server_that_does_not_answer_is_told() {
    let mut site = Site::new(
        1,
        Line {
            loss: 1.0,
            ..Line::default()
        },
    );
    site.get(1, 3, options(20_000));

    site.run(1);

    let failed = Event::Failed {
        tag: Tag(1),
        reason: FailReason::NoAnswer,
        missing: 0,
        rounds: 0,
        asked_again: 0,
    };
    assert_eq!(site.got(1).end, Some(failed));
}

#[test]
fn transfers_of_one_client_share_the_port_and_do_not_mix() {
    let mut site = Site::new(
        2,
        Line {
            loss: 0.03,
            ..Line::delayed(ms(5))
        },
    );
    let all: Vec<Bytes> = (0..4).map(|number| payload(9000 + number * 777)).collect();
    for (number, data) in (0..).zip(&all) {
        site.serve(number, data);
        site.get(u64::from(number), number, options(50_000));
    }

    for number in 0..4 {
        if site.got(number).end.is_none() {
            site.run(number);
        }
    }

    for (number, data) in (0..).zip(&all) {
        site.got(number)
            .assert_is(data, &format!("transfer {number}"));
    }
}

#[test]
fn a_client_without_a_slot_is_told_and_comes_again() {
    let mut world = World::new(1);
    let server = world.host(SERVER, node(SERVER, 1, |config| config.servers = 1));
    let bus = world.bus(Line::delayed(ms(2)));
    world.join(bus, server, 0);
    let data = payload(4000);
    let serve = Command::Serve {
        payload: 3,
        data: data.clone(),
    };
    world.command(server, serve).unwrap();
    let clients = [5, 6].map(|address| {
        let client = world.host(address, node(address, 1, |_| {}));
        world.join(bus, client, 0);
        let get = Command::Get {
            tag: Tag(1),
            server: SERVER,
            payload: 3,
            options: options(8000),
        };
        world.command(client, get).unwrap();
        client
    });

    world.run_until(Instant::ZERO + ms(10_000));

    for client in clients {
        let mut got = Got::default();
        world.events(client).for_each(|(_, event)| got.take(event));
        got.assert_is(&data, "both");
    }
    assert_eq!(world.machine(server).stats().no_slot, 1);
}

/// 50,000 octets to each of two clients, in packets of 208.
#[test]
fn clients_of_an_interface_share_its_throughput() {
    for (max_throughput, times) in [(None, 400..700), (Some(52_000), 1900..2200)] {
        let mut site = Site::new(1, Line::delayed(ms(5)));
        site.server = site.world.host(
            SERVER,
            node(SERVER, 1, |config| {
                config.csp.interfaces = vec![csp::InterfaceConfig {
                    is_default: true,
                    max_throughput,
                    ..csp::InterfaceConfig::default()
                }];
            }),
        );
        site.client = site.world.host(CLIENT, node(CLIENT, 1, |_| {}));
        let (server, client) = (site.server, site.client);
        site.world
            .wire((server, 0), (client, 0), Line::delayed(ms(5)));
        let data = payload(50_000);
        site.serve(3, &data);
        site.get(1, 3, options(100_000));
        site.get(2, 3, options(100_000));

        let first = site.run(1);
        let rest = match site.got(2).end {
            Some(_) => ms(0),
            None => site.run(2),
        };

        for tag in [1, 2] {
            site.got(tag).assert_is(&data, "both");
        }
        let millis = u64::try_from((first + rest).as_millis()).unwrap();
        assert!(times.contains(&millis), "{max_throughput:?}: {millis} ms");
    }
}

#[test]
fn cancel_stops_the_server() {
    let mut site = Site::new(1, Line::delayed(ms(5)));
    let data = payload(100_000);
    site.serve(3, &data);
    site.get(1, 3, options(20_000));
    site.world.run_until(Instant::ZERO + ms(1000));

    site.world
        .command(site.client, Command::Cancel(Tag(1)))
        .unwrap();
    site.world.run_until(Instant::ZERO + ms(1100));
    let sent = site.world.machine(site.server).stats().data_sent;
    site.world.run_until(Instant::ZERO + ms(9000));

    assert_eq!(site.world.machine(site.server).stats().data_sent, sent);
    assert!((80..110).contains(&sent), "{sent}");
    let Some(Event::Failed {
        reason, missing, ..
    }) = site.got(1).end
    else {
        panic!("cancelled");
    };
    assert_eq!(reason, FailReason::Cancelled);
    assert!((390..420).contains(&missing), "{missing}");
}

#[test]
fn a_connection_without_a_request_is_closed_and_its_slot_free_again() {
    let mut site = Site::new(1, Line::delayed(ms(5)));
    let data = payload(1000);
    site.serve(3, &data);
    for number in 0..4 {
        let to = csp::Endpoint {
            address: SERVER,
            port: 7,
        };
        let options = csp::SendOptions::default();
        let tag = Tag(number);
        let connect = Command::Csp(csp::Command::Connect { tag, to, options });
        site.world.command(site.client, connect).unwrap();
    }
    site.world.run_until(Instant::ZERO + ms(10_500));

    let closed = |event: &Event| matches!(event, Event::Csp(csp::Event::Closed { .. }));
    let events = site.world.events(site.client);
    assert_eq!(events.filter(|(_, event)| closed(event)).count(), 4);
    assert_eq!(site.world.machine(site.server).stats().no_request, 4);
    site.get(9, 3, options(20_000));
    site.run(9);
    site.got(9).assert_is(&data, "after them");
}

/// Serves another payload while a transfer of the first is paused, and returns how the transfer ends.
fn changed_while_paused(first: &Bytes, other: &Bytes) -> Option<Event> {
    let mut site = Site::new(3, Line::delayed(ms(5)));
    site.serve(3, first);
    site.get(1, 3, options(20_000));
    site.world.run_until(Instant::ZERO + ms(500));
    site.world
        .command(site.client, Command::Pause(Tag(1)))
        .unwrap();
    site.serve(3, other);
    site.world
        .command(site.client, Command::Resume(Tag(1)))
        .unwrap();

    site.run(1);

    site.got(1).end
}

#[test]
fn a_payload_that_changed_is_told_by_its_size_or_its_check() {
    let same = payload(20_000);
    let longer = payload(20_001);
    let mut other = same.to_vec();
    other[17_000] ^= 1;
    for changed in [longer, other.into()] {
        let end = changed_while_paused(&same, &changed);
        assert!(
            matches!(
                end,
                Some(Event::Failed {
                    reason: FailReason::PayloadChanged,
                    ..
                })
            ),
            "{end:?}"
        );
    }
    let end = changed_while_paused(&same, &same.clone());
    assert!(
        matches!(
            end,
            Some(Event::Complete {
                is_checked: true,
                requests: 2,
                ..
            })
        ),
        "{end:?}"
    );
}

#[test]
fn a_transfer_goes_on_with_the_payload_it_began_with() {
    let line = Line {
        loss: 0.2,
        ..Line::delayed(ms(5))
    };
    let mut site = Site::new(3, line);
    let data = payload(20_000);
    site.serve(3, &data);
    site.get(1, 3, options(100_000));
    while site.got(1).octets.is_empty() {
        site.world.run_until(site.world.now() + ms(5));
    }
    site.serve(3, &payload(20_001));

    site.run(1);

    site.got(1).assert_is(&data, "as it was");
}

/// Its data leave before the client can have acknowledged the response.
#[test]
fn a_short_payload_on_a_long_way_is_asked_for_again_on_the_same_connection() {
    let is_data = FaultRule::nth(1).matching(|packet| packet.octets.len() > 150);
    let mut site = Site::new(1, Line::delayed(ms(300)).with_rule(is_data.lost()));
    let data = payload(200);
    site.serve(3, &data);
    site.get(1, 3, options(20_000));

    let time = site.run(1);

    let got = site.got(1);
    got.assert_is(&data, "one packet");
    assert_eq!(got.requests(), 1);
    assert!(time < ms(600 * 4 + 100), "{time:?}");
}

#[test]
fn a_paused_transfer_has_no_connection_until_it_is_resumed() {
    let mut site = Site::new(1, Line::delayed(ms(5)));
    let data = payload(100_000);
    site.serve(3, &data);
    site.get(1, 3, options(20_000));
    site.world.run_until(Instant::ZERO + ms(1000));
    let command = |site: &mut Site, command| site.world.command(site.client, command);
    assert_eq!(
        command(&mut site, Command::Resume(Tag(1))),
        Err(Error::NotPaused(Tag(1)))
    );
    command(&mut site, Command::Pause(Tag(1))).unwrap();
    assert_eq!(
        command(&mut site, Command::Pause(Tag(1))),
        Err(Error::NotUnderWay(Tag(1)))
    );
    site.world.run_until(Instant::ZERO + ms(1100));
    let sent = site.world.machine(site.server).stats().data_sent;
    site.world.run_until(Instant::ZERO + ms(60_000));
    assert_eq!(site.world.machine(site.server).stats().data_sent, sent);

    command(&mut site, Command::Resume(Tag(1))).unwrap();
    site.run(1);

    let got = site.got(1);
    got.assert_is(&data, "in two parts");
    assert!(got.delivered == data.len(), "no octet twice");
}

#[test]
fn rounds_and_time_are_limited() {
    let end = |loss, change: fn(&mut GetOptions)| {
        let line = Line {
            loss,
            ..Line::delayed(ms(5))
        };
        let mut site = Site::new(1, line);
        site.serve(3, &payload(50_000));
        let mut options = options(20_000);
        change(&mut options);
        site.get(1, 3, options);
        let time = site.run(1);
        let Some(Event::Failed { reason, .. }) = site.got(1).end else {
            panic!("it fails");
        };
        (reason, time)
    };

    let (reason, _) = end(0.3, |options| options.max_rounds = 2);
    assert_eq!(reason, FailReason::TooManyRounds);
    let (reason, time) = end(0.0, |options| options.time_limit = Some(ms(1500)));
    assert_eq!(reason, FailReason::OutOfTime);
    assert!((ms(1500)..ms(1510)).contains(&time), "{time:?}");
}

#[test]
fn all_holes_of_a_round_are_asked_for_on_one_connection() {
    let line = Line {
        loss: 0.1,
        ..Line::delayed(ms(50))
    };
    let mut site = Site::new(1, line);
    let data = payload(400_000);
    site.serve(3, &data);
    site.get(1, 3, options(1_000_000));

    let time = site.run(1);

    let got = site.got(1);
    got.assert_is(&data, "200 holes in the first round");
    let Some(Event::Complete {
        requests,
        rounds,
        asked_again,
        is_checked,
        ..
    }) = got.end
    else {
        panic!("complete");
    };
    assert!(is_checked);
    assert_eq!(requests, 1, "one connection");
    assert!(rounds <= 6, "{rounds}");
    let duplicates = site.world.machine(site.client).stats().duplicates;
    assert_eq!(duplicates, 0, "nothing else is asked for");
    assert!((190..260).contains(&asked_again), "{asked_again}");
    let least = Duration::from_secs_f64(0.4 / 0.9);
    assert!(time < least + ms(100) * (rounds + 2) + ms(500), "{time:?}");
}

#[test]
fn commands_are_refused_with_the_limit() {
    let mut node = node(CLIENT, 1, |config| {
        config.clients = 1;
        config.payloads = 1;
    });
    let now = Instant::ZERO;
    let get = |tag, server, options| Command::Get {
        tag: Tag(tag),
        server,
        payload: 3,
        options,
    };
    let mtu = |mtu| GetOptions {
        mtu,
        ..GetOptions::default()
    };
    let mut command = |command| node.command(now, command);

    let of = |mtu| Error::Mtu {
        mtu,
        least: 9,
        most: 256,
    };
    assert_eq!(command(get(1, 1, mtu(8))), Err(of(8)));
    assert_eq!(command(get(1, 1, mtu(257))), Err(of(257)));
    assert_eq!(command(get(1, 1, options(0))), Err(Error::NoThroughput));
    let all = Err(Error::Csp(csp::Error::AddressTooLarge {
        address: 16_383,
        limit: 16_382,
    }));
    assert_eq!(command(get(1, 16_383, mtu(9))), all);
    assert_eq!(command(get(1, 1, mtu(9))), Ok(()));
    assert_eq!(command(get(1, 1, mtu(9))), Err(Error::TagInUse(Tag(1))));
    assert_eq!(command(get(2, 1, mtu(9))), Err(Error::NoSlot { limit: 1 }));
    assert_eq!(
        command(Command::Cancel(Tag(2))),
        Err(Error::NoTransfer(Tag(2)))
    );
    let serve = |payload| Command::Serve {
        payload,
        data: Bytes::new(),
    };
    assert_eq!(command(serve(1)), Ok(()));
    assert_eq!(command(serve(1)), Ok(()), "in its place");
    assert_eq!(command(serve(2)), Err(Error::TooManyPayloads { limit: 1 }));
    assert_eq!(command(Command::Withdraw(2)), Err(Error::NoPayload(2)));
    let bind = Command::Csp(csp::Command::Bind {
        port: 8,
        options: csp::SocketOptions::empty(),
    });
    assert_eq!(command(bind), Err(csp::Error::PortInUse(8).into()));
}
