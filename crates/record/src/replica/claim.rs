//! Proposes decisions to the other nodes (claims), which confirm them before the client receives
//! one.

use super::peer::PeerState;
use super::{CLAIM_MS, Replica, WaitingRequest};
use crate::defect::Defect;
use crate::directory::{Directory, GroupOf, Proposal, RecordOf, StoreRefusal};
use crate::message::Message;
use crate::record::{Key, Value};
use crate::version::Version;
use std::collections::BTreeSet;

/// Limit of proposals for one request. After that, a record that another node has is accepted.
const ROUNDS_MAX: u8 = 3;

/// A proposal that waits for the other nodes' replies.
#[derive(Debug)]
pub(crate) struct PendingClaim<D: Directory> {
    number: u64,
    proposal: Proposal<D>,
    open: BTreeSet<String>,
    requests: Vec<WaitingRequest<D>>,
    due_ms: u64,
    round: u8,
}

impl<D: Directory> PendingClaim<D> {
    pub(crate) fn join(&mut self, waiting: WaitingRequest<D>) {
        self.requests.push(waiting);
    }

    pub(crate) fn proposal(&self) -> &Proposal<D> {
        &self.proposal
    }

    fn key(&self) -> D::Key {
        self.proposal.record.key
    }

    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms
    }
}

impl<D: Directory> Replica<D> {
    fn insert_claim(&mut self, claim: PendingClaim<D>) {
        let record = &claim.proposal.record;
        self.directory.count_claim(record.value.place(), true);
        self.claims.insert(record.key.group(), claim);
    }

    fn remove_claim(&mut self, group: GroupOf<D>) -> Option<PendingClaim<D>> {
        let claim = self.claims.remove(&group)?;
        let place = claim.proposal.record.value.place();
        self.directory.count_claim(place, false);
        Some(claim)
    }

    pub(crate) fn claim(&mut self, waiting: WaitingRequest<D>, proposal: Proposal<D>, now_ms: u64) {
        self.begin(vec![waiting], proposal, 1, now_ms);
    }

    fn begin(
        &mut self,
        requests: Vec<WaitingRequest<D>>,
        proposal: Proposal<D>,
        round: u8,
        now_ms: u64,
    ) {
        self.next += 1;
        let (number, open) = (self.next, self.synced());
        for node in &open {
            let message = Message::Claim {
                number,
                record: proposal.record.clone(),
                over: proposal.over,
            };
            self.send(node, message);
        }
        self.insert_claim(PendingClaim {
            number,
            open,
            requests,
            due_ms: now_ms.saturating_add(CLAIM_MS),
            round,
            proposal,
        });
    }

    pub(crate) fn handle_claim(
        &mut self,
        node: &str,
        number: u64,
        record: &RecordOf<D>,
        over: Option<Version>,
        now_ms: u64,
    ) {
        let Some(origin) = self.origin_of(node) else {
            return;
        };
        // Compares the versions of claims that cross: both nodes compare the same ones, so they
        // agree on the winner.
        let key = record.key;
        let own = self.claims.get(&key.group()).map(PendingClaim::proposal);
        let is_greater = own.is_some_and(|own| own.record.is_above(record));
        if own.is_some_and(|own| own.record.key != key)
            && is_greater
            && !self.has_defect(Defect::ClaimsCross)
        {
            // Refuses a claim for another key of the group. The other node retries once it has this
            // record.
            return self.send(node, Message::Busy { number });
        }
        let entry = self.directory.table().get(key);
        let is_news = entry.is_some_and(|entry| Some(entry.version) > over);
        let own = own.filter(|own| own.record.key == key && own.over == over);
        if let Some(own) = own
            && !is_news
            && is_greater
        {
            let record = own.record.clone();
            return self.send(node, Message::Reply { number, record });
        }
        let mut known = (over, self.is_leaving(key));
        if let Some(entry) = entry
            && entry.yields_to(record)
            && (self.is_tentative(key)
                || !entry.version.used && self.is_own_claim(entry.version, record.version))
        {
            // Lets the greater of two claims of other nodes win, as on those nodes.
            known = (Some(entry.version), true);
        }
        let judged = self.directory.judge(record, known, origin, now_ms);
        let reply = match judged {
            Some(held) => {
                if held.version.clock == record.version.clock
                    && held.version.origin == record.version.origin
                {
                    self.note_claim(key, now_ms);
                    self.settle(key, now_ms);
                }
                Message::Reply {
                    number,
                    record: held,
                }
            }
            None => Message::Full { number },
        };
        self.send(node, reply);
    }

