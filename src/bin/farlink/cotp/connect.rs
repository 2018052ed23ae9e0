//! `farlink cotp connect`: sends a file, and prints what comes back or compares it.

use core::time::Duration;
use std::path::PathBuf;

use bytes::Bytes;
use farlink::Seed;
use farlink::adapters::cotp::ConnectionFactory;
use farlink::adapters::tokio::cotp::{self, Connection, ConnectionOptions, Error};
use farlink::cotp::{
    Config, Connection as Machine, ConnectionLimits, ConnectionTimers, Proposal, Role, Selector,
    TpduSize,
};
use indicatif::ProgressBar;

use super::transfer::{Receiver, Source, StallTimer, broken, send};
use super::{Counters, MessageFile, address, octets, seconds, selector, tpdu_size};
use crate::address::Address;
use crate::interrupt::Interrupt;
use crate::output::{OutputFormat, hex};
use crate::{Failure, input, progress, recording};

/// Connects to a COTP service, sends a file, prints what comes back, and closes.
///
/// Without --send and one of --receive, --until-close and --wait it only connects and closes, which tells
/// whether the selectors are right.
///
/// Exit status 1: the connection failed, octets were lost, what was waited for did not come, the echo differs, or
/// Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The host or IP address of the service, and its port, 102 by default
    #[arg(value_name = "ADDR", value_parser = address)]
    address: Address,
    /// The selector of this end, in hex
    #[arg(long, value_name = "HEX", value_parser = selector)]
    local_tsel: Option<Selector>,
    /// The selector of the service, in hex
    #[arg(long, value_name = "HEX", value_parser = selector)]
    remote_tsel: Option<Selector>,
    /// Send this file, or - for standard input
    #[arg(long, value_name = "FILE")]
    send: Option<PathBuf>,
    /// Octets of each message that is sent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value_t = 65_536)]
    message_size: u32,
    #[command(flatten)]
    until: Awaited,
    /// Write the messages that are received to this file, without separators
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The whole variable part of the request, in hex, such as the cookie and negotiation request of RDP
    #[arg(long, value_name = "HEX", value_parser = octets, conflicts_with_all = ["local_tsel", "remote_tsel", "tpdu_size"])]
    variable: Option<Bytes>,
    /// The TPDU size to propose, in octets; 65531 is proposed by leaving it out (RFC 1006)
    #[arg(long, value_name = "N", value_parser = tpdu_size, default_value = "2048")]
    tpdu_size: TpduSize,
    /// Give up when connecting, sending or receiving makes no progress for this long, in seconds; a message
    /// without octets is no progress
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "10")]
    timeout: Duration,
    /// Record the connection into this file, as pcapng. The service has port 102 there, by which analysers know it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn message_size(&self) -> usize {
        usize::try_from(self.message_size).unwrap_or(usize::MAX)
    }
}

/// What is waited for before the connection is closed.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Awaited {
    /// Receive and print N messages that are not empty
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    receive: Option<u64>,
    /// Receive and print messages until the service closes the connection
    #[arg(long)]
    until_close: bool,
    /// Receive and print messages until none has come for this long, in seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    wait: Option<Duration>,
    /// Wait until all octets came back, and compare them
    #[arg(long, requires = "send")]
    expect_echo: bool,
}

impl Awaited {
    const fn prints(&self) -> bool {
        self.receive.is_some() || self.until_close || self.wait.is_some()
    }
}

/// Octets of the smallest send queue.
const MIN_QUEUE: usize = 1 << 18;
/// The number of the only connection.
const NUMBER: u64 = 1;

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let source = arguments.send.as_deref();
    let source = source
        .map(|path| Source::open(path, arguments.message_size()))
        .transpose()?;
    let outputs = arguments.out.iter().chain(&arguments.record);
    input::check_files_differ(&arguments.send, outputs)?;
    let config = config(&arguments)?;
    let out = arguments.out.clone().map(MessageFile::open).transpose()?;
    let factory = arguments
        .record
        .as_deref()
        .map(recording::connection_factory)
        .transpose()?;
    let mut interrupt = Interrupt::new().await;
    let opened = tokio::select! {
        opened = open(&arguments, config, factory) => opened,
        () = interrupt.wait() => Err("interrupted".into()),
    };
    let connection = match opened {
        Ok(connection) => connection,
        Err(message) => {
            format.report_failure(
                || format!("{}: {message}", arguments.address),
                || super::failed(NUMBER, &arguments.address, &message),
            );
            return Err(Failure::Reported);
        }
    };
    // What is there is lost to an answer, not to a peer that cannot be reached.
    out.as_ref().map_or(Ok(()), MessageFile::clear)?;
    super::connected(format, NUMBER, connection.info());
    let mut counters = Counters::default();
    let progress = match source.as_ref().and_then(|source| source.len) {
        Some(len) if !arguments.until.prints() => progress::bar(len, "transfer"),
        _ => ProgressBar::hidden(),
    };
    let transfer = transfer(
        &arguments,
        source,
        connection,
        out,
        &mut counters,
        &progress,
    );
    let outcome = tokio::select! {
        outcome = transfer => outcome,
        () = interrupt.wait() => Err(broken("interrupted".into())),
    };
    progress.finish_and_clear();
    super::closed(format, NUMBER, counters, &outcome);
    // The error was reported as an event.
    outcome.map(drop).map_err(|_| Failure::Reported)
}

