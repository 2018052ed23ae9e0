//! Scenarios of COTP.

use core::time::Duration;

use bytes::Bytes;
use farlink::Cause;
use farlink::cotp::{
    Command, Config, Connection, ConnectionEnd, ConnectionLimits, ConnectionTimers, EndReason,
    Error, Event, Policy, Selector, TpduLabels, TpduSize, event_label,
};
use farlink::sim::{Chunks, Host, StreamLine, World};

use super::{Row, command, pattern, until};

/// ISO transport over TCP (RFC 1006).
pub(super) const PORT: u16 = 102;

pub(super) const SCENARIOS: &[Row] = &[
    (
        "cotp-hello",
        "a handshake, messages there and back, and a close in good order",
        hello,
    ),
    (
        "cotp-refused",
        "a call for a selector that nobody has, and the refusal",
        refused,
    ),
    (
        "cotp-silent",
        "a peer that never answers the call, and the timer for that",
        silent,
    ),
    (
        "cotp-far",
        "twelve minutes to Mars, twelve back, and one octet at a time",
        far,
    ),
    (
        "cotp-reset",
        "a peer that is cut off in the middle of a message",
        reset,
    ),
    (
        "cotp-slow-reader",
        "a peer that reads nothing for a while, and queues that fill up",
        slow_reader,
    ),
];

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A scenario that takes longer has gone wrong.
const BOUND: Duration = Duration::from_secs(24 * 3600);

type Peer = Host<Connection>;

const CLIENT_SERVER: [&str; 2] = ["client", "server"];

fn hello(world: &mut World) -> Result<String, String> {
    let small = TpduSize::from_octets(2048).unwrap_or(TpduSize::ISO);
    let config = Config {
        tpdu_size: small,
        ..initiator(0x0102)
    };
    let pair = Connected::make(world, CLIENT_SERVER, config, responder(0x0102))?;
    pair.join(world, StreamLine::delayed(20 * MILLI))?;
    for len in [5, 5000] {
        pair.exchange(world, &pattern(len))?;
    }
    pair.close(world)
}

fn refused(world: &mut World) -> Result<String, String> {
    let config = initiator(0x0303);
    let pair = Connected::make(world, CLIENT_SERVER, config, responder(0x0102))?;
    world.connect(pair.client, pair.server, StreamLine::delayed(20 * MILLI));
    pair.end(world)?;
    let end = failed_end(world, pair.client)?;
    match &end.reason {
        EndReason::Refused(_) => Ok(format!("the client was told: {end}")),
        _ => Err(format!("the client was not refused, but: {end}")),
    }
}

fn silent(world: &mut World) -> Result<String, String> {
    let config = initiator(0x0102);
    let server = Config::responder(Policy::Ask);
    let pair = Connected::make(world, CLIENT_SERVER, config, server)?;
    // Until its application answers, the machine may refuse to read.
    world.allow_unread(pair.server, |()| true);
    world.connect(pair.client, pair.server, StreamLine::delayed(20 * MILLI));
    pair.end(world)?;
    let end = failed_end(world, pair.client)?;
    match &end.reason {
        EndReason::NoConfirm(_) => Ok(format!("the client gave up: {end}")),
        _ => Err(format!("the client did not give up, but: {end}")),
    }
}

fn far(world: &mut World) -> Result<String, String> {
    let patient = |config: Config| Config {
        timers: ConnectionTimers {
            answer_timeout: Some(60 * MINUTE),
            request_timeout: Some(60 * MINUTE),
            drain_timeout: 60 * MINUTE,
            close_timeout: 60 * MINUTE,
            ..config.timers
        },
        ..config
    };
    let earth = Config::initiator(Some(selector(0x0001)), Some(selector(0x0004)));
    let line = StreamLine {
        delay: 12 * MINUTE,
        chunks: Chunks::Fixed(1),
        ..StreamLine::default()
    };
    let names = ["earth", "mars"];
    let pair = Connected::make(world, names, patient(earth), patient(responder(0x0004)))?;
    pair.join(world, line)?;
    pair.exchange(world, &pattern(19))?;
    pair.close(world)
}

