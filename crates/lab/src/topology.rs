//! A laboratory: it makes hosts and joins them, and takes everything down.
//!
//! Its namespaces carry the id of this process, so that one which was killed can
//! be told from one that works, and the next laboratory sweeps behind it.

use crate::error::LabError;
use crate::host::{Host, NAMESPACES};
use crate::link::{Link, Switch};
use crate::process::run_words;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// The longest name of a laboratory or a host.
pub(crate) const MAX_NAME_BYTES: usize = 64;

const PREFIX: &str = "evenkeel-lab-";

/// Hosts and what joins them. Dropped, all of it is gone, and every process that
/// still runs in one of the hosts is killed.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    namespaces: Mutex<Vec<String>>,
}

impl Lab {
    /// An empty laboratory. The name is for whoever looks at `ip netns`; several
    /// may have the same.
    pub fn new(name: &str) -> Result<Self, LabError> {
        static SWEPT: Once = Once::new();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        check_name(name)?;
        SWEPT.call_once(sweep);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Ok(Lab {
            prefix: format!("{PREFIX}{}-{number}-{name}", std::process::id()),
            namespaces: Mutex::new(Vec::new()),
        })
    }

    /// A host with nothing but its loopback.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        check_name(name)?;
        let namespace = format!("{}-{name}", self.prefix);
        let mut namespaces = self.lock();
        if namespaces.contains(&namespace) {
            return Err(LabError::NameTaken(name.to_owned()));
        }
        run_words(&["ip", "netns", "add", &namespace])?;
        namespaces.push(namespace.clone());
        Host::open(name, namespace)
    }

    /// A cable between two hosts.
    pub fn link(&self, a: &Host, b: &Host) -> Result<Link, LabError> {
        Link::lay(a, b)
    }

    /// A switch, to which any number of hosts can be attached.
    pub fn switch(&self, name: &str) -> Result<Switch, LabError> {
        Switch::place(self.host(name)?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.lock().drain(..) {
            remove(&namespace);
        }
    }
}

fn check_name(name: &str) -> Result<(), LabError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
        return Err(LabError::Name(name.to_owned()));
    }
    Ok(())
}

/// Removes what processes that are dead left behind.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| is_stale(name)) {
            remove(name);
        }
    }
}

/// Whether a namespace belongs to a laboratory whose process is no more. An id
/// that somebody else got since only means that it is swept later.
fn is_stale(namespace: &str) -> bool {
    let pid = namespace
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Kills what runs in a namespace, which can only be what a laboratory started,
/// and takes away its name. Best effort: it may be in use or gone already.
fn remove(namespace: &str) {
    let pids = run_words(&["ip", "netns", "pids", namespace]).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = run_words(&["ip", "netns", "delete", namespace]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use std::process::Command;
    use std::time::Duration;

    fn exists(namespace: &str) -> bool {
        Path::new(NAMESPACES).join(namespace).exists()
    }

    #[test]
    fn a_laboratory_takes_its_hosts_with_it_also_when_the_test_panics() {
        crate::skip_unless_root!();
        let lab = Lab::new("drop").unwrap();
        let namespace = lab.host("a").unwrap().namespace().to_owned();
        assert!(exists(&namespace));
        let result = catch_unwind(move || {
            let _lab = lab;
            panic!("on purpose");
        });
        assert!(result.is_err());
        assert!(!exists(&namespace));
    }

    #[test]
    fn a_process_left_in_a_host_ends_with_the_laboratory() {
        crate::skip_unless_root!();
        let lab = Lab::new("left").unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = lab.host("a").unwrap().spawn(command).unwrap();
        drop(lab);
        assert!(process.wait(Duration::from_secs(5)).is_some());
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_a_living_one_uses_is_not() {
        crate::skip_unless_root!();
        // Ids end below four million.
        let stale = format!("{PREFIX}4194305-0-stale-a");
        run_words(&["ip", "netns", "add", &stale]).unwrap();
        let lab = Lab::new("living").unwrap();
        let host = lab.host("a").unwrap();
        sweep();
        assert!(!exists(&stale));
        assert!(exists(host.namespace()));
    }

    #[test]
    fn only_names_of_dead_laboratories_are_stale() {
        let own = format!("{PREFIX}{}-0-x-a", std::process::id());
        for (name, stale) in [
            ("evenkeel-lab-4194305-0-x-a", true),
            (own.as_str(), false),
            ("evenkeel-lab-", false),
            ("evenkeel-lab-x-0", false),
            ("blue", false),
        ] {
            assert_eq!(is_stale(name), stale, "{name}");
        }
    }

    #[test]
    fn a_name_is_checked_and_taken_once() {
        for name in ["", "a/b", "A", "..", &"x".repeat(65)] {
            assert!(matches!(Lab::new(name), Err(LabError::Name(_))), "{name}");
        }
        crate::skip_unless_root!();
        let lab = Lab::new("names").unwrap();
        let _a = lab.host("a").unwrap();
        assert!(matches!(lab.host("a"), Err(LabError::NameTaken(_))));
    }
}
