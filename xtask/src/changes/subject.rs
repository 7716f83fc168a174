//! Controls a program under test: starts it, requests changes, inspects its processes, and queries
//! the configuration that it serves.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Failure, Location, Probe};
use rustix::process::{Pid, Signal};

use crate::bench::process::{Proxy, Side, anonymous_bytes, process_folder};

use super::counters::Counters;
use super::error::ChangesError;
use super::options::{Ask, CommandLine};
use super::site::{OWNER_PATH, Promise, ProxyFolder, STATISTICS_PATH, VERSION_PATH};

/// Timeout of a start or a change.
pub const CHANGE_PATIENCE: Duration = Duration::from_secs(10);
/// Interval at which a starting program is checked for its end.
const START_LOOK: Duration = Duration::from_millis(100);
/// Time in which the properties of a file must hold once its version is served: old processes may
/// have accepted a connection just before.
const PROMISE_PATIENCE: Duration = Duration::from_secs(2);
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub struct Subject {
    pub side: Side,
    words: Vec<OsString>,
    ask: Ask,
}

impl Subject {
    /// Prepares the program in its own folder.
    pub fn prepare(
        line: &CommandLine,
        label: &str,
        folder: &Path,
        signal: Option<Ask>,
    ) -> Result<Self, ChangesError> {
        let own = line.is_evenkeel();
        let name = if own { "evenkeel" } else { "haproxy" };
        let side = Side::prepare_as(name, label.to_owned(), &line.program, folder)?;
        Ok(Self {
            side,
            words: line.words.iter().map(OsString::from).collect(),
            ask: signal.unwrap_or(if own { Ask::Hup } else { Ask::Usr2 }),
        })
    }

    pub fn label(&self) -> &str {
        &self.side.label
    }

    /// Starts the program with the site's configuration, and waits until that is served.
    pub fn start<'s>(
        &'s self,
        site: &'s ProxyFolder,
        version: u64,
        more: &[OsString],
    ) -> Result<Running<'s>, ChangesError> {
        let mut arguments = self.words.clone();
        arguments.extend(["-f".into(), site.file().into()]);
        arguments.extend_from_slice(more);
        let proxy = Proxy::launch(&self.side, &arguments, None, &[])?;
        let mut running = Running {
            subject: self,
            site,
            proxy,
        };
        let begin = Instant::now();
        while begin.elapsed() < CHANGE_PATIENCE && running.ended()?.is_none() {
            if running.wait_for(version, START_LOOK).is_some() {
                return Ok(running);
            }
        }
        Err(ChangesError::NeverServed {
            label: self.label().to_owned(),
            said: self.side.said(),
        })
    }
}

/// A running program, which is ended when this value is dropped.
#[derive(Debug)]
pub struct Running<'s> {
    pub subject: &'s Subject,
    site: &'s ProxyFolder,
    pub proxy: Proxy,
}

/// A process of a running program.
#[derive(Debug, Clone)]
pub struct Kin {
    pub pid: Pid,
    pub user: u32,
    /// The first words of its command line.
    pub words: String,
    pub anonymous_bytes: u64,
    pub descriptors: u64,
    /// The file from which the process was started still exists.
    pub current_binary: bool,
}

