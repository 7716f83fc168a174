//! Simulates leases: members whose clocks drift, that are suspended, restart, and lead one after
//! the other or believe that they do. The network delays, loses and duplicates messages. Consensus
//! is an oracle here ([`world`]); the histories of [`crate::raft`] use the real one.
//!
//! `LEASE_SEED=n cargo test -p evenkeel-cluster lease::simulation` repeats the history
//! `n` and prints it; `LEASE_SEEDS=n` runs that many.

mod agreement;
mod world;

use super::defect::{InjectedLeaseDefect, LeaseDefect};
use lab::{Random, setting};
use world::LeaseSimulation;

const HISTORIES: u64 = 300;
/// Number of histories within which each defect must be found.
const FOUND_WITHIN: u64 = 1_500;

/// Runs one history. Returns the violation and where it was seen.
fn history(seed: u64, defect: Option<LeaseDefect>) -> Result<(), String> {
    let traced = setting("LEASE_SEED").is_some();
    let mut world = LeaseSimulation::new(
        Random::new(seed),
        InjectedLeaseDefect { by: defect },
        traced,
    );
    world
        .run()
        .map_err(|what| format!("{what}\n{}", world.describe_events()))
}

#[test]
fn a_lease_is_never_held_twice() {
    let seeds = match setting("LEASE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("LEASE_SEEDS").unwrap_or(HISTORIES),
    };
    let mut failed = seeds.filter_map(|seed| Some((seed, history(seed, None).err()?)));
    if let Some((seed, what)) = failed.next() {
        let others: Vec<u64> = failed.map(|(seed, _)| seed).take(20).collect();
        panic!("LEASE_SEED={seed} (and {others:?}): {what}");
    }
}

#[test]
fn a_seed_replays_its_history() {
    for seed in 0..20 {
        let defect = Some(LeaseDefect::NewLeaderDoesNotWait);
        assert_eq!(history(seed, defect), history(seed, defect));
    }
}

#[test]
fn deliberate_defects_of_leases_are_found() {
    let all = [
        LeaseDefect::CountsFromAnswer,
        LeaseDefect::NoDriftOfHolder,
        LeaseDefect::NoDriftOfGrantor,
        LeaseDefect::NewLeaderDoesNotWait,
        LeaseDefect::AnswersUnconfirmed,
        LeaseDefect::BelievesOldConfirmation,
        LeaseDefect::AnswersWhileGranting,
        LeaseDefect::ShortensAtOnce,
        LeaseDefect::ResumesFormerEpoch,
        LeaseDefect::UsesAfterRelease,
        LeaseDefect::ChecksBeforeThePause,
        LeaseDefect::GrantsInAnyTerm,
        LeaseDefect::CountsFromLastRequest,
        LeaseDefect::PassesWithoutPromise,
        LeaseDefect::GrantsOnAnyEpoch,
    ];
    let found =
        |defect: &LeaseDefect| (0..FOUND_WITHIN).any(|seed| history(seed, Some(*defect)).is_err());
    let hidden: Vec<LeaseDefect> = all.into_iter().filter(|defect| !found(defect)).collect();
    assert!(hidden.is_empty(), "nobody found {hidden:?}");
}
