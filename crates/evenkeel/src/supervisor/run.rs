//! The one loop of the supervisor: waits for signals, the loader, the role,
//! commands and the time, and does what each of them asks for.

use super::adopt::Unsettled;
use super::carried::Carried;
use super::change::{Candidate, TAKE_LIMIT};
use super::cluster::Cluster;
use super::control::{Asker, Control, Door};
use super::directory::Entry;
use super::ended::{End, Next};
use super::former::Former;
use super::loading::{LoadError, Loading, Told};
use super::master::Master;
use super::notify::Notify;
use super::operate::Changes;
use super::pulse::Pulses;
use super::requests::Requests;
use super::route::{Asks, Between, PROXY};
use super::signals::{Caught, Signals};
use super::slot::{Running, Slot, Slots};
use super::stop::Stop;
use super::upgrade::{Program, Resumed, Upgrade};
use super::version::Version;
use super::watch::Watcher;
use super::{Command, adopt, first, limits, proxy, tell};
use crate::process::{self, Ready, StartError};
use crate::roles::spawn::{Ending, OWN_PROGRAM};
use crate::voice::{Form, Voice};
use nix::sys::signal::Signal;
use part::channel::{Channel, Received, timespec};
use part::role::{Message, Take};
use part::row;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a start that failed exits with.
const FAILED: u8 = 1;
/// A supervisor.
pub struct Supervisor {
    pub(super) command: Command,
    pub(super) voice: Voice,
    pub(super) files_soft: u64,
    signals: Signals,
    pub(super) control: Option<Control>,
    /// The entry in the runtime directory until then.
    pub(super) claim: Option<(Entry, OwnedFd)>,
    /// None until they are opened.
    pub(super) master: Option<Master>,
    pub(super) notify: Notify,
    pub(super) changes: Changes,
    /// When it began.
    pub(super) since: Instant,
    pub(super) loading: Option<Loading>,
    /// The last good version.
    pub(super) kept: Option<Version>,
    /// A role was taken whose version is not known.
    pub(super) unsettled: Option<Unsettled>,
    pub(super) candidate: Option<Candidate>,
    pub(super) carried: Carried,
    pub(super) versions: u64,
    pub(super) requests: Requests,
    pub(super) watcher: Watcher,
    killed_at_start: u32,
    /// It served at least once.
    pub(super) served: bool,
    pub(super) paused: bool,
    pub(super) stop: Option<Stop>,
    pub(super) ready: Option<Ready>,
    pid_file: Option<first::PidFile>,
    /// Where that is, once it was written.
    pid_path: Option<PathBuf>,
    pub(super) exit: Option<u8>,
    /// Which file this program is.
    pub(super) program: Program,
    pub(super) upgrade: Option<Upgrade>,
    /// Roles that finish.
    pub(super) formers: Vec<Former>,
    /// A role of another program, which finishes once there is one of ours.
    pub(super) foreign: Option<Running>,
    /// The roles.
    pub(super) slots: Slots,
    /// The cluster that this machine belongs to.
    pub(super) cluster: Cluster,
    /// What parts say to each other.
    pub(super) between: Between,
    /// Whether the roles show life.
    pub(super) pulses: Pulses,
}

impl Supervisor {
    /// One that has not begun.
    pub fn new(command: Command, voice: Voice) -> Result<Supervisor, StartError> {
        let signals = Signals::new().map_err(StartError::Threads)?;
        let notify = match command.notify {
            true => Notify::of_environment(),
            false => Notify::default(),
        };
        Ok(Supervisor {
            carried: Carried::from(command.before.clone()),
            cluster: Cluster::new(command.cluster.clone()),
            command,
            voice,
            files_soft: limits::raise_own(),
            signals,
            control: None,
            claim: None,
            master: None,
            notify,
            changes: Changes::default(),
            since: Instant::now(),
            loading: None,
            kept: None,
            unsettled: None,
            candidate: None,
            versions: 0,
            requests: Requests::default(),
            watcher: Watcher::default(),
            killed_at_start: 0,
            served: false,
            paused: false,
            stop: None,
            ready: None,
            pid_file: None,
            pid_path: None,
            exit: None,
            program: Program::of_start(),
            upgrade: None,
            formers: Vec::new(),
            foreign: None,
            slots: Slots::default(),
            between: Between::default(),
            pulses: Pulses::default(),
        })
    }

