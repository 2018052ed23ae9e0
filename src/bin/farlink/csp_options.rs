//! The options of a node of CSP: its address, interfaces, routes and key.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use farlink::adapters::interfaces::Interfaces;
use farlink::csp::carriers::ByteOrder;
use farlink::csp::{
    Config, Encapsulation, InterfaceConfig, PingService, Route, RouteFault, SharedKey, Text,
    Version,
};

use farlink::record::Recorded;

use crate::address::Address;
use crate::recording::NodeFactory;
use crate::{Failure, input, recording};

/// The port of CSP over UDP in libcsp.
const PORT: u16 = 9600;

/// A node and its interfaces.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArguments {
    /// The CSP address of this node
    #[arg(long, value_name = "N")]
    pub(crate) node: u16,
    #[command(flatten)]
    interfaces: InterfaceArguments,
    /// The version of headers: 1 as of libcsp 1.x, whose nodes answer pings and requests without CRC32 too, or 2 as of
    /// libcsp 2.x
    #[arg(long, value_name = "N", value_parser = version, default_value = "2")]
    csp: Version,
    /// Routes as libcsp writes them: `ADDRESS[/BITS] INTERFACE [VIA]`, with commas between. Interfaces are called UDP,
    /// KISS, ZMQHUB and CAN, further ones of a kind UDP2, UDP3 and so on. Without routes packets leave by all
    /// interfaces
    #[arg(long, value_name = "ROUTES")]
    route: Vec<String>,
    /// The file of the passphrase for HMAC, which ends at the first line break: requests and transfers carry HMAC,
    /// and services answer those alone that do. libdtp has no HMAC
    #[arg(long, value_name = "FILE")]
    hmac_key_file: Option<PathBuf>,
    /// The form of ZMQ messages of version 1: the next hop and a header with the lowest octet first, or with the
    /// highest one first, or the packet alone
    #[arg(long, value_name = "FORM", value_enum, default_value_t = ZmqForm::Little, requires = "zmq")]
    zmq_form: ZmqForm,
    /// Record the node into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// The interfaces of a node, one at least.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct InterfaceArguments {
    /// A UDP interface: the IP address and port to bind, and the host or IP address and port of the peer. Each
    /// datagram is a packet. Port 9600 by default. As the other interfaces, it can be given several times
    #[arg(long, value_name = "LOCAL,REMOTE")]
    udp: Vec<UdpInterface>,
    /// A serial line with frames of KISS, at this many baud
    #[arg(long, value_name = "DEVICE@BAUD")]
    kiss: Vec<SerialLine>,
    /// A hub of ZMQ at a host: ports 6000 and 7000
    #[arg(long, value_name = "HOST")]
    zmq: Vec<String>,
    /// A CAN bus of Linux, such as can0
    #[arg(long, value_name = "BUS")]
    can: Vec<String>,
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

/// What `--kiss` says.
#[derive(Debug, Clone)]
struct SerialLine {
    device: PathBuf,
    baud: u32,
}

impl FromStr for SerialLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((device, baud)) = text.rsplit_once('@').filter(|(it, _)| !it.is_empty()) else {
            return Err("a device and its baud, DEVICE@BAUD".into());
        };
        let number = baud.parse().ok().filter(|baud| *baud > 0);
        Ok(Self {
            device: device.into(),
            baud: number.ok_or_else(|| format!("`{baud}` is not a number of baud"))?,
        })
    }
}

/// What `--zmq-form` says.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ZmqForm {
    Little,
    Big,
    Packet,
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "1" => Ok(Version::V1),
        "2" => Ok(Version::V2),
        _ => Err("version 1 or 2".into()),
    }
}

/// What a node does with packets for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It takes none.
    End,
    /// It passes them on.
    Router,
}

impl NodeArguments {
    /// Refuses the address of this node as that of a peer.
    pub(crate) fn check_peer(&self, address: u16) -> Result<(), Failure> {
        if address == self.node {
            let message = format!("{address} is the address of this node, as --node says");
            return Err(Failure::Usage(message));
        }
        Ok(())
    }

    /// Returns what makes the machine of the node, with a recorder around it if that is asked for.
    pub(crate) fn factory<M, E>(&self) -> Result<NodeFactory<M, E>, Failure>
    where
        M: Recorded<ConfigError: Into<E>> + Send + 'static,
        NodeFactory<M, E>: Default,
    {
        let file = self.record.as_deref();
        file.map_or_else(|| Ok(NodeFactory::default()), recording::node_factory)
    }

