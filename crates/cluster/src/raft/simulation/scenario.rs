//! Tests scripted histories, as opposed to random ones.

use super::host::now;
use super::network::Weather;
use super::plan::SimulationPlan;
use super::record::Fate;
use super::runtime::Members;
use super::world::RaftSimulation;
use crate::command::{CommandBody, CommandResult};
use crate::member::MemberKind;
use crate::raft::forgery::{self, Knowledge};
use lab::{Random, setting};
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use part::{codec, lock};
use std::time::Duration;

/// Number of seeds for each scenario: they differ in delays and election times.
const SEEDS: u64 = 2;
const FORGED_ROUNDS: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(10);
/// Time within which a leader must be elected in a calm: some election timeouts.
const SOON: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

const A: usize = 0;
const B: usize = 1;
const ARBITER: usize = 2;

fn pair(seed: u64) -> RaftSimulation {
    let plan = SimulationPlan {
        kinds: vec![MemberKind::Node, MemberKind::Node, MemberKind::Arbiter],
        weather: Weather {
            delay_us: 200,
            jitter_us: 2_000,
            slow_us: 0,
            loss: 0,
            double: 3,
            late: 0,
        },
        steps: Vec::new(),
        clients: 0,
        readers: 0,
        connections_die: true,
        think_ms: 0,
        snapshot_entries: 40,
        delays_writes: false,
    };
    RaftSimulation::new(plan, Random::new(seed), None, false)
}

/// Writes an event through this member until it is acknowledged.
async fn told(world: &RaftSimulation, place: usize, words: &str) -> Result<(), String> {
    let engine = world.engine(place).ok_or("nobody is there")?;
    let body = CommandBody::Event {
        words: words.to_owned(),
    };
    let process = &world.hosts[place].process;
    let asked = process.spawn(async move { engine.propose(body).await });
    match asked.await {
        Ok(Ok(CommandResult::Done)) => {
            let mut record = lock(&world.common.record);
            record.words.insert(words.to_owned(), Fate::Acknowledged);
            Ok(())
        }
        other => Err(format!("'{words}': {other:?}")),
    }
}

fn knows(world: &RaftSimulation, place: usize, words: &str) -> bool {
    let engine = world.engine(place);
    engine.is_some_and(|engine| engine.state().events().any(|event| event.words == words))
}

fn leads(world: &RaftSimulation, place: usize) -> bool {
    let engine = world.engine(place);
    engine.is_some_and(|engine| engine.raft_status().leading)
}

async fn until(
    world: &mut RaftSimulation,
    what: &str,
    holds: impl Fn(&RaftSimulation) -> bool,
) -> Result<(), String> {
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        if holds(world) {
            return Ok(());
        }
        world.wait(LOOK).await?;
    }
    Err(format!("it never came: {what}"))
}

/// A commits with the arbiter and dies, while B is behind.
async fn only_the_arbiter_has_it(mut world: RaftSimulation) -> Result<(), String> {
    world.found().await?;
    until(&mut world, "A leads", |world| leads(world, A)).await?;
    told(&world, A, "all have this").await?;
    until(&mut world, "B has it", |world| {
        knows(world, B, "all have this")
    })
    .await?;
    let network = world.common.network.clone();
    network.partition(1 << B);
    for number in 0..60 {
        told(&world, A, &format!("only the arbiter has this {number}")).await?;
    }
    let last = "only the arbiter has this 59";
    if knows(&world, B, "only the arbiter has this 0") {
        return Err("B is not behind".to_owned());
    }
    world.cut_power(A, 3_600_000);
    network.heal();
    until(&mut world, "B leads", |world| leads(world, B)).await?;
    if !knows(&world, B, last) {
        return Err("B leads without what was acknowledged".to_owned());
    }
    told(&world, ARBITER, "the arbiter forwards this to B").await?;
    // A returns, and all members agree.
    world.heal().await?;
    world.end().await
}

#[test]
fn what_only_the_arbiter_has_reaches_b_which_then_leads() {
    each_seed(only_the_arbiter_has_it);
}

/// An attacker has the arbiter's keys and sends arbitrary messages while the arbiter
/// and both nodes run. None has an effect, and the nodes continue.
async fn keys_of_the_arbiter_are_stolen(
    mut world: RaftSimulation,
    seed: u64,
) -> Result<(), String> {
    world.found().await?;
    until(&mut world, "A leads", |world| leads(world, A)).await?;
    until(&mut world, "signatures are required", |world| {
        let engines = [A, B].map(|place| world.engine(place));
        engines
            .iter()
            .flatten()
            .all(|engine| engine.state().requires_signatures())
    })
    .await?;
    let mut random = Random::new(seed);
    let members = world.engine(A).ok_or("A is away")?.state().members.clone();
    for round in 0..FORGED_ROUNDS {
        if round % 20 == 0 {
            told(&world, A, &format!("meanwhile {round}")).await?;
        }
        let victim = random.pick(&[A, B]);
        let engine = world.engine(victim).ok_or("a node is away")?;
        let standing = engine.raft_status();
        let last = standing.log.last.unwrap_or(0);
        let known = Knowledge {
            term: standing.term,
            last,
            end: engine.inner.store.ends().1,
            proposals: Vec::new(),
        };
        for request in forgery::draw::<Members>(&mut random, &known, &engine.state()) {
            let (engine, bytes) = (engine.clone(), codec::encode(&request));
            let process = &world.hosts[victim].process;
            let said = process.spawn(async move { engine.handle(forgery::THIEF, bytes).await });
            let _ = Members::timeout(Duration::from_secs(1), said).await;
        }
        world.wait(Duration::from_millis(random.below(30))).await?;
    }
    for place in [A, B] {
        let state = world.engine(place).ok_or("a node is away")?.state();
        if state.members != members || state.invitations.contains_key(&forgery::TOKEN) {
            return Err(format!("member {place} believed a forged command"));
        }
    }
    told(&world, B, "after all of it").await?;
    world.heal().await?;
    world.end().await
}

