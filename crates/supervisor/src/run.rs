//! The main loop of the supervisor: waits for signals, the loader, the roles, commands and timers,
//! and handles each event.

use crate::between::Asks;
use crate::control::{Asker, Control, Door};
use crate::ended::{End, Next};
use crate::error::StartError;
use crate::loading::{LoadError, Loading, Told};
use crate::master::Master;
use crate::resumed::Resumed;
use crate::route_process::RouteProcess;
use crate::signals::Caught;
use crate::slot::{Running, Slot};
use crate::state::upgrade::Upgrade;
use crate::state::{Supervisor, TAKE_LIMIT};
use crate::stop::{FAILED, Stop};
use crate::version::Version;
use crate::{first, orphan, serving, tell};
use nix::sys::signal::Signal;
use part::channel::{Channel, Received, timespec};
use part::role::{Message, Take};
use part::row;
use part::spawn::{Ending, OWN_PROGRAM};
use part::voice::Form;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

impl Supervisor {
    /// Runs until the end of the supervisor. Returns the exit code of the command.
    pub fn run(mut self, left: Option<Resumed>) -> u8 {
        self.begin(left);
        self.begin_change();
        while self.own.exit.is_none() {
            if let Err(errno) = self.wait() {
                self.fail(StartError::Threads(errno.into()));
                break;
            }
            self.obey_signals();
            self.look_at_loader();
            for row in row::all() {
                self.look_at_role(row.part);
            }
            self.look_at_cluster();
            self.look_at_formers();
            self.look_at_upgrade();
            self.end_when_all_have();
            self.hear_commands();
            self.look_at_routes();
            self.hear_masters();
            self.look_at_clock();
            self.tell_missing();
            self.look_at_pulses();
            self.look_at_files();
            self.carried.reap();
            self.begin_change();
        }
        self.abandon_upgrade();
        self.end_routes();
        // Sidecars end while the proxy still serves.
        self.end_parts();
        self.end_control();
        self.slots.serving.end();
        for former in &mut self.service.formers {
            former.proxy.process.end_now();
        }
        self.give_up_changes();
        if let Some(master) = self.doors.master.take() {
            master.end();
        }
        self.tidy_up_as_keepalived(self.own.pid_path.as_deref());
        self.own.exit.unwrap_or(FAILED)
    }