    /// Opens the interfaces, and completes a configuration with what these options say.
    pub(crate) async fn attach(
        &self,
        config: &mut Config,
        role: Role,
    ) -> Result<(Interfaces, Links), Failure> {
        config.address = self.node;
        config.version = self.csp;
        config.forward = role == Role::Router;
        if self.csp == Version::V1 {
            config.services.require_crc32 = false;
            if config.ping == PingService::RequireCrc32 {
                config.ping = PingService::Any;
            }
        }
        self.read_key(config)?;
        let devices = self.interfaces.devices();
        config.interfaces = self.interface_configs(&devices, role);
        config.routes = self.routes(&config.interfaces)?;
        let mut interfaces = Interfaces::new();
        let mut links = Links(Vec::new());
        for (number, (device, config)) in devices.iter().zip(&config.interfaces).enumerate() {
            let number = u8::try_from(number)
                .map_err(|_| Failure::Usage("more than the limit of 256 interfaces".into()))?;
            let (local, remote) = self.open(&mut interfaces, number, device, role).await?;
            links.0.push(LinkName {
                interface: config.name.to_string(),
                local,
                remote,
            });
        }
        Ok((interfaces, links))
    }

    fn read_key(&self, config: &mut Config) -> Result<(), Failure> {
        let Some(file) = &self.hmac_key_file else {
            return Ok(());
        };
        let text = input::read_text(file)?;
        let passphrase = text.lines().next().filter(|line| !line.is_empty());
        let passphrase = passphrase.ok_or_else(|| Failure::file(file, "no passphrase"))?;
        config.hmac_key = Some(SharedKey::from_passphrase(passphrase.as_bytes()));
        config.requests.hmac = true;
        config.services.require_hmac = true;
        Ok(())
    }

    fn interface_configs(&self, devices: &[Device<'_>], role: Role) -> Vec<InterfaceConfig> {
        let mut configs: Vec<InterfaceConfig> = Vec::new();
        for (place, device) in devices.iter().enumerate() {
            let before = devices.iter().take(place);
            let name = match before.filter(|it| it.kind() == device.kind()).count() {
                0 => device.kind().into(),
                before => format!("{}{}", device.kind(), before + 1),
            };
            configs.push(InterfaceConfig {
                // Bound: a kind and three digits have at most 9 octets.
                name: Text::new(&name).unwrap_or_default(),
                is_default: self.route.is_empty(),
                encapsulation: self.encapsulation(device, role),
                ..InterfaceConfig::default()
            });
        }
        configs
    }

    const fn encapsulation(&self, device: &Device<'_>, role: Role) -> Encapsulation {
        match (device, self.csp, self.zmq_form) {
            (Device::Udp(_), ..)
            | (Device::Zmq(_), Version::V2, _)
            | (Device::Zmq(_), _, ZmqForm::Packet) => Encapsulation::Packet,
            (Device::Zmq(_), _, ZmqForm::Little) => Encapsulation::NextHop(ByteOrder::LittleEndian),
            (Device::Zmq(_), _, ZmqForm::Big) => Encapsulation::NextHop(ByteOrder::BigEndian),
            (Device::Kiss(_), ..) => Encapsulation::KISS,
            (Device::Can(_), ..) => Encapsulation::Can {
                promiscuous: matches!(role, Role::Router),
            },
        }
    }

    fn routes(&self, interfaces: &[InterfaceConfig]) -> Result<Vec<Route>, Failure> {
        let routes = Route::parse_table(&self.route.join(","), self.csp, interfaces);
        routes.map_err(|error| {
            let names = interfaces.iter().map(|it| it.name.as_str());
            let names = match error.fault {
                RouteFault::Interface => format!(" (of {})", names.collect::<Vec<_>>().join(", ")),
                _ => String::new(),
            };
            Failure::Usage(format!("--route: {error}{names}"))
        })
    }

    /// Opens an interface, and returns where it is and where its peer is, as far as it has one.
    async fn open(
        &self,
        interfaces: &mut Interfaces,
        number: u8,
        device: &Device<'_>,
        role: Role,
    ) -> Result<(String, Option<SocketAddr>), Failure> {
        if let Some(feature) = device.missing_feature() {
            let option = device.option();
            return Err(Failure::Usage(format!(
                "{option}: this build lacks it; build farlink with the feature {feature}"
            )));
        }
        let (name, added) = match device {
            Device::Udp(udp) => {
                let remote = udp.remote().await?;
                let bound = UdpSocket::bind(udp.local).and_then(|socket| {
                    let local = socket.local_addr()?;
                    interfaces.add_udp_peer(number, socket, remote)?;
                    Ok(local)
                });
                return match bound {
                    Ok(local) => Ok((local.to_string(), Some(remote))),
                    Err(error) => Err(Failure::Protocol(format!("{}: {error}", udp.local))),
                };
            }
            Device::Kiss(line) => {
                let name = line.device.display().to_string();
                (name, add_serial(interfaces, number, line))
            }
            Device::Zmq(host) => {
                let all = role == Role::Router;
                let addresses = [self.node, self.csp.broadcast()];
                let addresses = (!all).then_some(&addresses[..]);
                let added = add_zmq(interfaces, number, host, (self.csp, addresses));
                ((*host).into(), added)
            }
            Device::Can(bus) => ((*bus).into(), add_can(interfaces, number, bus)),
        };
        match added {
            Ok(()) => Ok((name, None)),
            Err(error) => Err(Failure::file(Path::new(&name), error)),
        }
    }
}

impl InterfaceArguments {
    fn devices(&self) -> Vec<Device<'_>> {
        let udp = self.udp.iter().map(Device::Udp);
        let kiss = self.kiss.iter().map(Device::Kiss);
        let zmq = self.zmq.iter().map(|host| Device::Zmq(host));
        let can = self.can.iter().map(|bus| Device::Can(bus));
        udp.chain(kiss).chain(zmq).chain(can).collect()
    }
}

