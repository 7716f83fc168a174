//! Frozen roles: the supervisor sees that a role's main loop no longer replies, or that a
//! thread of the proxy writes no heartbeat, logs it, kills the role and starts another one
//! with the last good version.
//!
//! Only what the supervisor itself sees counts: a machine that was suspended, or stopped
//! with all its processes, passes no look ([`crate::roles::heart`]).

mod memory;
mod sample;

use super::route::PROXY;
use super::run::Supervisor;
use super::slot::Slot;
use crate::roles::heart::{Found, Frozen, Heart, LOOK_EVERY_MS, LOOKS_MAX};
use crate::roles::spawn::Started;
use crate::roles::vitals;
use crate::voice::Voice;
use part::Shared;
use part::role::Message;
use protocol::vitals::Vitals;
use rustix::fs::fstat;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(LOOK_EVERY_MS);
/// A look that is later than this shows that the supervisor itself stood still: what it
/// saw before says nothing.
const LATE: Duration = Duration::from_secs(3);
/// The proxy's thread for checks, names and operators, and its name.
const SIDE_THREAD: &str = "side";

/// A thread of the proxy.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Its last heartbeat that was seen.
    beat: u64,
    heart: Heart,
}

/// What the supervisor has seen of the roles.
#[derive(Default)]
pub struct Pulses {
    next: Option<Instant>,
    /// The heartbeat memory, which outlives images of the program.
    file: Option<Shared>,
    /// The same, mapped, by its inode.
    memory: Option<(u64, Vitals<'static>)>,
    /// The process that the threads below are of.
    process: i32,
    threads: Vec<Thread>,
    side: Thread,
}

impl Pulses {
    /// The heartbeat memory.
    pub fn file(&self) -> Option<&Shared> {
        self.file.as_ref()
    }

    /// Goes on with the memory that the image before had.
    pub fn resume(&mut self, file: Shared) {
        self.file = Some(file);
    }

    /// When the roles are looked at next.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    fn begin_anew(&mut self) {
        self.threads.clear();
        self.side = Thread::default();
    }

    /// The first frozen thread of a proxy, by its name.
    fn frozen_thread(&mut self, process: i32) -> Option<(String, Frozen)> {
        let (_, vitals) = self.memory?;
        if vitals.owner() != u64::try_from(process).unwrap_or(0) {
            // Another one writes, or it has not begun to.
            self.begin_anew();
            return None;
        }
        if std::mem::replace(&mut self.process, process) != process {
            self.begin_anew();
        }
        let beats: Vec<u64> = vitals.beats().collect();
        self.threads.resize_with(beats.len(), Thread::default);
        let mut all: Vec<(String, u64, &mut Thread)> = self
            .threads
            .iter_mut()
            .zip(beats)
            .enumerate()
            .map(|(number, (thread, beat))| (format!("proxy/{number}"), beat, thread))
            .collect();
        let side = vitals.side_beat_ms();
        if side != 0 {
            all.push((SIDE_THREAD.to_owned(), side, &mut self.side));
        }
        let mut frozen = None;
        for (name, beat, thread) in all {
            if std::mem::replace(&mut thread.beat, beat) != beat {
                thread.heart.beats();
                continue;
            }
            let found = match sample::named(process, &name) {
                Some(number) => sample::thread(process, number),
                None => Found::Unknown,
            };
            let why = thread.heart.is_silent(found);
            frozen = frozen.or(why.map(|why| (name, why)));
        }
        frozen
    }
}

/// Whether the main loop of a role is frozen. It is asked once, until it says anything.
fn is_frozen(process: &mut Started) -> Option<Frozen> {
    if process.silent {
        return None;
    }
    if !process.is_asked() {
        process.ask(&Message::TellPulse);
        return None;
    }
    let number = process.number();
    process.heart.is_silent(sample::thread(number, number))
}

impl Supervisor {
    /// Looks whether the roles show life, when it is time to.
    pub(super) fn look_at_pulses(&mut self) {
        let now = Instant::now();
        let next = *self.pulses.next.get_or_insert(now + LOOK_EVERY);
        if next > now {
            return;
        }
        self.pulses.next = Some(now + LOOK_EVERY);
        if self.stop.is_some() || now.saturating_duration_since(next) > LATE {
            return self.begin_pulses_anew();
        }
        self.look_at_proxy_pulse();
        for slot in self.slots.all_mut().filter(|slot| slot.row.part != PROXY) {
            let what = slot.row.entry.what;
            if let Some(role) = slot.beating()
                && let Some(why) = is_frozen(role)
            {
                role.kill();
                tell_frozen(&mut self.voice, what, role.number(), None, why);
            }
        }
    }

    fn look_at_proxy_pulse(&mut self) {
        self.map_vitals();
        let pulses = &mut self.pulses;
        let tried = self.upgrade.as_ref().and_then(|upgrade| upgrade.trial());
        let Some(proxy) = self.slots[PROXY]
            .running
            .as_mut()
            .filter(|proxy| proxy.ready)
        else {
            return pulses.begin_anew();
        };
        if tried.is_some() {
            // Two serve, and the older one may be paused.
            proxy.process.heart.beats();
            return pulses.begin_anew();
        }
        let number = proxy.process.number();
        let frozen = match is_frozen(&mut proxy.process) {
            Some(why) => Some((None, why)),
            None => pulses
                .frozen_thread(number)
                .map(|(name, why)| (Some(name), why)),
        };
        if let Some((thread, why)) = frozen {
            // Its end is seen in the next turn.
            proxy.process.kill();
            pulses.begin_anew();
            tell_frozen(&mut self.voice, "proxy", number, thread.as_deref(), why);
        }
    }

    fn begin_pulses_anew(&mut self) {
        self.pulses.begin_anew();
        for process in self.slots.all_mut().filter_map(Slot::beating) {
            process.heart.beats();
        }
    }

    /// Maps the heartbeat memory that the proxy was given.
    fn map_vitals(&mut self) {
        let Some(file) = self.pulses.file.clone() else {
            return;
        };
        let inode = fstat(&file).map_or(0, |data| data.st_ino);
        if self
            .pulses
            .memory
            .is_some_and(|(mapped, _)| mapped == inode)
        {
            return;
        }
        // Made once in the life of an image, so it is mapped once.
        let opened = vitals::map(&file).and_then(|words| Vitals::open(words).ok());
        self.pulses.memory = opened.map(|vitals| (inode, vitals));
    }
}

fn tell_frozen(voice: &mut Voice, role: &str, process: i32, thread: Option<&str>, why: Frozen) {
    let thread = thread.map_or_else(|| "main thread".to_owned(), |name| format!("thread {name}"));
    let seconds = u64::from(LOOKS_MAX) * LOOK_EVERY_MS / 1_000;
    voice.alert(format_args!(
        "the {role} (process {process}) is frozen: its {thread} {why} and has shown no activity for {seconds} s; \
         the supervisor kills and restarts it"
    ));
}
