//! Proposes a change from an operator's files, and reports it line by line until the outcome. Every
//! node accepts such a request, and continues if the leader changes meanwhile.

use crate::command::{
    CommandBody, CommandRefusal, CommandResult, Judging, Proposal, Reported, VersionId,
    VersionOrigin,
};
use crate::file_set::FileSet;
use crate::machine::ServingMachine;
use crate::member::{Digest, MemberId};
use crate::raft::ProposeError;
use crate::request::{Apply, ControlReply};
use crate::role::contents;
use crate::role::shared::{RoleState, moved};
use crate::role::socket::Replies;
use crate::state::{RolloutStage, VersionRecord};
use crate::wire::ConnectionFactory;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

const PIECES_AT_ONCE: usize = 4;
/// Largest number of times that chunks are sent again because other members dropped
/// them.
const SENDS_MAX: usize = 3;
const LOOK: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);
/// After this time without a majority, the outcome of a version is reported as unknown.
const FROZEN_FOR: Duration = Duration::from_secs(30);

/// Reason why a change was not applied.
#[derive(Debug)]
pub(super) enum NotApplied {
    Refused(CommandRefusal),
    Propose(ProposeError),
    Contents(contents::ContentError),
    Arbiter,
    NoVersion(VersionId),
    Strange,
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotApplied::Refused(CommandRefusal::Busy { version, author }) => write!(
                f,
                "nothing was changed: version {version} of {author} is in progress; look at `evenkeel config log` \
                 when it is decided, then apply again if necessary"
            ),
            NotApplied::Refused(CommandRefusal::Stale { accepted }) => match accepted {
                Some(version) => write!(
                    f,
                    "nothing was changed: version {version} was accepted meanwhile; `evenkeel config diff` shows it, \
                     `evenkeel config edit` starts from it"
                ),
                None => f.write_str(
                    "nothing was changed: no version is accepted, but yours is based on one",
                ),
            },
            NotApplied::Refused(refusal) => write!(f, "nothing was changed: {refusal}"),
            NotApplied::Propose(error @ (ProposeError::Unknown | ProposeError::Stopped(_))) => {
                write!(f, "it is not known whether the change was made: {error}")
            }
            NotApplied::Propose(error) => write!(f, "nothing was changed: {error}"),
            NotApplied::Contents(error) => write!(f, "nothing was changed: {error}"),
            NotApplied::Arbiter => f.write_str(
                "this is an arbiter, which cannot decrypt the configuration: run this on a node",
            ),
            NotApplied::NoVersion(version) => {
                write!(
                    f,
                    "version {version} does not exist; `evenkeel config log` lists the versions"
                )
            }
            NotApplied::Strange => f.write_str("unexpected reply of the cluster"),
        }
    }
}

impl From<contents::ContentError> for NotApplied {
    fn from(error: contents::ContentError) -> Self {
        NotApplied::Contents(error)
    }
}

impl From<ProposeError> for NotApplied {
    fn from(error: ProposeError) -> Self {
        NotApplied::Propose(error)
    }
}

pub(super) enum VersionOutcome {
    Accepted,
    /// The version was refused: no node ever served it, or the cluster never accepted it.
    Refused(String),
    TakenBack(String),
    /// The version serves everywhere and waits for confirmation.
    Waits(u64),
    /// The outcome is unknown because there is no majority.
    Frozen,
}

impl<M: ServingMachine, N: ConnectionFactory> RoleState<M, N> {
    pub(super) async fn propose_files(
        &self,
        apply: &Apply,
        told: impl Fn(String),
    ) -> Result<VersionId, NotApplied> {
        if !self.keys.can_open() {
            return Err(NotApplied::Arbiter);
        }
        let state = self.engine.state();
        let taken = self.keys.decrypt_content_keys(&state);
        taken.map_err(contents::ContentError::from)?;
        let parent = apply.parent.and_then(|parent| state.version(parent));
        let prepared = self.keys.prepare(&self.engine, parent, &apply.set).await?;
        told(files_in_words(apply.set.files.len(), prepared.unchanged));
        let proposal = Proposal {
            parent: apply.parent,
            author: apply.author.clone(),
            message: apply.message.clone(),
            time_s: apply.time_s,
            origin: apply.origin.clone(),
            files: prepared.files,
            listings: apply.set.listings.clone(),
            judging: apply.judging.clone(),
        };
        self.propose_proposal(proposal, &prepared.chunks).await
    }

