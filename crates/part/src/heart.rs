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
}

impl Heart {
    /// It showed life.
    pub fn beats(&mut self) {
        *self = Heart::default();
    }

    /// A look found no sign of life. Says why it counts as frozen, once it does.
    pub fn is_silent(&mut self, found: Found) -> Option<Frozen> {
        if matches!(found, Found::Traced | Found::Unknown) {
            self.beats();
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
        (0..looks).find_map(|look| heart.is_silent(found(look)))
    }

    #[test]
    fn who_is_stopped_or_sleeps_for_all_looks_is_frozen_and_a_sign_of_life_begins_anew() {
        let mut heart = Heart::default();
        assert_eq!(looks(&mut heart, |_| Found::Stopped, 9), None);
        heart.beats();
        assert_eq!(looks(&mut heart, |_| Found::Stopped, 9), None);
        assert_eq!(heart.is_silent(Found::Stopped), Some(Frozen::Stopped));
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
            assert_eq!(heart.is_silent(found), None);
            assert_eq!(looks(&mut heart, |_| Found::Sleeps, 9), None);
        }
    }
}
