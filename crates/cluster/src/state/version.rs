//! Applies commands about versions of the configuration: proposals, reports of nodes and decisions.
//! Drops old versions beyond the limits.
//!
//! The leader decides when a step is taken ([`crate::rollout`]). This module enforces
//! what no leader can bypass: only one version is in progress at a time, and a version is
//! accepted only if no node reported a problem and every step was taken.

use super::{ClusterState, WORDS_BYTES_MAX};
use crate::command::{
    CheckFindings, ClusterCommand, CommandRefusal, CommandResult, Decision, Proposal, Reported,
    RolloutReport, RolloutStep, VersionId, VersionOrigin,
};
use crate::file_set::{FILES_MAX, SET_BYTES_MAX};
use crate::member::{MemberId, MemberKind};
use language::truncated;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Largest number of retained versions, whatever the setting.
pub const VERSIONS_MAX: u32 = 1000;
/// Largest size of the metadata of all versions together (file names, listings, messages, reports),
/// bytes. Every member holds it in memory.
pub const METADATA_BYTES_MAX: usize = 4 << 20;
/// Size limit of one version as it is proposed: with its envelope it must fit into one
/// message to the leader ([`crate::raft::transport::MESSAGE_BYTES_MAX`]).
pub const PROPOSAL_BYTES_MAX: usize = 512 << 10;
pub const PATH_BYTES_MAX: usize = 4096;
pub const LISTED_NAMES_MAX: usize = 64 << 10;
/// Maximum length of the message of a proposal, and of its author's name, bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;
pub const JUDGING_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Number of the last followed repositories (each with its branch) whose newest accepted version is
/// kept whatever the limits. The next revision must descend from that version, and only revisions
/// between the two must be signed.
pub const FOLLOWED_KEPT_MAX: usize = 8;
const EVENT_REASON_BYTES_MAX: usize = 1024;
/// Estimated overhead of a file or a chunk in the metadata, bytes; half of it for a listed name.
const ENTRY_BYTES: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutStage {
    /// Every reachable node checks the version without serving it.
    Checking,
    /// A single node serves the version as a candidate.
    Canary {
        node: MemberId,
    },
    /// The version is rolled out: these nodes serve it as a candidate.
    Rest {
        nodes: BTreeSet<MemberId>,
    },
    /// The listed nodes serve the version, which waits for the operator's confirmation.
    AwaitConfirmation {
        nodes: BTreeSet<MemberId>,
        /// Remaining time until the version is rolled back, as last reported, milliseconds.
        remaining_ms: u64,
    },
    Accepted,
    /// The version was abandoned while nodes checked it, so no node ever served it.
    Refused,
    /// The version was a candidate and was rolled back.
    TakenBack,
}

impl RolloutStage {
    pub fn on_its_way(&self) -> bool {
        match self {
            RolloutStage::Checking
            | RolloutStage::Canary { .. }
            | RolloutStage::Rest { .. }
            | RolloutStage::AwaitConfirmation { .. } => true,
            RolloutStage::Accepted | RolloutStage::Refused | RolloutStage::TakenBack => false,
        }
    }

    pub fn tried_by(&self, node: MemberId) -> bool {
        match self {
            RolloutStage::Canary { node: canary } => *canary == node,
            RolloutStage::Rest { nodes } | RolloutStage::AwaitConfirmation { nodes, .. } => {
                nodes.contains(&node)
            }
            RolloutStage::Checking
            | RolloutStage::Accepted
            | RolloutStage::Refused
            | RolloutStage::TakenBack => false,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            RolloutStage::Checking => "being checked",
            RolloutStage::Canary { .. } => "canary on one node",
            RolloutStage::Rest { .. } => "rollout to all nodes",
            RolloutStage::AwaitConfirmation { .. } => "waits for confirmation",
            RolloutStage::Accepted => "accepted",
            RolloutStage::Refused => "refused",
            RolloutStage::TakenBack => "rolled back",
        }
    }
}

impl fmt::Display for RolloutStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeReport {
    pub outcome: Reported,
    pub words: String,
}

