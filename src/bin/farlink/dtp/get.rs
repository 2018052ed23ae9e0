//! `farlink dtp get`: a payload from a server.

use core::ops::{Range, RangeInclusive};
use core::time::Duration;
use std::path::PathBuf;

use farlink::adapters::tokio::dtp::{Download, Error, PayloadRun};
use farlink::dtp::{Config, FailReason, GetOptions, MemoryRequest, Session, VmemTransport};
use indicatif::DecimalBytes;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::output_file::{OutputFile, PartialOutput, Unfinished, check_record};
use super::vmem::{self, MemoryRange};
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
/// Octets per second at first.
const FIRST_RATE: u32 = 1_000_000;
/// Ranges that are missing, as far as they are named: to people, and to programs.
const NAMED: (usize, usize) = (4, 64);

/// Gets a payload from a server, and asks again until nothing is missing.
///
/// The octets go to the file with `.part` behind its name, which is renamed when all have come. Until then a session is
/// kept beside it, with `.session` behind the name: --resume goes on with it, whatever has ended the transfer, and loses
/// what came since it was saved, a second or two. It goes on with the session of libdtp as well, `.meta`.
///
/// Exit status 1: not all octets have come; what is missing is told, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The CSP address of the server
    server: u16,
    /// The payload, 0 to 255
    #[arg(long, value_name = "N", required_unless_present = "vmem")]
    payload: Option<u8>,
    /// In place of a payload, memory of the server from address A on, N octets, by messages of VMEM
    #[arg(long, value_name = "A+N", value_parser = vmem::memory, conflicts_with = "payload")]
    vmem: Option<MemoryRange>,
    /// Milliseconds after which a server of VMEM is told, again and again, that this node is there. Default never
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..))]
    keep_alive: Option<u16>,
    #[command(flatten)]
    transport: vmem::TransportArguments,
    #[command(flatten)]
    node: NodeArguments,
    /// The file for the payload
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Go on with the session beside the file; without one, begin
    #[arg(long)]
    resume: bool,
    /// Octets per second that the server may send, or `max`: as many as arrive. Default 1,000,000, or that of the session
    #[arg(long, value_name = "N|max", value_parser = rate)]
    rate: Option<Rate>,
    /// Octets of a data packet, its header of 8 octets included. A node of libcsp takes 256 by default. Default 208, or
    /// that of the session
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(9..=i64::from(MAX_MTU)))]
    mtu: Option<u16>,
    /// The first and the last octet to get, `A-`: to the end. They have their place in the file. Packets
    /// that hold them come whole, so octets around them may come too
    #[arg(long, value_name = "A-B", value_parser = range, default_value = "0-")]
    range: RangeInclusive<u32>,
    /// How often all that is missing may be asked for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 1000)]
    max_rounds: u32,
    /// How many requests in a row may bring nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), default_value_t = 5)]
    attempts: u8,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// What `--rate` says.
#[derive(Debug, Clone, Copy)]
enum Rate {
    Octets(u32),
    /// As many as arrive.
    Max,
}

