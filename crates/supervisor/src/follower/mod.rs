//! The roles beside the proxy, or without one: each is started once what it needs is ready,
//! told of changes, followed by another one when it dies or when the program was replaced,
//! and adopted where its supervisor was killed. It is one life for all of them; how they
//! differ is said by their rows ([`Beside`]).
//!
//! A role that follows another one begins with the state that was kept, and the one before
//! leaves everything in its place. Only a stop that was asked for makes roles give up what
//! they have, those that others need last, and before the proxy stops.

mod adopt;
mod keepalived;

use crate::missing::is_missing;
use crate::slot::{Given, Running};
use crate::state::Supervisor;
use crate::state_file::Keep;
use crate::tell;
use crate::version::Version;
use part::Shared;
use part::role::{Manner, Message, Take};
use part::row::{self, Beside};
use part::spawn::{self, Ending, OWN_PROGRAM, StartFailure, Started};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a role may take to give up what it has, besides what it says that it needs.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// How long a role that another one follows may take to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Whether the version that is served has no proxy.
    pub(super) fn is_without_proxy(&self) -> bool {
        self.versions
            .kept
            .as_ref()
            .is_some_and(Version::is_without_proxy)
    }

    /// The part whose role decides whether a version is served: the proxy, where it has one.
    pub(super) fn decider(&self, version: Option<&Version>) -> &'static str {
        let beside = row::beside();
        let alone = version.filter(|version| version.is_without_proxy());
        let first = alone.and_then(|version| { beside }.find(|part| version.has(part)));
        first.unwrap_or(self.slots.serving.row.part)
    }

    /// Whether the role of this part decides on the version that is served.
    fn decides(&self, part: &str) -> bool {
        self.decider(self.versions.kept.as_ref()) == part
    }

    /// Whether the role of this part decides on the change that was handed over.
    fn decides_change(&self, part: &str) -> bool {
        let candidate = self.versions.candidate.as_ref();
        candidate.is_some_and(|candidate| self.decider(Some(&candidate.version)) == part)
    }

    fn beside(&self, part: &str) -> Beside {
        let beside = self.slots[part].row.beside().copied();
        beside.unwrap_or(Beside::plain(""))
    }

    /// A version is served: the roles beside the proxy follow it. Each is told, or started,
    /// or stopped where there is nothing for it any more.
    pub(super) fn follow_version(&mut self) {
        if self.service.stop.is_some() || self.changing.upgrade.is_some() || self.holds_parts_back()
        {
            return;
        }
        for part in row::beside() {
            self.follow_with(part);
        }
    }

    fn follow_with(&mut self, part: &'static str) {
        let Some(kept) = &self.versions.kept else {
            return;
        };
        let Some(given) = kept.given(part) else {
            // A version of which it is not known what the role runs changes nothing.
            let stays = kept.has(part);
            if !self.slots[part].served && !self.slots[part].lives() {
                if stays {
                    self.prepare_part(part);
                }
                self.adopt_part(part, None);
            }
            if !stays {
                self.give_part_up(part);
            }
            return;
        };
        let slot = &mut self.slots[part];
        let version = slot.wanted.as_ref().map(|wanted| wanted.version);
        if version == Some(given.version) && slot.lives() {
            return;
        }
        match &mut slot.running {
            Some(role) if slot.stop_until.is_none() => {
                match give(role, &given, self.command.options_of(part)) {
                    Ok(()) => slot.taking = Some(given),
                    Err(error) => self.part_refused(part, &error.to_string()),
                }
            }
            // It ends, and another one is started then.
            Some(_) => slot.wanted = Some(given),
            None => {
                slot.wanted = Some(given);
                if self.may_start(part) {
                    self.start_part(part);
                }
            }
        }
    }

    /// Whether what a role needs is ready.
    fn may_start(&self, part: &str) -> bool {
        let is_there = |need: &&&str| {
            self.versions
                .kept
                .as_ref()
                .is_some_and(|kept| kept.has(need))
        };
        let mut needs = self.beside(part).needs.iter().filter(is_there);
        needs.all(|need| self.slots[*need].is_ready())
    }

    /// Starts a role, or takes one over whose supervisor was killed.
    pub(super) fn start_part(&mut self, part: &'static str) {
        self.slots[part].restart_at = None;
        let Some(wanted) = self.slots[part].wanted.clone() else {
            return;
        };
        self.prepare_part(part);
        if !self.slots[part].served && self.adopt_part(part, Some(&wanted)) {
            return;
        }
        match self.new_role(part, &wanted) {
            Ok(role) => {
                tell::role_started(&mut self.voice, role.process.number());
                self.slots[part].running = Some(role);
                self.write_role_pid(part);
            }
            Err(error) if self.service.served || self.slots[part].served => {
                self.voice.alert(error);
                self.restart_later(part, Instant::now(), false);
            }
            Err(error) => self.fail(error),
        }
    }

    fn new_role(&self, part: &str, given: &Given) -> Result<Running, StartFailure> {
        let slot = &self.slots[part];
        let shares = self.beside(part).shares && !given.without_proxy;
        let parcel = Parcel {
            options: self.command.options_of(part),
            keep: slot.keep.as_ref().map(Keep::file),
            shared: self.pulses.file().filter(|_| shares),
        };
        let personality = self.command.personality;
        let (mut take, descriptors) = parcel.take(given);
        take.personality = personality;
        let first = |process: &mut Started| {
            let listener = slot.listener();
            listener.map_or(Ok(()), |listener| process.guard(Some(listener)))?;
            process.send(&Message::Take(Box::new(take)), &descriptors)
        };
        let program = Path::new(OWN_PROGRAM);
        let process = spawn::start(program, slot.row.entry, personality, &[], first)?;
        Ok(Running::begun(process))
    }

    /// What a role needs besides what it runs; without it, it does less.
    fn prepare_part(&mut self, part: &'static str) {
        let program = self.voice.form().program();
        let paths = &self.command.paths;
        let what = self.slots[part].row.entry.what;
        if self.slots[part].keep.is_none() && self.beside(part).keeps {
            self.slots[part].keep = Keep::open(part, program, paths)
                .map_err(|error| {
                    self.voice.warning(format_args!(
                        "cannot store the state of the {what} ({error}): after a restart it starts from scratch"
                    ));
                })
                .ok();
        }
        if self.slots[part].guard.is_none() {
            // Without one, nobody adopts the role.
            let _ = self.open_guard(part);
        }
        if self.beside(part).shares && self.pulses.file().is_none() {
            self.give_vitals();
        }
    }

    /// Obeys what such a role says.
    pub(super) fn hear_part(&mut self, part: &'static str, message: Message) {
        match message {
            Message::Ready { words, .. } => self.part_ready(part, &words),
            Message::Taken { version, words } => {
                self.part_taken(part, version);
                if self.decides_change(part) {
                    self.change_taken(version, &words);
                }
            }
            Message::Refused { version, words } => {
                let slot = &mut self.slots[part];
                slot.taking.take_if(|taking| taking.version == version);
                match self.decides_change(part) {
                    true => self.change_failed(Some(version), &words),
                    false => self.part_refused(part, &words),
                }
            }
            // A role of an older program reads the memory that it began with.
            Message::Unknown { kind } if kind == Message::Shared.kind() => {
                self.replace_part(part);
            }
            Message::Stopping => self.part_stays(part),
            // One of an older program has no use for it.
            Message::Unknown { kind } if is_missing(kind) => {}
            // Its end is seen by itself.
            Message::Ended { words } => {
                if let Some(running) = &mut self.slots[part].running {
                    running.last_words = words;
                }
            }
            other => self.not_understood(part, &other),
        }
    }

    /// A role runs what it was given. With the first listener it learns of the proxy, with
    /// the last one that there is none.
    fn part_taken(&mut self, part: &'static str, version: u64) {
        let slot = &mut self.slots[part];
        let Some(taken) = slot.taking.take_if(|taking| taking.version == version) else {
            return;
        };
        let without_proxy = taken.without_proxy;
        let before = slot.wanted.replace(taken);
        // What an adopted role ran is not known.
        let differs = before.is_none_or(|before| before.without_proxy != without_proxy);
        if differs && self.beside(part).shares {
            self.give_vitals();
            let memory = self.pulses.file().filter(|_| !without_proxy).cloned();
            if let Some(role) = &mut self.slots[part].running {
                role.process.share(memory.as_ref());
            }
        }
    }

    fn part_refused(&mut self, part: &str, words: &str) {
        let things = self.beside(part).things;
        self.voice
            .warning(format_args!("{things} were not changed: {words}"));
    }

    fn part_ready(&mut self, part: &'static str, words: &str) {
        if !words.is_empty() {
            self.voice.notice(words);
        }
        self.slots[part].served = true;
        self.tell_held(part);
        if let Some(before) = &mut self.slots[part].before {
            before.leave(Instant::now() + LEAVE_LIMIT);
        }
        let candidate = self.versions.candidate.as_ref();
        let candidate = candidate.map(|candidate| candidate.version.take.version);
        if self.decides_change(part)
            && let Some(given) = &self.slots[part].wanted
            && candidate == Some(given.version)
        {
            // It was started for a change, which is taken with this.
            return self.change_taken(given.version, words);
        }
        match self.decides(part) {
            true => self.proxy_ready(),
            // Others may have waited for it.
            false => self.follow_version(),
        }
    }

    pub(super) fn part_ended(&mut self, part: &'static str, role: &Running, ending: Ending) {
        self.obey_signals();
        let taking = self.slots[part].taking.take();
        if self.own.exit.is_some() {
            return;
        }
        if self.service.stop.is_some() || self.slots[part].stop_until.take().is_some() {
            self.forget_state(part);
            self.slots[part].served = false;
            self.part_released(part);
            if self.service.stop.is_none() && self.decides_change(part) {
                // The change waited for its end.
                let candidate = self.versions.candidate.as_ref();
                let given = candidate.and_then(|candidate| candidate.version.given(part));
                self.slots[part].wanted = given;
                self.start_part(part);
            }
            return;
        }
        if role.leaves_until.is_some() {
            // It made room for one of this program.
            return self.start_part(part);
        }
        let what = self.slots[part].row.entry.what;
        tell::role_ended(&mut self.voice, what, role, ending);
        if let Some(before) = self.slots[part].before.take() {
            // The one that was to follow cannot; the one before does it still.
            self.slots[part].running = Some(before);
            return self.part_refused(part, &format!("the new {what} ended"));
        }
        if self.decides_change(part) {
            let words = format!("the {what} died while it loaded the change");
            self.change_failed(None, &words);
            // Where it was started for the change, there is nothing for it to run.
            self.slots[part].wanted = self
                .versions
                .kept
                .as_ref()
                .and_then(|kept| kept.given(part));
            if self.slots[part].wanted.is_none() {
                return;
            }
        } else if taking.is_some() {
            // Another one begins with what this one was to change to.
            self.slots[part].wanted = taking;
        }
        if (!self.slots[part].served && self.decides(part)) || self.command.once {
            // `--dont-respawn`, or there is nothing to go on with.
            self.own.exit = Some(tell::exit_of_role(ending));
            return;
        }
        self.note_crash(part, role, ending);
        self.restart_later(part, role.born, role.ready);
    }

    /// A role has given up what it had, as it was told.
    fn part_released(&mut self, part: &'static str) {
        self.tell_gone(part);
        if self.service.stop.is_none() {
            self.follow_version();
        } else if !self.release_parts(false) || self.all_stay() {
            self.stop_without_parts();
        }
    }

    /// A role keeps what no other machine takes, until the proxy has finished.
    fn part_stays(&mut self, part: &'static str) {
        // Otherwise it was told again by now.
        if !self.service.stop.is_some_and(|stop| stop.is_soft()) {
            return;
        }
        let slot = &mut self.slots[part];
        if let Some(role) = &mut slot.running {
            (role.stays, slot.stop_until) = (true, None);
        }
        if self.all_stay() {
            self.stop_without_parts();
        }
    }

    /// Whether every role beside the proxy waits for its end.
    fn all_stay(&self) -> bool {
        let running = row::beside().filter_map(|part| self.slots[part].running.as_ref());
        running.into_iter().all(|role| role.stays)
    }

    /// The proxy has finished: what stayed for it is given up.
    pub(super) fn release_what_stayed(&mut self) {
        for part in row::beside() {
            let running = self.slots[part].running.as_mut();
            if running.is_some_and(|role| std::mem::take(&mut role.stays)) {
                self.release_part(part);
            }
        }
    }

    /// Makes roles give up what they have, those first that no other needs; whether there is
    /// one that does. Who asks again does not want to wait.
    pub(super) fn release_parts(&mut self, again: bool) -> bool {
        let running = |part: &&str| self.slots[*part].running.is_some();
        let living: Vec<&'static str> = row::beside().filter(running).collect();
        let needed = |part: &str| {
            let mut others = living.iter();
            others.any(|other| self.beside(other).needs.contains(&part))
        };
        let last: Vec<&'static str> = living.iter().copied().filter(|one| !needed(one)).collect();
        for part in row::beside() {
            self.slots[part].restart_at = None;
        }
        for part in last {
            let slot = &mut self.slots[part];
            let stays = slot.running.as_ref().is_some_and(|role| role.stays);
            if again || (slot.stop_until.is_none() && !stays) {
                self.release_part(part);
            }
        }
        !living.is_empty()
    }

    fn release_part(&mut self, part: &'static str) {
        let finishes = self.service.stop.is_some_and(|stop| stop.is_soft());
        let waits = finishes && self.beside(part).shares && self.slots.serving.lives();
        let slot = &mut self.slots[part];
        if let Some(before) = &mut slot.before {
            before.leave(Instant::now() + LEAVE_LIMIT);
        }
        let Some(role) = &mut slot.running else {
            return;
        };
        let manner = match self.command.releases {
            true if waits => Manner::Yield,
            true => Manner::Soft,
            false => Manner::Leave,
        };
        role.process.stop(manner, rustix::process::Signal::TERM);
        let longest = slot.wanted.as_ref().map_or(0, |given| given.plan.stop_ms);
        let limit = RELEASE_LIMIT.saturating_add(Duration::from_millis(longest));
        let until = Instant::now().checked_add(limit);
        slot.stop_until = slot.stop_until.or(until);
    }

    /// There is nothing for a role any more.
    fn give_part_up(&mut self, part: &'static str) {
        self.slots[part].wanted = None;
        self.slots[part].restart_at = None;
        if self.slots[part].lives() && self.slots[part].stop_until.is_none() {
            self.release_part(part);
        }
    }

    /// There is no version any more.
    pub(super) fn give_parts_up(&mut self) {
        for part in row::beside() {
            self.give_part_up(part);
        }
    }

    /// The last of it: what still runs when this process ends is ended, after it has given
    /// up what it has; those first that no other needs.
    pub(super) fn end_parts(&mut self) {
        while self.release_parts(true) {
            for part in row::beside() {
                let slot = &mut self.slots[part];
                if slot.running.is_some() && slot.stop_until.is_some() {
                    slot.end();
                    self.forget_state(part);
                }
            }
        }
        for part in row::beside() {
            self.slots[part].end();
        }
    }

    /// What was kept of what was given up holds no more.
    fn forget_state(&mut self, part: &str) {
        let remembers = self.beside(part).remembers;
        if let Some(keep) = self.slots[part].keep.take()
            && self.command.releases
            && !remembers
        {
            keep.forget();
        }
    }

    /// Hands a further version over where there is no proxy: to the role that decides. What
    /// others run follows.
    pub(super) fn try_parts(&mut self, version: &Version) -> Result<(), String> {
        let part = self.decider(Some(version));
        let Some(given) = version.given(part) else {
            return Err("there is nothing in it to run".to_owned());
        };
        let options = self.command.options_of(part);
        let slot = &mut self.slots[part];
        if slot.running.is_some() && slot.stop_until.is_some() {
            // It ends, and another one is started then.
            return Ok(());
        }
        if let Some(role) = &mut slot.running {
            give(role, &given, options).map_err(|error| error.to_string())?;
            slot.taking = Some(given);
            return Ok(());
        }
        self.prepare_part(part);
        let role = self.new_role(part, &given);
        let role = role.map_err(|error| error.to_string())?;
        tell::role_started(&mut self.voice, role.process.number());
        let slot = &mut self.slots[part];
        (slot.running, slot.wanted, slot.restart_at) = (Some(role), Some(given), None);
        self.write_role_pid(part);
        Ok(())
    }
}

/// Gives a role what it is to run from now on.
fn give(role: &mut Running, given: &Given, options: &[u8]) -> Result<(), StartFailure> {
    let parcel = Parcel {
        options,
        keep: None,
        shared: None,
    };
    let (take, descriptors) = parcel.take(given);
    role.process
        .send(&Message::Take(Box::new(take)), &descriptors)
}

/// What goes beside what a role is to run.
struct Parcel<'s> {
    options: &'s [u8],
    keep: Option<&'s Shared>,
    shared: Option<&'s Shared>,
}

impl Parcel<'_> {
    /// What a role is told, with its descriptors.
    fn take(&self, given: &Given) -> (Take, Vec<Shared>) {
        let take = Take {
            version: given.version,
            options: self.options.to_vec(),
            keep: self.keep.is_some(),
            shared: self.shared.is_some(),
            ..Take::default()
        };
        let beside = self.keep.into_iter().chain(self.shared);
        let descriptors = std::iter::once(&given.payload).chain(beside);
        (take, descriptors.cloned().collect())
    }
}
