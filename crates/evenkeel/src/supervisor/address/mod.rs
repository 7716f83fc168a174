//! The address role beside the proxy, or alone: started once what it announces can
//! be served, told of changes, followed by another one when it dies or when the
//! program was replaced, and adopted where its supervisor was killed.
//!
//! No address moves for any of that: a role that follows another one begins with
//! the state that was kept, and the one before leaves everything in place. Only a
//! stop that was asked for gives the addresses up, before the proxy stops.

mod follow;
mod keep;
mod keepalived;
mod role;

use super::route::{ADDRESS, PROXY};
use super::run::Supervisor;
use super::slot::Running;
use super::tell;
use crate::roles::Shared;
use crate::roles::spawn::{Ending, OWN_PROGRAM, StartFailure};
use crate::voice::Form;
use keep::Keep;
use part::role::{AddressPlan, Manner, Message};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a role may take to give its addresses up, besides what its hand-over
/// and its script at the end take.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// How long a role that another one follows may take to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// What is run.
#[derive(Clone)]
struct Run {
    version: u64,
    config: Shared,
    plan: AddressPlan,
}

/// What belongs to the virtual addresses beside the role itself.
#[derive(Default)]
pub struct Addresses {
    run: Option<Run>,
    /// What the role was told to change to.
    taking: Option<Run>,
    keep: Option<Keep>,
    vitals: Option<Shared>,
}

impl Addresses {
    /// Whether the version that is served has any.
    pub fn is_wanted(&self) -> bool {
        self.run.is_some()
    }

    /// Whether nothing is half done.
    pub fn is_quiet(&self) -> bool {
        self.taking.is_none()
    }

    /// The memory of the proxy's heartbeats.
    pub fn vitals(&self) -> Option<&Shared> {
        self.vitals.as_ref()
    }
}

