//! `farlink ltp send`: a file as one block.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;
use std::fs::File;
use std::io::Read;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use farlink::adapters::tokio::ltp::{Error, Node, Sending};
use farlink::ltp::{Config, Peer, Progress, Reason, Red, SessionId, Side};
use indicatif::ProgressBar;
use serde_json::json;

use super::interrupt::Interrupt;
use super::peer_addr::{PeerAddr, local, peer_addr};
use super::{DEFAULT_LIMIT, PeerOptions, factory, id, recv};
use crate::output::OutputFormat;
use crate::{Failure, progress};

/// Sends a file as one block, and waits until all of its red part is acknowledged.
///
/// Ctrl-C and SIGTERM cancel the block, and tell the peer.
///
/// Exit status 1: the block was given up, by this side or by the peer, or cancelled.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to send, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The ID of this engine
    #[arg(long, value_name = "N", value_parser = id)]
    engine: u64,
    /// The engine to send to, and its address; its port is 1113 where none is said
    #[arg(long, value_name = "N=ADDR", value_parser = peer_addr)]
    to: PeerAddr,
    /// The client service that the block is for
    #[arg(long, value_name = "N", value_parser = id)]
    client: u64,
    /// The address to send from
    #[arg(long, value_name = "ADDR", value_parser = local)]
    bind: Option<SocketAddr>,
    /// Send the last N octets green: once, and never again
    #[arg(long, value_name = "N", default_value_t = 0)]
    green: u64,
    #[command(flatten)]
    peer_options: PeerOptions,
    /// Octets of the longest segment
    #[arg(long, value_name = "N", default_value_t = 1400)]
    segment: usize,
    /// Bits per second that may be sent
    #[arg(long, value_name = "BPS", value_parser = clap::value_parser!(u64).range(8..))]
    rate: Option<u64>,
    /// Octets under way before sending waits for reports: half of what the receiver's socket keeps, for near
    /// and fast lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window: Option<u64>,
    /// Ask for a report every N segments of the red part, 0 for never before its end: reports show how far the
    /// block has come, and let repairs begin. Without this, eight times in a block of 32 MiB or more; ION takes
    /// few reports for a short one
    #[arg(long, value_name = "N")]
    checkpoint: Option<u32>,
    /// Record the node into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// Octets of blocks that are reported on while they are sent, and how often they are.
const LONG: u64 = 32 << 20;
const PARTS: u64 = 8;
/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long the peer has to acknowledge the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json);
    let data = read(&arguments.file)?;
    let red = red(arguments, &data)?;
    let address = arguments.to.resolve(arguments.bind).await?;
    let len = data.len() as u64;
    let node = start(arguments, address, format, len)?;
    let mut interrupt = Interrupt::new().await;
    let mut watch = ProgressWatch {
        is_free: arguments.rate.is_none() && arguments.window.is_none(),
        format,
        node: &node,
        bar: progress::bar(len, "acknowledged"),
        address,
        last: None,
    };
    format.report(
        || {
            let Arguments { to, client, .. } = arguments;
            format!(
                "{len} octets to engine {} at {address} for client {client}, {red} of them red",
                to.engine
            )
        },
        || {
            json!({
                "event": "sending",
                "address": node.local_addr().to_string(),
                "to": arguments.to.engine,
                "at": address.to_string(),
                "client": arguments.client,
                "octets": len,
                "red": red,
                "green": arguments.green,
            })
        },
    );
    // A node sends from open services alone.
    let access_point = node
        .open(arguments.client)
        .map_err(|error| super::failure_of(&error))?;
    let sending = access_point
        .start(arguments.to.engine, data, Red::Octets(red))
        .await
        .map_err(|error| super::failure_of(&error))?;
    let outcome = watch.wait(sending, &mut interrupt).await;
    let close_timeout = close_timeout(&outcome);
    let told = watch.report(outcome, len, interrupt.is_heard());
    node.shutdown(close_timeout).await;
    told
}

/// Returns how long to wait for the peer to hear of the end: one that is silent is told once.
fn close_timeout(outcome: &Result<SessionId, Error>) -> Duration {
    match outcome {
        Err(Error::Failed {
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            ..
        }) => Duration::ZERO,
        _ => CLOSE_TIMEOUT,
    }
}

fn start(
    arguments: &Arguments,
    address: SocketAddr,
    format: OutputFormat,
    len: u64,
) -> Result<Node, Failure> {
    let config = Config {
        export_octets: DEFAULT_LIMIT,
        ..Config::engine(arguments.engine)
    };
    let factory = factory(arguments.record.as_deref(), None, format)?;
    let node = super::bind(
        arguments.bind.unwrap_or_else(|| local_address_for(address)),
        config,
        factory,
    )?;
    let peer = Peer {
        segment: arguments.segment,
        // Nobody would take what is sent here, so it may not be acknowledged either.
        max_imports: 0,
        rate: arguments.rate.and_then(|bits| NonZeroU64::new(bits / 8)),
        window: arguments.window.and_then(NonZeroU64::new),
        checkpoint_every: checkpoint(arguments.checkpoint, arguments.segment, len),
        ..arguments.peer_options.peer(address)
    };
    node.add_peer(arguments.to.engine, peer)
        .map_err(|error| super::failure_of(&error))?;
    Ok(node)
}

/// Returns every how many segments a report is asked for.
fn checkpoint(wanted: Option<u32>, segment: usize, len: u64) -> Option<NonZeroU32> {
    if wanted.is_some() || len < LONG {
        return wanted.and_then(NonZeroU32::new);
    }
    let segments = len / u64::try_from(segment.max(1)).unwrap_or(u64::MAX);
    NonZeroU32::new(u32::try_from(segments / PARTS).unwrap_or(u32::MAX))
}

