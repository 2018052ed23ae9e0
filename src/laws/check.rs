//! Checks a case against every law, in as many runs as that takes, and shrinks the script of a violation.

use alloc::format;
use alloc::string::String;
use core::cell::Cell;

use super::log::{Chunking, Log, Mode, Observed};
use super::runner::{Meter, Runner};
use super::shrink::shrink;
use super::{Case, Law, LawSubject, Step, Violation, chunking};

/// Counts what a machine did in a case that violates no law, to see that scripts reach something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Whether the configuration was accepted. If not, nothing was run.
    pub is_made: bool,
    /// Events of the plain run.
    pub events: usize,
    /// Sends of the plain run.
    pub sends: usize,
    /// Asks of the plain run.
    pub asks: usize,
    /// Commands refused in the plain run.
    pub refusals: usize,
    /// Steps of the script over which different chunkings were compared.
    pub chunked_steps: usize,
}

/// Runs a case under every law: the body of a fuzz target, and of a property test.
///
/// # Panics
///
/// When a law is violated, with the [`Violation`] and a short script.
#[expect(clippy::panic, reason = "a test and a fuzz target fail by panicking")]
pub fn check<M: LawSubject>(case: Case<M>) {
    if let Err(violation) = try_check(&case) {
        // Dropped first, so that the report stands last.
        drop(case);
        panic!("{violation}");
    }
}

/// Runs a case under every law.
///
/// # Errors
///
/// The first law violated, with a script from which everything was removed that the violation does not need.
pub fn try_check<M: LawSubject>(case: &Case<M>) -> Result<Summary, Violation> {
    check_all(case).map_err(|violation| shrink(case, violation, check_all))
}

/// Runs [`try_check_metered`].
///
/// # Panics
///
/// When a law is violated, with the [`Violation`] and a short script.
#[expect(clippy::panic, reason = "a test and a fuzz target fail by panicking")]
pub fn check_metered<M: LawSubject>(case: &Case<M>, allocated: impl FnMut() -> usize) {
    if let Err(violation) = try_check_metered(case, allocated) {
        panic!("{violation}");
    }
}

/// Runs a case once, and checks law 8 by `allocated` in place of the machine's own count.
///
/// `allocated` returns how many bytes this thread has allocated at present. What the machine allocates in
/// its calls counts as its own until it frees it or gives it away in an event. Memory that came with a
/// command belongs to the script.
///
/// # Errors
///
/// The first law violated, of those that one run can violate.
pub fn try_check_metered<M: LawSubject>(
    case: &Case<M>,
    mut allocated: impl FnMut() -> usize,
) -> Result<(), Violation> {
    let mut run_metered = |case: &Case<M>| {
        let meter: Meter<'_> = &mut allocated;
        run(case, Mode::Plain, Some(meter)).map(drop)
    };
    run_metered(case).map_err(|violation| shrink(case, violation, run_metered))
}

/// Checks every law that needs a machine. Each run has a checker, so the laws of a single run are checked in
/// all of them.
fn check_all<M: LawSubject>(case: &Case<M>) -> Result<Summary, Violation> {
    let goes_back = case.script.iter().any(|step| matches!(step, Step::Back(_)));
    let plain = run(case, Mode::Plain, None).map_err(|violation| {
        if goes_back && run(case, Mode::Clamped, None).is_ok() {
            attribute_to_clock(violation)
        } else {
            violation
        }
    })?;
    let Some(plain) = plain else {
        return Ok(Summary::default());
    };
    let reruns = [
        (Law::Deterministic, Mode::Plain, "a second run gave"),
        (
            Law::QuietUntilDeadline,
            Mode::Probed,
            "polled before its deadlines it gave",
        ),
        (
            Law::MonotonicTime,
            Mode::Clamped,
            "with the clock standing still it gave",
        ),
    ];
    for (law, mode, context) in reruns {
        // If the clock never goes back, the clamped run equals the plain one.
        if mode != Mode::Clamped || goes_back {
            let rerun = run(case, mode, None)?;
            compare(law, &plain, rerun.as_ref(), context)?;
        }
    }
    Ok(Summary {
        // If no stream was read, there are no chunks to compare.
        chunked_steps: if plain.has_read_streams {
            compare_chunkings(case)?
        } else {
            0
        },
        ..summary(&plain)
    })
}

