//! `farlink dtp get`: a payload from a server.

use core::ops::Range;
use core::time::Duration;
use std::path::{Path, PathBuf};

use farlink::adapters::tokio::dtp::{Download, Error, PayloadRun};
use farlink::dtp::{Config, FailReason, GetOptions};
use indicatif::DecimalBytes;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::output_file::OutputFile;
use super::{MAX_MTU, Started, failure_of};
use crate::Failure;
use crate::csp_options::NodeArguments;
use crate::interrupt::Interrupt;
use crate::ltp::status::{StatusLine, span};
use crate::ltp::target::is_port_closed;
use crate::output::OutputFormat;

/// How often the progress is looked at.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long nothing is heard before that is reported.
const SILENCE: Duration = Duration::from_secs(3);
/// Ranges that are missing, as far as they are named: to people, and to programs.
const NAMED: (usize, usize) = (4, 64);

/// Gets a payload from a server, and asks again until nothing is missing.
///
/// The octets go to the file with `.part` behind its name, which is renamed when all have come.
///
/// Exit status 1: not all octets have come; what is missing is told, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The CSP address of the server
    server: u16,
    /// The payload, 0 to 255
    #[arg(long, value_name = "N")]
    payload: u8,
    #[command(flatten)]
    node: NodeArguments,
    /// The file for the payload
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Octets per second that the server may send
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 1_000_000)]
    rate: u32,
    /// Octets of a data packet, its header of 8 octets included. A node of libcsp takes 256 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(9..=i64::from(MAX_MTU)), default_value_t = 208)]
    mtu: u16,
    /// How many requests in a row may bring nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), default_value_t = 5)]
    attempts: u8,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let mut interrupt = Interrupt::new().await;
    let config = arguments.config();
    let attempt = Duration::from_millis(config.csp.rdp.connection_timeout.into());
    let started = arguments.node.start(config).await?;
    let options = arguments.options();
    let (server, payload) = (arguments.server, arguments.payload);
    // What is refused leaves no file behind.
    let download = started.node.get(server, payload, options);
    let mut download = download.map_err(failure_of)?;
    let file = OutputFile::create(&arguments.out)?;
    arguments.report_start(format, &started);
    let mut monitor = Monitor::new(arguments, format, &started, attempt);
    let mut transfer = Transfer {
        download: &mut download,
        file,
        is_interrupted: false,
    };
    let outcome = transfer.run(&mut monitor, &mut interrupt).await;
    let (file, is_interrupted) = (transfer.file, transfer.is_interrupted);
    drop(monitor.status.take());
    let seconds = monitor.begun.elapsed().as_secs_f64();
    let outcome = match outcome {
        Ok(()) => file.finish().map(|()| {
            arguments.report_complete(format, &download, seconds);
        }),
        Err(Stop::Failed(reason)) => {
            let failed = Failed {
                reason,
                is_interrupted,
                seconds,
                is_unheard: started.node.stats().csp.received == 0,
                file: file.keep(),
            };
            arguments
                .report_failed(format, &started, &download, failed)
                .await;
            Err(Failure::Reported)
        }
        Err(Stop::Other(failure)) => {
            file.keep();
            Err(failure)
        }
    };
    drop(download);
    started.node.shutdown().await;
    outcome
}

/// Why a transfer ended before it was complete.
enum Stop {
    Failed(FailReason),
    Other(Failure),
}

struct Transfer<'a> {
    download: &'a mut Download,
    file: OutputFile,
    is_interrupted: bool,
}

impl Transfer<'_> {
    /// Writes what comes until all has come.
    async fn run(
        &mut self,
        monitor: &mut Monitor<'_>,
        interrupt: &mut Interrupt,
    ) -> Result<(), Stop> {
        let mut ticks = interval(INTERVAL);
        loop {
            tokio::select! {
                run = self.download.next_run() => {
                    monitor.report_size(self.download.progress().size);
                    if !self.write(run)? {
                        return Ok(());
                    }
                }
                _ = ticks.tick() => monitor.check(self.download),
                () = interrupt.wait(), if !self.is_interrupted => {
                    self.is_interrupted = true;
                    self.download.cancel();
                }
            }
        }
    }

    /// Writes some octets. Tells whether more will come.
    fn write(&mut self, run: Result<Option<PayloadRun>, Error>) -> Result<bool, Stop> {
        match run {
            Ok(Some(run)) => {
                let written = self.file.write(run.offset, &run.data);
                written.map_err(Stop::Other)?;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Error::Failed { reason, .. }) => Err(Stop::Failed(reason)),
            Err(error) => Err(Stop::Other(failure_of(error))),
        }
    }
}

