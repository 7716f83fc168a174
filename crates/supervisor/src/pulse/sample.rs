//! Reads the state of a thread of another process, and the kernel function in which it sleeps, from
//! `/proc/PID/task/TID`.

use part::heart::ThreadState;
use std::fs;

/// Length of a processor time tick in `/proc`, in milliseconds (USER_HZ is 100 on all
/// architectures).
const TICK_MS: u64 = 10;
const THREADS_MAX: usize = 4_096;

pub fn thread(process: i32, thread: i32) -> ThreadState {
    let directory = format!("/proc/{process}/task/{thread}");
    let status = match fs::read_to_string(format!("{directory}/status")) {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ThreadState::Gone,
        Err(_) => return ThreadState::Unknown,
    };
    let field = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
    };
    if field("TracerPid:").is_some_and(|tracer| tracer != "0") {
        return ThreadState::Traced;
    }
    match field("State:").and_then(|state| state.chars().next()) {
        Some('T') => ThreadState::Stopped,
        Some('t') => ThreadState::Traced,
        Some('S' | 'I') => ThreadState::Sleeps,
        Some('R') => match cpu_ms(&directory) {
            Some(cpu_ms) => ThreadState::Runs { cpu_ms },
            None => ThreadState::Unknown,
        },
        _ => ThreadState::Unknown,
    }
}

/// Returns the kernel function in which a thread sleeps; without a name, the main thread. The
/// function distinguishes a thread that waits for a lock from one with a slow reader.
pub fn place(process: i32, name: Option<&str>) -> Option<String> {
    let thread = name.map_or(Some(process), |name| named(process, name))?;
    let place = fs::read_to_string(format!("/proc/{process}/task/{thread}/wchan")).ok()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    // Returns no function for the content `0`, which means that the kernel does not report it.
    (place.len() > 1 && place.chars().all(is_name)).then_some(place)
}

fn cpu_ms(directory: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    // Reads from the last parenthesis on: the process name in parentheses may contain any
    // character.
    let mut fields = stat.rsplit(") ").next()?.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system).saturating_mul(TICK_MS))
}

/// Returns the thread of this name; None if no thread has the name or the threads cannot be read.
pub fn named(process: i32, name: &str) -> Option<i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    threads
        .flatten()
        .take(THREADS_MAX)
        .find(|entry| {
            let comm = fs::read_to_string(entry.path().join("comm"));
            comm.is_ok_and(|comm| comm.trim_end() == name)
        })
        .and_then(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn looping_thread_uses_cpu_and_waiting_thread_sleeps() {
        let own = std::process::id().cast_signed();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let start = |name: &str| std::thread::Builder::new().name(name.into());
        let looping = start("loops-1").spawn(move || while !seen.load(Ordering::Relaxed) {});
        let (give, take) = mpsc::channel::<()>();
        let waiting = start("waits-1").spawn(move || take.recv());
        let number = |name| lab::eventually(PATIENCE, || named(own, name).is_some());
        assert!(number("loops-1") && number("waits-1"));
        let loops = named(own, "loops-1").expect("it is there");
        let uses = || matches!(thread(own, loops), ThreadState::Runs { cpu_ms } if cpu_ms >= 100);
        assert!(lab::eventually(PATIENCE, uses));
        let waits = named(own, "waits-1").expect("it is there");
        let sleeps = || thread(own, waits) == ThreadState::Sleeps;
        assert!(lab::eventually(PATIENCE, sleeps));
        let waits_in = || place(own, Some("waits-1")).is_some_and(|place| place.contains("futex"));
        assert!(lab::eventually(PATIENCE, waits_in));
        assert_eq!(place(own, Some("no such thread")), None);
        stop.store(true, Ordering::Relaxed);
        drop(give);
        let _ = (
            looping.expect("started").join(),
            waiting.expect("started").join(),
        );
        assert_eq!(named(own, "no such thread"), None);
        let gone = || thread(own, waits) == ThreadState::Gone;
        assert!(lab::eventually(PATIENCE, gone));
    }
}
