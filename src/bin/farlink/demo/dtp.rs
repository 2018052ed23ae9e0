//! DTP over CSP in the demo: a payload that is got in two parts, by a session.

use core::net::{Ipv4Addr, SocketAddr};
use std::net::UdpSocket;

use farlink::adapters::Clock;
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::tokio::dtp::{Download, Error, Node};
use farlink::dtp::{Config, GetOptions};
use farlink::{Instant, csp};

use super::{Arguments, random_octets, speed};
use crate::dtp::failure_of;
use crate::{Failure, output, progress};

const SERVER: u16 = 1;
const CLIENT: u16 = 2;
const PAYLOAD: u8 = 3;
/// Octets of a packet.
const MTU: u16 = 1032;
/// Octets per second.
const RATE: u32 = 50_000_000;

pub(super) async fn show(arguments: &Arguments) -> Result<(), Failure> {
    let (near, far) = (socket()?, socket()?);
    let (client_at, server_at) = (near.local_addr(), far.local_addr());
    let (client_at, server_at) = (client_at.map_err(unbound)?, server_at.map_err(unbound)?);
    let server = node(SERVER, far, client_at)?;
    let client = node(CLIENT, near, server_at)?;
    let size = usize::try_from(arguments.size).unwrap_or(usize::MAX) << 20;
    let data = random_octets(size, 5);
    server.serve(PAYLOAD, data.clone()).map_err(failure_of)?;
    output::line(&format!(
        "DTP over CSP; node {SERVER} on {server_at}, and node {CLIENT} on {client_at}\n"
    ));

    let options = GetOptions {
        throughput: RATE,
        mtu: MTU,
        ..GetOptions::default()
    };
    let bar = progress::bar(data.len() as u64, "received");
    let clock = Clock::new();
    let mut received = vec![0; size];
    let mut download = client.get(SERVER, PAYLOAD, options).map_err(failure_of)?;
    while download.progress().received < data.len() as u64 / 2 {
        take(&mut download, &mut received).await?;
        bar.set_position(download.progress().received);
    }
    let session = download.session();
    let session = session.ok_or_else(|| Failure::Protocol("the download has no session".into()))?;
    drop(download);
    let first = session.received_octets();
    let mut download = client.get_rest(session, options).map_err(failure_of)?;
    while take(&mut download, &mut received).await? {
        bar.set_position(download.progress().received);
    }
    let span = clock.now() - Instant::ZERO;
    bar.finish_and_clear();
    let again = download.progress().asked_again;
    tokio::join!(client.shutdown(), server.shutdown());
    if received != data {
        return Err(Failure::Protocol("the payload came over changed".into()));
    }
    output::line(&format!(
        "a payload of {} MiB was interrupted after {first} octets, resumed, and is whole: {}, {again} packets asked again",
        size >> 20,
        speed(size, span)
    ));
    Ok(())
}

/// Puts the next octets in their place. Returns whether there were any.
async fn take(download: &mut Download, received: &mut [u8]) -> Result<bool, Failure> {
    let Some(run) = download.next_run().await.map_err(failure_of)? else {
        return Ok(false);
    };
    let start = usize::try_from(run.offset).unwrap_or(usize::MAX);
    let place = received.get_mut(start..start.saturating_add(run.data.len()));
    let place = place.ok_or_else(|| Failure::Protocol("octets behind the payload".into()))?;
    place.copy_from_slice(&run.data);
    Ok(true)
}

fn node(address: u16, socket: UdpSocket, peer: SocketAddr) -> Result<Node, Failure> {
    let mut interfaces = Interfaces::new();
    interfaces.add_udp_peer(0, socket, peer).map_err(unbound)?;
    let csp = csp::Config {
        address,
        max_data: MTU,
        ..csp::Config::default()
    };
    let config = Config {
        csp,
        ..Config::default()
    };
    Node::start(interfaces, config).map_err(failure_of)
}

fn socket() -> Result<UdpSocket, Failure> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(unbound)
}

fn unbound(error: std::io::Error) -> Failure {
    failure_of(Error::Io(error))
}
