//! `farlink cotp listen`: accepts connections, and echoes or stores their messages.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use farlink::adapters::tokio::cotp::{
    self, Arrival, Connection, ConnectionOptions, Error, Listener,
};
use farlink::cotp::{Config, ConnectionTimers, Policy, Selector, TpduSize};
use serde_json::json;
use tokio::task::JoinSet;

use super::transfer::broken;
use super::{Counters, MessageFile, local, seconds, selector, tpdu_size};
use crate::interrupt::Interrupt;
use crate::output::{self, OutputFormat};
use crate::{Failure, input, recording};

/// Accepts COTP connections and receives their messages.
///
/// Ctrl-C closes the connections and ends the command.
///
/// Exit status 1: the address cannot be bound, or with --once the connection failed or lost octets, or none
/// came.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The IP address and port to listen on, port 102 by default
    #[arg(long, value_name = "ADDR", value_parser = local)]
    bind: SocketAddr,
    /// Accept only this called selector, in hex, and refuse others
    #[arg(long, value_name = "HEX", value_parser = selector)]
    tsel: Option<Selector>,
    /// Send every message back
    #[arg(long)]
    echo: bool,
    /// End after the first connection
    #[arg(long)]
    once: bool,
    /// Write the messages to this file, one behind the other, without separators
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The largest TPDU size to accept, in octets
    #[arg(long, value_name = "N", value_parser = tpdu_size, default_value = "65531")]
    tpdu_size: TpduSize,
    /// Close a connection on which nothing has come for this long, in seconds; never by default
    #[arg(long, value_name = "S", value_parser = seconds)]
    idle_timeout: Option<Duration>,
    /// Record connections as pcapng: the first into this file, further ones into numbered files beside it. The service has
    /// port 102 there, by which analysers know it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// The settings of all connections.
#[derive(Clone)]
struct Service {
    format: OutputFormat,
    echo: bool,
    out: Option<Arc<MessageFile>>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    input::check_files_differ([], arguments.out.iter().chain(&arguments.record))?;
    let policy = arguments.tsel.map_or(Policy::AcceptAny, |selector| {
        Policy::Selectors(vec![selector])
    });
    let config = Config {
        tpdu_size: arguments.tpdu_size,
        timers: ConnectionTimers {
            idle_timeout: arguments.idle_timeout,
            ..ConnectionTimers::default()
        },
        ..Config::responder(policy)
    };
    let service = Service {
        format: OutputFormat::of(arguments.json).with_failures(),
        echo: arguments.echo,
        out: arguments
            .out
            .map(MessageFile::open)
            .transpose()?
            .map(Arc::new),
    };
    let mut options = ConnectionOptions {
        clock: recording::clock(),
        ..ConnectionOptions::from(config)
    };
    if let Some(path) = &arguments.record {
        options.factory = recording::connection_factory(path)?;
    }
    let listener = cotp::listen(arguments.bind, options)
        .await
        .map_err(|error| Failure::Protocol(format!("{}: {error}", arguments.bind)))?;
    // What is there is lost to connections, not to an address that cannot be bound.
    service.out.as_ref().map_or(Ok(()), |out| out.clear())?;
    let address = listener.local_addr();
    let interrupt = Interrupt::new().await;
    service.format.report(
        || format!("listening on {address}"),
        || json!({ "event": "listening", "address": address.to_string() }),
    );
    serve_all(&listener, &service, arguments.once, interrupt).await
}

/// Serves connections until the command is interrupted, or the first one alone.
async fn serve_all(
    listener: &Listener,
    service: &Service,
    once: bool,
    mut interrupt: Interrupt,
) -> Result<(), Failure> {
    let mut count = 0;
    let mut served = JoinSet::new();
    loop {
        let (number, connection) = tokio::select! {
            arrived = next(listener, service, &mut count) => arrived?,
            Some(_) = served.join_next() => {
                if service.is_unread() {
                    return Err(Failure::Protocol(UNREAD.into()));
                }
                continue;
            }
            () = interrupt.wait() => break,
        };
        let (service, interrupt) = (service.clone(), interrupt.clone());
        let serving = async move { service.serve(number, connection, interrupt).await };
        if once {
            return serving.await;
        }
        // An error is reported as an event of the connection.
        served.spawn(serving);
    }
    if once {
        return Err(Failure::Reported);
    }
    // Each is interrupted too.
    while served.join_next().await.is_some() {}
    Ok(())
}

/// Waits for an open connection, and reports handshakes that fail.
async fn next(
    listener: &Listener,
    service: &Service,
    count: &mut u64,
) -> Result<(u64, Connection), Failure> {
    loop {
        let arrival = listener.next().await.map_err(Failure::protocol)?;
        *count += 1;
        let number = *count;
        match arrival {
            Arrival::Connection(connection) => return Ok((number, connection)),
            Arrival::Failed { remote, error } => {
                service.format.report(
                    || format!("#{number} from {remote} failed: {error}"),
                    || super::failed(number, &remote, &error.to_string()),
                );
            }
            // No configuration of this command asks the application.
            Arrival::Request(request) => drop(request),
        }
    }
}

/// Why the command ends whose output is closed.
const UNREAD: &str = "nobody reads standard output any more, so nothing more is received";

impl Service {
    /// Tells whether messages are lost because nobody reads the output, and neither a file nor the peer gets them.
    fn is_unread(&self) -> bool {
        output::is_stdout_closed() && self.out.is_none() && !self.echo
    }

    /// Serves one connection until it ends or the command is interrupted.
    async fn serve(
        &self,
        number: u64,
        mut connection: Connection,
        mut interrupt: Interrupt,
    ) -> Result<(), Failure> {
        super::connected(self.format, number, connection.info());
        let mut counters = Counters::default();
        let outcome = tokio::select! {
            outcome = self.take(number, &mut connection, &mut counters) => outcome,
            () = interrupt.wait() => connection.close().await.map(|()| None),
        };
        super::closed(self.format, number, counters, &outcome);
        // It was reported as an event.
        outcome.map(drop).map_err(|_| Failure::Reported)
    }

    async fn take(
        &self,
        number: u64,
        connection: &mut Connection,
        counters: &mut Counters,
    ) -> Result<Option<String>, Error> {
        while let Some(message) = connection.receive().await? {
            counters.count(&message);
            super::received(self.format, number, &message, false);
            if self.is_unread() {
                return Err(broken(UNREAD.into()));
            }
            if let Some(out) = &self.out {
                out.append(&message)?;
            }
            if self.echo && !message.is_empty() {
                connection.send(message).await?;
            }
        }
        Ok(super::goodbye(&*connection.closed().await?))
    }
}
