//! How long transfers take on a line of 1 MB/s, compared with a bound.
//!
//! The table in the documentation of `dtp` is made here. With `DTP_DELIVERY=write` all of it is written; otherwise the
//! rows of the small payload are compared, and those of the large one are made for some losses by one seed.

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::VecDeque;
use std::fs;

use bytes::Bytes;
use farlink::dtp::{Command, Config, Event, GetOptions, Node};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Rng, Seed, Tag, Transmit};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dtp/delivery.md");
/// Octets per second.
const RATE: u32 = 1_000_000;
const MTU: u16 = 1032;
const CHUNK: u32 = MTU as u32 - 8;
const SIZES: [(&str, u32); 2] = [("1 MB", 1_000_000), ("100 MB", 100_000_000)];
const ROUND_TRIPS: [u64; 3] = [5, 50, 600];
/// In percent.
const LOSSES: [u32; 5] = [0, 1, 2, 5, 10];
const SEEDS: u64 = 20;

/// Two nodes on a line that is first in, first out in each direction.
struct Pair {
    nodes: [Node; 2],
    deadlines: [Option<Instant>; 2],
    under_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// When each direction is idle again.
    free: [Instant; 2],
    now: Instant,
    tx: Transmit<Hop>,
    rng: Rng,
    loss: u32,
    delay: Duration,
    /// A computer that is busy reads what has come once in so long.
    reads_every: Duration,
    received: u64,
    end: Option<Event>,
}

/// What became of a transfer.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    time: Duration,
    rounds: u32,
    asked_again: u32,
}

impl Pair {
    fn new(seed: u64, delay: Duration, loss: u32) -> Self {
        let nodes = [1, 2].map(|address| {
            let mut config = Config::default();
            config.csp.address = address;
            config.csp.max_data = MTU;
            let seed = Seed::from(seed).child(&address.to_string());
            Node::new(config, &seed).unwrap()
        });
        Self {
            nodes,
            deadlines: [None; 2],
            under_way: [VecDeque::new(), VecDeque::new()],
            free: [Instant::ZERO; 2],
            now: Instant::ZERO,
            tx: Transmit::new(Limits::default()),
            rng: Seed::from(seed).child("line").rng(),
            loss,
            delay,
            reads_every: Duration::from_nanos(1),
            received: 0,
            end: None,
        }
    }

    fn transfer(mut self, size: u32, mtu: u16) -> Outcome {
        let data = Bytes::from(vec![7; usize::try_from(size).unwrap()]);
        let serve = Command::Serve { payload: 3, data };
        self.nodes[0].command(self.now, serve).unwrap();
        let throughput = u64::from(RATE) * u64::from(mtu - 8) / (u64::from(mtu) + 6);
        let get = Command::Get {
            tag: Tag(1),
            server: 1,
            payload: 3,
            options: GetOptions {
                throughput: u32::try_from(throughput).unwrap(),
                mtu,
                ..GetOptions::default()
            },
        };
        self.nodes[1].command(self.now, get).unwrap();
        self.drain(0);
        self.drain(1);
        while self.end.is_none() {
            self.step();
        }
        let Some(Event::Complete {
            rounds,
            asked_again,
            is_checked: true,
            ..
        }) = self.end
        else {
            panic!("{:?}", self.end);
        };
        assert_eq!(self.received, u64::from(size));
        Outcome {
            time: self.now - Instant::ZERO,
            rounds,
            asked_again: u32::try_from(asked_again).unwrap(),
        }
    }

    fn step(&mut self) {
        let arrivals = self.under_way.iter().filter_map(|way| way.front());
        let arrivals = arrivals.map(|(at, _)| *at);
        let next = arrivals.chain(self.deadlines.into_iter().flatten()).min();
        self.now = self.now.max(next.expect("it is not over"));
        for to in [0, 1] {
            let from = Hop {
                interface: 0,
                via: 0,
            };
            let mut is_due = self.deadlines[to].is_some_and(|at| at <= self.now);
            let is_here = |(at, _): &(Instant, Vec<u8>)| *at <= self.now;
            while self.under_way[to].front().is_some_and(is_here) {
                let (_, octets) = self.under_way[to].pop_front().unwrap();
                self.nodes[to].receive(self.now, from, &octets);
                is_due = true;
            }
            if is_due {
                self.drain(to);
            }
        }
    }

    fn drain(&mut self, from: usize) {
        loop {
            match self.nodes[from].poll(self.now, &mut self.tx) {
                Output::Transmit => {
                    for octets in self.tx.datagrams() {
                        let len = u64::try_from(octets.len()).unwrap();
                        let start = self.free[from].max(self.now);
                        let end =
                            start + Duration::from_nanos(len * 1_000_000_000 / u64::from(RATE));
                        self.free[from] = end;
                        if self.rng.below(100) >= u64::from(self.loss) {
                            let at = u64::try_from((end + self.delay - Instant::ZERO).as_nanos());
                            let every = u64::try_from(self.reads_every.as_nanos()).unwrap();
                            let at = Instant::from_nanos(at.unwrap().next_multiple_of(every));
                            self.under_way[1 - from].push_back((at, octets.to_vec()));
                        }
                    }
                }
                Output::Event(Event::Data { data, .. }) => self.received += data.len() as u64,
                Output::Event(event @ (Event::Complete { .. } | Event::Failed { .. })) => {
                    self.end = Some(event);
                }
                Output::Idle(deadline) => {
                    self.deadlines[from] = deadline;
                    return;
                }
                _ => {}
            }
        }
    }
}

