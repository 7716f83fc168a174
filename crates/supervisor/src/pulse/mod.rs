//! Frozen roles: the supervisor sees that a role's main loop no longer replies, or that a
//! thread of the proxy writes no heartbeat, logs it, kills the role and starts another one
//! with the last good version.
//!
//! Only what the supervisor itself sees counts: a machine that was suspended, or stopped
//! with all its processes, passes no look ([`part::heart`]). On a busy machine the looks are
//! late, and then the role is noticed later.

mod memory;
pub mod sample;

pub use memory::create;

use part::Shared;
use part::heart::{Found, Frozen, Heart, LOOK_EVERY_MS, Look};
use part::role::Message;
use part::spawn::Started;
use protocol::vitals::Vitals;
use std::time::{Duration, Instant};

/// How often the supervisor looks.
const LOOK_EVERY: Duration = Duration::from_millis(LOOK_EVERY_MS);
/// A look that is later than this shows that the supervisor itself stood still.
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
    /// When the roles are looked at next.
    next: Option<Instant>,
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

    /// The look that is due now, if one is.
    pub fn look(&mut self, now: Instant) -> Option<Look> {
        let due = *self.next.get_or_insert(now + LOOK_EVERY);
        if due > now {
            return None;
        }
        self.next = Some(now + LOOK_EVERY);
        let late = now.saturating_duration_since(due) > LATE;
        Some(if late { Look::Late } else { Look::InTime })
    }

    /// What was seen of the proxy's threads says nothing any more.
    pub fn begin_anew(&mut self) {
        self.threads.clear();
        self.side = Thread::default();
    }

    /// The first frozen thread of a proxy, by its name.
    pub fn frozen_thread(&mut self, process: i32, look: Look) -> Option<(String, Frozen)> {
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
            let why = thread.heart.is_silent(found, look);
            frozen = frozen.or(why.map(|why| (name, why)));
        }
        frozen
    }
}

/// Whether a process that never replies was stopped by a signal.
pub fn is_stopped(process: &mut Started, look: Look) -> Option<Frozen> {
    let number = process.number();
    match sample::thread(number, number) {
        Found::Stopped => process.heart.is_silent(Found::Stopped, look),
        _ => {
            process.heart.beats();
            None
        }
    }
}

/// Whether the main loop of a role is frozen. It is asked once, until it says anything.
pub fn is_frozen(process: &mut Started, look: Look) -> Option<Frozen> {
    if process.silent {
        return None;
    }
    // One that cannot be asked is silent, too: a full channel is not read.
    if !process.is_asked() && process.ask(&Message::TellPulse) {
        return None;
    }
    let number = process.number();
    process
        .heart
        .is_silent(sample::thread(number, number), look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_late_when_the_supervisor_stood_still() {
        let mut pulses = Pulses::default();
        let begin = Instant::now();
        assert_eq!(pulses.look(begin), None);
        assert_eq!(pulses.look(begin + LOOK_EVERY / 2), None);
        assert_eq!(pulses.look(begin + LOOK_EVERY), Some(Look::InTime));
        let second = begin + 2 * LOOK_EVERY + LATE;
        assert_eq!(pulses.look(second), Some(Look::InTime));
        let third = second + LOOK_EVERY + LATE + Duration::from_millis(1);
        assert_eq!(pulses.look(third), Some(Look::Late));
        assert_eq!(pulses.look(third), None, "one look, however late");
    }
}
