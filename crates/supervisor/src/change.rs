//! Carries out reloads: a loader creates a version, the deciding role applies or refuses it, and
//! all requesters get the result. A version that was applied becomes the last good one; after a
//! failure the previous one stays.

use crate::control::{Asker, RequestInterface};
use crate::loading::{LoadError, LoaderResult, Loading};
use crate::state::cluster::Verdict;
use crate::state::upgrade::Upgrade;
use crate::state::{Candidate, ReloadResult, Supervisor, TAKE_LIMIT};
use crate::state_file::Keep;
use crate::version::LoadedVersion;
use crate::{serving, tell};
use part::SharedFd;
use part::role::{Before, DiagnosticFormat, Load, NotLoaded, Take};
use part::row;
use part::spawn::OWN_PROGRAM;
use part::trace;
use part::voice::{Form, Gravity, write_unrecorded};
use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Instant;

/// Width in columns if the requester has no terminal.
const WIDTH: u32 = 100;

impl Supervisor {
    pub(super) fn load(&self, askers: &[Asker]) -> Load {
        let arguments = self.command.arguments.iter();
        let look = askers.iter().find_map(|asker| asker.look);
        let plain = DiagnosticFormat {
            width: WIDTH,
            ..DiagnosticFormat::default()
        };
        Load {
            personality: self.command.personality,
            arguments: arguments.map(|word| word.as_bytes().to_vec()).collect(),
            pid: std::process::id(),
            files_soft: self.process.files_soft,
            look: (self.service.served || self.cluster.is_member()).then(|| look.unwrap_or(plain)),
            previous: self
                .versions
                .last_good
                .as_ref()
                .map(LoadedVersion::known_plan),
            watched: self.changing.watcher.is_automatic(),
            before: if self.service.served {
                Before::default()
            } else {
                self.carried.asked()
            },
            set: self.cluster.set_to_load().is_some(),
            dry: false,
            accepted: self.cluster.loads_accepted(),
            found: self.cluster.found_path(),
            states: self.state_paths(),
            retries: self.cluster.retry.is_loading(),
            operation: self.changing.operation.clone(),
            parts_unknown: self
                .versions
                .last_good
                .as_ref()
                .is_some_and(LoadedVersion::lacks_parts),
        }
    }

    /// Returns the paths of the state files that roles of earlier processes may have left, by part.
    /// Roles that run are left out: they end by themselves what their new version no longer has.
    fn state_paths(&self) -> BTreeMap<String, Vec<u8>> {
        let program = self.command.form().program();
        let keeps = row::sidecar_parts().filter(|part| {
            let slot = &self.slots[*part];
            let keeps = slot
                .row
                .sidecar()
                .is_some_and(|beside| beside.has_state_file);
            keeps && !slot.lives()
        });
        let all = keeps.filter_map(|part| {
            // Leaves the part out without a runtime directory, where no state file can be.
            let path = Keep::path_of(part, program, &self.command.paths).ok()?;
            Some((part.to_owned(), path.into_os_string().into_vec()))
        });
        all.collect()
    }

    pub(super) fn may_change(&self) -> bool {
        let free = (self.versions.last_good.is_some() || self.versions.unsettled.is_some())
            && self.changing.loading.is_none()
            && self.versions.candidate.is_none()
            && self.changing.upgrade.is_none();
        free && self.service.stop.is_none() && self.serves()
    }

    pub(super) fn begin_change(&mut self) {
        self.refuse_reload();
        if !self.may_change() {
            return;
        }
        let asked = self.changing.requests.is_asked();
        if (self.changing.watcher).begin_if_due(asked, Instant::now()) {
            self.changing.requests.ask(None);
        }
        let watched = self.changing.watcher.is_automatic();
        if self.changing.requests.begin().is_none() {
            return;
        }
        // Reports the reload only if it was requested: for watched files it is not known yet
        // whether their content has changed.
        if !watched {
            tell::reloading(&mut self.voice);
            self.interfaces.notify.reloading("reloading");
        }
        // Upgrades the program only in a reload that was requested, not after a change of a watched
        // file.
        if watched || !self.begin_upgrade() {
            self.begin_load(Path::new(OWN_PROGRAM));
        }
    }

