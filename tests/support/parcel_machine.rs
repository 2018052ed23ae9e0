//! A small reliable protocol for drawings: numbered parcels, a request for a report, and the report.

use alloc::collections::{BTreeSet, VecDeque};
use core::convert::Infallible;
use core::time::Duration;

use farlink::{Instant, Link, Machine, Output, Transmit};

#[derive(Debug)]
pub(crate) struct SendParcels {
    pub(crate) to: u8,
    pub(crate) parcels: u32,
    pub(crate) pace: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ParcelEvent {
    Delivered,
    Complete { parcels: u32 },
}

/// Sends and receives parcels. Packets are text: `DATA 7`, `ASK 40`, `MISS 3 5 9`.
#[derive(Debug, Default)]
pub(crate) struct ParcelMachine {
    task: Option<Task>,
    got: BTreeSet<u32>,
    is_complete: bool,
    out: VecDeque<(u8, String)>,
    events: VecDeque<ParcelEvent>,
    is_down: bool,
}

#[derive(Debug)]
struct Task {
    to: u8,
    parcels: u32,
    pace: Duration,
    left: VecDeque<u32>,
    next: Instant,
    asked: Option<Instant>,
}

const PATIENCE: Duration = Duration::from_secs(30 * 60);

impl Machine for ParcelMachine {
    type Addr = u8;
    type Command = SendParcels;
    type Event = ParcelEvent;
    type Error = Infallible;

    fn receive(&mut self, now: Instant, from: u8, octets: &[u8]) {
        let text = String::from_utf8_lossy(octets).into_owned();
        let mut words = text.split(' ');
        let kind = words.next();
        let numbers: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
        match kind {
            Some("DATA") => drop(numbers.first().map(|number| self.got.insert(*number))),
            Some("ASK") => self.answer(from, numbers[0]),
            Some("MISS") => self.resend(now, numbers),
            _ => {}
        }
    }

    fn link(&mut self, _: Instant, _: u8, state: Link) {
        self.is_down = matches!(state, Link::Down(_));
    }

    fn command(&mut self, now: Instant, deliver: SendParcels) -> Result<(), Infallible> {
        self.task = Some(Task {
            to: deliver.to,
            parcels: deliver.parcels,
            pace: deliver.pace,
            left: (0..deliver.parcels).collect(),
            next: now,
            asked: None,
        });
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<u8>) -> Output<u8, ParcelEvent> {
        tx.clear();
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if self.is_down {
            return Output::Idle(None);
        }
        if let Some((to, text)) = self.out.pop_front() {
            tx.push(to, text.len(), |out| out.extend_from_slice(text.as_bytes()));
            return Output::Transmit;
        }
        let Some(task) = &mut self.task else {
            return Output::Idle(None);
        };
        if task.asked.is_some_and(|asked| asked + PATIENCE <= now) {
            task.asked = None;
        }
        if now < task.next {
            return Output::Idle(Some(task.next));
        }
        let text = match (task.left.pop_front(), task.asked) {
            (Some(number), _) => format!("DATA {number}"),
            (None, None) => {
                task.asked = Some(now);
                format!("ASK {}", task.parcels)
            }
            (None, Some(asked)) => return Output::Idle(Some(asked + PATIENCE)),
        };
        task.next = now + task.pace;
        tx.push(task.to, text.len(), |out| {
            out.extend_from_slice(text.as_bytes());
        });
        Output::Transmit
    }
}

impl ParcelMachine {
    fn answer(&mut self, from: u8, parcels: u32) {
        let missing: Vec<u32> = (0..parcels)
            .filter(|number| !self.got.contains(number))
            .collect();
        if missing.is_empty() && !self.is_complete {
            self.is_complete = true;
            self.events.push_back(ParcelEvent::Complete { parcels });
        }
        let mut text = String::from("MISS");
        for number in missing.iter().take(300) {
            text.push(' ');
            text.push_str(&number.to_string());
        }
        self.out.push_back((from, text));
    }

    fn resend(&mut self, now: Instant, missing: Vec<u32>) {
        let Some(task) = &mut self.task else {
            return;
        };
        if missing.is_empty() {
            self.task = None;
            self.events.push_back(ParcelEvent::Delivered);
            return;
        }
        task.left = missing.into();
        task.asked = None;
        task.next = now;
    }
}

pub(crate) fn label(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets).into_owned();
    let count = text.split(' ').count();
    if text.starts_with("MISS") && count > 6 {
        return format!("MISS {} parcels", count - 1);
    }
    text
}
