//! Runs the main loop of the supervisor: waits for signals, the loader, the roles, commands and
//! timers, and handles each event.

use crate::between::Asks;
use crate::control::{Asker, ControlSocket, RequestInterface};
use crate::ended::{Next, PrimaryEnd};
use crate::error::StartError;
use crate::loading::{LoadError, LoaderResult, Loading};
use crate::master::Master;
use crate::resumed::Resumed;
use crate::signals::Caught;
use crate::slot::{RoleSlot, RunningRole};
use crate::state::upgrade::Upgrade;
use crate::state::{Supervisor, TAKE_LIMIT};
use crate::stop::{FAILED, Stop};
use crate::trace_levels::trace_end;
use crate::version::{LoadedVersion, decider};
use crate::{first, orphan, serving, tell};
use nix::sys::signal::Signal;
use part::channel::{Channel, Received, timespec};
use part::role::{SupervisorMessage, Take};
use part::row;
use part::spawn::{OWN_PROGRAM, ProcessExit};
use part::trace;
use part::voice::{Form, write_unrecorded};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub fn run(mut self, left: Option<Resumed>) -> u8 {
        self.begin(left);
        self.begin_change();
        while self.process.exit.is_none() {
            if let Err(errno) = self.wait() {
                self.fail(StartError::Threads(errno.into()));
                break;
            }
            self.obey_signals();
            self.poll_loader();
            for row in row::all() {
                self.read_role_messages(row.part);
            }
            self.poll_cluster();
            let counts = (self.service.draining).poll(Instant::now(), &mut self.voice);
            for counts in counts {
                self.slots.serving.add_state(Arc::new(counts));
            }
            self.poll_upgrade();
            self.end_when_all_have();
            self.handle_commands();
            self.poll_routes();
            self.serve_master_clients();
            self.check_deadlines();
            self.tell_missing();
            self.check_entries(Instant::now());
            self.poll_heartbeats();
            let served = self.versions.last_good.as_ref().map(|kept| &kept.take);
            (self.changing.watcher).poll(served, Instant::now(), &mut self.voice);
            self.carried.reap();
            self.begin_change();
            self.update_log_levels();
        }
        self.abandon_upgrade();
        self.between.routes.end();
        // Ends the sidecars first, while the proxy still serves.
        self.end_parts();
        self.end_control();
        self.slots.serving.end();
        self.service.draining.kill_all();
        self.refuse_pending_changes();
        if let Some(master) = self.interfaces.master.take() {
            master.end();
        }
        self.tidy_up_as_keepalived(self.process.pid_path.as_deref());
        self.forget_own_events();
        self.process.exit.unwrap_or(FAILED)
    }

    /// Continues the work of the previous program image, adopts the roles of a supervisor that was
    /// killed, or starts from the files; a cluster member starts from the last accepted version.
    fn begin(&mut self, left: Option<Resumed>) {
        if let Some(left) = left {
            if !self.claim_member() {
                return;
            }
            match self.resume(left) {
                Ok(()) => return self.begin_as_member(),
                Err(error) => tell::not_resumed(&mut self.voice, &error),
            }
        }
        // The state directory is locked last: a control role whose supervisor died ends then, so a
        // start that is refused must not lock the directory.
        if !self.claim() || !self.claim_member() {
            return;
        }
        self.keep_own_events();
        for (what, left) in orphan::others(&self.command) {
            tell::left_alone(&mut self.voice, what, &left);
        }
        if self.adopt() {
            return self.begin_as_member();
        }
        if self.cluster.is_member() {
            self.begin_as_member();
            return self.load_accepted();
        }
        self.begin_operation();
        tracing::info!(op = %self.changing.operation, "start from the files");
        let (own, load) = (Path::new(OWN_PROGRAM), self.load(&[]));
        match Loading::begin_with_masters(own, load, &[], &self.command.masters) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.fail(error),
        }
        self.carried.loader_began();
    }

    /// Returns whether the deciding role is ready, or no role has to run.
    pub(super) fn serves(&self) -> bool {
        let is_idle = self
            .versions
            .last_good
            .as_ref()
            .is_some_and(LoadedVersion::is_idle);
        is_idle || self.slots[decider(self.versions.last_good.as_ref())].is_ready()
    }

    fn wait(&self) -> Result<(), Errno> {
        let mut watched = vec![PollFd::from_borrowed_fd(
            self.process.signals.as_fd(),
            PollFlags::IN,
        )];
        watched.extend(self.slots.watched());
        let formers = self.service.draining.iter();
        watched.extend(formers.flat_map(|former| former.proxy.process.watched()));
        for process in self.changing.loading.iter().map(|loading| &loading.process) {
            watched.push(PollFd::new(&process.channel, process.channel.interest()));
            watched.push(PollFd::from_borrowed_fd(
                process.exit_descriptor(),
                PollFlags::IN,
            ));
        }
        watched.extend(self.cluster.check.watched());
        watched.extend(self.changing.upgrade.iter().flat_map(Upgrade::watched));
        watched.extend(
            self.interfaces
                .control
                .iter()
                .flat_map(ControlSocket::watched),
        );
        watched.extend(self.interfaces.master.iter().flat_map(Master::watched));
        watched.extend(self.changing.watcher.watched());
        watched.extend(self.between.routes.watched());
        let left = self
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        match poll(&mut watched, left.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [
            self.changing.loading.as_ref().map(Loading::deadline),
            self.versions
                .candidate
                .as_ref()
                .map(|candidate| candidate.until),
            self.interfaces.master.as_ref().and_then(Master::deadline),
            self.interfaces.notify.deadline(),
            self.service.stop.and_then(|stop| stop.until),
            self.changing.watcher.retry_at(),
            self.may_change()
                .then(|| self.changing.watcher.due())
                .flatten(),
            self.changing.upgrade.as_ref().and_then(Upgrade::deadline),
            self.cluster.deadline(),
            self.between.deadline(),
            self.pulses.deadline(),
            self.interfaces.entries.deadline(),
            trace::control().deadline(),
        ]
        .into_iter()
        .chain(self.slots.all().map(RoleSlot::deadline))
        .chain(self.service.draining.iter().map(|former| former.until))
        .chain(self.channels().map(Channel::next_send_attempt))
        .flatten()
        .min()
    }

    fn channels(&self) -> impl Iterator<Item = &Channel> {
        let formers = self.service.draining.iter().map(|former| &former.proxy);
        let proxies = formers.chain(self.changing.upgrade.iter().filter_map(Upgrade::trial));
        let loading = self.changing.loading.iter().map(|loading| &loading.process);
        let processes = proxies.map(|proxy| &proxy.process).chain(loading);
        let audible = processes.filter(|process| !process.is_channel_closed);
        let control = self
            .interfaces
            .control
            .iter()
            .flat_map(ControlSocket::channels);
        let audible = audible.map(|process| &process.channel).chain(control);
        let audible = audible.chain(self.slots.channels());
        audible.chain(self.cluster.check.channels())
    }

    pub(super) fn obey_signals(&mut self) {
        while let Some(caught) = self.process.signals.next() {
            if self.voice.form() == Form::Keepalived {
                self.obey_as_keepalived(caught);
                continue;
            }
            let Caught::Signal(signal) = caught else {
                continue;
            };
            match signal {
                Signal::SIGINT | Signal::SIGTERM | Signal::SIGUSR1 => self.begin_stop(signal),
                Signal::SIGHUP | Signal::SIGUSR2 => {
                    self.restore_entries();
                    self.changing.requests.ask(None);
                }
                Signal::SIGTTOU | Signal::SIGTTIN => self.pause(signal == Signal::SIGTTOU),
                _ => {}
            }
        }
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.service.paused = paused;
        let message = if paused {
            SupervisorMessage::Pause
        } else {
            SupervisorMessage::Resume
        };
        let upgrade = self.changing.upgrade.as_mut();
        if let Some(tried) = upgrade.and_then(Upgrade::serving_mut) {
            // Sends the message only to the new role; the old one stays paused.
            let _ = tried.send_message(&message);
        } else if let Some(proxy) = &mut self.slots.serving.running {
            // The error is ignored: a role that cannot receive the message yet gets it once it
            // serves.
            let _ = proxy.send_message(&message);
        }
    }

    pub(super) fn begin_stop(&mut self, signal: Signal) {
        let limit = self.versions.hard_stop_after_ms();
        let Some(stop) = Stop::by(signal, limit, Instant::now()) else {
            return;
        };
        // Ignores a soft stop during any other stop: it must not replace a hard one.
        if stop.is_soft() && self.service.stop.is_some() {
            return;
        }
        self.service.stop = Some(stop);
        tracing::info!(%signal, soft = stop.is_soft(), "stop started");
        tell::exiting(&mut self.voice, stop.is_soft());
        self.interfaces.notify.stopping(if stop.is_soft() {
            "finishing the existing connections"
        } else {
            "stopping"
        });
        self.slots.serving.restart_at = None;
        Loading::abandon(&mut self.changing.loading);
        self.stop_upgrade(&stop);
        self.service.draining.stop(&stop);
        self.quiet_control();
        self.refuse_pending_changes();
        // Drops all versions, so that the supervisor does not hold the listeners open after the
        // role has closed them.
        self.versions.last_good = None;
        self.versions.unsettled = None;
        self.versions.candidate = None;
        // Releases the sidecars first: the proxy serves until no client is directed to this
        // machine.
        if self.release_parts(true) {
            // Removes the time limit for now: the proxy's stop timeout starts after the sidecars
            // have released what they hold.

            self.service.stop = Some(Stop {
                until: None,
                ..stop
            })
        } else {
            self.stop_without_parts()
        }
    }

    /// Stops the control role and the proxy after the sidecars have ended or only keep addresses,
    /// and reports the sidecars as gone: leases become free once nothing on this machine uses them.
    pub(super) fn stop_without_parts(&mut self) {
        for part in row::sidecar_parts() {
            self.report_part_gone(part);
        }
        self.stop_control();
        self.stop_proxy();
    }

    fn stop_proxy(&mut self) {
        if let Some(stop) = &mut self.service.stop
            && !stop.is_soft()
            && let Some(anew) = Stop::by(stop.signal, None, Instant::now())
        {
            *stop = anew;
        }
        if let (Some(stop), Some(proxy)) = (self.service.stop, &mut self.slots.serving.running) {
            serving::stop(proxy, &stop);
        }
    }

    fn end_when_all_have(&mut self) {
        if !self.slots.serving.lives() && self.service.draining.is_empty() {
            self.release_what_stayed();
        }
        let all = !self.slots.all().any(RoleSlot::lives) && self.service.draining.is_empty();
        if let Some(stop) = self
            .service
            .stop
            .filter(|_| all && self.process.exit.is_none())
        {
            self.end(stop.exit());
        }
    }

    fn end(&mut self, exit: u8) {
        if self.service.stop.is_none() {
            self.interfaces.notify.stopping("the proxy has ended");
        }
        tell::all_exited(&mut self.voice, exit);
        self.process.exit = Some(exit);
    }

    fn poll_loader(&mut self) {
        let Some(told) = Loading::settle(&mut self.changing.loading) else {
            return;
        };
        if self.service.served {
            self.change_loaded(told)
        } else {
            self.first_loaded(told)
        }
    }

    fn first_loaded(&mut self, told: Result<LoaderResult, LoadError>) {
        let told = match told {
            Ok(told) => told,
            Err(error) if self.cluster.is_member() => {
                return self.first_failed(&error.to_string(), "");
            }
            Err(error) => return self.fail(error),
        };
        if self.cluster.is_member() {
            write_unrecorded(&told.plain);
            self.cluster.keep_output(&told.shown);
        }
        // Prints no diagnostics, because the loader has printed them.
        let plan = match told.outcome {
            Ok(plan) => plan,
            Err(_) if self.cluster.is_member() => return self.first_failed("", &told.shown),
            Err(why) => {
                self.process.exit = Some(match self.voice.form() {
                    Form::Keepalived => tell::NOT_RUN,
                    Form::Own | Form::Haproxy => why.exit,
                });
                tell::not_begun(&mut self.voice);
                return;
            }
        };
        self.voice.quiet |= plan.quiet;
        let take = Take {
            version: self.versions.next_number(),
            personality: self.command.personality,
            background: plan.daemon,
            plan,
            operation: self.changing.operation.clone(),
            ..Take::default()
        };
        tracing::info!(
            op = %take.operation,
            version = take.version,
            listeners = take.plan.listeners,
            parts = take.plan.parts.len(),
            "first version loaded"
        );
        let mut descriptors = told.descriptors;
        let own = descriptors.len().min(LoadedVersion::wanted(&take.plan));
        let whole = self.carried.take(descriptors.split_off(own));
        let Some(version) = LoadedVersion::new(take, descriptors).filter(|_| whole) else {
            return self.fail(LoadError::Message);
        };
        match self.begin_first(version) {
            Err(error) if self.cluster.is_member() => self.first_failed(&error.to_string(), ""),
            Err(error) => self.fail(error),
            Ok(()) => {}
        }
    }

    fn begin_first(&mut self, version: LoadedVersion) -> Result<(), StartError> {
        self.claim_version(version.plan())?;
        self.process.pid_file = first::PidFile::open(version.plan())?;
        self.open_masters()?;
        if version.plan().daemon {
            self.process.ready = Some(first::into_background()?);
            self.voice.pid = std::process::id();
            if let Some((entry, _)) = &mut self.interfaces.claim {
                entry.move_to_this_process();
            }
        }
        if let Some(file) = self.process.pid_file.take() {
            self.process.pid_path = Some(file.path().to_owned());
            file.write()?;
        }
        self.versions.last_good = Some(version);
        // Opens the control socket before the role starts.
        if self.interfaces.control.is_none() {
            self.open_control();
        }
        self.keep_version();
        match &self.versions.last_good {
            // Counts a version without any role as served at once: no role would report that it is
            // ready.
            Some(kept) if kept.is_idle() => self.proxy_ready(),
            Some(kept) if kept.is_without_proxy() => self.follow_version(),
            _ => self.start_proxy(),
        }
        Ok(())
    }

    pub(super) fn start_proxy(&mut self) {
        let Some(version) = self
            .versions
            .last_good
            .as_ref()
            .filter(|kept| !kept.is_without_proxy())
        else {
            return;
        };
        let own = Path::new(OWN_PROGRAM);
        let state = self.carried.state.as_ref();
        let listener = self.slots.serving.listener();
        match serving::start(
            self.slots.serving.row.entry,
            own,
            version,
            state,
            Some(listener),
        ) {
            Ok(proxy) => {
                tracing::info!(
                    op = %version.take.operation,
                    role = self.slots.serving.row.part,
                    process = proxy.process.number(),
                    version = version.take.version,
                    "role started"
                );
                tell::forked(&mut self.voice, proxy.process.number());
                self.slots.serving.running = Some(proxy);
                self.pulses
                    .share_with(self.slots.serving.running.as_mut(), &mut self.voice);
            }
            Err(error) if self.service.served => {
                self.voice.alert(error);
                self.restart_later(self.slots.serving.row.part, Instant::now(), false);
            }
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn handle_proxy_message(&mut self, received: Received) {
        match received.message {
            SupervisorMessage::Ready { words, .. } => {
                if !words.is_empty() {
                    self.voice.notice(&words);
                }
                self.proxy_ready();
            }
            SupervisorMessage::Taken { words, .. } if self.cluster.is_rolling_back() => {
                self.gone_back(&words)
            }
            SupervisorMessage::Refused { words, .. } if self.cluster.is_rolling_back() => {
                self.not_gone_back(&words)
            }
            SupervisorMessage::Taken { version, words } => self.change_taken(version, &words),
            SupervisorMessage::Refused { version, words } => {
                self.change_failed(Some(version), &words)
            }
            SupervisorMessage::WentBack { words } => self.handle_proxy_rollback(&words),
            SupervisorMessage::TrialEnded => self.trial_ended(),
            SupervisorMessage::WantsHelper => self.give_programs(),
            // Begins a soft stop if a signal has stopped the role directly, because the supervisor
            // must close the same listeners.
            SupervisorMessage::Stopping if self.service.stop.is_none() => {
                self.begin_stop(Signal::SIGUSR1)
            }
            SupervisorMessage::Stopping => {}
            SupervisorMessage::Obeys { signal } => {
                let signal = i32::try_from(signal).ok();
                let signal = signal.and_then(|number| Signal::try_from(number).ok());
                if let Some(proxy) = &mut self.slots.serving.running {
                    proxy.received_signal =
                        signal.filter(|signal| part::entry::ENDING.contains(signal));
                }
            }
            SupervisorMessage::State { rest, asked } => {
                // Keeps only the state of a role that serves: final counts are no state, and the
                // state of a paused role must not be given to a successor.
                let upgrade = self.changing.upgrade.as_ref();
                if !rest && upgrade.is_none_or(|upgrade| upgrade.serving().is_none()) {
                    self.carried.keep(received.descriptors);
                }
                if asked {
                    let state = self.carried.state.clone();
                    self.try_upgrade(state.as_ref());
                }
            }
            // The old role's program does not know the request, so the new role starts without a
            // state.
            SupervisorMessage::Unknown { kind } if kind == SupervisorMessage::TellState.kind() => {
                self.try_upgrade(None);
            }
            // Ignores the shutdown reason, which the role has printed; the end of the process is
            // noticed separately.
            SupervisorMessage::Ended { .. } => {}
            other => self.not_understood(self.slots.serving.row.part, &other),
        }
    }

    /// Handles the start of service, with a proxy or without one.
    pub(super) fn proxy_ready(&mut self) {
        if self.service.paused {
            self.pause(true);
        }
        if self.candidate_serves() {
            return;
        }
        let before = self.carried.take_over(&mut self.slots.serving);
        self.follow_version();
        let status = self.status();
        if std::mem::replace(&mut self.service.served, true) {
            return self.interfaces.notify.status(&status);
        }
        if let Some(shown) = self.cluster.first_serves() {
            self.report_change(&[], &shown);
        }
        self.interfaces.notify.ready(&status);
        if let Some(version) = &self.versions.last_good {
            tell::serves(&mut self.voice, version);
        }
        if let Some((before, asked)) = before {
            tell::took_over(&mut self.voice, &before, &asked);
        }
        let limit = self.versions.hard_stop_after_ms();
        self.service.draining.drain_foreign(limit);
        self.report_ready();
    }

    pub(super) fn report_ready(&mut self) {
        if let Some(ready) = self.process.ready.take() {
            if let Err(error) = ready.tell() {
                self.voice.warning(error);
            }
            // Prints nothing from now on: standard error is closed.
            self.voice.quiet = true;
        }
    }

    pub(super) fn open_control(&mut self) {
        let program = self.voice.form().program();
        let opened = ControlSocket::open(program, &self.command.paths, &self.claims());
        let opened = opened.map(|control| self.interfaces.control = Some(control));
        self.interfaces.claim = None;
        match opened.and_then(|()| self.open_guard(self.slots.serving.row.part)) {
            Ok(()) => {}
            Err(error) if self.voice.form() == Form::Own => self.voice.warning(format_args!(
                "`evenkeel reload` will not find this process, and no other supervisor can adopt its proxy ({error}); \
                 HUP works like `reload`"
            )),
            // Prints nothing under other names: scripts for HAProxy do not expect a message about a
            // socket that HAProxy does not have.
            Err(_) => {}
        }
    }

    pub(super) fn proxy_ended(&mut self, proxy: &RunningRole, ending: ProcessExit) {
        let is_stopping = self.service.stop.is_some();
        trace_end(self.slots.serving.row.part, proxy, ending, is_stopping);
        // Reads the pending signals first: the signal that ended the role may also have been sent
        // to the supervisor.
        self.obey_signals();
        if self.process.exit.is_some() {
            return;
        }
        if self.versions.is_without_proxy() {
            // Fails the change or rolls back the candidate for which the proxy was started.
            self.change_failed(None, "the proxy ended before it served");
            if self.cluster.trial_version().is_some() {
                self.handle_proxy_rollback("the proxy died");
            }
            return;
        }
        tell::ended(
            &mut self.voice,
            proxy.process.number(),
            ending,
            self.service.stop.is_some(),
        );
        let end = PrimaryEnd {
            ending,
            obeys: proxy.received_signal,
            was_asked_to_end: self.service.stop.is_some(),
            served: self.service.served,
            killed: self.service.killed_at_start,
            member: self.cluster.is_member(),
        };
        match end.next() {
            Next::Nothing => {}
            Next::Again => {
                self.service.killed_at_start += 1;
                self.note_crash(self.slots.serving.row.part, proxy, ending);
                self.restart_later(self.slots.serving.row.part, proxy.born, proxy.ready);
            }
            Next::FirstFailed => self.first_failed("the proxy ended before it served", ""),
            Next::Exit(code) => self.process.exit = Some(code),
            Next::Ends(code) => {
                tell::ends_all(&mut self.voice, proxy.received_signal, ending);
                self.end(code);
            }
            Next::Follows => {
                self.note_crash(self.slots.serving.row.part, proxy, ending);
                self.proxy_died(proxy);
            }
        }
    }

    fn proxy_died(&mut self, proxy: &RunningRole) {
        if self.old_died() {
            return;
        }
        if self.versions.last_good.is_none() {
            return self.restart_from_files();
        }
        self.change_failed(None, "the proxy died while it loaded the change");
        self.handle_proxy_rollback("the proxy died, too");
        if self.versions.last_good.is_some() {
            self.restart_later(self.slots.serving.row.part, proxy.born, proxy.ready);
        }
    }

    /// Starts from the files again: an adopted role has ended, and its version is unknown, so no
    /// other role can be started with it. The supervisor still holds its sockets.
    fn restart_from_files(&mut self) {
        self.change_failed(None, "the proxy died while it loaded the change");
        Loading::abandon(&mut self.changing.loading);
        self.refuse_pending_changes();
        self.service.served = false;
        self.settle_in(None);
        let sockets = self.versions.unsettled.take().map(|one| one.sockets);
        self.begin_operation();
        tracing::info!(op = %self.changing.operation, "restart from the files");
        let load = self.load(&[]);
        let (own, sockets) = (Path::new(OWN_PROGRAM), sockets.unwrap_or_default());
        match Loading::begin_with_masters(own, load, &sockets, &self.command.masters) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.fail(error),
        }
    }

    /// Kills the proxy and serves nothing, as before the first version.
    pub(super) fn end_service(&mut self) {
        self.slots.serving.restart_at = None;
        (self.versions.last_good, self.versions.unsettled) = (None, None);
        self.service.served = false;
        if let Some(mut proxy) = self.slots.serving.running.take() {
            proxy.process.kill_and_wait();
            let killed =
                ProcessExit::Status(std::process::ExitStatus::from_raw(Signal::SIGKILL as i32));
            tell::ended(&mut self.voice, proxy.process.number(), killed, true);
        }
        self.forget_version();
    }

    fn handle_commands(&mut self) {
        let Some(control) = &mut self.interfaces.control else {
            return;
        };
        let heard = control.read_clients();
        for asker in heard.askers {
            self.changing.requests.ask(Some(asker));
        }
        for (client, question) in heard.questions {
            self.pass_on(Asks::Client(client), question);
        }
        let Some(control) = &mut self.interfaces.control else {
            return;
        };
        let waits =
            |asker: &Asker| asker.at != RequestInterface::Control || control.knows(asker.id);
        if self.changing.requests.forget(waits) {
            self.abort_loading();
        }
    }

    fn check_deadlines(&mut self) {
        let now = Instant::now();
        self.interfaces.notify.look_at_clock(now);
        let expired = self.between.requests.expire(now);
        self.answer_unanswered(expired);
        let loading = self.changing.loading.as_mut();
        if let Some(words) = loading.and_then(|loading| loading.report_slowness(now)) {
            self.voice.warning(words);
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self
            .versions
            .candidate
            .as_ref()
            .map(|candidate| candidate.until))
        {
            let words = format!(
                "the proxy did not load the change within {} s",
                TAKE_LIMIT.as_secs()
            );
            self.change_failed(None, &words);
        }
        let stop = self.service.stop.and_then(|stop| stop.until);
        if due(stop)
            && let Some(proxy) = &mut self.slots.serving.running
        {
            // Only kills the proxy: the main loop notices its end.
            proxy.kill_overdue();
            self.service.stop = self.service.stop.map(|stop| Stop {
                until: None,
                ..stop
            });
        }
        self.check_slots(now);
    }
}
