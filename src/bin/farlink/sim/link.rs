//! `farlink sim link`: a block over a link of one's own.

use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;
use std::path::PathBuf;

use farlink::Instant;
use farlink::ltp::{Command, Event, Peer, Red, event_label};
use farlink::sim::{Contacts, Line, Queue, VariableDelay, World};
use serde_json::json;

use super::TraceFiles;
use crate::contact_plan::ContactPlan;
use crate::ltp::{at_rate, retries_of, seconds, segment_len, within};
use crate::output::{self, OutputFormat};
use crate::scenarios::ltp::{Node, PORT, add_engines, connect, ended, send};
use crate::scenarios::{command, pattern};
use crate::{Failure, recording};

/// Sends a block from engine 1 to engine 2 over a link of your own, in simulated time.
///
/// It prints when the block was delivered and acknowledged, what was sent again, the reports, and the ideal
/// time: that of a link without losses. Equal seeds give equal output.
///
/// Exit status 1: the block was not delivered and acknowledged.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One-way light time, in seconds
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "0")]
    owlt: Duration,
    /// The share of datagrams that are lost, in both directions, from 0 to 1
    #[arg(long, value_name = "P", value_parser = loss, default_value = "0")]
    loss: f64,
    /// The rate of the link and of the sender, in bits per second
    #[arg(long, value_name = "BPS", value_parser = clap::value_parser!(u64).range(8..))]
    rate: Option<u64>,
    /// The octets that wait for the link; more are lost. The engines are not told the rate, and find out
    #[arg(long, value_name = "N", requires = "rate")]
    queue: Option<usize>,
    /// Octets of the block
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 30), default_value_t = 1_000_000)]
    size: u32,
    /// Send the last N octets green, without repairs
    #[arg(long, value_name = "N", default_value_t = 0)]
    green: u64,
    /// The contacts, rates and light times between engines 1 and 2, as a contact plan of ION, which --rate and
    /// --owlt complete. It begins when the block is given to engine 1
    #[arg(long, value_name = "FILE")]
    contacts: Option<PathBuf>,
    /// Octets of the longest segment
    #[arg(long, value_name = "N", value_parser = segment_len, default_value_t = 1400)]
    segment: usize,
    /// The limit of octets sent and not reported
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window: Option<u64>,
    /// Request a report every N segments of the red part
    #[arg(long, value_name = "N")]
    checkpoint: Option<NonZeroU32>,
    /// How often a checkpoint, report or cancel segment without an answer is repeated
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u8,
    /// Send copies of signals, duplicate repairs and early checkpoints as losses and light times make useful
    #[arg(long)]
    adaptive: bool,
    /// The seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the ladder of all packets
    #[arg(long, conflicts_with = "json")]
    ladder: bool,
    #[command(flatten)]
    files: TraceFiles,
    /// Print one JSON object: `event` delivery, `ok`, `octets`, `delivered_ns`, `complete_ns`, `ideal_ns`,
    /// `resent` in octets, `reports`, `reports_with_gaps`, `checkpoints_resent`, `reports_resent`, `reason`
    #[arg(long)]
    json: bool,
}

/// The engines.
const OWN: u64 = 1;
const PEER: u64 = 2;
/// A block that takes longer is given up.
const BOUND: Duration = Duration::from_secs(100 * 86_400);

/// Parses a share of datagrams.
fn loss(text: &str) -> Result<f64, String> {
    let loss = text.parse().ok();
    loss.filter(|loss| (0.0..=1.0).contains(loss))
        .ok_or_else(|| String::from("a number from 0 to 1, as in 0.05"))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let read = |path: &PathBuf| ContactPlan::read(path, recording::wall_seconds());
    let plan = arguments.contacts.as_ref().map(read).transpose()?;
    if let Some(plan) = &plan {
        plan.check(OWN, PEER)
            .map_err(|error| Failure::Usage(format!("--contacts: {error}")))?;
    }
    let link = Link { arguments, plan };
    let mut world = World::new(arguments.seed);
    let ends = link.connect(&mut world).map_err(Failure::Usage)?;
    let outcome = link.play(&mut world, ends).map_err(Failure::Usage)?;
    let trace = world.trace();
    let title = "a block over a link".into();
    arguments.files.write(trace, title, PORT)?;
    if arguments.ladder {
        output::line(&trace.ladder());
    }
    link.report(format, &world, ends, &outcome)
}

struct Link<'a> {
    arguments: &'a Arguments,
    plan: Option<ContactPlan>,
}