fn reset(world: &mut World) -> Result<String, String> {
    let config = initiator(0x0102);
    let line = StreamLine {
        delay: 20 * MILLI,
        rate: Some(1_000_000),
        ..StreamLine::default()
    };
    let pair = Connected::make(world, CLIENT_SERVER, config, responder(0x0102))?;
    pair.join(world, line)?;
    send(world, pair.client, pattern(100_000))?;
    world.run_for(300 * MILLI);
    world.note(pair.server, "the script cuts the stream off");
    world.reset(pair.server, ());
    pair.end(world)?;
    let [client, server] = pair.closed_ends(world)?;
    let is_reset = |end: &ConnectionEnd| end.reason == EndReason::Link(Cause::Reset);
    if !is_reset(&client) || !is_reset(&server) {
        return Err(format!("the ends say \"{client}\" and \"{server}\""));
    }
    match server.incomplete {
        0 => Err("the server had no part of the message".into()),
        octets => Ok(format!(
            "both ends heard of the reset, and the server dropped {octets} octets"
        )),
    }
}

fn slow_reader(world: &mut World) -> Result<String, String> {
    const MESSAGES: usize = 24;
    let config = Config {
        limits: ConnectionLimits {
            send_queue: 16 << 10,
            message_limit: 8 << 10,
            ..initiator(0x0102).limits
        },
        ..initiator(0x0102)
    };
    let line = StreamLine {
        delay: 20 * MILLI,
        jitter: MILLI,
        rate: Some(10_000_000),
        window: Some(16 << 10),
        ..StreamLine::default()
    };
    let pair = Connected::make(world, CLIENT_SERVER, config, responder(0x0102))?;
    pair.join(world, line)?;
    let server = pair.server;
    world.note(server, "the application stops reading");
    world.stop_reading(server);
    world.at(world.now() + 30 * SECOND, move |world| {
        world.note(server, "the application reads again");
        world.resume_reading(server);
    });
    let refusals = send_all(world, pair.client, MESSAGES)?;
    until(world, BOUND, "the last message", |world| {
        received(world, server).count() == MESSAGES
    })?;
    if received(world, server).any(|message| *message != pattern(2000)) {
        return Err("a message was not received as it was sent".into());
    }
    if refusals == 0 {
        return Err("the send queue never filled up".into());
    }
    pair.close(world)
        .map(|text| format!("{refusals} refusals for lack of room, no message lost, {text}"))
}

/// Sends messages of 2000 octets, and waits whenever the queue is full. Returns how often it was.
fn send_all(world: &mut World, client: Peer, messages: usize) -> Result<usize, String> {
    let mut refusals = 0;
    let mut sent = 0;
    while sent < messages {
        match world.command(client, Command::Send(pattern(2000))) {
            Ok(()) => sent += 1,
            Err(Error::Full { .. }) => {
                refusals += 1;
                until(world, BOUND, "room", |world| {
                    rooms(world, client) >= refusals
                })?;
            }
            Err(error) => return Err(format!("the client refused to send: {error}")),
        }
    }
    Ok(refusals)
}

fn rooms(world: &World, client: Peer) -> usize {
    let events = world.events(client);
    events.filter(|(_, event)| **event == Event::Room).count()
}

/// Two connected machines.
#[derive(Clone, Copy)]
struct Connected {
    client: Peer,
    server: Peer,
}

