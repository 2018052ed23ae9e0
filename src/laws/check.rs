//! The judgement of a case: every law, by as many runs as it takes, and a small script for what is broken.

use alloc::format;
use alloc::string::String;
use core::cell::Cell;

use super::bench::{Bench, Meter};
use super::log::{Log, Manner, Pieces, Seen};
use super::shrink::shrink;
use super::{Case, Law, LawSubject, Step, Violation, chunks};

/// What a case that keeps the laws did, to see that scripts get anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Whether the configuration was accepted; nothing else happens otherwise.
    pub is_made: bool,
    /// Events of the plain run.
    pub events: usize,
    /// Sends of the plain run.
    pub sends: usize,
    /// Asks of the plain run.
    pub asks: usize,
    /// Commands refused in the plain run.
    pub refusals: usize,
    /// Steps over which cut streams were compared, of those in the script.
    pub cut: usize,
}

/// Runs a case under every law: the body of a fuzz target, and of a property test.
///
/// # Panics
///
/// When a law is broken, with the [`Violation`] and a script made small.
#[expect(clippy::panic, reason = "a test and a fuzz target fail by panicking")]
pub fn check<M: LawSubject>(case: Case<M>) {
    if let Err(breach) = try_check(&case) {
        // Dropped first, so that the report stands last.
        drop(case);
        panic!("{breach}");
    }
}

/// Runs a case under every law.
///
/// # Errors
///
/// The first law broken, with a script made small by leaving out whatever the breach can do without.
pub fn try_check<M: LawSubject>(case: &Case<M>) -> Result<Summary, Violation> {
    judge(case).map_err(|breach| shrink(case, breach, judge))
}

/// Runs [`try_check_metered`].
///
/// # Panics
///
/// When a law is broken, with the [`Violation`] and a script made small.
#[expect(clippy::panic, reason = "a test and a fuzz target fail by panicking")]
pub fn check_metered<M: LawSubject>(case: &Case<M>, allocated: impl FnMut() -> usize) {
    if let Err(breach) = try_check_metered(case, allocated) {
        panic!("{breach}");
    }
}

/// Runs a case once, and weighs the machine by `allocated` instead of trusting its own count: law 8.
///
/// `allocated` returns how many bytes are allocated at present, by an allocator which counts for this
/// thread alone. What the machine allocates in its calls is its own until it frees it or gives it away in
/// an event. Memory that came with a command belongs to the script.
///
/// # Errors
///
/// The first law broken of those that one run can show.
pub fn try_check_metered<M: LawSubject>(
    case: &Case<M>,
    mut allocated: impl FnMut() -> usize,
) -> Result<(), Violation> {
    let mut run_metered = |case: &Case<M>| {
        let meter: Meter<'_> = &mut allocated;
        run(case, Manner::Plain, Some(meter)).map(drop)
    };
    run_metered(case).map_err(|breach| shrink(case, breach, run_metered))
}

/// Every law that needs a machine. Each run is watched, so the laws of one run are judged in all of them.
fn judge<M: LawSubject>(case: &Case<M>) -> Result<Summary, Violation> {
    let goes_back = case.script.iter().any(|step| matches!(step, Step::Back(_)));
    let plain = run(case, Manner::Plain, None).map_err(|breach| {
        if goes_back && run(case, Manner::Clamped, None).is_ok() {
            blame_the_clock(breach)
        } else {
            breach
        }
    })?;
    let Some(plain) = plain else {
        return Ok(Summary::default());
    };
    let twins = [
        (Law::Determined, Manner::Plain, "a second run gave"),
        (
            Law::IdleIsQuiet,
            Manner::Probed,
            "polled before its deadlines it gave",
        ),
        (
            Law::TimeStandsStill,
            Manner::Clamped,
            "with the clock standing still it gave",
        ),
    ];
    for (law, manner, twist) in twins {
        // Without a step back the clamped run is the plain one.
        if manner != Manner::Clamped || goes_back {
            let twin = run(case, manner, None)?;
            compare(law, &plain, twin.as_ref(), twist)?;
        }
    }
    Ok(Summary {
        // Where no stream was read, nothing can be cut.
        cut: if plain.has_read {
            judge_chunks(case)?
        } else {
            0
        },
        ..summary(&plain)
    })
}

