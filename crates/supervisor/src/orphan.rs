//! Finds roles whose supervisor has ended: the primary role with the version that it serves, a
//! sidecar role of the same files, and roles of other files.

use crate::command::StartParameters;
use crate::directory::{self, Instance, SocketOwner};
use crate::keep::{self, KeepError, Unmatched};
use crate::turn::MESSAGES_MAX;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::before::Before;
use part::channel::{Channel, ChannelError, timespec};
use part::role::{DecodeError, Decoded, PACKET_BYTES_MAX, SupervisorMessage, Take};
use part::row::{self, Entry, RoleRow};
use part::spawn::Started;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Number of attempts to find a role, which may end or be adopted during an attempt.
const TRIES: u32 = 3;

pub struct Orphan {
    pub process: Started,
    pub version: OrphanVersion,
    pub number: u64,
    pub socket: PathBuf,
    /// Process id of the supervisor that has ended.
    pub before: u32,
}

/// The known part of the version that an orphaned role serves.
pub enum OrphanVersion {
    Version(Box<LoadedVersion>),
    /// Only the sockets that the role sent, and why the rest is unknown.
    Sockets(Vec<SharedFd>, KeepError),
}

/// The reason why a role that serves these files is not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error("it has another supervisor already")]
    Supervised,
    #[error("it{} does not respond", process(*.0))]
    Silent(Option<u32>),
    /// The program of the role uses another message format. The role can be ended by a signal.
    #[error("it runs a different program: {0}")]
    Foreign(DecodeError, Option<Box<OwnedProcess>>),
    #[error("unexpected reply")]
    Words,
    #[error("its process: {0}")]
    Process(Errno),
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A role whose messages this supervisor does not understand: it can only get signals.
pub struct OwnedProcess(pub Started);

impl fmt::Debug for OwnedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.pid())
    }
}

impl From<Errno> for AdoptError {
    fn from(errno: Errno) -> Self {
        AdoptError::Channel(errno.into())
    }
}

/// Returns the running supervisors. None if they cannot be listed, or if a file of this command is
/// no regular file or directory, so that no role can be found by it.
fn living(command: &StartParameters) -> Option<Vec<Instance>> {
    // Finds nothing if a file is a pipe, which does not identify a configuration.
    let lasting = command.paths.iter().all(|path| directory::is_lasting(path));
    lasting.then(|| directory::instances().ok()).flatten()
}

/// Returns the matching roles of a part whose supervisor has ended.
fn left(part: &str, living: &[Instance], fits: impl Fn(&Instance) -> bool) -> Vec<Instance> {
    let mut roles = directory::roles(part).unwrap_or_default();
    roles.retain(|one| fits(one) && !living.iter().any(|other| other.pid == one.pid));
    roles
}

fn is_of(command: &StartParameters, one: &Instance) -> bool {
    one.is_of(command.form().program(), &command.paths)
}

/// Finds the role that serves the files of this command and has no supervisor.
pub fn find(row: &RoleRow, command: &StartParameters) -> Result<Option<Orphan>, AdoptError> {
    let ours = |one: &Instance| is_of(command, one);
    for _ in 0..TRIES {
        let Some(living) = living(command) else {
            return Ok(None);
        };
        // Refuses a second supervisor of the same files, except with `-x`, `-sf` or `-st`, where
        // the new one starts beside the old one.
        if command.before == Before::default() && living.iter().any(ours) {
            return Err(AdoptError::Supervised);
        }
        let left = left(row.part, &living, ours);
        let Some(role) = left.first() else {
            return Ok(None);
        };
        // If the role disappears, another supervisor may have adopted it, so the search is
        // repeated.
        let reached = reach(row.entry, role)?;
        let asked = reached.map(|process| ask(process, role)).transpose()?;
        if let Some(orphan) = asked.flatten() {
            return Ok(Some(orphan));
        }
    }
    Ok(None)
}

/// Finds the orphaned sidecar role of these files. Also returns the process id of the supervisor
/// that has ended.
pub fn find_beside(
    row: &RoleRow,
    command: &StartParameters,
) -> Result<Option<(Started, u32)>, AdoptError> {
    let Some(living) = living(command) else {
        return Ok(None);
    };
    let ours = |one: &Instance| is_of(command, one) && one.pid != std::process::id();
    for role in left(row.part, &living, ours) {
        if let Some(process) = reach(row.entry, &role)? {
            // Removes the previous entry, because the role will listen on another socket.
            directory::remove(&role.socket);
            return Ok(Some((process, role.pid)));
        }
    }
    Ok(None)
}

/// Finds the roles in this network namespace whose supervisor has ended and that serve other files
/// than this command. Returns the name of each role and the entry of its supervisor.
pub fn others(command: &StartParameters) -> Vec<(&'static str, Instance)> {
    let all = directory::entries().unwrap_or_default();
    let (own, network) = (std::process::id(), directory::network());
    let lives = |pid| {
        let mut supervisors = all.iter().filter(|one| one.is(SocketOwner::Supervisor));
        supervisors.any(|one| one.pid == pid)
    };
    let is_left = |one: &Instance| {
        one.network == network && one.pid != own && !is_of(command, one) && !lives(one.pid)
    };
    let of = |row: &'static RoleRow| {
        let roles = all
            .iter()
            .filter(move |one| one.is(SocketOwner::of_part(row.part)));
        roles.map(|one| (row.entry.display_name, one.clone()))
    };
    let roles = row::all().iter().flat_map(|row| of(row));
    roles.filter(|(_, one)| is_left(one)).collect()
}

