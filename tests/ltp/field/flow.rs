//! The flow that needs no options: what a sender does to the receive buffers, limits and lines of real peers.
//!
//! The table is printed with `--nocapture`. `FARLINK_TRIES` multiplies the seeds of the lossy line.

use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use farlink::ltp::{Command, Config, Engine, Event, Flow, Peer, Segment, Service};
use farlink::sim::{FaultRule, Host, Line, Queue, TraceDetail, World};
use farlink::{Instant, Limits, Seed};

use super::{block, scene::is_type};
use crate::delivery::bound;
use crate::delivery::coin::Coin;
use crate::delivery::scene::Scene;
use crate::ltp_alone::Alone;
use crate::ltp_peers::{Buffered, Habits, Licklider, Model, Notice, Send};
use crate::tries::seeds;

/// A receiver at the other end, behind the receive buffer of its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ion,
    Hdtn,
    Licklider,
    Farlink,
}

const KINDS: [Kind; 4] = [Kind::Ion, Kind::Hdtn, Kind::Licklider, Kind::Farlink];

/// The receiver of a world.
#[derive(Debug, Clone, Copy)]
enum Receiver {
    Model(Host<Buffered<Model>>),
    Licklider(Host<Buffered<Licklider>>),
    Farlink(Host<Buffered<Engine<u64>>>),
}

fn engine(id: u64, seed: u64, other: Peer<u64>) -> Engine<u64> {
    let mut engine = Engine::new(Config::engine(id), Seed::from(seed)).unwrap();
    engine.add_peer(Instant::ZERO, 3 - id, other).unwrap();
    engine.open(Instant::ZERO, 4, Service::Whole).unwrap();
    engine
}

fn ion() -> Habits {
    Habits::ion(1400, 1e-6, 0)
}

/// HDTN as its operator configures it for a line: the round trip, its queue, and a margin.
fn hdtn(line: &Line) -> Habits {
    let queue = match (line.queue, line.rate) {
        (Queue::Drop(len), Some(rate)) => len as f64 * 8.0 / rate as f64,
        _ => 0.0,
    };
    let margin = Duration::from_millis(100);
    Habits::hdtn(2 * (line.delay + margin) + Duration::from_secs_f64(2.0 * queue))
}

impl Receiver {
    fn new(world: &mut World, kind: Kind, line: &Line, seed: u64, light: u64) -> Self {
        match kind {
            Kind::Ion | Kind::Hdtn => {
                let habits = if kind == Kind::Ion {
                    Habits::ion(1400, 1e-6, light)
                } else {
                    hdtn(line)
                };
                let model = Model::new(2, 1, habits, seed);
                Self::Model(world.host(2, Buffered::new(model)))
            }
            Kind::Licklider => {
                let licklider = Licklider::new(2, 1, seed);
                Self::Licklider(world.host(2, Buffered::new(licklider)))
            }
            Kind::Farlink => {
                Self::Farlink(world.host(2, Buffered::new(engine(2, seed, Peer::at(1)))))
            }
        }
    }

    /// When red parts were received, and how many receptions were cancelled.
    fn outcome(self, world: &World) -> (Vec<Instant>, usize) {
        let mut received = Vec::new();
        let mut cancelled = 0;
        let mut take = |at, is_received: bool, is_cancelled: bool| {
            if is_received {
                received.push(at);
            }
            cancelled += usize::from(is_cancelled);
        };
        let read = |notice: &Notice| {
            (
                matches!(notice, Notice::Received { .. }),
                matches!(notice, Notice::Cancelled { .. }),
            )
        };
        match self {
            Self::Model(host) => {
                for (at, event) in world.events(host) {
                    let (is_received, is_cancelled) = read(event);
                    take(at, is_received, is_cancelled);
                }
            }
            Self::Licklider(host) => {
                for (at, event) in world.events(host) {
                    let (is_received, is_cancelled) = read(event);
                    take(at, is_received, is_cancelled);
                }
            }
            Self::Farlink(host) => {
                for (at, event) in world.events(host) {
                    let is_received = matches!(event, Event::Received { .. });
                    take(at, is_received, matches!(event, Event::Cancelled { .. }));
                }
            }
        }
        (received, cancelled)
    }
}