/// What breaks only while the clock goes back breaks law 6, whatever it looks like.
fn blame_the_clock(breach: Violation) -> Violation {
    let Violation {
        law, step, detail, ..
    } = breach;
    let number = law.number();
    let detail = format!("law {number} holds while the clock stands still, and not here: {detail}");
    Violation::new(Law::TimeStandsStill, step, detail)
}

/// Law 9: the same octets in other pieces.
fn judge_chunks<M: LawSubject>(case: &Case<M>) -> Result<usize, Violation> {
    let Some(whole) = run(case, Manner::Cut(Pieces::Whole), None)? else {
        return Ok(0);
    };
    let mut compared = case.script.len();
    for pieces in [Pieces::Octets, Pieces::Random, Pieces::RandomDrained] {
        if let Some(cut) = run(case, Manner::Cut(pieces), None)? {
            compared = compared.min(chunks::compare(&case.script, &whole, &cut, pieces)?);
        }
    }
    Ok(compared)
}

type Ran<M> = Option<Log<<M as crate::Machine>::Addr, <M as crate::Machine>::Event>>;

/// Runs the script once; `None` when the configuration is refused.
fn run<M: LawSubject>(
    case: &Case<M>,
    manner: Manner,
    meter: Option<Meter<'_>>,
) -> Result<Ran<M>, Violation> {
    let step = Cell::new(0);
    let ran = caught(|| {
        Bench::new(case, manner, meter, &step)
            .map(|bench| bench.run(&case.script))
            .transpose()
    });
    ran.unwrap_or_else(|message| {
        let detail = format!("it panicked: {message}");
        Err(Violation::new(Law::NoPanic, step.get(), detail))
    })
}

/// Runs `trial`, and gives the message of a panic as the error.
///
/// Under libFuzzer a panic never gets here: its hook aborts, and the fuzzer reports the input.
#[cfg(feature = "std")]
fn caught<T>(trial: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever a panic leaves half done belongs to the run, and goes with it.
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(trial)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| String::from(*text));
        text.or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| String::from("without a message"))
    })
}

/// Without the standard library a panic cannot be caught, and fails the test on its own.
#[cfg(not(feature = "std"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same face with and without `std`"
)]
fn caught<T>(trial: impl FnOnce() -> T) -> Result<T, String> {
    Ok(trial())
}

/// Finds the first difference between two logs that have to be equal.
fn compare<A: crate::Addr, E: core::fmt::Debug + PartialEq>(
    law: Law,
    plain: &Log<A, E>,
    twin: Option<&Log<A, E>>,
    twist: &str,
) -> Result<(), Violation> {
    let Some(twin) = twin else {
        let detail = String::from("the configuration was accepted once and refused once");
        return Err(Violation::new(law, 0, detail));
    };
    let mut others = twin.seen.iter();
    for entry in &plain.seen {
        let other = others.next();
        if other != Some(entry) {
            return Err(differ(law, Some(entry), other, twist));
        }
    }
    match others.next() {
        Some(other) => Err(differ(law, None, Some(other), twist)),
        None => Ok(()),
    }
}

fn differ<A: crate::Addr, E: core::fmt::Debug>(
    law: Law,
    plain: Option<&(usize, Seen<A, E>)>,
    twin: Option<&(usize, Seen<A, E>)>,
    twist: &str,
) -> Violation {
    let step = plain.into_iter().chain(twin).map(|(step, _)| *step).min();
    let text = |entry: Option<&(usize, Seen<A, E>)>| {
        entry.map_or_else(
            || String::from("nothing more"),
            |(step, seen)| format!("{seen:?} at step {step}"),
        )
    };
    let detail = format!("{twist} {}, where it gave {}", text(twin), text(plain));
    Violation::new(law, step.unwrap_or(0), detail)
}

fn summary<A, E>(log: &Log<A, E>) -> Summary {
    let count =
        |kind: fn(&Seen<A, E>) -> bool| log.seen.iter().filter(|(_, seen)| kind(seen)).count();
    Summary {
        is_made: true,
        events: count(|seen| matches!(seen, Seen::Event(_))),
        sends: count(|seen| matches!(seen, Seen::Sent { .. })),
        asks: count(|seen| matches!(seen, Seen::Ask(_))),
        refusals: count(|seen| matches!(seen, Seen::Refused(_))),
        cut: 0,
    }
}
