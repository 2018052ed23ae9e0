//! `farlink ltp recv`: receives blocks and stores them in files.

use alloc::collections::BTreeSet;
use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use farlink::Seed;
use farlink::adapters::tokio::ltp::{AccessPoint, Error, Node, NodeStats, Received, ReceivedKind};
use farlink::ltp::{Config, EndCause, Engine, Reason, SessionId, Side};
use indicatif::DecimalBytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::block_store::{BlockStore, Color, Fragment, Output, StoreError, StoredBlock};
use super::ending::{Cancelled, SHUTDOWN};
use super::interrupt::Interrupt;
use super::part_file::{check_directory, sync_directory};
use super::peer_addr::{PeerAddr, local, peer_addr};
use super::status::{Silence, StatusLine, span};
use super::{DEFAULT_LIMIT, PeerOptions, Role, block_limit, factory, id};
use crate::Failure;
use crate::output::{self, OutputFormat};

/// Receives blocks for a client service, and writes each to a file of its own.
///
/// The name of a file has the client service, the engine and the session of its block. A file gets its name
/// when it is complete; before, it begins with a dot and ends with .part. Green octets that did not arrive are
/// holes, and the name ends with .incomplete. With --out - blocks go to standard output and events to standard
/// error.
///
/// With --out DIR octets are written as they come, and a red part is acknowledged when all of it is written. A
/// block that cannot be written is refused before, with a message that names it, and the others go on. Of green
/// octets no acknowledgment tells. Files that a killed process has left are named at the start, and stay.
///
/// Ctrl-C and SIGTERM cancel the sessions under way, and so does the end of whoever reads standard output. What
/// has come of their blocks stays in files that end with .incomplete. A block that its sender cancels or does
/// not end leaves only its green octets, or its red part if that came whole.
///
/// Exit status 1: the address cannot be bound, a file or standard output cannot be written, or with --once
/// there was no block. 2: wrong usage, or files cannot be made in the directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The IP address and port to receive on, port 1113 by default. [::] takes IPv4 and IPv6
    #[arg(long, value_name = "ADDR", value_parser = local)]
    bind: SocketAddr,
    /// The ID of this engine
    #[arg(long, value_name = "N", value_parser = id)]
    engine: u64,
    /// Receive from this engine at this host, and answer at this port; may be repeated. Without it, from up to 1024 unknown
    /// engines, which together take twice --limit and 1 MiB of memory at most. Blocks of an unknown engine
    /// are given up 30 s after they began, until it has acknowledged a report: beyond a light time of 10 s
    /// name the engines
    #[arg(long = "peer", value_name = "N=ADDR", value_parser = peer_addr)]
    peers: Vec<PeerAddr>,
    /// The client service to receive for
    #[arg(long, value_name = "N", value_parser = id)]
    client: u64,
    /// Write blocks into this directory, or to standard output for -
    #[arg(long, value_name = "DIR|-")]
    out: Option<PathBuf>,
    /// Acknowledge a red part only when its file is on the disk, and survives a loss of power
    #[arg(long, requires = "out")]
    durable: bool,
    /// End after the first block
    #[arg(long)]
    once: bool,
    /// Octets of the longest block, holes included, and octets that have arrived of all incomplete blocks
    /// together, which are 16384 at most. With --out DIR red parts under way may take four times that, and so may files of
    /// incomplete blocks without a red part, which are 16384 at most
    #[arg(long, value_name = "N", value_parser = block_limit, default_value_t = DEFAULT_LIMIT)]
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
/// Incomplete blocks that are stored at once, so that the node is served in between.
const MAX_STORED: usize = 256;
/// Items of the access point that are handled before the red parts among them are synchronised.
const MAX_ITEMS: usize = 1024;
/// Failures that are reported in each tick. Forgers can cause any number.
const MAX_REPORTS: u32 = 25;
/// How long a node waits for its peers at the end, beside the round trip.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (format, out) = outputs(arguments);
    let mut receiver = BlockReceiver::new(arguments, format, out)?;
    let (node, mut followed) = start(arguments, format).await?;
    let access_point = node
        .open_with(arguments.client, receiver.store.service())
        .map_err(super::failure_of)?;
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
    receiver.is_interrupted = interrupt.is_set();
    followed.abort_all();
    // The sender of the last block waits for its report.
    let close_timeout = if interrupt.is_set() || ended.is_err() {
        Duration::ZERO
    } else {
        CLOSE_TIMEOUT + 4 * arguments.peer_options.round_trip()
    };
    let closed = if ended.is_ok() {
        let closing = receiver.close(&node, &access_point, close_timeout);
        tokio::select! {
            closed = closing => closed,
            () = interrupt.wait() => Ok(()),
        }
    } else {
        Ok(())
    };
    node.shutdown(Duration::ZERO).await;
    receiver.is_interrupted = interrupt.is_set();
    let rest = receiver.take_rest(&access_point).await;
    if ended.and_then(|is_success| closed.and(rest).map(|()| is_success))? {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

fn outputs(arguments: &Arguments) -> (OutputFormat, Output) {
    let format = OutputFormat::of(arguments.json);
    let (format, out) = match &arguments.out {
        None => (format, Output::Nowhere),
        Some(out) if out.as_os_str() == "-" => (format.on_stderr(), Output::Stdout),
        Some(out) => (format, Output::Directory(out.clone())),
    };
    (format.with_failures(), out)
}

/// Starts the node, and tasks that follow the contact plan.
async fn start(
    arguments: &Arguments,
    format: OutputFormat,
) -> Result<(Node, JoinSet<()>), Failure> {
    let limit = arguments.limit;
    let most = limit.saturating_mul(2).saturating_add(SESSION_OVERHEAD);
    if arguments.peer_options.contacts.is_some() && arguments.peers.is_empty() {
        let message = "--contacts needs --peer, since a plan tells of known engines";
        return Err(Failure::Usage(message.into()));
    }
    let parameters = arguments.peer_options.load()?;
    let peer = || {
        let mut peer = parameters.peer(());
        peer.limits.session_octets = limit;
        peer.limits.import_octets = most;
        peer
    };
    let template = arguments.peers.is_empty().then(peer);
    let mut config = Config::engine(arguments.engine);
    config.limits.import_octets = most;
    // Without `--peer` everybody is a stranger, and `--limit` says what is taken.
    config.limits.stranger_octets = most;
    // With invalid parameters, unknown engines would be rejected one by one, in silence.
    Engine::new(config.clone(), Seed::from(0))
        .map_err(|error| Failure::Usage(error.to_string()))?
        .accept_unknown_peers(farlink::Instant::ZERO, template.clone(), 1)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let mut found = Vec::new();
    for peer in &arguments.peers {
        if peer.engine == arguments.engine {
            let engine = peer.engine;
            return Err(Failure::Usage(format!(
                "--peer {engine}: this engine has ID {engine}"
            )));
        }
        found.push((peer.engine, peer.resolve(Some(arguments.bind)).await?));
    }
    let factory = factory(
        arguments.record.as_deref(),
        Role::Receiver(template.map(Box::new)),
        format,
    )?;
    let node = super::bind(arguments.bind, config, factory)?;
    let mut followed = JoinSet::new();
    for (engine, address) in found {
        let fault = |error| Failure::Usage(format!("engine {engine} at {address}: {error}"));
        let peer = peer().map_address(|()| address);
        let contacts = parameters.contacts(format, arguments.engine, (engine, &peer))?;
        node.add_peer(engine, peer).map_err(fault)?;
        if let Some(mut contacts) = contacts {
            contacts.begin(&node).map_err(fault)?;
            followed.spawn(contacts.follow(node.clone()));
        }
    }
    Ok((node, followed))
}

/// Receives and stores blocks.
struct BlockReceiver {
    format: OutputFormat,
    store: BlockStore,
    once: bool,
    is_interrupted: bool,
    /// Sessions that were refused and whose end has not come.
    refused: BTreeSet<SessionId>,
    status: StatusLine,
    /// Blocks that were stored.
    stored: u64,
    /// Failures that may be reported before the next tick, and those that were not.
    reports: (u32, u64),
    silence: Silence,
}

impl BlockReceiver {
    fn new(arguments: &Arguments, format: OutputFormat, out: Output) -> Result<Self, Failure> {
        if arguments.durable && matches!(out, Output::Stdout) {
            let message = "--durable needs --out with a directory: standard output is no disk";
            return Err(Failure::Usage(message.into()));
        }
        if let Output::Directory(directory) = &out {
            let left = check_directory(directory)
                .map_err(|error| Failure::Usage(format!("{}: {error}", directory.display())))?;
            for (path, octets) in left {
                let file = path.display().to_string();
                format.report_failure(
                    || format!("{file}: {octets} octets of a block that another process has not finished"),
                    || json!({ "event": "unfinished", "file": file, "octets": octets }),
                );
            }
        }
        let limit = u64::try_from(arguments.limit).unwrap_or(u64::MAX);
        let max_wait = arguments.peer_options.round_trip();
        Ok(Self {
            format,
            store: BlockStore::new(out, limit, max_wait, arguments.durable),
            once: arguments.once,
            is_interrupted: false,
            refused: BTreeSet::new(),
            status: StatusLine::new(format),
            stored: 0,
            reports: (MAX_REPORTS, 0),
            silence: Silence::new(2 * arguments.peer_options.owlt),
        })
    }

    /// Receives blocks until the first one, with --once, or until the command is interrupted. Returns
    /// whether that is a success.
    async fn serve(
        &mut self,
        node: &Node,
        access_point: &AccessPoint,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Failure> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            let ended = tokio::select! {
                received = access_point.receive() => {
                    let received = received.map_err(|error| failure(&error))?;
                    self.received_batch(received, access_point)?
                }
                _ = tick.tick() => self.check(&node.stats(), access_point)?,
                () = interrupt.wait() => return Ok(!self.once),
            };
            if let Some(is_success) = ended.filter(|_| self.once) {
                return Ok(is_success);
            }
            if output::is_stdout_closed() {
                // Blocks that nobody is told of are not to be acknowledged.
                let message = "nobody reads standard output any more, so nothing more is received";
                return Err(Failure::Protocol(message.into()));
            }
        }
    }

    /// Ends the node once all sessions are over, and receives what is under way.
    async fn close(
        &mut self,
        node: &Node,
        access_point: &AccessPoint,
        limit: Duration,
    ) -> Result<(), Failure> {
        let mut closing = core::pin::pin!(node.shutdown(limit));
        loop {
            tokio::select! {
                () = &mut closing => return Ok(()),
                Ok(received) = access_point.receive() => {
                    self.received_batch(received, access_point)?;
                }
            }
        }
    }

    /// Stores the blocks that arrived while the node was shut down. Unless they are received into files, they were
    /// acknowledged, so their senders have released them.
    async fn take_rest(&mut self, access_point: &AccessPoint) -> Result<(), Failure> {
        let directory = self.store.end_acknowledgments();
        while let Ok(Ok(received)) = timeout(Duration::ZERO, access_point.receive()).await {
            self.reports.0 = MAX_REPORTS;
            self.received(received, None)?;
        }
        while let Some(session) = self.store.first() {
            self.reports.0 = MAX_REPORTS;
            self.store_block(session)?;
        }
        if let Some(directory) = directory {
            // Red parts that were acknowledged may have got their names here.
            let name = directory.display();
            sync_directory(&directory)
                .map_err(|error| Failure::Protocol(format!("{name}: {error}")))?;
        }
        Ok(())
    }

    /// Handles one item of the access point, and with `--durable` those that have come meanwhile, so that their red parts
    /// are synchronised and acknowledged together.
    fn received_batch(
        &mut self,
        first: Received,
        access_point: &AccessPoint,
    ) -> Result<Option<bool>, Failure> {
        let mut ended = self.received(first, Some(access_point))?;
        for _ in 0..MAX_ITEMS {
            if ended.is_some() || !self.store.awaits_more() {
                break;
            }
            let Ok(Some(next)) = access_point.try_receive() else {
                break;
            };
            ended = self.received(next, Some(access_point))?;
        }
        for (session, outcome) in self.store.commit() {
            let block = match outcome {
                Ok(block) => {
                    let _ = access_point.stored(session);
                    self.report(block)
                }
                Err(error) => {
                    let is_refused = self.refuse(session, access_point);
                    self.not_stored(session, &error, is_refused)?
                }
            };
            ended = block.or(ended);
        }
        Ok(ended)
    }

    /// Handles one item of the access point. Returns whether its block was received, if the block is over.
    fn received(
        &mut self,
        received: Received,
        access_point: Option<&AccessPoint>,
    ) -> Result<Option<bool>, Failure> {
        let Received {
            session, client, ..
        } = received;
        let is_refused = self.refused.contains(&session);
        let (color, offset, is_last) = match received.kind {
            ReceivedKind::Whole { ends_block } => (Color::Red, 0, ends_block),
            ReceivedKind::Segment { offset } => (Color::RedRun, offset, false),
            ReceivedKind::RedPart { len, ends_block } => (Color::Red, len, ends_block),
            ReceivedKind::Green { offset, ends_block } => (Color::Green, offset, ends_block),
            ReceivedKind::Cancelled {
                by,
                reason,
                cause,
                after_delivery,
            } => return self.cancelled(session, (by, reason, cause), after_delivery),
            _ => return Ok(None),
        };
        if is_refused {
            return Ok(None);
        }
        let fragment = Fragment {
            session,
            client,
            color,
            offset,
            data: received.data,
            is_last,
        };
        match self.store.insert(fragment, Instant::now()) {
            Ok(block) => {
                let is_stored = matches!(received.kind, ReceivedKind::RedPart { .. })
                    && !self.store.is_uncommitted(session);
                if let Some(access_point) = access_point.filter(|_| is_stored) {
                    // Of a session that its sender has cancelled meanwhile the end is told next.
                    let _ = access_point.stored(session);
                }
                Ok(self.report(block))
            }
            Err(error) => {
                let is_refused = access_point.is_some_and(|one| self.refuse(session, one));
                self.not_stored(session, &error, is_refused)
            }
        }
    }

    /// Refuses a block, unless its session is over.
    fn refuse(&mut self, session: SessionId, access_point: &AccessPoint) -> bool {
        let is_refused = access_point.refuse(session).is_ok();
        if is_refused {
            self.refused.insert(session);
        }
        is_refused
    }

    fn cancelled(
        &mut self,
        session: SessionId,
        (by, reason, cause): (Side, Reason, EndCause),
        after_delivery: bool,
    ) -> Result<Option<bool>, Failure> {
        if self.refused.remove(&session) {
            return Ok(None);
        }
        // A block of which only the end is missing was received.
        let is_unended = after_delivery || self.store.is_green(session);
        if by == Side::Local && matches!(cause, EndCause::PeerSilent(_)) && is_unended {
            return self.store_block(session);
        }
        let rest = if after_delivery {
            ", its red part had come before"
        } else {
            ""
        };
        let cancelled = Cancelled {
            session,
            peer: session.originator,
            by,
            reason,
            cause,
            own_cause: self.is_interrupted.then_some(SHUTDOWN),
        };
        let text = || format!("{}{rest}", cancelled.text());
        self.report_failure(text, || cancelled.object());
        if self.store.is_under_way(session) && cause != EndCause::Application {
            self.store.drop_block(session);
        }
        // Green segments that arrived are stored.
        self.store_block(session)?;
        Ok(Some(after_delivery))
    }

    fn check(
        &mut self,
        stats: &NodeStats,
        access_point: &AccessPoint,
    ) -> Result<Option<bool>, Failure> {
        let (_, more) = core::mem::replace(&mut self.reports, (MAX_REPORTS, 0));
        if more > 0 {
            self.report_failure(
                || format!("further blocks that failed: {more}"),
                || json!({ "event": "more_failed", "count": more }),
            );
        }
        self.show_status(stats);
        let mut ended = None;
        while let Some((session, error)) = self.store.drop_excess() {
            let is_refused = self.refuse(session, access_point);
            ended = self.not_stored(session, &error, is_refused)?;
        }
        for _ in 0..MAX_STORED {
            let Some(session) = self.store.due(Instant::now(), stats.imports) else {
                break;
            };
            ended = self.store_block(session)?.or(ended);
        }
        Ok(ended)
    }

    fn show_status(&mut self, stats: &NodeStats) {
        let imports = stats.imports;
        let heard = stats.engine.segments_received;
        if let Some(silence) = self.silence.check(heard, imports > 0) {
            let seconds = silence.as_secs();
            self.format.report_failure(
                || {
                    format!(
                        "nothing heard for {}, blocks under way: {imports}",
                        span(silence)
                    )
                },
                || json!({ "event": "silent", "seconds": seconds }),
            );
        }
        if imports == 0 {
            self.status.rest();
        }
        let (red, green) = (stats.engine.red_octets, stats.engine.green_octets);
        let stored = self.stored;
        if self.format.is_json() && self.status.is_due() {
            self.format.report(
                String::new,
                || json!({ "event": "receiving", "blocks": imports, "red": red, "green": green }),
            );
        }
        self.status.show(|| {
            let octets = DecimalBytes(red + green);
            format!("blocks under way: {imports}, stored: {stored}, received: {octets}")
        });
    }

    fn store_block(&mut self, session: SessionId) -> Result<Option<bool>, Failure> {
        match self.store.store(session) {
            Ok(block) => Ok(self.report(block)),
            Err(error) => self.not_stored(session, &error, false),
        }
    }

    /// Reports a block that was refused, or lost. The next may fit.
    fn not_stored(
        &mut self,
        session: SessionId,
        error: &StoreError,
        is_refused: bool,
    ) -> Result<Option<bool>, Failure> {
        if matches!(error, StoreError::Stdout(_)) {
            return Err(Failure::Protocol(error.to_string()));
        }
        let cause = match error {
            StoreError::File(..) => {
                output::set_write_error();
                "not_stored"
            }
            _ => "limit_exceeded",
        };
        let peer = session.originator;
        let end = if is_refused { "refused" } else { "lost" };
        let (limit, value) = error.exceeded();
        self.report_failure(
            || format!("block {session} from engine {peer} is {end}: {error}"),
            || {
                json!({
                    "event": "failed",
                    "session": session.number,
                    "peer": peer,
                    "by": "local",
                    "cause": cause,
                    "code": null,
                    "reason": error.to_string(),
                    "exceeded": limit.map(|(name, _)| name),
                    "limit": limit.map(|(_, limit)| limit),
                    "value": value,
                })
            },
        );
        Ok(Some(false))
    }

    fn report_failure(&mut self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        if let Some(left) = self.reports.0.checked_sub(1) {
            self.reports.0 = left;
            self.format.report_failure(text, object);
        } else {
            self.reports.1 += 1;
        }
    }

    fn report(&mut self, block: Option<StoredBlock>) -> Option<bool> {
        let block = block?;
        self.stored += 1;
        self.format.report(|| text(&block), || object(&block));
        Some(true)
    }
}

fn failure(error: &Error) -> Failure {
    Failure::Protocol(error.to_string())
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