impl Rate {
    /// The rate at first.
    const fn octets(self) -> u32 {
        match self {
            Self::Octets(octets) => octets,
            Self::Max => FIRST_RATE,
        }
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let octets = text.parse().ok().filter(|octets| *octets > 0);
    octets.map(Rate::Octets).ok_or_else(|| {
        let limit = u32::MAX;
        format!("neither `max` nor octets per second from 1 to {limit}")
    })
}

fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let octet = |text: &str| {
        let limit = u32::MAX;
        let octet = text.parse();
        octet.map_err(|_| format!("octet `{text}` is not a number from 0 to {limit}"))
    };
    let Some((first, last)) = text.split_once('-') else {
        return Err("the first and the last octet, A-B, or A-".into());
    };
    let first = octet(first)?;
    let last = if last.is_empty() {
        u32::MAX
    } else {
        octet(last)?
    };
    if first > last {
        return Err(format!("octet {first} is behind the last one, {last}"));
    }
    Ok(first..=last)
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    arguments.check()?;
    arguments.node.check_peer(arguments.server)?;
    check_record(&arguments.out, arguments.node.record.as_ref())?;
    let mut interrupt = Interrupt::new().await;
    let unfinished = arguments.unfinished()?;
    let session = unfinished.as_ref().map(|it| &it.session);
    let received = session.map_or(0, Session::received_octets);
    let options = arguments.options(session);
    let mut config = config(options.mtu);
    if arguments.vmem.is_some() {
        config.vmem_messages = vmem::MESSAGES;
    }
    let attempt = Duration::from_millis(config.csp.rdp.connection_timeout.into());
    let started = arguments.node.start(config).await?;
    let throughput = options.throughput;
    let session = session.map(|session| Session {
        throughput,
        ..session.clone()
    });
    // What is refused leaves no file behind.
    let download = match (arguments.memory_request(), session) {
        (Some(request), session) => started.node.get_memory(request, session, options),
        (None, Some(session)) => started.node.get_rest(session, options),
        (None, None) => {
            let payload = arguments.payload_number();
            started.node.get(arguments.server, payload, options)
        }
    };
    let mut download = download.map_err(failure_of)?;
    let is_resumed = unfinished.is_some();
    let file = match unfinished {
        Some(unfinished) => unfinished.open()?,
        None => OutputFile::create(&arguments.out)?,
    };
    arguments.report_start(format, &started, received);
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
        Ok(()) => file.finish().await.map(|()| {
            arguments.report_complete(format, &download, seconds);
        }),
        Err(stop) => {
            let failed = Failed {
                stop,
                is_interrupted,
                is_resumed,
                mtu: options.mtu,
                seconds,
                is_unheard: started.node.stats().csp.received == 0,
                kept: file.keep(download.session()).await,
            };
            arguments
                .report_failed(format, &started, &download, failed)
                .await
        }
    };
    drop(download);
    started.node.shutdown().await;
    outcome
}

/// Why a transfer ended before it was complete.
enum Stop {
    Failed(FailReason),
    /// The octets or the session cannot be written.
    NotWritten(Failure),
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
                _ = ticks.tick() => {
                    monitor.check(self.download);
                    let saved = self.file.save_regularly(|| self.download.session()).await;
                    saved.map_err(Stop::NotWritten)?;
                }
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
                written.map_err(Stop::NotWritten)?;
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
    stop: Stop,
    is_interrupted: bool,
    is_resumed: bool,
    mtu: u16,
    seconds: f64,
    /// Nothing ever came from the peer.
    is_unheard: bool,
    kept: Option<PartialOutput>,
}

impl Failed {
    fn cause(&self) -> Value {
        match self.stop {
            _ if self.is_interrupted => json!("interrupted"),
            Stop::Failed(reason) => json!(reason),
            Stop::NotWritten(_) | Stop::Other(_) => json!("not_written"),
        }
    }

    /// Says where what has come is, and how to get the rest.
    fn kept_text(&self) -> String {
        match &self.kept {
            None => String::new(),
            Some(PartialOutput {
                part,
                session: None,
            }) => format!("; what has come is in {}", part.display()),
            Some(PartialOutput {
                part,
                session: Some(session),
            }) => {
                let (part, session) = (part.display(), session.display());
                let rest = if self.is_of_other() {
                    "remove the session to begin anew"
                } else {
                    "the same command with --resume gets the rest"
                };
                format!("; what has come is in {part}, its session in {session}: {rest}")
            }
        }
    }

    /// Tells whether another try with the session fails as well.
    const fn is_of_other(&self) -> bool {
        matches!(
            self.stop,
            Stop::Failed(FailReason::PayloadChanged | FailReason::Damaged)
        )
    }
}

fn config(mtu: u16) -> Config {
    let mut config = Config {
        clients: 1,
        servers: 0,
        // What a long payload of short packets lacks where one packet of ten is lost.
        max_holes: u16::MAX,
        ..Config::default()
    };
    config.csp.max_data = config.csp.max_data.max(mtu);
    config
}

impl Arguments {
    /// Refuses options of VMEM without memory. clap requires nothing that conflicts with what is there.
    fn check(&self) -> Result<(), Failure> {
        let option = match self.keep_alive {
            _ if self.vmem.is_some() => return Ok(()),
            Some(_) => "--keep-alive",
            None if self.transport.transport() == VmemTransport::Datagrams => "--no-rdp",
            None => return Ok(()),
        };
        Err(Failure::Usage(format!(
            "{option} is for memory, --vmem A+N"
        )))
    }