/// How a transfer failed.
struct Failed {
    reason: FailReason,
    is_interrupted: bool,
    seconds: f64,
    /// Nothing ever came from the peer.
    is_unheard: bool,
    file: Option<PathBuf>,
}

impl Arguments {
    fn config(&self) -> Config {
        let mut config = Config {
            clients: 1,
            servers: 0,
            ..Config::default()
        };
        config.csp.max_data = config.csp.max_data.max(self.mtu);
        config
    }

    fn options(&self) -> GetOptions {
        GetOptions {
            throughput: self.rate,
            mtu: self.mtu,
            max_fruitless: self.attempts,
            ..GetOptions::default()
        }
    }

    fn report_start(&self, format: OutputFormat, started: &Started) {
        let (server, payload) = (self.server, self.payload);
        let (local, remote) = (started.links.local(), started.links.remote());
        format.report(
            || format!("asking node {server} at {remote} for payload {payload}"),
            || {
                json!({
                    "event": "asking",
                    "server": server,
                    "payload": payload,
                    "address": local,
                    "remote": remote,
                    "file": self.out,
                })
            },
        );
    }

    fn report_complete(&self, format: OutputFormat, download: &Download, seconds: f64) {
        let progress = download.progress();
        let (octets, requests) = (progress.received, progress.requests.unwrap_or_default());
        format.report(
            || {
                let file = self.out.display();
                let plural = if requests == 1 { "" } else { "s" };
                format!("{file}: {octets} octets in {seconds:.3} s, {requests} request{plural}")
            },
            || {
                json!({
                    "event": "complete",
                    "octets": octets,
                    "requests": requests,
                    "seconds": seconds,
                    "file": self.out,
                })
            },
        );
    }

    async fn report_failed(
        &self,
        format: OutputFormat,
        started: &Started,
        download: &Download,
        failed: Failed,
    ) {
        let reason = self.reason(started, &failed).await;
        let progress = download.progress();
        let missing = download.missing();
        format.report_failure(
            || {
                let missing = missing_text(self.payload, progress.size, missing.as_deref());
                let kept = failed.file.as_deref().map_or_else(String::new, kept_text);
                format!("{missing}: {reason}{kept}")
            },
            || {
                let cause = if failed.is_interrupted {
                    json!("interrupted")
                } else {
                    json!(failed.reason)
                };
                let ranges = missing.as_ref().map(Vec::len);
                let named = missing.as_ref().map(|missing| {
                    let named = missing.iter().take(NAMED.1);
                    named.map(|it| json!([it.start, it.end])).collect::<Value>()
                });
                json!({
                    "event": "failed",
                    "cause": cause,
                    "reason": reason,
                    "received": progress.received,
                    "octets": progress.size,
                    "missing": named,
                    "ranges": ranges,
                    "seconds": failed.seconds,
                    "file": failed.file,
                })
            },
        );
    }

    /// Says why the transfer failed.
    async fn reason(&self, started: &Started, failed: &Failed) -> String {
        let (server, remote) = (self.server, started.links.remote());
        if failed.is_interrupted {
            return "interrupted by Ctrl-C or SIGTERM".into();
        }
        match failed.reason {
            FailReason::NoAnswer if failed.is_unheard => {
                let hint = if let Some(peer) = started.links.udp_peer()
                    && is_port_closed(peer).await
                {
                    "; its host says that no program has the port"
                } else {
                    ""
                };
                let silence = span(Duration::from_secs_f64(failed.seconds));
                format!("nothing was heard from node {server} at {remote} for {silence}{hint}")
            }
            FailReason::Refused => {
                let mtu = self.mtu;
                let reason = failed.reason;
                format!("{reason}, or it allows no packets of {mtu} octets (--mtu)")
            }
            reason => reason.to_string(),
        }
    }
}