impl Connected {
    fn make(
        world: &mut World,
        [client_name, server_name]: [&'static str; 2],
        client: Config,
        server: Config,
    ) -> Result<Self, String> {
        Ok(Self {
            client: peer(world, client_name, client)?,
            server: peer(world, server_name, server)?,
        })
    }

    /// Connects both, and waits for the handshake.
    fn join(self, world: &mut World, line: StreamLine) -> Result<(), String> {
        world.connect(self.client, self.server, line);
        until(world, BOUND, "the connection", |world| {
            let is_open = |(_, event): (_, &Event)| matches!(event, Event::Connected(_));
            let mut hosts = [self.client, self.server].into_iter();
            hosts.all(|host| world.events(host).any(is_open))
        })
    }

    /// Sends a message, and then sends it back.
    fn exchange(self, world: &mut World, message: &Bytes) -> Result<(), String> {
        for (from, to) in [(self.client, self.server), (self.server, self.client)] {
            let before = received(world, to).count();
            send(world, from, message.clone())?;
            until(world, BOUND, "the message", |world| {
                received(world, to).count() > before
            })?;
            if received(world, to).last() != Some(message) {
                let name = world.trace().name(to);
                return Err(format!("{name} did not get {} octets", message.len()));
            }
        }
        Ok(())
    }

    /// Runs until both machines are done and nothing is in flight.
    fn end(self, world: &mut World) -> Result<(), String> {
        until(world, BOUND, "the end of both", |world| {
            world.is_done(self.client) && world.is_done(self.server)
        })?;
        // What is in flight to a machine that is done is lost, and the ladder shows it.
        world.run_until_idle(BOUND);
        Ok(())
    }

    fn closed_ends(self, world: &World) -> Result<[ConnectionEnd; 2], String> {
        Ok([
            closed_end(world, self.client)?,
            closed_end(world, self.server)?,
        ])
    }

    /// Closes the connection at the client.
    fn close(self, world: &mut World) -> Result<String, String> {
        command(world, self.client, Command::Close)?;
        self.end(world)?;
        let [client, server] = self.closed_ends(world)?.map(|end| end.reason);
        if (&client, &server) == (&EndReason::Closed, &EndReason::PeerClosed) {
            Ok("both ends closed in good order".into())
        } else {
            Err(format!("the ends say \"{client}\" and \"{server}\""))
        }
    }
}

fn peer(world: &mut World, name: &'static str, config: Config) -> Result<Peer, String> {
    let machine = Connection::new(config, &world.seed(name)).map_err(|error| error.to_string())?;
    let host = world.host((), machine);
    world.name(host, name);
    let mut labels = TpduLabels::default();
    world.label_host(host, move |chunk| labels.name(chunk));
    world.label_events(host, event_label);
    Ok(host)
}

fn initiator(called: u16) -> Config {
    Config::initiator(Some(selector(0x0100)), Some(selector(called)))
}

/// Configures a responder with one selector.
fn responder(called: u16) -> Config {
    Config::responder(Policy::Selectors(vec![selector(called)]))
}

fn selector(number: u16) -> Selector {
    Selector::new(number.to_be_bytes().to_vec())
}

fn send(world: &mut World, from: Peer, message: Bytes) -> Result<(), String> {
    command(world, from, Command::Send(message))
}

fn received(world: &World, host: Peer) -> impl Iterator<Item = &Bytes> {
    world.events(host).filter_map(|(_, event)| match event {
        Event::Received(message) => Some(message),
        _ => None,
    })
}

fn closed_end(world: &World, host: Peer) -> Result<ConnectionEnd, String> {
    match last(world, host) {
        Some(Event::Closed(end)) => Ok((**end).clone()),
        _ => Err(ended_otherwise(world, host)),
    }
}

fn failed_end(world: &World, host: Peer) -> Result<ConnectionEnd, String> {
    match last(world, host) {
        Some(Event::Failed(end)) => Ok((**end).clone()),
        _ => Err(ended_otherwise(world, host)),
    }
}

fn last(world: &World, host: Peer) -> Option<&Event> {
    world.events(host).last().map(|(_, event)| event)
}

fn ended_otherwise(world: &World, host: Peer) -> String {
    let (name, last) = (world.trace().name(host), last(world, host));
    format!("{name} ended otherwise: {:?}", last.map(event_label))
}
