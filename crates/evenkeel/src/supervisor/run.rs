//! The one loop of the supervisor: waits for signals, the loader, the role,
//! commands and the time, and does what each of them asks for.

use super::backoff::Backoff;
use super::carried::Carried;
use super::change::Candidate;
use super::control::Control;
use super::limits;
use super::loading::{LoadError, Loading, Told};
use super::proxy::Proxy;
use super::requests::Requests;
use super::signals::Signals;
use super::stop::{Stop, exit_of};
use super::version::Version;
use super::{Command, first, tell};
use crate::process::{Ready, StartError};
use crate::roles::channel::{ChannelError, Received, timespec};
use crate::voice::{Form, Voice};
use nix::sys::signal::Signal;
use protocol::role::{Message, Take};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// What a start that failed exits with.
const FAILED: u8 = 1;
/// Messages of a role that are read before the others have their turn.
const MESSAGES_MAX: usize = 64;

/// A supervisor.
pub struct Supervisor {
    pub(super) command: Command,
    pub(super) voice: Voice,
    pub(super) files_soft: u64,
    signals: Signals,
    pub(super) control: Option<Control>,
    pub(super) loading: Option<Loading>,
    pub(super) proxy: Option<Proxy>,
    /// The last good version.
    pub(super) kept: Option<Version>,
    pub(super) candidate: Option<Candidate>,
    pub(super) carried: Carried,
    versions: u64,
    pub(super) requests: Requests,
    backoff: Backoff,
    restart_at: Option<Instant>,
    /// It served at least once.
    served: bool,
    paused: bool,
    pub(super) stop: Option<Stop>,
    ready: Option<Ready>,
    pid_file: Option<first::PidFile>,
    exit: Option<u8>,
}

impl Supervisor {
    /// One that has not begun.
    pub fn new(command: Command, voice: Voice) -> Result<Supervisor, StartError> {
        let signals = Signals::new().map_err(StartError::Threads)?;
        Ok(Supervisor {
            carried: Carried::from(command.before.clone()),
            command,
            voice,
            files_soft: limits::raise_own(),
            signals,
            control: None,
            loading: None,
            proxy: None,
            kept: None,
            candidate: None,
            versions: 0,
            requests: Requests::default(),
            backoff: Backoff::default(),
            restart_at: None,
            served: false,
            paused: false,
            stop: None,
            ready: None,
            pid_file: None,
            exit: None,
        })
    }

    /// Supervises until the end; with what the command exits.
    pub fn run(mut self) -> u8 {
        match Loading::begin(self.load(&[]), &[]) {
            Ok(loading) => self.loading = Some(loading),
            Err(error) => self.fail(error),
        }
        self.carried.loader_began();
        while self.exit.is_none() {
            if let Err(errno) = self.wait() {
                self.fail(StartError::Threads(errno.into()));
                break;
            }
            self.obey_signals();
            self.look_at_loader();
            self.look_at_proxy();
            self.hear_commands();
            self.look_at_clock();
            self.carried.reap();
            self.begin_change();
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.kill();
        }
        self.give_up_changes();
        self.exit.unwrap_or(FAILED)
    }

    fn fail(&mut self, error: impl std::fmt::Display) {
        self.voice.fatal(error);
        self.exit = Some(FAILED);
    }