    /// Returns whether a version is an earlier claim of the node that proposes another one now.
    fn is_own_claim(&self, held: Version, proposed: Version) -> bool {
        held.origin == proposed.origin && !self.has_defect(Defect::ClaimIsConfirmed)
    }

    fn settle(&mut self, key: D::Key, now_ms: u64) {
        let claim = self.claims.get(&key.group());
        if claim.is_some_and(|claim| claim.key() == key)
            && let Some(claim) = self.remove_claim(key.group())
        {
            self.resolve(claim, now_ms);
        }
    }

    pub(crate) fn handle_reply(
        &mut self,
        node: &str,
        number: u64,
        record: &RecordOf<D>,
        now_ms: u64,
    ) {
        let Some(origin) = self.origin_of(node) else {
            return;
        };
        let key = record.key;
        let is_of = |claim: &PendingClaim<D>| {
            claim.number == number && claim.key() == key && claim.open.contains(node)
        };
        let is_open = self.claims.get(&key.group()).is_some_and(is_of);
        let claim = is_open.then(|| self.remove_claim(key.group())).flatten();
        let Some(mut claim) = claim else {
            self.directory.merge(record, origin, now_ms);
            return;
        };
        claim.open.remove(node);
        let proposal = &claim.proposal;
        let is_same = record.value.place() == proposal.record.value.place();
        if is_same && record.version == proposal.record.version {
            if claim.open.is_empty() || self.has_defect(Defect::OneReplyConfirms) {
                self.confirm(claim, now_ms)
            } else {
                self.insert_claim(claim)
            }
            return;
        }
        self.directory.merge(record, origin, now_ms);
        if record.age_ms < CLAIM_MS && record.version.origin != origin {
            // Notes the claim, which the other node has adopted from a third one.
            self.note_claim(key, now_ms);
        }
        let is_known = self.directory.table().get(key).is_some_and(|entry| {
            // Compares with the record of the other node, which may be known here already.
            entry.value.place() == record.value.place() && entry.version >= record.version
        });
        let insists = Some(record.version) <= proposal.over || claim.round >= ROUNDS_MAX;
        if record.version < proposal.record.version {
            // Raises the version above that of the failed proposal, which a third node may have
            // adopted.
            let above = proposal.record.version;
            self.directory.raise(key, above, now_ms);
        }
        if is_known && insists {
            return self.resolve(claim, now_ms);
        }
        self.retry(claim, now_ms);
    }

    /// Handles the message that a node has no room for a record. The node counts as one that knows
    /// nothing.
    pub(crate) fn handle_full(&mut self, node: &str, number: u64, now_ms: u64) {
        let mut claims = self.claims.iter_mut();
        let Some((group, claim)) = claims.find(|(_, claim)| claim.number == number) else {
            return;
        };
        claim.open.remove(node);
        let group = *group;
        if claim.open.is_empty()
            && let Some(claim) = self.remove_claim(group)
        {
            self.confirm(claim, now_ms);
        }
    }

    pub(crate) fn handle_busy(&mut self, node: &str, number: u64, now_ms: u64) {
        let is_of = |claim: &PendingClaim<D>| claim.number == number && claim.open.contains(node);
        let mut claims = self.claims.iter();
        let found = claims.find(|(_, claim)| is_of(claim));
        let group = found.map(|(group, _)| *group);
        if let Some(claim) = group.and_then(|group| self.remove_claim(group)) {
            self.retry(claim, now_ms);
        }
    }

