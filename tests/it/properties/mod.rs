//! The design's invariants, with the real handler on simulated mappings, streams and faults.
//!
//! Each seed is one world. `make test` tries [`SEEDS`] of them; `KIT_SEEDS=100000` tries more, `KIT_SEED=7` just that one.
//! A seed that fails is shrunk, and what is left of it is shown with its trace.

mod plan;
mod faults;
mod mirror;
mod journal;
mod processor;
mod history;
mod stream;
mod world;
mod once;
mod take_over;
mod quarantine;
mod hold;
mod retries;
mod invariants;
mod coverage;

use std::{env, ops::Range};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use self::{
    plan::Plan,
    world::{Safety, World},
};

/// Default number of seeds.
const SEEDS: u64 = 3_000;

/// The most times that a failing world is made smaller.
const MAX_SHRINKS: u32 = 4_000;

fn seeds() -> Range<u64> {
    let variable = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match (variable("KIT_SEED"), variable("KIT_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    }
}

/// The worlds that a seed stands for: the first one, and simpler ones after that.
fn worlds(seed: u64) -> impl ValueTree<Value = Plan> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    plan::plan().new_tree(&mut runner).expect("a plan rejects nothing")
}

/// Returns the fault in the world of a seed, after shrinking: the violation, and the world with its trace.
fn violation(seed: u64, safety: Safety) -> Option<(String, String)> {
    let mut tree = worlds(seed);
    let check = |plan: &Plan| {
        let worlds = world::run(plan, safety);
        invariants::check(&worlds).err().map(|text| (text, worlds))
    };
    let mut found = check(&tree.current())?;
    let mut smallest = tree.current();
    // What is left shows the same, and not something else.
    let name = |text: &str| text.split(':').next().map(str::to_owned);
    let invariant = name(&found.0);
    for _ in 0..MAX_SHRINKS {
        if !tree.simplify() {
            break;
        }
        loop {
            let plan = tree.current();
            match check(&plan).filter(|(text, _)| name(text) == invariant) {
                Some(still) => {
                    found = still;
                    smallest = plan;
                    break;
                }
                None if tree.complicate() => {}
                None => break,
            }
        }
    }
    let (text, worlds) = found;
    Some((text, format!("{smallest:#?}\n\n{}", traces(&worlds))))
}

fn traces(worlds: &[World]) -> String {
    worlds.iter().map(|world| world.history.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn i1_to_i6_hold_in_every_world() {
    for seed in seeds() {
        if let Some((text, shrunk)) = violation(seed, Safety::All) {
            panic!(
                "seed {seed}: {text}\n\nreplay it with: KIT_SEED={seed} cargo test -p kit-tests properties\n\n\
                 shrunk: {shrunk}"
            );
        }
    }
}

/// The tests can fail: each of these handlers lacks a safety, and some seed tells.
#[track_caller]
fn check_noticed(safety: Safety, invariant: &str) {
    // It may break others as well.
    let is_it = |(text, _): &(String, String)| text.starts_with(invariant);
    let found = (0..500).find_map(|seed| violation(seed, safety).filter(is_it));
    assert!(found.is_some(), "{safety:?}: no violation of {invariant}");
}

#[test]
fn a_handler_that_goes_on_after_a_failure_is_noticed() {
    check_noticed(Safety::NoStop, "I2");
}

#[test]
fn a_handler_that_reports_the_record_behind_the_failed_one_is_noticed() {
    check_noticed(Safety::ReportsTooLate, "I1");
}

#[test]
fn a_handler_that_reports_nothing_is_noticed() {
    check_noticed(Safety::NoReport, "I1");
}

#[test]
fn a_handler_that_reports_what_is_not_in_the_batch_is_noticed() {
    check_noticed(Safety::ReportsForeign, "I6");
}

#[test]
fn a_mirror_that_is_one_record_ahead_is_noticed() {
    check_noticed(Safety::MirrorsTooFar, "I4");
}

#[test]
fn a_mirror_that_is_written_without_a_condition_is_noticed() {
    check_noticed(Safety::MirrorsAlways, "I4");
}

#[test]
fn a_mirror_that_is_not_written_is_noticed() {
    check_noticed(Safety::MirrorsNothing, "I5");
}

#[test]
fn a_journal_that_says_done_of_one_more_is_noticed() {
    check_noticed(Safety::SaysDoneTooFar, "I1");
}

#[test]
fn a_journal_that_forgets_what_is_done_is_noticed() {
    check_noticed(Safety::ForgetsDone, "I3");
}

#[test]
fn a_quarantine_that_is_not_written_is_noticed() {
    check_noticed(Safety::QuarantinesNothing, "I1");
}

#[test]
fn a_journal_that_takes_two_applications_for_one_is_noticed() {
    check_noticed(Safety::IgnoresApplication, "I1");
}

#[test]
fn an_order_by_arrival_only_is_noticed() {
    check_noticed(Safety::IgnoresKeys, "I2");
}

#[test]
fn a_quarantine_that_holds_nothing_is_noticed() {
    check_noticed(Safety::HoldsNothing, "hold");
}

#[test]
fn a_handler_that_does_not_try_again_in_place_is_noticed() {
    check_noticed(Safety::RetriesNothing, "retries");
}

#[test]
fn a_handler_that_tries_once_too_often_is_noticed() {
    check_noticed(Safety::RetriesTooOften, "retries");
}

#[test]
fn tries_in_place_that_count_as_attempts_are_noticed() {
    check_noticed(Safety::CountsEveryTry, "attempts");
}

#[test]
fn a_handler_that_skips_what_it_should_not_is_noticed() {
    check_noticed(Safety::SkipsUnasked, "I1");
}

#[test]
fn a_chunk_whose_outcome_is_that_of_one_more_is_noticed() {
    check_noticed(Safety::MapsChunksTooFar, "I1");
}

#[test]
fn a_handler_without_a_deadline_guard_is_no_loss() {
    // Timeouts cost attempts, not records.
    for seed in 0..200 {
        assert_eq!(violation(seed, Safety::NoDeadline).map(|(text, _)| text), None, "seed {seed}");
    }
}

/// Same seed, same trace.
#[test]
fn a_world_happens_the_same_way_every_time() {
    for seed in 0..50 {
        let plan = worlds(seed).current();
        let trace = || traces(&world::run(&plan, Safety::All));
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

/// A property of worlds in which nothing happens would hold, too.
#[test]
fn the_worlds_are_worth_trying() {
    let mut seen = coverage::Coverage::default();
    for seed in 0..400 {
        let plan = worlds(seed).current();
        seen.include(&world::run(&plan, Safety::All));
    }
    seen.check();
}