/// One row of the table.
struct Row {
    size: u32,
    round_trip: Duration,
    loss: u32,
    /// By their times.
    outcomes: Vec<Outcome>,
}

impl Row {
    fn measure(size: u32, round_trip: u64, loss: u32, seeds: u64) -> Self {
        let round_trip = Duration::from_millis(round_trip);
        let transfer = |seed| Pair::new(seed, round_trip / 2, loss).transfer(size, MTU);
        let mut outcomes: Vec<Outcome> = (0..seeds).map(transfer).collect();
        outcomes.sort_by_key(|outcome| outcome.time);
        Self {
            size,
            round_trip,
            loss,
            outcomes,
        }
    }

    fn bound(&self, rounds: u32) -> Duration {
        let octets = f64::from(self.size.div_ceil(CHUNK)) * 14.0 + f64::from(self.size);
        let part = 1.0 - f64::from(self.loss) / 100.0;
        let sent = Duration::from_secs_f64(1.05 * octets / (f64::from(RATE) * part));
        sent + self.round_trip * (rounds + 2) + Duration::from_secs(1)
    }

    fn max_rounds(&self) -> u32 {
        if self.loss == 0 {
            return 1;
        }
        let packets = f64::from(self.size.div_ceil(CHUNK));
        let part = f64::from(self.loss) / 100.0;
        // The first round that leaves less than one packet missing.
        let mut rounds = 0;
        let mut missing = packets;
        while missing > 1.0 {
            missing *= part;
            rounds += 1;
        }
        rounds + 2
    }

    fn check(&self) {
        let name = format!(
            "{} octets, {:?}, {} % loss",
            self.size, self.round_trip, self.loss
        );
        for (place, outcome) in self.outcomes.iter().enumerate() {
            let bound = self.bound(outcome.rounds);
            let is_late = place > self.outcomes.len() / 2;
            let bound = if is_late { bound * 3 / 2 } else { bound };
            assert!(
                outcome.time <= bound,
                "{name}: {outcome:?} exceeds {bound:?}"
            );
            assert!(outcome.rounds <= self.max_rounds(), "{name}: {outcome:?}");
        }
    }

    fn line(&self, name: &str) -> String {
        let median = self.outcomes[self.outcomes.len() / 2];
        let longest = self.outcomes[self.outcomes.len() - 1];
        let packets = f64::from(self.size.div_ceil(CHUNK));
        format!(
            "| {name} | {} ms | {} % | {} | {} | {} | {} | {:.1} % |\n",
            self.round_trip.as_millis(),
            self.loss,
            secs(median.time),
            secs(longest.time),
            secs(self.bound(median.rounds)),
            median.rounds,
            f64::from(median.asked_again) * 100.0 / packets,
        )
    }
}

fn secs(time: Duration) -> String {
    let secs = time.as_secs_f64();
    if secs < 10.0 {
        format!("{secs:.2} s")
    } else {
        format!("{secs:.1} s")
    }
}

fn table(of: usize) -> String {
    let (name, size) = SIZES[of];
    let mut table = String::new();
    for round_trip in ROUND_TRIPS {
        for loss in LOSSES {
            let row = Row::measure(size, round_trip, loss, SEEDS);
            row.check();
            table += &row.line(name);
        }
    }
    table
}

#[test]
fn transfers_keep_within_the_bound_as_the_documentation_says() {
    let page = fs::read_to_string(PAGE).unwrap();
    let small = table(0);

    if std::env::var("DTP_DELIVERY").is_ok_and(|wish| wish == "write") {
        let start = page.find("|---|").unwrap();
        let start = start + page[start..].find('\n').unwrap() + 1;
        let len = page[start..].find("\n\n").unwrap() + 1;
        let mut made = small;
        write!(made, "{}", table(1)).unwrap();
        fs::write(PAGE, page.replace(&page[start..start + len], &made)).unwrap();
    } else {
        assert!(page.contains(&small), "{small}");
    }
}

/// One seed of the large payload, where the losses are the most and the least.
#[test]
fn a_large_payload_keeps_within_the_bound() {
    for (round_trip, loss) in [(50, 0), (600, 10)] {
        Row::measure(SIZES[1].1, round_trip, loss, 1).check();
    }
}

/// There are as many ranges of missing packets at a time as packets are lost in the first round, and between them each
/// packet is a run of octets of its own.
#[test]
fn what_is_lost_of_many_short_packets_is_asked_for_and_nothing_else() {
    for seed in 0..3 {
        let pair = Pair {
            reads_every: Duration::from_millis(10),
            ..Pair::new(seed, Duration::from_micros(2500), 10)
        };
        let outcome = pair.transfer(3_000_000, 208);

        // Of 15,000 packets, 1,667 are lost until all have come; five standard deviations are 215.
        assert!(outcome.asked_again < 1_667 + 215, "{outcome:?}");
    }
}