    /// Looks for a session to go on with, and checks that it is the one of these arguments.
    fn unfinished(&self) -> Result<Option<Unfinished>, Failure> {
        if !self.resume {
            return Ok(None);
        }
        let Some(unfinished) = Unfinished::find(&self.out)? else {
            return Ok(None);
        };
        let session = &unfinished.session;
        let (server, payload, mtu) = (session.server, session.payload, session.mtu);
        let refuse = |text: String| Err(Failure::file(&unfinished.path, text));
        if (server, payload) != (self.server, self.payload_number()) {
            let other = format!("{} of node {}", self.wanted(), self.server);
            return refuse(format!(
                "session of payload {payload} of node {server}, not of {other}"
            ));
        }
        let asked = self.vmem.map(|it| it.address);
        let is_of_libdtp = session.identity.is_none() && session.sum.is_none();
        if session.address != asked && !(is_of_libdtp && session.address.is_none()) {
            let of = session.address.map_or_else(
                || format!("payload {payload}"),
                |address| format!("memory at {address:#x}"),
            );
            return refuse(format!("session of {of}, not of {}", self.wanted()));
        }
        if let Some(memory) = self.vmem.filter(|memory| memory.size != session.size) {
            let (octets, asked) = (session.size, memory.size);
            return refuse(format!("session of {octets} octets, not of {asked}"));
        }
        if let Some(asked) = self.mtu.filter(|asked| *asked != mtu) {
            return refuse(format!("session with an mtu of {mtu}, not of {asked}"));
        }
        if mtu > MAX_MTU {
            return refuse(format!(
                "session with an mtu of {mtu}, the limit is {MAX_MTU}"
            ));
        }
        Ok(Some(unfinished))
    }

    /// The number of the payload, as sessions have it.
    fn payload_number(&self) -> u8 {
        self.payload.unwrap_or_default()
    }

    /// What is wanted of the server, in words.
    fn wanted(&self) -> String {
        match self.vmem {
            Some(memory) => memory.to_string(),
            None => format!("payload {}", self.payload_number()),
        }
    }

    fn memory_request(&self) -> Option<MemoryRequest> {
        let MemoryRange { address, size } = self.vmem?;
        Some(MemoryRequest {
            transport: self.transport.transport(),
            keep_alive: Duration::from_millis(self.keep_alive.unwrap_or_default().into()),
            ..MemoryRequest::new(self.server, address, size)
        })
    }

    fn options(&self, session: Option<&Session>) -> GetOptions {
        let throughput = match (self.rate, session) {
            (Some(rate), _) => rate.octets(),
            (None, Some(session)) => session.throughput,
            (None, None) => FIRST_RATE,
        };
        let mtu = self.mtu.or(session.map(|it| it.mtu));
        GetOptions {
            throughput,
            follows_loss: matches!(self.rate, Some(Rate::Max)),
            mtu: mtu.unwrap_or(GetOptions::default().mtu),
            max_fruitless: self.attempts,
            max_rounds: self.max_rounds,
            first: *self.range.start(),
            last: *self.range.end(),
            ..GetOptions::default()
        }
    }

    fn report_start(&self, format: OutputFormat, started: &Started, received: u64) {
        let (server, wanted) = (self.server, self.wanted());
        let (local, remote) = (started.links.local(), started.links.remote());
        format.report(
            || {
                let rest = match received {
                    0 => String::new(),
                    octets => format!(", {octets} octets of which are there"),
                };
                format!("asking node {server} at {remote} for {wanted}{rest}")
            },
            || {
                json!({
                    "event": "asking",
                    "server": server,
                    "payload": self.payload,
                    "memory": self.vmem.map(|it| it.address),
                    "address": local,
                    "remote": remote,
                    "file": self.out,
                    "received": received,
                })
            },
        );
    }

