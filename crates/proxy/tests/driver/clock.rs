//! Tests against time on a machine that has other things to do: whether they
//! were disturbed, and waiting until everything that can happen has happened.

use crate::bed::{PATIENCE, against_haproxy, pause};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a test is tried that was disturbed each time.
const TRIES: usize = 8;
/// A failure of a test is one when its threads waited no longer for a processor.
const DISTURBED: Duration = Duration::from_millis(15);
/// How often the threads are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The name of the thread that looks.
const METER: &str = "meter";

/// Runs a test that measures time. What it finds counts, except when it fails
/// while this process stood still for want of a processor: then it is tried again.
pub fn undisturbed(test: impl Fn()) {
    for tried in 1.. {
        let meter = Meter::start();
        let ended = catch_unwind(AssertUnwindSafe(&test));
        let waited = meter.end();
        match ended {
            Ok(()) => return,
            Err(_) if waited > DISTURBED && tried < TRIES && !against_haproxy() => {
                println!("disturbed for {waited:?}, and tried again");
            }
            Err(failure) => resume_unwind(failure),
        }
    }
}

/// Sums up how long this process was ready and did not run.
struct Meter {
    stop: Arc<AtomicBool>,
    waited_ns: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Meter {
    fn start() -> Meter {
        let (stop, waited_ns) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ends, waited) = (Arc::clone(&stop), Arc::clone(&waited_ns));
        let mut seen = delays();
        let thread = std::thread::Builder::new()
            .name(METER.to_owned())
            .spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let at = Instant::now();
                    std::thread::sleep(LOOK);
                    // What the kernel below took from the whole machine.
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
            });
        let thread = thread.unwrap();
        Meter {
            stop,
            waited_ns,
            thread,
        }
    }

    fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }
}

fn threads() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc/self/task").unwrap();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// How long each thread was ready and did not run so far, nanoseconds.
fn delays() -> HashMap<PathBuf, u64> {
    let delay = |thread: PathBuf| {
        let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        let ns = text.split(' ').nth(1)?.parse().ok()?;
        Some((thread, ns))
    };
    threads().into_iter().filter_map(delay).collect()
}

/// Waits until every other thread of this process sleeps and none of them has run
/// since it was last looked at: until all that was sent has been taken in, as far
/// as it ever will be.
pub fn settle() {
    pause(5);
    if against_haproxy() {
        return pause(95);
    }
    let began = Instant::now();
    let mut before = None;
    while began.elapsed() < PATIENCE {
        let now = asleep();
        if now.is_some() && now == before {
            return;
        }
        before = now;
        pause(2);
    }
    panic!("it does not come to rest");
}

/// How often each of the other threads was put to sleep, when all of them are.
fn asleep() -> Option<HashMap<PathBuf, String>> {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let mut all = HashMap::new();
    for thread in threads() {
        if thread.file_name() == own.file_name() {
            continue;
        }
        // One that has ended meanwhile is none.
        let Ok(text) = std::fs::read_to_string(thread.join("status")) else {
            continue;
        };
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        if line("Name:").is_some_and(|name| name.trim() == METER) {
            continue;
        }
        if !line("State:").is_some_and(|state| state.trim_start().starts_with('S')) {
            return None;
        }
        let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].map(line);
        all.insert(thread, format!("{switches:?}"));
    }
    Some(all)
}
