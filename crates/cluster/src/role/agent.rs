//! Runs the node's side of a change: executes the tasks of [`crate::rollout::Agent`], and keeps the
//! last accepted version on disk.

use crate::authority::AuthorityError;
use crate::command::{CommandBody, VersionId};
use crate::file_set::FileSet;
use crate::machine::{Health, MachineVerdict, ServingMachine};
use crate::role::contents::ContentError;
use crate::role::shared::{RoleState, moved};
use crate::role::synthetic::{self, Answered};
use crate::rollout::{Agent, Probe, Probes, TRIAL_SILENCE_MS, Task};
use crate::wire::ConnectionFactory;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Timeout of loading a version; the machine counts as refusing it afterwards.
const MACHINE_LIMIT: Duration = Duration::from_secs(60);
const HEALTH_LIMIT: Duration = Duration::from_secs(3);
/// Interval at which the leader's silence is checked during another task.
const SILENCE_LOOK: Duration = Duration::from_millis(100);
const MISSING_PAUSE: Duration = Duration::from_millis(200);
const MISSING_LOOKS: u32 = 25;
const KEEP_AGAIN_MS: u64 = 2_000;
/// Pause after a failed task, so that the agent does not retry in a tight loop.
const REST: Duration = Duration::from_millis(500);

/// Runs until the role ends. `went_back` receives the machine's own rollbacks.
pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    serves: Option<Arc<FileSet>>,
    mut went_back: mpsc::Receiver<String>,
) {
    let version = serves.as_ref().map(|set| set.version);
    let mut worker = Worker {
        agent: Agent::new(shared.me(), version.filter(|version| version.0 > 0)),
        last: None,
        unkept: None,
        shared,
    };
    if let Some(promised) = worker.shared.engine.accepted_before() {
        worker.agent.has_accepted(promised);
    }
    let mut changes = worker.shared.engine.changes();
    loop {
        worker.publish_state();
        let now_ms = worker.shared.now_ms();
        worker.keep_again(now_ms);
        let silence_ms = worker.shared.silence_ms();
        let state = worker.shared.engine.state();
        let unable_ms = worker.shared.unable_ms();
        worker.agent.disk_is_stuck_for(unable_ms);
        if let Some(task) = worker.agent.next(&state, now_ms, silence_ms) {
            while let Ok(words) = went_back.try_recv() {
                worker.agent.record_machine_rollback(words);
            }
            worker.work(task).await;
            continue;
        }
        // Releases the state while waiting, so that the next command need not copy it.
        drop(state);
        let wake = worker.agent.wake_at(now_ms).saturating_sub(now_ms);
        tokio::select! {
            () = moved(&mut changes) => {}
            words = went_back.recv() => match words {
                Some(words) => worker.agent.record_machine_rollback(words),
                None => return,
            },
            () = tokio::time::sleep(Duration::from_millis(wake.clamp(1, 500))) => {}
        }
    }
}

struct Worker<M: ServingMachine, N: ConnectionFactory> {
    agent: Agent,
    /// Files decrypted last: a version is checked, then served, then saved.
    last: Option<Arc<FileSet>>,
    /// Accepted version that the disk refused, and the time of the next attempt.
    unkept: Option<(Arc<FileSet>, u64)>,
    shared: Arc<RoleState<M, N>>,
}

impl<M: ServingMachine, N: ConnectionFactory> Worker<M, N> {
    fn publish_state(&self) {
        let mut serving = self.shared.serving();
        serving.version = self.agent.serves();
        serving.on_trial = self.agent.on_trial();
        serving.accepted = self.agent.newest_accepted();
    }

