//! Scenarios of LTP.

use core::time::Duration;

use bytes::Bytes;
use farlink::ltp::{
    Block, Body, Color, Command, Config, Engine, Event, Flow, Peer, Reason, Red, Segment,
    SegmentLabels, Service, Side, event_label,
};
use farlink::sim::{Contacts, Delivery, FaultRule, Host, Line, PacketView, World};
use farlink::{Instant, Tag};

use super::{Row, command, pattern, until};

/// LTP over UDP (RFC 7122).
pub(crate) const PORT: u16 = 1113;

pub(super) const SCENARIOS: &[Row] = &[
    (
        "mars",
        "a file to Mars: twelve minutes, contact windows, losses",
        mars,
    ),
    (
        "moon",
        "a relay takes a block to the far side of the Moon",
        moon,
    ),
    (
        "ltp-clean",
        "a red block, its report, and the acknowledgment of that",
        clean,
    ),
    (
        "ltp-mixed",
        "a red part that is repaired, a green part that is not",
        mixed,
    ),
    (
        "ltp-lost-checkpoint",
        "a checkpoint that is lost, and the timer that repeats it",
        lost_checkpoint,
    ),
    (
        "ltp-lost-report",
        "a report, then its acknowledgment lost, and timers for both",
        lost_report,
    ),
    (
        "ltp-lossy",
        "every second segment lost, some twice: where ION gives up",
        lossy,
    ),
    (
        "ltp-silent",
        "a peer that went silent, and a sender that gives up",
        silent,
    ),
    (
        "ltp-refused",
        "a block for a service that nobody has opened",
        refused,
    ),
];

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A scenario that takes longer has gone wrong.
const BOUND: Duration = Duration::from_secs(7 * 24 * 3600);

/// The client service that all engines open.
pub(crate) const CLIENT: u64 = 4;
/// The tag of the only block in most scenarios.
const TAG: Tag = Tag(1);

pub(crate) type Node = Host<Engine<u64>>;

fn mars(world: &mut World) -> Result<String, String> {
    const FILE: usize = 300_000;
    const LIGHT: Duration = Duration::from_secs(12 * 60);
    const PERIOD: Duration = Duration::from_secs(40 * 60);
    let [earth, mars] = add_engines(world, ["earth", "mars"])?;
    let line = |first, open| Line {
        loss: 0.03,
        contacts: Contacts::periodic(first, open, PERIOD),
        ..Line::delayed(LIGHT)
    };
    // Mars sends once the octets of a contact have arrived, and Earth receives at all times.
    let lines = [line(Duration::ZERO, 4 * MINUTE), line(LIGHT, 6 * MINUTE)];
    let peer = |id| Peer {
        flow: Flow::rate(1000).with_burst(1400),
        ..Peer::at(id).at_distance(LIGHT)
    };
    connect(world, [(earth, 1), (mars, 2)], lines, peer)?;
    deliver(world, [earth, mars], &pattern(FILE))?;
    let time = world.now() - Instant::ZERO;
    let stats = world.machine(earth).stats();
    Ok(format!(
        "{FILE} octets are on Mars, {} of them sent twice; {} minutes",
        stats.octets_resent,
        time.as_secs() / 60
    ))
}

