//! Simulated histories of a volume: two nodes with disks that lose unflushed writes, fail and
//! stall; a network with delays and breaks; a lease service; clients. Processes are killed,
//! machines lose power and pause, clocks drift. A seed reproduces a history.
//!
//! `VOLUME_SEED=n cargo test -p evenkeel-volume simulation` repeats the history `n` and prints it
//! if it fails. `VOLUME_SEEDS=n` runs that many.

mod agreement;
mod check;
mod client;
mod disk;
mod network;
mod node;
mod plan;
mod sums;
mod traffic;
mod world;

use super::defect::ReplicaDefect;
use super::message::Payload;
use lab::{Random, setting};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use world::ReplicaSimulation;

/// Number of histories per run.
const HISTORIES: u64 = 10_000;
/// Number of histories of which one contains verifies.
const VERIFIES: u64 = 8;
/// Number of histories with rot; each repair defect must be found within them.
const ROT_HISTORIES: u64 = 1_500;
/// Number of histories in which disks are put into the wrong machine.
const MISPLACED_HISTORIES: u64 = 2_000;
/// Number of histories within which each defect must be found.
const FOUND_WITHIN: u64 = 10_000;

/// Content of blocks: the number of the attempt that wrote each block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptNumbers(pub Vec<u32>);

impl Payload for AttemptNumbers {
    fn checksum(&self) -> u64 {
        let mix = |sum: u64, value: &u32| (sum ^ u64::from(*value)).wrapping_mul(0x100_0000_01b3);
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

/// Runs one history. Returns the number of acknowledged requests, or the violation.
fn history(seed: u64, defect: Option<ReplicaDefect>) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let mut plan = plan::draw(&mut random);
    plan.may_fail(&mut Random::new(!seed));
    if seed % VERIFIES == VERIFIES - 1 {
        plan.verify(&mut Random::new(!seed));
    }
    let traced = setting("VOLUME_SEED").is_some();
    let mut world = ReplicaSimulation::new(plan, random, defect, traced);
    world
        .run()
        .map_err(|what| format!("{what}\n{}", world.told()))
}

/// Runs the histories of these seeds on all processors. Returns the sum of the results, and the
/// first seed that failed.
fn first_failure(
    seeds: std::ops::Range<u64>,
    history: impl Fn(u64) -> Result<u64, String> + Sync,
) -> (u64, Option<u64>) {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(u64::MAX);
    let acknowledged = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end.min(failed.load(Ordering::Relaxed)) {
                        return;
                    }
                    match history(seed) {
                        Ok(count) => _ = acknowledged.fetch_add(count, Ordering::Relaxed),
                        Err(_) => _ = failed.fetch_min(seed, Ordering::Relaxed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    let failed = (failed != u64::MAX).then_some(failed);
    (acknowledged.into_inner(), failed)
}

#[test]
fn no_history_loses_acknowledged_writes() {
    let seeds = match setting("VOLUME_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = setting("VOLUME_FIRST").unwrap_or(0);
            first..first + setting("VOLUME_SEEDS").unwrap_or(HISTORIES)
        }
    };
    let count = seeds.end - seeds.start;
    let (acknowledged, failed) = first_failure(seeds, |seed| history(seed, None));
    if let Some(seed) = failed {
        let what = history(seed, None).err().unwrap_or_default();
        panic!("VOLUME_SEED={seed}: {what}");
    }
    // A history without any activity would satisfy every invariant.
    assert!(
        acknowledged >= count * 30 || count < 100,
        "{acknowledged} in {count}"
    );
}

/// Runs a history with losses of the majority, in which requests fail (`without-majority error`).
fn history_without_majority(seed: u64, defect: Option<ReplicaDefect>) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let mut plan = plan::draw(&mut random);
    plan.lose_majority(&mut random);
    let mut world = ReplicaSimulation::new(plan, random, defect, setting("VOLUME_SEED").is_some());
    world
        .run()
        .map_err(|what| format!("{what}\n{}", world.told()))
}

#[test]
fn reads_of_failed_writes_stay_consistent() {
    for seed in 0..300 {
        if let Err(what) = history_without_majority(seed, None) {
            panic!("{seed}: {what}");
        }
    }
    for defect in [
        ReplicaDefect::ExecutesFailed,
        ReplicaDefect::FailedLeavesRange,
    ] {
        let mut seeds = 0..FOUND_WITHIN;
        let found = seeds.find(|seed| history_without_majority(*seed, Some(defect)).is_err());
        println!("{defect:?}: {found:?}");
        assert!(found.is_some(), "nobody found {defect:?}");
    }
}

/// Runs a history with checksums in which blocks rot, in at most one copy at a time. Returns the
/// number of repaired blocks.
fn history_with_rot(seed: u64, defect: Option<ReplicaDefect>) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let mut plan = plan::draw(&mut random);
    plan.rot(&mut Random::new(!seed));
    let mut world = ReplicaSimulation::new(plan, random, defect, setting("VOLUME_SEED").is_some());
    world
        .run()
        .map_err(|what| format!("{what}\n{}", world.told()))?;
    Ok(world.repaired())
}

#[test]
fn no_read_returns_damage_and_a_repair_removes_it() {
    let seeds = match setting("VOLUME_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("VOLUME_SEEDS").unwrap_or(ROT_HISTORIES),
    };
    let count = seeds.end - seeds.start;
    let (repaired, failed) = first_failure(seeds, |seed| history_with_rot(seed, None));
    if let Some(seed) = failed {
        let what = history_with_rot(seed, None).err().unwrap_or_default();
        panic!("VOLUME_SEED={seed}: {what}");
    }
    assert!(repaired >= count || count < 100, "{repaired} in {count}");
}