    async fn work(&mut self, task: Task) {
        match task {
            Task::Check(version) => {
                let verdict = match self.files(version).await {
                    Ok(set) => limited(self.shared.machine.check(set)).await,
                    Err(verdict) => verdict,
                };
                // Reports the current health with the result, because the choice of the canary
                // depends on it.
                tracing::info!(
                    op = version.operation(),
                    version = version.0,
                    good = verdict.good,
                    reason = without_success(&verdict),
                    "version checked"
                );
                let health = self.health().await;
                let owned = health.map(|health| health.addresses_owned);
                self.agent.checked(version, &verdict, owned);
            }
            Task::Sample { probe } => {
                // A node that has not heard from the leader for too long rolls back at once,
                // even if it waits for a frontend.
                let too_silent = too_silent(self.shared.clone(), self.agent.on_trial());
                tokio::select! {
                    () = self.sample(probe) => {}
                    () = too_silent => {}
                }
            }
            Task::Serve { version, trial } => self.serve(version, trial).await,
            Task::Accept(version) => self.accept(version).await,
            Task::Revert(_) => {
                let verdict = limited(self.shared.machine.revert()).await;
                tracing::info!(
                    good = verdict.good,
                    reason = without_success(&verdict),
                    "version rolled back"
                );
                self.trouble(&verdict, "could not roll back to the accepted version");
                self.agent.reverted();
                if !verdict.good {
                    tokio::time::sleep(REST).await;
                }
            }
            Task::Say(report) => {
                if !self.shared.try_to(CommandBody::Report(report)).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(&mut self, version: VersionId, trial: bool) {
        let verdict = match self.files(version).await {
            Ok(set) => {
                let serving = self.shared.machine.serve(set.clone(), trial);
                let served = timeout(MACHINE_LIMIT, serving).await;
                if served.is_err() && trial {
                    // Rolls back after a timeout, because the machine may still begin to serve the
                    // version. The node's task remains.
                    let _ = timeout(REST, self.shared.machine.revert()).await;
                }
                let verdict = served.unwrap_or_else(|_| no_answer());
                if verdict.good && !trial {
                    self.keep(&set);
                }
                verdict
            }
            Err(verdict) => verdict,
        };
        tracing::info!(
            op = version.operation(),
            version = version.0,
            trial,
            good = verdict.good,
            reason = without_success(&verdict),
            "version served"
        );
        let what = format!("cannot serve version {version}");
        self.trouble(&verdict, &what);
        let now_ms = self.shared.now_ms();
        self.agent.served(version, trial, &verdict, now_ms);
    }

    async fn accept(&mut self, version: VersionId) {
        // Writes the disk first: if the process dies in between, the machine starts with this
        // version.
        let kept = match self.files(version).await {
            Ok(set) => {
                self.keep(&set);
                None
            }
            Err(verdict) => Some(verdict),
        };
        let verdict = limited(self.shared.machine.accept()).await;
        tracing::info!(
            op = version.operation(),
            version = version.0,
            good = verdict.good,
            kept = kept.is_none(),
            "version accepted"
        );
        self.trouble(kept.as_ref().unwrap_or(&verdict), "keeps it as a candidate");
        self.agent.kept(version, &verdict);
    }

    /// Writes the accepted version to disk. If the disk fails, the status reports it, the
    /// version is served nevertheless, and the write is retried.
    fn keep(&mut self, set: &Arc<FileSet>) {
        let written = self.shared.directory.write_accepted(set);
        let kept = written.map_err(|error| error.to_string()).and_then(|()| {
            let promised = self.shared.engine.accepts(set.version);
            promised.map_err(|error| error.to_string())
        });
        let words = match kept {
            Ok(()) => String::new(),
            Err(error) => format!("cannot keep version {}: {error}", set.version),
        };
        if words.is_empty() {
            if self.unkept.is_some() {
                self.shared
                    .note(format!("keeps version {} again", set.version));
            }
        } else {
            self.shared.note(words.clone())
        }
        let again_ms = self.shared.now_ms().saturating_add(KEEP_AGAIN_MS);
        self.unkept = (!words.is_empty()).then(|| (set.clone(), again_ms));
        self.shared.serving().unkept = words;
    }

    fn keep_again(&mut self, now_ms: u64) {
        let due = self.unkept.take_if(|(_, again_ms)| *again_ms <= now_ms);
        if let Some((set, again_ms)) = due {
            // Keeps the entry during the attempt, so that the end of the problem is logged.
            self.unkept = Some((set.clone(), again_ms));
            self.keep(&set);
        }
    }

    fn trouble(&self, verdict: &MachineVerdict, what: &str) {
        self.shared.serving().trouble = if verdict.good {
            String::new()
        } else {
            format!("{what}: {}", verdict.words)
        };
    }

    async fn health(&self) -> Option<Health> {
        let health = timeout(HEALTH_LIMIT, self.shared.machine.health()).await;
        health.unwrap_or_default()
    }

    async fn sample(&mut self, probe: bool) {
        let health = self.health().await;
        let frontends = health.as_ref().map(|health| health.frontends.as_slice());
        let probes = match (probe, frontends) {
            (true, Some(frontends)) => Some(probes(synthetic::round(frontends).await)),
            (true, None) => Some(BTreeMap::new()),
            (false, _) => None,
        };
        self.shared.serving().health.clone_from(&health);
        self.agent.sampled(self.shared.now_ms(), health, probes);
    }

    /// Returns the decrypted files of a version. Tries again for a few seconds, because chunks may
    /// still be arriving at this disk.
    async fn files(&mut self, version: VersionId) -> Result<Arc<FileSet>, MachineVerdict> {
        if let Some(last) = self.last.as_ref().filter(|last| last.version == version) {
            return Ok(last.clone());
        }
        let mut looks = 0;
        loop {
            let state = self.shared.engine.state();
            let refused = |words: String| MachineVerdict {
                good: false,
                words,
                ..MachineVerdict::default()
            };
            let Some(record) = state.version(version) else {
                return Err(refused(format!("version {version} is no longer kept")));
            };
            let decrypted = self.shared.keys.decrypt_content_keys(&state);
            let (engine, name) = (&self.shared.engine, &self.shared.who.name);
            let mut opened = self.shared.keys.file_set(engine, record, name).await;
            // Reports the failure to decrypt content keys only if the files of this version need
            // such a key.
            if let (Err(ContentError::Authority(AuthorityError::NoRing(_))), Err(error)) =
                (&opened, decrypted)
            {
                opened = Err(ContentError::Authority(error));
            }
            match opened {
                Ok(set) => {
                    let set = Arc::new(set);
                    self.last = Some(set.clone());
                    return Ok(set);
                }
                Err(error) if looks >= MISSING_LOOKS => {
                    return Err(refused(format!("cannot open its files: {error}")));
                }
                Err(_) => looks += 1,
            }
            tokio::time::sleep(MISSING_PAUSE).await;
        }
    }
}

/// Returns when a node that serves a candidate must roll back because the leader is
/// silent.
async fn too_silent<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    on_trial: bool,
) {
    loop {
        tokio::time::sleep(SILENCE_LOOK).await;
        if on_trial && shared.silence_ms() >= TRIAL_SILENCE_MS {
            return;
        }
    }
}

async fn limited(verdict: impl Future<Output = MachineVerdict>) -> MachineVerdict {
    let said = timeout(MACHINE_LIMIT, verdict).await;
    said.unwrap_or_else(|_| no_answer())
}

/// Returns the first line of the reason of a failure. The further lines may quote a file.
fn without_success(verdict: &MachineVerdict) -> Option<&str> {
    let line = verdict.words.lines().find(|line| !line.trim().is_empty());
    line.filter(|_| !verdict.good)
}

fn no_answer() -> MachineVerdict {
    MachineVerdict {
        good: false,
        words: format!(
            "this machine did not respond within {} s",
            MACHINE_LIMIT.as_secs()
        ),
        ..MachineVerdict::default()
    }
}

fn probes(answers: Vec<(String, Answered)>) -> Probes {
    let probe = |answered| match answered {
        Answered::Status(status) => Probe::Answered { status },
        // The listener accepted the connection, and nothing more can be verified.
        Answered::Connected => Probe::Answered { status: 200 },
        Answered::Failed | Answered::Silent => Probe::Silent,
    };
    let answers = answers.into_iter();
    answers
        .map(|(name, answered)| (name, probe(answered)))
        .collect()
}