/// What became of one block.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    /// When it was received whole.
    received: Option<Duration>,
    is_complete: bool,
    /// Octets sent again.
    resent: u64,
    /// Red segments that were sent.
    segments: u64,
}

/// Sends a block without any option to a receiver over two lines.
fn transfer(kind: Kind, len: usize, lines: [Line; 2], seed: u64) -> Transfer {
    transfer_to(Peer::at(2), kind, len, lines, seed)
}

fn transfer_to(peer: Peer<u64>, kind: Kind, len: usize, lines: [Line; 2], seed: u64) -> Transfer {
    transfer_with(peer, kind, len, lines, seed, 0)
}

fn transfer_with(
    peer: Peer<u64>,
    kind: Kind,
    len: usize,
    lines: [Line; 2],
    seed: u64,
    light: u64,
) -> Transfer {
    let mut world = World::new(seed);
    world.trace_detail(TraceDetail::Nothing);
    let sender = world.host(1, engine(1, seed, peer));
    let [there, back] = lines;
    let receiver = Receiver::new(&mut world, kind, &there, seed, light);
    match receiver {
        Receiver::Model(host) => join(&mut world, sender, host, there, back),
        Receiver::Licklider(host) => join(&mut world, sender, host, there, back),
        Receiver::Farlink(host) => join(&mut world, sender, host, there, back),
    }
    let command = Command::Send(block(2, len));
    world.command(sender, command).unwrap();
    let bound = Instant::ZERO + Duration::from_secs(1800);
    world.run_until_holds(bound, |world| world.machine(sender).usage().sessions.0 == 0);

    let (arrivals, _) = receiver.outcome(&world);
    let stats = world.machine(sender).stats();
    let mut events = world.events(sender);
    Transfer {
        received: arrivals.first().map(|at| *at - Instant::ZERO),
        is_complete: events.any(|(_, event)| matches!(event, Event::Complete { .. })),
        resent: stats.octets_resent,
        segments: stats.segments_sent,
    }
}

fn join<M>(world: &mut World, sender: Host<Engine<u64>>, host: Host<M>, there: Line, back: Line) {
    world.line_from(sender, host, there);
    world.line_from(host, sender, back);
}

/// The loopback interface: 20 us, and what the system calls of a sender leave of it.
fn loopback() -> Line {
    Line {
        rate: Some(3_000_000_000),
        ..Line::delayed(Duration::from_micros(20))
    }
}

/// Octets of a block, and the seconds that ION was seen to take to ION for it.
const SIZES: [(&str, usize, f64); 6] = [
    ("1", 1, 0.07),
    ("1 kB", 1000, 0.07),
    ("100 kB", 100_000, 0.07),
    ("1 MB", 1_000_000, 0.07),
    ("10 MB", 10_000_000, 0.73),
    ("50 MB", 50_000_000, 3.97),
];