impl Running<'_> {
    /// Returns the process that was started.
    pub fn supervisor(&self) -> Pid {
        self.proxy.pid()
    }

    /// Returns the exit status of the started process if it has ended.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>, ChangesError> {
        Ok(self.proxy.status()?)
    }

    /// Sends the signal that requests a change.
    pub fn ask(&self) -> Result<(), ChangesError> {
        let signal = match self.subject.ask {
            Ask::Usr2 => Signal::USR2,
            Ask::Hup => Signal::HUP,
        };
        let sent = rustix::process::kill_process(self.supervisor(), signal);
        sent.map_err(|_| ChangesError::Ended {
            label: self.subject.label().to_owned(),
            said: self.subject.side.said(),
        })
    }

    /// Waits until a new request gets this version, and returns how long that took.
    pub fn wait_for(&self, version: u64, patience: Duration) -> Option<Duration> {
        let wanted = format!("version-{version}");
        let begin = Instant::now();
        while begin.elapsed() < patience {
            if self.get(self.site.at.web, VERSION_PATH).as_deref() == Ok(&wanted) {
                return Some(begin.elapsed());
            }
            std::thread::sleep(PROBE_INTERVAL);
        }
        None
    }

    /// Requests a path over a new connection to the port; returns the body.
    pub fn get(&self, port: u16, path: &str) -> Result<String, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut probe = Probe::new(Location::Here, address).timeout(PROBE_PATIENCE);
        probe.get(path).map(|answer| answer.text())
    }

    /// Returns a description of the properties that do not hold.
    pub fn unkept(&self, promise: &Promise) -> Option<String> {
        let mut unkept = None;
        let _ = lab::eventually(PROMISE_PATIENCE, || {
            unkept = self.look(promise);
            unkept.is_none()
        });
        unkept
    }

    fn look(&self, promise: &Promise) -> Option<String> {
        let at = self.site.at;
        let owner = self.get(at.moving, OWNER_PATH);
        if owner.as_deref() != Ok(promise.owner) {
            return Some(format!(
                "the moving listener says {owner:?}, not {}",
                promise.owner
            ));
        }
        let passing = self.get(at.passing, OWNER_PATH);
        let kept = match &passing {
            Ok(text) => promise.passing && text == "passing",
            Err(Failure::Connect(_)) => !promise.passing,
            Err(_) => false,
        };
        if !kept {
            let there = promise.passing;
            return Some(format!(
                "the passing listener says {passing:?}, to be there: {there}"
            ));
        }
        let listed = self.get(at.web, &promise.listed);
        (listed.as_deref() != Ok("listed")).then(|| {
            let path = &promise.listed;
            format!("{path} is in the ACL's file, its answer is {listed:?}")
        })
    }

    pub fn counters(&self) -> Result<Counters, ChangesError> {
        let page = self.get(self.site.at.statistics, STATISTICS_PATH).ok();
        page.and_then(|page| Counters::read(&page))
            .ok_or_else(|| ChangesError::NoStatistics {
                label: self.subject.label().to_owned(),
            })
    }

    /// Returns all processes of the program: descendants of the started process, and other members
    /// of its process group, such as those left after that process was killed.
    pub fn family(&self) -> Vec<Kin> {
        let mut pids = self.proxy.processes();
        let group = self.supervisor().as_raw_nonzero().get().to_string();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in entries {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw) else {
                continue;
            };
            if !pids.contains(&pid) && group_of(pid).as_ref() == Some(&group) {
                pids.push(pid);
            }
        }
        pids.into_iter().filter_map(kin).collect()
    }

    /// Returns the processes of the program except the supervisor.
    pub fn workers(&self) -> Vec<Kin> {
        let mut family = self.family();
        family.retain(|kin| kin.pid != self.supervisor());
        family
    }
}

/// Returns the process group of a process; None if it has ended.
fn group_of(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(process_folder(pid).join("stat")).ok()?;
    // The fields are: pid (name) state parent group. The name may contain any characters.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    let state = words.next()?;
    let group = words.nth(1)?;
    (state != "Z" && state != "X").then(|| group.to_owned())
}

/// Returns None if the process has ended, or only waits to be reaped.
fn kin(pid: Pid) -> Option<Kin> {
    group_of(pid)?;
    let folder = process_folder(pid);
    let line = fs::read(folder.join("cmdline")).ok()?;
    let words: Vec<_> = line
        .split(|&byte| byte == 0)
        .take(4)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let binary = fs::read_link(folder.join("exe")).ok()?;
    Some(Kin {
        pid,
        user: fs::metadata(&folder).ok()?.uid(),
        words: words.join(" ").trim_end().to_owned(),
        anonymous_bytes: anonymous_bytes(pid).ok()?,
        descriptors: fs::read_dir(folder.join("fd")).ok()?.count() as u64,
        current_binary: !binary.to_string_lossy().ends_with(" (deleted)"),
    })
}

/// Kills a process that belongs to a running program.
pub fn kill(pid: Pid) {
    // An error means that the process has ended already.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}