    /// Supervises until the end; with what the command exits.
    pub fn run(mut self, left: Option<Resumed>) -> u8 {
        self.begin(left);
        self.begin_change();
        while self.exit.is_none() {
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
            self.hear_masters();
            self.look_at_clock();
            self.look_at_pulses();
            self.look_at_files();
            self.carried.reap();
            self.begin_change();
        }
        self.abandon_upgrade();
        // While the proxy serves still.
        self.end_parts();
        self.end_control();
        self.slots[PROXY].end();
        for former in &mut self.formers {
            former.proxy.process.end_now();
        }
        self.give_up_changes();
        if let Some(master) = self.master.take() {
            master.end();
        }
        self.tidy_up_as_keepalived(self.pid_path.as_deref());
        self.exit.unwrap_or(FAILED)
    }

    /// Continues where another image or another supervisor stopped, or starts
    /// from the files.
    fn begin(&mut self, left: Option<Resumed>) {
        let resumed = left.map(|left| self.resume(left));
        match resumed {
            Some(Ok(())) => return self.begin_as_member(),
            Some(Err(error)) => tell::not_resumed(&mut self.voice, &error),
            None => {}
        }
        if !self.claim() {
            return;
        }
        if self.adopt() {
            return self.begin_as_member();
        }
        if self.is_member() {
            self.begin_as_member();
            return self.load_accepted();
        }
        match self.begin_loading(Path::new(OWN_PROGRAM), self.load(&[]), &[]) {
            Ok(loading) => self.loading = Some(loading),
            Err(error) => self.fail(error),
        }
        self.carried.loader_began();
    }

    pub(super) fn fail(&mut self, error: impl std::fmt::Display) {
        self.voice.fatal(error);
        self.exit = Some(FAILED);
    }

    /// Whether a role takes orders.
    pub(super) fn serves(&self) -> bool {
        self.slots[self.decider(self.kept.as_ref())].is_ready()
    }

    /// The number of the next version.
    pub(super) fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    fn wait(&self) -> Result<(), Errno> {
        let mut watched = vec![PollFd::from_borrowed_fd(
            self.signals.as_fd(),
            PollFlags::IN,
        )];
        watched.extend(self.slots.watched());
        let formers = self.formers.iter();
        watched.extend(formers.flat_map(|former| former.proxy.process.watched()));
        for process in self.loading.iter().map(|loading| &loading.process) {
            watched.push(PollFd::new(&process.channel, process.channel.interest()));
            watched.push(PollFd::from_borrowed_fd(process.end(), PollFlags::IN));
        }
        watched.extend(self.cluster.watched());
        watched.extend(self.upgrade.iter().flat_map(Upgrade::watched));
        watched.extend(self.control.iter().flat_map(Control::watched));
        watched.extend(self.master.iter().flat_map(Master::watched));
        watched.extend(self.watcher.watched());
        let left = self
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        match poll(&mut watched, left.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// When something is due by itself.
    fn deadline(&self) -> Option<Instant> {
        [
            self.loading.as_ref().map(|loading| loading.until),
            self.candidate.as_ref().map(|candidate| candidate.until),
            self.master.as_ref().and_then(Master::deadline),
            self.notify.deadline(),
            self.stop.and_then(|stop| stop.until),
            self.watcher.retry_at(),
            self.may_change().then(|| self.watcher.due()).flatten(),
            self.upgrade.as_ref().and_then(Upgrade::deadline),
            self.cluster.deadline(),
            self.between.deadline(),
            self.pulses.deadline(),
        ]
        .into_iter()
        .chain(self.slots.all().map(Slot::deadline))
        .chain(self.formers.iter().map(|former| former.until))
        .chain(self.channels().map(Channel::rests_until))
        .flatten()
        .min()
    }

    /// The channels to processes of ours.
    fn channels(&self) -> impl Iterator<Item = &Channel> {
        let formers = self.formers.iter().map(|former| &former.proxy);
        let proxies = formers.chain(self.upgrade.iter().filter_map(Upgrade::trial));
        let loading = self.loading.iter().map(|loading| &loading.process);
        let processes = proxies.map(|proxy| &proxy.process).chain(loading);
        let audible = processes.filter(|process| !process.silent);
        let control = self.control.iter().flat_map(Control::channels);
        let audible = audible.map(|process| &process.channel).chain(control);
        let audible = audible.chain(self.slots.channels());
        audible.chain(self.cluster.channels())
    }

    pub(super) fn obey_signals(&mut self) {
        while let Some(caught) = self.signals.next() {
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
                    self.requests.ask(None);
                }
                Signal::SIGTTOU | Signal::SIGTTIN => self.pause(signal == Signal::SIGTTOU),
                _ => {}
            }
        }
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        let message = match paused {
            true => Message::Pause,
            false => Message::Resume,
        };
        if let Some(tried) = self.tried() {
            // The one before stays paused.
            let _ = tried.say(&message);
        } else if let Some(proxy) = &mut self.slots[PROXY].running {
            // A role that cannot receive it yet gets it once it serves.
            let _ = proxy.say(&message);
        }
    }

