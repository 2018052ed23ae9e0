//! `farlink ltp recv`: receives blocks and stores them in files.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use farlink::Seed;
use farlink::adapters::tokio::ltp::{AccessPoint, Error, Node, Received, ReceivedKind};
use farlink::ltp::{Config, Engine, Peer, Reason, SessionId, Side};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::block_store::{BlockStore, Color, Fragment, Output, StoredBlock};
use super::interrupt::Interrupt;
use super::peer_addr::{PeerAddr, local, peer_addr};
use super::{DEFAULT_LIMIT, PeerOptions, factory, id};
use crate::Failure;
use crate::output::OutputFormat;

/// Receives blocks for a client service, and writes each to a file of its own.
///
/// The name of a file has the client service, the engine and the session of its block. A file gets its name
/// when it is complete. Green octets that did not arrive are zeros, and the name ends with .incomplete.
/// With --out - blocks go to standard output and events to standard error.
///
/// Ctrl-C and SIGTERM cancel the sessions under way. Blocks whose red part has arrived are stored.
///
/// Exit status 1: the address cannot be bound, a file cannot be written, or with --once there was no block.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The IP address and port to receive on, port 1113 by default
    #[arg(long, value_name = "ADDR", value_parser = local)]
    bind: SocketAddr,
    /// The ID of this engine
    #[arg(long, value_name = "N", value_parser = id)]
    engine: u64,
    /// Receive from this engine at this address; may be repeated. Without it, from up to 1024 unknown
    /// engines
    #[arg(long = "peer", value_name = "N=ADDR", value_parser = peer_addr)]
    peers: Vec<PeerAddr>,
    /// The client service to receive for
    #[arg(long, value_name = "N", value_parser = id)]
    client: u64,
    /// Write blocks into this directory, or to standard output for -
    #[arg(long, value_name = "DIR|-")]
    out: Option<PathBuf>,
    /// End after the first block
    #[arg(long)]
    once: bool,
    /// Octets of the longest block, and of all incomplete blocks together
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    limit: usize,
    #[command(flatten)]
    peer_options: PeerOptions,
    /// Record the node into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// Octets of memory for the state of sessions, beside their blocks.
const SESSION_OVERHEAD: usize = 1 << 20;
/// How often incomplete blocks are checked.
const TICK: Duration = Duration::from_millis(250);
/// How long a node waits for its peers at the end, beside the round trip.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (format, out) = outputs(arguments);
    let mut receiver = BlockReceiver {
        format,
        store: BlockStore::new(out, arguments.limit, arguments.peer_options.round_trip())
            .map_err(|error| written(&error, arguments))?,
        once: arguments.once,
    };
    let node = start(arguments, format).await?;
    let access_point = node
        .open(arguments.client)
        .map_err(|error| super::failure_of(&error))?;
    let address = node.local_addr();
    let mut interrupt = Interrupt::new().await;
    format.report(
        || {
            format!(
                "engine {} receives for client {} on {address}",
                arguments.engine, arguments.client
            )
        },
        || {
            json!({
                "event": "listening",
                "address": address.to_string(),
                "engine": arguments.engine,
                "client": arguments.client,
            })
        },
    );
    let ended = receiver.serve(&node, &access_point, &mut interrupt).await;
    // The sender of the last block waits for its report.
    let close_timeout = if interrupt.is_set() {
        Duration::ZERO
    } else {
        CLOSE_TIMEOUT + 4 * arguments.peer_options.round_trip()
    };
    tokio::select! {
        () = node.shutdown(close_timeout) => {}
        () = interrupt.wait() => node.shutdown(Duration::ZERO).await,
    }
    let ended = match ended {
        Ok(is_success) => receiver.take_rest(&access_point).await.map(|()| is_success),
        Err(error) => Err(error),
    };
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Reported),
        Err(Error::Io(error)) => Err(written(&error, arguments)),
        Err(error) => Err(Failure::Protocol(error.to_string())),
    }
}

fn outputs(arguments: &Arguments) -> (OutputFormat, Output) {
    let format = OutputFormat::of(arguments.json);
    match &arguments.out {
        None => (format, Output::Nowhere),
        Some(out) if out.as_os_str() == "-" => (format.on_stderr(), Output::Stdout),
        Some(out) => (format, Output::Directory(out.clone())),
    }
}

fn written(error: &std::io::Error, arguments: &Arguments) -> Failure {
    let out = arguments.out.as_deref().unwrap_or("-".as_ref());
    Failure::Protocol(format!("{}: {error}", out.display()))
}

async fn start(arguments: &Arguments, format: OutputFormat) -> Result<Node, Failure> {
    let limit = arguments.limit;
    let most = limit.saturating_mul(2).saturating_add(SESSION_OVERHEAD);
    let peer = || Peer {
        session_octets: limit,
        import_octets: most,
        ..arguments.peer_options.peer(())
    };
    let template = arguments.peers.is_empty().then(peer);
    let config = Config {
        import_octets: most,
        ..Config::engine(arguments.engine)
    };
    // With invalid parameters, unknown engines would be rejected one by one, in silence.
    Engine::new(config.clone(), Seed::from(0))
        .map_err(|error| Failure::Usage(error.to_string()))?
        .accept_unknown_peers(farlink::Instant::ZERO, template.clone(), 1)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let factory = factory(arguments.record.as_deref(), template, format)?;
    let mut found = Vec::new();
    for peer in &arguments.peers {
        found.push((peer.engine, peer.resolve(Some(arguments.bind)).await?));
    }
    let node = super::bind(arguments.bind, config, factory)?;
    for (engine, address) in found {
        node.add_peer(engine, peer().map_address(|()| address))
            .map_err(|error| Failure::Usage(format!("engine {engine} at {address}: {error}")))?;
    }
    Ok(node)
}