/// Connects to an orphaned role; the kernel reports its process id. None if the role has just
/// ended.
fn reach(entry: Entry, role: &Instance) -> Result<Option<Started>, AdoptError> {
    let fd = match directory::connected_to_role(&role.socket) {
        // Finds no role if nobody listens: the role has just ended.
        Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let (sender, first) = match first_words(&fd, role) {
        // The connection was closed: the role has ended, or has another supervisor and listens
        // elsewhere.
        Err(AdoptError::Channel(ChannelError::Closed)) => return Ok(None),
        other => other?,
    };
    let process = |pid: Option<Pid>, fd: OwnedFd| -> Result<Started, AdoptError> {
        let pid = pid.ok_or(AdoptError::Process(Errno::SRCH))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(AdoptError::Process)?;
        let channel = Channel::new(fd).map_err(|error| AdoptError::Channel(error.into()))?;
        Ok(Started::running(entry, pid, pidfd, channel))
    };
    match first {
        Ok(Decoded::Message(SupervisorMessage::Alone { .. })) => {}
        Ok(Decoded::Message(SupervisorMessage::Supervised)) => return Err(AdoptError::Supervised),
        Ok(_) => return Err(AdoptError::Words),
        Err(error) => {
            let process = process(sender, fd).ok();
            let process = process.map(|process| Box::new(OwnedProcess(process)));
            return Err(AdoptError::Foreign(error, process));
        }
    }
    sockopt::set_socket_passcred(&fd, false)?;
    process(sender, fd).map(Some)
}

/// Requests the version of a role; None if the role has ended meanwhile.
fn ask(mut process: Started, role: &Instance) -> Result<Option<Orphan>, AdoptError> {
    // A response also proves that the opened process is the sender: it is alive, so its process id
    // was not reused.
    let channel = &mut process.channel;
    let asked = channel.send(&SupervisorMessage::GiveVersion, &[]);
    asked?;
    let (take, descriptors) = match answer(channel) {
        // Returns None for a role that has ended meanwhile.
        Err(AdoptError::Channel(ChannelError::Closed)) => return Ok(None),
        other => other?,
    };
    // Of the role's response, only the version number is trusted, and the bundle if its digest is
    // the stored one.
    let number = take.version;
    Ok(Some(Orphan {
        version: known(&role.socket, &take, descriptors),
        process,
        number,
        socket: role.socket.clone(),
        before: role.pid,
    }))
}

/// Waits for the version that was requested from a role. Ignores other messages (its state, a
/// response to the previous supervisor): the role sends them again.
fn answer(channel: &mut Channel) -> Result<(Box<Take>, Vec<OwnedFd>), AdoptError> {
    let until = Instant::now() + ANSWER_LIMIT;
    for _ in 0..MESSAGES_MAX {
        let left = until.saturating_duration_since(Instant::now());
        let received = channel.wait(Some(left))?;
        match received.message {
            SupervisorMessage::Version(take) => return Ok((take, received.descriptors)),
            // Treats a role that is ending like one that has ended: there is nothing to adopt.
            SupervisorMessage::Stopping
            | SupervisorMessage::Obeys { .. }
            | SupervisorMessage::Ended { .. } => {
                return Err(AdoptError::Channel(ChannelError::Closed));
            }
            _ => {}
        }
    }
    Err(AdoptError::Words)
}

/// Determines the known part of a version from the number, bundle and sockets that the role sent.
fn known(socket: &Path, given: &Take, descriptors: Vec<OwnedFd>) -> OrphanVersion {
    let mut descriptors = descriptors.into_iter();
    let bundle = descriptors.next();
    let sockets = descriptors.collect();
    let fits = match keep::read(socket) {
        Ok(left) => left.with(given, bundle, sockets),
        Err(error) => Err(Unmatched { error, sockets }),
    };
    match fits {
        Ok(version) => OrphanVersion::Version(Box::new(version)),
        Err(Unmatched { error, sockets }) => {
            let sockets = sockets.into_iter().filter(is_socket).map(Arc::new);
            OrphanVersion::Sockets(sockets.collect(), error)
        }
    }
}

fn is_socket(fd: &OwnedFd) -> bool {
    let data = fstat(fd);
    data.is_ok_and(|data| FileType::from_raw_mode(data.st_mode) == FileType::Socket)
}

type FirstWords = (Option<Pid>, Result<Decoded, DecodeError>);

fn first_words(fd: &OwnedFd, role: &Instance) -> Result<FirstWords, AdoptError> {
    let limit = timespec(ANSWER_LIMIT);
    let mut watched = [PollFd::new(fd, PollFlags::IN)];
    if poll(&mut watched, Some(&limit))? == 0 {
        return Err(AdoptError::Silent(role.role()));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(fd, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut sender = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
            sender = Some(credentials.pid);
        }
    }
    if received.bytes == 0 {
        return Err(AdoptError::Channel(ChannelError::Closed));
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(AdoptError::Words);
    }
    let packet = bytes.get(..received.bytes).unwrap_or_default();
    Ok((sender, SupervisorMessage::decode(packet)))
}
