//! `farlink cotp connect`: sends a file, and compares the echo on request.

use core::time::Duration;
use std::path::PathBuf;

use bytes::Bytes;
use farlink::Seed;
use farlink::adapters::cotp::ConnectionFactory;
use farlink::adapters::tokio::cotp::{
    self, Connection, ConnectionOptions, Error, ReceiveHalf, SendHalf,
};
use farlink::cotp::{Config, Connection as Machine, Selector, TpduSize};
use indicatif::ProgressBar;

use super::{Counters, address, seconds, selector, tpdu_size};
use crate::address::Address;
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;
use crate::{Failure, input, progress, recording};

/// Connects to a COTP service, sends a file and closes.
///
/// Without --send it only connects and closes, which tells whether the selectors are right.
///
/// Exit status 1: the connection failed, octets were lost, the echo differs, or Ctrl-C.
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
    /// Wait until all octets came back, and compare them
    #[arg(long, requires = "send")]
    expect_echo: bool,
    /// The TPDU size to propose, in octets; 65531 is proposed by leaving it out (RFC 1006)
    #[arg(long, value_name = "N", value_parser = tpdu_size, default_value = "8192")]
    tpdu_size: TpduSize,
    /// Give up when connecting, sending or the echo makes no progress for this long, in seconds
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "10")]
    timeout: Duration,
    /// Record the connection into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// Octets of the smallest send queue.
const MIN_QUEUE: usize = 1 << 18;
/// The number of the only connection.
const NUMBER: u64 = 1;

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let data = match &arguments.send {
        Some(path) => Bytes::from(input::read(path)?),
        None => Bytes::new(),
    };
    if let (Some(send), Some(record)) = (&arguments.send, &arguments.record) {
        input::check_not_overwritten(send, record)?;
    }
    let config = config(&arguments)?;
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
                || super::failed(NUMBER, None, &message),
            );
            return Err(Failure::Reported);
        }
    };
    super::connected(format, NUMBER, connection.info());
    let mut counters = Counters::default();
    let outcome = tokio::select! {
        outcome = transfer(&arguments, format, data, connection, &mut counters) => outcome,
        () = interrupt.wait() => Err(broken("interrupted".into())),
    };
    super::closed(format, NUMBER, counters, outcome.as_ref().err());
    // The error was reported as an event.
    outcome.map_err(|_| Failure::Reported)
}

/// Returns the configuration, or wrong usage if it is invalid.
fn config(arguments: &Arguments) -> Result<Config, Failure> {
    let message_size = usize::try_from(arguments.message_size).unwrap_or(usize::MAX);
    let config = Config {
        tpdu_size: arguments.tpdu_size,
        answer_timeout: Some(arguments.timeout),
        // Progress shows as room in the queue, so it holds little.
        send_queue: message_size.saturating_mul(4).max(MIN_QUEUE),
        ..Config::initiator(arguments.local_tsel.clone(), arguments.remote_tsel.clone())
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
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no connection within {:?}", arguments.timeout * 2)),
    }
}

async fn transfer(
    arguments: &Arguments,
    format: OutputFormat,
    data: Bytes,
    connection: Connection,
    counters: &mut Counters,
) -> Result<(), Error> {
    let size = usize::try_from(arguments.message_size).unwrap_or(usize::MAX);
    let progress = progress::bar(data.len() as u64, "transfer");
    let (sender, mut receiver) = connection.split();
    if arguments.expect_echo {
        let timeout = arguments.timeout;
        let echoed = compare(&mut receiver, &data, format, timeout, counters, &progress);
        tokio::try_join!(send(&sender, &data, size, timeout, None), echoed)?;
    } else {
        let timeout = arguments.timeout;
        send(&sender, &data, size, timeout, Some(&progress)).await?;
    }
    progress.finish_and_clear();
    sender.close().await
}

/// Sends the data and flushes them. Fails if the peer reads nothing for `timeout`.
pub(crate) async fn send(
    sender: &SendHalf,
    data: &Bytes,
    size: usize,
    timeout: Duration,
    progress: Option<&ProgressBar>,
) -> Result<(), Error> {
    let mut at = 0;
    let stalled = |at| {
        let len = data.len();
        broken(format!(
            "the peer read nothing for {timeout:?}, {at} of {len} octets were queued"
        ))
    };
    while at < data.len() {
        let end = data.len().min(at + size);
        let sending = tokio::time::timeout(timeout, sender.send(data.slice(at..end)));
        sending.await.map_err(|_| stalled(at))??;
        if let Some(progress) = progress {
            progress.inc((end - at) as u64);
        }
        at = end;
    }
    let flushing = tokio::time::timeout(timeout, sender.flush());
    flushing.await.map_err(|_| stalled(at))?
}

/// Receives until as many octets came back as were sent, and compares them.
pub(crate) async fn compare(
    receiver: &mut ReceiveHalf,
    data: &Bytes,
    format: OutputFormat,
    timeout: Duration,
    counters: &mut Counters,
    progress: &ProgressBar,
) -> Result<(), Error> {
    let mut at = 0;
    while at < data.len() {
        let came_back = || format!("{at} of {} octets came back", data.len());
        let waiting = tokio::time::timeout(timeout, receiver.receive());
        let message = waiting
            .await
            .map_err(|_| broken(format!("no echo for {timeout:?}, {}", came_back())))??
            .ok_or_else(|| broken(format!("closed by the peer, {}", came_back())))?;
        counters.count(&message);
        super::received(format, NUMBER, &message);
        let end = at + message.len();
        if data.get(at..end) != Some(&message[..]) {
            return Err(broken(format!(
                "the echo differs within octets {at} to {end}"
            )));
        }
        progress.inc(message.len() as u64);
        at = end;
    }
    Ok(())
}

fn broken(message: String) -> Error {
    Error::Io(std::io::Error::other(message))
}
