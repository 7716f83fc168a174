//! What the loader tells the supervisor about a version, so that the supervisor
//! need not read what a user wrote.

use super::address::AddressPlan;
use super::codec::{DecodeError, Reader, Writer};
use super::watch::Watch;
use super::{FIXED_MAX, GROUPS_MAX, NAMES_MAX, PATH_BYTES_MAX, PROGRAMS_MAX, WORDS_BYTES_MAX};

/// Sockets that are named by a number.
const NUMBERED_MAX: usize = 1_024;
/// Log targets of one file.
const LOGS_MAX: usize = 4_096;

/// A version, as the supervisor sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// What the role gives up, which it cannot take back.
    pub rights: Rights,
    /// How the role is to serve.
    pub settings: Settings,
    /// Open files of the role; the supervisor sets the limit.
    pub files_max: u64,
    /// Most memory of the role, bytes.
    pub memory_bytes: Option<u64>,
    /// Into the background.
    pub daemon: bool,
    /// The file of the supervisor's process id.
    pub pid_file: Option<Vec<u8>>,
    /// `hard-stop-after`.
    pub hard_stop_after_ms: Option<u64>,
    /// `quiet`.
    pub quiet: bool,
    /// The files, by the names of the command line.
    pub names: Vec<String>,
    /// Frontends, backends and listens.
    pub proxies: u32,
    /// Listeners: the first descriptors behind the bundle.
    pub listeners: u32,
    /// Statistics sockets: the next ones.
    pub operations: u32,
    /// Which of those were named by a number (`fd@N`): the place among the
    /// listeners and statistics sockets, and the number.
    pub numbered: Vec<(u32, u32)>,
    /// For each log target whether its socket is there: the last ones.
    pub logs: Vec<bool>,
    /// What the new file asks for and only a restart can bring, in words.
    pub fixed: Vec<String>,
    /// What differs from the version before, in words.
    pub difference: String,
    /// How many descriptors of the version before are used again.
    pub reused: u32,
    /// What is to be taken in when it changes by itself.
    pub watch: Option<Watch>,
    /// Virtual addresses, where there are any. It stands at the end of whatever a
    /// plan is in.
    pub addresses: Option<AddressPlan>,
    /// Programs of external checks: the only ones that are run for the role. They stand
    /// behind everything else of whatever a plan is the last part of.
    pub programs: Vec<CheckProgram>,
}

/// A program that external checks run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct CheckProgram {
    /// `external-check command`
    pub command: Vec<u8>,
    /// `external-check path`: its PATH.
    pub path: Vec<u8>,
}

impl CheckProgram {
    pub(super) fn write(&self, to: &mut Writer) {
        to.slice(&self.command, PATH_BYTES_MAX);
        to.slice(&self.path, PATH_BYTES_MAX);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<CheckProgram, DecodeError> {
        Ok(CheckProgram {
            command: from.bytes("command", PATH_BYTES_MAX)?,
            path: from.bytes("path", PATH_BYTES_MAX)?,
        })
    }
}

/// User, groups and root directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// `user`, `uid`.
    pub uid: Option<u32>,
    /// `group`, `gid`.
    pub gid: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// `chroot`.
    pub chroot: Option<Vec<u8>>,
    /// Capabilities that it keeps, as the kernel counts them.
    pub capabilities: u64,
}

/// What stands on the command line or was found out about the system, and wins
/// over the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `maxconn` of the process, from the command line.
    pub connections: Option<u32>,
    /// `maxconn` of frontends that have none, from the command line.
    pub proxy_connections: Option<u32>,
    /// Most connections at one time, as the limits of the system allow.
    pub connections_max: u32,
    /// Threads of the data plane.
    pub threads: u32,
}

impl Plan {
    /// Descriptors of the version, without the bundle.
    pub fn descriptors(&self) -> usize {
        let logs = self.logs.iter().filter(|open| **open).count();
        self.listeners as usize + self.operations as usize + logs
    }