/// A configuration version, with its stage and the reports of nodes about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionRecord {
    pub id: VersionId,
    pub from: MemberId,
    pub proposal: Arc<Proposal>,
    pub stage: RolloutStage,
    pub reports: BTreeMap<MemberId, NodeReport>,
    #[serde(default)]
    pub found: BTreeMap<MemberId, CheckFindings>,
    /// Reason why the version was refused or rolled back; empty otherwise.
    pub words: String,
    /// Number of applied commands when the version was proposed.
    pub proposed_at: u64,
    /// Number of applied commands when the version was accepted, refused or rolled back.
    pub decided_at: Option<u64>,
    /// Time of the decision, seconds since 1970 by the leader's clock.
    pub decided_time_s: Option<i64>,
}

impl VersionRecord {
    pub fn parent(&self) -> Option<VersionId> {
        self.proposal.parent
    }

    pub fn last_report_of(&self, node: MemberId) -> Option<Reported> {
        self.reports.get(&node).map(|said| said.outcome)
    }

    /// Returns whether some node found that all nodes must switch to the version at once.
    pub fn goes_together(&self) -> bool {
        self.found.values().any(|found| found.together)
    }

    pub fn against(&self) -> impl Iterator<Item = (MemberId, &NodeReport)> {
        self.reports
            .iter()
            .filter(|(_, said)| is_against(said.outcome))
            .map(|(node, said)| (*node, said))
    }

    fn weight(&self) -> usize {
        let words: usize = self.reports.values().map(|said| said.words.len()).sum();
        weight(&self.proposal)
            .saturating_add(words)
            .saturating_add(self.words.len())
    }

    /// Returns whether every node that must serve the version, and is still a member, reported that
    /// it serves the version, or that it found no problem if the version is judged. False without
    /// such nodes.
    fn all_did(&self, state: &ClusterState, nodes: &BTreeSet<MemberId>) -> bool {
        let wanted = if self.proposal.judging.judge_ms == 0 {
            rank(Reported::Serves)
        } else {
            rank(Reported::Good)
        };
        let mut there = nodes
            .iter()
            .filter(|node| state.members.contains_key(node))
            .peekable();
        there.peek().is_some()
            && there.all(|node| self.last_report_of(*node).map_or(0, rank) >= wanted)
    }
}

pub(crate) fn is_against(outcome: Reported) -> bool {
    match outcome {
        Reported::Refused | Reported::Worse | Reported::WentBack => true,
        Reported::Checked | Reported::Serves | Reported::Good => false,
    }
}

/// Returns the rank of a node's progress with a version. Outcomes that stop the rollout
/// rank highest.
fn rank(outcome: Reported) -> u8 {
    match outcome {
        Reported::Checked => 1,
        Reported::Serves => 2,
        Reported::Good => 3,
        Reported::Refused | Reported::Worse | Reported::WentBack => 4,
    }
}

fn weight(proposal: &Proposal) -> usize {
    let files = proposal
        .files
        .iter()
        .map(|file| file.path.len() + ENTRY_BYTES * (1 + file.content.chunks.len()));
    let listed = proposal.listings.iter().map(|(directory, names)| {
        let names: usize = names.iter().map(|name| name.len() + ENTRY_BYTES / 2).sum();
        directory.len() + ENTRY_BYTES + names
    });
    files.chain(listed).fold(
        proposal.message.len() + proposal.author.len(),
        |sum, one| sum.saturating_add(one),
    )
}

