//! Simulates consensus: engines on a simulated runtime, wire and disk, with clients. Processes are
//! killed and suspended, power is cut, disks fail and are slow, and the network is partitioned in
//! every way. A seed replays a history.
//!
//! `CLUSTER_SEED=n cargo test -p evenkeel-cluster --lib raft::simulation` repeats the
//! history `n` and prints it when it fails, `CLUSTER_SEEDS=n` runs that many;
//! `CLUSTER_SCENARIOS=n` runs each scripted one with that many seeds.
//!
//! The invariants are in separate files: [`observer`] (one leader per term, the same state
//! after the same number of commands everywhere), [`record`] and [`linear`] (the results
//! of all clients fit a single copy), [`leases`] (no lease has two holders),
//! the end of [`world`] (all members agree in a calm, each acknowledged event occurs
//! once).

mod client;
mod defect;
mod disk;
mod host;
mod leases;
mod linear;
mod network;
mod observer;
mod plan;
mod record;
mod runtime;
mod scenario;
mod world;

use defect::RaftDefect;
use lab::{Random, setting};
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use part::lock;
use runtime::Members;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use world::RaftSimulation;

/// Number of histories; `make test-long` runs many more.
const HISTORIES: u64 = 12;
/// Number of histories within which each defect must be found.
const FOUND_WITHIN: u64 = 60;

/// Runs one history. Returns the number of completed operations, or the violation that
/// was seen.
fn history(seed: u64, defect: Option<RaftDefect>) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let mut plan = match defect {
        Some(defect) => plan::provoke(&mut random, defect),
        None => plan::draw(&mut random),
    };
    plan.delays_writes = defect.is_none() && seed % 3 == 2;
    let traced = setting("CLUSTER_SEED").is_some();
    let world = RaftSimulation::new(plan.clone(), random, defect, traced);
    let common = world.common();
    let mut runtime = Members(SimRuntime::with_seed(seed));
    let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(world.run())));
    common.network.end();
    let answered = lock(&common.record).answered();
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(_) => Err("the simulation itself panicked".to_owned()),
    };
    outcome.map(|()| answered).map_err(|what| {
        let mut told = format!("{what}\n{plan:?}\n");
        for line in common.trace.iter().flat_map(|trace| lock(trace).clone()) {
            told += &line;
        }
        told
    })
}

fn on_all_processors<A: Sync, B: Send>(of: &[A], does: impl Fn(&A) -> B + Sync) -> Vec<B> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = of.get(place) else {
                return done;
            };
            done.push((place, does(one)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    let mut all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.flat_map(|done| done.expect("histories catch their panics"))
            .collect()
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, done)| done).collect()
}

#[test]
fn histories_hold_what_was_promised() {
    let seeds = match setting("CLUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = setting("CLUSTER_FIRST").unwrap_or(0);
            first..first + setting("CLUSTER_SEEDS").unwrap_or(HISTORIES)
        }
    };
    let seeds: Vec<u64> = seeds.collect();
    let count = seeds.len();
    let mut answered = 0;
    let mut failed = Vec::new();
    let outcomes = on_all_processors(&seeds, |seed| history(*seed, None));
    for (seed, outcome) in seeds.iter().zip(outcomes) {
        match outcome {
            Ok(more) => answered += more,
            Err(what) => failed.push((seed, what)),
        }
    }
    if let Some((seed, what)) = failed.first() {
        let others: String = (failed.iter().skip(1))
            .map(|(seed, what)| format!("\n{seed}: {}", what.lines().next().unwrap_or_default()))
            .collect();
        panic!("CLUSTER_SEED={seed}: {what}and {others}");
    }
    // Histories without operations would satisfy every invariant.
    assert!(answered > count * 20, "{answered} answers in {count}");
}

#[test]
fn a_seed_replays_its_history() {
    for seed in 0..2 {
        assert_eq!(history(seed, None), history(seed, None));
    }
}

fn found(defect: RaftDefect) -> Option<(u64, String)> {
    (0..FOUND_WITHIN).find_map(|seed| Some((seed, history(seed, Some(defect)).err()?)))
}

#[test]
fn what_is_broken_on_purpose_is_found_out() {
    let all = [
        RaftDefect::SyncsNothing,
        RaftDefect::AnswersBeforeTheSync,
        RaftDefect::ComesBackEmpty,
        RaftDefect::IgnoresPromises,
        RaftDefect::GrantsEveryVote,
        RaftDefect::AppliesBeforeCommit,
        RaftDefect::AcknowledgesGaps,
        RaftDefect::AcknowledgesUnstored,
        RaftDefect::RetriesWithoutTicket,
        RaftDefect::ConfirmsAlone,
        RaftDefect::ReadsUnconfirmed,
        RaftDefect::LeasesAreNotWaitedFor,
    ];
    let mut hidden = Vec::new();
    for (defect, found) in all
        .iter()
        .zip(on_all_processors(&all, |defect| found(*defect)))
    {
        match found {
            Some((seed, what)) => {
                let first = what.lines().next().unwrap_or_default();
                println!("{defect:?}: {seed}: {first}");
            }
            None => hidden.push(defect),
        }
    }
    assert!(hidden.is_empty(), "nobody found {hidden:?}");
}
