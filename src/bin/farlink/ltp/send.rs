//! `farlink ltp send`: sends a file as one block.

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
use farlink::ltp::{Config, Flow, Peer, Progress, Reason, Red, SessionId, Side};
use indicatif::ProgressBar;
use serde_json::json;

use super::interrupt::Interrupt;
use super::peer_addr::{PeerAddr, local, peer_addr};
use super::{DEFAULT_LIMIT, PeerOptions, factory, id, recv};
use crate::output::OutputFormat;
use crate::{Failure, progress};

/// Sends a file as one block, and waits until all of its red part is acknowledged.
///
/// Ctrl-C and SIGTERM cancel the block at both ends.
///
/// Exit status 1: this side or the peer cancelled the block.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to send, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The ID of this engine
    #[arg(long, value_name = "N", value_parser = id)]
    engine: u64,
    /// The engine to send to, and its host or IP address and port, port 1113 by default
    #[arg(long, value_name = "N=ADDR", value_parser = peer_addr)]
    to: PeerAddr,
    /// The client service of the block
    #[arg(long, value_name = "N", value_parser = id)]
    client: u64,
    /// The IP address and port to send from
    #[arg(long, value_name = "ADDR", value_parser = local)]
    bind: Option<SocketAddr>,
    /// Send the last N octets green, without repairs
    #[arg(long, value_name = "N", default_value_t = 0)]
    green: u64,
    #[command(flatten)]
    peer_options: PeerOptions,
    /// Octets of the longest segment
    #[arg(long, value_name = "N", default_value_t = 1400)]
    segment: usize,
    /// The sending rate, in bits per second. By default 100 Mbit/s at first, then as fast as the peer bears; for
    /// a radio, give its rate
    #[arg(long, value_name = "BPS", value_parser = clap::value_parser!(u64).range(8..))]
    rate: Option<u64>,
    /// The limit of octets sent and not reported, which requests reports before the end of the block: not for
    /// ION, which cancels the block then. By default that of the receiver, if it is farlink
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window: Option<u64>,
    /// Request a report every N segments of the red part, beside its end. Reports show progress and begin
    /// repairs. ION cancels the block for any of them, and is never sent them by default
    #[arg(long, value_name = "N")]
    checkpoint: Option<u32>,
    /// Record the node into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// How often progress is checked.
const TICK: Duration = Duration::from_millis(100);
/// How long the node waits for the peer at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json);
    let data = read(&arguments.file)?;
    let red = red(arguments, &data)?;
    let address = arguments.to.resolve(arguments.bind).await?;
    let len = data.len() as u64;
    let node = start(arguments, address, format)?;
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
    // A node sends only from open services.
    let access_point = node
        .open(arguments.client)
        .map_err(|error| super::failure_of(&error))?;
    let sending = access_point
        .start(arguments.to.engine, data, Red::Octets(red))
        .await
        .map_err(|error| super::failure_of(&error))?;
    let outcome = watch.wait(sending, &mut interrupt).await;
    let close_timeout = close_timeout(&outcome);
    let result = watch.report(outcome, len, interrupt.is_set());
    node.shutdown(close_timeout).await;
    result
}

/// Returns how long to wait for the peer at the end. A peer that is silent gets one cancel segment.
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
        // This command receives no blocks, so it must not acknowledge any.
        max_imports: 0,
        flow: flow(arguments.rate, arguments.window),
        checkpoint_every: arguments.checkpoint.and_then(NonZeroU32::new),
        ..arguments.peer_options.peer(address)
    };
    node.add_peer(arguments.to.engine, peer)
        .map_err(|error| super::failure_of(&error))?;
    Ok(node)
}

/// Returns how fast to send: by what is given, or as fast as the peer bears.
fn flow(bits_per_second: Option<u64>, window: Option<u64>) -> Flow {
    let rate = bits_per_second.map(|bits| bits / 8);
    match (window.and_then(NonZeroU64::new), rate) {
        (Some(octets), rate) => Flow::Window {
            octets,
            octets_per_second: rate.and_then(NonZeroU64::new),
        },
        (None, Some(rate)) => Flow::rate(rate),
        (None, None) => Flow::Auto,
    }
}

/// Returns the local address from which the peer is reached, as far as the system knows one.
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

/// Reads a file up to the limit.
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

/// Reports the progress of a block.
struct ProgressWatch<'a> {
    /// Whether neither rate nor window limits sending.
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
                _ = tick.tick() => self.check(sending.progress()),
                () = interrupt.wait(), if !is_cancelled => {
                    is_cancelled = true;
                    sending.cancel();
                }
            }
        }
    }

    fn check(&mut self, progress: Option<Progress>) {
        let Some(now) = progress.filter(|_| progress != self.last) else {
            return;
        };
        self.last = progress;
        // Green octets are complete when they are sent.
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
                // The receiver lost much of an unlimited rate.
                let advice = if self.is_free && resent > len / 20 {
                    "; --window or --rate would avoid most of them"
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

    /// Returns what is known of a block that was cancelled.
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
    fn what_is_given_limits_the_flow_and_nothing_is_left_to_the_engine() {
        let paced = Flow::Window {
            octets: NonZeroU64::new(500).unwrap(),
            octets_per_second: NonZeroU64::new(1000),
        };

        assert_eq!(flow(None, None), Flow::Auto);
        assert_eq!(flow(Some(8000), None), Flow::rate(1000));
        assert_eq!(flow(None, Some(500)), Flow::window(500));
        assert_eq!(flow(Some(8000), Some(500)), paced);
    }
}