#[test]
fn blocks_of_any_size_reach_every_peer_on_a_quiet_loopback_without_options() {
    let mut faults = Vec::new();
    println!("| to | size | received | sent again | complete |\n|---|---|---|---|---|");
    for kind in KINDS {
        for (name, len, ion_to_ion) in SIZES {
            let done = transfer(kind, len, [loopback(), loopback()], 1);

            let share = done.resent as f64 / len as f64;
            println!(
                "| {kind:?} | {name} | {:?} | {:.1} % | {} |",
                done.received,
                share * 100.0,
                done.is_complete
            );
            let took = done.received.unwrap_or(Duration::MAX).as_secs_f64();
            let is_fast = took <= 1.3 * ion_to_ion;
            if !done.is_complete || share > 0.01 || !is_fast {
                faults.push(format!("{name} to {kind:?}: {done:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The line of 50 Mbit/s and 100 ms that loses a tenth both ways.
fn lossy() -> Line {
    losing(0.1)
}

fn losing(loss: f64) -> Line {
    Line {
        rate: Some(50_000_000),
        queue: Queue::Drop(1 << 20),
        loss,
        ..Line::delayed(Duration::from_millis(100))
    }
}

const LOSSY_LEN: usize = 20_000_000;

/// The bound of selective repeat, which the delivery table is measured by, in seconds.
fn ideal(seed: u64) -> f64 {
    let loss = 100_000;
    let scene = Scene {
        owlt: Duration::from_millis(100),
        loss,
    };
    // Its line has 100 Mbit/s, so that segments of twice the length take as long as here.
    let starts = (0..LOSSY_LEN as u64).step_by(1385);
    let sizes: Vec<(u64, usize)> = starts.map(|start| (start, 2800)).collect();
    let coin = &mut Coin::new(seed, loss);
    bound::delivery(&scene, coin, &sizes).as_secs_f64()
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

#[test]
fn a_lossy_line_takes_at_most_1_3_times_the_ideal_without_options() {
    let ideal = ideal(1);
    let mut faults = Vec::new();
    println!("| to | median | ideal | complete |\n|---|---|---|---|");
    for kind in [Kind::Hdtn, Kind::Licklider, Kind::Farlink] {
        // Twenty seeds, where they are asked for.
        let done: Vec<Transfer> = seeds(7)
            .take(20)
            .map(|seed| transfer(kind, LOSSY_LEN, [lossy(), lossy()], seed))
            .collect();

        let spans = done.iter().map(|one| one.received.unwrap_or(Duration::MAX));
        let median = median(spans.collect());
        let complete = done.iter().filter(|one| one.is_complete).count();
        println!(
            "| {kind:?} | {median:?} | {ideal:.2} s | {complete} of {} |",
            done.len()
        );
        if median.as_secs_f64() > 1.3 * ideal || complete < done.len() {
            faults.push(format!("{kind:?}: {median:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The sender of ION to the receiver of ION, at 45 Mbit/s of the 50.
fn ion_loses(loss: f64, seed: u64) -> bool {
    let mut world = World::new(seed);
    world.trace_detail(TraceDetail::Nothing);
    let paced = Habits {
        rate: Some(45_000_000 / 8),
        ..ion()
    };
    let sender = world.host(1, Model::new(1, 2, paced, seed));
    let receiver = world.host(2, Buffered::new(Model::new(2, 1, ion(), seed)));
    world.line_from(sender, receiver, losing(loss));
    world.line_from(receiver, sender, losing(loss));
    let command = Send {
        client: 4,
        data: vec![0x5A; LOSSY_LEN].into(),
        red: LOSSY_LEN,
    };
    world.command(sender, command).unwrap();
    let bound = Instant::ZERO + Duration::from_secs(600);
    world.run_until_holds(bound, |world| world.machine(sender).sessions().0 == 0);
    let mut notices = world.events(sender);
    !notices.any(|(_, notice)| matches!(notice, Notice::Complete { .. }))
}

#[test]
fn no_more_blocks_to_ion_are_lost_on_a_lossy_line_than_its_own_sender_loses() {
    // Of a tenth it loses all, of a hundredth few.
    for loss in [0.003, 0.01, 0.02, 0.1] {
        let seeds: Vec<u64> = seeds(2).take(20).collect();
        let lost = |seed: &&u64| {
            let lines = [losing(loss), losing(loss)];
            let done = transfer(Kind::Ion, LOSSY_LEN, lines, **seed);
            done.received.is_none() || !done.is_complete
        };

        let ours = seeds.iter().filter(lost).count();
        let theirs = seeds.iter().filter(|seed| ion_loses(loss, **seed)).count();

        println!(
            "{loss}: ours lost {ours}, ION's {theirs} of {}",
            seeds.len()
        );
        assert!(ours <= theirs, "{ours} lost of {loss}, ION loses {theirs}");
    }
}

#[test]
fn a_line_of_8_mbit_s_with_a_queue_of_64_kib_is_served_without_options() {
    let line = || Line {
        rate: Some(8_000_000),
        queue: Queue::Drop(1 << 16),
        ..Line::delayed(Duration::from_millis(20))
    };
    for kind in KINDS {
        let done = transfer(kind, 10_000_000, [line(), line()], 1);

        println!("{kind:?}: {done:?}");
        assert!(
            done.is_complete && done.received.is_some(),
            "{kind:?}: {done:?}"
        );
        assert!(done.resent <= 12_000_000, "{kind:?}: {done:?}");
    }
}

/// What is sent before the first report tells how slow the line is may be lost, and nothing after it. The offer of a
/// large receive buffer changes nothing: the queue is shorter.
#[test]
fn a_slow_line_costs_a_farlink_about_the_block_once_more_and_at_most_1_3_times_the_ideal() {
    let mut faults = Vec::new();
    println!("| line | buffer | received | ideal | sent again |\n|---|---|---|---|---|");
    for (rate, millis) in [(8_000_000, 20), (1_000_000, 20), (1_000_000, 1300)] {
        let line = || Line {
            rate: Some(rate),
            queue: Queue::Drop(1 << 16),
            ..Line::delayed(Duration::from_millis(millis))
        };
        let peer = |id| {
            let mut peer = Peer::at(id);
            peer.timers.owlt_out = Duration::from_millis(millis);
            peer.timers.owlt_in = peer.timers.owlt_out;
            peer
        };
        for (len, buffer) in [(1_000_000, 0), (1_000_000, 8 << 20), (4_000_000, 8 << 20)] {
            let mut world = World::new(1);
            world.trace_detail(TraceDetail::Nothing);
            let sender = world.host(1, engine(1, 1, peer(2)));
            let receiver = world.host(2, engine(2, 1, peer(1)));
            world.limits(receiver, Limits::default().with_receive_buffer(buffer));
            join(&mut world, sender, receiver, line(), line());
            world.command(sender, Command::Send(block(2, len))).unwrap();
            let bound = Instant::ZERO + Duration::from_secs(1800);
            world.run_until_holds(bound, |world| world.machine(sender).usage().sessions.0 == 0);

            let is_received = |event: &Event| matches!(event, Event::Received { .. });
            let mut events = world.events(receiver);
            let arrival = events.find(|(_, event)| is_received(event));
            let took = arrival.map_or(f64::MAX, |(at, _)| (at - Instant::ZERO).as_secs_f64());
            let ideal = len as f64 * 8.0 / rate as f64 + millis as f64 / 1000.0;
            let resent = world.machine(sender).stats().octets_resent;
            println!(
                "| {rate} bit/s, {millis} ms | {buffer} | {took:.2} | {ideal:.2} | {resent} |"
            );
            if took > 1.3 * ideal || resent > len as u64 * 11 / 10 {
                faults.push(format!(
                    "{rate} bit/s, {millis} ms, {buffer}: {took}, {resent}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The queue of a slow radio holds what leaves at once for minutes, or loses most of it. What is late there is not lost, and
/// copies of a checkpoint would use up the two reports with gaps that ION allows for a short block.
#[test]
fn a_slow_radio_is_served_without_a_rate() {
    let mut faults = Vec::new();
    for rate in [1200, 9600, 64_000, 256_000] {
        for queue in [4, 16, 64] {
            for millis in [100, 300, 1000, 5000] {
                let line = || Line {
                    rate: Some(rate),
                    queue: Queue::Drop(queue << 10),
                    ..Line::delayed(Duration::from_millis(millis))
                };
                let light = millis.div_ceil(1000);
                for (kind, len) in KINDS
                    .iter()
                    .flat_map(|kind| [1, 10_000, 50_000, 100_000].map(|len| (*kind, len)))
                {
                    let done = transfer_with(Peer::at(2), kind, len, [line(), line()], 1, light);

                    if !done.is_complete || done.received.is_none() {
                        faults.push(format!(
                            "{len} to {kind:?}, {rate} bit/s, {queue} KiB, {millis} ms: {done:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// HDTN ignores copies of a checkpoint that it has answered, and repeats its report by a timer of its own: there the queue
/// is emptied four times. Of short blocks ION allows two reports with gaps, and its own sender loses more of them.
#[test]
fn a_slow_radio_that_loses_segments_is_served_without_a_rate() {
    let mut faults = Vec::new();
    for (rate, queue, millis) in [
        (1200, 64, 300),
        (1200, 16, 5000),
        (9600, 4, 100),
        (9600, 16, 1000),
        (64_000, 16, 300),
        (256_000, 4, 5000),
        (256_000, 64, 1000),
    ] {
        let line = |loss| Line {
            rate: Some(rate),
            queue: Queue::Drop(queue << 10),
            loss,
            ..Line::delayed(Duration::from_millis(millis))
        };
        let kinds = [Kind::Hdtn, Kind::Licklider, Kind::Farlink].into_iter();
        for (kind, len) in kinds.flat_map(|kind| [10_000, 50_000].map(|len| (kind, len))) {
            // The timer of HDTN has a quarter of an hour there.
            if kind == Kind::Hdtn && rate == 1200 && queue == 64 {
                continue;
            }
            for (loss, seed) in [(0.01, 1), (0.01, 2), (0.05, 1), (0.05, 2)] {
                let done = transfer(kind, len, [line(loss), line(loss)], seed);

                if !done.is_complete || done.received.is_none() {
                    faults.push(format!(
                        "{len} to {kind:?}, {rate} bit/s, {queue} KiB, {millis} ms, {loss}, {seed}: {done:?}"
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// RFC 5325 section 3.3 allows checkpoints at will, and ION allows none before the end of the red part.
#[test]
fn a_block_of_50_mb_to_an_unknown_peer_has_no_checkpoint_before_its_end() {
    let early = |octets: &[u8]| {
        let code = Segment::decode_first(octets).map(|(segment, _)| segment.body.code());
        code == Ok(1)
    };
    let rule = FaultRule::every().matching(move |packet| {
        assert!(!early(packet.octets), "an early checkpoint");
        false
    });

    transfer(
        Kind::Ion,
        50_000_000,
        [loopback().with_rule(rule), loopback()],
        1,
    );
}

/// A sender that was told to checkpoint finds that the peer takes none, and starts the block anew without.
#[test]
fn a_block_whose_early_checkpoints_are_refused_is_sent_again_without() {
    for window in [None, NonZeroU64::new(64_000)] {
        let mut world = World::new(1);
        let mut engine = Engine::new(Config::engine(1), Seed::from(1)).unwrap();
        let peer = Peer {
            flow: match window {
                Some(octets) => Flow::Window {
                    octets,
                    octets_per_second: NonZeroU64::new(5_000_000),
                },
                None => Flow::rate(5_000_000).with_burst(14_000),
            },
            checkpoint_every: NonZeroU32::new(10).filter(|_| window.is_none()),
            ..Peer::at(2)
        };
        engine.add_peer(Instant::ZERO, 2, peer).unwrap();
        let sender = world.host(1, engine);
        let ion = Model::new(2, 1, ion(), 1);
        let receiver = world.host(2, Buffered::new(ion));
        join(&mut world, sender, receiver, loopback(), loopback());
        let command = Command::Send(block(2, 600_000));
        world.command(sender, command).unwrap();

        world.run_for(Duration::from_secs(60));

        let (arrivals, _) = Receiver::Model(receiver).outcome(&world);
        let mut events = world.events(sender);
        assert!(events.any(|(_, event)| matches!(event, Event::Complete { .. })));
        assert_eq!(arrivals.len(), 1, "window {window:?}");
    }
}

/// ION cancels when it has made as many reports with gaps as its limit allows, and splits one of more than 20 claims.
#[test]
fn the_parts_of_one_report_are_answered_by_one_run_with_one_checkpoint() {
    let mut world = World::new(1);
    let mut sender = Engine::new(Config::engine(1), Seed::from(1)).unwrap();
    let peer = Peer {
        segment: 620,
        ..Peer::at(2)
    };
    sender.add_peer(Instant::ZERO, 2, peer).unwrap();
    let sender = world.host(1, sender);
    let short = Habits::ion(620, 1e-6, 0);
    assert_eq!(short.limit(60_000), Some(2));
    let receiver = world.host(2, Buffered::new(Model::new(2, 1, short, 1)));
    let every_second = FaultRule::each((1..50).map(|n| n * 2)).matching(is_type(0));
    let there = loopback().with_rule(every_second.lost());
    // One segment of the repair is lost, too.
    let there = there.with_rule(FaultRule::nth(110).matching(is_type(0)).lost());
    join(&mut world, sender, receiver, there, loopback());
    let command = Command::Send(block(2, 60_000));
    world.command(sender, command).unwrap();

    world.run_for(Duration::from_secs(60));

    let (arrivals, cancelled) = Receiver::Model(receiver).outcome(&world);
    assert_eq!((arrivals.len(), cancelled), (1, 0));
    let mut events = world.events(sender);
    assert!(events.any(|(_, event)| matches!(event, Event::Complete { .. })));
    let stats = world.machine(sender).stats();
    assert!(stats.octets_resent < 32_000, "{stats:?}");
}

/// A full buffer is not to take the end of the block: the last segments leave spaced.
#[test]
fn no_more_than_64_kib_leave_at_once_without_options() {
    let mut alone = Alone::<u64>::new(Config::engine(1), 1);
    let now = alone.now;
    alone.engine.add_peer(now, 2, Peer::at(2)).unwrap();
    alone.engine.send_block(now, block(2, 1_000_000)).unwrap();

    alone.drain();

    assert!(alone.octets_out <= 1 << 16, "{} octets", alone.octets_out);
}

/// As measured with the real ones: the buffer of a socket bears bursts of 64 KiB.
#[test]
fn a_rate_of_100_mbit_s_given_by_hand_reaches_every_peer_without_repairs() {
    for kind in KINDS {
        let paced = Peer {
            flow: Flow::rate(12_500_000).with_burst(1 << 16),
            ..Peer::at(2)
        };

        let done = transfer_to(paced, kind, 10_000_000, [loopback(), loopback()], 1);

        assert!(done.is_complete && done.resent == 0, "{kind:?}: {done:?}");
    }
}

/// As measured with the real ones: what they do not bear.
#[test]
fn early_checkpoints_windows_and_bursts_that_real_peers_do_not_bear_are_refused_by_their_models() {
    let by_hand = |change: fn(&mut Peer<u64>)| {
        let mut peer = Peer::at(2).with_flow(Flow::rate(12_500_000).with_burst(1 << 16));
        change(&mut peer);
        peer
    };
    let run = |peer, kind, len| transfer_to(peer, kind, len, [loopback(), loopback()], 1);

    // ION cancels at any checkpoint before the end of the red part. The 44 segments are sent once more without.
    let early = by_hand(|peer| peer.checkpoint_every = NonZeroU32::new(40));
    let done = run(early, Kind::Ion, 60_000);
    assert!(done.is_complete && done.segments > 80, "{done:?}");

    // licklider cancels behind 64 reports. The 7221 segments are sent once more.
    let window = by_hand(|peer| peer.flow = Flow::window(1 << 16));
    let done = run(window, Kind::Licklider, 10_000_000);
    assert!(done.is_complete && done.segments > 7500, "{done:?}");

    // 256 KiB at once are more than the buffer of a socket holds.
    let burst = by_hand(|peer| {
        peer.flow = Flow::rate(125_000_000).with_burst(1 << 18);
    });
    let done = run(burst, Kind::Hdtn, 10_000_000);
    assert!(done.is_complete && done.resent > 0, "{done:?}");
}

#[test]
fn a_lost_end_of_a_block_is_repeated_to_ion() {
    let there = loopback().with_rule(FaultRule::nth(1).matching(is_type(3)).lost());

    let done = transfer(Kind::Ion, 100_000, [there, loopback()], 1);

    assert!(done.is_complete && done.segments > 72, "{done:?}");
}