impl UdpInterface {
    /// Returns the address of the peer that the socket can reach.
    async fn remote(&self) -> Result<SocketAddr, Failure> {
        let Self { local, remote } = self;
        let found = remote.clone().lookup().await;
        let found = found.map_err(|error| Failure::Usage(error.to_string()))?;
        let is_reached = |it: &&SocketAddr| it.is_ipv4() == local.is_ipv4();
        found.iter().find(is_reached).copied().ok_or_else(|| {
            let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
            Failure::Usage(format!(
                "--udp: {remote} has no {family} address, as {local} is one"
            ))
        })
    }
}

/// What an interface is on.
enum Device<'a> {
    Udp(&'a UdpInterface),
    Kiss(&'a SerialLine),
    Zmq(&'a str),
    Can(&'a str),
}

impl Device<'_> {
    /// Returns the name that libcsp gives to interfaces of its kind.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Udp(_) => "UDP",
            Self::Kiss(_) => "KISS",
            Self::Zmq(_) => "ZMQHUB",
            Self::Can(_) => "CAN",
        }
    }

    const fn option(&self) -> &'static str {
        match self {
            Self::Udp(_) => "--udp",
            Self::Kiss(_) => "--kiss",
            Self::Zmq(_) => "--zmq",
            Self::Can(_) => "--can",
        }
    }

    /// Returns the feature that it needs, if this build lacks it.
    const fn missing_feature(&self) -> Option<&'static str> {
        match self {
            Self::Zmq(_) if cfg!(not(feature = "csp-zmq")) => Some("csp-zmq"),
            Self::Can(_) if cfg!(not(target_os = "linux")) => Some("csp-can, on Linux"),
            _ => None,
        }
    }
}

fn add_serial(interfaces: &mut Interfaces, number: u8, line: &SerialLine) -> io::Result<()> {
    let stream = farlink::adapters::tokio::serial(&line.device, line.baud)?;
    interfaces.add_stream(number, 0, stream)
}

/// Adds a hub, of which a node takes what is for some addresses, or all.
#[cfg(feature = "csp-zmq")]
fn add_zmq(
    interfaces: &mut Interfaces,
    number: u8,
    host: &str,
    (version, addresses): (Version, Option<&[u16]>),
) -> io::Result<()> {
    use farlink::adapters::csp_zmq::ZmqHub;
    use farlink::csp::carriers::subscriptions;

    let subscriptions = match addresses {
        Some(addresses) => subscriptions(version, addresses).collect(),
        None => vec![Vec::new()],
    };
    interfaces.add_zmq(number, ZmqHub::new(host, subscriptions))
}

#[cfg(not(feature = "csp-zmq"))]
fn add_zmq(_: &mut Interfaces, _: u8, _: &str, _: (Version, Option<&[u16]>)) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn add_can(interfaces: &mut Interfaces, number: u8, bus: &str) -> io::Result<()> {
    interfaces.add_can(number, bus)
}

#[cfg(not(target_os = "linux"))]
fn add_can(_: &mut Interfaces, _: u8, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The interfaces of a node, for messages.
#[derive(Debug)]
pub(crate) struct Links(Vec<LinkName>);

#[derive(Debug)]
struct LinkName {
    interface: String,
    local: String,
    remote: Option<SocketAddr>,
}

impl Links {
    /// Returns where the node is: addresses of UDP, and devices.
    pub(crate) fn local(&self) -> String {
        let each = self.0.iter().map(|it| it.local.clone());
        each.collect::<Vec<_>>().join(", ")
    }

    /// Returns where its peers are: addresses of UDP, and devices.
    pub(crate) fn remote(&self) -> String {
        let each = self.0.iter();
        let each = each.map(|it| {
            it.remote
                .map_or(it.local.clone(), |remote| remote.to_string())
        });
        each.collect::<Vec<_>>().join(", ")
    }

    /// Returns the names of the interfaces, in the order of their numbers.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u8, &str)> {
        (0..=u8::MAX).zip(self.0.iter().map(|it| it.interface.as_str()))
    }

    /// Returns the address of the peer, if there is one alone and it is reached by UDP.
    pub(crate) fn udp_peer(&self) -> Option<SocketAddr> {
        match &self.0[..] {
            [link] => link.remote,
            _ => None,
        }
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, link) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{} {}", link.interface, link.local)?;
            if let Some(remote) = link.remote {
                write!(f, " to {remote}")?;
            }
        }
        Ok(())
    }
}