/// A violation that occurs only while the clock goes back is one of law 6, whichever law it looks like.
fn attribute_to_clock(violation: Violation) -> Violation {
    let Violation {
        law, step, detail, ..
    } = violation;
    let number = law.number();
    let detail = format!("law {number} holds while the clock stands still, and not here: {detail}");
    Violation::new(Law::MonotonicTime, step, detail)
}

/// Checks law 9: the same octets in other chunks.
fn compare_chunkings<M: LawSubject>(case: &Case<M>) -> Result<usize, Violation> {
    let Some(whole) = run(case, Mode::Chunked(Chunking::Whole), None)? else {
        return Ok(0);
    };
    let mut compared = case.script.len();
    for chunking_mode in [
        Chunking::SingleOctets,
        Chunking::Random,
        Chunking::RandomDrained,
    ] {
        if let Some(cut) = run(case, Mode::Chunked(chunking_mode), None)? {
            compared = compared.min(chunking::compare(
                &case.script,
                &whole,
                &cut,
                chunking_mode,
                M::series,
            )?);
        }
    }
    Ok(compared)
}

type Ran<M> = Option<Log<<M as crate::Machine>::Addr, <M as crate::Machine>::Event>>;

/// Runs the script once; `None` when the configuration is refused.
fn run<M: LawSubject>(
    case: &Case<M>,
    mode: Mode,
    meter: Option<Meter<'_>>,
) -> Result<Ran<M>, Violation> {
    let step = Cell::new(0);
    let ran = caught(|| {
        Runner::new(case, mode, meter, &step)
            .map(|runner| runner.run(&case.script))
            .transpose()
    });
    ran.unwrap_or_else(|message| {
        let detail = format!("it panicked: {message}");
        Err(Violation::new(Law::NoPanic, step.get(), detail))
    })
}

/// Runs `trial`, and returns the message of a panic as the error.
///
/// Under libFuzzer a panic aborts in the panic hook before it can be caught, and the fuzzer reports the input.
#[cfg(feature = "std")]
fn caught<T>(trial: impl FnOnce() -> T) -> Result<T, String> {
    // The state that a panic leaves behind belongs to the run, and is dropped with it.
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(trial)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| String::from(*text));
        text.or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| String::from("without a message"))
    })
}

/// Without the standard library a panic cannot be caught, and fails the test itself.
#[cfg(not(feature = "std"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same signature with and without `std`"
)]
fn caught<T>(trial: impl FnOnce() -> T) -> Result<T, String> {
    Ok(trial())
}

/// Returns the first difference between two logs that have to be equal.
fn compare<A: crate::Addr, E: core::fmt::Debug + PartialEq>(
    law: Law,
    plain: &Log<A, E>,
    rerun: Option<&Log<A, E>>,
    context: &str,
) -> Result<(), Violation> {
    let Some(rerun) = rerun else {
        let detail = String::from("the configuration was accepted once and refused once");
        return Err(Violation::new(law, 0, detail));
    };
    let mut others = rerun.entries.iter();
    for entry in &plain.entries {
        let other = others.next();
        if other != Some(entry) {
            return Err(differ(law, Some(entry), other, context));
        }
    }
    match others.next() {
        Some(other) => Err(differ(law, None, Some(other), context)),
        None => Ok(()),
    }
}

fn differ<A: crate::Addr, E: core::fmt::Debug>(
    law: Law,
    plain: Option<&(usize, Observed<A, E>)>,
    rerun: Option<&(usize, Observed<A, E>)>,
    context: &str,
) -> Violation {
    let step = plain.into_iter().chain(rerun).map(|(step, _)| *step).min();
    let text = |entry: Option<&(usize, Observed<A, E>)>| {
        entry.map_or_else(
            || String::from("nothing more"),
            |(step, entry)| format!("{entry:?} at step {step}"),
        )
    };
    let detail = format!("{context} {}, where it gave {}", text(rerun), text(plain));
    Violation::new(law, step.unwrap_or(0), detail)
}

fn summary<A, E>(log: &Log<A, E>) -> Summary {
    let count = |kind: fn(&Observed<A, E>) -> bool| {
        log.entries.iter().filter(|(_, entry)| kind(entry)).count()
    };
    Summary {
        is_made: true,
        events: count(|entry| matches!(entry, Observed::Event(_))),
        sends: count(|entry| matches!(entry, Observed::Sent { .. })),
        asks: count(|entry| matches!(entry, Observed::Ask(_))),
        refusals: count(|entry| matches!(entry, Observed::Refused(_))),
        chunked_steps: 0,
    }
}
