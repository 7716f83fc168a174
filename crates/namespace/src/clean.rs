//! Removes what a laboratory (the hosts of one `Lab`) left behind: its namespaces with all
//! processes in them, its directories, and what is mounted there.
//!
//! Three levels work together. A laboratory that is dropped, also by a panic, removes its own
//! objects. A small guard process waits for the end of this process, whatever the cause (Ctrl-C,
//! SIGKILL), and removes what is left. If the guard is killed, too, the next laboratory or
//! [`clean`] does it. Names contain the ID of the process that they belong to; objects of a live
//! process are never touched.

use crate::name::{NAMESPACES, PREFIX};
use crate::process::run_words;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// Maximum number of scans of a namespace for processes until none is left, because processes may
/// be starting others.
const ROUNDS_MAX: usize = 20;

/// Object of a dead process that [`clean`] removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removed {
    /// Namespace of a host or a switch, by its name.
    Host(String),
    Directory(PathBuf),
}

/// Removes namespaces and directories that laboratories of dead processes left, and returns those
/// that no longer exist.
pub fn clean() -> Vec<Removed> {
    let mut removed = Vec::new();
    for name in stale(Path::new(NAMESPACES)) {
        remove_host(&name);
        if !Path::new(NAMESPACES).join(&name).exists() {
            removed.push(Removed::Host(name));
        }
    }
    let temporary = std::env::temp_dir();
    for name in stale(&temporary) {
        let path = temporary.join(&name);
        let own = fs::symlink_metadata(&path)
            .is_ok_and(|m| m.is_dir() && m.uid() == rustix::process::geteuid().as_raw());
        if own && remove_directory(&path) {
            removed.push(Removed::Directory(path));
        }
    }
    removed
}

fn stale(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str().map(str::to_owned));
    names.filter(|name| is_stale(name)).collect()
}

