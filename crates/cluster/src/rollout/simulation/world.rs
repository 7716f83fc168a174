//! Simulates the world of a history: nodes with machines, their connections, the leader, and the
//! disturbances. Everything derives from one seed.

use super::checks::{self, Counts, ServedConfiguration};
use crate::command::{ClusterCommand, CommandBody, CommandResult, Judging, RolloutStep, VersionId};
use crate::machine::{FrontendHealth, Health, MachineVerdict};
use crate::member::{MemberId, MemberKind};
use crate::rollout::{Agent, Driver, Probe, Probes, Reachability, Task};
use crate::state::sample::{admission, decision, invitation, member, proposal};
use crate::state::{ClusterState, RolloutStage};
use lab::Random;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Duration of the first phase, in which failures occur, milliseconds.
const FAILING_MS: u64 = 70_000;
/// Duration of the second phase, in which no failures occur, milliseconds.
const QUIET_MS: u64 = 200_000;
/// Interval at which the end condition is checked, milliseconds.
const SETTLED_MS: u64 = 10_000;
const STEP_MS: u64 = 100;
/// Interval at which a node reports its disk's status, milliseconds.
const TALE_MS: u64 = 1000;
/// Age from which a node reports a stuck disk, milliseconds.
const STUCK_TOLD_MS: u64 = 2000;
/// Duration of leadership after the leader is lost, milliseconds.
const ELECTION_MS: u64 = 400;
const ARBITER: MemberId = MemberId(9);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RolloutDefect {
    IgnoresSilence,
    CallsAllGood,
    NeverGivesUp,
    DoesNotGoBack,
    LeavesOutAtOnce,
    PreemptsInJudgement,
    TrustsAStuckDisk,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Nature {
    /// Affected node; None: all.
    only_on: Option<MemberId>,
    kind: Badness,
    together: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Badness {
    #[default]
    None,
    CheckFails,
    ServeFails,
    /// From some time after the switch on, requests fail, servers are down, or there are
    /// no responses.
    Worse {
        after_ms: u64,
        how: u64,
    },
    Kills,
}

impl Badness {
    fn shown(self, ago_ms: u64) -> Badness {
        match self {
            Badness::Worse { after_ms, .. } if ago_ms >= after_ms => self,
            _ => Badness::None,
        }
    }
}

impl Nature {
    fn on(&self, node: MemberId) -> Badness {
        match self.only_on {
            Some(only) if only != node => Badness::None,
            _ => self.kind,
        }
    }
}

struct SimulatedNode {
    id: MemberId,
    agent: Agent,
    up: bool,
    down_until_ms: u64,
    cut_until_ms: u64,
    heard_ms: u64,
    /// Period in which its disk does not respond.
    stuck_ms: std::ops::Range<u64>,
    /// True if committed entries are not applied to the node's state while its disk does not
    /// respond.
    frozen: bool,
    /// Age of the stuck disk operation when the node last reported it.
    told_stuck_ms: u64,
    applied: usize,
    seen_applied: usize,
    wake_ms: u64,
    busy: Option<(u64, Task)>,
    disk: Option<VersionId>,
    trial: Option<(VersionId, u64)>,
    base: Option<VersionId>,
    took_over_with: Option<VersionId>,
    requests: u64,
    errors: u64,
    counted_ms: u64,
    addresses: u64,
}

struct Leader {
    id: MemberId,
    driver: Driver,
}

pub(super) struct RolloutSimulation {
    random: Random,
    defect: Option<RolloutDefect>,
    now_ms: u64,
    states: Vec<Arc<ClusterState>>,
    nodes: Vec<SimulatedNode>,
    leader: Option<Leader>,
    leaderless_ms: u64,
    proposals: Vec<(u64, ClusterCommand)>,
    natures: BTreeMap<VersionId, Nature>,
    counts: Counts,
}

impl RolloutSimulation {
    pub(super) fn new(seed: u64, defect: Option<RolloutDefect>) -> RolloutSimulation {
        let mut random = Random::new(seed);
        let how_many = 2 + random.below(2);
        let mut state = ClusterState::default();
        let first = MemberId(1);
        state.must(
            first,
            CommandBody::Found {
                cluster: "office".to_owned(),
                member: member(first, "n1", MemberKind::Node),
                authority: Vec::new(),
            },
        );
        for id in (2..=how_many).chain([ARBITER.0]).map(MemberId) {
            let kind = if id == ARBITER {
                MemberKind::Arbiter
            } else {
                MemberKind::Node
            };
            let name = format!("n{id}");
            state.must(first, invitation(&name, kind));
            state.must(first, admission(&name, member(id, &name, kind)));
        }
        let nodes = (1..=how_many).map(|id| SimulatedNode::new(MemberId(id), random.below(4)));
        let nodes = nodes.collect();
        RolloutSimulation {
            random,
            defect,
            now_ms: 10_000,
            states: vec![Arc::new(state)],
            nodes,
            leader: None,
            leaderless_ms: 0,
            proposals: Vec::new(),
            natures: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    fn state(&self) -> Arc<ClusterState> {
        let last = self.states.last().expect("there is always one");
        Arc::clone(last)
    }

    fn failing(&self) -> bool {
        self.now_ms < FAILING_MS
    }

    /// A moment passes; false at the end.
    pub(super) fn step(&mut self) -> Result<bool, String> {
        self.now_ms += STEP_MS;
        if self.failing() {
            self.something_fails();
            self.somebody_wants_something();
        }
        self.recover();
        self.lead();
        self.commit()?;
        for index in 0..self.nodes.len() {
            self.node(index);
        }
        let serving: Vec<ServedConfiguration> = self
            .nodes
            .iter()
            .filter(|node| node.up)
            .map(|node| ServedConfiguration {
                node: node.id,
                trial: node.trial.map(|(version, _)| version),
                silence_ms: self.now_ms.saturating_sub(node.heard_ms),
                took_over_with: node.took_over_with,
            })
            .collect();
        checks::machines(&serving)?;
        let quiet_for_ms = self.now_ms.saturating_sub(FAILING_MS);
        let settled = quiet_for_ms > SETTLED_MS
            && quiet_for_ms.is_multiple_of(SETTLED_MS)
            && self.end().is_ok();
        Ok(quiet_for_ms < QUIET_MS && !settled)
    }

    /// Checks that the history ended as required, and returns its counts.
    pub(super) fn end(&self) -> Result<Counts, String> {
        let state = self.state();
        for node in &self.nodes {
            let serves = node.trial.map_or(node.base, |(version, _)| Some(version));
            let nature = state.accepted.and_then(|id| self.natures.get(&id));
            let could = nature.is_none_or(|nature| nature.on(node.id) == Badness::None);
            checks::end(&state, node.id, serves, node.trial.is_some(), could)?;
        }
        Ok(self.counts)
    }

    fn something_fails(&mut self) {
        let now_ms = self.now_ms;
        for index in 0..self.nodes.len() {
            if self.random.once_in(400) {
                let for_ms = 300 + self.random.below(15_000);
                self.nodes[index].cut_until_ms = now_ms + for_ms;
            }
            if self.random.once_in(250) {
                let until_ms = now_ms + 500 + self.random.below(25_000);
                self.nodes[index].stuck_ms = now_ms..until_ms;
                self.nodes[index].frozen = self.random.once_in(2);
            }
            if self.random.once_in(900) {
                let for_ms = 500 + self.random.below(15_000);
                self.nodes[index].crash(now_ms + for_ms);
            }
            if self.random.once_in(400) {
                self.take_over(index);
            }
        }
        if self.random.once_in(150) {
            self.leader = None;
        }
    }

    fn take_over(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.addresses += 1;
        let Some((version, _)) = node.trial.filter(|_| node.up) else {
            return;
        };
        if self.defect == Some(RolloutDefect::PreemptsInJudgement) {
            node.took_over_with = Some(version);
            return;
        }
        node.trial = None;
        // The task in progress ends without effect.
        node.busy = None;
        node.agent
            .record_machine_rollback("it took an address over".to_owned());
        node.wake_ms = 0;
        self.counts.went_back += 1;
    }

    fn recover(&mut self) {
        let heals = !self.failing();
        for node in &mut self.nodes {
            if heals {
                node.cut_until_ms = 0;
                node.stuck_ms = 0..0;
                node.down_until_ms = node.down_until_ms.min(self.now_ms);
            }
            if !node.up && self.now_ms >= node.down_until_ms {
                node.start(self.now_ms);
            }
        }
    }

    fn connected(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.up && self.now_ms >= node.cut_until_ms
    }

    /// Returns whether the connected members, including the arbiter, are a majority.
    fn majority(&self) -> bool {
        let there = (0..self.nodes.len()).filter(|index| self.connected(*index));
        2 * (there.count() + 1) > self.nodes.len() + 1
    }

    fn lead(&mut self) {
        let connected: Vec<usize> = (0..self.nodes.len())
            .filter(|index| self.connected(*index))
            .collect();
        let still = self.leader.as_ref().is_some_and(|leader| {
            let of_them = connected
                .iter()
                .any(|index| self.nodes[*index].id == leader.id);
            of_them && self.majority()
        });
        if !still {
            self.leader = None;
            self.leaderless_ms += STEP_MS;
            if self.leaderless_ms >= ELECTION_MS && self.majority() && !connected.is_empty() {
                let chosen = self.random.below(connected.len() as u64) as usize;
                self.leader = Some(Leader {
                    id: self.nodes[connected[chosen]].id,
                    driver: Driver::new(self.now_ms),
                });
                self.leaderless_ms = 0;
                self.counts.leaders += 1;
            }
            return;
        }
        let (state, defect, now_ms) = (self.state(), self.defect, self.now_ms);
        let mut seen = Reachability::default();
        for node in &mut self.nodes {
            if node.up && now_ms >= node.cut_until_ms && now_ms.is_multiple_of(TALE_MS) {
                let stuck_ms = node.disk_stuck_ms(now_ms);
                node.told_stuck_ms = Some(stuck_ms)
                    .filter(|stuck_ms| *stuck_ms >= STUCK_TOLD_MS)
                    .unwrap_or(0);
            }
            seen.disk_stuck_ms.insert(node.id, node.told_stuck_ms);
            if node.up && now_ms >= node.cut_until_ms {
                seen.reachable.insert(node.id);
            }
        }
        let Some(leader) = &mut self.leader else {
            return;
        };
        let decided = match defect {
            Some(RolloutDefect::LeavesOutAtOnce) => {
                let mut view = leader.driver.view(&state, &seen, now_ms);
                view.nodes.retain(|_, node| node.reachable);
                crate::rollout::next(&state, &view)
            }
            Some(RolloutDefect::NeverGivesUp) => leader
                .driver
                .next(&state, &seen, now_ms)
                .filter(|decision| !matches!(decision.step, RolloutStep::TakeBack { .. })),
            _ => leader.driver.next(&state, &seen, now_ms),
        };
        if let Some(decision) = decided {
            let from = leader.id;
            self.propose(ClusterCommand::new(from, 0, CommandBody::Decide(decision)));
        }
    }

    fn propose(&mut self, command: ClusterCommand) {
        let (now_ms, failing) = (self.now_ms, self.failing());
        if failing && self.random.once_in(15) {
            return;
        }
        let late_ms = if failing && self.random.once_in(10) {
            self.random.below(4000)
        } else {
            0
        };
        if failing && self.random.once_in(30) {
            let again_ms = now_ms + self.random.below(10_000);
            self.proposals.push((again_ms, command.clone()));
        }
        self.proposals.push((now_ms + late_ms, command));
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.leader.is_none() {
            return Ok(());
        }
        let now_ms = self.now_ms;
        let (due, later) = std::mem::take(&mut self.proposals)
            .into_iter()
            .partition(|(at_ms, _)| *at_ms <= now_ms);
        self.proposals = later;
        let due: Vec<(u64, ClusterCommand)> = due;
        for (_, command) in due {
            let before = self.state();
            let mut after = (*before).clone();
            let answer = after.apply(&command);
            if let (CommandBody::Propose(_), CommandResult::Version(version)) =
                (&command.body, answer)
            {
                let nature = self.some_nature();
                self.natures.insert(version, nature);
            }
            self.count(&before, &after);
            checks::change(&before, &after, |version, node| {
                self.is_bad(&before, version, node)
            })?;
            self.states.push(Arc::new(after));
        }
        Ok(())
    }

    fn is_bad(&self, state: &ClusterState, version: VersionId, node: MemberId) -> bool {
        let judge_ms = state
            .version(version)
            .map_or(0, |record| record.proposal.judging.judge_ms);
        let nature = self.natures.get(&version).copied().unwrap_or_default();
        match nature.on(node) {
            Badness::None => false,
            Badness::CheckFails | Badness::ServeFails => true,
            // A failure within the first half of the window must be noticed in the window.
            Badness::Worse { after_ms, .. } => after_ms < judge_ms / 2,
            Badness::Kills => judge_ms > 0,
        }
    }

    fn count(&mut self, before: &ClusterState, after: &ClusterState) {
        let Some(was) = before.on_its_way() else {
            return;
        };
        match after.version(was.id).map(|record| &record.stage) {
            Some(RolloutStage::Accepted) => {
                self.counts.accepted += 1;
                if matches!(was.stage, RolloutStage::AwaitConfirmation { .. }) {
                    self.counts.confirmed += 1;
                }
            }
            Some(RolloutStage::TakenBack) => self.counts.taken_back += 1,
            Some(RolloutStage::Refused) => self.counts.refused += 1,
            _ => {}
        }
    }

    fn some_nature(&mut self) -> Nature {
        let kind = match self.random.below(12) {
            0 => Badness::CheckFails,
            1 => Badness::ServeFails,
            2 => Badness::Kills,
            3..=5 => Badness::Worse {
                after_ms: self.random.below(4000),
                how: self.random.below(3),
            },
            _ => Badness::None,
        };
        let node = MemberId(1 + self.random.below(self.nodes.len() as u64));
        let only_on = (!self.random.once_in(3)).then_some(node);
        let together = self.random.once_in(5);
        Nature {
            only_on,
            kind,
            together,
        }
    }

    fn somebody_wants_something(&mut self) {
        let state = self.state();
        let from = MemberId(1 + self.random.below(self.nodes.len() as u64));
        match state.on_its_way() {
            None if self.random.once_in(20) => {
                let mut wanted = proposal(state.accepted.map(|id| id.0), Vec::new());
                let judge_ms = [0, 2000, 4000][self.random.below(3) as usize];
                let within_ms = 1000 + self.random.below(20_000);
                let confirm_within_ms = self.random.once_in(4).then_some(within_ms);
                wanted.judging = Judging {
                    judge_ms,
                    confirm_within_ms,
                };
                self.propose(ClusterCommand::new(
                    from,
                    0,
                    CommandBody::Propose(Box::new(wanted)),
                ));
            }
            Some(record)
                if matches!(record.stage, RolloutStage::AwaitConfirmation { .. })
                    && self.random.once_in(60) =>
            {
                let body = decision(record.id.0, RolloutStep::Accept);
                self.propose(ClusterCommand::new(from, 0, body));
            }
            Some(record) if self.random.once_in(400) => {
                let words = "an operator wants it back".to_owned();
                let body = decision(record.id.0, RolloutStep::TakeBack { words });
                self.propose(ClusterCommand::new(from, 0, body));
            }
            _ => {}
        }
    }

    fn node(&mut self, index: usize) {
        let connected = self.connected(index) && self.leader.is_some();
        let late = self.failing() && self.random.once_in(4);
        let (now_ms, last) = (self.now_ms, self.states.len() - 1);
        let node = &mut self.nodes[index];
        if !node.up {
            return;
        }
        let frozen = node.frozen && node.disk_stuck_ms(now_ms) > 0;
        if connected && frozen {
            // The node receives messages, and its state does not advance.
            if node.applied == last {
                node.heard_ms = now_ms;
            }
        } else if connected && late {
            // The node receives messages, and is still catching up.
            let behind = (last - node.applied) as u64;
            node.applied += self.random.below(behind.max(1)) as usize;
        } else if connected {
            node.applied = last;
            node.heard_ms = now_ms;
        }
        let state = Arc::clone(&self.states[node.applied]);
        if let Some((done_ms, task)) = node.busy.take() {
            // The version to check is read from the disk.
            let waits = matches!(task, Task::Check(_)) && node.disk_stuck_ms(now_ms) > 0;
            if now_ms < done_ms || waits {
                node.busy = Some((done_ms, task));
                return;
            }
            self.done(index, task);
        }
        for _ in 0..8 {
            let node = &mut self.nodes[index];
            let silent = node.applied == node.seen_applied && now_ms < node.wake_ms;
            if !node.up || node.busy.is_some() || silent {
                return;
            }
            let silence_ms = match self.defect {
                Some(RolloutDefect::IgnoresSilence) => 0,
                _ => now_ms - node.heard_ms,
            };
            if self.defect != Some(RolloutDefect::TrustsAStuckDisk) {
                let stuck_ms = node.disk_stuck_ms(now_ms);
                node.agent.disk_is_stuck_for(stuck_ms);
            }
            let Some(task) = node.agent.next(&state, now_ms, silence_ms) else {
                node.seen_applied = node.applied;
                // A node with a candidate also watches the silence of the leader.
                node.wake_ms = node.agent.wake_at(now_ms).min(now_ms + 500);
                return;
            };
            self.begin(index, task, connected);
        }
    }

    fn begin(&mut self, index: usize, task: Task, connected: bool) {
        let now_ms = self.now_ms;
        let for_ms = match &task {
            Task::Check(_) => self.random.below(1500),
            Task::Serve { .. } => self.random.below(400),
            _ => 0,
        };
        match task {
            Task::Say(report) => {
                if connected {
                    let from = self.nodes[index].id;
                    self.propose(ClusterCommand::new(from, 0, CommandBody::Report(report)));
                }
            }
            Task::Check(_) | Task::Serve { .. } => {
                self.nodes[index].busy = Some((now_ms + for_ms, task));
            }
            Task::Sample { .. } | Task::Accept(_) | Task::Revert(_) => self.done(index, task),
        }
    }

    fn done(&mut self, index: usize, task: Task) {
        let (now_ms, defect) = (self.now_ms, self.defect);
        let node = &mut self.nodes[index];
        let nature_of = |version: VersionId| {
            let nature = self.natures.get(&version).copied().unwrap_or_default();
            (nature.on(node.id), nature.together)
        };
        let verdict = |good: bool| MachineVerdict {
            good,
            words: format!("good: {good}"),
            ..MachineVerdict::default()
        };
        match task {
            Task::Check(version) => {
                let (badness, together) = nature_of(version);
                let verdict = MachineVerdict {
                    together,
                    ..verdict(badness != Badness::CheckFails)
                };
                let owned = Some(node.addresses);
                node.agent.checked(version, &verdict, owned);
            }
            Task::Serve { version, trial } => match nature_of(version).0 {
                Badness::CheckFails | Badness::ServeFails => {
                    node.agent.served(version, trial, &verdict(false), now_ms);
                }
                Badness::Kills if trial => node.crash(now_ms + 1000),
                _ => {
                    node.count(now_ms, Badness::None);
                    node.agent.served(version, trial, &verdict(true), now_ms);
                    if trial {
                        node.trial = Some((version, now_ms));
                    } else {
                        node.base = Some(version);
                        node.disk = Some(version);
                    }
                }
            },
            Task::Accept(version) => {
                node.trial = None;
                node.base = Some(version);
                node.disk = Some(version);
                node.agent.kept(version, &verdict(true));
            }
            Task::Revert(_) => {
                if defect != Some(RolloutDefect::DoesNotGoBack) {
                    node.trial = None;
                }
                node.agent.reverted();
                self.counts.went_back += 1;
            }
            Task::Sample { probe } => {
                let badness = node.trial.map_or(Badness::None, |(version, since_ms)| {
                    nature_of(version).0.shown(now_ms - since_ms)
                });
                let badness = match defect {
                    Some(RolloutDefect::CallsAllGood) => Badness::None,
                    _ => badness,
                };
                node.count(now_ms, badness);
                let (health, probes) = node.health(badness, probe);
                node.agent.sampled(now_ms, Some(health), probes);
            }
            Task::Say(_) => {}
        }
    }
}

impl SimulatedNode {
    fn new(id: MemberId, addresses: u64) -> SimulatedNode {
        SimulatedNode {
            id,
            agent: Agent::new(id, None),
            up: true,
            down_until_ms: 0,
            cut_until_ms: 0,
            heard_ms: 0,
            stuck_ms: 0..0,
            frozen: false,
            told_stuck_ms: 0,
            applied: 0,
            seen_applied: usize::MAX,
            wake_ms: 0,
            busy: None,
            disk: None,
            trial: None,
            base: None,
            took_over_with: None,
            requests: 0,
            errors: 0,
            counted_ms: 0,
            addresses,
        }
    }

    fn disk_stuck_ms(&self, now_ms: u64) -> u64 {
        if self.stuck_ms.contains(&now_ms) {
            now_ms - self.stuck_ms.start
        } else {
            0
        }
    }

    fn crash(&mut self, until_ms: u64) {
        self.up = false;
        self.down_until_ms = until_ms;
        self.trial = None;
        self.took_over_with = None;
        self.busy = None;
    }

    /// Starts the node alone with the version that it accepted last.
    fn start(&mut self, now_ms: u64) {
        self.up = true;
        self.base = self.disk;
        self.agent = Agent::new(self.id, self.disk);
        self.heard_ms = 0;
        self.seen_applied = usize::MAX;
        self.wake_ms = 0;
        self.requests = 0;
        self.errors = 0;
        self.counted_ms = now_ms;
    }

    /// Counts the requests since the last call: 100 a second.
    fn count(&mut self, now_ms: u64, badness: Badness) {
        let requests = now_ms.saturating_sub(self.counted_ms).min(5000) / 10;
        self.requests += requests;
        if matches!(badness, Badness::Worse { how: 0, .. }) {
            self.errors += requests / 2;
        }
        self.counted_ms = now_ms;
    }

    fn health(&self, badness: Badness, probe: bool) -> (Health, Option<Probes>) {
        let down = matches!(badness, Badness::Worse { how: 1, .. });
        let dead = matches!(badness, Badness::Worse { how: 2, .. });
        let health = Health {
            requests: self.requests,
            errors: self.errors,
            servers_up: if down { 1 } else { 2 },
            servers: 2,
            frontends: vec![FrontendHealth {
                name: "www".to_owned(),
                usable: true,
                ..FrontendHealth::default()
            }],
            addresses_owned: self.addresses,
            addresses: 4,
        };
        let answer = if dead {
            Probe::Silent
        } else {
            Probe::Answered { status: 200 }
        };
        let probes = probe.then(|| Probes::from([("www".to_owned(), answer)]));
        (health, probes)
    }
}