    /// Proposes the files of an older version once more, based on the accepted version.
    pub(super) async fn propose_again(
        &self,
        version: VersionId,
        author: String,
        message: String,
        judging: Judging,
    ) -> Result<VersionId, NotApplied> {
        let state = self.engine.state();
        let Some(record) = state.version(version) else {
            return Err(NotApplied::NoVersion(version));
        };
        let proposal = Proposal {
            parent: state.accepted,
            author,
            message,
            time_s: self.clock.unix_s(),
            origin: VersionOrigin::RolledBack { to: version },
            judging,
            ..(*record.proposal).clone()
        };
        self.propose_proposal(proposal, &[]).await
    }

    async fn propose_proposal(
        &self,
        proposal: Proposal,
        chunks: &[(Digest, Vec<u8>)],
    ) -> Result<VersionId, NotApplied> {
        for _ in 0..SENDS_MAX {
            self.send(&proposal, chunks).await?;
            let body = CommandBody::Propose(Box::new(proposal.clone()));
            match self.engine.propose(body).await {
                Ok(CommandResult::Version(version)) => return Ok(version),
                Ok(CommandResult::Refused(CommandRefusal::Incomplete { .. })) => {}
                Ok(CommandResult::Refused(refusal)) => return Err(NotApplied::Refused(refusal)),
                Ok(_) => return Err(NotApplied::Strange),
                // Looks for the version, which may have been committed before the leader was lost.
                Err(ProposeError::Unknown) => {
                    if let Some(version) = self.find(&proposal).await {
                        return Ok(version);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(NotApplied::Propose(ProposeError::Unknown))
    }

    async fn find(&self, proposal: &Proposal) -> Option<VersionId> {
        self.engine.confirm().await.ok()?;
        let state = self.engine.state();
        let mut latest = state.versions.values().rev();
        let same = |record: &&std::sync::Arc<VersionRecord>| {
            record.from == self.me() && *record.proposal == *proposal
        };
        latest.find(same).map(|record| record.id)
    }

    async fn send(
        &self,
        proposal: &Proposal,
        chunks: &[(Digest, Vec<u8>)],
    ) -> Result<(), NotApplied> {
        let missing = self.engine.state().missing(&proposal.files);
        let mut lacking = Vec::new();
        for chunk in chunks {
            if missing.contains(&chunk.0) {
                lacking.push(chunk);
            }
        }
        for some in lacking.chunks(PIECES_AT_ONCE) {
            let mut sent = Vec::new();
            for (digest, bytes) in some {
                let (digest, bytes) = (*digest, bytes.clone());
                sent.push(self.engine.propose(CommandBody::Chunk { digest, bytes }));
            }
            for answer in futures_util::future::join_all(sent).await {
                match answer {
                    Ok(CommandResult::Refused(refusal)) => {
                        return Err(NotApplied::Refused(refusal));
                    }
                    // Ignores an unknown result: chunks that are missing are sent again.
                    Ok(_) | Err(ProposeError::Unknown) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    pub(super) async fn watch(&self, version: VersionId, told: impl Fn(String)) -> VersionOutcome {
        let mut changes = self.engine.changes();
        let mut shown = ReportedProgress::default();
        let mut line_at = Instant::now();
        let mut heard_at = Instant::now();
        loop {
            let state = self.engine.state();
            if let Some(record) = state.version(version) {
                let lines = shown.lines(record, |id| state.name_of(id));
                if !lines.is_empty() {
                    line_at = Instant::now();
                }
                lines.into_iter().for_each(&told);
                match &record.stage {
                    RolloutStage::Accepted => return VersionOutcome::Accepted,
                    RolloutStage::Refused => return VersionOutcome::Refused(record.words.clone()),
                    RolloutStage::TakenBack => {
                        return VersionOutcome::TakenBack(record.words.clone());
                    }
                    RolloutStage::AwaitConfirmation { remaining_ms, .. } => {
                        return VersionOutcome::Waits(*remaining_ms);
                    }
                    _ => {}
                }
            }
            if self.has_majority() {
                heard_at = Instant::now();
            } else if heard_at.elapsed() > FROZEN_FOR {
                return VersionOutcome::Frozen;
            }
            if line_at.elapsed() > LINE_EVERY {
                line_at = Instant::now();
                told(if self.has_majority() {
                    format!("version {version} is still in progress")
                } else {
                    "no majority of the members is reachable; waiting for one".to_owned()
                });
            }
            tokio::select! {
                () = moved(&mut changes) => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    pub(super) async fn conclude(
        &self,
        proposed: Result<VersionId, NotApplied>,
        replies: &Replies,
    ) {
        let version = match proposed {
            Ok(version) => version,
            Err(error) => {
                return replies.end(not_applied(&error)).await;
            }
        };
        let outcome = self.watch(version, |words| replies.progress(words)).await;
        replies.end(in_words(version, outcome)).await;
    }
}

/// Returns the reply for a change that was not applied. Without a result the command may have been
/// committed nevertheless, and the reply is [`ControlReply::Unknown`].
pub(super) fn not_applied(error: &NotApplied) -> ControlReply {
    let words = error.to_string();
    match error {
        NotApplied::Propose(ProposeError::Unknown | ProposeError::Stopped(_)) => {
            ControlReply::Unknown { words }
        }
        _ => ControlReply::Refused { words },
    }
}

fn files_in_words(files: usize, unchanged: usize) -> String {
    match unchanged {
        0 if files == 1 => "1 file".to_owned(),
        0 => format!("{files} files"),
        _ => format!("{files} files, {unchanged} of them unchanged"),
    }
}

fn in_words(version: VersionId, outcome: VersionOutcome) -> ControlReply {
    let done = |words| ControlReply::Done {
        words,
        version: Some(version),
    };
    match outcome {
        VersionOutcome::Accepted => done(format!("version {version} is accepted")),
        VersionOutcome::Waits(ms) => done(format!(
            "all nodes serve version {version}; it is rolled back in {} s unless you run `evenkeel config confirm`",
            ms.div_ceil(1000)
        )),
        VersionOutcome::Refused(words) => ControlReply::Refused {
            words: format!("version {version} was refused, no node serves it:\n{words}"),
        },
        VersionOutcome::TakenBack(words) => ControlReply::Refused {
            words: format!("version {version} is rolled back:\n{words}"),
        },
        VersionOutcome::Frozen => ControlReply::Unknown {
            words: format!(
                "the outcome of version {version} is not known here: no majority of the members is reachable. It is \
                 decided when one is; until then a candidate version rolls back by itself. `evenkeel cluster status` \
                 shows who is away"
            ),
        },
    }
}

#[derive(Default)]
struct ReportedProgress {
    stage: Option<&'static str>,
    said: BTreeMap<MemberId, Reported>,
    /// Lines of reports about a version that nodes can serve. The other nodes usually report the
    /// same warnings.
    lines: BTreeSet<String>,
}

impl ReportedProgress {
    fn lines(&mut self, record: &VersionRecord, name: impl Fn(MemberId) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        for (node, said) in &record.reports {
            let before = self.said.insert(*node, said.outcome);
            // Each stage is judged separately: a repeated report is not progress.
            let judged_anew = before == Some(Reported::Good) && said.outcome == Reported::Serves;
            if before == Some(said.outcome) || judged_anew {
                continue;
            }
            let what = crate::state::against_in_words(said.outcome);
            let mut line = format!("{} {what} version {}", name(*node), record.id);
            let words = match said.outcome {
                Reported::Refused | Reported::Worse | Reported::WentBack => said.words.clone(),
                Reported::Checked | Reported::Serves | Reported::Good => {
                    self.new_lines(&said.words)
                }
            };
            if !words.is_empty() {
                line.push_str(":\n");
                line.push_str(words.trim_end());
            } else if !said.words.is_empty() {
                line.push_str(", with the same warnings");
            }
            lines.push(line);
        }
        let stage = record.stage.name();
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            let who = match &record.stage {
                RolloutStage::Canary { node } => format!(" ({})", name(*node)),
                _ => String::new(),
            };
            if record.stage.on_its_way() {
                lines.push(format!("version {}: {stage}{who}", record.id));
            }
        }
        lines
    }

    /// Returns the lines that no node has reported yet.
    fn new_lines(&mut self, words: &str) -> String {
        let is_new = |line: &&str| self.lines.insert((*line).to_owned());
        let new: Vec<&str> = words.trim_end().lines().filter(is_new).collect();
        new.join("\n")
    }
}

impl<M: ServingMachine, N: ConnectionFactory> RoleState<M, N> {
    pub(super) async fn files_of(&self, version: Option<VersionId>) -> Result<FileSet, String> {
        if !self.keys.can_open() {
            return Err(NotApplied::Arbiter.to_string());
        }
        let state = self.engine.state();
        let Some(version) = version.or(state.accepted) else {
            return Err("no version is accepted yet".to_owned());
        };
        let Some(record) = state.version(version) else {
            return Err(NotApplied::NoVersion(version).to_string());
        };
        let taken = self.keys.decrypt_content_keys(&state);
        taken.map_err(|error| error.to_string())?;
        let opened = self
            .keys
            .file_set(&self.engine, record, &self.who.name)
            .await;
        opened.map_err(|error| format!("the files of version {version}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NodeReport;
    use std::sync::Arc;

    const VERSION: VersionId = VersionId(2);

    fn record(reports: &[(u64, Reported, &str)]) -> VersionRecord {
        let report = |(node, outcome, words): &(u64, Reported, &str)| {
            let words = (*words).to_owned();
            let outcome = *outcome;
            (MemberId(*node), NodeReport { outcome, words })
        };
        VersionRecord {
            id: VERSION,
            from: MemberId(1),
            proposal: Arc::new(Proposal {
                parent: None,
                author: "anna".to_owned(),
                message: String::new(),
                time_s: 0,
                origin: VersionOrigin::Applied,
                files: Vec::new(),
                listings: Vec::new(),
                judging: Judging {
                    judge_ms: 0,
                    confirm_within_ms: None,
                },
            }),
            stage: RolloutStage::Checking,
            reports: reports.iter().map(report).collect(),
            found: BTreeMap::new(),
            words: String::new(),
            proposed_at: 1,
            decided_at: None,
            decided_time_s: None,
        }
    }

    #[test]
    fn warning_of_several_nodes_is_reported_once() {
        const COMMON: &str = "a.cfg:2:5: warning[W0984]: the certificate is not valid for 'x'\n";
        const OTHER: &str = "a.cfg:9:5: warning[W0001]: another one\n";
        let both = format!("{COMMON}{OTHER}");
        let mut progress = ReportedProgress::default();
        let mut lines = |reports: &[(u64, Reported, &str)]| {
            let lines = progress.lines(&record(reports), |id| format!("node{}", id.0));
            lines.join("\n")
        };
        let shown = lines(&[
            (1, Reported::Checked, COMMON),
            (2, Reported::Checked, &both),
            (3, Reported::Checked, COMMON),
            (4, Reported::Checked, ""),
        ]);
        assert_eq!(shown.matches("W0984").count(), 1, "{shown}");
        assert_eq!(shown.matches("W0001").count(), 1, "{shown}");
        for line in [
            "node3 can serve version 2, with the same warnings\n",
            "node4 can serve version 2\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        let shown = lines(&[(1, Reported::Serves, COMMON)]);
        assert_eq!(shown, "node1 serves version 2, with the same warnings");
        // A reason against the version is complete.
        let shown = lines(&[(2, Reported::Refused, COMMON)]);
        assert!(shown.contains("W0984"), "{shown}");
    }

    #[test]
    fn unknown_outcome_is_reported_as_unknown() {
        let unknown = |reply| matches!(reply, ControlReply::Unknown { .. });
        assert!(unknown(in_words(VERSION, VersionOutcome::Frozen)));
        let asked = |error| not_applied(&NotApplied::Propose(error));
        assert!(unknown(asked(ProposeError::Unknown)));
        for error in [ProposeError::NoLeader, ProposeError::Busy] {
            let reply = asked(error);
            assert!(
                matches!(&reply, ControlReply::Refused { words } if words.contains("nothing was changed"))
            );
        }
        let words = |outcome| match in_words(VERSION, outcome) {
            ControlReply::Refused { words } => words,
            other => panic!("{other:?}"),
        };
        let refused = words(VersionOutcome::Refused("no such file".to_owned()));
        assert!(refused.contains("was refused") && !refused.contains("rolled back"));
        let back = words(VersionOutcome::TakenBack("errors".to_owned()));
        assert!(back.contains("rolled back") && !back.contains("refused"));
    }
}
