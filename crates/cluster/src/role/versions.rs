//! Serves configuration versions without their secrets to another role of this machine, and applies
//! the changes that it requests ([`part::versions`]). Long operations run on a thread with ordinary
//! priority.

use crate::background::Background;
use crate::command::{CommandBody, Judging, VersionId, VersionOrigin};
use crate::file_set::{FileSet, SetFile};
use crate::history::{
    Blame, FileChange, FileDifference, FileMask, Mask, MaskedFile, Redaction, between, has_words,
    uncovered, without_source,
};
use crate::keyword::{ConfigSection, Grammar};
use crate::machine::ServingMachine;
use crate::member::MemberId;
use crate::request::{Apply, ControlReply};
use crate::role::apply::{NotApplied, not_applied};
use crate::role::gather;
use crate::role::shared::{RoleState, millis, moved};
use crate::state::{ClusterState, NodeReport, RolloutStage, VersionRecord, against_in_words};
use crate::wire::ConnectionFactory;
use language::difference::without_credentials;
use part::codec;
use part::lock;
use part::report::span;
use part::versions::{
    self, ANSWER_BYTES_MAX, BlameLine, ChangeDescription, ConfigurationVersion, Difference, Edit,
    Finding, Findings, Happened, QUESTION_BYTES_MAX, VersionFiles, Versions, VersionsRequest,
    VersionsResponse,
};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Largest number of requests that are handled at once; others wait.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
const EVENTS_MAX: usize = 100;
/// Longest wait for the effect of a committed change on this member.
const SHOWS_LIMIT: Duration = Duration::from_secs(2);
const VERSIONS_MAX: usize = 200;
const BLAME_MAX: usize = 100;
const WORDS_BYTES_MAX: usize = 2 << 10;
const REVISION_DIGITS: usize = 12;

/// Functions that find the settings and the secrets in the texts of a configuration version, by the
/// keywords of all crates.
#[derive(Clone, Copy, Debug)]
pub struct Texts {
    pub grammar: fn(&FileSet) -> Grammar,
    /// Returns the mask for the secrets in the texts.
    pub mask: fn() -> Mask<'static>,
}

pub(super) struct Answering<M: ServingMachine, N: ConnectionFactory> {
    shared: Arc<RoleState<M, N>>,
    texts: Texts,
    places: Semaphore,
    background: Background,
    /// Secrets of the accepted version, and of versions whose reports were requested.
    secrets: Mutex<BTreeMap<VersionId, Arc<Redaction>>>,
}

impl<M: ServingMachine, N: ConnectionFactory> Answering<M, N> {
    pub(super) fn new(shared: Arc<RoleState<M, N>>, texts: Texts) -> Answering<M, N> {
        Answering {
            shared,
            texts,
            places: Semaphore::new(AT_ONCE),
            background: Background::default(),
            secrets: Mutex::default(),
        }
    }

