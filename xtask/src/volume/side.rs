//! Controls a volume under comparison: runs its client, and measures its servers.

use super::case::Case;
use super::error::VolumeBenchError;
use super::fio::{Numbers, Target};
use super::hand::Hand;
use crate::cluster::ensemble::Ensemble;
use crate::comparison;
use lab::{Lab, LabHost, LabProcess, ScratchDirectory, eventually};
use rustix::process::Pid;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of the start, until a volume is served.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of ticks of CPU time per second, as the kernel reports them.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub enum Servers {
    /// All processes on these hosts, because some programs leave their process group.
    Hosts(Vec<LabHost>),
    /// Evenkeel's volume role below one supervisor.
    Role(LabProcess),
    /// Evenkeel's volume roles of a cluster.
    Roles(Box<Ensemble>),
}

#[derive(Debug)]
pub enum Client {
    Fio(LabHost, Target),
    /// This process, without any client program.
    Hand(Hand),
}

/// A volume with everything that belongs to it. Dropping it ends the started programs.
#[derive(Debug)]
pub struct Side {
    pub client: Client,
    pub servers: Servers,
    pub _programs: Vec<LabProcess>,
    pub _files: Vec<ScratchDirectory>,
    pub _lab: Option<Lab>,
}

impl Side {
    /// Runs a case; None if this side does not support the case.
    pub fn run(&self, case: Case, seconds: u32) -> Result<Option<Turn>, VolumeBenchError> {
        let before = self.ticks();
        let numbers = match &self.client {
            Client::Fio(host, target) => target.run(host, case, seconds)?,
            Client::Hand(hand) if case == Case::Flush1 => hand.run(seconds)?,
            Client::Hand(_) => return Ok(None),
        };
        let ticks = (self.ticks() - before) as f64;
        let processor_us = ticks * 1e6 / TICKS_PER_SECOND / numbers.count.max(1.0);
        let has_servers = !matches!(self.client, Client::Hand(_));
        Ok(Some(Turn {
            numbers,
            processor_us: has_servers.then_some(processor_us),
        }))
    }

    /// Writes the whole volume once, except by hand, where that is done already.
    pub fn fill(&self) -> Result<(), VolumeBenchError> {
        match &self.client {
            Client::Fio(host, target) => target.fill(host),
            Client::Hand(_) => Ok(()),
        }
    }

    /// Returns the CPU time of the servers so far in ticks.
    fn ticks(&self) -> u64 {
        self.pids().into_iter().filter_map(ticks).sum()
    }

    /// Returns the anonymous resident memory of the largest role in MiB; None for other programs
    /// than Evenkeel.
    pub fn memory(&self) -> Option<f64> {
        let is_ours = !matches!(self.servers, Servers::Hosts(_));
        let of = |pid| field(pid, "RssAnon:");
        let most = self.pids().into_iter().filter_map(of).max();
        most.filter(|_| is_ours)
            .map(|kilobytes| kilobytes as f64 / 1024.0)
    }

    fn pids(&self) -> Vec<Pid> {
        let roles = |process: &LabProcess| {
            let mut pids = process.tree();
            pids.retain(|pid| is_role(*pid));
            pids
        };
        match &self.servers {
            Servers::Hosts(hosts) => hosts.iter().flat_map(LabHost::processes).collect(),
            Servers::Role(process) => roles(process),
            Servers::Roles(ensemble) => {
                let members = ensemble.members.iter();
                members.flat_map(|member| roles(&member.process)).collect()
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub numbers: Numbers,
    /// CPU time of the servers per operation in microseconds.
    pub processor_us: Option<f64>,
}

fn read(pid: Pid, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero())).ok()
}

fn is_role(pid: Pid) -> bool {
    read(pid, "cmdline").is_some_and(|line| line.contains("volume-role"))
}

/// Returns the user and system time of all threads.
fn ticks(pid: Pid) -> Option<u64> {
    let stat = read(pid, "stat")?;
    // Skips the process ID and the name, which may contain any characters.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn field(pid: Pid, name: &str) -> Option<u64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Starts a program on a host, with its output in a file.
pub fn spawn(
    host: &LabHost,
    scratch: &ScratchDirectory,
    mut command: Command,
) -> Result<LabProcess, VolumeBenchError> {
    let path = scratch.path().join("said");
    let opened = File::options().create(true).append(true).open(&path);
    let (out, err) = opened
        .and_then(|file| Ok((file.try_clone()?, file)))
        .map_err(|source| comparison::Error::File {
            doing: "creating",
            path,
            source,
        })?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(host.spawn(command)?)
}

/// Waits until a condition holds; the error contains the output of the program.
pub fn ready(
    label: &str,
    scratch: &ScratchDirectory,
    waited_for: &'static str,
    condition: impl FnMut() -> bool,
) -> Result<(), VolumeBenchError> {
    if eventually(READY_TIMEOUT, condition) {
        return Ok(());
    }
    let said = fs::read(scratch.path().join("said")).unwrap_or_default();
    Err(VolumeBenchError::Comparison(comparison::Error::NotReady {
        label: label.to_owned(),
        waited_for,
        said: String::from_utf8_lossy(&said).into_owned(),
    }))
}
