//! To a stranger go at most three octets for each that came from its host, and 1 KiB, until it has shown that it hears
//! (RFC 5326 sections 3.2.3 and 6.14; the rule is that of RFC 9000 section 8.1).

use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;

use farlink::ltp::{Age, Block, Body, Claims, Config, Engine, Event, Flow, Peer, Report};
use farlink::{Path, Seed, Tag};

use crate::ltp_alone::{Alone, datagram, encode, secs, session};
use crate::site::{Beside, KIB, node, path, stranger};

/// Counts what goes to and comes from hosts of an attacker.
struct Budget {
    came: u64,
    /// Octets that had left before.
    before: u64,
}

impl Budget {
    fn new(node: &Alone<Path>) -> Self {
        Self {
            came: 0,
            before: node.octets_out,
        }
    }

    fn hear(&mut self, node: &mut Alone<Path>, from: Path, octets: &[u8]) {
        self.came += octets.len() as u64;
        node.receive(from, octets);
        self.check(node);
    }

    fn check(&self, node: &Alone<Path>) {
        let left = node.octets_out - self.before;
        let limit = 3 * self.came + KIB;
        assert!(
            left <= limit,
            "{left} octets left for {} that came",
            self.came
        );
    }

    /// Timers make no more of it.
    fn run(&self, node: &mut Alone<Path>) {
        for _ in 0..60 {
            node.run_for(Duration::from_secs(10));
            self.check(node);
        }
    }
}

/// A node that counts what it sends, and keeps nothing.
fn counting() -> Alone<Path> {
    let mut node = node();
    node.kept = Some(stranger(0));
    node
}

fn gap(at: u64) -> Vec<u8> {
    datagram(&format!("00 07 64 00 04 @{} 01 78", 2 * at))
}

fn checkpoint(serial: u64, offset: u64) -> Vec<u8> {
    datagram(&format!(
        "01 07 64 00 04 @{offset} 01 @{serial} @9999999 78"
    ))
}

#[test]
fn gaps_and_checkpoints_of_a_stranger_are_answered_within_its_budget() {
    let (gaps, checkpoints) = (50_000, 10_000);
    let mut node = counting();
    let mut beside = Beside::new(&mut node);
    let mut budget = Budget::new(&node);
    for at in 0..gaps {
        budget.hear(&mut node, stranger(7), &gap(at));
    }
    for serial in 1..=checkpoints {
        budget.hear(&mut node, stranger(7), &checkpoint(serial, 2 * gaps + 10));
    }
    budget.run(&mut node);

    beside.assert_served(&mut node);
}

/// Each is received whole, and each report could be repeated five times.
#[test]
fn short_blocks_of_a_stranger_are_answered_within_its_budget() {
    // The second client service does not exist.
    for client in ["04", "63"] {
        let mut node = counting();
        let mut beside = Beside::new(&mut node);
        let mut budget = Budget::new(&node);
        for number in 0..10_000 {
            let text = format!("03 07 @{} 00 {client} 00 01 05 00 78", 100_000 + number);
            budget.hear(&mut node, stranger(7), &datagram(&text));
        }
        budget.run(&mut node);

        beside.assert_served(&mut node);
    }
}

/// Forged cancellations and reports are acknowledged within the budget, too.
#[test]
fn cancellations_and_data_that_is_miscolored_are_answered_within_the_budget() {
    let mut node = counting();
    let mut budget = Budget::new(&node);
    for number in 1..10_000 {
        for text in [
            format!("04 07 @{number} 00 04 00 01 78"),
            format!("03 07 @{number} 00 04 05 01 05 00 78"),
            format!("0c 07 @{number} 00 00"),
        ] {
            budget.hear(&mut node, stranger(7), &datagram(&text));
        }
    }
    budget.run(&mut node);
}

/// All ports of a host are one, and so are all hosts of an IPv6 network of 56 bits.
#[test]
fn a_budget_is_that_of_a_host_whatever_its_ports_and_interface_identifiers() {
    let ports = |at: u16| path(SocketAddr::from(([10, 0, 0, 1], 2000 + at)));
    let subnets = |at: u16| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, at % 256, 7, 7, 7, at);
        path(SocketAddr::from((address, 1113)))
    };
    for hosts in [ports as fn(u16) -> Path, subnets] {
        let mut node = counting();
        let mut budget = Budget::new(&node);
        for at in 0..1000 {
            let text = format!("03 @{} 01 00 04 00 01 05 00 78", 1000 + at);
            budget.hear(&mut node, hosts(at), &datagram(&text));
        }
        budget.run(&mut node);
    }
}

