//! Simulates rollouts from seeds. Nodes crash, are cut off, have stuck disks or roll back by
//! themselves; leaders change and reports are lost. Versions are refused, make things worse or kill
//! the serving process. Consensus is simulated elsewhere; here a committed command is an item of a
//! list.
//!
//! [`Checks`] verifies the invariants without knowledge of the implementation;
//! deliberate [`RolloutDefect`]s show that it detects violations.

mod checks;
mod world;

use lab::setting;
use world::{RolloutDefect, RolloutSimulation};

/// Histories in a test run; `ROLLOUT_SEEDS` sets another number. Of another number, another seed:
/// `history(seed, None)`.
const HISTORIES: u64 = 300;
/// Number of histories within which a defect must be found.
const HISTORIES_TO_FIND: u64 = 1000;

/// Runs one history. Returns the violation, if any.
fn history(seed: u64, defect: Option<RolloutDefect>) -> Result<checks::Counts, String> {
    let mut world = RolloutSimulation::new(seed, defect);
    while world.step()? {}
    world.end()
}

#[test]
fn bad_versions_are_never_accepted_despite_failures() {
    let histories = setting("ROLLOUT_SEEDS").unwrap_or(HISTORIES);
    let mut counts = checks::Counts::default();
    for seed in 0..histories {
        match history(seed, None) {
            Ok(of_one) => counts.add(&of_one),
            Err(wrong) => panic!("seed {seed}: {wrong}"),
        }
    }
    // Histories without events would prove nothing.
    assert!(counts.accepted > histories, "{counts:?}");
    assert!(counts.taken_back > histories, "{counts:?}");
    assert!(counts.refused > histories / 4, "{counts:?}");
    assert!(counts.went_back > histories / 4, "{counts:?}");
    assert!(counts.confirmed > histories / 20, "{counts:?}");
    assert!(counts.leaders > 2 * histories, "{counts:?}");
}

/// Checks that at least one history fails by this check, whatever else the defect
/// causes in others.
fn is_found(defect: RolloutDefect, by: &str) {
    let found = (0..HISTORIES_TO_FIND)
        .filter_map(|seed| history(seed, Some(defect)).err())
        .find(|wrong| wrong.contains(by));
    assert!(
        found.is_some(),
        "{defect:?} was not found in {HISTORIES_TO_FIND} histories"
    );
}

#[test]
fn defect_continue_without_leader_is_found() {
    is_found(
        RolloutDefect::IgnoresSilence,
        "has not heard from the leader",
    );
}

#[test]
fn defect_judge_accepts_everything_is_found() {
    is_found(RolloutDefect::CallsAllGood, "became accepted");
}

#[test]
fn defect_leader_never_gives_up_is_found() {
    is_found(RolloutDefect::NeverGivesUp, "is still on its way");
}

#[test]
fn defect_no_rollback_is_found() {
    is_found(RolloutDefect::DoesNotGoBack, "on trial");
}

#[test]
fn defect_leader_skips_unseen_node_is_found() {
    is_found(RolloutDefect::LeavesOutAtOnce, "on trial at once");
}

#[test]
fn defect_canary_kept_after_takeover_is_found() {
    is_found(RolloutDefect::PreemptsInJudgement, "took an address over");
}

#[test]
fn defect_canary_kept_with_stuck_disk_is_found() {
    is_found(RolloutDefect::TrustsAStuckDisk, "on trial at once");
}