    /// Serves a connection: one request, one response.
    pub(super) async fn serve(self: Arc<Self>, connection: OwnedFd) {
        // Requests above the limit wait for their turn; a client that has gone is detected
        // below.
        let Ok(_place) = self.places.acquire().await else {
            return;
        };
        let stream = StdStream::from(connection);
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream));
        let Ok(mut stream) = stream else {
            return;
        };
        let Ok(Some(question)) = timeout(PATIENCE, read(&mut stream)).await else {
            return;
        };
        let answer = self.answer(question).await;
        let too_long = || {
            let words = "the response exceeds the size limit".to_owned();
            versions::framed(&VersionsResponse::Refused { words }, ANSWER_BYTES_MAX)
        };
        let bytes = versions::framed(&answer, ANSWER_BYTES_MAX).or_else(too_long);
        // Ignores an error: a client that has gone needs no response.
        let _ = timeout(
            PATIENCE,
            stream.write_all(bytes.as_deref().unwrap_or_default()),
        )
        .await;
    }

    async fn answer(&self, question: VersionsRequest) -> VersionsResponse {
        let answer = match question {
            VersionsRequest::Versions { max } => {
                let max = usize::try_from(max).unwrap_or(VERSIONS_MAX);
                Ok(VersionsResponse::Versions(
                    self.versions(max.min(VERSIONS_MAX)).await,
                ))
            }
            VersionsRequest::Files { version } => self.files(version.map(VersionId)).await,
            VersionsRequest::Differences { from, to } => {
                self.differences(from.map(VersionId), VersionId(to)).await
            }
            VersionsRequest::Blame { version, path } => self.blame(VersionId(version), path).await,
            VersionsRequest::Check(edit) => self.check(&edit).await,
            VersionsRequest::Apply { edit, change } => self.apply(&edit, change).await,
            VersionsRequest::RollBack { to, change } => self.roll_back(VersionId(to), change).await,
            VersionsRequest::Confirm { version, by } => self.confirm(VersionId(version), &by).await,
            VersionsRequest::Cancel { version, by } => self.cancel(VersionId(version), &by).await,
        };
        answer.unwrap_or_else(|words| VersionsResponse::Refused { words })
    }

    async fn versions(&self, max: usize) -> Versions {
        let state = self.shared.engine.state();
        let speaks = |record: &VersionRecord| {
            let said = record.reports.values().any(|said| !said.words.is_empty());
            said || !record.words.is_empty() || state.accepted == Some(record.id)
        };
        let listed = state.versions.values().rev().take(max);
        let speaking = listed
            .filter(|record| speaks(record))
            .map(|record| record.id);
        let redactions = self.redactions(speaking.collect()).await;
        let secrets = Redaction::all(redactions.values().map(|one| &**one));
        let redact = |words: &str| cut(&secrets.apply(words));
        // Replaces a text about a version whose secrets are unknown, because it may contain some.
        let redact_of = |record: &VersionRecord, words: &str| match redactions.get(&record.id) {
            Some(_) => redact(words),
            None => "`evenkeel config log` on a node shows why".to_owned(),
        };
        let status = gather::status(&self.shared);
        let newest = state.versions.values().rev().take(max);
        let name = |id| state.name_of(id);
        Versions {
            accepted: state.accepted.map(|version| version.0),
            serving: status.configuration.serving.map(|version| version.0),
            frozen: status.frozen,
            all: newest
                .map(|record| version(record, name, |words| redact_of(record, words)))
                .collect(),
            events: state
                .events()
                .rev()
                .take(EVENTS_MAX)
                .map(|event| Happened {
                    time_s: event.time_s,
                    from: name(event.from),
                    words: redact(&gather::one_line(&event.words)),
                })
                .collect(),
        }
    }

    /// Returns the secrets of these versions, which must not appear in texts about them.
    /// Versions whose files cannot be read are omitted.
    async fn redactions(&self, versions: Vec<VersionId>) -> BTreeMap<VersionId, Arc<Redaction>> {
        let mut all = BTreeMap::new();
        for version in &versions {
            let known = lock(&self.secrets).get(version).cloned();
            let redaction = match known {
                Some(known) => Some(known),
                None => self.redaction_of(*version).await,
            };
            all.extend(redaction.map(|redaction| (*version, redaction)));
        }
        lock(&self.secrets).clone_from(&all);
        all
    }

    async fn redaction_of(&self, version: VersionId) -> Option<Arc<Redaction>> {
        let set = self.shared.files_of(Some(version)).await.ok()?;
        let mask = self.texts.mask;
        let redaction = self.background.run(move || Redaction::of(&set, &mask()));
        redaction.await.ok().map(Arc::new)
    }

    async fn files(&self, version: Option<VersionId>) -> Result<VersionsResponse, String> {
        let set = self.shared.files_of(version).await?;
        let mask = self.texts.mask;
        let files = self.background.run(move || {
            let mask = mask().of(&set.files);
            let files = set.files.iter().map(|one| mask.shown(one));
            VersionFiles {
                version: set.version.0,
                files: files.collect(),
            }
        });
        files.await.map(VersionsResponse::Files)
    }

    async fn differences(
        &self,
        from: Option<VersionId>,
        to: VersionId,
    ) -> Result<VersionsResponse, String> {
        let old = match from {
            Some(from) => self.shared.files_of(Some(from)).await?,
            None => FileSet::default(),
        };
        let new = self.shared.files_of(Some(to)).await?;
        let mask = self.texts.mask;
        let all = self.background.run(move || between(&old, &new, &mask()));
        let all = all.await?.into_iter().map(difference);
        Ok(VersionsResponse::Differences(all.collect()))
    }

    /// Returns a file of a version, unless it is missing there or secret.
    async fn text_of(&self, version: VersionId, path: &str) -> Result<Option<Vec<u8>>, String> {
        let set = self.shared.files_of(Some(version)).await?;
        let (mask, path) = (self.texts.mask, path.to_owned());
        let text = self.background.run(move || {
            let file = set.files.iter().find(|file| file.path == path);
            file.filter(|file| !mask().of(&set.files).is_secret(file))
                .map(|file| file.bytes.clone())
        });
        text.await
    }

    async fn blame(&self, version: VersionId, path: String) -> Result<VersionsResponse, String> {
        let newest = self.text_of(version, &path).await?;
        let newest =
            newest.ok_or_else(|| format!("version {version} has no text file '{path}'"))?;
        let state = self.shared.engine.state();
        let mut olders = Vec::new();
        let mut oldest = state.version(version);
        while let Some(parent) = oldest.and_then(VersionRecord::parent) {
            if olders.len() >= BLAME_MAX || state.version(parent).is_none() {
                break;
            }
            olders.push((parent, self.text_of(parent, &path).await?));
            oldest = state.version(parent);
        }
        let has_parent = oldest.and_then(VersionRecord::parent).is_some();
        let lines = self.background.run(move || {
            let mut blame = Blame::new(version, &newest);
            for (version, text) in olders {
                if blame.is_open() {
                    blame.older(version, text.as_deref());
                }
            }
            blame.lines(has_parent)
        });
        let line = |line: crate::history::BlamedLine| {
            let record = state.version(line.version);
            BlameLine {
                version: line.version.0,
                or_older: line.or_older,
                author: record.map_or_else(String::new, |one| one.proposal.author.clone()),
                time_s: record.map_or(0, |one| one.proposal.time_s),
            }
        };
        Ok(VersionsResponse::Blame(
            lines.await?.into_iter().map(line).collect(),
        ))
    }

    /// Returns the files of the edited version with the new texts, in which covered secrets are
    /// restored. `Ok(Err)`: the lines whose secrets the edit must contain, because they cannot be
    /// restored.
    async fn edited(&self, edit: &Edit) -> Result<Result<FileSet, Vec<Finding>>, String> {
        let mut set = self.shared.files_of(Some(VersionId(edit.of))).await?;
        let (texts, mask) = (edit.texts.clone(), self.texts.mask);
        let restored = self.background.run(move || {
            let mut wrong = Vec::new();
            let of_files = mask().of(&set.files);
            for (path, text) in &texts {
                let file = set.files.iter_mut().find(|file| file.path == *path);
                let Some(file) = file.filter(|file| can_be_edited(file, &of_files)) else {
                    return Err(format!(
                        "'{path}' is not a text file of version {}",
                        set.version
                    ));
                };
                let restored = if has_words(file) {
                    uncovered(&file.bytes, text, of_files.vocabulary())
                } else {
                    Ok(text.replace("\r\n", "\n").into_bytes())
                };
                match restored {
                    Ok(bytes) => file.bytes = bytes,
                    Err(lines) => wrong.extend(lines.iter().map(|line| hidden(path, text, *line))),
                }
            }
            Ok(if wrong.is_empty() {
                Ok(set)
            } else {
                Err(wrong)
            })
        });
        restored.await?
    }

    async fn check(&self, edit: &Edit) -> Result<VersionsResponse, String> {
        let set = match self.edited(edit).await? {
            Ok(set) => set,
            Err(all) => {
                return Ok(VersionsResponse::Findings(Findings {
                    all,
                    ..Findings::default()
                }));
            }
        };
        let old = self.shared.files_of(Some(VersionId(edit.of))).await?;
        let set = Arc::new(set);
        let (new, mask) = (Arc::clone(&set), self.texts.mask);
        let work = move || {
            let secrets = Redaction::of(&new, &mask());
            (between(&old, &new, &mask()), secrets)
        };
        let (differences, secrets) = self.background.run(work).await?;
        let verdict = self.shared.machine.find(set).await;
        let mut findings: Findings = serde_json::from_str(&verdict.words).unwrap_or_else(|_| {
            let finding = Finding {
                severity: if verdict.good { "note" } else { "error" }.to_owned(),
                message: verdict.words.trim().to_owned(),
                ..Finding::default()
            };
            Findings {
                all: Some(finding)
                    .filter(|one| !one.message.is_empty())
                    .into_iter()
                    .collect(),
                ..Findings::default()
            }
        });
        for one in &mut findings.all {
            let help = one.help.iter_mut();
            let texts = [&mut one.message, &mut one.label].into_iter();
            for text in texts.chain(&mut one.notes).chain(help) {
                *text = secrets.apply(text);
            }
        }
        findings.good = verdict.good;
        findings.differences = differences.into_iter().map(difference).collect();
        Ok(VersionsResponse::Findings(findings))
    }

    async fn apply(
        &self,
        edit: &Edit,
        change: ChangeDescription,
    ) -> Result<VersionsResponse, String> {
        self.shared.needs_majority().await?;
        let set = match self.edited(edit).await? {
            Ok(set) => set,
            Err(all) => {
                let lines = all.iter().filter_map(|one| one.line).map(|l| l.to_string());
                let lines: Vec<String> = lines.collect();
                return Err(format!(
                    "nothing was changed: the secret in line {} is still masked; write the secret itself",
                    lines.join(", ")
                ));
            }
        };
        let before = self.shared.files_of(Some(VersionId(edit.of))).await?;
        if before.files == set.files {
            return Err("nothing was changed: the text is the same".to_owned());
        }
        let (set, judging) = self.judging(set, &change).await?;
        let apply = Apply {
            parent: Some(VersionId(edit.of)),
            author: change.by.clone(),
            message: change.message.clone(),
            time_s: self.shared.clock.unix_s(),
            origin: VersionOrigin::Applied,
            judging,
            set,
        };
        let proposed = self.shared.propose_files(&apply, |_| {}).await;
        Ok(self.proposed(proposed).await)
    }

    async fn roll_back(
        &self,
        to: VersionId,
        change: ChangeDescription,
    ) -> Result<VersionsResponse, String> {
        self.shared.needs_majority().await?;
        let set = self.shared.files_of(Some(to)).await?;
        let (_, judging) = self.judging(set, &change).await?;
        let again = self
            .shared
            .propose_again(to, change.by, change.message, judging);
        let proposed = again.await;
        Ok(self.proposed(proposed).await)
    }

    async fn proposed(&self, proposed: Result<VersionId, NotApplied>) -> VersionsResponse {
        match proposed {
            Ok(version) => {
                self.wait_until_visible(|state| state.version(version).is_some())
                    .await;
                VersionsResponse::Done {
                    words: format!("version {version} is proposed: every node checks it first"),
                    version: Some(version.0),
                }
            }
            Err(error) => done(not_applied(&error)),
        }
    }

    /// Waits up to [`SHOWS_LIMIT`] until this member's state shows a committed change, because the
    /// client reads the state next.
    async fn wait_until_visible(&self, it: impl Fn(&ClusterState) -> bool) {
        let mut changes = self.shared.engine.changes();
        let shown = async {
            while !it(&self.shared.engine.state()) {
                moved(&mut changes).await;
            }
        };
        // Ignores the timeout: the change then appears a little later.
        let _ = timeout(SHOWS_LIMIT, shown).await;
    }

    /// Returns the files with their judging rules. The change may override the time for a
    /// confirmation.
    async fn judging(
        &self,
        set: FileSet,
        change: &ChangeDescription,
    ) -> Result<(FileSet, Judging), String> {
        let grammar = self.texts.grammar;
        let read = move || {
            let section = ConfigSection::read(&set, &grammar(&set));
            (set, section)
        };
        let (set, section) = self.background.run(read).await?;
        let confirm = change.confirm_s.map(Duration::from_secs);
        let judging = Judging {
            judge_ms: millis(section.judge),
            confirm_within_ms: confirm.or(section.confirm).map(millis),
        };
        Ok((set, judging))
    }

    async fn confirm(&self, version: VersionId, by: &str) -> Result<VersionsResponse, String> {
        self.shared.needs_majority().await?;
        let done = done(self.shared.confirm_version(Some(version)).await?);
        self.note(&format!("confirmed by {by}"), &done).await;
        self.ends(version).await;
        Ok(done)
    }

    async fn cancel(&self, version: VersionId, by: &str) -> Result<VersionsResponse, String> {
        let state = self.shared.engine.state();
        if state.on_its_way().map(|record| record.id) != Some(version) {
            return Err(format!("version {version} is no longer in progress"));
        }
        self.shared.needs_majority().await?;
        let words = format!("cancelled by {by}");
        let done = done(self.shared.take_back(words).await?);
        self.ends(version).await;
        Ok(done)
    }

    async fn ends(&self, version: VersionId) {
        self.wait_until_visible(|state| {
            state.on_its_way().is_none_or(|record| record.id != version)
        })
        .await;
    }

    /// Records as an event who confirmed or cancelled a version, because no configuration version
    /// contains that.
    async fn note(&self, words: &str, done: &VersionsResponse) {
        if let VersionsResponse::Done {
            version: Some(version),
            ..
        } = done
        {
            let words = format!("version {version} {words}");
            // Ignores a lost event: the confirmation or cancellation has already taken effect.
            let _ = self.shared.agreed(CommandBody::Event { words }).await;
        }
    }
}

