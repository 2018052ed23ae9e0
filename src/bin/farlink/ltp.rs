//! `farlink ltp`: blocks between nodes on real sockets.

mod block_store;
mod contacts;
mod ending;
mod flow_report;
mod key_file;
pub(crate) mod part_file;
mod peer_addr;
mod peer_filter;
mod ping;
mod recv;
mod send;
mod source;
pub(crate) mod status;
pub(crate) mod target;
mod transfer;

use core::net::SocketAddr;
use core::num::NonZeroU64;
use core::time::Duration;
use std::path::PathBuf;

use clap::Subcommand;
use farlink::Instant;
use farlink::adapters::tokio::ltp::{EngineFactory, EngineMachine, Error, Node, NodeOptions};
use farlink::ltp::{Auth, Config, Flow, Peer};

use crate::contact_plan::ContactPlan;
use crate::output::OutputFormat;
use crate::recording::EngineRecorder;
use crate::{Failure, interrupt, recording};
use contacts::Contacts;
use peer_filter::PeerFilter;

/// The events of the commands.
const EVENTS: &str = "\
Events of recv, with --json one object per line:

  event         fields
  listening     address, engine, client
  contact       peer, rate, peer_transmits: the contact plan, in octets/s
  peer          engine, address: an unknown engine was added, or moved
  more_peers    further engines are not named
  peer_refused  engine, limit: an unknown engine found no room; told once until
                there is room
  unknown_peer  engine, address: an unknown engine was rejected
  received      session, from, client, octets, red, green, missing, ended, file
  receiving     blocks, red, green: what is under way, every 10 s
  silent        seconds: nothing was heard for so long
  failed        session, peer, by, cause, code, reason, exceeded, limit, value:
                the block was cancelled
  more_failed   count: blocks whose failure is not reported one by one
  unfinished    file, octets: a file that another process has not finished
  error         reason: why the command failed

Events of send:

  sending       address, to, at, client, octets, red, green, file
  flow          peer, rate, window, farlink, loss: how fast blocks leave, at first
                and when it has changed, unless --rate or --window says it
  restarted     session: the peer allows no checkpoint before the end of a
                red part, so the block is sent once more without
  progress      sent, claimed, red, octets, due: of all blocks together
  complete      session, octets, seconds, resent, rate, window, file
  silent        peer, seconds: nothing was heard from it for so long
  unreachable   peer, at: its host says that no program has the port
  unsent        at, count: the system refuses to send there
  contact, failed, error    as above

Events of ping:

  answered      peer, address, seconds
  contact, error    as above

  from, to      the engine of the sender and of the receiver
  red, green    octets of the red part and of the green part
  missing       green octets that did not arrive: pairs of the first octet and
                the one behind the last
  ended         whether the end of the block has arrived
  by            local or remote, the side that cancelled the block
  cause         peer_silent, not_heard (by the peer), no_service, cancelled (by a
                client service), shutdown, contact_plan_over, limit_exceeded,
                miscolored, not_stored (the file cannot be written, which was to
                have value octets), or system
  code          the reason code of RFC 5326, null if the session was over
  exceeded      the limit of this engine that was exceeded, or null, such as
                session_octets (--limit) or checkpoint_retries (--retries);
                limit is its value, and value the one that exceeded it
  claimed       red octets that the receiver has acknowledged
  due           seconds until an answer to what was sent last can be here
  resent        octets that were sent again
  rate, window  octets/s, and octets sent and not reported at most; or null
  farlink       whether the peer is an engine of this kind, which tells its window
  loss          the share that was lost before the latest reduction, or null";

/// The Licklider Transmission Protocol over UDP (RFC 5326, RFC 7122).
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Recv(recv::Arguments),
    Send(send::Arguments),
    Ping(ping::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    // Files are written in this thread, while a worker drives the node.
    match command {
        Command::Recv(arguments) => crate::block_on(1, recv::run(&arguments)),
        Command::Send(arguments) => crate::block_on(1, send::run(&arguments)),
        Command::Ping(arguments) => crate::block_on(1, ping::run(&arguments)),
    }
}

