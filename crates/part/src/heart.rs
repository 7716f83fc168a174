//! When something that should show life counts as frozen: a value. Time is counted in
//! looks of the supervisor, so that a machine that stands still (suspended, stopped as a
//! whole) passes none, and what a look found of the thread tells one that is stopped or
//! loops from one that gets no processor.

/// The supervisor looks so often.
pub const LOOK_EVERY_MS: u64 = 1_000;
/// Looks in a row that find no sign of life, until something counts as frozen.
pub const LOOKS_MAX: u32 = 10;
/// A thread that runs counts as looping when it has used so much processor time without
/// a sign of life: on a busy machine a thread may wait for long, but as soon as it gets
/// this much it shows that it lives.
pub const LOOP_CPU_MS: u64 = 2_000;

/// When a look of the supervisor took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// When it was due.
    InTime,
    /// Much later: the supervisor itself did not run, and perhaps nothing else did.
    Late,
}

/// The state of a silent thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Stopped by a signal.
    Stopped,
    /// It sleeps.
    Sleeps,
    /// It runs or could run; the processor time that it has used.
    Runs {
        /// Milliseconds since it was started.
        cpu_ms: u64,
    },
    /// A debugger holds it.
    Traced,
    /// It waits for a disk, or nothing can be learned of it.
    Unknown,
    /// There is no such thread.
    Gone,
}

/// Why something counts as frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Frozen {
    /// A signal stopped it.
    #[error("is stopped by a signal")]
    Stopped,
    /// It sleeps and is not woken.
    #[error("sleeps and does not wake up")]
    Sleeps,
    /// It loops.
    #[error("loops without end")]
    Loops,
    /// The thread has ended.
    #[error("has ended")]
    Gone,
}

/// A thread or a loop that should update its heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heart {
    /// Looks in a row that found it silent.
    silent: u32,
    /// Its processor time when that began.
    cpu_ms: Option<u64>,
    /// A late look has restarted the count since the last sign of life.
    put_off: bool,
}

impl Heart {
    /// It showed life.
    pub fn beats(&mut self) {
        *self = Heart::default();
    }

    /// A look found no sign of life. Says why it counts as frozen, once it does.
    ///
    /// The first late look restarts the count: the machine may have stood still, and what
    /// was silent before it may wake with it. Further ones count like any other look, as one
    /// each. On a machine that is so busy that every look is late, they are all there are.
    pub fn is_silent(&mut self, found: Found, look: Look) -> Option<Frozen> {
        if matches!(found, Found::Traced | Found::Unknown) {
            self.beats();
            return None;
        }
        if look == Look::Late && !self.put_off {
            *self = Heart {
                put_off: true,
                ..Heart::default()
            };
            return None;
        }
        self.silent = self.silent.saturating_add(1);
        let looped = match found {
            Found::Runs { cpu_ms } => {
                let since = *self.cpu_ms.get_or_insert(cpu_ms);
                cpu_ms.saturating_sub(since) >= LOOP_CPU_MS
            }
            _ => false,
        };
        if self.silent < LOOKS_MAX {
            return None;
        }
        match found {
            Found::Stopped => Some(Frozen::Stopped),
            Found::Sleeps => Some(Frozen::Sleeps),
            Found::Runs { .. } => looped.then_some(Frozen::Loops),
            Found::Gone => Some(Frozen::Gone),
            Found::Traced | Found::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(heart: &mut Heart, found: impl Fn(u64) -> Found, looks: u64) -> Option<Frozen> {
        (0..looks).find_map(|look| heart.is_silent(found(look), Look::InTime))
    }

    #[test]
    fn who_is_stopped_or_sleeps_for_all_looks_is_frozen_and_a_sign_of_life_begins_anew() {
        let mut heart = Heart::default();
        assert_eq!(looks(&mut heart, |_| Found::Stopped, 9), None);
        heart.beats();
        assert_eq!(looks(&mut heart, |_| Found::Stopped, 9), None);
        assert_eq!(
            heart.is_silent(Found::Stopped, Look::InTime),
            Some(Frozen::Stopped)
        );
        let mut heart = Heart::default();
        assert_eq!(
            looks(&mut heart, |_| Found::Sleeps, 10),
            Some(Frozen::Sleeps)
        );
    }

    #[test]
    fn a_thread_that_gets_no_processor_is_not_frozen_and_one_that_loops_is() {
        let waits = |_| Found::Runs { cpu_ms: 70 };
        assert_eq!(looks(&mut Heart::default(), waits, 1_000), None);
        let starved = |look| Found::Runs { cpu_ms: 70 + look };
        assert_eq!(looks(&mut Heart::default(), starved, 1_000), None);
        let loops = |look| Found::Runs {
            cpu_ms: 70 + 900 * look,
        };
        let found = looks(&mut Heart::default(), loops, 10);
        assert_eq!(found, Some(Frozen::Loops));
        // It gets a tenth of a processor only.
        let slow = |look| Found::Runs {
            cpu_ms: 70 + 100 * look,
        };
        assert_eq!(looks(&mut Heart::default(), slow, 20), None);
        let found = looks(&mut Heart::default(), slow, 21);
        assert_eq!(found, Some(Frozen::Loops));
    }

    #[test]
    fn one_in_a_debugger_or_waiting_for_a_disk_is_not_frozen() {
        for found in [Found::Traced, Found::Unknown] {
            let mut heart = Heart::default();
            assert_eq!(looks(&mut heart, |_| Found::Sleeps, 9), None);
            assert_eq!(heart.is_silent(found, Look::InTime), None);
            assert_eq!(looks(&mut heart, |_| Found::Sleeps, 9), None);
        }
    }

    fn looks_late(heart: &mut Heart, looks: u32) -> Option<Frozen> {
        (0..looks).find_map(|_| heart.is_silent(Found::Stopped, Look::Late))
    }

    #[test]
    fn where_every_look_is_late_one_that_is_stopped_is_frozen_all_the_same() {
        let mut heart = Heart::default();
        assert_eq!(looks_late(&mut heart, LOOKS_MAX), None);
        assert_eq!(looks_late(&mut heart, 1), Some(Frozen::Stopped));
    }

    #[test]
    fn late_looks_put_the_notice_off_once() {
        let mut heart = Heart::default();
        assert_eq!(looks(&mut heart, |_| Found::Stopped, 9), None);
        assert_eq!(looks_late(&mut heart, 1), None, "it may wake now");
        for _ in 0..3 {
            assert_eq!(looks(&mut heart, |_| Found::Stopped, 2), None);
            assert_eq!(looks_late(&mut heart, 1), None);
        }
        let found = looks(&mut heart, |_| Found::Stopped, 1);
        assert_eq!(found, Some(Frozen::Stopped));
    }

    #[test]
    fn after_a_sign_of_life_a_late_look_puts_the_notice_off_again() {
        let mut heart = Heart::default();
        assert_eq!(looks_late(&mut heart, LOOKS_MAX), None);
        heart.beats();
        assert_eq!(looks_late(&mut heart, LOOKS_MAX), None);
        assert_eq!(looks_late(&mut heart, 1), Some(Frozen::Stopped));
    }
}
