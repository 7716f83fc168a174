//! Derives from the committed state which version a node should serve, and which one it should
//! check.

use crate::command::VersionId;
use crate::member::MemberId;
use crate::state::{ClusterState, RolloutStage};

/// Silence of the leader after which a node serves no candidate, milliseconds.
pub const TRIAL_SILENCE_MS: u64 = 5000;

/// Version that a node should serve, and the one that it should check.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// The version for a rollback and for the start: kept compiled, and on disk.
    pub accepted: Option<VersionId>,
    /// The version to serve. None: no version is accepted yet, and there is no candidate.
    pub serve: Option<VersionId>,
    /// True if `serve` is a candidate: a rollback must be possible at once.
    pub trial: bool,
    /// Version to check without serving it.
    pub check: Option<VersionId>,
    pub judge_ms: Option<u64>,
}

impl Desired {
    /// Returns the version that `me` should serve, if the last response of the leader is
    /// `silence_ms` old.
    ///
    /// Only the response to a linearizable read counts, from the time of the request, once this
    /// state has caught up with it: the leader queries its majority for it. A heartbeat does not
    /// count: a member that was cut off, or has just started, receives heartbeats while its state
    /// is still outdated, and would serve a candidate that the others rolled back long ago.
    pub fn of(state: &ClusterState, me: MemberId, silence_ms: u64) -> Desired {
        let mut desired = Desired {
            accepted: state.accepted,
            serve: state.accepted,
            ..Desired::default()
        };
        let heard = silence_ms < TRIAL_SILENCE_MS;
        let Some(record) = state
            .on_its_way()
            .filter(|_| heard && state.nodes().any(|node| node.id == me))
        else {
            return desired;
        };
        if record.last_report_of(me).is_none()
            && matches!(
                record.stage,
                RolloutStage::Checking | RolloutStage::Canary { .. }
            )
        {
            desired.check = Some(record.id);
        }
        let spoke_against = record.against().any(|(node, _)| node == me);
        if record.stage.tried_by(me) && !spoke_against {
            desired.serve = Some(record.id);
            desired.trial = true;
            let judge_ms = record.proposal.judging.judge_ms;
            desired.judge_ms = (judge_ms > 0).then_some(judge_ms);
        }
        desired
    }

    /// Returns whether the node may take over addresses from other nodes that serve them. A node
    /// that serves a candidate may not: it waits, or rolls back first.
    pub fn may_preempt(&self) -> bool {
        !self.trial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{CommandBody, Reported, RolloutStep};
    use crate::state::sample::{A, ARBITER, B, decision, proposal, report};

    fn of(state: &ClusterState, node: MemberId) -> Desired {
        Desired::of(state, node, 0)
    }

    #[test]
    fn stage_by_stage_each_node_is_to_do_its_part() {
        let mut state = ClusterState::pair();
        assert_eq!(of(&state, A), Desired::default());
        state.must(
            A,
            CommandBody::Propose(Box::new(proposal(None, Vec::new()))),
        );
        let version = Some(VersionId(1));
        for node in [A, B] {
            assert_eq!(
                (of(&state, node).check, of(&state, node).serve),
                (version, None)
            );
            state.must(node, report(1, node, Reported::Checked));
            assert_eq!(of(&state, node).check, None);
        }
        assert_eq!(of(&state, ARBITER), Desired::default());
        state.must(A, decision(1, RolloutStep::Canary { node: B }));
        assert_eq!(of(&state, A).serve, None);
        let trial = Desired {
            serve: version,
            trial: true,
            judge_ms: Some(10_000),
            ..Desired::default()
        };
        assert_eq!(of(&state, B), trial);
        assert!(of(&state, A).may_preempt() && !of(&state, B).may_preempt());
        state.must(B, report(1, B, Reported::Good));
        let nodes = vec![A, B];
        state.must(A, decision(1, RolloutStep::Rest { nodes }));
        assert_eq!((of(&state, A), of(&state, B)), (trial.clone(), trial));
        for node in [A, B] {
            state.must(node, report(1, node, Reported::Good));
        }
        state.must(A, decision(1, RolloutStep::Accept));
        let accepted = Desired {
            accepted: version,
            serve: version,
            ..Desired::default()
        };
        assert_eq!((of(&state, A), of(&state, B)), (accepted.clone(), accepted));
    }

    #[test]
    fn without_a_leader_only_the_accepted_version_is_served() {
        let mut state = ClusterState::pair();
        state.must(
            A,
            CommandBody::Propose(Box::new(proposal(None, Vec::new()))),
        );
        state.accept_all_the_way(1);
        state.must(
            A,
            CommandBody::Propose(Box::new(proposal(Some(1), Vec::new()))),
        );
        for node in [A, B] {
            state.must(node, report(2, node, Reported::Checked));
        }
        state.must(A, decision(2, RolloutStep::Canary { node: B }));
        assert_eq!(of(&state, B).serve, Some(VersionId(2)));
        let alone = Desired::of(&state, B, TRIAL_SILENCE_MS);
        assert_eq!((alone.serve, alone.trial), (Some(VersionId(1)), false));
        assert_eq!((alone.check, alone.judge_ms), (None, None));
        let never_heard = Desired::of(&state, B, u64::MAX);
        assert_eq!(never_heard, alone);
    }

    #[test]
    fn node_that_refused_is_no_canary() {
        let mut state = ClusterState::pair();
        state.must(
            A,
            CommandBody::Propose(Box::new(proposal(None, Vec::new()))),
        );
        for node in [A, B] {
            state.must(node, report(1, node, Reported::Checked));
        }
        state.must(A, decision(1, RolloutStep::Canary { node: B }));
        state.must(B, report(1, B, Reported::WentBack));
        assert_eq!(of(&state, B).serve, None);
    }
}