fn moon(world: &mut World) -> Result<String, String> {
    const LIGHT: Duration = Duration::from_millis(1300);
    const DOWN: Duration = Duration::from_millis(30);
    let [earth, relay, moon] = add_engines(world, ["earth", "relay", "moon"])?;
    let far = Line {
        loss: 0.05,
        ..Line::delayed(LIGHT)
    };
    let near = Line {
        contacts: Contacts::periodic(20 * SECOND, 30 * SECOND, 2 * MINUTE),
        ..Line::delayed(DOWN)
    };
    let (far, near) = ([far.clone(), far], [near.clone(), near]);
    connect(world, [(earth, 1), (relay, 2)], far, |id| {
        Peer::at(id).with_flow(Flow::Unlimited).at_distance(LIGHT)
    })?;
    connect(world, [(relay, 2), (moon, 3)], near, |id| {
        Peer::at(id).with_flow(Flow::Unlimited).at_distance(DOWN)
    })?;
    let block = pattern(12_000);
    send(world, earth, 2, block.clone(), Red::All)?;
    received_by(world, relay)?;
    world.note(relay, "the relay passes the block on");
    let whole = received(world, relay).next().cloned().unwrap_or_default();
    send(world, relay, 3, whole, Red::All)?;
    complete(world, relay)?;
    complete(world, earth)?;
    check_delivered(world, moon, &block)?;
    until_idle(world, &[earth, relay, moon])?;
    Ok(format!("{} octets are behind the Moon", block.len()))
}

fn clean(world: &mut World) -> Result<String, String> {
    let (earth, moon) = pair(world, Line::delayed(LUNAR), Line::delayed(LUNAR))?;
    deliver(world, [earth, moon], &pattern(5000))?;
    Ok("5000 octets delivered within one light time".into())
}

fn mixed(world: &mut World) -> Result<String, String> {
    let there = Line::delayed(LUNAR)
        .with_rule(FaultRule::nth(2).lost())
        .with_rule(FaultRule::nth(2).matching(is(is_green)).lost());
    let (earth, moon) = pair(world, there, Line::delayed(LUNAR))?;
    let block = pattern(9000);
    send(world, earth, 2, block.clone(), Red::Octets(5000))?;
    complete(world, earth)?;
    until_idle(world, &[earth, moon])?;
    check_delivered(world, moon, &block.slice(..5000))?;
    let green = world.events(moon).map(|(_, event)| match event {
        Event::Green { data, .. } => data.len(),
        _ => 0,
    });
    let green: usize = green.sum();
    if green == 0 || green >= 4000 {
        return Err(format!("{green} of 4000 green octets arrived"));
    }
    Ok(format!(
        "5000 red octets delivered, and {green} of 4000 green ones"
    ))
}

fn lost_checkpoint(world: &mut World) -> Result<String, String> {
    let there =
        Line::delayed(LUNAR).with_rule(FaultRule::nth(1).matching(is(is_checkpoint)).lost());
    let (earth, moon) = pair(world, there, Line::delayed(LUNAR))?;
    deliver(world, [earth, moon], &pattern(5000))?;
    match world.machine(earth).stats().checkpoints_resent {
        0 => Err("no checkpoint was repeated".into()),
        count => Ok(format!("{count} checkpoint was repeated")),
    }
}

fn lost_report(world: &mut World) -> Result<String, String> {
    let back = Line::delayed(LUNAR).with_rule(FaultRule::nth(1).matching(is(is_report)).lost());
    let there = Line::delayed(LUNAR).with_rule(FaultRule::nth(1).matching(is(is_ack)).lost());
    let (earth, moon) = pair(world, there, back)?;
    deliver(world, [earth, moon], &pattern(5000))?;
    let reports = world.machine(moon).stats().reports_resent;
    if reports < 2 {
        return Err(format!("{reports} reports were repeated"));
    }
    // A sender of ION does not acknowledge reports of closed sessions, and so its receiver gives up.
    Ok("a report for a session long closed was acknowledged all the same".into())
}

/// Several reports with gaps for one checkpoint. ION 4.1.3 fails at its default limits.
fn lossy(world: &mut World) -> Result<String, String> {
    const SEGMENT: usize = 150;
    let there = Line::delayed(LUNAR)
        .with_rule(FaultRule::each((1..60).map(|pair| 2 * pair)).lost())
        .with_rule(FaultRule::each((1..12).map(|third| 120 + 3 * third)).lost());
    let [earth, moon] = add_engines(world, ["earth", "moon"])?;
    let lines = [there, Line::delayed(LUNAR)];
    connect(world, [(earth, 1), (moon, 2)], lines, |id| Peer {
        segment: SEGMENT,
        ..Peer::at(id).with_flow(Flow::Unlimited).at_distance(LUNAR)
    })?;
    deliver(world, [earth, moon], &pattern(15_000))?;
    let made = world.machine(moon).stats().negative_reports_sent;
    let segments = world.machine(earth).stats().negative_reports_received;
    if segments <= made {
        return Err("the reports were not split".into());
    }
    Ok(format!(
        "{made} reports with gaps in {segments} segments, and the block delivered whole"
    ))
}

