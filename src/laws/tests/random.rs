//! The laws under generated scripts: sound toys pass, and the generator is good enough to find every fault.
#![cfg(feature = "arbitrary")]

use arbitrary::{Arbitrary, Unstructured};

use super::beacon::{self, Beacon};
use super::lines::{Fault, Lines};
use crate::Seed;
use crate::laws::{Case, Law, LawSubject, Summary, check, try_check};
use crate::tries::tries;

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

/// Generates the case of this number.
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

/// Returns the laws that generated cases break, in the order in which they do. A fault may break several.
fn hunt<M>(config: &M::Config, cases: u64) -> impl Iterator<Item = Law>
where
    M: LawSubject<Config: for<'a> Arbitrary<'a>>,
    M::Addr: for<'a> Arbitrary<'a>,
    M::Command: for<'a> Arbitrary<'a>,
{
    (0..cases).filter_map(|number| {
        let mut case = case::<M>(number);
        case.config = config.clone();
        try_check(&case).err().map(|breach| breach.law)
    })
}

#[test]
fn a_sound_machine_is_never_accused() {
    let config = super::lines::Config {
        fault: Fault::None,
        has_gate: true,
    };
    let gate = super::lines::Config {
        has_gate: false,
        ..config
    };

    assert_eq!(hunt::<Lines>(&config, 400).next(), None);
    assert_eq!(hunt::<Lines>(&gate, 400).next(), None);
    assert_eq!(hunt::<Beacon>(&beacon::Fault::None, 400).next(), None);
}

#[test]
fn generated_scripts_get_somewhere() {
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
        all.cut += summary.cut;
    }

    assert!(all.events > 120, "{all:?}");
    assert!(all.sends > 20, "{all:?}");
    assert!(all.asks > 50, "{all:?}");
    assert!(all.refusals > 400, "{all:?}");
    assert!(all.cut > steps / 6, "{all:?} of {steps}");
}

#[test]
fn generated_scripts_find_every_fault_of_a_stream_machine() {
    use Fault as F;
    let faults = [
        (F::EventsWithoutEnd, Law::DrainEnds),
        (F::EventEverySecond, Law::DrainEnds),
        (F::DeadlineInThePast, Law::IdleIsQuiet),
        (F::DeadlineSlides, Law::IdleIsQuiet),
        (F::PollIsFelt, Law::IdleIsQuiet),
        (F::EmptySend, Law::SendFits),
        (F::LongSend, Law::SendFits),
        (F::OctetsUnderIdle, Law::SendFits),
        (F::WakesAfterDone, Law::DoneIsFused),
        (F::ChanceOfItsOwn, Law::Determined),
        (F::ClockGoesBack, Law::TimeStandsStill),
        (F::Panics, Law::NoPanic),
        (F::Hoards, Law::MemoryIsBounded),
        (F::ReadsOnWhenFlooded, Law::MemoryIsBounded),
        (F::EventPerChunk, Law::ChunksVanish),
        (F::LosesSplitHeads, Law::ChunksVanish),
        (F::WritesWhenFull, Law::Silence),
        (F::WritesAfterDown, Law::Silence),
        (F::WritesAfterClose, Law::Silence),
        (F::NeverWantsAgain, Law::WantedAgain),
    ];
    for (fault, law) in faults {
        let config = super::lines::Config {
            fault,
            has_gate: false,
        };
        let is_found = hunt::<Lines>(&config, 200).any(|found| found == law);
        assert!(is_found, "{fault:?}");
    }
}

#[test]
fn generated_scripts_find_every_fault_of_a_datagram_machine() {
    use beacon::Fault as F;
    let faults = [
        (F::LongDatagram, Law::SendFits),
        (F::LongBatch, Law::SendFits),
        (F::WritesWhenDown, Law::Silence),
        (F::AnswersWhenFull, Law::Silence),
        (F::TimerFromTheClock, Law::TimeStandsStill),
        (F::RemembersAll, Law::MemoryIsBounded),
    ];
    for (fault, law) in faults {
        let is_found = hunt::<Beacon>(&fault, 200).any(|found| found == law);
        assert!(is_found, "{fault:?}");
    }
}
