//! A small exhaustive model check: short blocks, and every outcome of every segment up to a bound.
//!
//! A run is determined by the outcomes of its segments, so the outcomes name its state. They are counted through like the
//! digits of a number, the last one first. Each state is visited once as the end of a run.

use core::cell::RefCell;
use core::num::NonZeroU32;
use core::time::Duration;
use std::rc::Rc;
use std::thread;

use farlink::Hop;
use farlink::ltp::{Peer, Red, Redundancy};

use crate::line::{Line, SegmentOutcome, is_complete, pattern, received};

/// Later than the next three light times, and earlier than any timer.
const LATE: Duration = Duration::from_millis(1700);
/// Later than several timers, and than the end of most sessions.
const VERY_LATE: Duration = Duration::from_secs(20);
const OUTCOMES: [SegmentOutcome; 6] = [
    SegmentOutcome::Pass,
    SegmentOutcome::Drop,
    SegmentOutcome::Twice,
    SegmentOutcome::Late(LATE),
    SegmentOutcome::Late(VERY_LATE),
    SegmentOutcome::Again(VERY_LATE),
];

/// A block, and how it is sent.
#[derive(Debug, Clone, Copy)]
struct Model {
    name: &'static str,
    len: usize,
    red: usize,
    change: fn(&mut Peer<Hop>),
}

/// The bound of the outcomes.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Segments that may have any outcome. The others pass.
    depth: usize,
    /// The number of these that may do otherwise than pass.
    faults: usize,
}

/// Segments hold 80 to 84 octets of data.
const MODELS: [Model; 9] = [
    model("one red segment", 50, 50, |_| {}),
    model("two red segments", 150, 150, |_| {}),
    model("three red segments", 230, 230, |_| {}),
    model("two red segments and a green one", 230, 150, |_| {}),
    model("a red segment and two green ones", 200, 50, |_| {}),
    model("two green segments", 150, 0, |_| {}),
    model("a checkpoint in every segment", 230, 230, |peer| {
        peer.checkpoint_every = NonZeroU32::new(1);
    }),
    model("copies of signals", 150, 150, |peer| {
        peer.redundancy = Redundancy::Fixed(1);
    }),
    model("delayed reports and repairs", 230, 230, |peer| {
        peer.checkpoint_every = NonZeroU32::new(2);
        peer.timers.report_delay = Duration::from_millis(20);
        peer.timers.repair_delay = Duration::from_millis(20);
    }),
];

const fn model(name: &'static str, len: usize, red: usize, change: fn(&mut Peer<Hop>)) -> Model {
    Model {
        name,
        len,
        red,
        change,
    }
}

/// The outcomes of a run: those given, then passes, up to the bound.
#[derive(Debug, Clone, Default)]
struct Plan(Vec<usize>);

impl Plan {
    /// The plan after one that was run. `None` when all were run.
    fn next(mut self, bound: Bound) -> Option<Self> {
        loop {
            let last = self.0.pop()?;
            let others = self.0.iter().filter(|outcome| **outcome > 0).count();
            if last + 1 < OUTCOMES.len() && others < bound.faults {
                self.0.push(last + 1);
                return Some(self);
            }
        }
    }
}

/// Runs a block with the outcomes of a plan, and returns the plan with the outcomes of all segments.
fn run(model: Model, plan: &Plan, bound: Bound) -> Plan {
    let plan = Rc::new(RefCell::new(plan.clone()));
    let met = Rc::clone(&plan);
    let mut line = Line::with(
        3,
        Duration::from_millis(500),
        |_| {},
        |peer| {
            peer.segment = 96;
            // The worst plan loses all segments that it may.
            peer.limits.checkpoint_retries = 16;
            peer.limits.report_retries = 16;
            peer.timers.first_silence = Duration::from_secs(600);
            (model.change)(peer);
        },
    )
    .judged(move |passing| {
        let mut met = met.borrow_mut();
        if passing.nth == met.0.len() && passing.nth < bound.depth {
            met.0.push(0);
        }
        met.0
            .get(passing.nth)
            .map_or(SegmentOutcome::Pass, |at| OUTCOMES[*at])
    });
    line.send(1, &pattern(model.len), Red::Octets(model.red as u64));
    line.run();

    let plan = plan.borrow().clone();
    let what = format!("{}, {plan:?}", model.name);
    assert!(is_complete(&line.events(1), 1), "{what}");
    let block = pattern(model.len);
    let red = (model.red > 0).then_some(&block[..model.red]);
    assert_eq!(received(&line.events(2)), red, "{what}");
    assert_eq!(line.left(), (0, 0, 0), "{what}");
    plan
}

/// Runs all plans, and returns how many there were, and how many states they visited.
fn explore(model: Model, bound: Bound) -> (usize, usize) {
    let (mut runs, mut states) = (0, 0);
    let mut plan = Some(Plan::default());
    while let Some(next) = plan {
        let named = next.0.len();
        let met = run(model, &next, bound);
        runs += 1;
        // The last named outcome is where it parts from the plan before; the states from there on are new.
        states += met.0.len() + 1 - named;
        plan = met.next(bound);
    }
    (runs, states)
}

fn explore_all(bound: Bound) {
    let results: Vec<(Model, (usize, usize))> = thread::scope(|scope| {
        let models = MODELS.map(|model| (model, scope.spawn(move || explore(model, bound))));
        models
            .into_iter()
            .map(|(model, thread)| (model, thread.join().unwrap()))
            .collect()
    });
    for (model, (runs, states)) in &results {
        println!("{}: {runs} runs, {states} states", model.name);
    }
    let total: usize = results.iter().map(|(_, (_, states))| states).sum();
    println!("{bound:?}: {total} states");
    assert!(total > 5000, "{total}");
}

#[test]
fn whatever_happens_to_the_first_segments_the_block_arrives_once_and_whole() {
    explore_all(Bound {
        depth: 5,
        faults: 5,
    });
}

#[test]
fn whichever_two_segments_of_a_session_meet_whatever_the_block_arrives_once_and_whole() {
    explore_all(Bound {
        depth: 16,
        faults: 2,
    });
}

#[test]
#[ignore = "takes half a minute"]
fn whichever_three_segments_meet_whatever_the_block_arrives_once_and_whole() {
    explore_all(Bound {
        depth: 10,
        faults: 3,
    });
}
