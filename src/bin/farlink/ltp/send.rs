//! `farlink ltp send`: sends files, each as one block.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::num::NonZeroU32;
use core::time::Duration;
use std::path::PathBuf;

use bytes::Bytes;
use farlink::adapters::tokio::ltp::{AccessPoint, Error, Node, Sending};
use farlink::ltp::{Peer, Reason, Red, SessionId, Side};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::ending::{Cancelled, PLAN_OVER, SHUTDOWN};
use super::flow_report::{FlowReport, level};
use super::interrupt::Interrupt;
use super::source::Source;
use super::target::{Target, is_port_closed};
use super::transfer::{BlockProgress, Transfer};
use super::{DEFAULT_LIMIT, id, within};
use crate::output::{self, OutputFormat};
use crate::{Failure, input};

/// Sends files, each as one block, and waits until all of their red parts are acknowledged.
///
/// A file is read when there is room for it: files under way have 1 GiB at most, and so has each.
///
/// Ctrl-C and SIGTERM cancel the blocks at both ends.
///
/// Exit status 1: this side or the peer cancelled a block. 2: wrong usage, or a file cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The files to send, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// The client service of the blocks
    #[arg(long, value_name = "N", value_parser = id)]
    client: u64,
    /// Send the last N octets of a block green, without repairs
    #[arg(long, value_name = "N", default_value_t = 0)]
    green: u64,
    /// The limit of octets sent and not reported. It requests reports before the end of a block, for which ION
    /// cancels the block. By default that of the receiver, if it is farlink and near
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window: Option<u64>,
    /// Request a report every N segments of the red part, beside that at its end. Reports show progress and begin
    /// repairs. ION cancels the block for any of them
    #[arg(long, value_name = "N")]
    checkpoint: Option<u32>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// Blocks under way at most.
const MAX_BLOCKS: usize = 256;
/// How often progress is checked.
const TICK: Duration = Duration::from_millis(100);
/// How long the node waits for the peer at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let sources = sources(arguments)?;
    let mut interrupt = Interrupt::new().await;
    let target = &arguments.target;
    let connected = target.connect(format, |peer| tune(arguments, peer));
    let mut connected = connected.await?;
    let node = connected.node.clone();
    // A node sends only from open services.
    let access_point = node.open(arguments.client).map_err(super::failure_of)?;
    let mut sender = Sender {
        arguments,
        format,
        node: &node,
        access_point,
        transfer: Transfer::new(format, target, &connected),
        address: connected.address,
        light: connected.light,
        flow: None,
        waiting: sources,
        reading: None,
        blocks: JoinSet::new(),
        cancel: watch::Sender::new(false),
        end: End::default(),
    };
    let result = sender.send_all(&mut interrupt, connected.plan_over()).await;
    let close_timeout = sender.end.close_timeout;
    drop(sender);
    node.shutdown(close_timeout).await;
    result
}

/// Looks at the files, before anything is sent.
fn sources(arguments: &Arguments) -> Result<VecDeque<Source>, Failure> {
    let files = &arguments.files;
    input::check_files_differ(files, &arguments.target.record)?;
    if files.iter().filter(|file| input::is_stdin(file)).count() > 1 {
        let message = "standard input can be sent only once";
        return Err(Failure::Usage(message.into()));
    }
    files
        .iter()
        .map(|file| Source::open(file, arguments.green))
        .collect()
}

fn tune(arguments: &Arguments, peer: Peer<SocketAddr>) -> Peer<SocketAddr> {
    Peer {
        checkpoint_every: arguments.checkpoint.and_then(NonZeroU32::new),
        ..within(peer, arguments.window)
    }
}

/// A block that is over.
struct Ended {
    outcome: Result<SessionId, Error>,
    name: String,
    len: u64,
    seconds: f64,
}

/// The name and the octets of a file that is being read, in a thread of its own: nothing ends a read of
/// standard input.
type Reading = oneshot::Receiver<Result<(String, Bytes), Failure>>;

/// How the command ends.
#[derive(Default)]
struct End {
    /// How many blocks failed.
    failed: usize,
    /// How many files were not sent.
    unsent: usize,
    /// Why this command ended its blocks, if it did.
    own_cause: Option<&'static str>,
    /// How long to wait for the peer.
    close_timeout: Duration,
}