/// How a transfer ended.
struct Outcome {
    /// When the red part was delivered, and when the block was complete.
    delivered: Option<Instant>,
    complete: Option<Instant>,
    /// Why it was not.
    reason: Option<String>,
}

impl Link<'_> {
    fn connect(&self, world: &mut World) -> Result<[Node; 2], String> {
        let ends @ [own, peer] = add_engines(world, ["engine 1", "engine 2"])?;
        let lines = [self.line(OWN, PEER), self.line(PEER, OWN)];
        connect(world, [(own, OWN), (peer, PEER)], lines, |id| {
            self.peer(id, 0)
        })?;
        Ok(ends)
    }

    fn line(&self, from: u64, to: u64) -> Line {
        let Arguments {
            owlt, loss, rate, ..
        } = *self.arguments;
        let line = Line {
            loss,
            rate,
            queue: self.arguments.queue.map_or(Queue::Unlimited, Queue::Drop),
            ..Line::delayed(owlt)
        };
        let Some(plan) = self.plan.clone() else {
            return line;
        };
        let windows = plan.windows(from, to);
        let windows =
            windows.map(|(begins, ends)| (seconds_from_start(begins), seconds_from_start(ends)));
        Line {
            delay: Duration::ZERO,
            // Engines keep to the rates of contacts below.
            rate: plan
                .max_rate(from, to)
                .map(|rate| rate.get().saturating_mul(8)),
            contacts: Contacts::windows(windows),
            variable_delay: Some(VariableDelay::new(move |sent| {
                let state = plan.state_at(from, to, whole_seconds(sent));
                state.owlt_out.unwrap_or(owlt)
            })),
            ..line
        }
    }

    /// Returns the parameters that the other engine has for engine `id` at `time`.
    fn peer(&self, id: u64, time: i64) -> Peer<u64> {
        let arguments = self.arguments;
        let own = OWN + PEER - id;
        let state = self.plan.as_ref().map(|plan| plan.state_at(own, id, time));
        let state = state.unwrap_or_default();
        let size = usize::try_from(arguments.size).unwrap_or(usize::MAX);
        let told = self.rate().filter(|_| arguments.queue.is_none());
        let rate = state.transmits.map(|(rate, _)| rate).or(told);
        let mut peer = at_rate(retries_of(Peer::at(id), arguments.retries), rate);
        peer.segment = arguments.segment;
        peer.checkpoint_every = arguments.checkpoint;
        peer.timers.owlt_out = state.owlt_out.unwrap_or(arguments.owlt);
        peer.timers.owlt_in = state.owlt_in.unwrap_or(arguments.owlt);
        peer.limits.session_octets = size;
        peer.limits.import_octets = size.saturating_mul(2).saturating_add(1 << 20);
        let peer = within(peer, arguments.window);
        if arguments.adaptive {
            peer.adaptive()
        } else {
            peer
        }
    }

    fn rate(&self) -> Option<NonZeroU64> {
        self.arguments
            .rate
            .and_then(|bits| NonZeroU64::new(bits / 8))
    }

    /// Tells both engines of the contacts as they are at `time`.
    fn cue(&self, world: &mut World, ends: [Node; 2], time: i64) -> Result<(), String> {
        let Some(plan) = self.plan.clone() else {
            return Ok(());
        };
        for (node, own, id) in [(ends[0], OWN, PEER), (ends[1], PEER, OWN)] {
            let state = plan.state_at(own, id, time);
            let peer = self.peer(id, time);
            let mut commands = vec![Command::ChangePeer(id, Box::new(peer))];
            let cues = state.cues(seconds_from_start);
            commands.extend(cues.map(|cue| Command::Contact(id, cue)));
            for told in commands {
                command(world, node, told)?;
            }
        }
        Ok(())
    }

    fn play(&self, world: &mut World, ends: [Node; 2]) -> Result<Outcome, String> {
        self.cue(world, ends, 0)?;
        let size = usize::try_from(self.arguments.size).unwrap_or(usize::MAX);
        let red = u64::from(self.arguments.size)
            .checked_sub(self.arguments.green)
            .ok_or_else(|| {
                format!(
                    "a green part of {} octets exceeds the block of {size}",
                    self.arguments.green
                )
            })?;
        send(world, ends[0], PEER, pattern(size), Red::Octets(red))?;
        let is_over = |world: &World| ended(world, ends[0]).is_some();
        let mut time = 0;
        loop {
            let next = self
                .plan
                .as_ref()
                .and_then(|plan| plan.next_change(OWN, PEER, time));
            let bound = next.map_or(Instant::ZERO + BOUND, seconds_from_start);
            if world.run_until_holds(bound, is_over) {
                break;
            }
            let Some(next) = next else {
                break;
            };
            time = next;
            self.cue(world, ends, time)?;
        }
        Ok(outcome(world, ends))
    }

    /// Returns when the last octet would arrive without losses and headers, if it could be sent.
    fn ideal(&self) -> Option<Duration> {
        let owlt = self.arguments.owlt;
        let mut left = u64::from(self.arguments.size);
        let Some(plan) = &self.plan else {
            return Some(
                self.rate()
                    .map_or(Duration::ZERO, |rate| time_for(left, rate))
                    + owlt,
            );
        };
        let mut time = 0;
        loop {
            let state = plan.state_at(OWN, PEER, time);
            let next = plan.next_change(OWN, PEER, time);
            let open = next.map_or(u64::MAX, |next| next.abs_diff(time));
            if let Some((rate, _)) = state.transmits {
                let fits = rate.get().saturating_mul(open);
                if left <= fits {
                    let begun = seconds_from_start(time) - Instant::ZERO;
                    return Some(begun + time_for(left, rate) + state.owlt_out.unwrap_or(owlt));
                }
                left -= fits;
            }
            time = next?;
        }
    }

    fn report(
        &self,
        format: OutputFormat,
        world: &World,
        [own, peer]: [Node; 2],
        outcome: &Outcome,
    ) -> Result<(), Failure> {
        let (sent, received) = (world.machine(own).stats(), world.machine(peer).stats());
        let since_start = |at: Instant| at - Instant::ZERO;
        let (delivered, complete) = (
            outcome.delivered.map(since_start),
            outcome.complete.map(since_start),
        );
        let ideal = self.ideal();
        let (gaps, whole) = (
            received.negative_reports_sent,
            received.positive_reports_sent,
        );
        let said = |time: Option<Duration>| {
            time.map_or("never".into(), |time| {
                format!("{:.3} s", time.as_secs_f64())
            })
        };
        let text = || {
            let size = self.arguments.size;
            [
                format!("{size} octets"),
                format!("delivered           {}", said(delivered)),
                format!("acknowledged        {}", said(complete)),
                format!("ideal               {}", said(ideal)),
                format!("octets sent again   {}", sent.octets_resent),
                format!(
                    "reports             {}, {gaps} of them with gaps",
                    gaps + whole
                ),
                format!(
                    "after a timeout     {} checkpoints and {} reports sent again",
                    sent.checkpoints_resent, received.reports_resent
                ),
            ]
            .join("\n")
        };
        let nanos =
            |time: Option<Duration>| time.and_then(|time| u64::try_from(time.as_nanos()).ok());
        let object = || {
            json!({
                "event": "delivery",
                "ok": outcome.reason.is_none(),
                "octets": self.arguments.size,
                "delivered_ns": nanos(delivered),
                "complete_ns": nanos(complete),
                "ideal_ns": nanos(ideal),
                "resent": sent.octets_resent,
                "reports": gaps + whole,
                "reports_with_gaps": gaps,
                "checkpoints_resent": sent.checkpoints_resent,
                "reports_resent": received.reports_resent,
                "reason": outcome.reason,
            })
        };
        format.report(text, object);
        match &outcome.reason {
            None => Ok(()),
            Some(_) if format.is_json() => Err(Failure::Reported),
            Some(reason) => Err(Failure::Protocol(format!("the block failed: {reason}"))),
        }
    }
}

/// Returns how long these octets take.
fn time_for(octets: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(octets) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns a time of the plan in the simulation, whose start is that of the plan.
fn seconds_from_start(time: i64) -> Instant {
    Instant::ZERO + Duration::from_secs(u64::try_from(time).unwrap_or_default())
}

fn whole_seconds(time: Instant) -> i64 {
    i64::try_from((time - Instant::ZERO).as_secs()).unwrap_or(i64::MAX)
}

fn outcome(world: &World, [own, peer]: [Node; 2]) -> Outcome {
    let delivered = world
        .events(peer)
        .find_map(|(at, event)| matches!(event, Event::Received { .. }).then_some(at));
    let (complete, reason) = match ended(world, own) {
        Some((at, Event::Complete { .. })) => (Some(at), None),
        Some((at, event)) => (None, Some(format!("{} at {at}", event_label(event)))),
        None => (None, Some(format!("not complete at {}", world.now()))),
    };
    Outcome {
        delivered,
        complete,
        reason,
    }
}