    pub(super) fn begin_load(&mut self, program: &Path) {
        let mut descriptors: Vec<SharedFd> = self.cluster.set_to_load().into_iter().collect();
        descriptors.extend(match (&self.versions.last_good, &self.versions.unsettled) {
            (Some(kept), _) => kept.whole(),
            (None, Some(unsettled)) => unsettled.sockets.clone(),
            (None, None) => Vec::new(),
        });
        self.begin_operation();
        let load = self.load(self.changing.requests.running());
        tracing::info!(op = %load.operation, watched = load.watched, set = load.set, "change started");
        let masters = &self.command.masters;
        match Loading::begin_with_masters(program, load, &descriptors, masters) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.refuse_change(&error.to_string(), ""),
        }
    }

    /// Chooses the id of the next change in trace events: that of the cluster's change if the
    /// control role has requested it, otherwise a new one.
    pub(super) fn begin_operation(&mut self) {
        let operation = self.cluster.operation().map(str::to_owned);
        self.changing.operation = operation.unwrap_or_else(trace::new_operation);
    }

    pub(super) fn change_loaded(&mut self, told: Result<LoaderResult, LoadError>) {
        let has_version = told.as_ref().is_ok_and(|told| told.outcome.is_ok());
        if self.cluster.retry.end_load() && !has_version {
            // Ends the attempt without a message: the version still lacks what it lacked before.
            self.changing.requests.finish();
            return;
        }
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                self.settle_in(None);
                return self.refuse_change(&error.to_string(), "");
            }
        };
        if self.changing.watcher.reads_again(Instant::now()) {
            self.changing.requests.finish();
            return;
        }
        let plan = match told.outcome {
            Ok(plan) => plan,
            Err(why) => return self.end_without_plan(why, &told.plain, &told.shown),
        };
        self.write(&told.plain, false);
        self.settle_in(Some(&plan));
        let take = Take {
            version: self.versions.next_number(),
            personality: self.command.personality,
            background: false,
            plan,
            operation: self.changing.operation.clone(),
            ..Take::default()
        };
        tracing::info!(
            op = %take.operation,
            version = take.version,
            listeners = take.plan.listeners,
            parts = take.plan.parts.len(),
            missing = take.plan.lacks.missing.len(),
            "version loaded"
        );
        let Some(mut version) = LoadedVersion::new(take, told.descriptors) else {
            return self.refuse_change("the loader's descriptors are not those of its plan", "");
        };
        if let Err(error) = self.claim_version(version.plan()) {
            return self.refuse_change(&error.to_string(), &told.shown);
        }
        let upgrade = self.changing.upgrade.as_ref();
        if upgrade.is_some_and(Upgrade::is_loading) {
            return self.upgrade_loaded(version, told.shown);
        }
        let trial = self.versions.last_good.is_some() && self.cluster.loads_candidate();
        if trial && version.is_without_proxy() {
            return self.trial_without_proxy(version, &told.shown);
        }
        version.take.fresh = self.changing.requests.running().iter().any(|one| one.fresh);
        let given = self.hand_version(&version);
        version.take.fresh = false;
        // A version without any role counts as applied at once: no role would report it.
        let taken = version.is_idle().then_some(version.take.version);
        match given {
            Ok(()) => {
                self.versions.candidate = Some(Candidate {
                    version,
                    trial,
                    shown: told.shown,
                    until: Instant::now() + TAKE_LIMIT,
                });
                if let Some(number) = taken {
                    self.change_taken(number, "");
                }
            }
            Err(error) => self.refuse_change(&error, &told.shown),
        }
    }

    /// Ends a reload for which the loader created no plan. Nothing is reported if the files are
    /// unchanged, or were refused with the same content before.
    fn end_without_plan(&mut self, why: NotLoaded, plain: &str, shown: &str) {
        self.settle_in(None);
        let unchanged = why.unchanged;
        let news = self.changing.watcher.refuse(why, &mut self.voice);
        if unchanged || !news {
            self.changing.requests.finish();
            return;
        }
        self.write(plain, true);
        self.refuse_change("", shown);
    }

    fn hand_version(&mut self, version: &LoadedVersion) -> Result<(), String> {
        let message = self.trial_message(version);
        let descriptors = message.as_ref().map(|_| self.trial_descriptors(version));
        let without_proxy = self.versions.is_without_proxy();
        match &mut self.slots.serving.running {
            Some(proxy) if let (Some(message), Some(all)) = (&message, &descriptors) => {
                let given = serving::send_version_as(proxy, version.plan(), message, all);
                given.map_err(|error| error.to_string())
            }
            _ if version.is_idle() => Ok(()),
            _ if version.is_without_proxy() => self.try_parts(version),
            None if without_proxy => self.start_candidate(version),
            Some(proxy) => serving::send_version(proxy, version).map_err(|error| error.to_string()),
            None => Err("the proxy died meanwhile".to_owned()),
        }
    }

    /// Starts a proxy for a version that has the first listener. The version is applied once the
    /// proxy serves.
    fn start_candidate(&mut self, version: &LoadedVersion) -> Result<(), String> {
        let listener = self.slots.serving.listener();
        let started = serving::start(
            self.slots.serving.row.entry,
            Path::new(OWN_PROGRAM),
            version,
            None,
            Some(listener),
        );
        let proxy = started.map_err(|error| error.to_string())?;
        tell::forked(&mut self.voice, proxy.process.number());
        self.slots.serving.running = Some(proxy);
        self.pulses
            .share_with(self.slots.serving.running.as_mut(), &mut self.voice);
        Ok(())
    }

    /// Applies a version whose proxy was started for it and serves now. Returns whether there was
    /// one.
    pub(super) fn candidate_serves(&mut self) -> bool {
        let candidate = self
            .versions
            .candidate
            .as_ref()
            .filter(|_| self.versions.is_without_proxy());
        let begun = candidate.filter(|candidate| !candidate.version.is_without_proxy());
        let number = begun.map(|candidate| candidate.version.take.version);
        if let Some(number) = number {
            self.change_taken(number, "");
        }
        number.is_some()
    }

    /// Makes the proxy finish its connections if the version has no listener any longer.
    pub(super) fn see_off_without_listeners(&mut self) {
        if self.versions.is_without_proxy()
            && let Some(proxy) = self.slots.serving.running.take()
        {
            self.slots.serving.restart_at = None;
            let limit = self.versions.hard_stop_after_ms();
            self.service.draining.drain(proxy, limit);
        }
    }

    fn write(&mut self, plain: &str, refused: bool) {
        if self.voice.form() == Form::Keepalived {
            return self.voice.notice(plain);
        }
        let must = refused && self.voice.form() == Form::Own;
        if must || !self.voice.quiet {
            write_unrecorded(plain);
        }
    }

    pub(super) fn change_taken(&mut self, number: u64, words: &str) {
        let this = |candidate: &mut Candidate| candidate.version.take.version == number;
        let Some(candidate) = self.versions.candidate.take_if(this) else {
            return;
        };
        let taken = &candidate.version.take;
        tracing::info!(op = %taken.operation, version = number, trial = candidate.trial, "version applied");
        let mut lines = tell::changed(&candidate.version);
        if !words.is_empty() {
            lines.push((Gravity::Warning, words.to_owned()));
        }
        if candidate.trial {
            self.cluster.begin_trial(candidate.version);
            return self.report_change(&lines, &candidate.shown);
        }
        // Replaces the last good version; dropping the previous one closes its descriptors.
        self.versions.last_good = Some(candidate.version);
        self.versions.unsettled = None;
        self.cluster.end_change(true);
        self.keep_version();
        self.see_off_without_listeners();
        self.follow_version();
        self.report_change(&lines, &candidate.shown);
    }

    pub(super) fn report_change(&mut self, lines: &[(Gravity, String)], shown: &str) {
        tell::taken(&mut self.voice, lines);
        self.changing.counts.taken();
        self.interfaces.notify.ready(&self.status());
        self.answer_all(ReloadResult::Taken, shown, lines);
    }

    /// Refuses the change in progress, because a role refused the version or died. `number` is None
    /// for any version.
    pub(super) fn change_failed(&mut self, number: Option<u64>, words: &str) {
        let this = |candidate: &mut Candidate| {
            number.is_none_or(|number| candidate.version.take.version == number)
        };
        if let Some(candidate) = self.versions.candidate.take_if(this) {
            self.refuse_change(words, &candidate.shown);
        }
    }

    pub(super) fn refuse_change(&mut self, words: &str, shown: &str) {
        tracing::info!(op = %self.changing.operation, reason = words, "change refused");
        self.abandon_upgrade();
        self.cluster.end_change(false);
        self.list_claims();
        let mut lines = Vec::new();
        if !words.is_empty() {
            lines.push((Gravity::Alert, words.to_owned()));
            self.voice.alert(words);
        }
        tell::refused(&mut self.voice);
        lines.push((Gravity::Warning, "nothing was changed".to_owned()));
        self.changing.counts.refused();
        self.interfaces.notify.refused(&self.status());
        self.answer_all(ReloadResult::Refused, shown, &lines);
    }

    /// Aborts the reload in progress because no client waits for it, unless the role already has
    /// the version.
    pub(super) fn abort_loading(&mut self) {
        let upgrade = self.changing.upgrade.as_ref();
        let has_role = upgrade.is_some_and(|upgrade| !upgrade.is_young());
        if self.versions.candidate.is_some() || has_role {
            return;
        }
        Loading::abandon(&mut self.changing.loading);
        self.abandon_upgrade();
        self.settle_in(None);
        self.changing.requests.finish();
        self.voice
            .warning("the process that requested the reload has ended; the reload is cancelled and nothing was changed");
        self.interfaces.notify.ready(&self.status());
    }

    pub(super) fn refuse_pending_changes(&mut self) {
        let lines = [(Gravity::Alert, "the proxy is stopping".to_owned())];
        for asker in self.changing.requests.give_up() {
            self.answer(&asker, ReloadResult::Refused, "", &lines);
        }
    }

    fn answer_all(&mut self, ending: ReloadResult, shown: &str, lines: &[(Gravity, String)]) {
        for asker in self.changing.requests.finish() {
            self.answer(&asker, ending, shown, lines);
        }
    }

    fn answer(
        &mut self,
        asker: &Asker,
        ending: ReloadResult,
        shown: &str,
        lines: &[(Gravity, String)],
    ) {
        let taken = ending == ReloadResult::Taken;
        match asker.at {
            RequestInterface::Master => {
                let text = tell::reload_text(&self.voice, shown, lines, taken);
                if let Some(master) = &mut self.interfaces.master {
                    master.send_reload_result(asker.id, taken, &text);
                }
            }
            RequestInterface::Cluster => {
                let text = shown.to_owned() + &tell::as_text(lines);
                self.send_verdict(&Verdict::new(asker.id, taken, &text));
            }
            RequestInterface::Control => {
                let text = shown.to_owned() + &tell::as_text(lines);
                if let Some(control) = &mut self.interfaces.control {
                    control.send_reload_result(asker.id, u8::from(!taken), &text);
                }
            }
        }
    }
}
