//! `farlink dtp status`, and what other commands say of VMEM.

use core::fmt;
use core::time::Duration;

use farlink::dtp::{Config, VmemTransport};
use serde_json::json;

use super::failure_of;
use crate::Failure;
use crate::csp_options::NodeArguments;
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;

/// Messages of VMEM at a time.
pub(super) const MESSAGES: u8 = 8;

/// Memory of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryRange {
    pub(super) address: u64,
    pub(super) size: u32,
}

impl fmt::Display for MemoryRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory at {:#x}", self.address)
    }
}

/// Reads a number, hexadecimal with `0x`.
fn number(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let limit = u64::MAX;
    number.map_err(|_| format!("`{text}` is not a number from 0 to {limit}, hexadecimal with 0x"))
}

pub(super) fn memory(text: &str) -> Result<MemoryRange, String> {
    let Some((address, size)) = text.split_once('+') else {
        return Err("an address and how many octets, A+N".into());
    };
    let octets = number(size)?;
    if octets == 0 {
        return Err("0 octets are nothing to get; at least 1".into());
    }
    let size = u32::try_from(octets).map_err(|_| {
        let limit = u32::MAX;
        format!("{octets} octets exceed the limit of {limit}")
    })?;
    let address = number(address)?;
    if address.checked_add(octets).is_none() {
        return Err(format!(
            "{octets} octets from {address:#x} on go past the last address"
        ));
    }
    Ok(MemoryRange { address, size })
}

/// Reads a payload and its address.
pub(super) fn place(text: &str) -> Result<(u8, u64), String> {
    let Some((payload, address)) = text.split_once('=') else {
        return Err("a payload and its address, N=A".into());
    };
    let payload = payload
        .parse()
        .map_err(|_| format!("payload `{payload}` is not a number from 0 to 255"))?;
    Ok((payload, number(address)?))
}

/// How messages of VMEM are sent.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct TransportArguments {
    /// Send messages of VMEM without RDP, with CRC32 alone
    #[arg(long)]
    no_rdp: bool,
}

impl TransportArguments {
    pub(super) const fn transport(self) -> VmemTransport {
        if self.no_rdp {
            VmemTransport::Datagrams
        } else {
            VmemTransport::Rdp
        }
    }
}

/// Asks a server by VMEM what it sends.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The CSP address of the server
    server: u16,
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    transport: TransportArguments,
    /// How long the answer is awaited, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|it| Duration::try_from_secs_f64(it).ok());
    let allowed =
        seconds.filter(|it| (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(it));
    allowed.ok_or_else(|| "not a number of seconds from 0.001 to 3600".into())
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    arguments.node.check_peer(arguments.server)?;
    let mut interrupt = Interrupt::new().await;
    let config = Config {
        clients: 1,
        servers: 0,
        vmem_messages: 1,
        ..Config::default()
    };
    let started = arguments.node.start(config).await?;
    let (server, transport) = (arguments.server, arguments.transport.transport());
    let status = tokio::select! {
        status = started.node.memory_status(server, transport, arguments.timeout) => status,
        () = interrupt.wait() => {
            started.node.shutdown().await;
            return Err(Failure::Protocol("interrupted by Ctrl-C or SIGTERM".into()));
        }
    };
    started.node.shutdown().await;
    let status = status.map_err(failure_of)?;
    let (session, is_busy) = (status.session, status.is_busy);
    format.report(
        || {
            let what = if is_busy {
                "sends"
            } else {
                "is idle, and sent last"
            };
            match session {
                0 => format!("node {server} is idle"),
                session => format!("node {server} {what} session {session:#010x}"),
            }
        },
        || json!({ "event": "status", "server": server, "session": session, "busy": is_busy }),
    );
    Ok(())
}
