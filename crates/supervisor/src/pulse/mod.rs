//! Detection of frozen roles. The supervisor notices that a role's main loop does not respond, or
//! that a thread of the proxy writes no heartbeat. It logs that, kills the role and starts another
//! one with the last good version.
//!
//! Time is counted in polls of the supervisor: a machine that was suspended, or stopped with all
//! its processes, counts none ([`part::heart`]). On a busy machine the polls are late, and a frozen
//! role is detected later.

mod memory;
pub mod sample;

pub use memory::create;

use part::SharedFd;
use part::heart::{Frozen, Heart, LOOK_EVERY_MS, PollTiming, ThreadState};
use part::role::SupervisorMessage;
use part::spawn::Started;
use protocol::vitals::Vitals;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(LOOK_EVERY_MS);
/// Delay from which a poll counts as late: the supervisor itself did not run.
const LATE: Duration = Duration::from_secs(3);
const SIDE_THREAD: &str = "side";

/// The liveness of a proxy thread.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Last heartbeat that was read.
    beat: u64,
    heart: Heart,
}

/// The observed liveness of the roles.
#[derive(Default)]
pub struct Pulses {
    next: Option<Instant>,
    /// Heartbeat memory, which outlives images of the program.
    pub file: Option<SharedFd>,
    /// Inode number and mapping of the heartbeat memory.
    pub memory: Option<(u64, Vitals<'static>)>,
    process: i32,
    threads: Vec<Thread>,
    side: Thread,
}

impl Pulses {
    pub fn file(&self) -> Option<&SharedFd> {
        self.file.as_ref()
    }

    pub fn resume(&mut self, file: SharedFd) {
        self.file = Some(file);
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Returns the punctuality of the poll that is due now; None if none is due.
    pub fn look(&mut self, now: Instant) -> Option<PollTiming> {
        let due = *self.next.get_or_insert(now + LOOK_EVERY);
        if due > now {
            return None;
        }
        self.next = Some(now + LOOK_EVERY);
        let late = now.saturating_duration_since(due) > LATE;
        Some(if late {
            PollTiming::Late
        } else {
            PollTiming::InTime
        })
    }

    /// Resets what was observed about the proxy's threads.
    pub fn begin_anew(&mut self) {
        self.threads.clear();
        self.side = Thread::default();
    }

    /// Returns the name of the first frozen thread of a proxy.
    pub fn frozen_thread(&mut self, process: i32, look: PollTiming) -> Option<(String, Frozen)> {
        let (_, vitals) = self.memory?;
        if vitals.owner() != u64::try_from(process).unwrap_or(0) {
            // Another process owns the memory, or the proxy has not started to write.
            self.begin_anew();
            return None;
        }
        if std::mem::replace(&mut self.process, process) != process {
            self.begin_anew();
        }
        let beats: Vec<u64> = vitals.thread_heartbeats().collect();
        self.threads.resize_with(beats.len(), Thread::default);
        let mut all: Vec<(String, u64, &mut Thread)> = self
            .threads
            .iter_mut()
            .zip(beats)
            .enumerate()
            .map(|(number, (thread, beat))| (format!("proxy/{number}"), beat, thread))
            .collect();
        let side = vitals.side_heartbeat_ms();
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
                None => ThreadState::Unknown,
            };
            let why = thread.heart.is_silent(found, look);
            frozen = frozen.or(why.map(|why| (name, why)));
        }
        frozen
    }
}

/// Returns whether a process without a main loop was stopped by a signal.
pub fn is_stopped(process: &mut Started, look: PollTiming) -> Option<Frozen> {
    let number = process.number();
    match sample::thread(number, number) {
        ThreadState::Stopped => process.heart.is_silent(ThreadState::Stopped, look),
        _ => {
            process.heart.beats();
            None
        }
    }
}

/// Returns whether the main loop of a role is frozen. Sends one ping, which any message answers.
pub fn is_frozen(process: &mut Started, look: PollTiming) -> Option<Frozen> {
    if process.is_channel_closed {
        return None;
    }
    // A role that cannot receive the ping counts as silent, because it does not read its full
    // channel.
    if !process.is_asked() && process.send_ping(&SupervisorMessage::TellPulse) {
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
    fn poll_is_late_after_a_suspension() {
        let mut pulses = Pulses::default();
        let begin = Instant::now();
        assert_eq!(pulses.look(begin), None);
        assert_eq!(pulses.look(begin + LOOK_EVERY / 2), None);
        assert_eq!(pulses.look(begin + LOOK_EVERY), Some(PollTiming::InTime));
        let second = begin + 2 * LOOK_EVERY + LATE;
        assert_eq!(pulses.look(second), Some(PollTiming::InTime));
        let third = second + LOOK_EVERY + LATE + Duration::from_millis(1);
        assert_eq!(pulses.look(third), Some(PollTiming::Late));
        assert_eq!(pulses.look(third), None, "one look, however late");
    }
}