    pub(super) fn begin_stop(&mut self, signal: Signal) {
        let limit = self
            .kept
            .as_ref()
            .and_then(|kept| kept.plan().hard_stop_after_ms);
        let Some(stop) = Stop::by(signal, limit, Instant::now()) else {
            return;
        };
        // Who asked for a hard stop does not get a soft one by asking again.
        if stop.is_soft() && self.stop.is_some() {
            return;
        }
        self.stop = Some(stop);
        tell::exiting(&mut self.voice, stop.is_soft());
        self.notify.stopping(match stop.is_soft() {
            true => "finishing the existing connections",
            false => "stopping",
        });
        self.slots[PROXY].restart_at = None;
        self.abandon_loading();
        self.stop_upgrade(&stop);
        self.stop_formers(&stop);
        self.quiet_control();
        self.give_up_changes();
        // The listeners are to be closed when the role closes them.
        self.kept = None;
        self.unsettled = None;
        self.candidate = None;
        // The proxy serves until nobody is sent to it any more.
        match self.release_parts(true) {
            // It has its time from then on.
            true => {
                self.stop = Some(Stop {
                    until: None,
                    ..stop
                })
            }
            false => self.stop_without_parts(),
        }
    }

    /// The leases are free once nothing on this machine uses them.
    pub(super) fn stop_without_parts(&mut self) {
        for part in self.slots.beside() {
            self.tell_gone(part);
        }
        self.stop_control();
        self.stop_proxy();
    }

    /// Makes the proxy stop as it was asked for.
    fn stop_proxy(&mut self) {
        if let Some(stop) = &mut self.stop
            && !stop.is_soft()
            && let Some(anew) = Stop::by(stop.signal, None, Instant::now())
        {
            *stop = anew;
        }
        if let (Some(stop), Some(proxy)) = (self.stop, &mut self.slots[PROXY].running) {
            // Without one it ends with those that finish, if there are any.
            proxy::stop(proxy, &stop);
        }
    }

    /// The stop is over when every role has ended.
    fn end_when_all_have(&mut self) {
        let all = !self.slots.all().any(Slot::lives) && self.formers.is_empty();
        if let Some(stop) = self.stop.filter(|_| all && self.exit.is_none()) {
            self.end(stop.exit());
        }
    }

    fn end(&mut self, exit: u8) {
        if self.stop.is_none() {
            self.notify.stopping("the proxy has ended");
        }
        tell::all_exited(&mut self.voice, exit);
        self.exit = Some(exit);
    }