async fn read(stream: &mut UnixStream) -> Option<VersionsRequest> {
    let length = stream.read_u32().await.ok()? as usize;
    if length > QUESTION_BYTES_MAX {
        return None;
    }
    // Memory is only used for received bytes, not for the announced length.
    let mut bytes = Vec::new();
    let mut rest = stream.take(length as u64);
    rest.read_to_end(&mut bytes).await.ok()?;
    codec::decode(&bytes).ok()
}

fn cut(words: &str) -> String {
    language::truncated(words, WORDS_BYTES_MAX)
        .trim_end()
        .to_owned()
}

fn version(
    record: &VersionRecord,
    name: impl Fn(MemberId) -> String,
    redact: impl Fn(&str) -> String,
) -> ConfigurationVersion {
    let proposal = &record.proposal;
    let stage_words = match &record.stage {
        RolloutStage::Canary { node } => format!("{} ({})", record.stage, name(*node)),
        RolloutStage::AwaitConfirmation { remaining_ms, .. } => {
            let left = span(*remaining_ms);
            format!("{}, rolled back in about {left} without", record.stage)
        }
        stage => stage.to_string(),
    };
    let report = |(node, said): (&MemberId, &NodeReport)| {
        let words = against_in_words(said.outcome).to_owned() + " it";
        let words = match said.words.trim() {
            "" => words,
            more => format!("{words}: {}", redact(&without_source(more))),
        };
        (name(*node), words)
    };
    ConfigurationVersion {
        id: record.id.0,
        parent: record.parent().map(|parent| parent.0),
        author: proposal.author.clone(),
        message: cut(&proposal.message),
        origin: match &proposal.origin {
            VersionOrigin::Applied => String::new(),
            VersionOrigin::Followed {
                repository,
                revision,
            } => format!(
                "revision {} of {}",
                revision.get(..REVISION_DIGITS).unwrap_or(revision),
                // Removes credentials from the address: earlier releases of evenkeel recorded the
                // whole address.
                without_credentials(repository)
            ),
            VersionOrigin::RolledBack { to } => format!("rollback to version {to}"),
        },
        time_s: proposal.time_s,
        stage: match &record.stage {
            RolloutStage::Checking => versions::VersionStage::Checking,
            RolloutStage::Canary { .. } => versions::VersionStage::Canary,
            RolloutStage::Rest { .. } => versions::VersionStage::Rollout,
            RolloutStage::AwaitConfirmation { .. } => versions::VersionStage::AwaitsConfirmation,
            RolloutStage::Accepted => versions::VersionStage::Accepted,
            RolloutStage::Refused => versions::VersionStage::Refused,
            RolloutStage::TakenBack => versions::VersionStage::RolledBack,
        },
        stage_words,
        why: match record.words.trim() {
            "" => String::new(),
            words => redact(&without_source(words)),
        },
        reports: record.reports.iter().map(report).collect(),
    }
}

