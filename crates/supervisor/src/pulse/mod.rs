//! Frozen roles: the supervisor sees that a role's main loop no longer replies, or that a
//! thread of the proxy writes no heartbeat, logs it, kills the role and starts another one
//! with the last good version.
//!
//! Only what the supervisor itself sees counts: a machine that was suspended, or stopped
//! with all its processes, passes no look ([`part::heart`]).

mod memory;
mod sample;

pub use memory::create;

use part::Shared;
use part::heart::{Found, Frozen, Heart, LOOK_EVERY_MS};
use part::role::Message;
use part::spawn::Started;
use protocol::vitals::Vitals;
use std::time::{Duration, Instant};

/// How often the supervisor looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(LOOK_EVERY_MS);
/// A look that is later than this shows that the supervisor itself stood still: what it
/// saw before says nothing.
pub const LATE: Duration = Duration::from_secs(3);
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
    /// When the roles are looked at next.
    pub next: Option<Instant>,
    /// The heartbeat memory, which outlives images of the program.
    pub file: Option<Shared>,
    /// The same, mapped, by its inode.
    pub memory: Option<(u64, Vitals<'static>)>,
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

    /// What was seen of the proxy's threads says nothing any more.
    pub fn begin_anew(&mut self) {
        self.threads.clear();
        self.side = Thread::default();
    }

    /// The first frozen thread of a proxy, by its name.
    pub fn frozen_thread(&mut self, process: i32) -> Option<(String, Frozen)> {
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

/// Whether a process that never replies was stopped by a signal.
pub fn is_stopped(process: &mut Started) -> Option<Frozen> {
    let number = process.number();
    match sample::thread(number, number) {
        Found::Stopped => process.heart.is_silent(Found::Stopped),
        _ => {
            process.heart.beats();
            None
        }
    }
}

/// Whether the main loop of a role is frozen. It is asked once, until it says anything.
pub fn is_frozen(process: &mut Started) -> Option<Frozen> {
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
