//! Decides the leader's next step in the rollout in progress: which nodes serve the version next,
//! or whether it is accepted, refused or rolled back.

use crate::command::{Decision, Reported, RolloutStep, VersionId};
use crate::member::MemberId;
use crate::state::{ClusterState, RolloutStage, VersionRecord, against_in_words};
use std::collections::{BTreeMap, BTreeSet};

/// After this time without contact, in milliseconds, a node is away: changes proceed
/// without it, and a version that it was trying is rolled back. By then the node has
/// rolled back by itself, so two candidates are never served at once.
pub const AWAY_MS: u64 = super::TRIAL_SILENCE_MS + 1000;
/// Longest time for which a node may check a version without serving it, milliseconds.
pub const CHECK_LIMIT_MS: u64 = 60_000;
/// Longest time until a node serves a version and reports it, in addition to the
/// observation time, milliseconds.
pub const SERVE_LIMIT_MS: u64 = 60_000;
/// Interval at which the remaining time for a confirmation is reported, milliseconds.
pub const TELL_REMAINING_MS: u64 = 10_000;
/// Time for which the other nodes may report their findings after one node refused,
/// milliseconds.
const DIAGNOSTICS_MS: u64 = 5000;
/// Time after which a lost decision is proposed again, milliseconds.
const REPEAT_MS: u64 = 1000;
/// Gap between two calls, in milliseconds, after which the leader does not know what
/// happened meanwhile.
const LOOK_GAP_MS: u64 = 1000;
/// Maximum length of a node's text in the reason of a decision, bytes.
const REASON_BYTES_MAX: usize = 8 << 10;

/// Node as the leader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeView {
    /// True if the node is reachable. The leader reaches itself.
    pub reachable: bool,
    /// Time since when the node is reachable or unreachable, or since when this leader
    /// leads.
    pub since_ms: u64,
    /// Time for which the disk has not responded, as the node reports, milliseconds. Such
    /// a node can neither check a version nor save one, and counts as unreachable.
    pub disk_stuck_ms: u64,
}

/// The view of the leader. Times are milliseconds of its own monotonic clock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    pub now_ms: u64,
    /// Time since when this leader has seen the version in this stage: after a change of
    /// leaders the window of judgement restarts.
    pub stage_since_ms: u64,
    /// Nodes; a node that is missing is away.
    pub nodes: BTreeMap<MemberId, NodeView>,
}

impl View {
    fn unreachable_ms(&self, node: MemberId) -> u64 {
        match self.nodes.get(&node) {
            Some(view) if view.reachable => view.disk_stuck_ms,
            Some(view) => self.now_ms.saturating_sub(view.since_ms),
            None => u64::MAX,
        }
    }

    fn is_away(&self, node: MemberId) -> bool {
        self.unreachable_ms(node) >= AWAY_MS
    }

    fn is_reachable(&self, node: MemberId) -> bool {
        let view = self.nodes.get(&node);
        view.is_some_and(|view| view.reachable && view.disk_stuck_ms == 0)
    }

    fn stage_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.stage_since_ms)
    }
}

pub fn next(state: &ClusterState, view: &View) -> Option<Decision> {
    let record = state.on_its_way()?;
    let round = Round {
        state,
        view,
        record,
        judge_ms: record.proposal.judging.judge_ms,
    };
    let step = round.against().or_else(|| match &record.stage {
        RolloutStage::Checking => round.checking(),
        RolloutStage::Canary { node } => round.canary(*node),
        RolloutStage::Rest { nodes } => round.rest(nodes),
        RolloutStage::AwaitConfirmation {
            nodes,
            remaining_ms,
        } => round.confirmation(nodes, *remaining_ms),
        RolloutStage::Accepted | RolloutStage::Refused | RolloutStage::TakenBack => None,
    })?;
    Some(Decision {
        version: record.id,
        step,
    })
}

struct Round<'a> {
    state: &'a ClusterState,
    view: &'a View,
    record: &'a VersionRecord,
    judge_ms: u64,
}

fn take_back(words: String) -> Option<RolloutStep> {
    Some(RolloutStep::TakeBack { words })
}