fn can_be_edited(file: &SetFile, mask: &FileMask<'_>) -> bool {
    matches!(mask.seen(file), MaskedFile::Text(_))
}

fn hidden(path: &str, text: &str, line: usize) -> Finding {
    let number = u64::try_from(line).ok();
    let column = text
        .lines()
        .nth(line.saturating_sub(1))
        .and_then(|line| line.find(versions::COVER));
    let column = column.and_then(|at| u64::try_from(at + 1).ok());
    Finding {
        severity: "error".to_owned(),
        message: "this secret is masked: write the secret itself, or leave the line unchanged"
            .to_owned(),
        file: Some(path.to_owned()),
        line: number,
        end_line: number,
        column,
        end_column: column.map(|at| at + versions::COVER.len() as u64),
        ..Finding::default()
    }
}

fn difference(one: FileDifference) -> Difference {
    let (lines, words) = match one.change {
        FileChange::New { lines, told: None } => (lines, "new".to_owned()),
        FileChange::New {
            told: Some(told), ..
        } => (String::new(), format!("new: {told}")),
        FileChange::Gone => (String::new(), "removed".to_owned()),
        FileChange::Lines { lines } => (lines, String::new()),
        FileChange::Told { before, after } if before == after => {
            (String::new(), format!("changed; before and after: {after}"))
        }
        FileChange::Told { before, after } => {
            (String::new(), format!("changed from {before} to {after}"))
        }
        FileChange::Kept { words } => (String::new(), words),
    };
    Difference {
        path: one.path,
        lines,
        words,
    }
}

fn done(reply: ControlReply) -> VersionsResponse {
    match reply {
        ControlReply::Done { words, version } => VersionsResponse::Done {
            words,
            version: version.map(|version| version.0),
        },
        ControlReply::Unknown { words } => VersionsResponse::Unknown { words },
        ControlReply::Refused { words } => VersionsResponse::Refused { words },
        _ => VersionsResponse::Refused {
            words: String::new(),
        },
    }
}
