//! Checks the invariants of rollouts in every simulated history: of the versions that nodes serve,
//! of each change of the state, and of the state at the end.

use crate::command::VersionId;
use crate::member::MemberId;
use crate::state::{ClusterState, RolloutStage};
use std::collections::BTreeSet;

/// Longest time for a node to notice that it must roll back, and to do so.
const GOING_BACK_MS: u64 = 900;

/// Counts of events, to verify that the histories exercise them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) confirmed: u64,
    pub(super) refused: u64,
    pub(super) taken_back: u64,
    pub(super) went_back: u64,
    pub(super) leaders: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.accepted += other.accepted;
        self.confirmed += other.confirmed;
        self.refused += other.refused;
        self.taken_back += other.taken_back;
        self.went_back += other.went_back;
        self.leaders += other.leaders;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ServedConfiguration {
    pub(super) node: MemberId,
    pub(super) trial: Option<VersionId>,
    pub(super) silence_ms: u64,
    pub(super) took_over_with: Option<VersionId>,
}

pub(super) fn machines(serving: &[ServedConfiguration]) -> Result<(), String> {
    let on_trial: BTreeSet<VersionId> = serving.iter().filter_map(|node| node.trial).collect();
    if on_trial.len() > 1 {
        return Err(format!("versions {on_trial:?} are on trial at once"));
    }
    for node in serving {
        if let Some(trial) = node.trial {
            if node.silence_ms > super::super::TRIAL_SILENCE_MS + GOING_BACK_MS {
                return Err(format!(
                    "node {} has version {trial} on trial and has not heard from the leader for {} ms",
                    node.node, node.silence_ms
                ));
            }
            if node.took_over_with == Some(trial) {
                return Err(format!(
                    "node {} took an address over with version {trial}, which is in judgement",
                    node.node
                ));
            }
        }
    }
    Ok(())
}

/// Checks a change of the state.
pub(super) fn change(
    before: &ClusterState,
    after: &ClusterState,
    is_bad: impl Fn(VersionId, MemberId) -> bool,
) -> Result<(), String> {
    if let Some(record) = after.on_its_way()
        && record.goes_together()
        && matches!(record.stage, RolloutStage::Canary { .. })
    {
        return Err(format!("version {} is half applied", record.id));
    }
    let versions = after.versions.values();
    if versions.filter(|record| record.stage.on_its_way()).count() > 1 {
        return Err("two versions are on their way".to_owned());
    }
    if before.accepted == after.accepted {
        return Ok(());
    }
    let version = after.accepted.unwrap_or_default();
    let tried_by = before.on_its_way().map(|record| &record.stage);
    let (Some(RolloutStage::Rest { nodes }) | Some(RolloutStage::AwaitConfirmation { nodes, .. })) =
        tried_by
    else {
        return Err(format!("version {version} became accepted untried"));
    };
    match nodes.iter().find(|node| is_bad(version, **node)) {
        Some(node) => Err(format!(
            "version {version}, bad on node {node}, became accepted"
        )),
        None => Ok(()),
    }
}

/// Checks the state of a node at the end, after a phase without failures.
pub(super) fn end(
    state: &ClusterState,
    node: MemberId,
    serves: Option<VersionId>,
    trial: bool,
    could: bool,
) -> Result<(), String> {
    if let Some(record) = state.on_its_way() {
        return Err(format!(
            "version {} is still on its way: {}",
            record.id, record.stage
        ));
    }
    let as_agreed = serves == state.accepted && !trial;
    if as_agreed
        || (!could
            && !trial
            && state
                .accepted()
                .is_some_and(|record| record.against().any(|(who, _)| who == node)))
    {
        return Ok(());
    }
    Err(format!(
        "node {node} serves {serves:?} (on trial: {trial}), accepted is {:?}",
        state.accepted
    ))
}