impl Round<'_> {
    fn name(&self, node: MemberId) -> String {
        self.state.name_of(node)
    }

    fn names(&self, nodes: &[MemberId]) -> String {
        let names: Vec<String> = nodes.iter().map(|node| self.name(*node)).collect();
        names.join(" and ")
    }

    /// Returns the rollback if nodes reported problems, with the words of each.
    fn against(&self) -> Option<RolloutStep> {
        let words: Vec<String> = self
            .record
            .against()
            .map(|(node, said)| {
                let words = language::truncated(&said.words, REASON_BYTES_MAX);
                let what = against_in_words(said.outcome);
                format!("{} {what} it: {words}", self.name(node))
            })
            .collect();
        if words.is_empty() {
            return None;
        }
        // Waits a moment for the reports of other nodes: the operator must see the problems of all
        // nodes at once.
        let others_may_still_say = self.record.stage == RolloutStage::Checking
            && !self.not_heard().is_empty()
            && self.view.stage_ms() < DIAGNOSTICS_MS;
        if others_may_still_say {
            return None;
        }
        take_back(words.join("\n"))
    }

    fn not_heard(&self) -> Vec<MemberId> {
        self.state
            .nodes()
            .map(|node| node.id)
            .filter(|node| !self.view.is_away(*node) && self.record.last_report_of(*node).is_none())
            .collect()
    }

    /// Returns the reachable nodes that could serve the version.
    fn able(&self) -> Vec<MemberId> {
        self.state
            .nodes()
            .map(|node| node.id)
            .filter(|node| !self.view.is_away(*node) && self.record.last_report_of(*node).is_some())
            .collect()
    }

    fn checking(&self) -> Option<RolloutStep> {
        let silent = self.not_heard();
        let able = self.able();
        if self.view.stage_ms() >= CHECK_LIMIT_MS && (!silent.is_empty() || able.is_empty()) {
            let seconds = CHECK_LIMIT_MS / 1000;
            return take_back(if silent.is_empty() {
                format!("no node was reachable within {seconds} s to check it")
            } else {
                let names = self.names(&silent);
                format!(
                    "{names} did not report within {seconds} s whether it can serve the version"
                )
            });
        }
        if !silent.is_empty() || able.is_empty() {
            return None;
        }
        if self.judge_ms == 0 || self.record.goes_together() {
            return Some(RolloutStep::Rest { nodes: able });
        }
        let node = able
            .into_iter()
            .filter(|node| self.view.is_reachable(*node))
            .min_by_key(|node| (self.addresses_owned(*node), *node))?;
        Some(RolloutStep::Canary { node })
    }

    /// Returns the number of addresses that the node owned when it checked the version. An unknown
    /// number counts as the largest: a canary should carry little traffic.
    fn addresses_owned(&self, node: MemberId) -> u64 {
        let found = self.record.found.get(&node);
        found
            .and_then(|found| found.addresses_owned)
            .unwrap_or(u64::MAX)
    }

    fn canary(&self, node: MemberId) -> Option<RolloutStep> {
        if let Some(step) = self.lost([node]) {
            return Some(step);
        }
        if !self.state.members.contains_key(&node) {
            return take_back(format!(
                "{}, which tried it, is no longer a member",
                self.name(node)
            ));
        }
        let judged = self.record.last_report_of(node) == Some(Reported::Good)
            && self.view.stage_ms() >= self.judge_ms;
        if judged && self.view.is_reachable(node) {
            return Some(RolloutStep::Rest { nodes: self.able() });
        }
        self.overdue(&[node])
    }

    fn rest(&self, nodes: &BTreeSet<MemberId>) -> Option<RolloutStep> {
        let there = self.still_members(nodes);
        if there.is_empty() {
            return take_back("the node that tried it is no longer a member".to_owned());
        }
        if let Some(step) = self.lost(there.iter().copied()) {
            return Some(step);
        }
        // Skips the observation if the canary is the only node, which was already judged.
        let judged = nodes.len() == 1 && !self.record.goes_together();
        let judge_ms = if judged { 0 } else { self.judge_ms };
        let behind: Vec<MemberId> = there
            .into_iter()
            .filter(|node| !self.did_its_part(*node))
            .collect();
        if !behind.is_empty() {
            return self.overdue(&behind);
        }
        if self.view.stage_ms() < judge_ms {
            return None;
        }
        Some(match self.record.proposal.judging.confirm_within_ms {
            Some(_) => RolloutStep::AwaitConfirmation,
            None => RolloutStep::Accept,
        })
    }

    fn did_its_part(&self, node: MemberId) -> bool {
        match self.record.last_report_of(node) {
            Some(Reported::Good) => true,
            Some(Reported::Serves) => self.judge_ms == 0,
            _ => false,
        }
    }

    fn confirmation(&self, nodes: &BTreeSet<MemberId>, remaining_ms: u64) -> Option<RolloutStep> {
        let there = self.still_members(nodes);
        if let Some(step) = self.lost(there) {
            return Some(step);
        }
        let waited_ms = self.view.stage_ms();
        let left_ms = remaining_ms.saturating_sub(waited_ms);
        if left_ms == 0 {
            let within_ms = self.record.proposal.judging.confirm_within_ms.unwrap_or(0);
            return take_back(format!(
                "not confirmed within {} s",
                within_ms.div_ceil(1000)
            ));
        }
        (waited_ms >= TELL_REMAINING_MS).then_some(RolloutStep::Remaining { ms: left_ms })
    }

    fn still_members(&self, nodes: &BTreeSet<MemberId>) -> Vec<MemberId> {
        nodes
            .iter()
            .copied()
            .filter(|node| self.state.members.contains_key(node))
            .collect()
    }

    fn lost(&self, nodes: impl IntoIterator<Item = MemberId>) -> Option<RolloutStep> {
        let lost: Vec<MemberId> = nodes
            .into_iter()
            .filter(|node| self.state.members.contains_key(node) && self.view.is_away(*node))
            .collect();
        if lost.is_empty() {
            return None;
        }
        let stuck = |node: &MemberId| {
            let view = self.view.nodes.get(node);
            view.is_some_and(|view| view.reachable)
        };
        let (stuck, gone): (Vec<MemberId>, Vec<MemberId>) = lost.into_iter().partition(stuck);
        let mut words = Vec::new();
        if !gone.is_empty() {
            words.push(format!(
                "{} was lost while it tried the version",
                self.names(&gone)
            ));
        }
        if !stuck.is_empty() {
            words.push(format!(
                "the disk of {} did not respond while it tried the version",
                self.names(&stuck)
            ));
        }
        take_back(words.join("; "))
    }

    fn overdue(&self, nodes: &[MemberId]) -> Option<RolloutStep> {
        let limit_ms = self.judge_ms.saturating_add(SERVE_LIMIT_MS);
        if self.view.stage_ms() < limit_ms {
            return None;
        }
        take_back(format!(
            "{} did not report within {} s that it serves the version without problems",
            self.names(nodes),
            limit_ms / 1000
        ))
    }
}