#[test]
fn thief_of_the_arbiters_keys_changes_nothing() {
    let seeds = setting("CLUSTER_SCENARIOS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        each_of(seed..seed + 1, |world| {
            keys_of_the_arbiter_are_stolen(world, seed)
        });
    }
}

#[derive(Clone, Copy, Debug)]
enum Lost {
    Store,
    Rollback,
    Promise,
}

const LOSSES: [Lost; 3] = [Lost::Store, Lost::Rollback, Lost::Promise];

fn lose(world: &mut RaftSimulation, place: usize, what: Lost) {
    world.lose(place, 10, |host| match what {
        Lost::Store => host.lose_store(),
        Lost::Rollback => host.roll_back(),
        Lost::Promise => host.lose_promise(),
    });
}

/// A and another member acknowledge entries that the third one lacks. A is away, and
/// the other one loses its files: there is no leader until A is back, and nothing is
/// lost.
async fn acknowledged_and_lost(
    mut world: RaftSimulation,
    other: usize,
    what: Lost,
) -> Result<(), String> {
    world.found().await?;
    until(&mut world, "A leads", |world| leads(world, A)).await?;
    let third = B + ARBITER - other;
    let network = world.common.network.clone();
    network.partition(1 << third);
    for number in 0..30 {
        told(&world, A, &format!("two have this {number}")).await?;
    }
    world.kill(A, 3_600_000);
    lose(&mut world, other, what);
    network.heal();
    for _ in 0..500 {
        world.wait(LOOK).await?;
        if (0..3).any(|place| leads(&world, place)) {
            return Err(format!("{what:?}: somebody leads without A"));
        }
    }
    world.heal().await?;
    world.end().await
}

#[test]
fn who_lost_what_it_acknowledged_helps_nobody_to_lead() {
    for other in [B, ARBITER] {
        for what in LOSSES {
            each_seed(|world| acknowledged_and_lost(world, other, what));
        }
    }
}

/// Each member loses its files in turn while the others run, and becomes a voter again.
/// At last none of the original disks is left.
async fn one_after_the_other(mut world: RaftSimulation) -> Result<(), String> {
    world.found().await?;
    for (round, what) in LOSSES.into_iter().enumerate() {
        for place in [B, A, ARBITER] {
            until(&mut world, "somebody leads", |world| {
                leads(world, A) || leads(world, B)
            })
            .await?;
            told(&world, place, &format!("round {round} at {place}")).await?;
            lose(&mut world, place, what);
            until(&mut world, "it is a voter again", |world| {
                let engine = world.engine(place);
                engine.is_some_and(|engine| engine.raft_status().lost.is_none())
                    && !world.hosts[place].lost
            })
            .await?;
        }
    }
    world.heal().await?;
    world.end().await
}

#[test]
fn all_lose_their_stores_one_after_the_other_and_nothing_is_lost() {
    each_seed(one_after_the_other);
}

/// The requests of a rejoining arbiter to the leader are lost.
async fn question_of_a_lost_member_is_lost(mut world: RaftSimulation) -> Result<(), String> {
    world.found().await?;
    until(&mut world, "A leads", |world| leads(world, A)).await?;
    world.common.network.set_cut(ARBITER, A, true);
    lose(&mut world, ARBITER, Lost::Store);
    world.wait(Duration::from_secs(1)).await?;
    world.common.network.heal();
    is_a_voter_again(&mut world).await?;
    world.end().await
}

#[test]
fn a_member_that_lost_its_store_asks_again_when_its_question_is_lost() {
    each_seed(question_of_a_lost_member_is_lost);
}

