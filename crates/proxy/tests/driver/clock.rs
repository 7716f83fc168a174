//! Runs tests that depend on time also on a busy machine, and waits until all pending events were
//! processed.

use crate::bed::{PATIENCE, against_haproxy, pause, soon};
use lab::WITNESS;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// Maximum number of attempts for a test that other load on the machine disturbs.
const TRIES: u32 = 8;

/// Runs a test that depends on time, several times if necessary. Against HAProxy it runs once.
pub fn undisturbed(test: impl Fn()) {
    lab::undisturbed(if against_haproxy() { 1 } else { TRIES }, test);
}

fn threads() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc/self/task").unwrap();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Waits until every other thread of this process sleeps and none has run since the previous look.
/// By then everything that was sent has been processed as far as possible, whatever the load of
/// the machine.
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

/// Returns the value behind a name in a thread's status.
fn line_of<'t>(status: &'t str, name: &str) -> Option<&'t str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

/// Returns how often each other thread was put to sleep, if all of them sleep.
fn asleep() -> Option<HashMap<PathBuf, String>> {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let test = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    let mut all = HashMap::new();
    for thread in threads() {
        if thread.file_name() == own.file_name() {
            continue;
        }
        // Skips a thread that has ended meanwhile.
        let Ok(text) = std::fs::read_to_string(thread.join("status")) else {
            continue;
        };
        let line = |name| line_of(&text, name);
        let name = line("Name:").map_or("", str::trim);
        // A thread has the name of its test, and so have those that the test starts.
        let is_of_another_test = name.contains("::") && name != test.trim();
        if name == WITNESS || is_of_another_test {
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

/// Waits until each serving thread was put to sleep `n` more times, so that it has looked for work
/// and found none. For cases in which [`settle`] would wait forever, because a full listener polls
/// for a free slot.
pub fn turns(n: u64) {
    if against_haproxy() {
        return pause(100);
    }
    let began = sleeps();
    let has_slept =
        |(thread, now): (&PathBuf, &u64)| began.get(thread).is_none_or(|before| *now >= before + n);
    soon("turns of the data plane", || sleeps().iter().all(has_slept));
}

/// Returns how often each data plane thread was put to sleep.
fn sleeps() -> HashMap<PathBuf, u64> {
    let of_data_plane = |thread: PathBuf| {
        let text = std::fs::read_to_string(thread.join("status")).ok()?;
        line_of(&text, "Name:").filter(|name| name.trim().starts_with("proxy/"))?;
        let sleeps = line_of(&text, "voluntary_ctxt_switches:")?
            .trim()
            .parse()
            .ok()?;
        Some((thread, sleeps))
    };
    threads().into_iter().filter_map(of_data_plane).collect()
}