impl ClusterState {
    pub(super) fn propose(
        &mut self,
        command: &ClusterCommand,
        proposal: &Proposal,
    ) -> Result<CommandResult, CommandRefusal> {
        if let Some(busy) = self.on_its_way() {
            return Err(CommandRefusal::Busy {
                version: busy.id,
                author: busy.proposal.author.clone(),
            });
        }
        if proposal.parent != self.accepted {
            return Err(CommandRefusal::Stale {
                accepted: self.accepted,
            });
        }
        within_bounds(proposal)?;
        self.refers_to_what_there_is(proposal)?;
        let id = VersionId(self.last_version.0.saturating_add(1));
        let record = VersionRecord {
            id,
            from: command.from,
            proposal: Arc::new(proposal.clone()),
            stage: RolloutStage::Checking,
            reports: BTreeMap::new(),
            found: BTreeMap::new(),
            words: String::new(),
            proposed_at: self.applied,
            decided_at: None,
            decided_time_s: None,
        };
        self.last_version = id;
        self.versions.insert(id, Arc::new(record));
        self.hold_chunks(command.from, proposal);
        let message = truncated(&proposal.message, EVENT_REASON_BYTES_MAX);
        self.push_event(
            command,
            format!("{} proposed version {id}: {message}", proposal.author),
        );
        self.trim_history();
        Ok(CommandResult::Version(id))
    }

    /// Checks that the chunks, keys and older version that a proposal names exist.
    fn refers_to_what_there_is(&self, proposal: &Proposal) -> Result<(), CommandRefusal> {
        if let VersionOrigin::RolledBack { to } = &proposal.origin
            && !self.versions.contains_key(to)
        {
            return Err(CommandRefusal::NoVersion);
        }
        for file in &proposal.files {
            if !self.rings.contains_key(&file.content.epoch) {
                return Err(CommandRefusal::OldEpoch);
            }
            if let Some(chunk) = file
                .content
                .chunks
                .iter()
                .find(|digest| !self.chunks.has(digest))
            {
                return Err(CommandRefusal::Incomplete { chunk: *chunk });
            }
        }
        Ok(())
    }

    pub(super) fn report(
        &mut self,
        command: &ClusterCommand,
        report: &RolloutReport,
    ) -> Result<CommandResult, CommandRefusal> {
        let node = self
            .members
            .get(&report.node)
            .ok_or(CommandRefusal::NoMember)?;
        if command.from != report.node || node.kind != MemberKind::Node {
            return Err(CommandRefusal::Unfit);
        }
        let name = node.name.clone();
        let now_accepted = self.accepted == Some(report.version);
        let record = self
            .versions
            .get_mut(&report.version)
            .filter(|record| now_accepted || record.stage.on_its_way())
            .ok_or(CommandRefusal::NoVersion)?;
        let before = record.last_report_of(report.node).map_or(0, rank);
        // Ignores a report that does not rank higher than the node's last one while the version is
        // in progress. Afterwards the last report applies.
        if record.stage.on_its_way() && before >= rank(report.outcome) {
            return Ok(CommandResult::Done);
        }
        let words = truncated(&report.words, WORDS_BYTES_MAX);
        let said = NodeReport {
            outcome: report.outcome,
            words: words.to_owned(),
        };
        let record = Arc::make_mut(record);
        record.reports.insert(report.node, said);
        // Stores findings only in the checking stage, because they decide the next step.
        if record.stage == RolloutStage::Checking {
            record.found.insert(report.node, report.found);
        }
        if is_against(report.outcome) {
            let what = against_in_words(report.outcome);
            let words = truncated(words, EVENT_REASON_BYTES_MAX);
            let words = format!("{name} {what} version {}: {words}", report.version);
            self.push_event(command, words);
        }
        Ok(CommandResult::Done)
    }

    pub(super) fn decide(
        &mut self,
        command: &ClusterCommand,
        decision: &Decision,
    ) -> Result<CommandResult, CommandRefusal> {
        let record = self
            .on_its_way()
            .filter(|record| record.id == decision.version)
            .ok_or(CommandRefusal::NoVersion)?;
        let mut next = record.clone();
        match &decision.step {
            RolloutStep::Canary { node } => next.stage = self.canary_stage(record, *node)?,
            RolloutStep::Rest { nodes } => {
                next.stage = self.rest_stage(record, nodes)?;
                // Resets good reports if there are nodes other than the canary, because each stage
                // is judged separately.
                for said in next.reports.values_mut() {
                    if said.outcome == Reported::Good && nodes.len() > 1 {
                        said.outcome = Reported::Serves;
                    }
                }
            }
            RolloutStep::AwaitConfirmation => next.stage = self.confirmation_stage(record)?,
            RolloutStep::Remaining { ms } => match &mut next.stage {
                RolloutStage::AwaitConfirmation { remaining_ms, .. } => {
                    *remaining_ms = (*remaining_ms).min(*ms);
                }
                _ => return Err(CommandRefusal::Untimely),
            },
            RolloutStep::Accept => {
                self.may_be_accepted(record)?;
                next.stage = RolloutStage::Accepted;
            }
            RolloutStep::TakeBack { words } => {
                next.words = truncated(words, WORDS_BYTES_MAX).to_owned();
                next.stage = match record.stage {
                    RolloutStage::Checking => RolloutStage::Refused,
                    _ => RolloutStage::TakenBack,
                };
            }
        }
        self.put_decided(command, next);
        Ok(CommandResult::Version(decision.version))
    }

