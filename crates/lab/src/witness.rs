//! Runs tests with timeouts again if other load on the machine disturbed them: measures how long
//! the threads of the process were ready but did not run.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Wait of this process for a processor above which a failed test was disturbed.
const DISTURBED: Duration = Duration::from_millis(15);
/// Interval between two samples of the threads.
const LOOK: Duration = Duration::from_millis(5);

/// Name of the measuring thread, [`Witness`].
pub const WITNESS: &str = "witness";

/// Runs a time-dependent test, and propagates its failure. A failed test runs again, at most
/// `tries` times in total, if this process waited for a processor meanwhile or the whole machine
/// stood still.
pub fn undisturbed(tries: u32, test: impl Fn()) {
    for tried in 1.. {
        let witness = Witness::start();
        let ended = catch_unwind(AssertUnwindSafe(&test));
        let waited = witness.stop_and_measure();
        match ended {
            Ok(()) => return,
            Err(_) if waited > DISTURBED && tried < tries => {
                println!("the machine disturbed the test for {waited:?}: the test runs again");
            }
            Err(failure) => resume_unwind(failure),
        }
    }
}

/// Thread that sums up how long all threads of this process were ready but did not run.
#[derive(Debug)]
pub struct Witness {
    stop: Arc<AtomicBool>,
    waited_ns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    pub fn start() -> Witness {
        let (stop, waited_ns) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ends, waited) = (Arc::clone(&stop), Arc::clone(&waited_ns));
        let watch = move || {
            let mut seen = delays();
            while !ends.load(Ordering::Relaxed) {
                let at = Instant::now();
                thread::sleep(LOOK);
                // Counts the time that the hypervisor took from the whole machine.
                let late = at.elapsed().saturating_sub(LOOK * 2);
                let now = delays();
                let more = now.iter().map(|(thread, ns)| {
                    let before = seen.get(thread).copied().unwrap_or(0);
                    ns.saturating_sub(before)
                });
                let ns = more.sum::<u64>() + u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
                waited.fetch_add(ns, Ordering::Relaxed);
                seen = now;
            }
        };
        let thread = thread::Builder::new().name(WITNESS.to_owned()).spawn(watch);
        Witness {
            stop,
            waited_ns,
            thread: thread.ok(),
        }
    }

    /// Stops the thread, and returns how long the process was disturbed.
    pub fn stop_and_measure(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }
}

/// Returns the nanoseconds for which each thread of the process has been ready but did not run.
fn delays() -> HashMap<PathBuf, u64> {
    let delay = |thread: PathBuf| {
        let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        let ns = text.split(' ').nth(1)?.parse().ok()?;
        Some((thread, ns))
    };
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let threads = threads.flatten().map(|entry| entry.path());
    threads.filter_map(delay).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BusyProcessors;
    use std::cell::Cell;

    #[test]
    fn the_failure_of_the_last_try_counts() {
        let _busy = BusyProcessors::start(8).unwrap();
        let ran = Cell::new(0);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            undisturbed(1, || {
                ran.set(ran.get() + 1);
                panic!("it failed");
            });
        }));
        assert!(failed.is_err());
        assert_eq!(ran.get(), 1);
    }

    #[test]
    fn a_failure_on_a_disturbed_machine_is_tried_again() {
        let _busy = BusyProcessors::start(8).unwrap();
        let ran = Cell::new(0);
        undisturbed(100, || {
            ran.set(ran.get() + 1);
            let end = Instant::now() + DISTURBED * 20;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            assert!(ran.get() > 1);
        });
        assert!(ran.get() > 1);
    }
}