    /// Whether a role takes orders.
    pub(super) fn serves(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.ready)
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
        let loader = self.loading.iter().map(|loading| &loading.process);
        let proxy = self.proxy.iter().map(|proxy| &proxy.process);
        for process in loader.chain(proxy) {
            let interest = process.channel.interest();
            // A channel that the other end has left is always ready: then only
            // the end of the process is waited for.
            if !process.silent {
                watched.push(PollFd::new(&process.channel, interest));
            }
            watched.push(PollFd::from_borrowed_fd(process.end(), PollFlags::IN));
        }
        watched.extend(self.control.iter().flat_map(Control::watched));
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
            self.proxy.as_ref().and_then(Proxy::deadline),
            self.restart_at,
            self.stop.and_then(|stop| stop.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn obey_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGINT | Signal::SIGTERM | Signal::SIGUSR1 => self.begin_stop(signal),
                Signal::SIGHUP | Signal::SIGUSR2 => self.requests.ask(None),
                Signal::SIGTTOU | Signal::SIGTTIN => self.pause(signal == Signal::SIGTTOU),
                _ => {}
            }
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        let message = match paused {
            true => Message::Pause,
            false => Message::Resume,
        };
        if let Some(proxy) = &mut self.proxy {
            // Whoever is not told yet is told once it serves.
            let _ = proxy.say(&message);
        }
    }

    fn begin_stop(&mut self, signal: Signal) {
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
        self.restart_at = None;
        if let Some(loading) = self.loading.take() {
            loading.process.signal(rustix::process::Signal::KILL);
            loading.end();
        }
        self.give_up_changes();
        // The listeners are to be closed when the role closes them.
        self.kept = None;
        self.candidate = None;
        match &mut self.proxy {
            None => self.end(stop.exit()),
            Some(proxy) => proxy.stop(&stop),
        }
    }

    fn end(&mut self, exit: u8) {
        tell::all_exited(&mut self.voice, exit);
        self.exit = Some(exit);
    }

    fn look_at_loader(&mut self) {
        let Some(loading) = &mut self.loading else {
            return;
        };
        let told = match loading.look() {
            Ok(None) => return,
            Ok(Some(told)) => Ok(told),
            Err(error) => {
                loading.process.signal(rustix::process::Signal::KILL);
                Err(error)
            }
        };
        if let Some(loading) = self.loading.take() {
            loading.end();
        }
        match self.served {
            true => self.change_loaded(told),
            false => self.first_loaded(told),
        }
    }

    fn first_loaded(&mut self, told: Result<Told, LoadError>) {
        let told = match told {
            Ok(told) => told,
            Err(error) => return self.fail(error),
        };
        // What there was to tell was printed by the loader.
        let plan = match told.outcome {
            Ok(plan) => plan,
            Err(exit) => {
                self.exit = Some(exit);
                return;
            }
        };
        self.voice.quiet |= plan.quiet;
        let take = Take {
            version: self.next_version(),
            personality: self.command.personality,
            background: plan.daemon,
            plan,
            state: false,
        };
        let mut descriptors = told.descriptors;
        let own = descriptors.len().min(take.plan.descriptors() + 1);
        let whole = self.carried.take(descriptors.split_off(own));
        let Some(version) = Version::new(take, descriptors).filter(|_| whole) else {
            return self.fail(LoadError::Message);
        };
        if let Err(error) = self.begin_first(version) {
            self.fail(error);
        }
    }

    fn begin_first(&mut self, version: Version) -> Result<(), StartError> {
        self.pid_file = first::PidFile::open(&version)?;
        if version.plan().daemon {
            self.ready = Some(first::into_background()?);
            self.voice.pid = std::process::id();
        }
        if let Some(file) = self.pid_file.take() {
            file.write()?;
        }
        self.kept = Some(version);
        // Who sees that it listens can also ask for a change.
        self.open_control();
        self.start_proxy();
        Ok(())
    }

    fn start_proxy(&mut self) {
        let Some(version) = &self.kept else {
            return;
        };
        match Proxy::start(
            version,
            self.command.personality,
            self.carried.state.as_ref(),
        ) {
            Ok(proxy) => {
                tell::forked(&mut self.voice, proxy.pid());
                self.proxy = Some(proxy);
            }
            Err(error) if self.served => {
                self.voice.alert(error);
                self.restart_later(Instant::now());
            }
            Err(error) => self.fail(error),
        }
    }

    fn look_at_proxy(&mut self) {
        for _ in 0..MESSAGES_MAX {
            let Some(proxy) = self.proxy.as_mut().filter(|proxy| !proxy.process.silent) else {
                break;
            };
            let channel = &mut proxy.process.channel;
            match channel.flush().and_then(|()| channel.receive()) {
                Ok(Some(received)) => self.hear_proxy(received),
                Ok(None) => break,
                Err(ChannelError::Closed) => proxy.process.silent = true,
                Err(error) => {
                    self.voice.alert(format_args!("the proxy: {error}"));
                    proxy.process.silent = true;
                    proxy.process.signal(rustix::process::Signal::KILL);
                }
            }
        }
        let ended = self.proxy.as_mut().and_then(|proxy| proxy.process.ended());
        if let (Some(status), Some(proxy)) = (ended, self.proxy.take_if(|_| ended.is_some())) {
            self.proxy_ended(&proxy, status);
        }
    }

    fn hear_proxy(&mut self, received: Received) {
        match received.message {
            Message::State { rest } => self.keep_state(rest, received.descriptors),
            Message::Ready { words, .. } => {
                if let Some(proxy) = &mut self.proxy {
                    proxy.ready = true;
                }
                self.tell_words(&words);
                self.proxy_ready();
            }
            Message::Taken { version, words } => self.change_taken(version, &words),
            Message::Refused { version, words } => self.change_failed(Some(version), &words),
            // Somebody told the role by a signal; what it closes is closed here, too.
            Message::Stopping if self.stop.is_none() => self.begin_stop(Signal::SIGUSR1),
            Message::Stopping => {}
            // It was printed by the role, whose end is seen by itself.
            Message::Ended { .. } | Message::Unknown { .. } => {}
            other => {
                let kind = other.kind();
                if let Some(proxy) = &mut self.proxy {
                    let _ = proxy.say(&Message::Unknown { kind });
                }
            }
        }
    }

    fn tell_words(&mut self, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
        }
    }

    fn proxy_ready(&mut self) {
        if self.paused {
            self.pause(true);
        }
        self.take_over();
        if std::mem::replace(&mut self.served, true) {
            return;
        }
        if let Some(version) = &self.kept {
            tell::serves(&mut self.voice, version);
        }
        if let Some(ready) = self.ready.take() {
            if let Err(error) = ready.tell() {
                self.voice.warning(error);
            }
            // Its standard error is closed, so nothing that it says is read.
            self.voice.quiet = true;
        }
    }

    fn open_control(&mut self) {
        let program = match self.voice.form() {
            Form::Own => "evenkeel",
            Form::Haproxy => "haproxy",
        };
        match Control::open(program, &self.command.paths) {
            Ok(control) => self.control = Some(control),
            Err(error) if self.voice.form() == Form::Own => self.voice.warning(format_args!(
                "`evenkeel reload` will not find this process ({error}); HUP does the same"
            )),
            // Scripts do not expect a word about what HAProxy does not have.
            Err(_) => {}
        }
    }

    fn proxy_ended(&mut self, proxy: &Proxy, status: ExitStatus) {
        // The signal that ended the role may have been meant for all of us.
        self.obey_signals();
        if self.exit.is_some() {
            return;
        }
        tell::ended(&mut self.voice, proxy.pid(), status, self.stop.is_some());
        if let Some(stop) = self.stop {
            return self.end(stop.exit());
        }
        if !self.served {
            self.exit = Some(
                status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(FAILED),
            );
            return;
        }
        // Somebody ended it on purpose, as `killall` does.
        let signal = status
            .signal()
            .and_then(|number| Signal::try_from(number).ok());
        if status.success() || matches!(signal, Some(Signal::SIGTERM | Signal::SIGINT)) {
            return self.end(exit_of(signal));
        }
        self.change_failed(None, "the proxy died when it was to take the change in");
        self.restart_later(proxy.born);
    }

    fn restart_later(&mut self, born: Instant) {
        let now = Instant::now();
        let wait: Duration = self.backoff.died(born, now);
        tell::restarts(&mut self.voice, wait);
        match wait.is_zero() {
            true => self.start_proxy(),
            false => self.restart_at = Some(now + wait),
        }
    }

    fn hear_commands(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        for asker in control.hear() {
            self.requests.ask(Some(asker));
        }
    }

    fn look_at_clock(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.restart_at) {
            self.restart_at = None;
            self.start_proxy();
        }
        if due(self.candidate.as_ref().map(|candidate| candidate.until)) {
            self.change_failed(None, "the proxy did not take the change in in time");
        }
        let late = self.proxy.as_ref().and_then(Proxy::deadline);
        let stop = self.stop.and_then(|stop| stop.until);
        if (due(late) || due(stop))
            && let Some(proxy) = &mut self.proxy
        {
            // Its end is seen in the next turn.
            proxy.process.signal(rustix::process::Signal::KILL);
            proxy.ready = true;
            self.stop = self.stop.map(|stop| Stop {
                until: None,
                ..stop
            });
        }
    }
}
