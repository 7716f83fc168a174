//! Starts processes that use all the time of the processors, anywhere or pinned, until they are
//! dropped.

use namespace::{LabError, LabProcess, Location};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Processes that use a processor until this value is dropped. They have ordinary priority.
#[derive(Debug)]
pub struct BusyProcessors(Vec<LabProcess>);

impl BusyProcessors {
    /// Starts this number of processes, wherever the scheduler puts them.
    pub fn start(count: usize) -> Result<Self, LabError> {
        Self::of((0..count).map(|_| command()))
    }

    /// Starts this number of processes on each of these processors.
    pub fn pinned(processors: &[usize], count: usize) -> Result<Self, LabError> {
        let mut commands = Vec::new();
        for processor in processors {
            for _ in 0..count {
                let mut set = CpuSet::new();
                set.set(*processor);
                let mut command = command();
                // SAFETY: between fork and exec only one system call is made, on a value that was
                // there before.
                unsafe {
                    command.pre_exec(move || Ok(sched_setaffinity(None, &set)?));
                }
                commands.push(command);
            }
        }
        Self::of(commands.into_iter())
    }

    fn of(commands: impl Iterator<Item = Command>) -> Result<Self, LabError> {
        let started: Result<_, _> = commands.map(|c| Location::Here.spawn(c)).collect();
        started.map(BusyProcessors)
    }

    pub fn processes(&self) -> &[LabProcess] {
        &self.0
    }
}

fn command() -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "while :; do :; done"])
        .stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use namespace::eventually;
    use std::time::Duration;

    /// Returns the processor ticks that a process used in user space.
    fn ticks(pid: i32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.split(' ').nth(11).unwrap().parse().unwrap()
    }

    #[test]
    fn busy_processes_work_until_they_are_dropped_and_stay_where_they_are_pinned() {
        let busy = BusyProcessors::pinned(&[0], 2).unwrap();
        let pids: Vec<i32> = busy.processes().iter().map(LabProcess::pid).collect();
        for pid in &pids {
            assert!(eventually(Duration::from_secs(60), || ticks(*pid) > 2));
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        }
        drop(busy);
        for pid in pids {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        }
    }
}