/// Receives and stores blocks.
struct BlockReceiver {
    format: OutputFormat,
    store: BlockStore,
    once: bool,
}

impl BlockReceiver {
    /// Receives blocks until the first one, with --once, or until the command is interrupted. Returns
    /// whether that is a success.
    async fn serve(
        &mut self,
        node: &Node,
        access_point: &AccessPoint,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Error> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            let ended = tokio::select! {
                received = access_point.receive() => self.received(received?)?,
                _ = tick.tick() => self.check(node.stats().imports)?,
                () = interrupt.wait() => return Ok(!self.once),
            };
            if let Some(is_success) = ended.filter(|_| self.once) {
                return Ok(is_success);
            }
        }
    }

    /// Stores the blocks that arrived while the node was shut down. They were acknowledged, so their
    /// senders have released them.
    async fn take_rest(&mut self, access_point: &AccessPoint) -> Result<(), Error> {
        while let Ok(Ok(received)) = timeout(Duration::ZERO, access_point.receive()).await {
            self.received(received)?;
        }
        while let Some(session) = self.store.first() {
            self.store_block(session)?;
        }
        Ok(())
    }

    /// Handles one item of the access point. Returns whether its block was received, if the block is over.
    fn received(&mut self, received: Received) -> std::io::Result<Option<bool>> {
        let (color, is_last) = match received.kind {
            ReceivedKind::Whole { ends_block } => (Color::Red, ends_block),
            ReceivedKind::Green { offset, ends_block } => (Color::Green(offset), ends_block),
            ReceivedKind::Cancelled {
                by,
                reason,
                after_delivery,
            } => return self.cancelled(received.session, by, reason, after_delivery),
            _ => return Ok(None),
        };
        let fragment = Fragment {
            session: received.session,
            client: received.client,
            color,
            data: received.data,
            is_last,
        };
        let block = self.store.insert(fragment, Instant::now())?;
        Ok(self.report(block))
    }

    fn cancelled(
        &mut self,
        session: SessionId,
        by: Side,
        reason: Reason,
        after_delivery: bool,
    ) -> std::io::Result<Option<bool>> {
        // A block of which only the end is missing was received.
        let is_unended = after_delivery || self.store.is_green(session);
        if by == Side::Local && reason == Reason::SYSTEM && is_unended {
            return self.store_block(session);
        }
        let who = match by {
            Side::Local => "this engine".into(),
            Side::Remote => format!("engine {}", session.originator),
        };
        let rest = if after_delivery {
            ", its red part had come before"
        } else {
            ""
        };
        self.format.report_failure(
            || format!("{who} cancelled block {session}: {reason}{rest}"),
            || failed(session, by, reason),
        );
        // Green segments that arrived are stored.
        self.store_block(session)?;
        Ok(Some(after_delivery))
    }

    fn check(&mut self, imports: usize) -> std::io::Result<Option<bool>> {
        match self.store.due(Instant::now(), imports) {
            Some(session) => self.store_block(session),
            None => Ok(None),
        }
    }

    fn store_block(&mut self, session: SessionId) -> std::io::Result<Option<bool>> {
        let block = self.store.store(session)?;
        Ok(self.report(block))
    }

    fn report(&self, block: Option<StoredBlock>) -> Option<bool> {
        let block = block?;
        self.format.report(|| text(&block), || object(&block));
        Some(true)
    }
}

fn text(block: &StoredBlock) -> String {
    let StoredBlock {
        session,
        client,
        red,
        green,
        ..
    } = block;
    let mut text = format!(
        "block {session} from engine {} for client {client}: {} octets",
        session.originator,
        red + green
    );
    // Writing to a string cannot fail.
    if *green > 0 {
        let _ = write!(text, ", {red} red and {green} green");
    }
    for gap in &block.missing {
        let _ = write!(text, ", without {gap:?}");
    }
    if !block.is_ended {
        text.push_str(", without its end");
    }
    if let Some(file) = &block.file {
        let _ = write!(text, ", in {}", file.display());
    }
    text
}

fn object(block: &StoredBlock) -> Value {
    let missing: Vec<[u64; 2]> = block
        .missing
        .iter()
        .map(|gap| [gap.start, gap.end])
        .collect();
    json!({
        "event": "received",
        "session": block.session.number,
        "from": block.session.originator,
        "client": block.client,
        "octets": block.red + block.green,
        "red": block.red,
        "green": block.green,
        "missing": missing,
        "ended": block.is_ended,
        "file": block.file.as_ref().map(|file| file.display().to_string()),
    })
}

/// Returns the event of a block that was cancelled.
pub(super) fn failed(session: SessionId, by: Side, reason: Reason) -> Value {
    json!({
        "event": "failed",
        "session": session.number,
        "by": match by {
            Side::Local => "local",
            Side::Remote => "remote",
        },
        "code": reason,
        "reason": reason.to_string(),
    })
}
