//! Claims: the other nodes confirm a decision before the client receives it.

use super::message::AgreementMessage;
use super::{Agreement, CLAIM_MS, PeerState, WaitingLogon};
use crate::collection::Assignee;
use crate::directory::{Decision, DecisionVersion, NoHost, Proposal, Record};
use crate::user::UserId;
use std::collections::BTreeSet;

/// Limit of proposals for one logon. After that, a decision that another node knows is accepted.
const ROUNDS_MAX: u8 = 3;

/// A proposal that waits for the responses of the other nodes.
#[derive(Debug)]
pub(super) struct PendingProposal {
    number: u64,
    proposal: Proposal,
    /// Nodes that have not answered.
    open: BTreeSet<String>,
    logons: Vec<WaitingLogon>,
    due_ms: u64,
    round: u8,
}

impl PendingProposal {
    pub(super) fn join(&mut self, waiting: WaitingLogon) {
        self.logons.push(waiting);
    }

    pub(super) fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    fn id(&self) -> Assignee {
        self.proposal.record.assignee()
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }
}

impl Agreement {
    fn open(&mut self, claim: PendingProposal) {
        let record = &claim.proposal.record;
        self.directory.claims(&record.host);
        self.claims.insert(record.user, claim);
    }

    fn close(&mut self, user: UserId) -> Option<PendingProposal> {
        let claim = self.claims.remove(&user)?;
        self.directory.has_claimed(&claim.proposal.record.host);
        Some(claim)
    }

    /// Sends a proposal to all synchronised nodes.
    pub(super) fn claim(&mut self, waiting: WaitingLogon, proposal: Proposal, now_ms: u64) {
        self.begin(vec![waiting], proposal, 1, now_ms);
    }

    fn begin(&mut self, logons: Vec<WaitingLogon>, proposal: Proposal, round: u8, now_ms: u64) {
        self.next += 1;
        let (number, open) = (self.next, self.synced());
        for node in &open {
            let message = AgreementMessage::Claim {
                number,
                record: proposal.record.clone(),
                over: proposal.over,
            };
            self.send(node, message);
        }
        let claim = PendingProposal {
            number,
            open,
            logons,
            due_ms: now_ms.saturating_add(CLAIM_MS),
            round,
            proposal: proposal.clone(),
        };
        self.open(claim);
    }

    /// Handles a claim of another node.
    pub(super) fn claimed(
        &mut self,
        node: &str,
        number: u64,
        record: &Record,
        over: Option<DecisionVersion>,
        now_ms: u64,
    ) {
        let Some(origin) = self.origin_of(node) else {
            return;
        };
        // Two claims cross: both nodes compare the same keys, so they agree on the winner.
        let id = record.assignee();
        let key = |record: &Record| (record.version, record.host.clone());
        let own = self.claims.get(&record.user).map(PendingProposal::proposal);
        if own
            .map(|own| &own.record)
            .is_some_and(|own| own.assignee() != id && key(own) > key(record))
            && !self.ignores_other_claims()
        {
            // The claim is for another collection. The other node retries once it knows this
            // decision.
            return self.send(node, AgreementMessage::Busy { number });
        }
        let own = own.filter(|own| own.record.assignee() == id && own.over == over);
        let own = own.map(|own| &own.record);
        let entry = self.directory.user(id);
        let is_news = entry.is_some_and(|entry| Some(entry.version) > over);
        if let Some(own) = own
            && !is_news
            && key(own) > key(record)
        {
            let record = own.clone();
            return self.send(node, AgreementMessage::Reply { number, record });
        }
        let leaves = self.is_leaving(id);
        let judged = self.directory.judge(record, (over, leaves), origin, now_ms);
        let reply = match judged {
            Some(held) => {
                if held.version.clock == record.version.clock
                    && held.version.origin == record.version.origin
                {
                    self.settle(id, now_ms);
                }
                AgreementMessage::Reply {
                    number,
                    record: held,
                }
            }
            None => AgreementMessage::Full { number },
        };
        self.send(node, reply);
    }

    /// Applies an adopted claim of another node to the waiting logons of the same user.
    fn settle(&mut self, id: Assignee, now_ms: u64) {
        let is_of_it = self
            .claims
            .get(&id.user)
            .is_some_and(|claim| claim.id() == id);
        if let Some(claim) = is_of_it.then(|| self.close(id.user)).flatten() {
            self.resolve(claim, now_ms);
        }
    }

    fn ignores_other_claims(&self) -> bool {
        #[cfg(test)]
        if self.directory.defect == Some(crate::directory::simulation::DirectoryDefect::ClaimsCross)
        {
            return true;
        }
        false
    }

    /// Handles the reply of another node to a claim.
    pub(super) fn replied(&mut self, node: &str, number: u64, record: &Record, now_ms: u64) {
        let Some(origin) = self.origin_of(node) else {
            return;
        };
        let id = record.assignee();
        let is_of = |claim: &PendingProposal| claim.number == number && claim.id() == id;
        let is_of = |claim: &PendingProposal| is_of(claim) && claim.open.contains(node);
        let is_open = self.claims.get(&id.user).is_some_and(is_of);
        let Some(mut claim) = is_open.then(|| self.close(id.user)).flatten() else {
            self.directory.merge(record, origin, now_ms);
            return;
        };
        claim.open.remove(node);
        let proposal = &claim.proposal;
        if record.version == proposal.record.version && record.host == proposal.record.host {
            if claim.open.is_empty() {
                self.confirmed(claim, now_ms)
            } else {
                self.open(claim)
            }
            return;
        }
        self.directory.merge(record, origin, now_ms);
        let is_known = self.directory.user(id).is_some_and(|entry| {
            // The reply contains the other node's decision, which may be known here already.
            entry.host == record.host && entry.version >= record.version
        });
        let insists = Some(record.version) <= proposal.over || claim.round >= ROUNDS_MAX;
        if record.version < proposal.record.version {
            // A third node may have adopted the failed proposal, so the version has to be above it.
            let above = proposal.record.version;
            self.directory.raise(id, above, now_ms);
        }
        if is_known && insists {
            return self.resolve(claim, now_ms);
        }
        self.again(claim, now_ms);
    }