    fn put_decided(&mut self, command: &ClusterCommand, mut next: VersionRecord) {
        let id = next.id;
        if !next.stage.on_its_way() {
            next.decided_at = Some(self.applied);
            next.decided_time_s = Some(command.time_s);
            let why = truncated(&next.words, EVENT_REASON_BYTES_MAX);
            let words = match next.stage {
                RolloutStage::Accepted => format!("version {id} is accepted"),
                _ => format!("version {id} is {}: {why}", next.stage),
            };
            self.push_event(command, words);
        }
        if next.stage == RolloutStage::Accepted {
            self.accepted = Some(id);
        }
        let decided = next.decided_at.is_some();
        self.versions.insert(id, Arc::new(next));
        if decided {
            self.trim_history();
        }
    }

    fn canary_stage(
        &self,
        record: &VersionRecord,
        node: MemberId,
    ) -> Result<RolloutStage, CommandRefusal> {
        let fits = record.stage == RolloutStage::Checking
            && self.members.contains_key(&node)
            && record.last_report_of(node) == Some(Reported::Checked)
            && record.against().next().is_none();
        if fits {
            Ok(RolloutStage::Canary { node })
        } else {
            Err(CommandRefusal::Untimely)
        }
    }

    fn rest_stage(
        &self,
        record: &VersionRecord,
        nodes: &[MemberId],
    ) -> Result<RolloutStage, CommandRefusal> {
        let nodes: BTreeSet<MemberId> = nodes.iter().copied().collect();
        let judging = &record.proposal.judging;
        let from_here = match &record.stage {
            RolloutStage::Checking => judging.judge_ms == 0 || record.goes_together(),
            RolloutStage::Canary { node } => {
                nodes.contains(node) && record.last_report_of(*node) == Some(Reported::Good)
            }
            _ => false,
        };
        let each_could = nodes
            .iter()
            .all(|node| self.members.contains_key(node) && record.last_report_of(*node).is_some());
        if from_here && each_could && !nodes.is_empty() && record.against().next().is_none() {
            Ok(RolloutStage::Rest { nodes })
        } else {
            Err(CommandRefusal::Untimely)
        }
    }

    fn confirmation_stage(&self, record: &VersionRecord) -> Result<RolloutStage, CommandRefusal> {
        match (&record.stage, record.proposal.judging.confirm_within_ms) {
            (RolloutStage::Rest { nodes }, Some(remaining_ms))
                if record.against().next().is_none() && record.all_did(self, nodes) =>
            {
                Ok(RolloutStage::AwaitConfirmation {
                    nodes: nodes.clone(),
                    remaining_ms,
                })
            }
            _ => Err(CommandRefusal::Untimely),
        }
    }

    fn may_be_accepted(&self, record: &VersionRecord) -> Result<(), CommandRefusal> {
        let confirm = record.proposal.judging.confirm_within_ms.is_some();
        let all_did = match &record.stage {
            RolloutStage::Rest { nodes } => !confirm && record.all_did(self, nodes),
            RolloutStage::AwaitConfirmation { nodes, .. } => record.all_did(self, nodes),
            _ => false,
        };
        if all_did && record.against().next().is_none() {
            Ok(())
        } else {
            Err(CommandRefusal::Untimely)
        }
    }

