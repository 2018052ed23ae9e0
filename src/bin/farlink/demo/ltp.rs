//! LTP in the demo: a block that is repaired and recorded, a refused block, and a file.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::path::Path;

use bytes::Bytes;
use farlink::adapters::Clock;
use farlink::adapters::tokio::ltp::{
    EngineFactory, EngineMachine, Error, Node, NodeOptions, Received, ReceivedKind,
};
use farlink::ltp::{self, Command, Config, Engine, Event, Flow, Peer, Red};
use farlink::{AsMachine, Instant, Link, Machine, Output, Path as NetPath, Transmit};

use super::{Arguments, draw, random_octets, speed};
use crate::decode::Protocol;
use crate::recording::EngineRecorder;
use crate::{Failure, output, progress};

/// The port by which analysers recognise LTP (RFC 7122).
const PORT: u16 = 1113;
const CLIENT: u64 = 4;
const UNKNOWN_CLIENT: u64 = 9;
/// The number of the datagram that is lost, from 1.
const LOST: u64 = 2;
/// The window in octets: half of the default receive buffer on Linux.
const WINDOW: u64 = 100_000;
/// The time limit of a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn show(arguments: &Arguments) -> Result<(), Failure> {
    repair(&arguments.out.join("ltp.pcapng")).await?;
    let pair = Pair::start(EngineFactory::default(), EngineFactory::default())?;
    refusal(&pair).await?;
    let size = usize::try_from(arguments.size).unwrap_or(usize::MAX) << 20;
    file(&pair, size).await?;
    pair.end().await;
    Ok(())
}

fn failure(who: &'static str) -> impl Fn(Error) -> Failure {
    move |error| Failure::Protocol(format!("{who}: {error}"))
}

/// Two nodes that are peers.
struct Pair {
    one: Node,
    two: Node,
}

impl Pair {
    fn start(one: EngineFactory, two: EngineFactory) -> Result<Self, Failure> {
        let node = |engine, port, factory| {
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let options = NodeOptions {
                factory,
                ..NodeOptions::from(Config::engine(engine))
            };
            Node::bind(local, options)
        };
        let one = node(1, 0, one).map_err(failure("engine 1"))?;
        // The standard port may be in use.
        let two = node(2, PORT, two.clone())
            .or_else(|_| node(2, 0, two))
            .map_err(failure("engine 2"))?;
        let near = Peer::at(two.local_addr()).with_flow(Flow::window(WINDOW));
        one.add_peer(2, near).map_err(failure("engine 1"))?;
        two.add_peer(1, Peer::at(one.local_addr()))
            .map_err(failure("engine 2"))?;
        Ok(Self { one, two })
    }

    async fn end(&self) {
        tokio::join!(
            self.one.shutdown(SHUTDOWN_TIMEOUT),
            self.two.shutdown(SHUTDOWN_TIMEOUT)
        );
    }
}

/// Sends a block with a red and a green part, of which the second datagram is lost, and records it.
async fn repair(recorded: &Path) -> Result<(), Failure> {
    const RED: usize = 5000;
    let engines = EngineRecorder::new(Some(recorded))?;
    let one = EngineFactory::new(move |setup| engines.engine(setup));
    let two = EngineFactory::new(|setup| {
        let engine = setup.engine()?;
        Ok(EngineMachine::new(LossyEngine { engine, heard: 0 }))
    });
    let pair = Pair::start(one, two)?;
    output::line(&format!(
        "LTP; engine 1 on {}, and engine 2 on {}, which does not hear its second datagram\n",
        pair.one.local_addr(),
        pair.two.local_addr()
    ));
    let block = random_octets(RED + 2000, 3);
    let from = pair.one.open(CLIENT).map_err(failure("engine 1"))?;
    let to = pair.two.open(CLIENT).map_err(failure("engine 2"))?;
    let red = Red::Octets(RED as u64);
    let mut sending = from
        .start(2, block.clone(), red)
        .await
        .map_err(failure("engine 1"))?;
    let whole = async {
        loop {
            let Received { kind, data, .. } = to.receive().await?;
            if let ReceivedKind::Whole { .. } = kind {
                return Ok(data);
            }
        }
    };
    let (_, data) = tokio::try_join!(sending.wait(), whole).map_err(failure("the block"))?;
    if data != block.slice(..RED) {
        return Err(Failure::Protocol("the block came over changed".into()));
    }
    pair.end().await;
    output::line("a block with a red and a green part, as engine 1 saw it:\n");
    let title = "LTP over loopback, as engine 1 saw it";
    draw(recorded, Protocol::Ltp, &["engine 1", "engine 2"], title)
}

async fn refusal(pair: &Pair) -> Result<(), Failure> {
    // Before its first service is opened, a node answers no block.
    let _other = pair.two.open(CLIENT).map_err(failure("engine 2"))?;
    let from = pair.one.open(UNKNOWN_CLIENT).map_err(failure("engine 1"))?;
    match from.send(2, Bytes::from_static(b"is anybody there?")).await {
        Err(error @ Error::Failed { .. }) => {
            output::line(&format!(
                "a block for client {UNKNOWN_CLIENT}, whom nobody has opened, is given up: {error}\n"
            ));
            Ok(())
        }
        Err(error) => Err(failure("engine 1")(error)),
        Ok(_) => Err(Failure::Protocol(
            "a block for nobody was acknowledged".into(),
        )),
    }
}

/// Sends a file, and compares what arrives.
async fn file(pair: &Pair, size: usize) -> Result<(), Failure> {
    let data = random_octets(size, 4);
    let from = pair.one.open(CLIENT).map_err(failure("engine 1"))?;
    let to = pair.two.open(CLIENT).map_err(failure("engine 2"))?;
    let bar = progress::bar(data.len() as u64, "acknowledged");
    let clock = Clock::new();
    let mut sending = from
        .start(2, data.clone(), Red::All)
        .await
        .map_err(failure("engine 1"))?;
    let acknowledged = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                outcome = sending.wait() => return outcome,
                _ = tick.tick() => if let Some(progress) = sending.progress() {
                    bar.set_position(progress.claimed);
                },
            }
        }
    };
    let (_, received) =
        tokio::try_join!(acknowledged, to.receive()).map_err(failure("the file"))?;
    let span = clock.now() - Instant::ZERO;
    bar.finish_and_clear();
    if received.data != data {
        return Err(Failure::Protocol("the file came over changed".into()));
    }
    let again = pair.one.stats().engine.octets_resent;
    let (mebibytes, speed) = (size >> 20, speed(size, span));
    output::line(&format!(
        "a file of {mebibytes} MiB went over unchanged as one block, {again} octets of it twice: {speed}"
    ));
    Ok(())
}

/// An engine that ignores one datagram.
struct LossyEngine {
    engine: Engine<NetPath>,
    heard: u64,
}

impl Machine for LossyEngine {
    type Addr = NetPath;
    type Command = Command<NetPath>;
    type Event = Event;
    type Error = ltp::Error;

    fn receive(&mut self, now: Instant, from: NetPath, octets: &[u8]) {
        self.heard += 1;
        if self.heard != LOST {
            self.engine.receive(now, from, octets);
        }
    }

    fn link(&mut self, now: Instant, at: NetPath, state: Link) {
        self.engine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command<NetPath>) -> Result<(), ltp::Error> {
        self.engine.command(now, command)
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<NetPath>) -> Output<NetPath, Event> {
        self.engine.poll(now, tx)
    }
}

impl AsMachine<Engine<NetPath>> for LossyEngine {
    fn as_machine(&self) -> &Engine<NetPath> {
        &self.engine
    }
}
