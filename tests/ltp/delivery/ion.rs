//! The strategy of ION 4.1.3, as far as it decides when a block is received whole.
//!
//! One checkpoint at the end, no copies. Reports of at most 20 claims, each of which draws a retransmission with a
//! checkpoint of its own. Timers of the light times and one second at each end, which are checked once a second. A
//! checkpoint that is repeated before the block is whole draws a new report. Reports are repeated until one arrives.
//! The limits, which would cancel a lossy block, are removed.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use super::coin::{Coin, SegmentKind};
use super::scene::Scene;

/// Claims in a report.
const CLAIMS: usize = 20;
const MARGINS: Duration = Duration::from_secs(2);
/// Octets of a report with one claim.
const REPORT: usize = 30;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A segment arrives, maybe with a checkpoint.
    Data(usize, Option<usize>),
    Report(Report),
    CheckpointDue(usize),
    ReportDue(Report),
}

/// A report on a checkpoint: its scope, and what of it is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Report {
    checkpoint: usize,
    scope: (usize, usize),
    missing: Vec<usize>,
}

struct Ion<'a> {
    scene: &'a Scene,
    coin: &'a mut Coin,
    sizes: &'a [(u64, usize)],
    events: BinaryHeap<Reverse<(Duration, u64, What)>>,
    order: u64,
    /// When the line is idle again.
    free: Duration,
    held: Vec<bool>,
    claimed: Vec<bool>,
    /// The segment of each checkpoint that was not answered.
    checkpoints: Vec<Option<usize>>,
}

/// When a block is received whole.
pub(crate) fn delivery(scene: &Scene, coin: &mut Coin, sizes: &[(u64, usize)]) -> Duration {
    let mut ion = Ion {
        scene,
        coin,
        sizes,
        events: BinaryHeap::new(),
        order: 0,
        free: Duration::ZERO,
        held: vec![false; sizes.len()],
        claimed: vec![false; sizes.len()],
        checkpoints: Vec::new(),
    };
    ion.run(Duration::ZERO, &(0..sizes.len()).collect::<Vec<_>>());
    while let Some(Reverse((now, _, what))) = ion.events.pop() {
        match what {
            What::Data(at, checkpoint) => ion.data(now, at, checkpoint),
            What::Report(report) => ion.report(now, &report),
            What::CheckpointDue(checkpoint) => {
                if let Some(at) = ion.checkpoints[checkpoint] {
                    ion.send(now, at, Some(checkpoint));
                }
            }
            What::ReportDue(report) => ion.send_report(now, report),
        }
        if ion.held.iter().all(|held| *held) {
            return now;
        }
    }
    panic!("it hangs");
}

impl Ion<'_> {
    fn plan(&mut self, at: Duration, what: What) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, what)));
    }

    /// The first whole second after the answer is expected.
    fn due(&self, left: Duration) -> Duration {
        let due = left + self.scene.owlt * 2 + MARGINS;
        Duration::from_secs(due.as_secs() + u64::from(due.subsec_nanos() > 0))
    }

    /// Sends segments, the last of which is a checkpoint.
    fn run(&mut self, now: Duration, run: &[usize]) {
        let Some((last, others)) = run.split_last() else {
            return;
        };
        for at in others {
            self.send(now, *at, None);
        }
        self.checkpoints.push(Some(*last));
        self.send(now, *last, Some(self.checkpoints.len() - 1));
    }

    fn send(&mut self, now: Duration, at: usize, checkpoint: Option<usize>) {
        let (start, len) = self.sizes[at];
        self.free = self.free.max(now) + Scene::radiation(len);
        if let Some(checkpoint) = checkpoint {
            self.plan(self.due(self.free), What::CheckpointDue(checkpoint));
        }
        if !self.coin.loses(SegmentKind::Data(start)) {
            self.plan(self.free + self.scene.owlt, What::Data(at, checkpoint));
        }
    }

    fn data(&mut self, now: Duration, at: usize, checkpoint: Option<usize>) {
        self.held[at] = true;
        let Some(checkpoint) = checkpoint else {
            return;
        };
        // The scope reaches from 0 to the end of the checkpoint.
        let (mut from, mut claims) = (0, 0);
        for place in 0..=at {
            let begins = self.held[place] && (place == 0 || !self.held[place - 1]);
            claims += usize::from(begins);
            if claims > CLAIMS {
                self.make_report(now, checkpoint, (from, place));
                (from, claims) = (place, 1);
            }
        }
        self.make_report(now, checkpoint, (from, at + 1));
    }

    fn make_report(&mut self, now: Duration, checkpoint: usize, scope: (usize, usize)) {
        let missing = (scope.0..scope.1).filter(|place| !self.held[*place]);
        let report = Report {
            checkpoint,
            scope,
            missing: missing.collect(),
        };
        self.send_report(now, report);
    }

    fn send_report(&mut self, now: Duration, report: Report) {
        let left = now + Scene::radiation(REPORT);
        if self.coin.loses(SegmentKind::Back) {
            self.plan(self.due(left), What::ReportDue(report));
        } else {
            self.plan(left + self.scene.owlt, What::Report(report));
        }
    }

    /// Octets that are missing and not claimed are sent again.
    fn report(&mut self, now: Duration, report: &Report) {
        self.checkpoints[report.checkpoint] = None;
        for place in report.scope.0..report.scope.1 {
            self.claimed[place] |= !report.missing.contains(&place);
        }
        let missing = report.missing.iter().copied();
        let run: Vec<usize> = missing.filter(|place| !self.claimed[*place]).collect();
        self.run(now, &run);
    }
}