/// Octets of the longest block by default: 1 GiB.
const DEFAULT_LIMIT: usize = 1 << 30;

/// Options for the peers of both commands.
#[derive(Debug, clap::Args)]
struct PeerOptions {
    /// One-way light time to the peer, in seconds
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "0")]
    owlt: Duration,
    /// How often a checkpoint, report or cancel segment without an answer is repeated
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u8,
    /// How long a peer that was heard may be silent until it is given up, in seconds; 12 s for one that never was
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "600")]
    silence: Duration,
    /// Sign all segments with the first key of this file, and accept none without a signature by one of its
    /// keys (RFC 5327, HMAC-SHA1). A line has the ID of a key, and the key in hex. A recording shows the keys
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Transmit and expect answers as this contact plan of ION says, with its rates and light times:
    /// `a contact BEGIN END FROM TO OCTETS/S` and `a range BEGIN END ONE OTHER SECONDS`, where begin and end
    /// are +SECONDS or yyyy/mm/dd-hh:mm:ss
    #[arg(long, value_name = "FILE")]
    contacts: Option<PathBuf>,
}

impl PeerOptions {
    /// Reads the files.
    fn load(&self) -> Result<PeerParameters, Failure> {
        let start = recording::clock().now();
        let read = |path: &PathBuf| ContactPlan::read(path, recording::wall_seconds());
        let key_file = self.key_file.as_deref();
        Ok(PeerParameters {
            retries: self.retries,
            silence: self.silence,
            owlt: self.owlt,
            auth: key_file
                .map(key_file::read)
                .transpose()?
                .unwrap_or_default(),
            plan: self.contacts.as_ref().map(read).transpose()?,
            start,
        })
    }

    /// Returns the longest time until an answer.
    fn round_trip(&self) -> Duration {
        let timers = Peer::at(()).at_distance(self.owlt).timers;
        timers.owlt_out + timers.owlt_in + timers.remote_delay + timers.own_delay
    }
}

/// What the options say of peers.
struct PeerParameters {
    retries: u8,
    silence: Duration,
    owlt: Duration,
    auth: Auth,
    plan: Option<ContactPlan>,
    /// When the plan was read.
    start: Instant,
}

impl PeerParameters {
    /// Returns the parameters of a peer at `address`.
    fn peer<A>(&self, address: A) -> Peer<A> {
        let mut peer = retries_of(Peer::at(address), self.retries).at_distance(self.owlt);
        peer.timers.silence = self.silence;
        peer.timers.first_silence = peer.timers.first_silence.min(self.silence);
        peer.auth = self.auth.clone();
        peer
    }

    /// Returns the contacts between this engine and a peer, if there is a plan.
    fn contacts(
        &self,
        format: OutputFormat,
        own: u64,
        (id, peer): (u64, &Peer<SocketAddr>),
    ) -> Result<Option<Contacts>, Failure> {
        let Some(plan) = &self.plan else {
            return Ok(None);
        };
        plan.check(own, id)
            .map_err(|error| Failure::Usage(format!("--contacts: {error}")))?;
        Ok(Some(Contacts {
            plan: plan.clone(),
            format,
            own,
            id,
            peer: peer.clone(),
            start: self.start,
            time: 0,
        }))
    }
}

/// Sets how often anything is repeated.
pub(crate) fn retries_of<A>(mut peer: Peer<A>, retries: u8) -> Peer<A> {
    peer.limits.checkpoint_retries = retries;
    peer.limits.report_retries = retries;
    peer.limits.cancel_retries = retries;
    peer
}

/// Sets the rate, if there is one.
pub(crate) fn at_rate<A>(peer: Peer<A>, rate: Option<NonZeroU64>) -> Peer<A> {
    let flow = rate.map_or(peer.flow, |rate| Flow::rate(rate.get()));
    peer.with_flow(flow)
}

