//! The runner of random tests, in processes of its own: which seeds it visits, and what it prints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tries;

use std::env;
use std::process::{Command, Output};

use farlink::Seed;
use tries::tries;

/// How many octets the seeds get, one after another.
const SIZES: [usize; 14] = [4, 4, 4, 6, 6, 6, 8, 8, 8, 10, 10, 10, 4, 4];
/// The seed that fails.
const BAD: usize = 8;
/// As many as run without a word in the environment.
const USUAL: usize = 7;

#[test]
#[ignore = "prints its octets and fails with one seed, for the other tests of this file"]
fn a_test_with_a_fault() {
    tries(u64::try_from(USUAL).unwrap(), 4..=10, |u| {
        let octets = u.bytes(u.len())?;
        println!("octets {octets:?}");
        assert_ne!(octets, octets_of(BAD));
        Ok(())
    });
}

#[test]
fn each_seed_below_the_count_runs_once_with_more_and_more_octets() {
    let run = run(&[]);

    assert!(run.status.success());
    assert_eq!(visited(&run), (0..USUAL).map(shown).collect::<Vec<_>>());
}

#[test]
fn more_tries_go_on_to_further_seeds_and_the_one_that_fails_is_printed() {
    let run = run(&[("FARLINK_TRIES", "2")]);

    assert!(!run.status.success());
    assert_eq!(visited(&run), (0..=BAD).map(shown).collect::<Vec<_>>());
    let printed = String::from_utf8(run.stderr).unwrap();
    let word = "failed with seed 8: run with FARLINK_SEED=8\n";
    assert!(printed.contains(word), "{printed}");
}

#[test]
fn a_seed_that_is_named_runs_alone() {
    let bad = run(&[("FARLINK_SEED", "8"), ("FARLINK_TRIES", "2")]);
    let good = run(&[("FARLINK_SEED", "13")]);

    assert!(!bad.status.success() && good.status.success());
    assert_eq!(visited(&bad), [shown(BAD)]);
    assert_eq!(visited(&good), [shown(13)]);
}

#[test]
fn what_is_no_number_is_refused() {
    let run = run(&[("FARLINK_SEED", "0x8")]);

    assert!(!run.status.success());
    assert!(visited(&run).is_empty());
}

fn run(environment: &[(&str, &str)]) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "a_test_with_a_fault"])
        .env_remove("FARLINK_SEED")
        .env_remove("FARLINK_TRIES")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// Returns what the test printed at each visit.
fn visited(run: &Output) -> Vec<String> {
    let printed = str::from_utf8(&run.stdout).unwrap();
    let lines = printed.lines();
    lines
        .filter_map(|line| Some(line.split_once("octets ")?.1.into()))
        .collect()
}

fn shown(seed: usize) -> String {
    format!("{:?}", octets_of(seed))
}

fn octets_of(seed: usize) -> Vec<u8> {
    let mut octets = vec![0; SIZES.get(seed).copied().unwrap()];
    let number = u64::try_from(seed).unwrap();
    Seed::from(number).rng().fill(&mut octets);
    octets
}