    /// Returns the newest accepted version of each of the repositories that were followed
    /// last.
    fn followed_last(&self) -> BTreeMap<&str, VersionId> {
        let mut newest = BTreeMap::new();
        for record in self.versions.values().rev() {
            if newest.len() == FOLLOWED_KEPT_MAX {
                break;
            }
            if let (RolloutStage::Accepted, VersionOrigin::Followed { repository, .. }) =
                (&record.stage, &record.proposal.origin)
            {
                newest.entry(repository.as_str()).or_insert(record.id);
            }
        }
        newest
    }

    /// Drops the oldest versions until the rest is within the limits. Keeps the accepted version,
    /// its parent, the one in progress, and the versions from which followed repositories continue.
    pub(super) fn trim_history(&mut self) {
        let parent = self.accepted().and_then(VersionRecord::parent);
        let on_its_way = self.on_its_way().map(|record| record.id);
        let stay = [self.accepted, parent, on_its_way];
        let followed: BTreeSet<VersionId> = self.followed_last().into_values().collect();
        let mut candidates: Vec<VersionId> = self
            .versions
            .keys()
            .filter(|id| !stay.contains(&Some(**id)) && !followed.contains(*id))
            .rev()
            .copied()
            .collect();
        let mut metadata: usize = self.versions.values().map(|record| record.weight()).sum();
        while self.over_limits(metadata)
            && let Some(oldest) = candidates.pop()
            && let Some(record) = self.versions.remove(&oldest)
        {
            metadata = metadata.saturating_sub(record.weight());
            let gone = Arc::make_mut(&mut self.chunks).let_go(&record.proposal.files);
            self.dropped.add(gone);
        }
        self.drop_rings_of_no_use();
    }

    fn over_limits(&self, metadata: usize) -> bool {
        let versions_max = self.limits.versions.clamp(1, VERSIONS_MAX) as usize;
        self.versions.len() > versions_max
            || metadata > METADATA_BYTES_MAX
            || self.chunks.used_bytes() > self.limits.content_bytes
            || self.chunks.used() > super::CHUNKS_MAX
    }
}

/// Describes the outcome of a report as the verb of a sentence.
pub(crate) fn against_in_words(outcome: Reported) -> &'static str {
    match outcome {
        Reported::Refused => "cannot serve",
        Reported::Worse => "has problems with",
        Reported::WentBack => "rolled itself back from",
        Reported::Checked => "can serve",
        Reported::Serves => "serves",
        Reported::Good => "reports no problem with",
    }
}

fn within_bounds(proposal: &Proposal) -> Result<(), CommandRefusal> {
    let within = |what: &str, is: u64, max: u64| {
        if is <= max {
            return Ok(());
        }
        Err(CommandRefusal::TooMany {
            what: what.to_owned(),
            max,
        })
    };
    let longest_path = proposal.files.iter().map(|file| file.path.len()).max();
    let content: u64 = proposal
        .files
        .iter()
        .fold(0, |sum, file| file.content.bytes.saturating_add(sum));
    let listed: usize = proposal.listings.iter().map(|(_, names)| names.len()).sum();
    let confirm_ms = proposal.judging.confirm_within_ms.unwrap_or(0);
    let message = proposal.message.len().max(proposal.author.len());
    within("files", proposal.files.len() as u64, FILES_MAX as u64)?;
    within(
        "bytes of a path",
        longest_path.unwrap_or(0) as u64,
        PATH_BYTES_MAX as u64,
    )?;
    within("bytes of all files", content, SET_BYTES_MAX)?;
    within("listed names", listed as u64, LISTED_NAMES_MAX as u64)?;
    within(
        "bytes of a message",
        message as u64,
        MESSAGE_BYTES_MAX as u64,
    )?;
    within(
        "milliseconds of judgement",
        proposal.judging.judge_ms,
        JUDGING_MS_MAX,
    )?;
    within("milliseconds to confirm", confirm_ms, JUDGING_MS_MAX)?;
    within(
        "bytes of file names",
        weight(proposal) as u64,
        PROPOSAL_BYTES_MAX as u64,
    )
}

#[cfg(test)]
mod tests;