    fn look_at_loader(&mut self) {
        let Some(told) = Loading::settle(&mut self.loading) else {
            return;
        };
        match self.served {
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
        // What there was to tell was printed by the loader.
        let plan = match told.outcome {
            Ok(plan) => plan,
            Err(_) if self.is_member() => return self.first_failed("", &told.shown),
            Err(why) => {
                self.exit = Some(match self.voice.form() {
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
        self.pid_file = first::PidFile::open(version.plan())?;
        self.open_masters()?;
        if version.plan().daemon {
            self.ready = Some(first::into_background()?);
            self.voice.pid = std::process::id();
        }
        if let Some(file) = self.pid_file.take() {
            self.pid_path = Some(file.path().to_owned());
            file.write()?;
        }
        self.kept = Some(version);
        // Who sees that it listens can also ask for a change.
        if self.control.is_none() {
            self.open_control();
        }
        self.keep_version();
        match self.is_without_proxy() {
            true => self.follow_version(),
            false => self.start_proxy(),
        }
        Ok(())
    }

    pub(super) fn start_proxy(&mut self) {
        let Some(version) = self.kept.as_ref().filter(|kept| kept.has(PROXY)) else {
            return;
        };
        let own = Path::new(OWN_PROGRAM);
        let state = self.carried.state.as_ref();
        let listener = self.slots[PROXY].listener();
        match proxy::start(own, version, state, Some(listener)) {
            Ok(proxy) => {
                tell::forked(&mut self.voice, proxy.process.number());
                self.slots[PROXY].running = Some(proxy);
                self.give_vitals();
            }
            Err(error) if self.served => {
                self.voice.alert(error);
                self.restart_later(Instant::now(), false);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Obeys what a proxy role says.
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
            // Somebody told the role by a signal; what it closes is closed here, too.
            Message::Stopping if self.stop.is_none() => self.begin_stop(Signal::SIGUSR1),
            Message::Stopping => {}
            Message::Obeys { signal } => {
                let signal = i32::try_from(signal).ok();
                let signal = signal.and_then(|number| Signal::try_from(number).ok());
                if let Some(proxy) = &mut self.slots[PROXY].running {
                    proxy.obeys = signal.filter(|signal| process::ENDING.contains(signal));
                }
            }
            Message::State { rest, asked } => {
                self.keep_state(rest, received.descriptors);
                if asked {
                    self.state_told(self.carried.state.clone());
                }
            }
            // It does not know how to tell what it knows.
            Message::Unknown { kind } if kind == Message::TellState.kind() => {
                self.state_told(None);
            }
            // It was printed by the role, whose end is seen by itself.
            Message::Ended { .. } => {}
            other => self.not_understood(PROXY, &other),
        }
    }

    fn tell_words(&mut self, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
        }
    }

    /// What was asked for is served; also where that is no proxy.
    pub(super) fn proxy_ready(&mut self) {
        if self.paused {
            self.pause(true);
        }
        if self.candidate_serves() {
            return;
        }
        self.take_over();
        self.follow_version();
        let status = self.status();
        if std::mem::replace(&mut self.served, true) {
            return self.notify.status(&status);
        }
        self.first_serves();
        self.notify.ready(&status);
        if let Some(version) = &self.kept {
            tell::serves(&mut self.voice, version);
        }
        self.see_off_foreign();
        self.tell_ready();
    }

    /// Reports readiness to the parent that started this process in the background.
    pub(super) fn tell_ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            if let Err(error) = ready.tell() {
                self.voice.warning(error);
            }
            // Its standard error is closed, so nothing that it says is read.
            self.voice.quiet = true;
        }
    }

    pub(super) fn open_control(&mut self) {
        let program = adopt::program(self.voice.form());
        let opened = Control::open(program, &self.command.paths);
        let opened = opened.map(|control| self.control = Some(control));
        self.claim = None;
        match opened.and_then(|()| self.open_guard()) {
            Ok(()) => {}
            Err(error) if self.voice.form() == Form::Own => self.voice.warning(format_args!(
                "`evenkeel reload` will not find this process, and no other supervisor can adopt its proxy ({error}); \
                 HUP works like `reload`"
            )),
            // Scripts do not expect a word about what HAProxy does not have.
            Err(_) => {}
        }
    }

    /// Enters the runtime directory again where somebody has removed it.
    fn restore_entries(&mut self) {
        let gone = |control: &Control| !control.socket().1.exists();
        if !self.control.as_ref().is_some_and(gone) {
            return;
        }
        // The entries of before would remove those of the same name.
        self.control = None;
        self.slots.all_mut().for_each(|slot| slot.guard = None);
        self.open_control();
        self.guard_proxy();
        self.keep_version();
        self.guard_parts();
        self.voice.warning(
            "the entry in the runtime directory was gone and is there again: `evenkeel reload` finds this process",
        );
    }

    pub(super) fn proxy_ended(&mut self, proxy: &Running, ending: Ending) {
        // The signal that ended the role may have been meant for all of us.
        self.obey_signals();
        if self.exit.is_some() {
            return;
        }
        if self.is_without_proxy() {
            // It was started for a change, which cannot be had.
            return self.change_failed(None, "the proxy ended before it served");
        }
        tell::ended(
            &mut self.voice,
            proxy.process.number(),
            ending,
            self.stop.is_some(),
        );
        let end = End {
            ending,
            obeys: proxy.obeys,
            told: self.stop.is_some(),
            served: self.served,
            killed: self.killed_at_start,
            member: self.is_member(),
        };
        match end.next() {
            Next::Nothing => {}
            Next::Again => {
                self.killed_at_start += 1;
                self.restart_later(proxy.born, proxy.ready);
            }
            Next::FirstFailed => self.first_failed("the proxy ended before it served", ""),
            Next::Exit(code) => self.exit = Some(code),
            Next::Ends(code) => self.end(code),
            Next::Follows => self.proxy_died(proxy),
        }
    }

    fn proxy_died(&mut self, proxy: &Running) {
        if self.old_died() {
            return;
        }
        if self.kept.is_none() {
            return self.begin_anew();
        }
        self.change_failed(None, "the proxy died while it loaded the change");
        self.went_back("the proxy died, too");
        if self.kept.is_some() {
            self.restart_later(proxy.born, proxy.ready);
        }
    }

    /// A role that was taken has gone, and nothing is known to start another one
    /// with: the files decide, as at a start. Its sockets are still open.
    fn begin_anew(&mut self) {
        self.change_failed(None, "the proxy died while it loaded the change");
        self.abandon_loading();
        self.give_up_changes();
        self.served = false;
        self.settle_in(None);
        let sockets = self.unsettled.take().map(|one| one.sockets);
        let load = self.load(&[]);
        match self.begin_loading(Path::new(OWN_PROGRAM), load, &sockets.unwrap_or_default()) {
            Ok(loading) => self.loading = Some(loading),
            Err(error) => self.fail(error),
        }
    }

    /// Ends the proxy, and nothing is served: as before the first version.
    pub(super) fn end_service(&mut self) {
        self.slots[PROXY].restart_at = None;
        (self.kept, self.unsettled) = (None, None);
        self.served = false;
        if let Some(mut proxy) = self.slots[PROXY].running.take() {
            proxy.process.end_now();
            let killed = Ending::Status(std::process::ExitStatus::from_raw(Signal::SIGKILL as i32));
            tell::ended(&mut self.voice, proxy.process.number(), killed, true);
        }
        self.forget_version();
    }

    /// Ends the loader that works, if there is one.
    pub(super) fn abandon_loading(&mut self) {
        Loading::abandon(&mut self.loading);
    }

    fn restart_later(&mut self, born: Instant, served: bool) {
        let now = Instant::now();
        let wait: Duration = self.slots[PROXY].backoff.died(born, now, served);
        tell::restarts(&mut self.voice, wait);
        self.notify.status("the proxy died, restarting it");
        match wait.is_zero() {
            true => self.start_proxy(),
            false => self.slots[PROXY].restart_at = Some(now + wait),
        }
    }

    fn hear_commands(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        let heard = control.hear();
        for asker in heard.askers {
            self.requests.ask(Some(asker));
        }
        for (client, question) in heard.questions {
            self.pass_on(Asks::Client(client), question);
        }
        let Some(control) = &mut self.control else {
            return;
        };
        let waits = |asker: &Asker| asker.at != Door::Control || control.knows(asker.id);
        if self.requests.forget(waits) {
            self.give_up_loading();
        }
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        self.notify.look_at_clock(now);
        self.give_up_questions();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.candidate.as_ref().map(|candidate| candidate.until)) {
            let words = format!(
                "the proxy did not load the change within {} s",
                TAKE_LIMIT.as_secs()
            );
            self.change_failed(None, &words);
        }
        let stop = self.stop.and_then(|stop| stop.until);
        if due(stop)
            && let Some(proxy) = &mut self.slots[PROXY].running
        {
            // Its end is seen in the next turn.
            proxy.give_up();
            self.stop = self.stop.map(|stop| Stop {
                until: None,
                ..stop
            });
        }
        self.look_at_slots(now);
    }
}
