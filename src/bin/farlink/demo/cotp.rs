//! COTP in the demo: a refused call, a recorded conversation, and a file in both directions.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;

use farlink::Instant;
use farlink::adapters::Clock;
use farlink::adapters::tokio::cotp::{self, Connection, ConnectionOptions, Error, Listener};
use farlink::cotp::{Config, Policy, Selector, TpduSize};

use super::{Arguments, draw, random_octets, speed};
use crate::cotp::Counters;
use crate::cotp::transfer::{Receiver, Source, Watch, send};
use crate::decode::Protocol;
use crate::output::{self, OutputFormat};
use crate::{Failure, progress, recording};

/// Selectors as of IEC 61850 devices.
const CLIENT: u16 = 0x0001;
const SERVER: u16 = 0x0102;
const UNKNOWN: u16 = 0x0666;
const MESSAGE: usize = 64 << 10;
/// How long nothing moves before the file is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn show(arguments: &Arguments) -> Result<(), Failure> {
    let policy = Policy::Selectors(vec![Selector::from(SERVER)]);
    let config = Config {
        tpdu_size: TpduSize::LARGEST,
        ..Config::responder(policy)
    };
    let listener = cotp::listen("127.0.0.1:0", config)
        .await
        .map_err(failure("server"))?;
    let address = listener.local_addr();
    tokio::spawn(serve(listener));
    output::line(&format!(
        "COTP class 0 over TPKT; a server with selector {SERVER:04x} on {address}\n"
    ));

    refusal(address).await?;
    let recorded = arguments.out.join("cotp.pcapng");
    conversation(address, &recorded).await?;
    output::line("a conversation, as the client saw it:\n");
    let title = "COTP over loopback, as the client saw it";
    draw(&recorded, Protocol::Cotp, &["client", "server"], title)?;
    file(
        address,
        usize::try_from(arguments.size).unwrap_or(usize::MAX) << 20,
    )
    .await
}

/// Echoes all messages.
async fn serve(listener: Listener) -> Result<(), Error> {
    loop {
        let connection = listener.accept().await?;
        tokio::spawn(echo(connection));
    }
}

async fn echo(mut connection: Connection) -> Result<(), Error> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    Ok(())
}

fn failure(who: &'static str) -> impl Fn(Error) -> Failure {
    move |error| Failure::Protocol(format!("{who}: {error}"))
}

fn client(called: u16) -> Config {
    Config::initiator(Some(Selector::from(CLIENT)), Some(Selector::from(called)))
}

async fn refusal(address: SocketAddr) -> Result<(), Failure> {
    match cotp::connect(address, client(UNKNOWN)).await {
        Err(Error::Ended(end)) => {
            output::line(&format!(
                "a client that calls selector {UNKNOWN:04x} is told: {end}\n"
            ));
            Ok(())
        }
        Err(error) => Err(failure("client")(error)),
        Ok(_) => Err(Failure::Protocol(String::from(
            "a wrong selector was accepted",
        ))),
    }
}

/// Exchanges some messages, and records them.
async fn conversation(address: SocketAddr, recorded: &Path) -> Result<(), Failure> {
    let config = Config {
        tpdu_size: TpduSize::CLASS_0,
        ..client(SERVER)
    };
    let options = ConnectionOptions {
        factory: recording::connection_factory(recorded)?,
        ..ConnectionOptions::from(config)
    };
    let mut connection = cotp::connect(address, options)
        .await
        .map_err(failure("client"))?;
    for size in [5, 2045, 5000] {
        let message = random_octets(size, 1);
        connection
            .send(message.clone())
            .await
            .map_err(failure("client"))?;
        let echoed = connection.receive().await.map_err(failure("client"))?;
        if echoed != Some(message) {
            return Err(Failure::Protocol(format!(
                "{size} octets came back changed"
            )));
        }
    }
    connection.close().await.map_err(failure("client"))
}

/// Sends a file to the echo server, and compares what comes back.
async fn file(address: SocketAddr, size: usize) -> Result<(), Failure> {
    let data = random_octets(size, 2);
    let config = Config {
        tpdu_size: TpduSize::LARGEST,
        ..client(SERVER)
    };
    let connection = cotp::connect(address, config)
        .await
        .map_err(failure("client"))?;
    let tpdu_size = connection.info().tpdu_size;
    let (sender, half) = connection.split();
    let bar = progress::bar(data.len() as u64, "both ways");
    let clock = Clock::new();
    let mut receiver = Receiver {
        half,
        number: 1,
        format: OutputFormat::of(false),
        is_printed: false,
        out: None,
        counters: &mut Counters::default(),
    };
    let source = Source::new(std::io::Cursor::new(data), None, MESSAGE);
    let (echoes, came_back) = source.echoes();
    let watch = Watch::new(TIMEOUT);
    let sending = send(&sender, source, &watch, TIMEOUT, Some(echoes), &bar);
    let receiving = receiver.compare(came_back, &watch, &bar);
    tokio::try_join!(sending, receiving).map_err(failure("client"))?;
    let span = clock.now() - Instant::ZERO;
    bar.finish_and_clear();
    sender.close().await.map_err(failure("client"))?;
    let (mebibytes, speed) = (size >> 20, speed(size, span));
    output::line(&format!(
        "a file of {mebibytes} MiB went there and back unchanged, TPDU size {tpdu_size}: {speed} each way at once"
    ));
    Ok(())
}