/// A removes the arbiter, and B becomes leader before the arbiter knows of that: B
/// sends no entries to it.
async fn another_one_leads_after_the_removal(mut world: RaftSimulation) -> Result<(), String> {
    world.found().await?;
    until(&mut world, "A leads", |world| leads(world, A)).await?;
    lose(&mut world, ARBITER, Lost::Store);
    until(&mut world, "A has removed the arbiter", |world| {
        let engine = world.engine(A);
        let arbiter = world.hosts[ARBITER].id();
        engine.is_some_and(|engine| !engine.raft_status().voters.contains(&arbiter))
    })
    .await?;
    world.common.network.partition(1 << ARBITER);
    let (engine, b) = (
        world.engine(A).ok_or("A is not there")?,
        world.hosts[B].id(),
    );
    let asked = async move { engine.hand_over(Some(b)).await };
    let asked = world.hosts[A].process.spawn(asked);
    until(&mut world, "B leads", |world| leads(world, B)).await?;
    drop(asked);
    world.wait(Duration::from_millis(100)).await?;
    world.common.network.heal();
    is_a_voter_again(&mut world).await?;
    world.end().await
}

#[test]
fn a_member_that_was_removed_finds_the_leader_that_came_after() {
    each_seed(another_one_leads_after_the_removal);
}

async fn is_a_voter_again(world: &mut RaftSimulation) -> Result<(), String> {
    until(world, "the arbiter is a voter again", |world| {
        !world.hosts[ARBITER].lost
    })
    .await
}

/// Makes responses take from 100 to 400 ms.
fn slow_ways(world: &RaftSimulation) {
    world.common.network.set_weather(|weather| {
        weather.delay_us = 50_000;
        weather.jitter_us = 150_000;
    });
}

/// A is lost while every response and every second sync is slow.
async fn lost_in_a_storm(world: &mut RaftSimulation) -> Result<(), String> {
    world.found().await?;
    until(world, "A leads", |world| leads(world, A)).await?;
    told(world, A, "before").await?;
    slow_ways(world);
    for host in &world.hosts {
        host.disk.slow(Some((50, Duration::from_millis(60))));
    }
    world.kill(A, 3_600_000);
    Ok(())
}

/// In the first calm seconds after a storm a leader is elected and stays.
async fn calm_after_a_storm(mut world: RaftSimulation) -> Result<(), String> {
    let calm = world.weather();
    lost_in_a_storm(&mut world).await?;
    world.wait(Duration::from_secs(4)).await?;
    world.common.network.set_weather(|weather| *weather = calm);
    for host in &world.hosts {
        host.disk.slow(None);
    }
    let began = now();
    until(&mut world, "B leads", |world| leads(world, B)).await?;
    let took = Duration::from_nanos(now() - began);
    if took > SOON {
        return Err(format!("B leads after {took:?} of calm"));
    }
    let term = |world: &RaftSimulation| world.engine(B).map(|engine| engine.raft_status().term);
    let first = term(&world);
    for _ in 0..300 {
        world.wait(LOOK).await?;
        if !leads(&world, B) || term(&world) != first {
            return Err("B does not lead any more".to_owned());
        }
    }
    told(&world, B, "after").await
}

/// A leader is elected at some time even during the storm.
async fn leader_in_a_storm(mut world: RaftSimulation) -> Result<(), String> {
    lost_in_a_storm(&mut world).await?;
    for _ in 0..4 {
        let found = until(&mut world, "B leads", |world| leads(world, B)).await;
        if found.is_ok() {
            return Ok(());
        }
    }
    Err("nobody leads in a storm".to_owned())
}

/// With one node and a distant arbiter, reads are confirmed.
async fn far_arbiter(mut world: RaftSimulation) -> Result<(), String> {
    world.found().await?;
    until(&mut world, "A leads", |world| leads(world, A)).await?;
    world.common.network.set_weather(|weather| {
        weather.delay_us = 25_000;
        weather.jitter_us = 5_000;
    });
    world.cut_power(B, 3_600_000);
    world.wait(Duration::from_secs(1)).await?;
    for _ in 0..5 {
        let engine = world.engine(A).ok_or("A is not there")?;
        let process = &world.hosts[A].process;
        let asked = process.spawn(async move { engine.confirm().await });
        match asked.await {
            Ok(Ok(_)) => {}
            other => return Err(format!("not confirmed: {other:?}")),
        }
    }
    Ok(())
}

fn each_seed<F: Future<Output = Result<(), String>>>(scenario: impl Fn(RaftSimulation) -> F) {
    each_of(0..setting("CLUSTER_SCENARIOS").unwrap_or(SEEDS), scenario);
}

fn each_of<F: Future<Output = Result<(), String>>>(
    seeds: std::ops::Range<u64>,
    scenario: impl Fn(RaftSimulation) -> F,
) {
    let mut failed = Vec::new();
    for seed in seeds {
        let mut runtime = Members(SimRuntime::with_seed(seed));
        let world = pair(seed);
        let network = world.common.network.clone();
        let outcome = runtime.block_on(scenario(world));
        network.end();
        if let Err(what) = outcome {
            failed.push((seed, what));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_calm_after_a_storm_brings_a_leader_that_stays() {
    each_seed(calm_after_a_storm);
}

#[test]
fn slow_answers_and_slow_disks_do_not_keep_a_lost_leader_from_being_replaced() {
    each_seed(leader_in_a_storm);
}

#[test]
fn a_node_with_an_arbiter_far_away_is_confirmed() {
    each_seed(far_arbiter);
}
