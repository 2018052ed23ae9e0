//! Two connections that talk to each other in memory, for tests and benches.
#![allow(dead_code, reason = "every user needs another part of it")]

use farlink::cotp::{Config, Connection, Event, Policy};
use farlink::{Ask, Cause, Instant, Limits, Link, Machine as _, Output, Seed, Transmit};

/// Two connections on one stream, and the buffer that everything goes through.
pub(crate) struct Pair {
    pub(crate) initiator: Connection,
    pub(crate) responder: Connection,
    pub(crate) tx: Transmit<()>,
    pub(crate) now: Instant,
}

/// The end that reported an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Initiator,
    Responder,
}

impl Pair {
    /// Makes both ends, brings the stream up and lets them shake hands.
    pub(crate) fn open(initiator: Config, responder: Config) -> Self {
        let mut pair = Self {
            initiator: connection(initiator, 1),
            responder: connection(responder, 2),
            tx: Transmit::new(Limits::stream(1 << 16)),
            now: Instant::from_nanos(1),
        };
        pair.initiator.link(pair.now, (), Link::Up);
        pair.responder.link(pair.now, (), Link::Up);
        let mut opened = 0;
        pair.pump(|_, event| opened += usize::from(matches!(event, Event::Connected(_))));
        assert_eq!(opened, 2, "both ends are open");
        pair
    }

    /// Opens a pair with default configurations, whose responder accepts every request.
    pub(crate) fn by_default() -> Self {
        Self::open(Config::default(), Config::responder(Policy::AcceptAny))
    }

    /// Lets both ends act until neither has anything to do.
    pub(crate) fn pump(&mut self, mut report: impl FnMut(End, Event)) {
        loop {
            let Self {
                initiator,
                responder,
                tx,
                now,
            } = self;
            let forth = run(initiator, responder, tx, *now, |event| {
                report(End::Initiator, event);
            });
            let back = run(responder, initiator, tx, *now, |event| {
                report(End::Responder, event);
            });
            if forth + back == 0 {
                return;
            }
        }
    }
}

/// Makes one end.
pub(crate) fn connection(config: Config, seed: u64) -> Connection {
    match Connection::new(config, &Seed::from(seed)) {
        Ok(connection) => connection,
        Err(error) => panic!("{error}"),
    }
}

/// Drains `from` into `to` and returns how many outputs there were.
pub(crate) fn run(
    from: &mut Connection,
    to: &mut Connection,
    tx: &mut Transmit<()>,
    now: Instant,
    mut report: impl FnMut(Event),
) -> usize {
    for count in 0.. {
        match from.poll(now, tx) {
            Output::Transmit => to.receive(now, (), tx.octets()),
            Output::Event(event) => report(event),
            Output::Ask(Ask::Finish(())) => to.link(now, (), Link::Ended),
            Output::Ask(Ask::Abort(())) => to.link(now, (), Link::Down(Cause::Reset)),
            Output::Ask(_) => to.link(now, (), Link::Down(Cause::Closed)),
            Output::Yield => {}
            Output::Idle(_) | Output::Done => return count,
        }
    }
    0
}
