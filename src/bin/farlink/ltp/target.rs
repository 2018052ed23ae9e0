//! The engine that a command sends to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU64;
use core::time::Duration;
use std::io::ErrorKind;
use std::path::PathBuf;

use farlink::adapters::tokio::ltp::Node;
use farlink::ltp::{Config, Peer};
use tokio::task::JoinSet;

use super::peer_addr::{PeerAddr, local, peer_addr};
use super::{DEFAULT_LIMIT, PeerOptions, Role, at_rate, factory, id, segment_len};
use crate::Failure;
use crate::output::OutputFormat;

/// A datagram that every receiver drops (RFC 7122 section 3.4).
const KEEPALIVE: [u8; 4] = [0; 4];
/// How long a report of the network is waited for.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// This engine, the engine to send to, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The ID of this engine
    #[arg(long, value_name = "N", value_parser = id)]
    pub(super) engine: u64,
    /// The engine to send to, and its host or IP address and port, port 1113 by default
    #[arg(long, value_name = "N=ADDR", value_parser = peer_addr)]
    pub(super) to: PeerAddr,
    /// The IP address and port to send from
    #[arg(long, value_name = "ADDR", value_parser = local)]
    pub(super) bind: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) peer_options: PeerOptions,
    /// Octets of the longest segment
    #[arg(long, value_name = "N", value_parser = segment_len, default_value_t = 1400)]
    pub(super) segment: usize,
    /// The sending rate, in bits per second. By default 100 Mbit/s at first, then as fast as the peer bears; for
    /// a radio, give its rate
    #[arg(long, value_name = "BPS", value_parser = clap::value_parser!(u64).range(8..))]
    pub(super) rate: Option<u64>,
    /// Record the node into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
}

/// A node with one peer.
pub(super) struct Connected {
    pub(super) node: Node,
    pub(super) address: SocketAddr,
    /// Light times to the peer and back.
    pub(super) light: Duration,
    contacts: JoinSet<()>,
}

impl Connected {
    /// Waits until the contact plan is over. Without one it never is.
    pub(super) async fn plan_over(&mut self) {
        if self.contacts.join_next().await.is_none() {
            core::future::pending::<()>().await;
        }
    }
}

impl Target {
    /// Starts a node with the target as its only peer, whose parameters `tune` completes.
    pub(super) async fn connect(
        &self,
        format: OutputFormat,
        tune: impl FnOnce(Peer<SocketAddr>) -> Peer<SocketAddr>,
    ) -> Result<Connected, Failure> {
        if self.to.engine == self.engine {
            let message = format!("--to {0}: this engine has ID {0}", self.engine);
            return Err(Failure::Usage(message));
        }
        let parameters = self.peer_options.load()?;
        let address = self.to.resolve(self.bind).await?;
        let mut peer = parameters.peer(address);
        peer.segment = self.segment;
        // These commands receive no blocks, so they must not acknowledge any.
        peer.limits.imports = 0;
        let rate = self.rate.and_then(|bits| NonZeroU64::new(bits / 8));
        let peer = tune(at_rate(peer, rate));
        let plan = parameters.contacts(format, self.engine, (self.to.engine, &peer))?;
        let mut config = Config::engine(self.engine);
        config.limits.export_octets = DEFAULT_LIMIT;
        let mut light = peer.timers.owlt_out + peer.timers.owlt_in;
        let factory = factory(self.record.as_deref(), Role::Sender, format)?;
        let bind = self.bind.unwrap_or_else(|| local_address_for(address));
        let node = super::bind(bind, config, factory)?;
        node.add_peer(self.to.engine, peer)
            .map_err(super::failure_of)?;
        let mut contacts = JoinSet::new();
        if let Some(mut plan) = plan {
            plan.begin(&node).map_err(super::failure_of)?;
            light = plan.peer.timers.owlt_out + plan.peer.timers.owlt_in;
            contacts.spawn(plan.follow(node.clone()));
        }
        Ok(Connected {
            node,
            address,
            light,
            contacts,
        })
    }
}

/// Returns the local address from which the peer is reached, as far as the system knows one.
fn local_address_for(peer: SocketAddr) -> SocketAddr {
    let looked_up = std::net::UdpSocket::bind((unspecified(peer), 0)).and_then(|socket| {
        // Nothing is sent.
        socket.connect(peer)?;
        socket.local_addr()
    });
    let any = unspecified(peer);
    SocketAddr::new(looked_up.map_or(any, |local| local.ip()), 0)
}

fn unspecified(peer: SocketAddr) -> IpAddr {
    match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Tells whether the host of the peer reports that no socket has the port (ICMP). Systems hand such reports to
/// connected sockets only, and that of a node is not.
pub(crate) async fn is_port_closed(peer: SocketAddr) -> bool {
    let asked = async {
        let socket = tokio::net::UdpSocket::bind((unspecified(peer), 0)).await?;
        socket.connect(peer).await?;
        socket.send(&KEEPALIVE).await?;
        socket.recv(&mut [0]).await
    };
    match tokio::time::timeout(REPORT_TIMEOUT, asked).await {
        Ok(answer) => answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused),
        Err(_) => false,
    }
}