/// Sends blocks and reports how they end.
struct Sender<'a> {
    arguments: &'a Arguments,
    format: OutputFormat,
    node: &'a Node,
    access_point: AccessPoint,
    address: SocketAddr,
    /// Light times to the peer and back.
    light: Duration,
    transfer: Transfer,
    /// The flow from the first block on, if it is left to the engine.
    flow: Option<FlowReport>,
    waiting: VecDeque<Source>,
    /// The file that is being read.
    reading: Option<Reading>,
    blocks: JoinSet<Ended>,
    /// Tells all blocks to be cancelled.
    cancel: watch::Sender<bool>,
    end: End,
}

impl Sender<'_> {
    async fn send_all(
        &mut self,
        interrupt: &mut Interrupt,
        plan_over: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let mut tick = tokio::time::interval(TICK);
        let mut plan_over = core::pin::pin!(plan_over);
        let mut port_check = core::pin::pin!(is_port_closed(self.address));
        let mut is_port_checked = false;
        loop {
            if self.reading.is_none() {
                self.reading = self
                    .next_source()
                    .map(|source| read(source, self.arguments.green));
            }
            let has_ended = self.end.own_cause.is_some();
            tokio::select! {
                file = has_read(&mut self.reading) => {
                    self.reading = None;
                    let (name, data) = file?;
                    self.start(name, data).await?;
                }
                Some(ended) = self.blocks.join_next() => {
                    let ended = ended.map_err(Failure::protocol)?;
                    self.report(ended)?;
                    self.transfer.on_reported();
                }
                _ = tick.tick() => self.check(),
                is_closed = &mut port_check, if !is_port_checked && self.transfer.is_quiet() => {
                    is_port_checked = true;
                    if is_closed {
                        self.report_closed_port();
                    }
                }
                () = interrupt.wait(), if !has_ended => self.cancel(SHUTDOWN),
                () = &mut plan_over, if !has_ended => self.cancel(PLAN_OVER),
            }
            if self.blocks.is_empty() && self.waiting.is_empty() && self.reading.is_none() {
                break;
            }
        }
        if self.end.unsent > 0 {
            let message = format!("files that were not sent: {}", self.end.unsent);
            return Err(Failure::Protocol(message));
        }
        if self.end.failed > 0 {
            return Err(Failure::Reported);
        }
        Ok(())
    }

    fn check(&mut self) {
        self.transfer.check(&self.node.stats());
        if let Some(flow) = &mut self.flow {
            flow.check(self.node);
        }
    }

    /// Returns the next file to send, if there is room for it.
    fn next_source(&mut self) -> Option<Source> {
        let held = self.transfer.held();
        let limit = DEFAULT_LIMIT as u64;
        let fits = |source: &Source| held == 0 || held + source.max_len() <= limit;
        let has_room = self.blocks.len() < MAX_BLOCKS && self.waiting.front().is_some_and(fits);
        has_room.then(|| self.waiting.pop_front()).flatten()
    }

    async fn start(&mut self, name: String, data: Bytes) -> Result<(), Failure> {
        let (len, green) = (data.len() as u64, self.arguments.green);
        let red = len - green;
        let Arguments { target, client, .. } = self.arguments;
        let (to, address) = (target.to.engine, self.address);
        let local = self.node.local_addr();
        self.format.report(
            || format!("{len} octets to engine {to} at {address} for client {client}, {red} of them red"),
            || {
                json!({
                    "event": "sending",
                    "address": local.to_string(),
                    "to": to,
                    "at": address.to_string(),
                    "client": client,
                    "octets": len,
                    "red": red,
                    "green": green,
                    "file": name,
                })
            },
        );
        let is_given = target.rate.or(self.arguments.window).is_some()
            || target.peer_options.contacts.is_some();
        if !is_given && self.flow.is_none() {
            self.flow = Some(FlowReport::begin(self.format, self.node, to, self.light));
        }
        let started = self.access_point.start(to, data, Red::Octets(red)).await;
        let sending = started.map_err(super::failure_of)?;
        let progress = self.transfer.begin(red, len);
        let block = watch_block(sending, progress, self.cancel.subscribe());
        let begun = tokio::time::Instant::now();
        self.blocks.spawn(async move {
            Ended {
                outcome: block.await,
                name,
                len,
                seconds: begun.elapsed().as_secs_f64(),
            }
        });
        Ok(())
    }

    fn cancel(&mut self, cause: &'static str) {
        self.end.own_cause = Some(cause);
        self.end.unsent = self.waiting.len() + usize::from(self.reading.is_some());
        self.waiting.clear();
        self.reading = None;
        self.cancel.send_replace(true);
    }

    fn report_closed_port(&self) {
        let (address, peer) = (self.address, self.arguments.target.to.engine);
        self.format.report_failure(
            || format!("nobody listens at {address}: its host says that no program has the port"),
            || json!({ "event": "unreachable", "peer": peer, "at": address.to_string() }),
        );
    }

    fn report(&mut self, ended: Ended) -> Result<(), Failure> {
        let Ended {
            outcome,
            name,
            len,
            seconds,
        } = ended;
        let session = match outcome {
            Ok(session) => session,
            Err(error) => return self.report_error(&error),
        };
        self.end.close_timeout = CLOSE_TIMEOUT;
        self.check();
        let resent = self.transfer.resent(&self.node.stats());
        let flow = self.flow.as_ref().map(|flow| flow.last(self.node));
        let last = flow.as_ref().map_or(String::new(), |flow| {
            format!(", at the end with {}", level(flow))
        });
        // More than a bad line loses by itself: a queue or a buffer on the way overflowed.
        let advice = if flow.is_some() && resent > len / 3 {
            "; --rate with the rate of the line would avoid most of them"
        } else {
            ""
        };
        self.format.report(
            || format!("block {session} of {len} octets is complete after {seconds:.2} s, {resent} octets were sent again{last}{advice}"),
            || {
                json!({
                    "event": "complete",
                    "session": session.number,
                    "octets": len,
                    "seconds": seconds,
                    "resent": resent,
                    "rate": flow.and_then(|flow| flow.octets_per_second),
                    "window": flow.and_then(|flow| flow.window),
                    "file": name,
                })
            },
        );
        Ok(())
    }

    fn report_error(&mut self, error: &Error) -> Result<(), Failure> {
        let Error::Failed {
            session,
            peer,
            by,
            reason,
            cause,
            ..
        } = *error
        else {
            return Err(Failure::protocol(error));
        };
        self.end.failed += 1;
        // A peer that is silent gets one cancel segment.
        if (by, reason) != (Side::Local, Reason::RETRANSMISSION_LIMIT) {
            self.end.close_timeout = CLOSE_TIMEOUT;
        }
        let cancelled = Cancelled {
            session,
            peer,
            by,
            reason,
            cause,
            own_cause: self.end.own_cause,
        };
        let meaning = match by {
            Side::Local => "",
            Side::Remote => cancelled.meaning(),
        };
        let text = || {
            let claims = self.transfer.remarks();
            let silence = match by {
                Side::Local => self.transfer.silence_remark(),
                Side::Remote => String::new(),
            };
            let rest = format!("{claims}{silence}");
            match (by, self.end.own_cause) {
                (Side::Local, Some(cause)) => {
                    let why = match cause {
                        PLAN_OVER => ": the contact plan is over",
                        _ => " by Ctrl-C or SIGTERM",
                    };
                    format!("block {session} to engine {peer} was cancelled{why}{rest}")
                }
                _ => format!("{error}{meaning}{rest}"),
            }
        };
        self.format.report_failure(text, || cancelled.object());
        if output::is_stdout_closed() {
            return Err(Failure::Reported);
        }
        Ok(())
    }
}

/// Begins to read a file.
fn read(source: Source, green: u64) -> Reading {
    let (done, reading) = oneshot::channel();
    std::thread::spawn(move || {
        let read = source.read(green).map(|data| (source.name, data));
        // Nobody waits for it when the command was interrupted.
        drop(done.send(read));
    });
    reading
}

/// Waits until a file was read.
async fn has_read(reading: &mut Option<Reading>) -> Result<(String, Bytes), Failure> {
    match reading {
        Some(reading) => reading.await.map_err(Failure::protocol)?,
        None => core::future::pending().await,
    }
}

/// Waits for the end of a block.
async fn watch_block(
    mut sending: Sending,
    progress: Arc<BlockProgress>,
    mut cancel: watch::Receiver<bool>,
) -> Result<SessionId, Error> {
    let mut tick = tokio::time::interval(TICK);
    let mut is_cancelled = false;
    let outcome = loop {
        tokio::select! {
            outcome = sending.wait() => break outcome,
            _ = tick.tick() => progress.set(sending.progress()),
            _ = cancel.wait_for(|cancelled| *cancelled), if !is_cancelled => {
                is_cancelled = true;
                sending.cancel();
            }
        }
    };
    progress.end(outcome.is_ok());
    outcome
}
