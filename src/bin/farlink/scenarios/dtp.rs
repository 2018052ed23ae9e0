//! Scenarios of DTP over CSP.

use core::time::Duration;

use farlink::csp::{Flags, Packet, RdpFlags, RdpHeader, Version};
use farlink::dtp::{Command, Config, DataPacket, Event, GetOptions, Node};
use farlink::sim::{Bursts, Contacts, Host, Line, World};
use farlink::{Instant, Seed, Tag};

use super::{Row, command, pattern, until};

/// CSP over UDP, as libcsp's examples have it.
pub(crate) const PORT: u16 = 9600;

pub(super) const SCENARIOS: &[Row] = &[(
    "pass",
    "a payload from a satellite that fades, in two passes",
    pass,
)];

const SATELLITE: u16 = 1;
const GROUND: u16 = 2;
const PAYLOAD: u8 = 3;
const TAG: Tag = Tag(1);

fn pass(world: &mut World) -> Result<String, String> {
    const OCTETS: usize = 8000;
    const PASS: Duration = Duration::from_secs(60);
    const ORBIT: Duration = Duration::from_secs(95 * 60);
    /// When the ground station lets go of it, and takes it up again.
    const SETS: Duration = Duration::from_secs(58);
    const RISES: Duration = Duration::from_secs(95 * 60 + 2);
    world.label(label);
    let satellite = node(world, "satellite", SATELLITE)?;
    let ground = node(world, "ground", GROUND)?;
    let line = Line {
        rate: Some(9600),
        bursts: Some(Bursts {
            enter: 0.08,
            leave: 0.3,
            loss: 0.7,
        }),
        contacts: Contacts::periodic(Duration::ZERO, PASS, ORBIT),
        ..Line::delayed(Duration::from_millis(5))
    };
    world.wire((satellite, 0), (ground, 0), line);
    let data = pattern(OCTETS);
    let serve = Command::Serve {
        payload: PAYLOAD,
        data: data.clone(),
    };
    command(world, satellite, serve)?;
    let options = GetOptions {
        throughput: 100,
        ..GetOptions::default()
    };
    let get = Command::Get {
        tag: TAG,
        server: SATELLITE,
        payload: PAYLOAD,
        options,
    };
    command(world, ground, get)?;
    world.run_until(Instant::ZERO + SETS);
    world.note(ground, "the satellite sets");
    command(world, ground, Command::Pause(TAG))?;
    world.run_until(Instant::ZERO + RISES);
    world.note(ground, "the satellite rises");
    command(world, ground, Command::Resume(TAG))?;
    until(world, ORBIT + PASS, "the end of the transfer", |world| {
        end(world, ground).is_some()
    })?;
    let Some(Event::Complete { asked_again, .. }) = end(world, ground) else {
        return Err(format!(
            "the transfer is not complete: {:?}",
            end(world, ground)
        ));
    };
    let mut received = vec![0; OCTETS];
    for (_, event) in world.events(ground) {
        if let Event::Data { offset, data, .. } = event
            && let Ok(start) = usize::try_from(*offset)
            && let Some(place) = received.get_mut(start..start + data.len())
        {
            place.copy_from_slice(data);
        }
    }
    if received != data {
        return Err("ground did not get the payload as it is".into());
    }
    Ok(format!(
        "{OCTETS} octets are on the ground after {} minutes, {asked_again} packets were asked for again",
        (world.now() - Instant::ZERO).as_secs() / 60
    ))
}

fn node(world: &mut World, name: &str, address: u16) -> Result<Host<Node>, String> {
    let mut config = Config::default();
    config.csp.address = address;
    let seed: Seed = world.seed(name);
    let node = Node::new(config, &seed).map_err(|error| error.to_string())?;
    let host = world.host(address, node);
    world.name(host, name);
    world.label_events(host, event_label);
    Ok(host)
}

/// How the transfer has ended.
fn end(world: &World, ground: Host<Node>) -> Option<&Event> {
    let mut events = world.events(ground).map(|(_, event)| event);
    events.find(|event| matches!(event, Event::Complete { .. } | Event::Failed { .. }))
}

fn event_label(event: &Event) -> String {
    match event {
        Event::Started { size, .. } => format!("the payload has {size} octets"),
        Event::Data { offset, data, .. } => {
            // Bound: no platform has more than 64 bits in a usize.
            format!(
                "octets {offset}..{}",
                u64::from(*offset) + data.len() as u64
            )
        }
        Event::Complete { .. } => "complete".into(),
        Event::Serving(request) => format!("node {} gets a payload", request.client),
        other => format!("{other:?}"),
    }
}

/// Names a packet: what RDP says of it, or which octets of a payload it has.
fn label(octets: &[u8]) -> Option<String> {
    let packet = Packet::decode(Version::V2, octets).ok()?;
    if !packet.header.flags.contains(Flags::RDP) {
        let data = DataPacket::decode(packet.data).ok()?;
        // Bound: no platform has more than 64 bits in a usize.
        let end = u64::from(data.offset) + data.data.len() as u64;
        return Some(format!("data {}..{end}", data.offset));
    }
    let (rdp, packet) = packet.split_rdp().ok()?;
    Some(match (flags(rdp), packet.data.is_empty()) {
        (flags, true) => flags,
        (flags, false) if rdp.flags.contains(RdpFlags::SYN) => flags,
        _ if packet.header.source == GROUND => "request".into(),
        _ => "response".into(),
    })
}

fn flags(rdp: RdpHeader) -> String {
    let names: Vec<&str> = rdp.flags.iter_names().map(|(name, _)| name).collect();
    names.join("+")
}
