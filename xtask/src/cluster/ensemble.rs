//! Runs three members of a consensus group on three hosts, for either program.

use super::error::Error;
use super::{etcd, ours};
use crate::comparison;
use lab::{InjectedFault, Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of the start, until three members have a leader.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout of one query before a fault.
pub const CALM: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub enum Side {
    /// etcd, with its heartbeat interval and election timeout; `tls`: its members use TLS between
    /// each other.
    Etcd {
        program: PathBuf,
        heartbeat_ms: u32,
        election_ms: u32,
        tls: bool,
    },
    /// Two nodes and an arbiter.
    Evenkeel { program: PathBuf },
}

impl Side {
    pub fn label(&self) -> &'static str {
        match self {
            Side::Etcd { .. } => "etcd",
            Side::Evenkeel { .. } => "evenkeel",
        }
    }

    pub fn program(&self) -> &Path {
        match self {
            Side::Etcd { program, .. } | Side::Evenkeel { program } => program,
        }
    }

    /// Returns the version that the program reports.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(self.program())
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().next().map(str::to_owned)
    }
}

/// Status that a member reports about the whole group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The member that reports this status.
    pub own: u64,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    pub term: u64,
}

/// A client of one member, with one request at a time.
pub trait Client: Send {
    /// Returns the member's status; None without a response within the limit.
    fn standing(&mut self, limit: Duration) -> Option<Standing>;
    /// Writes a text; returns whether the write was acknowledged within the limit.
    fn write(&mut self, text: &str, limit: Duration) -> bool;
}

#[derive(Debug)]
pub struct Member {
    pub process: LabProcess,
    pub host: LabHost,
    pub address: SocketAddr,
    pub scratch: ScratchDirectory,
    /// The member is a node, not an arbiter.
    pub node: bool,
}

impl Member {
    pub fn said(&self) -> String {
        let bytes = std::fs::read(self.scratch.path().join("said")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the anonymous resident memory of all processes of the member in bytes.
    pub fn memory(&self) -> u64 {
        let of = |pid: rustix::process::Pid| lab::anonymous_memory(pid.as_raw_nonzero().get()).ok();
        self.process.tree().into_iter().filter_map(of).sum()
    }
}

/// A host of a site, before its member runs.
#[derive(Debug)]
pub struct Seat {
    pub name: &'static str,
    pub host: LabHost,
    pub address: Ipv4Addr,
    pub scratch: ScratchDirectory,
}

impl Seat {
    /// Starts a program on the host and records its output.
    pub fn spawn(&self, mut command: Command) -> Result<LabProcess, Error> {
        let path = self.scratch.path().join("said");
        let (out, err) = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|source| comparison::Error::File {
                doing: "creating",
                path,
                source,
            })?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(self.host.spawn(command)?)
    }
}

#[derive(Debug)]
pub struct Ensemble {
    side: Side,
    pub members: Vec<Member>,
    lan: Switch,
    lab: Lab,
}

impl Ensemble {
    /// Starts three members, and waits until all agree on a leader.
    pub fn start(side: &Side) -> Result<Ensemble, Error> {
        let lab = Lab::new("bench")?;
        let lan = lab.switch("lan")?;
        let seat = |(name, number): (&'static str, u8)| -> Result<Seat, Error> {
            let host = lab.host(name)?;
            lan.attach(&host)?
                .address(&format!("10.62.0.{number}/24"))?;
            Ok(Seat {
                name,
                host,
                address: Ipv4Addr::new(10, 62, 0, number),
                scratch: ScratchDirectory::new()?,
            })
        };
        let seats = [("alpha", 1), ("beta", 2), ("gamma", 3)].map(seat);
        let seats: Vec<Seat> = seats.into_iter().collect::<Result<_, _>>()?;
        let members = match side {
            Side::Etcd {
                program,
                heartbeat_ms,
                election_ms,
                tls,
            } => etcd::start(program, *heartbeat_ms, *election_ms, *tls, seats)?,
            Side::Evenkeel { program } => ours::start(program, seats)?,
        };
        let ensemble = Ensemble {
            side: side.clone(),
            members,
            lan,
            lab,
        };
        if eventually(READY_TIMEOUT, || ensemble.leader().is_ok()) {
            Ok(ensemble)
        } else {
            Err(ensemble.not_ready("all three know one leader"))
        }
    }

    /// Adds a host with this address to the switch of the members.
    pub fn host(&self, name: &str, number: u8) -> Result<LabHost, Error> {
        let host = self.lab.host(name)?;
        let at = self.lan.attach(&host)?;
        at.address(&format!("10.62.0.{number}/24"))?;
        Ok(host)
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.side, Side::Evenkeel { .. })
    }

    /// Applies a configuration with a word, which both nodes then serve.
    pub fn apply(&self, word: &str) -> Result<(), Error> {
        let first = self.members.first().ok_or(Error::NoMember(0))?;
        ours::apply(self.side.program(), first, word)
    }

    /// Drops everything that two members send each other, silently for both.
    pub fn silence(&self, one: usize, other: usize) -> Result<[InjectedFault; 2], Error> {
        let host = |number: usize| {
            let member = self.members.get(number);
            Ok::<_, Error>(&member.ok_or(Error::NoMember(number))?.host)
        };
        let (one, other) = (host(one)?, host(other)?);
        Ok([self.lan.one_way(one, other)?, self.lan.one_way(other, one)?])
    }

    pub fn not_ready(&self, waited_for: &'static str) -> Error {
        Error::Comparison(comparison::Error::NotReady {
            label: self.side.label().to_owned(),
            waited_for,
            said: self.members.iter().map(Member::said).collect(),
        })
    }

    /// Creates a client of one member, on the member's host.
    pub fn client(&self, member: usize) -> Result<Box<dyn Client>, Error> {
        let asked = self.members.get(member).ok_or(Error::NoMember(member))?;
        match self.side {
            Side::Etcd { .. } => Ok(Box::new(etcd::Asker::connect(asked)?)),
            Side::Evenkeel { .. } => Ok(Box::new(ours::Asker::connect(asked))),
        }
    }

    /// Returns the leader and the term if all members agree.
    pub fn leader(&self) -> Result<(usize, u64), Error> {
        let mut standings = Vec::new();
        for member in 0..self.members.len() {
            let standing = self.client(member)?.standing(CALM);
            standings.push(standing.ok_or(Error::NoMember(member))?);
        }
        let one = standings.first().copied();
        let agreed = one.filter(|one| {
            let same = |s: &Standing| (s.leader, s.term) == (one.leader, one.term);
            one.leader.is_some() && standings.iter().all(same)
        });
        agreed
            .and_then(|one| {
                let leads = |s: &Standing| Some(s.own) == one.leader;
                Some((standings.iter().position(leads)?, one.term))
            })
            .ok_or_else(|| self.not_ready("all three know one leader"))
    }
}
