//! Decides when a thread that should show signs of life counts as frozen. Time is counted in polls
//! of the supervisor, so that a suspended or stopped machine counts none. The state of the thread
//! at each poll distinguishes a stopped or looping thread from one that gets no processor.

pub const LOOK_EVERY_MS: u64 = 1_000;
/// Number of consecutive polls without a sign of life after which a thread counts as frozen.
pub const LOOKS_MAX: u32 = 10;
/// Processor time without a sign of life after which a running thread counts as looping. On a busy
/// machine a thread may wait long for a processor, but shows a sign of life before it has used this
/// much.
pub const LOOP_CPU_MS: u64 = 2_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollTiming {
    InTime,
    /// The poll was much too late: the supervisor did not run, and perhaps no other process did
    /// either.
    Late,
}

/// The state of a silent thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadState {
    Stopped,
    Sleeps,
    /// The thread runs, or waits for a processor.
    Runs {
        /// Processor time since the start of the thread, milliseconds.
        cpu_ms: u64,
    },
    Traced,
    /// The thread waits for a disk, or its state cannot be read.
    Unknown,
    Gone,
}

/// The reason why a thread counts as frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Frozen {
    #[error("is stopped by a signal")]
    Stopped,
    #[error("sleeps and does not wake")]
    Sleeps,
    #[error("loops endlessly")]
    Loops,
    #[error("has ended")]
    Gone,
}

/// Liveness of a thread or a loop that should update its heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heart {
    /// Consecutive polls without a sign of life.
    silent: u32,
    /// Processor time of the thread at the first of the consecutive polls without a sign of life.
    cpu_ms: Option<u64>,
    /// True if a late poll has restarted the count since the last sign of life.
    put_off: bool,
}

impl Heart {
    pub fn beats(&mut self) {
        *self = Heart::default();
    }

    /// Records a poll without a sign of life. Returns the reason once the thread counts as frozen.
    ///
    /// The first late poll restarts the count: the machine may have been suspended, and a thread
    /// that was silent before may resume with it. Further late polls count as one each, because on
    /// a very busy machine all polls may be late.
    pub fn is_silent(&mut self, found: ThreadState, look: PollTiming) -> Option<Frozen> {
        if matches!(found, ThreadState::Traced | ThreadState::Unknown) {
            self.beats();
            return None;
        }
        if look == PollTiming::Late && !self.put_off {
            *self = Heart {
                put_off: true,
                ..Heart::default()
            };
            return None;
        }
        self.silent = self.silent.saturating_add(1);
        let looped = match found {
            ThreadState::Runs { cpu_ms } => {
                let since = *self.cpu_ms.get_or_insert(cpu_ms);
                cpu_ms.saturating_sub(since) >= LOOP_CPU_MS
            }
            _ => false,
        };
        if self.silent < LOOKS_MAX {
            return None;
        }
        match found {
            ThreadState::Stopped => Some(Frozen::Stopped),
            ThreadState::Sleeps => Some(Frozen::Sleeps),
            ThreadState::Runs { .. } => looped.then_some(Frozen::Loops),
            ThreadState::Gone => Some(Frozen::Gone),
            ThreadState::Traced | ThreadState::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(heart: &mut Heart, found: impl Fn(u64) -> ThreadState, looks: u64) -> Option<Frozen> {
        (0..looks).find_map(|look| heart.is_silent(found(look), PollTiming::InTime))
    }

    #[test]
    fn thread_without_a_heartbeat_for_all_polls_is_frozen() {
        let mut heart = Heart::default();
        assert_eq!(looks(&mut heart, |_| ThreadState::Stopped, 9), None);
        heart.beats();
        assert_eq!(looks(&mut heart, |_| ThreadState::Stopped, 9), None);
        assert_eq!(
            heart.is_silent(ThreadState::Stopped, PollTiming::InTime),
            Some(Frozen::Stopped)
        );
        let mut heart = Heart::default();
        assert_eq!(
            looks(&mut heart, |_| ThreadState::Sleeps, 10),
            Some(Frozen::Sleeps)
        );
    }

    #[test]
    fn a_thread_that_gets_no_processor_is_not_frozen_and_one_that_loops_is() {
        let waits = |_| ThreadState::Runs { cpu_ms: 70 };
        assert_eq!(looks(&mut Heart::default(), waits, 1_000), None);
        let starved = |look| ThreadState::Runs { cpu_ms: 70 + look };
        assert_eq!(looks(&mut Heart::default(), starved, 1_000), None);
        let loops = |look| ThreadState::Runs {
            cpu_ms: 70 + 900 * look,
        };
        let found = looks(&mut Heart::default(), loops, 10);
        assert_eq!(found, Some(Frozen::Loops));
        // Simulates a thread that gets only a tenth of a processor: more polls pass before it
        // counts as looping.
        let slow = |look| ThreadState::Runs {
            cpu_ms: 70 + 100 * look,
        };
        assert_eq!(looks(&mut Heart::default(), slow, 20), None);
        let found = looks(&mut Heart::default(), slow, 21);
        assert_eq!(found, Some(Frozen::Loops));
    }

    #[test]
    fn thread_in_a_debugger_or_on_a_disk_is_not_frozen() {
        for found in [ThreadState::Traced, ThreadState::Unknown] {
            let mut heart = Heart::default();
            assert_eq!(looks(&mut heart, |_| ThreadState::Sleeps, 9), None);
            assert_eq!(heart.is_silent(found, PollTiming::InTime), None);
            assert_eq!(looks(&mut heart, |_| ThreadState::Sleeps, 9), None);
        }
    }

    fn looks_late(heart: &mut Heart, looks: u32) -> Option<Frozen> {
        (0..looks).find_map(|_| heart.is_silent(ThreadState::Stopped, PollTiming::Late))
    }

    #[test]
    fn stopped_thread_is_frozen_even_with_late_polls() {
        let mut heart = Heart::default();
        assert_eq!(looks_late(&mut heart, LOOKS_MAX), None);
        assert_eq!(looks_late(&mut heart, 1), Some(Frozen::Stopped));
    }

    #[test]
    fn late_polls_delay_the_report_once() {
        let mut heart = Heart::default();
        assert_eq!(looks(&mut heart, |_| ThreadState::Stopped, 9), None);
        assert_eq!(looks_late(&mut heart, 1), None, "it may wake now");
        for _ in 0..3 {
            assert_eq!(looks(&mut heart, |_| ThreadState::Stopped, 2), None);
            assert_eq!(looks_late(&mut heart, 1), None);
        }
        let found = looks(&mut heart, |_| ThreadState::Stopped, 1);
        assert_eq!(found, Some(Frozen::Stopped));
    }

    #[test]
    fn late_poll_after_a_heartbeat_delays_the_report_again() {
        let mut heart = Heart::default();
        assert_eq!(looks_late(&mut heart, LOOKS_MAX), None);
        heart.beats();
        assert_eq!(looks_late(&mut heart, LOOKS_MAX), None);
        assert_eq!(looks_late(&mut heart, 1), Some(Frozen::Stopped));
    }
}
