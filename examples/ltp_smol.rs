//! LTP on `smol`: each engine is a task that owns its machine and its socket.
//!
//! No adapter is used: a runtime that the crate has no driver for needs a socket, a timer and this loop.
//!
//! `cargo run --features std,ltp --example ltp_smol`

#![expect(
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::error::Error;

use farlink::adapters::Clock;
use farlink::ltp::{Block, Config, Engine, Event, Peer, Service};
use farlink::{Instant, Limits, Machine as _, Output, Path, Seed, Tag, Transmit};
use smol::net::UdpSocket;
use smol::{Timer, future};

/// Drives an engine until `until` likes one of its events.
async fn drive(
    mut engine: Engine<Path>,
    socket: UdpSocket,
    clock: Clock,
    mut until: impl FnMut(&Event) -> bool,
) -> Result<Event, Box<dyn Error>> {
    let local = socket.local_addr()?;
    let mut tx = Transmit::new(Limits::default());
    let mut octets = vec![0; 1 << 16];
    loop {
        let deadline = loop {
            match engine.poll(clock.now(), &mut tx) {
                Output::Transmit => {
                    // One destination, several datagrams. Waiting for a UDP socket holds up nobody else: it
                    // drains at the rate of the line.
                    for datagram in tx.datagrams() {
                        if let Some(to) = tx.to() {
                            // An error costs one datagram: the protocol repeats what is lost.
                            let _ = socket.send_to(datagram, to.remote).await;
                        }
                    }
                }
                Output::Event(event) if until(&event) => return Ok(event),
                Output::Event(_) | Output::Ask(_) => {}
                Output::Yield => break Some(clock.now()),
                Output::Idle(deadline) => break deadline,
                Output::Done => break None,
            }
        };
        let received = async { Some(socket.recv_from(&mut octets).await) };
        let woken = async {
            sleep_until(&clock, deadline).await;
            None
        };
        // Errors that ICMP messages report end nothing: anybody can forge one.
        if let Some(Ok((len, remote))) = future::or(received, woken).await {
            let from = Path::udp(local, remote);
            engine.receive(clock.now(), from, octets.get(..len).unwrap_or_default());
        }
    }
}

async fn sleep_until(clock: &Clock, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => drop(Timer::after(clock.wait(deadline)).await),
        None => future::pending().await,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let clock = Clock::new();
        let (here, there) = (
            UdpSocket::bind("127.0.0.1:0").await?,
            UdpSocket::bind("127.0.0.1:0").await?,
        );
        let (near, far) = (here.local_addr()?, there.local_addr()?);

        let mut earth = Engine::new(Config::engine(1), Seed::from(1))?;
        earth.add_peer(clock.now(), 2, Peer::at(Path::udp(near, far)))?;
        let block = Block::red(Tag(1), 2, 4, "hello from a task".into());
        earth.send_block(clock.now(), block)?;

        let mut mars = Engine::new(Config::engine(2), Seed::from(2))?;
        mars.add_peer(clock.now(), 1, Peer::at(Path::udp(far, near)))?;
        mars.open(clock.now(), 4, Service::Whole)?;

        let sender = drive(earth, here, clock, |event| {
            matches!(event, Event::Complete { .. } | Event::Failed { .. })
        });
        // The receiver goes on after the block: the sender may need its report once more.
        let receiver = drive(mars, there, clock, |event| {
            if let Event::Received { data, .. } = event {
                println!("received {:?}", String::from_utf8_lossy(data));
            }
            false
        });
        match future::or(sender, receiver).await? {
            Event::Complete { .. } => println!("complete"),
            event => println!("{event:?}"),
        }
        Ok(())
    })
}
