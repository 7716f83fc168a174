//! What the directories of one farm on several nodes agree on. Each has all of it, so a user who is
//! known gets the host at once. Who is not known gets it after the other nodes have confirmed the
//! choice: a claim, which each of them takes over or answers with what it knows itself. So two logons at
//! once at two nodes come to one host. Without the others a node decides alone. The claims of one user are
//! decided one after the other, whichever collections they are for.
//!
//! It is a value: messages and times are arguments, what is to be sent is asked for. The connections,
//! on which messages come in their order or the connection ends, are [`crate::link`]'s.

mod claim;
#[cfg(test)]
mod crossing;
mod message;
mod peer;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use message::{FarStep, Message, Refused};
pub use peer::{Standing, State};

use crate::agent::report::Report;
use crate::collection::Assignee;
use crate::directory::{Decision, Directory, News, NoHost, Origin, Proposal, Times};
use crate::token::NameId;
use crate::user::UserId;
use claim::Claim;
use peer::Peer;
use std::collections::{BTreeMap, BTreeSet};

/// How long the other nodes are waited for after the start, milliseconds.
pub const START_MS: u64 = 1_500;
/// How long a connection that broke is waited for, before this node decides alone.
pub const BROKEN_MS: u64 = 300;
/// How long the directory of another node may take to come.
pub const SYNC_MS: u64 = 5_000;
/// How long a claim waits for an answer; then the connection is given up.
pub const CLAIM_MS: u64 = 1_000;
/// Logons that wait at one time.
const WAITING_MAX: usize = 20_000;

/// A logon whose host is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logon {
    /// For whom.
    pub id: Assignee,
    /// The name for display; empty: it is not known.
    pub name: String,
    /// The host of a token.
    pub hint: Option<NameId>,
}

/// What comes of a logon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// This.
    Decided(Result<Decision, NoHost>),
    /// It is decided later; the ticket says which it is.
    Waits(u64),
}

/// A logon that waits.
#[derive(Clone, Debug)]
struct Waiting {
    logon: Logon,
    ticket: u64,
}

/// The directory of this node, and how it stands with the others.
#[derive(Debug, Default)]
pub struct Agreement {
    /// The directory.
    pub directory: Directory,
    peers: BTreeMap<String, Peer>,
    /// Until when the names of the other nodes are waited for.
    start_until_ms: Option<u64>,
    /// By user: two at once could come to two hosts of a third collection.
    claims: BTreeMap<UserId, Claim>,
    /// Proposals whose claims ended with a connection: another node may have taken them over. A logon
    /// of each of these users waits.
    unsettled: BTreeMap<Assignee, Proposal>,
    waiting: Vec<Waiting>,
    resolved: Vec<(u64, Result<Decision, NoHost>)>,
    /// Connections that are to be given up, and why.
    broken: Vec<(String, &'static str)>,
    next: u64,
}

impl Agreement {
    /// That of a node alone.
    pub fn alone(me: Origin) -> Agreement {
        Agreement {
            directory: Directory::of(me, false),
            ..Agreement::default()
        }
    }

    /// That of a node of a cluster. Who the others are comes later.
    pub fn shared(me: Origin, now_ms: u64) -> Agreement {
        Agreement {
            directory: Directory::of(me, true),
            start_until_ms: Some(now_ms.saturating_add(START_MS)),
            ..Agreement::default()
        }
    }

    /// These are the other nodes.
    pub fn set_peers(&mut self, nodes: &BTreeSet<String>, now_ms: u64) {
        let gone = self.peers.keys().filter(|node| !nodes.contains(*node));
        for node in gone.cloned().collect::<Vec<_>>() {
            self.unlinked(&node, State::Gone, "it is no node of the cluster", now_ms);
            self.directory.set_far(&node, Vec::new());
            self.peers.remove(&node);
        }
        // A node that joins later has nothing to say yet.
        let start = self.start_until_ms.take();
        let state = start.map_or(State::Gone, |until_ms| State::Awaited { until_ms });
        for node in nodes {
            let first = || Peer::new(state, now_ms);
            self.peers.entry(node.clone()).or_insert_with(first);
        }
        self.pump(now_ms);
    }

    /// Asks for the host of a user.
    pub fn request(&mut self, logon: Logon, now_ms: u64) -> Outcome {
        if self.waiting.len() >= WAITING_MAX {
            return Outcome::Decided(Err(NoHost::Busy));
        }
        self.next += 1;
        let ticket = self.next;
        let waiting = Waiting { logon, ticket };
        match self.attempt(waiting, now_ms) {
            Some((_, decided)) => Outcome::Decided(decided),
            None => Outcome::Waits(ticket),
        }
    }