    pub(super) fn write(&self, to: &mut Writer) {
        self.rights.write(to);
        self.settings.write(to);
        to.u64(self.files_max);
        to.option(self.memory_bytes.as_ref(), |to, bytes| to.u64(*bytes));
        to.bool(self.daemon);
        to.option(self.pid_file.as_ref(), |to, path| {
            to.slice(path, PATH_BYTES_MAX);
        });
        to.option(self.hard_stop_after_ms.as_ref(), |to, ms| to.u64(*ms));
        to.bool(self.quiet);
        to.list(&self.names, NAMES_MAX, |to, name| {
            to.text(name, PATH_BYTES_MAX / 8);
        });
        to.u32(self.proxies);
        to.u32(self.listeners);
        to.u32(self.operations);
        to.list(&self.numbered, NUMBERED_MAX, |to, (place, number)| {
            to.u32(*place);
            to.u32(*number);
        });
        to.list(&self.logs, LOGS_MAX, |to, open| to.bool(*open));
        to.list(&self.fixed, FIXED_MAX, |to, words| {
            to.text(words, WORDS_BYTES_MAX / 8);
        });
        to.text(&self.difference, WORDS_BYTES_MAX);
        to.u32(self.reused);
        to.option(self.watch.as_ref(), |to, watch| watch.write(to));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Plan, DecodeError> {
        Ok(Plan {
            rights: Rights::read(from)?,
            settings: Settings::read(from)?,
            files_max: from.u64()?,
            memory_bytes: from.option("memory", Reader::u64)?,
            daemon: from.bool("daemon")?,
            pid_file: from.option("pidfile", |from| from.bytes("pidfile", PATH_BYTES_MAX))?,
            hard_stop_after_ms: from.option("hard-stop-after", Reader::u64)?,
            quiet: from.bool("quiet")?,
            names: from.list("names", NAMES_MAX, |from| from.text("name", PATH_BYTES_MAX))?,
            proxies: from.u32()?,
            listeners: from.u32()?,
            operations: from.u32()?,
            numbered: from.list("numbered", NUMBERED_MAX, |from| {
                Ok((from.u32()?, from.u32()?))
            })?,
            logs: from.list("logs", LOGS_MAX, |from| from.bool("log"))?,
            fixed: from.list("fixed", FIXED_MAX, |from| {
                from.text("fixed", WORDS_BYTES_MAX)
            })?,
            difference: from.text("difference", WORDS_BYTES_MAX)?,
            reused: from.u32()?,
            watch: from.option("watch", Watch::read)?,
            addresses: None,
            programs: Vec::new(),
        })
    }

    /// A plan that is all of a message.
    pub(super) fn read_whole(from: &mut Reader<'_>) -> Result<Plan, DecodeError> {
        let mut plan = Plan::read(from)?;
        plan.read_end(from)?;
        Ok(plan)
    }

    /// Both parts that were added later, where nothing else follows.
    pub(super) fn write_end(&self, to: &mut Writer) {
        self.write_tail(to);
        to.list(&self.programs, PROGRAMS_MAX, |to, program| {
            program.write(to);
        });
    }

    /// The same, of which a program before it has nothing, or the first.
    pub(super) fn read_end(&mut self, from: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.read_tail(from)?;
        if !from.is_empty() {
            self.programs = from.list("programs", PROGRAMS_MAX, CheckProgram::read)?;
        }
        Ok(())
    }

    /// What was added later: behind everything else, so that programs before it
    /// read what they know.
    pub(super) fn write_tail(&self, to: &mut Writer) {
        to.option(self.addresses.as_ref(), |to, addresses| addresses.write(to));
    }

    /// The same, of which a program before it has nothing.
    pub(super) fn read_tail(&mut self, from: &mut Reader<'_>) -> Result<(), DecodeError> {
        if !from.is_empty() {
            self.addresses = from.option("addresses", AddressPlan::read)?;
        }
        Ok(())
    }
}

impl Rights {
    pub(super) fn write(&self, to: &mut Writer) {
        to.option(self.uid.as_ref(), |to, uid| to.u32(*uid));
        to.option(self.gid.as_ref(), |to, gid| to.u32(*gid));
        to.list(&self.groups, GROUPS_MAX, |to, gid| to.u32(*gid));
        to.option(self.chroot.as_ref(), |to, path| {
            to.slice(path, PATH_BYTES_MAX);
        });
        to.u64(self.capabilities);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Rights, DecodeError> {
        Ok(Rights {
            uid: from.option("uid", Reader::u32)?,
            gid: from.option("gid", Reader::u32)?,
            groups: from.list("groups", GROUPS_MAX, Reader::u32)?,
            chroot: from.option("chroot", |from| from.bytes("chroot", PATH_BYTES_MAX))?,
            capabilities: from.u64()?,
        })
    }
}

impl Settings {
    fn write(&self, to: &mut Writer) {
        to.option(self.connections.as_ref(), |to, number| to.u32(*number));
        to.option(self.proxy_connections.as_ref(), |to, number| {
            to.u32(*number);
        });
        to.u32(self.connections_max);
        to.u32(self.threads);
    }

    fn read(from: &mut Reader<'_>) -> Result<Settings, DecodeError> {
        Ok(Settings {
            connections: from.option("connections", Reader::u32)?,
            proxy_connections: from.option("proxy connections", Reader::u32)?,
            connections_max: from.u32()?,
            threads: from.u32()?,
        })
    }
}