/// Reachable members and stuck disks, as the leader knows them at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reachability {
    pub reachable: BTreeSet<MemberId>,
    pub disk_stuck_ms: BTreeMap<MemberId, u64>,
}

/// Position of a version in its rollout: a window restarts when this changes.
type WindowKey = (VersionId, &'static str, Option<u64>);

/// Memory of a leader in one term: the start times of the current conditions, and its last
/// proposal. A new leader starts with an empty one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Driver {
    place: Option<WindowKey>,
    place_since_ms: u64,
    nodes: BTreeMap<MemberId, NodeView>,
    looked_ms: u64,
    proposed: Option<(Decision, u64)>,
}

impl Driver {
    pub fn new(now_ms: u64) -> Driver {
        Driver {
            place: None,
            place_since_ms: now_ms,
            nodes: BTreeMap::new(),
            looked_ms: now_ms,
            proposed: None,
        }
    }

    /// Returns the next proposal, if any. The caller calls this after each change of the state and
    /// of reachability, and a few times a second.
    pub fn next(
        &mut self,
        state: &ClusterState,
        seen: &Reachability,
        now_ms: u64,
    ) -> Option<Decision> {
        let view = self.view(state, seen, now_ms);
        let decision = next(state, &view)?;
        let just_proposed = self.proposed.as_ref().is_some_and(|(last, at_ms)| {
            *last == decision && now_ms < at_ms.saturating_add(REPEAT_MS)
        });
        if just_proposed {
            return None;
        }
        self.proposed = Some((decision.clone(), now_ms));
        Some(decision)
    }

    /// Records the reachable members, also without a version in progress: otherwise the
    /// time of their absence would start over with each version.
    pub fn record_reachable(
        &mut self,
        state: &ClusterState,
        reachable: &BTreeSet<MemberId>,
        now_ms: u64,
    ) {
        let gap = now_ms.saturating_sub(self.looked_ms) > LOOK_GAP_MS;
        self.looked_ms = now_ms;
        self.nodes.retain(|id, _| state.members.contains_key(id));
        for node in state.nodes() {
            let reachable = reachable.contains(&node.id);
            let view = self.nodes.entry(node.id).or_insert(NodeView {
                reachable,
                since_ms: now_ms,
                ..NodeView::default()
            });
            if view.reachable != reachable || gap {
                view.reachable = reachable;
                view.since_ms = now_ms;
            }
        }
    }

    pub fn view(&mut self, state: &ClusterState, seen: &Reachability, now_ms: u64) -> View {
        let place = state.on_its_way().map(|record| {
            let remaining_ms = match &record.stage {
                RolloutStage::AwaitConfirmation { remaining_ms, .. } => Some(*remaining_ms),
                _ => None,
            };
            (record.id, record.stage.name(), remaining_ms)
        });
        if place != self.place {
            self.place = place;
            self.place_since_ms = now_ms;
            self.proposed = None;
        }
        self.record_reachable(state, &seen.reachable, now_ms);
        for (id, node) in &mut self.nodes {
            node.disk_stuck_ms = seen.disk_stuck_ms.get(id).copied().unwrap_or(0);
        }
        View {
            now_ms,
            stage_since_ms: self.place_since_ms,
            nodes: self.nodes.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