/// Returns whether a name belongs to a laboratory whose process is dead. If the process id was
/// reused, the removal is only delayed.
fn is_stale(name: &str) -> bool {
    let pid = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Kills all other processes with the path of a file below this directory among their arguments.
/// Such a process may have left the namespace in which it was started, as QEMU does.
fn kill_all_that_name(directory: &Path) {
    let inside = [directory.as_os_str().as_bytes(), b"/"].concat();
    let own = rustix::process::getpid();
    for pid in all_processes().filter(|pid| *pid != own) {
        let arguments = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let mut pieces = arguments.iter().flat_map(|all| all.windows(inside.len()));
        if pieces.any(|piece| piece == inside) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn all_processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

pub(crate) fn remove_directory(path: &Path) -> bool {
    kill_all_that_name(path);
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for directory in below {
        // Ignores an error, which means that nothing is mounted.
        let _ = unmount(directory.path(), UnmountFlags::DETACH);
    }
    fs::remove_dir_all(path).is_ok()
}

pub(crate) fn processes_in(inode: u64) -> Vec<Pid> {
    let is_in = |pid: &Pid| {
        // Follows the link to the namespace itself.
        let namespace = fs::metadata(format!("/proc/{}/ns/net", pid.as_raw_nonzero()));
        namespace.is_ok_and(|metadata| metadata.ino() == inode)
    };
    all_processes().filter(is_in).collect()
}

pub(crate) fn kill_all_in(inode: u64) {
    for _ in 0..ROUNDS_MAX {
        let found = processes_in(inode);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Kills the processes in a namespace and removes its name. Ignores errors, because the name may be
/// in use or gone already.
pub(crate) fn remove_host(namespace: &str) {
    if let Ok(metadata) = fs::metadata(Path::new(NAMESPACES).join(namespace)) {
        kill_all_in(metadata.ino());
    }
    let _ = run_words(&["ip", "netns", "delete", namespace]);
}

/// Cleans up after dead processes, and starts the guard of this process. Only the first call in a
/// process does that.
pub(crate) fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        clean();
        // Keeps the writing end of the guard's pipe open until this process ends. Without a guard,
        // the next laboratory cleans.
        std::mem::forget(guard());
    });
}

/// Shell script of the guard, which waits until the other end of its standard input is closed by
/// the end of the guarded process, and then removes the namespaces, directories and processes whose
/// names contain that process's ID.
const GUARD: &str = r#"
read -r never
for at in "$2/$1-"*; do
    [ -e "$at" ] || continue
    name=${at##*/}
    for round in 1 2 3; do
        for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
    done
    ip netns delete "$name"
done
for at in "$3/$1-"*; do
    [ -d "$at" ] || continue
    for file in $(grep -la "$at/" /proc/[0-9]*/cmdline); do
        pid=${file#/proc/}
        kill -9 "${pid%/cmdline}"
    done
    for below in "$at"/*/; do umount -l "$below"; done
    rm -rf --one-file-system "$at"
done
"#;

/// Starts the guard in its own process group, so that Ctrl-C at a terminal does not reach it, and
/// without this process's outputs, for whose end another program may wait.
fn guard() -> Option<Child> {
    let own = format!("{PREFIX}{}", std::process::id());
    let mut command = Command::new("sh");
    command
        .args(["-c", GUARD, "evenkeel-lab-guard", &own, NAMESPACES])
        .arg(std::env::temp_dir().as_os_str())
        .current_dir("/")
        .env_remove(OsStr::new("ENV"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command.spawn().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lab, ScratchDirectory, eventually};
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(30);

    fn exists(namespace: &str) -> bool {
        Path::new(NAMESPACES).join(namespace).exists()
    }

    #[test]
    fn remains_of_dead_processes_only_are_removed() {
        crate::skip_unless_root!();
        // Process ids end below four million.
        let stale = format!("{PREFIX}4194305-0-stale-a");
        run_words(&["ip", "netns", "add", &stale]).unwrap();
        let directory = std::env::temp_dir().join(format!("{PREFIX}4194306-0"));
        fs::create_dir_all(directory.join("mounted")).unwrap();
        let (lab, scratch) = (
            Lab::new("living").unwrap(),
            ScratchDirectory::new().unwrap(),
        );
        let host = lab.host("a").unwrap();
        // Other tests clean, too, so it does not matter which one removed it.
        let _ = clean();
        assert!(eventually(SOON, || !exists(&stale) && !directory.exists()));
        assert!(exists(host.namespace()) && scratch.path().exists());
    }

    #[test]
    fn only_names_of_dead_laboratories_are_stale() {
        let own = format!("{PREFIX}{}-0-x-a", std::process::id());
        for (name, stale) in [
            ("evenkeel-lab-4194305-0-x-a", true),
            ("evenkeel-lab-4194305-0", true),
            (own.as_str(), false),
            ("evenkeel-lab-", false),
            ("evenkeel-lab-x-0", false),
            ("blue", false),
        ] {
            assert_eq!(is_stale(name), stale, "{name}");
        }
    }

    #[test]
    fn processes_using_a_directory_end_with_it() {
        let scratch = ScratchDirectory::new().unwrap();
        let file = scratch.path().join("file");
        let waits = |path: &Path| {
            let mut command = Command::new("sleep");
            command.arg0(path).arg("600").spawn().unwrap()
        };
        let (mut inside, mut outside) = (waits(&file), waits(Path::new("elsewhere")));
        // Waits until the arguments of the started program are visible.
        let arguments = format!("/proc/{}/cmdline", inside.id());
        let shows = || fs::read(&arguments).is_ok_and(|bytes| !bytes.is_empty());
        assert!(eventually(SOON, shows));
        drop(scratch);
        let status = inside.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        assert_eq!(outside.try_wait().unwrap(), None);
        outside.kill().unwrap();
        outside.wait().unwrap();
    }

    /// Runs as a separate process, which the next test starts and kills.
    #[test]
    #[ignore = "run by the test of the guard, in a process of its own"]
    fn a_laboratory_that_waits_to_be_killed() {
        let lab = Lab::new("doomed").unwrap();
        let host = lab.host("a").unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let _process = host.spawn(command).unwrap();
        let mut outside = Command::new("sleep");
        outside.arg0(scratch.path().join("file")).arg("600");
        let mut outside = outside.spawn().unwrap();
        let report = std::env::var_os("EVENKEEL_LAB_REPORT").unwrap();
        let directory = scratch.path().display();
        let text = format!("{} {directory} {}", host.namespace(), outside.id());
        fs::write(report, text).unwrap();
        let _ = outside.wait();
    }

    #[test]
    fn a_laboratory_that_is_killed_is_removed_by_its_guard() {
        crate::skip_unless_root!();
        for signal in [Signal::INT, Signal::KILL] {
            let scratch = ScratchDirectory::new().unwrap();
            let report = scratch.path().join("report");
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--ignored", "--exact"])
                .arg("clean::tests::a_laboratory_that_waits_to_be_killed")
                .env("EVENKEEL_LAB_REPORT", &report)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let process = crate::Location::Here.spawn(command).unwrap();
            let mut text = String::new();
            assert!(eventually(SOON, || {
                text = fs::read_to_string(&report).unwrap_or_default();
                text.contains(' ')
            }));
            let words: Vec<&str> = text.split(' ').collect();
            let [namespace, directory, outside] = words[..] else {
                panic!("{text}");
            };
            let outside = Path::new("/proc").join(outside).join("exe");
            assert!(exists(namespace) && Path::new(directory).exists());
            process.signal(signal).unwrap();
            // The guard does not see the end of a process that is not reaped: its files are closed
            // when it dies, which is what counts.
            let gone = || !exists(namespace) && !Path::new(directory).exists();
            let gone = || gone() && fs::read_link(&outside).is_err();
            assert!(eventually(SOON, gone), "{signal:?}: {text}");
        }
    }
}