/// Returns the configuration, or wrong usage if it is invalid.
fn config(arguments: &Arguments) -> Result<Config, Failure> {
    let config = Config {
        role: Role::Initiator(Proposal {
            calling: arguments.local_tsel.clone(),
            called: arguments.remote_tsel.clone(),
            variable: arguments.variable.clone(),
            long_request: arguments.variable.is_some(),
            ..Proposal::default()
        }),
        tpdu_size: arguments.tpdu_size,
        timers: ConnectionTimers {
            answer_timeout: Some(arguments.timeout),
            drain_timeout: arguments.timeout,
            ..ConnectionTimers::default()
        },
        limits: ConnectionLimits {
            // Progress shows as room in the queue, so it holds little.
            send_queue: arguments.message_size().saturating_mul(4).max(MIN_QUEUE),
            ..ConnectionLimits::default()
        },
        ..Config::default()
    };
    match Machine::new(config.clone(), &Seed::from(0)) {
        Ok(_) => Ok(config),
        Err(error) => Err(Failure::Usage(error.to_string())),
    }
}

async fn open(
    arguments: &Arguments,
    config: Config,
    factory: Option<ConnectionFactory>,
) -> Result<Connection, String> {
    let mut options = ConnectionOptions {
        clock: recording::clock(),
        ..ConnectionOptions::from(config)
    };
    if let Some(factory) = factory {
        options.factory = factory;
    }
    let connecting = async {
        let found = arguments.address.clone().lookup().await?;
        cotp::connect(&found[..], options).await
    };
    // TCP and the answer have the same time each, so that the error of the connection is reported.
    match tokio::time::timeout(arguments.timeout * 2, connecting).await {
        Ok(outcome) => outcome.map_err(|error| match error {
            Error::Ended(_) => format!("{error}; {}", tried(arguments)),
            _ => error.to_string(),
        }),
        Err(_) => Err(format!("no connection within {:?}", arguments.timeout * 2)),
    }
}

/// Returns what the request proposed, since the service may have refused any of it.
fn tried(arguments: &Arguments) -> String {
    if let Some(variable) = &arguments.variable {
        return format!("the request had the variable part {}", hex(variable));
    }
    let show = |selector: &Option<Selector>| match selector {
        Some(selector) => format!("selector '{selector}'"),
        None => "no selector".into(),
    };
    format!(
        "the request had {} of this end, {} of the service, and TPDU size {}, in this order",
        show(&arguments.local_tsel),
        show(&arguments.remote_tsel),
        arguments.tpdu_size.octets()
    )
}

async fn transfer(
    arguments: &Arguments,
    source: Option<Source>,
    connection: Connection,
    out: Option<MessageFile>,
    counters: &mut Counters,
    progress: &ProgressBar,
) -> Result<Option<String>, Error> {
    let until = &arguments.until;
    let timer = StallTimer::new(until.wait.unwrap_or(arguments.timeout));
    let (sender, half) = connection.split();
    let mut receiver = Receiver {
        half,
        number: NUMBER,
        format: OutputFormat::of(arguments.json),
        is_printed: until.prints() && out.is_none(),
        out,
        counters,
    };
    let (echoes, came_back) = match &source {
        Some(source) if until.expect_echo => Some(source.echoes()).unzip(),
        _ => (None, None),
    };
    let sending = async {
        match source {
            Some(source) => {
                send(&sender, source, &timer, arguments.timeout, echoes, progress).await
            }
            None => Ok(()),
        }
    };
    let receiving = async {
        match came_back {
            Some(came_back) => receiver.compare(came_back, &timer, progress).await,
            None if until.prints() => {
                let may_pause = until.wait.is_some();
                receiver.receive(until.receive, may_pause, &timer).await
            }
            None => Ok(()),
        }
    };
    tokio::try_join!(sending, receiving)?;
    let ended = sender.clone();
    sender.close().await?;
    Ok(super::goodbye(&*ended.closed().await?))
}