/// Limits the octets in flight, if there is a limit. A rate stays.
pub(crate) fn within<A>(peer: Peer<A>, window: Option<u64>) -> Peer<A> {
    let Some(octets) = window.and_then(NonZeroU64::new) else {
        return peer;
    };
    let octets_per_second = peer.flow.given_rate();
    peer.with_flow(Flow::Window {
        octets,
        octets_per_second,
    })
}

/// The longest duration that is taken, in seconds: a century, as in the engine, so that sums do not overflow.
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

/// Parses a duration in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .ok()
        .filter(|seconds| *seconds >= 0.0)
        .ok_or_else(|| String::from("seconds, as in 1.3"))?;
    let limit = Duration::from_secs(MAX_SECONDS);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= limit)
        .ok_or_else(|| format!("duration of {seconds}s exceeds the limit of {MAX_SECONDS}s"))
}

/// Parses the limit of a block.
fn block_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a limit of 0 octets is below the minimum of 1".into()),
        Ok(limit) => Ok(limit),
        Err(_) => Err(format!("a number of octets from 1 to {}", usize::MAX)),
    }
}

/// Octets of the longest UDP datagram over IPv4.
const MAX_SEGMENT: u64 = 65_507;

/// Parses the length of a segment. The engine knows the minimum.
pub(crate) fn segment_len(text: &str) -> Result<usize, String> {
    let len: u64 = text
        .parse()
        .map_err(|_| String::from("a number of octets"))?;
    match usize::try_from(len) {
        Ok(segment) if len <= MAX_SEGMENT => Ok(segment),
        _ => Err(format!(
            "a segment of {len} octets exceeds {MAX_SEGMENT}, the limit of a UDP datagram"
        )),
    }
}

/// Parses the ID of an engine or of a client service.
pub(crate) fn id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("ID 0 is reserved".into()),
        Ok(id) => Ok(id),
        Err(_) => Err(format!("an ID from 1 to {}", u64::MAX)),
    }
}

/// What a node is for.
enum Role {
    Sender,
    /// Receives from the peers that are added and, with a configuration for them, from all others.
    Receiver(Option<Box<Peer<()>>>),
}

/// Makes the machine of the node: an engine behind a filter of peers, recorded if that is asked for.
fn factory(
    record: Option<&std::path::Path>,
    role: Role,
    format: OutputFormat,
) -> Result<EngineFactory, Failure> {
    let recorder = EngineRecorder::new(record)?;
    Ok(EngineFactory::new(move |setup| {
        let place = (setup.now, setup.local);
        let engine = recorder.engine(setup)?;
        Ok(EngineMachine::new(match &role {
            Role::Sender => PeerFilter::new(engine, place, None, format)?,
            Role::Receiver(template) => {
                PeerFilter::new(engine, place, template.as_deref().cloned(), format)?
                    .awaiting_service()
            }
        }))
    }))
}

fn bind(address: SocketAddr, config: Config, factory: EngineFactory) -> Result<Node, Failure> {
    let options = NodeOptions {
        clock: recording::clock(),
        factory,
        ..NodeOptions::from(config)
    };
    Node::bind(address, options).map_err(|error| match error {
        Error::Io(error) => Failure::Protocol(format!("{address}: {error}")),
        error => failure_of(error),
    })
}

/// Returns wrong usage for what an engine refuses, and a failure for all else.
fn failure_of(error: Error) -> Failure {
    match error {
        Error::Refused(_) | Error::Config(_) => Failure::Usage(error.to_string()),
        _ => Failure::protocol(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_limits_the_flow_and_nothing_is_left_to_the_engine() {
        let given = |rate, window| {
            let peer = at_rate(Peer::at(()), NonZeroU64::new(rate));
            within(peer, window).flow
        };
        let paced = Flow::Window {
            octets: NonZeroU64::new(500).unwrap(),
            octets_per_second: NonZeroU64::new(1000),
        };

        assert_eq!(given(0, None), Flow::Auto);
        assert_eq!(given(1000, None), Flow::rate(1000));
        assert_eq!(given(0, Some(500)), Flow::window(500));
        assert_eq!(given(1000, Some(500)), paced);
    }
}