    /// Handles the message that a node has no room for a user. The node counts as one that knows
    /// nothing.
    pub(super) fn refused(&mut self, node: &str, number: u64, now_ms: u64) {
        let mut claims = self.claims.iter_mut();
        let Some((user, claim)) = claims.find(|(_, claim)| claim.number == number) else {
            return;
        };
        claim.open.remove(node);
        let user = *user;
        if claim.open.is_empty()
            && let Some(claim) = self.close(user)
        {
            self.confirmed(claim, now_ms);
        }
    }

    /// Handles the message that a node has a claim for the same user in another collection, which
    /// takes precedence.
    pub(super) fn retries(&mut self, node: &str, number: u64, now_ms: u64) {
        let is_of = |claim: &PendingProposal| claim.number == number && claim.open.contains(node);
        let mut claims = self.claims.iter();
        let found = claims
            .find(|(_, claim)| is_of(claim))
            .map(|(user, _)| *user);
        if let Some(claim) = found.and_then(|user| self.close(user)) {
            self.again(claim, now_ms);
        }
    }

    /// Completes a claim that all nodes have adopted.
    fn confirmed(&mut self, claim: PendingProposal, now_ms: u64) {
        let Proposal { record, over, .. } = &claim.proposal;
        let held = self.directory.user(record.assignee());
        if held.is_some_and(|held| Some(held.version) > *over && held.version < record.version) {
            // The user has connected to the host that the claim replaces, so a session is there.
            self.directory
                .raise(record.assignee(), record.version, now_ms);
            return self.resolve(claim, now_ms);
        }
        let decided = self.decide_alone(&claim.proposal, now_ms);
        let mut logons = claim.logons.into_iter();
        // A reload may have removed the host meanwhile. All logons then get another host.
        if decided != Err(NoHost::Removed)
            && let Some(first) = logons.next()
        {
            self.resolved.push((first.ticket, decided));
        }
        logons.for_each(|waiting| self.attempted(waiting, now_ms));
    }

    /// Completes a claim whose user the directory knows now: the logons get the known host.
    fn resolve(&mut self, claim: PendingProposal, now_ms: u64) {
        let id = claim.id();
        match self.directory.held(id) {
            Some(decision) => self.all(id, claim.logons, &Ok(decision), now_ms),
            None => claim
                .logons
                .into_iter()
                .for_each(|one| self.attempted(one, now_ms)),
        }
    }

    /// Gives the logons of a claim this decision. Logons of other collections are re-evaluated.
    fn all(
        &mut self,
        id: Assignee,
        logons: Vec<WaitingLogon>,
        decided: &Result<Decision, NoHost>,
        now_ms: u64,
    ) {
        for waiting in logons {
            if waiting.logon.id == id {
                self.resolved.push((waiting.ticket, decided.clone()))
            } else {
                self.attempted(waiting, now_ms)
            }
        }
    }

    fn attempted(&mut self, waiting: WaitingLogon, now_ms: u64) {
        if let Some(resolved) = self.attempt(waiting, now_ms) {
            self.resolved.push(resolved);
        }
    }

    /// Handles a reply with another decision: the logons get that one, or a further proposal with a
    /// higher version.
    fn again(&mut self, claim: PendingProposal, now_ms: u64) {
        let logons = claim.logons;
        let Some(first) = logons.first().cloned() else {
            return;
        };
        let (logon, id) = (&first.logon, first.logon.id);
        if let Some(decision) = self.directory.known(id, &logon.name, now_ms) {
            return self.all(id, logons, &Ok(decision), now_ms);
        }
        let who = (id, logon.name.as_str());
        match self.directory.propose(who, logon.hint, now_ms) {
            Ok(proposal) => self.begin(logons, proposal, claim.round.saturating_add(1), now_ms),
            Err(error) => self.all(id, logons, &Err(error), now_ms),
        }
    }

    /// Re-queues the logons of all claims after a connection broke, and keeps their proposals.
    pub(super) fn reclaim(&mut self) {
        for claim in std::mem::take(&mut self.claims).into_values() {
            self.directory.has_claimed(&claim.proposal.record.host);
            self.unsettled.insert(claim.id(), claim.proposal);
            self.waiting.extend(claim.logons);
        }
    }

    /// Closes the connections of nodes that do not respond to claims in time.
    pub(super) fn close_unresponsive_nodes(&mut self, now_ms: u64) {
        let late = self.claims.values().filter(|claim| claim.due_ms <= now_ms);
        let late: BTreeSet<String> = late.flat_map(|claim| claim.open.clone()).collect();
        for node in late {
            let why = "it did not answer in time";
            self.broken.push((node.clone(), why));
            self.unlinked(&node, PeerState::Gone, why, now_ms);
        }
    }
}