/// Whoever answers with an acknowledgment of a cancellation has not shown that it heard anything.
#[test]
fn only_the_serial_number_of_a_report_under_way_proves_a_host() {
    for guesses in [0, 8] {
        let mut node = counting();
        let mut budget = Budget::new(&node);
        budget.hear(
            &mut node,
            stranger(7),
            &datagram("03 07 05 00 63 00 01 05 00 78"),
        );
        budget.hear(&mut node, stranger(7), &datagram("0f 07 05 00"));
        node.kept = None;
        let whole = datagram("03 07 06 00 04 00 01 05 00 78");
        budget.hear(&mut node, stranger(7), &whole);
        let serial = node.reports(session(7, 6))[0];
        node.kept = Some(stranger(0));
        for guess in 1..=guesses {
            let wrong = datagram(&format!("09 07 06 00 @{}", serial + guess));
            budget.hear(&mut node, stranger(7), &wrong);
        }
        if guesses > 0 {
            // After so many wrong ones, the right one was a guess.
            let right = datagram(&format!("09 07 06 00 @{serial}"));
            budget.hear(&mut node, stranger(7), &right);
        }
        for at in 0..500 {
            budget.hear(&mut node, stranger(7), &gap(at));
        }
        for serial in 1..=500 {
            budget.hear(&mut node, stranger(7), &checkpoint(serial, 1100));
        }
        budget.run(&mut node);
    }
}

/// First serial numbers towards strangers are not guessed in a few tries.
#[test]
fn report_serial_numbers_towards_strangers_have_31_bits() {
    let mut node = node();
    for number in 1..=64 {
        let text = format!("03 07 @{number} 00 04 00 01 05 00 78");
        node.hear(stranger(7), &text);
    }
    // Answers are given for what came.
    let serials: Vec<u64> = (1..=64)
        .filter_map(|number| node.reports(session(7, number)).first().copied())
        .collect();

    assert!(serials.len() > 8, "{}", serials.len());
    let most = serials.iter().max().unwrap();
    assert!(*most > 1 << 27 && *most < 1 << 31, "{most}");
}

/// What the budget held back leaves when more comes, and the newest of it.
#[test]
fn an_answer_over_the_budget_leaves_when_more_has_come() {
    let mut node = node();
    let mut budget = Budget::new(&node);
    for at in 0..500 {
        budget.hear(&mut node, stranger(7), &gap(at));
    }
    for serial in 1..=500 {
        budget.hear(&mut node, stranger(7), &checkpoint(serial, 1100));
    }
    let before = node.octets_out;

    let long = datagram("03 07 @300 00 04 00 @1300 05 00 41*1300");
    budget.hear(&mut node, stranger(7), &long);
    budget.hear(&mut node, stranger(7), &long);

    assert!(node.octets_out > before);
    assert!(node.has_reported(session(7, 300), 5));
}

/// A peer that was named may ask as often as it likes, and gets no more for it than it asked.
#[test]
fn checkpoints_of_a_named_peer_that_come_at_once_are_answered_by_few_reports() {
    use farlink::Machine as _;
    let mut node = counting();
    node.engine
        .add_peer(node.now, 7, Peer::at(stranger(7)))
        .unwrap();
    let mut came = 0;
    for at in 0..5000 {
        let octets = gap(at);
        came += octets.len() as u64;
        node.engine.receive(node.now, stranger(7), &octets);
    }
    for serial in 1..=20_000 {
        let octets = checkpoint(serial, 10_010);
        came += octets.len() as u64;
        node.engine.receive(node.now, stranger(7), &octets);
        let pending = node.engine.usage().timers;
        assert!(
            pending <= 512,
            "{pending} timers after {serial} checkpoints"
        );
    }
    node.run_for(secs(60));

    assert!(
        node.octets_out <= 3 * came,
        "{} for {came}",
        node.octets_out
    );
}

/// A report from nowhere is not answered out of proportion.
#[test]
fn reports_of_unknown_sessions_are_answered_by_less_than_they_have_octets() {
    let mut node = counting();
    let claims = Claims::new(&[]);
    let body = Body::Report(Report {
        serial: 9,
        checkpoint: 3,
        scope: (0..100).into(),
        claims,
    });
    let mut budget = Budget::new(&node);
    for number in 1..1000 {
        let octets = encode(session(2, number), body);
        budget.hear(&mut node, stranger(7), &octets);
    }
    budget.run(&mut node);
}