#[test]
fn wrong_repairs_of_a_replica_are_found() {
    for defect in [
        ReplicaDefect::RepairPassesWrites,
        ReplicaDefect::RepairsUnchecked,
        ReplicaDefect::CopiesZeros,
        ReplicaDefect::VerifyForgetsDamage,
        ReplicaDefect::VerifyTrustsTheirs,
        ReplicaDefect::SumsBeforeData,
    ] {
        let found = first_failure(0..ROT_HISTORIES, |seed| {
            history_with_rot(seed, Some(defect))
        })
        .1;
        let what = found.and_then(|seed| history_with_rot(seed, Some(defect)).err());
        let what = what.unwrap_or_default();
        println!(
            "{defect:?}: {found:?}: {}",
            what.lines().next().unwrap_or_default()
        );
        assert!(found.is_some(), "nobody found {defect:?}");
    }
}

/// Runs a history in which a machine gets the disk of the other one, or a clone of it, for a while.
fn history_with_misplaced_disks(seed: u64, defect: Option<ReplicaDefect>) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let mut plan = plan::draw(&mut random);
    plan.misplace(&mut Random::new(!seed));
    let mut world = ReplicaSimulation::new(plan, random, defect, setting("VOLUME_SEED").is_some());
    world
        .run()
        .map_err(|what| format!("{what}\n{}", world.told()))
}

#[test]
fn misplaced_disk_is_neither_served_nor_written() {
    let seeds = match setting("VOLUME_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("VOLUME_SEEDS").unwrap_or(MISPLACED_HISTORIES),
    };
    let run = |defect| {
        first_failure(seeds.clone(), |seed| {
            history_with_misplaced_disks(seed, defect)
        })
    };
    if let (_, Some(seed)) = run(None) {
        let what = history_with_misplaced_disks(seed, None).err();
        panic!("VOLUME_SEED={seed}: {}", what.unwrap_or_default());
    }
    let found = run(Some(ReplicaDefect::IgnoresIdentity)).1;
    assert!(found.is_some() || seeds.end < MISPLACED_HISTORIES);
}

/// Runs a history in which node 1's disk reports flushes without effect, with or without power
/// losses of that node.
fn history_of_a_liar(seed: u64, loses_power: bool) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let mut plan = plan::draw(&mut random);
    plan.liar = Some(1);
    if !loses_power {
        plan.keep_power(1);
    }
    ReplicaSimulation::new(plan, random, None, false).run()
}

/// Tests a disk that reports flushes without effect. Nothing is lost until its machine loses power.
/// After that its copy lacks writes without any copy knowing, which only a full comparison detects.
#[test]
fn a_disk_that_lies_about_flushes_loses_nothing_until_its_power_is_lost() {
    for seed in 0..1_000 {
        if let Err(what) = history_of_a_liar(seed, false) {
            panic!("{seed}: {what}");
        }
    }
    assert!((0..1_000).any(|seed| history_of_a_liar(seed, true).is_err()));
}

#[test]
fn a_seed_replays_its_history() {
    for seed in 0..20 {
        let defect = Some(ReplicaDefect::AcksWithoutOther);
        assert_eq!(history(seed, defect), history(seed, defect));
    }
}

#[test]
fn deliberate_defects_of_a_replica_are_found() {
    // Each defect with the first seed to try.
    let all = [
        (ReplicaDefect::AcksWithoutOther, 0),
        (ReplicaDefect::AcksBeforeRecord, 0),
        (ReplicaDefect::FlushesLocalOnly, 1398),
        (ReplicaDefect::IgnoresLeaseEnd, 0),
        (ReplicaDefect::WritesBeforeHot, 416),
        (ReplicaDefect::EvictsUnstable, 0),
        (ReplicaDefect::LeavesBeforeRecord, 6025),
        (ReplicaDefect::NoIntervalLock, 0),
        (ReplicaDefect::ReadsPassWrites, 2694),
        (ReplicaDefect::AcceptsOldEpochs, 5424),
        (ReplicaDefect::NeverDrains, 257),
        (ReplicaDefect::ForgetsUnstable, 0),
        (ReplicaDefect::IgnoresTheirLog, 0),
        (ReplicaDefect::IgnoresOwnLog, 0),
        (ReplicaDefect::JoinsWithoutFlush, 558),
        (ReplicaDefect::ServesOutOfRecord, 0),
        (ReplicaDefect::IgnoresPowerLoss, 0),
        (ReplicaDefect::BeginsUnstored, 5382),
        (ReplicaDefect::ForgetsProposal, 252),
        (ReplicaDefect::ProposesUnflushed, 7388),
        (ReplicaDefect::HandsOverUndrained, 0),
        (ReplicaDefect::ExecutesStale, 0),
        (ReplicaDefect::TrustsAnyBits, 0),
        (ReplicaDefect::ForgetsLogEarly, 2477),
        (ReplicaDefect::VerifyPassesWrites, 1367),
        (ReplicaDefect::ForgetsStranger, 1210),
        (ReplicaDefect::GrowsAlone, 0),
        (ReplicaDefect::GrowsUnstored, 8549),
        (ReplicaDefect::KeepsRoom, 1449),
        (ReplicaDefect::BeginsInOldSize, 0),
        (ReplicaDefect::ExecutesFailed, 795),
    ];
    let mut hidden = Vec::new();
    for (defect, from) in all {
        let seeds = from..from + FOUND_WITHIN;
        match first_failure(seeds, |seed| history(seed, Some(defect))).1 {
            Some(seed) => {
                let what = history(seed, Some(defect)).err().unwrap_or_default();
                println!(
                    "{defect:?}: {seed}: {}",
                    what.lines().next().unwrap_or_default()
                );
            }
            None => hidden.push(defect),
        }
    }
    assert!(hidden.is_empty(), "nobody found {hidden:?}");
}
