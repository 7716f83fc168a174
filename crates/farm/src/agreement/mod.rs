//! Agreement between the directories of one farm on several nodes. Each node holds the complete
//! directory, so a known user gets the host at once. For an unknown user, the node proposes a host
//! to the other nodes: a claim. Each of them adopts the claim, or replies with a decision that it
//! knows already. So two simultaneous logons at two nodes lead to one host. A node without
//! reachable peers decides alone. The claims of one user are decided one after the other, for all
//! collections.
//!
//! The agreement does no I/O: messages and times are arguments, and the caller fetches the messages
//! to send. [`crate::link`] has the connections. They deliver messages in order, or end.

mod claim;
#[cfg(test)]
mod crossing;
mod message;
mod peer;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use message::{AgreementMessage, FarStep, InvalidMessage};
pub use peer::{PeerState, PeerStatus};

use crate::agent::report::AgentReply;
use crate::collection::Assignee;
use crate::directory::{Decision, DirectoryId, News, NoHost, Proposal, Times, UserDirectory};
use crate::token::NameId;
use crate::user::UserId;
use claim::PendingProposal;
use peer::Peer;
use std::collections::{BTreeMap, BTreeSet};

/// Time for which other nodes are waited for after the start, milliseconds.
pub const START_MS: u64 = 1_500;
/// Time for which a broken connection is waited for before this node decides alone, milliseconds.
pub const BROKEN_MS: u64 = 300;
/// Timeout for receiving the directory of another node, milliseconds.
pub const SYNC_MS: u64 = 5_000;
/// Timeout of the response to a claim, milliseconds; the connection is closed when it expires.
pub const CLAIM_MS: u64 = 1_000;
const WAITING_MAX: usize = 20_000;

/// A logon that requests a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logon {
    /// User and collection of the logon.
    pub id: Assignee,
    /// Display name; empty if it is not known.
    pub name: String,
    /// Host that a token names.
    pub hint: Option<NameId>,
}

/// Result of a logon's request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogonOutcome {
    /// The host, or why there is none.
    Decided(Result<Decision, NoHost>),
    /// The decision follows later, under this ticket.
    Waits(u64),
}

#[derive(Clone, Debug)]
struct WaitingLogon {
    logon: Logon,
    ticket: u64,
}

/// Directory of this node, and its agreement with the other nodes.
#[derive(Debug, Default)]
pub struct Agreement {
    /// Local copy of the directory.
    pub directory: UserDirectory,
    peers: BTreeMap<String, Peer>,
    /// End of the wait for the names of the other nodes, milliseconds.
    start_until_ms: Option<u64>,
    /// Claims by user: two claims of one user at the same time could lead to two hosts of a third
    /// collection.
    claims: BTreeMap<UserId, PendingProposal>,
    /// Proposals whose claims ended when a connection broke: another node may have adopted them.
    /// For each of these users, a logon waits.
    unsettled: BTreeMap<Assignee, Proposal>,
    waiting: Vec<WaitingLogon>,
    resolved: Vec<(u64, Result<Decision, NoHost>)>,
    /// Connections that have to be closed, with the reason.
    broken: Vec<(String, &'static str)>,
    next: u64,
}

impl Agreement {
    /// Creates the agreement of a node without peers.
    pub fn alone(me: DirectoryId) -> Agreement {
        Agreement {
            directory: UserDirectory::of(me, false),
            ..Agreement::default()
        }
    }

    /// Creates the agreement of a cluster node. The names of the other nodes follow later.
    pub fn shared(me: DirectoryId, now_ms: u64) -> Agreement {
        Agreement {
            directory: UserDirectory::of(me, true),
            start_until_ms: Some(now_ms.saturating_add(START_MS)),
            ..Agreement::default()
        }
    }

    /// Sets the names of the other nodes.
    pub fn set_peers(&mut self, nodes: &BTreeSet<String>, now_ms: u64) {
        let gone = self.peers.keys().filter(|node| !nodes.contains(*node));
        for node in gone.cloned().collect::<Vec<_>>() {
            self.unlinked(
                &node,
                PeerState::Gone,
                "it is no node of the cluster",
                now_ms,
            );
            self.directory.set_far(&node, Vec::new());
            self.peers.remove(&node);
        }
        // A node that joins later has no decisions yet, so it is not waited for.
        let start = self.start_until_ms.take();
        let state = start.map_or(PeerState::Gone, |until_ms| PeerState::Awaited { until_ms });
        for node in nodes {
            let first = || Peer::new(state, now_ms);
            self.peers.entry(node.clone()).or_insert_with(first);
        }
        self.pump(now_ms);
    }

    /// Requests a host for a user.
    pub fn request(&mut self, logon: Logon, now_ms: u64) -> LogonOutcome {
        if self.waiting.len() >= WAITING_MAX {
            return LogonOutcome::Decided(Err(NoHost::Busy));
        }
        self.next += 1;
        let ticket = self.next;
        let waiting = WaitingLogon { logon, ticket };
        match self.attempt(waiting, now_ms) {
            Some((_, decided)) => LogonOutcome::Decided(decided),
            None => LogonOutcome::Waits(ticket),
        }
    }

    /// Applies a report of a host's agent. It leaves out users of pending claims: the claim decides
    /// about them.
    pub fn reported(&mut self, host: &str, report: &AgentReply, times: Times) -> News {
        let claims = &self.claims;
        let is_claimed = |id| claims.contains_key(&id);
        self.directory.reported(host, report, times, is_claimed)
    }

    /// Takes the decisions that waiting logons have received, by ticket.
    pub fn take_resolved(&mut self) -> Vec<(u64, Result<Decision, NoHost>)> {
        std::mem::take(&mut self.resolved)
    }

