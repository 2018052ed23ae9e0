//! The laws under generated scripts: sound machines pass, and every fault is found.
#![cfg(feature = "arbitrary")]

use arbitrary::{Arbitrary, Unstructured};

use super::beacon::{self, Beacon};
use super::lines::{Fault, Lines};
use crate::Seed;
use crate::laws::{Case, Law, LawSubject, Summary, check, try_check};
use crate::tests::tries::tries;

#[test]
fn a_sound_stream_machine_keeps_the_laws_under_any_script() {
    tries(150, 32..=65_536, |u| {
        let mut case = Case::<Lines>::arbitrary(u)?;
        case.config.fault = Fault::None;
        check(case);
        Ok(())
    });
}

#[test]
fn a_sound_datagram_machine_keeps_the_laws_under_any_script() {
    tries(150, 32..=65_536, |u| {
        let mut case = Case::<Beacon>::arbitrary(u)?;
        case.config = beacon::Fault::None;
        check(case);
        Ok(())
    });
}

/// Generates case `number`.
fn case<M>(number: u64) -> Case<M>
where
    M: LawSubject<Config: for<'a> Arbitrary<'a>>,
    M::Addr: for<'a> Arbitrary<'a>,
    M::Command: for<'a> Arbitrary<'a>,
{
    let mut octets = [0; 2000];
    Seed::from(number).rng().fill(&mut octets);
    Case::arbitrary(&mut Unstructured::new(&octets)).unwrap()
}

/// Returns the laws that generated cases violate, in their order. A fault may violate several.
fn violated_laws<M>(config: &M::Config, cases: u64) -> impl Iterator<Item = Law>
where
    M: LawSubject<Config: for<'a> Arbitrary<'a>>,
    M::Addr: for<'a> Arbitrary<'a>,
    M::Command: for<'a> Arbitrary<'a>,
{
    (0..cases).filter_map(|number| {
        let mut case = case::<M>(number);
        case.config = config.clone();
        try_check(&case).err().map(|violation| violation.law)
    })
}

#[test]
fn a_sound_machine_violates_no_law() {
    let config = super::lines::Config {
        fault: Fault::None,
        must_accept: true,
    };
    let accepting = super::lines::Config {
        must_accept: false,
        ..config
    };

    assert_eq!(violated_laws::<Lines>(&config, 400).next(), None);
    assert_eq!(violated_laws::<Lines>(&accepting, 400).next(), None);
    assert_eq!(
        violated_laws::<Beacon>(&beacon::Fault::None, 400).next(),
        None
    );
}

#[test]
fn generated_scripts_lead_to_outputs() {
    let mut all = Summary::default();
    let mut steps = 0;
    for number in 0..100 {
        let mut case = case::<Lines>(number);
        case.config.fault = Fault::None;
        let summary = try_check(&case).unwrap();
        steps += case.script.len();
        all.events += summary.events;
        all.sends += summary.sends;
        all.asks += summary.asks;
        all.refusals += summary.refusals;
        all.chunked_steps += summary.chunked_steps;
    }

    assert!(all.events > 120, "{all:?}");
    assert!(all.sends > 20, "{all:?}");
    assert!(all.asks > 50, "{all:?}");
    assert!(all.refusals > 400, "{all:?}");
    assert!(all.chunked_steps > steps / 6, "{all:?} of {steps}");
}

#[test]
fn generated_scripts_find_every_fault_of_a_stream_machine() {
    use Fault as F;
    let faults = [
        (F::EventsWithoutEnd, Law::FiniteDrain),
        (F::EventEverySecond, Law::FiniteDrain),
        (F::DeadlineInThePast, Law::QuietUntilDeadline),
        (F::DeadlineSlides, Law::QuietUntilDeadline),
        (F::PollChangesState, Law::QuietUntilDeadline),
        (F::EmptySend, Law::TransmitWithinLimits),
        (F::LongSend, Law::TransmitWithinLimits),
        (F::OctetsUnderIdle, Law::TransmitWithinLimits),
        (F::WakesAfterDone, Law::DoneIsFused),
        (F::RandomOutsideSeed, Law::Deterministic),
        (F::ClockGoesBack, Law::MonotonicTime),
        (F::Panics, Law::NoPanic),
        (F::NeverFrees, Law::BoundedMemory),
        (F::ReadsOnWhenFlooded, Law::BoundedMemory),
        (F::EventPerChunk, Law::ChunkingIndependent),
        (F::LosesSplitHeads, Law::ChunkingIndependent),
        (F::WritesWhenFull, Law::NoWriteWhenClosed),
        (F::WritesAfterDown, Law::NoWriteWhenClosed),
        (F::WritesAfterClose, Law::NoWriteWhenClosed),
        (F::NeverWantsAgain, Law::ReadResumes),
    ];
    for (fault, law) in faults {
        let config = super::lines::Config {
            fault,
            must_accept: false,
        };
        let is_found = violated_laws::<Lines>(&config, 200).any(|found| found == law);
        assert!(is_found, "{fault:?}");
    }
}

#[test]
fn generated_scripts_find_every_fault_of_a_datagram_machine() {
    use beacon::Fault as F;
    let faults = [
        (F::LongDatagram, Law::TransmitWithinLimits),
        (F::LongBatch, Law::TransmitWithinLimits),
        (F::WritesWhenDown, Law::NoWriteWhenClosed),
        (F::AnswersWhenFull, Law::NoWriteWhenClosed),
        (F::TimerFromTheClock, Law::MonotonicTime),
        (F::RemembersAll, Law::BoundedMemory),
        (F::WritesAfterCancel, Law::NoWriteWhenClosed),
        (F::YieldsForEver, Law::FiniteDrain),
        (F::OctetsUnderYield, Law::TransmitWithinLimits),
        (F::AnswersLong, Law::NoAmplification),
        (F::AllocatesByNumber, Law::MemoryFollowsInput),
    ];
    for (fault, law) in faults {
        let is_found = violated_laws::<Beacon>(&fault, 2000).any(|found| found == law);
        assert!(is_found, "{fault:?}");
    }
}
