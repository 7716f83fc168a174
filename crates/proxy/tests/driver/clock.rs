//! Tests against time on a machine that has other things to do, and waiting until
//! everything that can happen has happened.

use crate::bed::{PATIENCE, against_haproxy, pause, soon};
use lab::WITNESS;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// How often a test is tried that was disturbed each time.
const TRIES: u32 = 8;

/// Runs a test that depends on time. HAProxy's own results count at once.
pub fn undisturbed(test: impl Fn()) {
    lab::undisturbed(if against_haproxy() { 1 } else { TRIES }, test);
}

fn threads() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc/self/task").unwrap();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Waits until every other thread of this process sleeps and none of them has run
/// since it was last looked at: until all that was sent has been taken in, as far
/// as it ever will be. What other tests do beside this one does not count.
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

/// What a thread's status says behind a name.
fn line_of<'t>(status: &'t str, name: &str) -> Option<&'t str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

/// How often each of the other threads was put to sleep, when all of them are.
fn asleep() -> Option<HashMap<PathBuf, String>> {
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let test = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    let mut all = HashMap::new();
    for thread in threads() {
        if thread.file_name() == own.file_name() {
            continue;
        }
        // One that has ended meanwhile is none.
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

/// Waits until each thread of the data plane was put to sleep `n` more times: until it has
/// looked for what there is to do and found nothing. For where [`settle`] would wait for
/// ever, because a listener that is full looks for a place again and again.
pub fn turns(n: u64) {
    if against_haproxy() {
        return pause(100);
    }
    let began = sleeps();
    let has_slept =
        |(thread, now): (&PathBuf, &u64)| began.get(thread).is_none_or(|before| *now >= before + n);
    soon("turns of the data plane", || sleeps().iter().all(has_slept));
}

/// How often each thread of the data plane was put to sleep.
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