    /// Takes the connections that have to be closed, with the reason.
    pub fn take_broken(&mut self) -> Vec<(String, &'static str)> {
        std::mem::take(&mut self.broken)
    }

    /// Returns whether the decisions of all reachable nodes are known.
    fn has_all_decisions(&self) -> bool {
        let mut states = self.peers.values().map(|peer| peer.state);
        let lacks = |state| matches!(state, PeerState::Awaited { .. } | PeerState::Syncing { .. });
        self.start_until_ms.is_none() && !states.any(lacks)
    }

    /// Decides a logon, or queues it.
    fn attempt(
        &mut self,
        waiting: WaitingLogon,
        now_ms: u64,
    ) -> Option<(u64, Result<Decision, NoHost>)> {
        let (ticket, id) = (waiting.ticket, waiting.logon.id);
        if !self.has_all_decisions() {
            self.waiting.push(waiting);
            return None;
        }
        if !self.is_leaving(id)
            && let Some(decision) = self.directory.known(id, &waiting.logon.name, now_ms)
        {
            if let Some(before) = self.unsettled.remove(&id) {
                // Another node may have adopted the old proposal. The decision of this logon has to
                // win there, too.
                self.directory.raise(id, before.record.version, now_ms);
            }
            return Some((ticket, Ok(decision)));
        }
        if let Some(claim) = self.claims.get_mut(&id.user) {
            claim.join(waiting);
            return None;
        }
        let mut states = self.peers.values().map(|peer| peer.state);
        if states.any(|state| matches!(state, PeerState::Broken { .. })) {
            self.waiting.push(waiting);
            return None;
        }
        let proposal = match self.proposal(&waiting, now_ms) {
            Ok(proposal) => proposal,
            Err(error) => return Some((ticket, Err(error))),
        };
        if self.asks_nobody() {
            return Some((ticket, self.decide_alone(&proposal, now_ms)));
        }
        self.claim(waiting, proposal, now_ms);
        None
    }

    fn asks_nobody(&self) -> bool {
        #[cfg(test)]
        if self.directory.defect == Some(crate::directory::simulation::DirectoryDefect::AsksNobody)
        {
            return true;
        }
        !self.peers.values().any(Peer::is_synced)
    }

    /// Returns whether a pending claim replaces the known decision for a user. The known decision
    /// is then not valid, even if its host accepts users again: other nodes may have adopted the
    /// new one.
    fn is_leaving(&self, id: Assignee) -> bool {
        let held = self.directory.user(id).map(|entry| entry.version);
        let claim = self.claims.get(&id.user).map(PendingProposal::proposal);
        let claim = claim.filter(|proposal| proposal.record.assignee() == id);
        held.is_some() && claim.is_some_and(|proposal| proposal.over == held)
    }

    /// Returns the earlier proposal for a user if it is still valid, or else makes a new one.
    fn proposal(&mut self, waiting: &WaitingLogon, now_ms: u64) -> Result<Proposal, NoHost> {
        let logon = &waiting.logon;
        let over = self.directory.user(logon.id).map(|entry| entry.version);
        let before = self.unsettled.remove(&logon.id).filter(|before| {
            let mut hosts = self.directory.hosts();
            let mut takes =
                |host: &str| hosts.any(|(name, state)| name == host && !state.is_down());
            let other = self.directory.elsewhere(logon.id, now_ms);
            let is_best = other.is_none_or(|other| other.host == before.record.host);
            before.over == over && is_best && takes(&before.record.host)
        });
        match before {
            Some(before) => Ok(before),
            None => {
                let who = (logon.id, logon.name.as_str());
                self.directory.propose(who, logon.hint, now_ms)
            }
        }
    }

    fn decide_alone(&mut self, proposal: &Proposal, now_ms: u64) -> Result<Decision, NoHost> {
        self.directory.adopt(&proposal.record, None, now_ms)?;
        let decision = self.directory.held(proposal.record.assignee());
        let decision = decision.ok_or(NoHost::Removed)?;
        Ok(Decision {
            why: proposal.why,
            ..decision
        })
    }

    fn pump(&mut self, now_ms: u64) {
        for waiting in std::mem::take(&mut self.waiting) {
            if let Some(resolved) = self.attempt(waiting, now_ms) {
                self.resolved.push(resolved);
            }
        }
    }

    /// Returns when [`Agreement::tick`] is due, milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let peers = self.peers.values().filter_map(Peer::due_ms);
        let claims = self.claims.values().map(PendingProposal::due_ms);
        peers.chain(claims).chain(self.start_until_ms).min()
    }

    /// Handles expired timeouts, then re-evaluates the waiting logons.
    pub fn tick(&mut self, now_ms: u64) {
        let is_due = |at: u64| at <= now_ms;
        if self.start_until_ms.is_some_and(is_due) {
            self.start_until_ms = None;
        }
        self.close_unresponsive_nodes(now_ms);
        let mut lost = Vec::new();
        for (node, peer) in &mut self.peers {
            match peer.state {
                PeerState::Awaited { until_ms } | PeerState::Broken { until_ms }
                    if is_due(until_ms) =>
                {
                    peer.state = PeerState::Gone;
                }
                PeerState::Syncing { until_ms } if is_due(until_ms) => {
                    lost.push((node.clone(), "its directory did not come in time"));
                }
                _ => {}
            }
        }
        for (node, why) in lost {
            self.broken.push((node.clone(), why));
            self.unlinked(&node, PeerState::Gone, why, now_ms);
        }
        self.tidy(now_ms);
        self.pump(now_ms);
    }

    /// Returns whether a claim is pending.
    pub fn is_asking(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Prunes the state that is kept for other nodes. Safe to call at any time.
    pub fn tidy(&mut self, now_ms: u64) {
        self.spread();
        self.forget_hosts(now_ms);
    }
}