/// Returns the address of this machine from which the peer is reached, as far as the system knows one.
fn local_address_for(peer: SocketAddr) -> SocketAddr {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let looked_up = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Nothing is sent.
        socket.connect(peer)?;
        socket.local_addr()
    });
    SocketAddr::new(looked_up.map_or(any, |local| local.ip()), 0)
}

/// Reads no more than fits.
fn read(path: &Path) -> Result<Bytes, Failure> {
    let name = crate::input::display_name(path);
    let fault = |error: &dyn core::fmt::Display| Failure::Usage(format!("{name}: {error}"));
    let too_long = |len: u64| {
        fault(&format!(
            "a block of {len} octets exceeds the limit of {DEFAULT_LIMIT}"
        ))
    };
    let limit = DEFAULT_LIMIT as u64;
    let mut octets = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin()
            .take(limit + 1)
            .read_to_end(&mut octets)
            .map_err(|error| fault(&error))?;
    } else {
        let file = File::open(path).map_err(|error| fault(&error))?;
        let len = file.metadata().map_err(|error| fault(&error))?.len();
        if len > limit {
            return Err(too_long(len));
        }
        file.take(limit + 1)
            .read_to_end(&mut octets)
            .map_err(|error| fault(&error))?;
    }
    match octets.len() {
        0 => Err(fault(&"an empty block is not sent")),
        len if len > DEFAULT_LIMIT => Err(fault(&format!(
            "a block of more than the limit of {DEFAULT_LIMIT} octets"
        ))),
        _ => Ok(octets.into()),
    }
}

/// Returns how many octets are red.
fn red(arguments: &Arguments, data: &Bytes) -> Result<u64, Failure> {
    let (green, len) = (arguments.green, data.len() as u64);
    len.checked_sub(green).ok_or_else(|| {
        Failure::Usage(format!(
            "a green part of {green} octets exceeds the block of {len}"
        ))
    })
}

/// Looks at a block on its way.
struct ProgressWatch<'a> {
    /// Whether nothing held the sending back.
    is_free: bool,
    format: OutputFormat,
    node: &'a Node,
    bar: ProgressBar,
    address: SocketAddr,
    last: Option<Progress>,
}

impl ProgressWatch<'_> {
    async fn wait(
        &mut self,
        mut sending: Sending,
        interrupt: &mut Interrupt,
    ) -> Result<SessionId, Error> {
        let mut tick = tokio::time::interval(TICK);
        let mut is_cancelled = false;
        loop {
            tokio::select! {
                outcome = sending.wait() => return outcome,
                _ = tick.tick() => self.look(sending.progress()),
                () = interrupt.wait(), if !is_cancelled => {
                    is_cancelled = true;
                    sending.cancel();
                }
            }
        }
    }

    fn look(&mut self, progress: Option<Progress>) {
        let Some(now) = progress.filter(|_| progress != self.last) else {
            return;
        };
        self.last = progress;
        // Green octets are done when they have left.
        let green = now.sent.saturating_sub(now.red);
        self.bar.set_position(now.claimed + green);
        if self.format.is_json() {
            self.format.report(String::new, || {
                json!({
                    "event": "progress",
                    "sent": now.sent,
                    "claimed": now.claimed,
                    "red": now.red,
                    "octets": now.len,
                })
            });
        }
    }

    fn report(
        &self,
        outcome: Result<SessionId, Error>,
        len: u64,
        is_cancelled: bool,
    ) -> Result<(), Failure> {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        match outcome {
            Ok(session) => {
                let resent = self.node.stats().engine.octets_resent;
                // A flood, of which the receiver could take a part only.
                let advice = if self.is_free && resent > len / 20 {
                    "; less would be with --window or --rate"
                } else {
                    ""
                };
                self.format.report(
                    || format!("block {session} of {len} octets is complete after {seconds:.2} s, {resent} octets were sent again{advice}"),
                    || {
                        json!({
                            "event": "complete",
                            "session": session.number,
                            "octets": len,
                            "seconds": seconds,
                            "resent": resent,
                        })
                    },
                );
                Ok(())
            }
            Err(Error::Failed {
                session,
                by,
                reason,
                ..
            }) if self.format.is_json() => {
                self.format
                    .report(String::new, || recv::failed(session, by, reason));
                Err(Failure::Reported)
            }
            Err(Error::Failed { session, peer, .. }) if is_cancelled => Err(Failure::Protocol(
                format!("block {session} to engine {peer} was cancelled by Ctrl-C or SIGTERM"),
            )),
            Err(error) => Err(Failure::Protocol(format!("{error}{}", self.remarks()))),
        }
    }

    /// What else is known of a block that was given up.
    fn remarks(&self) -> String {
        let mut text = String::new();
        if let Some(Progress { claimed, red, .. }) = self.last.filter(|last| last.red > 0) {
            text = format!("; it claimed {claimed} of {red} red octets");
        }
        if self.node.stats().udp.reported > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "; nobody seems to listen at {}", self.address);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_block_is_reported_on_eight_times_and_a_short_one_at_its_end() {
        let every = |wanted, len| checkpoint(wanted, 1400, len).map(NonZeroU32::get);

        assert_eq!(every(None, LONG - 1), None);
        assert_eq!(every(None, LONG), Some(2995));
        assert_eq!(every(None, 1 << 30), Some(95_869));
        assert_eq!(every(Some(7), 10), Some(7));
        assert_eq!(every(Some(0), 1 << 30), None);
    }
}
