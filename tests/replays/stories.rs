//! The stories of the recordings in `vectors`.

use std::time::Duration;

use bytes::Bytes;
use farlink::Tag;
use farlink::cotp::{
    Acceptance, Command, Compat, Config, ConnectionLimits, ConnectionTimers, DisconnectReason,
    Event, Policy, Refusal, Selector, SendDisconnect, TpduSize,
};

use crate::world::Side::{Initiator, Responder};
use crate::world::{Line, World};

/// A story, with the name of its recordings.
pub(crate) type Story = (&'static str, fn() -> World);

pub(crate) const STORIES: [Story; 13] = [
    ("messages", messages),
    ("octet_by_octet", octet_by_octet),
    ("segmented", segmented),
    ("moved_payload", moved_payload),
    ("minutes_away", minutes_away),
    ("expedited", expedited),
    ("crowded", crowded),
    ("refused", refused),
    ("unknown_selector", unknown_selector),
    ("unanswered", unanswered),
    ("truncated", truncated),
    ("reset", reset),
    ("web_browser", web_browser),
];

const BY_US: &str = "closed by this side";
const BY_PEER: &str = "closed by the peer";

/// A local network.
const NEAR: Line = Line {
    delay: Duration::from_micros(250),
    chunk: 1460,
};

/// Selectors, and a few messages each way.
fn messages() -> World {
    let mut world = World::settled(caller(), anybody(), NEAR);
    world.command(Initiator, send(b"first"));
    world.command(
        Responder,
        send(b"an answer that is longer than what it answers"),
    );
    world.command(Initiator, send(&[0xA5; 1000]));
    world.command(Initiator, Command::Flush(Tag(1)));
    world.command(Initiator, Command::Close);
    world.ended([BY_US, BY_PEER])
}

/// Chunks of one octet, including those of the handshake.
fn octet_by_octet() -> World {
    let line = Line { chunk: 1, ..NEAR };
    let mut world = World::settled(caller(), anybody(), line);
    world.command(Initiator, send(b"hello"));
    world.command(Responder, Command::Close);
    world.ended([BY_PEER, BY_US])
}

/// Messages over several of the smallest TPDUs.
fn segmented() -> World {
    let config = Config {
        tpdu_size: TpduSize::SMALLEST,
        ..caller()
    };
    let mut world = World::settled(config, anybody(), Line { chunk: 100, ..NEAR });
    world.command(Initiator, send(&[0x5A; 700]));
    world.command(Responder, send(&[0xC3; 300]));
    world.command(Initiator, Command::Close);
    world.ended([BY_US, BY_PEER])
}

/// A payload over 4 KiB, which a recording keeps out of the JSON.
fn moved_payload() -> World {
    let mut world = World::settled(caller(), anybody(), NEAR);
    world.command(Initiator, send(&pattern(5000)));
    world.command(Initiator, Command::Close);
    world.ended([BY_US, BY_PEER])
}

/// A delay of minutes, with timers that allow for it.
fn minutes_away() -> World {
    let line = Line {
        delay: Duration::from_secs(12 * 60),
        chunk: 1460,
    };
    let patient = |config: Config| Config {
        timers: ConnectionTimers {
            answer_timeout: Some(Duration::from_secs(3600)),
            request_timeout: Some(Duration::from_secs(3600)),
            close_timeout: Duration::from_secs(3600),
            ..config.timers
        },
        ..config
    };
    let mut world = World::settled(patient(caller()), patient(anybody()), line);
    world.command(Initiator, send(b"are you there?"));
    world.command(Responder, send(b"yes"));
    world.command(Initiator, Command::Close);
    world.ended([BY_US, BY_PEER])
}

/// Expedited data, and a DR at the end.
fn expedited() -> World {
    let eager = |config: Config| Config {
        compat: Compat {
            expedited: true,
            send_disconnect: SendDisconnect::all(),
            ..config.compat
        },
        ..config
    };
    let mut world = World::settled(eager(caller()), eager(anybody()), NEAR);
    world.command(
        Initiator,
        Command::SendExpedited(Bytes::from_static(b"now")),
    );
    world.command(Responder, send(b"later"));
    world.command(Initiator, Command::Close);
    world.ended([BY_US, "disconnected by the peer: reason not specified (0)"])
}

/// A full queue refuses a command, and an event tells that there is room again.
fn crowded() -> World {
    let config = Config {
        limits: ConnectionLimits {
            send_queue: 2000,
            receive_queue: 100,
            ..caller().limits
        },
        ..caller()
    };
    let mut world = World::settled(config, anybody(), NEAR);
    world.command(Responder, send(&[1; 90]));
    // Nothing leaves between two commands that nobody polls after.
    world.push(Initiator, send(&[2; 1800])).unwrap();
    world
        .push(Initiator, send(&[3; 1800]))
        .expect_err("the queue is full");
    world.settle();
    world.command(Initiator, send(&[4; 1800]));
    world.command(Initiator, Command::Close);
    let room = |event: &&Event| **event == Event::Room;
    assert_eq!(world.events(Initiator).iter().filter(room).count(), 1);
    world.ended([BY_US, BY_PEER])
}

/// The application refuses, with a reason and a text.
fn refused() -> World {
    let mut world = World::settled(caller(), Config::responder(Policy::Ask), NEAR);
    let refusal = Refusal {
        reason: DisconnectReason(1),
        information: Bytes::from_static(b"come back later"),
    };
    world.command(Responder, Command::Refuse(refusal));
    world.ended([
        "failed: refused by the peer: congestion at the selector (1), \"come back later\"",
        "failed: refused by this side: congestion at the selector (1)",
    ])
}

/// The called selector is unknown.
fn unknown_selector() -> World {
    let policy = Policy::Selectors(vec![Selector::from(7), Selector::from(8)]);
    let world = World::settled(caller(), Config::responder(policy), NEAR);
    world.ended([
        "failed: refused by the peer: selector unknown (3)",
        "failed: refused by this side: selector unknown (3)",
    ])
}

/// The answer comes after the timeout.
fn unanswered() -> World {
    let line = Line {
        delay: Duration::from_secs(60),
        ..NEAR
    };
    let mut world = World::settled(caller(), anybody(), line);
    world.wait(Duration::from_secs(60));
    world.ended([
        "failed: no answer to the connection request within 10s",
        "failed: no connection request within 10s",
    ])
}

/// The stream ends in the middle of a message.
fn truncated() -> World {
    let mut world = World::settled(caller(), anybody(), NEAR);
    world.cut(Responder, 333);
    world.command(Initiator, send(&[0x11; 1000]));
    world.ended([
        BY_PEER,
        "closed by the peer (333 octets of an unfinished message dropped)",
    ])
}

/// The connection breaks while both ends are talking.
fn reset() -> World {
    let mut world = World::settled(caller(), Config::responder(Policy::Ask), NEAR);
    world.command(Responder, Command::Accept(Acceptance::default()));
    world.push(Initiator, send(b"lost")).unwrap();
    world.push(Responder, send(b"lost too")).unwrap();
    world.reset();
    world.ended([
        "connection reset by the peer (5 octets not sent)",
        "connection reset by the peer (9 octets not sent)",
    ])
}

/// Another protocol is spoken on the port.
fn web_browser() -> World {
    let mut world = World::new(caller(), anybody(), NEAR);
    world.inject(Responder, b"GET / HTTP/1.1\r\n\r\n");
    world.ended([
        "failed: closed by the peer before it confirmed the connection; likely causes: an unknown selector, a TPDU size or parameter order it does not take, no free connection",
        "failed: not a TPKT stream: TPKT version at offset 0: 71 is not 3",
    ])
}

fn caller() -> Config {
    Config::initiator(Some(Selector::from(1)), Some(Selector::from(2)))
}

fn anybody() -> Config {
    Config::responder(Policy::AcceptAny)
}

/// Returns a message whose first octet is that of no protocol, so that analysers do not guess at one.
fn send(message: &[u8]) -> Command {
    Command::Send([&[0xFE], message].concat().into())
}

fn pattern(length: usize) -> Vec<u8> {
    (0_u8..=250).cycle().take(length).collect()
}