    /// Continues the work of the previous program image or of another supervisor, or starts from
    /// the files.
    fn begin(&mut self, left: Option<Resumed>) {
        if !self.claim_member() {
            return;
        }
        let resumed = left.map(|left| self.resume(left));
        match resumed {
            Some(Ok(())) => return self.begin_as_member(),
            Some(Err(error)) => tell::not_resumed(&mut self.voice, &error),
            None => {}
        }
        if !self.claim() {
            return;
        }
        for (what, left) in orphan::others(&self.command) {
            tell::left_alone(&mut self.voice, what, &left);
        }
        if self.adopt() {
            return self.begin_as_member();
        }
        if self.is_member() {
            self.begin_as_member();
            return self.load_accepted();
        }
        match self.begin_loading(Path::new(OWN_PROGRAM), self.load(&[]), &[]) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.fail(error),
        }
        self.carried.loader_began();
    }

    /// Returns whether the deciding role is ready, or no role has to run.
    pub(super) fn serves(&self) -> bool {
        let is_idle = self.versions.kept.as_ref().is_some_and(Version::is_idle);
        is_idle || self.slots[self.decider(self.versions.kept.as_ref())].is_ready()
    }

    fn wait(&self) -> Result<(), Errno> {
        let mut watched = vec![PollFd::from_borrowed_fd(
            self.own.signals.as_fd(),
            PollFlags::IN,
        )];
        watched.extend(self.slots.watched());
        let formers = self.service.formers.iter();
        watched.extend(formers.flat_map(|former| former.proxy.process.watched()));
        for process in self.changing.loading.iter().map(|loading| &loading.process) {
            watched.push(PollFd::new(&process.channel, process.channel.interest()));
            watched.push(PollFd::from_borrowed_fd(process.end(), PollFlags::IN));
        }
        watched.extend(self.cluster.watched());
        watched.extend(self.changing.upgrade.iter().flat_map(Upgrade::watched));
        watched.extend(self.doors.control.iter().flat_map(Control::watched));
        watched.extend(self.doors.master.iter().flat_map(Master::watched));
        watched.extend(self.changing.watcher.watched());
        watched.extend(self.between.routes.iter().flat_map(RouteProcess::watched));
        let left = self
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        match poll(&mut watched, left.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Returns when the next timer expires.
    fn deadline(&self) -> Option<Instant> {
        [
            self.changing.loading.as_ref().map(|loading| loading.until),
            self.versions
                .candidate
                .as_ref()
                .map(|candidate| candidate.until),
            self.doors.master.as_ref().and_then(Master::deadline),
            self.doors.notify.deadline(),
            self.service.stop.and_then(|stop| stop.until),
            self.changing.watcher.retry_at,
            self.may_change()
                .then(|| self.changing.watcher.due())
                .flatten(),
            self.changing.upgrade.as_ref().and_then(Upgrade::deadline),
            self.cluster.deadline(),
            self.between.deadline(),
            self.pulses.deadline(),
        ]
        .into_iter()
        .chain(self.slots.all().map(Slot::deadline))
        .chain(self.service.formers.iter().map(|former| former.until))
        .chain(self.channels().map(Channel::rests_until))
        .flatten()
        .min()
    }

    /// Returns the channels to all child processes.
    fn channels(&self) -> impl Iterator<Item = &Channel> {
        let formers = self.service.formers.iter().map(|former| &former.proxy);
        let proxies = formers.chain(self.changing.upgrade.iter().filter_map(Upgrade::trial));
        let loading = self.changing.loading.iter().map(|loading| &loading.process);
        let processes = proxies.map(|proxy| &proxy.process).chain(loading);
        let audible = processes.filter(|process| !process.silent);
        let control = self.doors.control.iter().flat_map(Control::channels);
        let audible = audible.map(|process| &process.channel).chain(control);
        let audible = audible.chain(self.slots.channels());
        audible.chain(self.cluster.channels())
    }

    pub(super) fn obey_signals(&mut self) {
        while let Some(caught) = self.own.signals.next() {
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
        let message = match paused {
            true => Message::Pause,
            false => Message::Resume,
        };
        if let Some(tried) = self.tried() {
            // The old role stays paused.
            let _ = tried.say(&message);
        } else if let Some(proxy) = &mut self.slots.serving.running {
            // A role that cannot receive it yet gets it once it serves.
            let _ = proxy.say(&message);
        }
    }

    pub(super) fn begin_stop(&mut self, signal: Signal) {
        let limit = self.versions.hard_stop_after_ms();
        let Some(stop) = Stop::by(signal, limit, Instant::now()) else {
            return;
        };
        // A soft stop must not replace a hard stop that was requested before.
        if stop.is_soft() && self.service.stop.is_some() {
            return;
        }
        self.service.stop = Some(stop);
        tell::exiting(&mut self.voice, stop.is_soft());
        self.doors.notify.stopping(match stop.is_soft() {
            true => "finishing the existing connections",
            false => "stopping",
        });
        self.slots.serving.restart_at = None;
        self.abandon_loading();
        self.stop_upgrade(&stop);
        self.stop_formers(&stop);
        self.quiet_control();
        self.give_up_changes();
        // The supervisor must not hold the listeners open after the role has closed them.
        self.versions.kept = None;
        self.versions.unsettled = None;
        self.versions.candidate = None;
        // The proxy serves until no client is directed to this machine any longer.
        match self.release_parts(true) {
            // The proxy's stop timeout starts after the addresses were released.
            true => {
                self.service.stop = Some(Stop {
                    until: None,
                    ..stop
                })
            }
            false => self.stop_without_parts(),
        }
    }

    /// Stops the control role and the proxy after the sidecars have ended, and reports the sidecars
    /// as gone: leases become free once nothing on this machine uses them.
    pub(super) fn stop_without_parts(&mut self) {
        for part in row::beside() {
            self.tell_gone(part);
        }
        self.stop_control();
        self.stop_proxy();
    }

    /// Makes the proxy stop in the requested manner.
    fn stop_proxy(&mut self) {
        if let Some(stop) = &mut self.service.stop
            && !stop.is_soft()
            && let Some(anew) = Stop::by(stop.signal, None, Instant::now())
        {
            *stop = anew;
        }
        if let (Some(stop), Some(proxy)) = (self.service.stop, &mut self.slots.serving.running) {
            // Without a proxy the stop ends with the finishing roles, if there are any.
            serving::stop(proxy, &stop);
        }
    }

    /// Ends the stop once every role has ended.
    fn end_when_all_have(&mut self) {
        if !self.slots.serving.lives() && self.service.formers.is_empty() {
            self.release_what_stayed();
        }
        let all = !self.slots.all().any(Slot::lives) && self.service.formers.is_empty();
        if let Some(stop) = self.service.stop.filter(|_| all && self.own.exit.is_none()) {
            self.end(stop.exit());
        }
    }

    fn end(&mut self, exit: u8) {
        if self.service.stop.is_none() {
            self.doors.notify.stopping("the proxy has ended");
        }
        tell::all_exited(&mut self.voice, exit);
        self.own.exit = Some(exit);
    }

    fn look_at_loader(&mut self) {
        let Some(told) = Loading::settle(&mut self.changing.loading) else {
            return;
        };
        match self.service.served {
            true => self.change_loaded(told),
            false => self.first_loaded(told),
        }
    }

    fn first_loaded(&mut self, told: Result<Told, LoadError>) {
        let told = match told {
            Ok(told) => told,
            Err(error) if self.is_member() => {
                return self.first_failed(&error.to_string(), "");
            }
            Err(error) => return self.fail(error),
        };
        self.first_told(&told);
        // The loader has already printed the diagnostics.
        let plan = match told.outcome {
            Ok(plan) => plan,
            Err(_) if self.is_member() => return self.first_failed("", &told.shown),
            Err(why) => {
                self.own.exit = Some(match self.voice.form() {
                    Form::Keepalived => tell::NOT_RUN,
                    Form::Own | Form::Haproxy => why.exit,
                });
                tell::not_begun(&mut self.voice);
                return;
            }
        };
        self.voice.quiet |= plan.quiet;
        let take = Take {
            version: self.next_version(),
            personality: self.command.personality,
            background: plan.daemon,
            plan,
            ..Take::default()
        };
        let mut descriptors = told.descriptors;
        let own = descriptors.len().min(Version::wanted(&take.plan));
        let whole = self.carried.take(descriptors.split_off(own));
        let Some(version) = Version::new(take, descriptors).filter(|_| whole) else {
            return self.fail(LoadError::Message);
        };
        match self.begin_first(version) {
            Err(error) if self.is_member() => self.first_failed(&error.to_string(), ""),
            Err(error) => self.fail(error),
            Ok(()) => {}
        }
    }

    fn begin_first(&mut self, version: Version) -> Result<(), StartError> {
        self.claim_version(version.plan())?;
        self.own.pid_file = first::PidFile::open(version.plan())?;
        self.open_masters()?;
        if version.plan().daemon {
            self.own.ready = Some(first::into_background()?);
            self.voice.pid = std::process::id();
            if let Some((entry, _)) = &mut self.doors.claim {
                entry.move_to_this_process();
            }
        }
        if let Some(file) = self.own.pid_file.take() {
            self.own.pid_path = Some(file.path().to_owned());
            file.write()?;
        }
        self.versions.kept = Some(version);
        // A client that sees the control socket can also request a reload, so the socket opens
        // before the role starts.
        if self.doors.control.is_none() {
            self.open_control();
        }
        self.keep_version();
        match &self.versions.kept {
            // No role will report that it is ready.
            Some(kept) if kept.is_idle() => self.proxy_ready(),
            Some(kept) if kept.is_without_proxy() => self.follow_version(),
            _ => self.start_proxy(),
        }
        Ok(())
    }

    pub(super) fn start_proxy(&mut self) {
        let Some(version) = self
            .versions
            .kept
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
                tell::forked(&mut self.voice, proxy.process.number());
                self.slots.serving.running = Some(proxy);
                self.give_vitals();
            }
            Err(error) if self.service.served => {
                self.voice.alert(error);
                self.restart_later(self.slots.serving.row.part, Instant::now(), false);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Handles a message of a proxy role.
    pub(super) fn hear_proxy(&mut self, received: Received) {
        match received.message {
            Message::Ready { words, .. } => {
                self.tell_words(&words);
                self.proxy_ready();
            }
            Message::Taken { words, .. } if self.is_going_back() => self.gone_back(&words),
            Message::Refused { words, .. } if self.is_going_back() => self.not_gone_back(&words),
            Message::Taken { version, words } => self.change_taken(version, &words),
            Message::Refused { version, words } => self.change_failed(Some(version), &words),
            Message::WentBack { words } => self.went_back(&words),
            Message::TrialEnded => self.trial_ended(),
            Message::WantsHelper => self.give_programs(),
            // A signal stopped the role directly; the supervisor must close the same listeners.
            Message::Stopping if self.service.stop.is_none() => self.begin_stop(Signal::SIGUSR1),
            Message::Stopping => {}
            Message::Obeys { signal } => {
                let signal = i32::try_from(signal).ok();
                let signal = signal.and_then(|number| Signal::try_from(number).ok());
                if let Some(proxy) = &mut self.slots.serving.running {
                    proxy.obeys = signal.filter(|signal| part::entry::ENDING.contains(signal));
                }
            }
            Message::State { rest, asked } => {
                self.keep_state(rest, received.descriptors);
                if asked {
                    self.state_told(self.carried.state.clone());
                }
            }
            // A role of an older program does not know the request for its state.
            Message::Unknown { kind } if kind == Message::TellState.kind() => {
                self.state_told(None);
            }
            // The role has printed the reason; its end is noticed separately.
            Message::Ended { .. } => {}
            other => self.not_understood(self.slots.serving.row.part, &other),
        }
    }

    fn tell_words(&mut self, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
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
        let before = self.take_over();
        self.follow_version();
        let status = self.status();
        if std::mem::replace(&mut self.service.served, true) {
            return self.doors.notify.status(&status);
        }
        self.first_serves();
        self.doors.notify.ready(&status);
        if let Some(version) = &self.versions.kept {
            tell::serves(&mut self.voice, version);
        }
        if let Some((before, asked)) = before {
            tell::took_over(&mut self.voice, &before, &asked);
        }
        self.see_off_foreign();
        self.tell_ready();
    }

    /// Reports readiness to the parent that started this process in the background.
    pub(super) fn tell_ready(&mut self) {
        if let Some(ready) = self.own.ready.take() {
            if let Err(error) = ready.tell() {
                self.voice.warning(error);
            }
            // Standard error is closed, so no message would be read.
            self.voice.quiet = true;
        }
    }

    pub(super) fn open_control(&mut self) {
        let program = self.voice.form().program();
        let opened = Control::open(program, &self.command.paths, &self.claims());
        let opened = opened.map(|control| self.doors.control = Some(control));
        self.doors.claim = None;
        match opened.and_then(|()| self.open_guard(self.slots.serving.row.part)) {
            Ok(()) => {}
            Err(error) if self.voice.form() == Form::Own => self.voice.warning(format_args!(
                "`evenkeel reload` will not find this process, and no other supervisor can adopt its proxy ({error}); \
                 HUP works like `reload`"
            )),
            // Under HAProxy's name scripts do not expect a message about a socket that HAProxy does
            // not have.
            Err(_) => {}
        }
    }

    /// Restores the entries in the runtime directory if they were removed.
    fn restore_entries(&mut self) {
        let gone = |control: &Control| !control.socket().1.exists();
        if !self.doors.control.as_ref().is_some_and(gone) {
            return;
        }
        // Dropping the old entries later would remove new ones of the same name.
        self.doors.control = None;
        self.slots.all_mut().for_each(|slot| slot.guard = None);
        self.open_control();
        self.slots.serving.tell_guard();
        self.keep_version();
        self.guard_parts();
        self.voice.warning(
            "the entry in the runtime directory was gone and is there again: `evenkeel reload` finds this process",
        );
    }

    pub(super) fn proxy_ended(&mut self, proxy: &Running, ending: Ending) {
        // The signal that ended the role may also have been sent to the supervisor.
        self.obey_signals();
        if self.own.exit.is_some() {
            return;
        }
        if self.is_without_proxy() {
            // The proxy was started for a change, which now fails, or for a candidate.
            self.change_failed(None, "the proxy ended before it served");
            if self.cluster.trial.is_some() {
                self.went_back("the proxy died");
            }
            return;
        }
        tell::ended(
            &mut self.voice,
            proxy.process.number(),
            ending,
            self.service.stop.is_some(),
        );
        let end = End {
            ending,
            obeys: proxy.obeys,
            told: self.service.stop.is_some(),
            served: self.service.served,
            killed: self.service.killed_at_start,
            member: self.is_member(),
        };
        match end.next() {
            Next::Nothing => {}
            Next::Again => {
                self.service.killed_at_start += 1;
                self.note_crash(self.slots.serving.row.part, proxy, ending);
                self.restart_later(self.slots.serving.row.part, proxy.born, proxy.ready);
            }
            Next::FirstFailed => self.first_failed("the proxy ended before it served", ""),
            Next::Exit(code) => self.own.exit = Some(code),
            Next::Ends(code) => {
                tell::ends_all(&mut self.voice, proxy.obeys, ending);
                self.end(code);
            }
            Next::Follows => {
                self.note_crash(self.slots.serving.row.part, proxy, ending);
                self.proxy_died(proxy);
            }
        }
    }

    fn proxy_died(&mut self, proxy: &Running) {
        if self.old_died() {
            return;
        }
        if self.versions.kept.is_none() {
            return self.begin_anew();
        }
        self.change_failed(None, "the proxy died while it loaded the change");
        self.went_back("the proxy died, too");
        if self.versions.kept.is_some() {
            self.restart_later(self.slots.serving.row.part, proxy.born, proxy.ready);
        }
    }

    /// Starts from the files again: an adopted role has ended and no stored configuration could
    /// start another one. Its sockets are still open.
    fn begin_anew(&mut self) {
        self.change_failed(None, "the proxy died while it loaded the change");
        self.abandon_loading();
        self.give_up_changes();
        self.service.served = false;
        self.settle_in(None);
        let sockets = self.versions.unsettled.take().map(|one| one.sockets);
        let load = self.load(&[]);
        match self.begin_loading(Path::new(OWN_PROGRAM), load, &sockets.unwrap_or_default()) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.fail(error),
        }
    }

    /// Ends the proxy and serves nothing, as before the first version.
    pub(super) fn end_service(&mut self) {
        self.slots.serving.restart_at = None;
        (self.versions.kept, self.versions.unsettled) = (None, None);
        self.service.served = false;
        if let Some(mut proxy) = self.slots.serving.running.take() {
            proxy.process.end_now();
            let killed = Ending::Status(std::process::ExitStatus::from_raw(Signal::SIGKILL as i32));
            tell::ended(&mut self.voice, proxy.process.number(), killed, true);
        }
        self.forget_version();
    }

    /// Ends the loader in progress, if there is one.
    pub(super) fn abandon_loading(&mut self) {
        Loading::abandon(&mut self.changing.loading);
    }

    fn hear_commands(&mut self) {
        let Some(control) = &mut self.doors.control else {
            return;
        };
        let heard = control.hear();
        for asker in heard.askers {
            self.changing.requests.ask(Some(asker));
        }
        for (client, question) in heard.questions {
            self.pass_on(Asks::Client(client), question);
        }
        let Some(control) = &mut self.doors.control else {
            return;
        };
        let waits = |asker: &Asker| asker.at != Door::Control || control.knows(asker.id);
        if self.changing.requests.forget(waits) {
            self.give_up_loading();
        }
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        self.doors.notify.look_at_clock(now);
        self.give_up_questions();
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
            // The main loop notices the end of the process.
            proxy.give_up();
            self.service.stop = self.service.stop.map(|stop| Stop {
                until: None,
                ..stop
            });
        }
        self.look_at_slots(now);
    }
}