    /// Takes in a report of a host's agent. Of users of whom other nodes are being asked they decide.
    pub fn reported(&mut self, host: &str, report: &Report, times: Times) -> News {
        let claims = &self.claims;
        let is_claimed = |id| claims.contains_key(&id);
        self.directory.reported(host, report, times, is_claimed)
    }

    /// Takes out the tickets that are decided.
    pub fn take_resolved(&mut self) -> Vec<(u64, Result<Decision, NoHost>)> {
        std::mem::take(&mut self.resolved)
    }

    /// Takes out the connections that are to be given up, and why.
    pub fn take_broken(&mut self) -> Vec<(String, &'static str)> {
        std::mem::take(&mut self.broken)
    }

    /// Whether all that other nodes decided before is known, as far as they are there.
    fn knows(&self) -> bool {
        let mut states = self.peers.values().map(|peer| peer.state);
        let lacks = |state| matches!(state, State::Awaited { .. } | State::Syncing { .. });
        self.start_until_ms.is_none() && !states.any(lacks)
    }

    /// Decides about a logon, or has it wait.
    fn attempt(
        &mut self,
        waiting: Waiting,
        now_ms: u64,
    ) -> Option<(u64, Result<Decision, NoHost>)> {
        let (ticket, id) = (waiting.ticket, waiting.logon.id);
        if !self.knows() {
            self.waiting.push(waiting);
            return None;
        }
        if !self.is_leaving(id)
            && let Some(decision) = self.directory.known(id, &waiting.logon.name, now_ms)
        {
            if let Some(before) = self.unsettled.remove(&id) {
                // Another node may have taken it over: what this logon gets has to hold there, too.
                self.directory.raise(id, before.record.version, now_ms);
            }
            return Some((ticket, Ok(decision)));
        }
        if let Some(claim) = self.claims.get_mut(&id.user) {
            claim.join(waiting);
            return None;
        }
        let mut states = self.peers.values().map(|peer| peer.state);
        if states.any(|state| matches!(state, State::Broken { .. })) {
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
        if self.directory.defect == Some(crate::directory::simulation::Defect::AsksNobody) {
            return true;
        }
        !self.peers.values().any(Peer::is_synced)
    }

    /// Whether this node asks the others to give up the decision for a user that it has. Then that is
    /// no answer, also if its host takes users again: they may have taken over the one that comes.
    fn is_leaving(&self, id: Assignee) -> bool {
        let held = self.directory.user(id).map(|entry| entry.version);
        let claim = self.claims.get(&id.user).map(Claim::proposal);
        let claim = claim.filter(|proposal| proposal.record.assignee() == id);
        held.is_some() && claim.is_some_and(|proposal| proposal.over == held)
    }

    /// What was proposed before for a user, where it still holds, or else something new.
    fn proposal(&mut self, waiting: &Waiting, now_ms: u64) -> Result<Proposal, NoHost> {
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

    /// Looks at all logons that wait.
    fn pump(&mut self, now_ms: u64) {
        for waiting in std::mem::take(&mut self.waiting) {
            if let Some(resolved) = self.attempt(waiting, now_ms) {
                self.resolved.push(resolved);
            }
        }
    }

    /// When [`Agreement::tick`] has something to do, milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let peers = self.peers.values().filter_map(Peer::due_ms);
        let claims = self.claims.values().map(Claim::due_ms);
        peers.chain(claims).chain(self.start_until_ms).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now_ms: u64) {
        let is_due = |at: u64| at <= now_ms;
        if self.start_until_ms.is_some_and(is_due) {
            self.start_until_ms = None;
        }
        self.give_up(now_ms);
        let mut lost = Vec::new();
        for (node, peer) in &mut self.peers {
            match peer.state {
                State::Awaited { until_ms } | State::Broken { until_ms } if is_due(until_ms) => {
                    peer.state = State::Gone;
                }
                State::Syncing { until_ms } if is_due(until_ms) => {
                    lost.push((node.clone(), "its directory did not come in time"));
                }
                _ => {}
            }
        }
        for (node, why) in lost {
            self.broken.push((node.clone(), why));
            self.unlinked(&node, State::Gone, why, now_ms);
        }
        self.tidy(now_ms);
        self.pump(now_ms);
    }

    /// Whether other nodes are being asked about a user.
    pub fn is_asking(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Keeps what is remembered for other nodes small. It may be called at any time.
    pub fn tidy(&mut self, now_ms: u64) {
        self.spread();
        self.forget_hosts(now_ms);
    }
}