/// A block of 60 gaps in 61 pieces, and checkpoints that are each answered by a report on all of it.
fn long_reports(number: u64) -> impl Iterator<Item = Vec<u8>> {
    let piece = move |at: u64| datagram(&format!("00 07 @{number} 00 04 @{} 01 78", 2 * at));
    let checkpoint =
        move |serial: u64| datagram(&format!("01 07 @{number} 00 04 @200 01 @{serial} 00 78"));
    let checkpoints = (1..=60).map(checkpoint);
    (0..=60).map(piece).chain(checkpoints)
}

/// A command named the peer where it was; who claims to be it elsewhere is a stranger there.
#[test]
fn a_peer_that_a_command_named_and_that_moves_to_another_host_has_a_budget_there() {
    let mut node = node();
    node.hear(stranger(7), "03 07 01 00 04 00 01 05 00 78");
    let block = Block::red(Tag(1), 7, 4, vec![7; 10].into());
    node.engine.send_block(node.now, block).unwrap();
    // It never answers, so that the block is given up and the sessions are over.
    node.run_for(secs(3600));

    node.kept = Some(stranger(9));
    let mut budget = Budget::new(&node);
    for octets in (1000..1030).flat_map(long_reports) {
        budget.hear(&mut node, stranger(9), &octets);
    }
    budget.run(&mut node);
    assert!(!node.sent.is_empty(), "the peer has moved");
}

/// A node whose answers to strangers no rate delays.
fn unlimited() -> Alone<Path> {
    let mut node = node();
    let template = Peer::at(stranger(0)).with_flow(Flow::Unlimited);
    let now = node.now;
    let accepted = node.engine.accept_unknown_peers(now, Some(template), 1024);
    accepted.unwrap();
    node
}

/// Ten times as many reports are asked for as may leave, and the checkpoints of each session come again.
#[test]
fn a_flood_of_checkpoints_that_ask_for_long_reports_is_answered_within_the_budget() {
    let mut node = unlimited();
    let mut beside = Beside::new(&mut node);
    node.kept = Some(stranger(0));
    let mut budget = Budget::new(&node);
    for octets in (1000..1300).flat_map(long_reports) {
        budget.hear(&mut node, stranger(7), &octets);
    }
    let left = 3 * budget.came + KIB - (node.octets_out - budget.before);
    assert!(left < 300, "{left} octets may yet leave");
    for octets in (1000..1300).flat_map(|number| long_reports(number).skip(61)) {
        budget.hear(&mut node, stranger(7), &octets);
    }
    budget.run(&mut node);

    beside.assert_served(&mut node);
}

/// A node whose answers to a stranger wait for octets from it.
fn over_budget() -> Alone<Path> {
    let mut node = unlimited();
    let mut came = 0;
    for octets in (1000..1030).flat_map(long_reports) {
        came += octets.len() as u64;
        node.receive(stranger(7), &octets);
    }
    let left = 3 * came + KIB - node.octets_out;
    assert!(left < 300, "{left} octets may yet leave");
    node
}

/// Whether all of a block of 100,000 octets has left, and how it has ended a quarter of an hour later.
fn leaves(node: &mut Alone<Path>) -> (bool, bool) {
    let before = node.octets_out;
    node.run_for(secs(60));
    let has_left = node.octets_out - before > 100_000;
    node.run_for(secs(900));
    let is_end = |event: &Event| matches!(event, Event::Failed { tag: Tag(5), .. });
    (has_left, node.events.iter().any(|(_, event)| is_end(event)))
}

#[test]
fn a_block_that_is_commanded_to_a_stranger_over_its_budget_leaves_and_ends() {
    let mut node = over_budget();

    let block = Block::red(Tag(5), 7, 4, vec![1; 100_000].into());
    node.engine.send_block(node.now, block).unwrap();

    assert_eq!(leaves(&mut node), (true, true));
}

/// The commands that named it were given before the restart.
#[test]
fn blocks_that_were_commanded_to_a_stranger_leave_and_end_after_a_restart() {
    let mut node = over_budget();
    for tag in 1..=5 {
        let block = Block::red(Tag(tag), 7, 4, vec![1; 1000].into());
        node.engine.send_block(node.now, block).unwrap();
    }

    let saved = node.engine.snapshot(node.now);
    let (config, now) = (Config::engine(2), node.now);
    node.engine = Engine::restore(config, Seed::from(3), saved, Age::Current, now).unwrap();

    node.run_for(secs(3600));
    let is_end = |event: &Event| matches!(event, Event::Failed { .. });
    let ends = node.events.iter().filter(|(_, event)| is_end(event));
    assert_eq!(ends.count(), 5);
}