    fn report_complete(&self, format: OutputFormat, download: &Download, seconds: f64) {
        let progress = download.progress();
        let octets = progress.received;
        let (rounds, again) = (progress.rounds, progress.asked_again);
        format.report(
            || {
                let file = self.out.display();
                let plural = if rounds == 1 { "" } else { "s" };
                let checked = if progress.is_checked { ", CRC-32C right" } else { "" };
                format!(
                    "{file}: {octets} octets in {seconds:.3} s, {rounds} round{plural}, {again} packets asked again{checked}"
                )
            },
            || {
                json!({
                    "event": "complete",
                    "octets": octets,
                    "requests": progress.requests,
                    "rounds": rounds,
                    "asked_again": again,
                    "checked": progress.is_checked,
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
    ) -> Result<(), Failure> {
        let reason = match &failed.stop {
            Stop::Other(_) => None,
            Stop::NotWritten(failure) => Some(failure.to_string()),
            Stop::Failed(reason) => Some(self.reason(started, &failed, *reason).await),
        };
        let Some(reason) = reason else {
            return match failed.stop {
                Stop::Other(failure) => Err(failure),
                _ => Err(Failure::Reported),
            };
        };
        let progress = download.progress();
        let missing = download.missing();
        format.report_failure(
            || {
                let missing = missing_text(&self.wanted(), progress.size, missing.as_deref());
                let kept = failed.kept_text();
                format!("{missing}: {reason}{kept}")
            },
            || {
                let ranges = missing.as_ref().map(Vec::len);
                let named = missing.as_ref().map(|missing| {
                    let named = missing.iter().take(NAMED.1);
                    named.map(|it| json!([it.start, it.end])).collect::<Value>()
                });
                json!({
                    "event": "failed",
                    "cause": failed.cause(),
                    "reason": reason,
                    "received": progress.received,
                    "octets": progress.size,
                    "missing": named,
                    "ranges": ranges,
                    "seconds": failed.seconds,
                    "rounds": progress.rounds,
                    "asked_again": progress.asked_again,
                    "file": failed.kept.as_ref().map(|it| &it.part),
                    "session": failed.kept.as_ref().and_then(|it| it.session.as_ref()),
                })
            },
        );
        Err(Failure::Reported)
    }

    /// Says why the transfer failed.
    async fn reason(&self, started: &Started, failed: &Failed, reason: FailReason) -> String {
        let (server, remote) = (self.server, started.links.remote());
        if failed.is_interrupted {
            return "interrupted by Ctrl-C or SIGTERM".into();
        }
        match reason {
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
                let mtu = failed.mtu;
                let range = match self.range.start() {
                    0 => String::new(),
                    first => format!(", or it ends before octet {first} (--range)"),
                };
                format!("{reason}, or it allows no packets of {mtu} octets (--mtu){range}")
            }
            FailReason::PayloadChanged if failed.is_resumed => {
                "the payload is not the one of the session: its size, CRC-32C or generation is another".into()
            }
            FailReason::Fruitless if self.vmem.is_some() => {
                let wanted = self.wanted();
                format!("{reason}: the server has no {wanted}, sends no packets so long (--mtu), or is gone")
            }
            reason => reason.to_string(),
        }
    }
}

/// Says what is missing.
fn missing_text(wanted: &str, size: Option<u32>, missing: Option<&[Range<u64>]>) -> String {
    let (Some(size), Some(missing)) = (size, missing) else {
        return format!("all of {wanted} is missing");
    };
    let octets: u64 = missing.iter().map(|it| it.end - it.start).sum();
    let named = ranges_text(missing);
    format!("{octets} of {size} octets of {wanted} are missing ({named})")
}

/// Names the first ranges, and says how many more there are.
pub(super) fn ranges_text(ranges: &[Range<u64>]) -> String {
    let named = ranges.iter().take(NAMED.0);
    let named: Vec<String> = named
        .map(|it| format!("{}..{}", it.start, it.end))
        .collect();
    let more = match ranges.len().saturating_sub(NAMED.0) {
        0 => String::new(),
        more => format!(" and {more} more ranges"),
    };
    format!("{}{more}", named.join(", "))
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
        // The size of memory is known before anything is heard.
        let is_heard = self.started.node.stats().csp.received > 0;
        let Some(octets) = size.filter(|_| is_heard && !self.is_size_reported) else {
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