fn silent(world: &mut World) -> Result<String, String> {
    let gone = Line::delayed(LUNAR).with_rule(FaultRule::every().lost());
    let (earth, moon) = pair(world, Line::delayed(LUNAR), gone)?;
    let block = pattern(3000);
    send(world, earth, 2, block.clone(), Red::All)?;
    let (by, reason, back) = failure(world, earth)?;
    until_idle(world, &[earth, moon])?;
    // The block was delivered long before.
    check_delivered(world, moon, &block)?;
    match (by, reason) {
        (Side::Local, Reason::RETRANSMISSION_LIMIT) if back == block => Ok(format!(
            "the sender gave up: {reason}; it has its block back"
        )),
        _ => Err(format!("the sender ended otherwise: {reason}")),
    }
}

fn refused(world: &mut World) -> Result<String, String> {
    let (earth, moon) = pair(world, Line::delayed(LUNAR), Line::delayed(LUNAR))?;
    command(world, moon, Command::Close(CLIENT))?;
    send(world, earth, 2, pattern(5000), Red::All)?;
    let (by, reason, _) = failure(world, earth)?;
    until_idle(world, &[earth, moon])?;
    match (by, reason) {
        (Side::Remote, Reason::UNREACHABLE) => Ok(format!("the sender was told: {reason}")),
        _ => Err(format!("the sender was not refused, but: {reason}")),
    }
}

/// The light time to the Moon.
const LUNAR: Duration = Duration::from_millis(1300);

/// Adds engines 1 and 2, which are peers.
fn pair(world: &mut World, there: Line, back: Line) -> Result<(Node, Node), String> {
    let [earth, moon] = add_engines(world, ["earth", "moon"])?;
    connect(world, [(earth, 1), (moon, 2)], [there, back], |id| {
        Peer::at(id).with_flow(Flow::Unlimited).at_distance(LUNAR)
    })?;
    Ok((earth, moon))
}

/// Adds engines 1, 2 and so on, with an open client service.
pub(crate) fn add_engines<const N: usize>(
    world: &mut World,
    names: [&str; N],
) -> Result<[Node; N], String> {
    let mut labels = SegmentLabels::default();
    world.label(move |octets| Some(labels.name(octets)));
    let mut nodes = Vec::new();
    for (name, id) in names.into_iter().zip(1..) {
        let seed = world.seed(name);
        let engine = Engine::new(Config::engine(id), seed).map_err(|error| error.to_string())?;
        let node = world.host(id, engine);
        world.name(node, name);
        world.label_events(node, event_label);
        command(world, node, Command::Open(CLIENT, Service::Whole))?;
        nodes.push(node);
    }
    nodes
        .try_into()
        .map_err(|_| String::from("one engine for each name"))
}

/// Adds a line in each direction between two engines, and makes them peers by their numbers.
pub(crate) fn connect(
    world: &mut World,
    [(one, first), (other, second)]: [(Node, u64); 2],
    [there, back]: [Line; 2],
    peer: impl Fn(u64) -> Peer<u64>,
) -> Result<(), String> {
    world.line_from(one, other, there);
    world.line_from(other, one, back);
    for (node, id) in [(one, second), (other, first)] {
        command(world, node, Command::AddPeer(id, Box::new(peer(id))))?;
    }
    Ok(())
}

