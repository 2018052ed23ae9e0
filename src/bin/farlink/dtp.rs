//! `farlink dtp`: payloads between nodes of CSP.

mod get;
mod output_file;
mod serve;
mod session;
mod source;

use core::net::SocketAddr;
use core::str::FromStr;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::tokio::dtp::{DtpOptions, Error, Node};
use farlink::csp::{SharedKey, Version};
use farlink::dtp::Config;

use crate::Failure;
use crate::address::Address;
use crate::input;

/// The events of the commands.
const EVENTS: &str = "\
Events of serve, with --json one object per line:

  event      fields
  listening  address, remote, node
  payload    payload, octets, file: what is served
  serving    client, payload, octets: a request of a client is answered
  changed    payload, octets, file: the file has changed, which clients are told
  unread     payload, file, reason: the file cannot be read; its transfers end
  error      reason: why the command failed

Events of get:

  asking     server, payload, address, remote, file, received: octets that an
             earlier run has got
  started    octets: the server has the payload
  progress   received, octets: every 10 s
  silent     server, seconds: nothing was heard for so long
  complete   octets, requests, rounds, asked_again, checked, seconds, file
  failed     cause, reason, received, octets, missing, ranges, rounds,
             asked_again, seconds, file, session
  error      as above

Event of session:

  session    server, payload, octets, mtu, rate, session, crc32c, generation,
             received, missing, ranges

  octets     octets of the payload, or that will be sent; null if not known
  cause      interrupted, refused, no_answer, fruitless, payload_changed,
             damaged, too_many_rounds, bad_response, or not_written
  rounds     how often all that was missing was asked for
  asked_again  packets that were asked for more than once
  checked    whether the octets are known to be right, by the CRC-32C that the
             server has told
  missing    the first ranges that are missing, at most 64: pairs of the first
             octet and the one behind the last; null if the size is not known
  ranges     how many ranges are missing
  file       where the octets are; null if none have come
  session    of failed: the file with which --resume goes on, or null; of
             session: the session id in packets of data
  crc32c     of the payload; null, as generation, if the server did not tell";

/// The Data Transfer Protocol over CSP, as libdtp and libcsp have them.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Serve(serve::Arguments),
    Get(get::Arguments),
    Session(session::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    // Files are written in this thread, while a worker drives the node.
    match command {
        Command::Serve(arguments) => crate::block_on(1, serve::run(&arguments)),
        Command::Get(arguments) => crate::block_on(1, get::run(&arguments)),
        Command::Session(arguments) => session::run(&arguments),
    }
}

/// The port of CSP over UDP in libcsp.
const PORT: u16 = 9600;

/// Octets of the trailer of HMAC.
const HMAC_LEN: u16 = 4;

/// Packets of a transfer are at most this long.
const MAX_MTU: u16 = 64_996;

/// The node and its interface.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArguments {
    /// The CSP address of this node
    #[arg(long, value_name = "N")]
    node: u16,
    /// The UDP interface: the IP address and port to bind, and the host or IP address and port of the peer. Each
    /// datagram is a packet. Port 9600 by default
    #[arg(long, value_name = "LOCAL,REMOTE")]
    udp: UdpInterface,
    /// The version of headers: 1 as of libcsp 1.x, or 2 as of libcsp 2.x
    #[arg(long, value_name = "N", value_parser = version, default_value = "2")]
    csp: Version,
    /// A file with a passphrase, of which libcsp makes the key: all packets of the node carry HMAC, and none without is
    /// taken. libdtp has no HMAC
    #[arg(long, value_name = "FILE")]
    hmac_key_file: Option<PathBuf>,
}

/// What `--udp` says.
#[derive(Debug, Clone)]
struct UdpInterface {
    local: SocketAddr,
    remote: Address,
}

impl FromStr for UdpInterface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((local, remote)) = text.split_once(',') else {
            return Err("two addresses with a comma between them, LOCAL,REMOTE".into());
        };
        Ok(Self {
            local: Address::parse_local(local, PORT)?,
            remote: Address::parse(remote, PORT)?,
        })
    }
}

/// Reads a passphrase. A line end behind it is none of it.
fn hmac_key(file: &Path) -> Result<SharedKey, Failure> {
    let text = input::read_text(file)?;
    let passphrase = text.trim_end_matches(['\r', '\n']);
    if passphrase.is_empty() {
        return Err(Failure::file(file, "no passphrase"));
    }
    Ok(SharedKey::from_passphrase(passphrase.as_bytes()))
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "1" => Ok(Version::V1),
        "2" => Ok(Version::V2),
        _ => Err("version 1 or 2".into()),
    }
}

/// A node on its interface.
pub(crate) struct Started {
    pub(crate) node: Node,
    local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl NodeArguments {
    /// Starts the node with a configuration that lacks what these arguments say.
    pub(crate) async fn start(&self, mut config: Config) -> Result<Started, Failure> {
        config.csp.address = self.node;
        config.csp.version = self.csp;
        if let Some(file) = &self.hmac_key_file {
            config.csp.hmac_key = Some(hmac_key(file)?);
            config.csp.requests.hmac = true;
            config.csp.services.require_hmac = true;
            config.hmac = true;
            // As much data as without.
            config.csp.max_data += HMAC_LEN;
        }
        let remote = self.remote().await?;
        let local = self.udp.local;
        let bound = UdpSocket::bind(local).and_then(|socket| {
            let local = socket.local_addr()?;
            let mut interfaces = Interfaces::new();
            interfaces.add_udp_peer(0, socket, remote)?;
            Ok((local, interfaces))
        });
        let (local, interfaces) =
            bound.map_err(|error| Failure::Protocol(format!("{local}: {error}")))?;
        let options = DtpOptions::from(config);
        let node = Node::start(interfaces, options).map_err(failure_of)?;
        Ok(Started {
            node,
            local,
            remote,
        })
    }

    /// Returns the address of the peer that the socket can reach.
    async fn remote(&self) -> Result<SocketAddr, Failure> {
        let UdpInterface { local, remote } = &self.udp;
        let found = remote.clone().lookup().await;
        let found = found.map_err(Failure::protocol)?;
        let is_reached = |it: &&SocketAddr| it.is_ipv4() == local.is_ipv4();
        found.iter().find(is_reached).copied().ok_or_else(|| {
            let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
            Failure::Usage(format!(
                "--udp: {remote} has no {family} address, as {local} is one"
            ))
        })
    }
}

/// Returns wrong usage for what a node refuses, and a failure for all else.
pub(crate) fn failure_of(error: Error) -> Failure {
    match error {
        Error::Refused(_) | Error::Config(_) => Failure::Usage(error.to_string()),
        _ => Failure::protocol(error),
    }
}