impl Supervisor {
    /// Whether the version that is served has virtual addresses and no proxy.
    pub(super) fn is_alone(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_alone())
    }

    /// What the version that is served wants.
    fn wanted_addresses(&self) -> Option<Run> {
        let kept = self.kept.as_ref()?;
        Some(Run {
            version: kept.take.version,
            config: kept.addresses()?.clone(),
            plan: kept.plan().addresses.clone()?,
        })
    }

    /// A version is served: its virtual addresses follow it. A role is told, or
    /// started, or stopped where there are none any more.
    pub(super) fn follow_with_addresses(&mut self) {
        if self.stop.is_some() || self.upgrade.is_some() || self.holds_addresses_back() {
            return;
        }
        let Some(wanted) = self.wanted_addresses() else {
            // One of which the addresses are not known changes nothing.
            let none = |kept: &super::version::Version| kept.plan().addresses.is_none();
            if self.kept.as_ref().is_some_and(none) && self.slots[ADDRESS].lives() {
                self.release_addresses();
                self.addresses.run = None;
            }
            return;
        };
        let running = self.addresses.run.as_ref();
        if running.is_some_and(|run| run.version == wanted.version) && self.slots[ADDRESS].lives() {
            return;
        }
        let slot = &mut self.slots[ADDRESS];
        match &mut slot.running {
            Some(role) if slot.stop_until.is_none() => {
                let given = role::give(role, &wanted, &self.command);
                match given {
                    Ok(()) => self.addresses.taking = Some(wanted),
                    Err(error) => self.addresses_refused(&error.to_string()),
                }
            }
            // It ends, and another one is started then.
            Some(_) => self.addresses.run = Some(wanted),
            None => {
                self.addresses.run = Some(wanted);
                self.start_addresses();
            }
        }
    }

    /// Starts a role, or takes one over whose supervisor was killed.
    pub(super) fn start_addresses(&mut self) {
        self.slots[ADDRESS].restart_at = None;
        let Some(run) = self.addresses.run.clone() else {
            return;
        };
        self.prepare_addresses();
        if !self.slots[ADDRESS].served && self.adopt_addresses(&run) {
            return;
        }
        match self.new_addresses(Path::new(OWN_PROGRAM), &run) {
            Ok(role) => {
                tell::address_role_started(&mut self.voice, role.process.number());
                self.slots[ADDRESS].running = Some(role);
                self.write_address_pid();
            }
            Err(error) if self.served || self.slots[ADDRESS].served => {
                self.voice.alert(error);
                self.addresses_died(Instant::now(), false);
            }
            Err(error) => self.fail(error),
        }
    }

    fn new_addresses(&self, program: &Path, run: &Run) -> Result<Running, StartFailure> {
        let keep = self.addresses.keep.as_ref().map(Keep::file);
        let vitals = self.addresses.vitals.as_ref();
        let vitals = vitals.filter(|_| !run.plan.alone);
        let guard = self.slots[ADDRESS].listener();
        role::start(program, run, &self.command, (guard, keep, vitals))
    }

    /// What a role needs besides its configuration; without it, it does less.
    fn prepare_addresses(&mut self) {
        let program = super::adopt::program(self.voice.form());
        if self.addresses.keep.is_none() {
            self.addresses.keep = Keep::open(program, &self.command.paths)
                .map_err(|error| {
                    self.voice.warning(format_args!(
                        "cannot store the state of the address role ({error}): after a restart it starts from scratch"
                    ));
                })
                .ok();
        }
        if self.slots[ADDRESS].guard.is_none() {
            self.slots[ADDRESS].guard = follow::open_guard(program, &self.command.paths).ok();
        }
        self.make_vitals();
    }

    /// Makes the memory of heartbeats, which proxy and address role are given.
    pub(super) fn make_vitals(&mut self) {
        if self.addresses.vitals.is_none() {
            let made = keep::vitals().map_err(|error| {
                self.voice.warning(format_args!(
                    "cannot create the heartbeat memory ({error}): virtual addresses do not follow the health of the \
                     proxy, and a frozen proxy is not restarted"
                ));
            });
            self.addresses.vitals = made.ok();
        }
    }

    /// Gives the proxy the heartbeat memory, which the address role reads.
    pub(super) fn give_vitals(&mut self) {
        self.make_vitals();
        if let Some(proxy) = &mut self.slots[PROXY].running {
            proxy.process.share(self.addresses.vitals.as_ref());
        }
    }

    /// Obeys what an address role says.
    pub(super) fn hear_addresses(&mut self, message: Message) {
        match message {
            Message::Ready { words, .. } => self.addresses_ready(&words),
            Message::Taken { version, words } => {
                let taken = |run: &mut Run| run.version == version;
                if let Some(run) = self.addresses.taking.take_if(taken) {
                    self.addresses.run = Some(run);
                }
                if self.candidate.is_some() {
                    self.change_taken(version, &words);
                }
            }
            Message::Refused { version, words } => {
                let refused = |run: &mut Run| run.version == version;
                self.addresses.taking.take_if(refused);
                match self.candidate.is_some() && self.is_alone() {
                    true => self.change_failed(Some(version), &words),
                    false => self.addresses_refused(&words),
                }
            }
            // A role of an older program reads the memory that it began with.
            Message::Unknown { kind } if kind == Message::Shared.kind() => {
                self.replace_addresses();
            }
            // It was told in its log, and its end is seen by itself.
            Message::Ended { .. } => {}
            other => self.not_understood(ADDRESS, &other),
        }
    }

    fn addresses_refused(&mut self, words: &str) {
        self.voice
            .warning(format_args!("virtual addresses were not changed: {words}"));
    }

    fn addresses_ready(&mut self, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
        }
        self.slots[ADDRESS].served = true;
        self.tell_held(ADDRESS);
        if let Some(before) = &mut self.slots[ADDRESS].before {
            before.leave(Instant::now() + LEAVE_LIMIT);
        }
        if self.is_alone() {
            self.proxy_ready();
        }
    }

    pub(super) fn addresses_ended(&mut self, role: &Running, ending: Ending) {
        self.obey_signals();
        let taking = self.addresses.taking.take();
        if self.exit.is_some() {
            return;
        }
        if self.stop.is_some() || self.slots[ADDRESS].stop_until.take().is_some() {
            self.forget_addresses();
            self.slots[ADDRESS].served = false;
            return self.addresses_released();
        }
        tell::address_role_ended(&mut self.voice, role.process.number(), ending);
        if let Some(before) = self.slots[ADDRESS].before.take() {
            // The one that was to follow cannot; the one before does it still.
            self.slots[ADDRESS].running = Some(before);
            return self.addresses_refused("the new address role ended");
        }
        if !self.is_alone() && taking.is_some() {
            // Another one begins with what this one was to change to.
            self.addresses.run = taking;
        }
        if self.candidate.is_some() && self.is_alone() {
            self.change_failed(None, "the address role died while it loaded the change");
        }
        if !self.slots[ADDRESS].served && self.is_alone() {
            self.exit = Some(tell::exit_of_role(ending));
            return;
        }
        if self.command.once {
            // `--dont-respawn`
            return self.end_for_addresses(ending);
        }
        self.addresses_died(role.born, role.ready);
    }

    fn end_for_addresses(&mut self, ending: Ending) {
        self.exit = Some(tell::exit_of_role(ending));
    }

    fn addresses_died(&mut self, born: Instant, served: bool) {
        let now = Instant::now();
        let wait = self.slots[ADDRESS].backoff.died(born, now, served);
        if self.voice.form() == Form::Own {
            self.voice.notice(match wait.is_zero() {
                true => "restarting it at once with its previous state".to_owned(),
                false => format!("restarting it in {} s", wait.as_secs_f32()),
            });
        }
        match wait.is_zero() {
            true => self.start_addresses(),
            false => self.slots[ADDRESS].restart_at = Some(now + wait),
        }
    }

    /// Makes the role give its addresses up; whether there is one that does.
    pub(super) fn release_addresses(&mut self) -> bool {
        self.slots[ADDRESS].restart_at = None;
        if let Some(before) = &mut self.slots[ADDRESS].before {
            before.leave(Instant::now() + LEAVE_LIMIT);
        }
        let Some(role) = &mut self.slots[ADDRESS].running else {
            return false;
        };
        // Who asks twice does not want to wait for a hand-over.
        let release = self.command.releases;
        let manner = match release {
            true => Manner::Soft,
            false => Manner::Leave,
        };
        role.process.stop(manner, rustix::process::Signal::TERM);
        let run = self.addresses.run.as_ref();
        let longest = run.map_or(0, |run| run.plan.stop_ms);
        let limit = RELEASE_LIMIT.saturating_add(Duration::from_millis(longest));
        let until = Instant::now().checked_add(limit);
        self.slots[ADDRESS].stop_until = self.slots[ADDRESS].stop_until.or(until);
        true
    }

    /// There is no version any more that has addresses.
    pub(super) fn give_addresses_up(&mut self) {
        self.addresses.run = None;
        self.release_addresses();
    }

    /// The last of it: what still runs when this process ends is ended, after it
    /// has given the addresses up.
    pub(super) fn end_addresses(&mut self) {
        let began = self.slots[ADDRESS].running.is_some();
        if began {
            self.release_addresses();
        }
        self.slots[ADDRESS].end();
        if began {
            self.forget_addresses();
        }
    }

    /// What was kept of addresses that were given up holds no more.
    fn forget_addresses(&mut self) {
        if let Some(keep) = self.addresses.keep.take()
            && self.command.releases
        {
            keep.forget();
        }
    }

    /// The files of process ids go with the processes, under keepalived's name.
    pub(super) fn tidy_up_as_keepalived(&self, pid_file: Option<&Path>) {
        if self.voice.form() == Form::Keepalived {
            self.remove_pid_files(pid_file);
        }
    }
}