    fn confirm(&mut self, claim: PendingClaim<D>, now_ms: u64) {
        let Proposal { record, over, .. } = &claim.proposal;
        let held = self.directory.table().get(record.key);
        if held.is_some_and(|held| Some(held.version) > *over && held.version < record.version) {
            // Keeps the value that the claim replaces, because it was used meanwhile.
            self.directory.raise(record.key, record.version, now_ms);
            return self.resolve(claim, now_ms);
        }
        let decided = self.directory.accept(&claim.proposal, now_ms);
        let mut requests = claim.requests.into_iter();
        // Gives all requests another place if this one has been removed meanwhile.
        let is_gone = decided.as_ref().err() == Some(&StoreRefusal::NoPlace.into());
        if !is_gone && let Some(first) = requests.next() {
            self.resolved.push((first.ticket, decided));
        }
        requests.for_each(|waiting| self.attempt_again(waiting, now_ms));
    }

    /// Completes a claim whose key is known now: the requests get the known value.
    fn resolve(&mut self, claim: PendingClaim<D>, now_ms: u64) {
        let key = claim.key();
        if self.is_tentative(key) {
            return self.waiting.extend(claim.requests);
        }
        match self.directory.decision(key, None) {
            Some(decision) => self.resolve_all(key, claim.requests, &Ok(decision), now_ms),
            None => claim
                .requests
                .into_iter()
                .for_each(|one| self.attempt_again(one, now_ms)),
        }
    }

    /// Gives the requests of a claim this decision. Requests for other keys are re-evaluated.
    fn resolve_all(
        &mut self,
        key: D::Key,
        requests: Vec<WaitingRequest<D>>,
        decided: &Result<D::Decision, D::Refusal>,
        now_ms: u64,
    ) {
        for waiting in requests {
            if D::key_of(&waiting.request) == key {
                self.resolved.push((waiting.ticket, decided.clone()))
            } else {
                self.attempt_again(waiting, now_ms)
            }
        }
    }

    pub(super) fn attempt_again(&mut self, waiting: WaitingRequest<D>, now_ms: u64) {
        if let Some(resolved) = self.attempt(waiting, now_ms) {
            self.resolved.push(resolved);
        }
    }

    /// Handles a reply with another record: the requests get that value, or a further proposal with
    /// a higher version.
    fn retry(&mut self, claim: PendingClaim<D>, now_ms: u64) {
        let requests = claim.requests;
        let Some(first) = requests.first() else {
            return;
        };
        let request = first.request.clone();
        let key = D::key_of(&request);
        if self.is_tentative(key) {
            return self.waiting.extend(requests);
        }
        if let Some(decision) = self.directory.known(&request, now_ms) {
            return self.resolve_all(key, requests, &Ok(decision), now_ms);
        }
        match self.directory.propose(&request, now_ms) {
            Ok(proposal) => self.begin(requests, proposal, claim.round.saturating_add(1), now_ms),
            Err(error) => self.resolve_all(key, requests, &Err(error), now_ms),
        }
    }

    /// Re-queues the requests of all claims after a connection broke, and keeps their proposals.
    pub(crate) fn requeue_claims(&mut self) {
        for claim in std::mem::take(&mut self.claims).into_values() {
            let place = claim.proposal.record.value.place();
            self.directory.count_claim(place, false);
            self.waiting.extend(claim.requests);
            self.unsettled
                .insert(claim.proposal.record.key, claim.proposal);
        }
    }

    pub(crate) fn close_unresponsive_nodes(&mut self, now_ms: u64) {
        let late = self.claims.values().filter(|claim| claim.due_ms <= now_ms);
        let late: BTreeSet<String> = late.flat_map(|claim| claim.open.clone()).collect();
        for node in late {
            let why = "it did not answer in time";
            self.broken.push((node.clone(), why));
            self.unlink(&node, PeerState::Gone, why, now_ms);
        }
    }
}