/// Says what is missing.
fn missing_text(payload: u8, size: Option<u32>, missing: Option<&[Range<u64>]>) -> String {
    let (Some(size), Some(missing)) = (size, missing) else {
        return format!("all of payload {payload} is missing");
    };
    let octets: u64 = missing.iter().map(|it| it.end - it.start).sum();
    let named = missing.iter().take(NAMED.0);
    let named: Vec<String> = named
        .map(|it| format!("{}..{}", it.start, it.end))
        .collect();
    let more = match missing.len().saturating_sub(NAMED.0) {
        0 => String::new(),
        more => format!(" and {more} more ranges"),
    };
    let named = named.join(", ");
    format!("{octets} of {size} octets of payload {payload} are missing ({named}{more})")
}

fn kept_text(file: &Path) -> String {
    format!("; what has come is in {}", file.display())
}

/// What is shown while a transfer is under way.
struct Monitor<'a> {
    arguments: &'a Arguments,
    format: OutputFormat,
    started: &'a Started,
    status: Option<StatusLine>,
    begun: Instant,
    /// Packets that were heard, and when the last one was.
    heard: (u64, Instant),
    is_silence_reported: bool,
    is_size_reported: bool,
    /// How long one attempt to connect takes.
    attempt: Duration,
}

impl<'a> Monitor<'a> {
    fn new(
        arguments: &'a Arguments,
        format: OutputFormat,
        started: &'a Started,
        attempt: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            arguments,
            format,
            started,
            status: Some(StatusLine::new(format)),
            begun: now,
            heard: (0, now),
            is_silence_reported: false,
            is_size_reported: false,
            attempt,
        }
    }

    /// Shows what has changed.
    fn check(&mut self, download: &Download) {
        let progress = download.progress();
        let (received, size) = (progress.received, progress.size);
        self.report_size(size);
        if let Some(status) = &mut self.status {
            if self.format.is_json() && status.is_due() {
                self.format.report(
                    String::new,
                    || json!({ "event": "progress", "received": received, "octets": size }),
                );
            }
            let come = DecimalBytes(received);
            status.show(|| match size {
                Some(size) => format!("{come} of {} have come", DecimalBytes(size.into())),
                None => "no answer yet".into(),
            });
        }
        self.check_silence();
    }

    /// Reports once that the server has the payload.
    fn report_size(&mut self, size: Option<u32>) {
        let Some(octets) = size.filter(|_| !self.is_size_reported) else {
            return;
        };
        self.is_size_reported = true;
        self.format.report(
            || format!("the payload has {octets} octets"),
            || json!({ "event": "started", "octets": octets }),
        );
    }

    fn check_silence(&mut self) {
        let heard = self.started.node.stats().csp.received;
        if heard != self.heard.0 {
            self.heard = (heard, Instant::now());
            self.is_silence_reported = false;
        }
        let silence = self.heard.1.elapsed();
        if silence < SILENCE || self.is_silence_reported {
            return;
        }
        self.is_silence_reported = true;
        let server = self.arguments.server;
        self.format.report_failure(
            || {
                let (remote, attempts) = (self.started.links.remote(), self.arguments.attempts);
                let until = if heard == 0 {
                    format!("trying for {}", span(self.longest()))
                } else {
                    format!("asking again, {attempts} times at most")
                };
                let silence = span(silence);
                format!("nothing heard from node {server} at {remote} for {silence}, {until}")
            },
            || json!({ "event": "silent", "server": server, "seconds": silence.as_secs() }),
        );
    }

    /// Returns how long a server is tried that never answers: each attempt, and a pause behind it that is a second
    /// longer each time.
    fn longest(&self) -> Duration {
        let attempts = u32::from(self.arguments.attempts);
        self.attempt * attempts + Duration::from_secs(1) * (attempts * (attempts - 1) / 2)
    }
}