/// Matches packets by the kind of segment in them, for the rules of a line.
pub(crate) fn is(
    which: impl Fn(&Body<'_>) -> bool + Send + Sync + 'static,
) -> impl Fn(&PacketView<'_>) -> bool + Send + Sync + 'static {
    move |packet| Segment::decode(packet.octets).is_ok_and(|segment| which(&segment.body))
}

pub(crate) const fn is_checkpoint(body: &Body<'_>) -> bool {
    matches!(body, Body::Data(data) if matches!(data.color, Color::Red(Some(_))))
}

const fn is_green(body: &Body<'_>) -> bool {
    matches!(body, Body::Data(data) if matches!(data.color, Color::Green { .. }))
}

pub(crate) const fn is_report(body: &Body<'_>) -> bool {
    matches!(body, Body::Report(_))
}

const fn is_ack(body: &Body<'_>) -> bool {
    matches!(body, Body::ReportAck(_))
}

pub(crate) fn send(
    world: &mut World,
    from: Node,
    to: u64,
    data: Bytes,
    red: Red,
) -> Result<(), String> {
    let block = Block {
        red,
        ..Block::red(TAG, to, CLIENT, data)
    };
    command(world, from, Command::Send(block))
}

/// Sends a red block, which arrives whole, and runs until it is over.
fn deliver(world: &mut World, [from, to]: [Node; 2], block: &Bytes) -> Result<(), String> {
    send(world, from, 2, block.clone(), Red::All)?;
    complete(world, from)?;
    check_delivered(world, to, block)?;
    until_idle(world, &[from, to])
}

/// Returns how the block of an engine ended, and when.
pub(crate) fn ended(world: &World, node: Node) -> Option<(Instant, &Event)> {
    let is_end = |event: &Event| matches!(event, Event::Complete { .. } | Event::Failed { .. });
    world.events(node).find(|(_, event)| is_end(event))
}

fn complete(world: &mut World, node: Node) -> Result<(), String> {
    until(world, BOUND, "the end of the block", |world| {
        ended(world, node).is_some()
    })?;
    match ended(world, node) {
        Some((_, event @ Event::Failed { .. })) => {
            let name = world.trace().name(node);
            Err(format!("{name} {}", event_label(event)))
        }
        _ => Ok(()),
    }
}

fn failure(world: &mut World, node: Node) -> Result<(Side, Reason, Bytes), String> {
    let failed = |world: &World| {
        world.events(node).find_map(|(_, event)| match event {
            Event::Failed {
                by, reason, data, ..
            } => Some((*by, *reason, data.clone())),
            _ => None,
        })
    };
    until(world, BOUND, "the failure", |world| failed(world).is_some())?;
    failed(world).ok_or_else(|| "there was no failure".into())
}

fn received_by(world: &mut World, node: Node) -> Result<(), String> {
    until(world, BOUND, "the block", |world| {
        received(world, node).next().is_some()
    })
}

/// Checks that exactly this red part was delivered, once.
fn check_delivered(world: &mut World, node: Node, block: &Bytes) -> Result<(), String> {
    received_by(world, node)?;
    if received(world, node).eq([block]) {
        return Ok(());
    }
    let name = world.trace().name(node);
    Err(format!("{name} did not get the block as it was sent, once"))
}

/// Runs until no engine has a session and nothing is in flight.
fn until_idle(world: &mut World, nodes: &[Node]) -> Result<(), String> {
    until(world, BOUND, "the end of all sessions", |world| {
        let is_idle = |node: &Node| world.machine(*node).usage().sessions == (0, 0);
        nodes.iter().all(is_idle)
            && world
                .trace()
                .packets()
                .all(|packet| packet.delivery != Delivery::InFlight)
    })
}

fn received(world: &World, node: Node) -> impl Iterator<Item = &Bytes> {
    world.events(node).filter_map(|(_, event)| match event {
        Event::Received { data, .. } => Some(data),
        _ => None,
    })
}
