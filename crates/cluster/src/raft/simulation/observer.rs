//! Checks the invariants of consensus while a history runs: a single leader in each term, the same
//! state after the same number of commands on all members, and no state that goes back.

use crate::member::MemberId;
use crate::member::digest;
use crate::raft::RaftStatus;
use crate::state::ClusterState;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Observer {
    leaders: BTreeMap<u64, MemberId>,
    /// State digest after each number of commands, with the member that showed it first.
    states: BTreeMap<u64, (crate::member::Digest, MemberId)>,
    /// Progress of each member in its current run.
    applied: BTreeMap<MemberId, u64>,
    pub wrong: Option<String>,
}

impl Observer {
    pub fn begins(&mut self, member: MemberId) {
        self.applied.remove(&member);
    }

    pub fn stands(&mut self, member: MemberId, standing: &RaftStatus) {
        if !standing.leading {
            return;
        }
        let first = *self.leaders.entry(standing.term).or_insert(member);
        if first != member {
            let term = standing.term;
            self.report_violation(format!("{first} and {member} both led in term {term}"));
        }
    }

    pub fn has(&mut self, member: MemberId, state: &ClusterState) {
        let before = self.applied.insert(member, state.applied);
        if before == Some(state.applied) {
            return;
        }
        if before.is_some_and(|before| before > state.applied) {
            self.report_violation(format!("{member} went back to {} commands", state.applied));
        }
        let seen = digest(&state.encode());
        let (first, whose) = *(self.states).entry(state.applied).or_insert((seen, member));
        if first != seen {
            let count = state.applied;
            self.report_violation(format!(
                "after {count} commands {member} has another state than {whose} had"
            ));
        }
    }

    pub fn report_violation(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}
