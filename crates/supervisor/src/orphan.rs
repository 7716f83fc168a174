//! A role that serves and has no supervisor any more: how it is found, and what is known of
//! the version that it serves.

use crate::command::Command;
use crate::directory::{self, Instance, Kind};
use crate::keep::{self, KeepError, Unmatched};
use crate::turn::MESSAGES_MAX;
use crate::version::Version;
use part::Shared;
use part::before::Before;
use part::channel::{Channel, ChannelError, timespec};
use part::role::{DecodeError, Decoded, Message, PACKET_BYTES_MAX, Take};
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

/// How long a role may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How often is looked again when a role went away meanwhile.
const TRIES: u32 = 3;

/// A role that was found.
pub struct Orphan {
    /// The process.
    pub process: Started,
    /// What it serves.
    pub version: Known,
    /// The number that it gave that.
    pub number: u64,
    /// Where it was found.
    pub socket: PathBuf,
    /// The supervisor that it had.
    pub before: u32,
}

/// What is known of the version of a role that was found.
pub enum Known {
    /// All of it.
    Version(Box<Version>),
    /// Only the sockets that the role gave.
    Sockets(Vec<Shared>, KeepError),
}

/// Why a role that serves with these files is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Another supervisor was faster.
    #[error("it has another supervisor already")]
    Supervised,
    /// It does not answer.
    #[error("it{} does not respond", process(*.0))]
    Silent(Option<u32>),
    /// It is of a program that speaks otherwise. It can be told to end by a
    /// signal.
    #[error("it runs a different program: {0}")]
    Foreign(DecodeError, Option<Box<OwnedProcess>>),
    /// It says something else than asked.
    #[error("unexpected reply")]
    Words,
    /// Its process cannot be held.
    #[error("its process: {0}")]
    Process(Errno),
    /// The connection.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A process that can only be sent signals.
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

/// The supervisors that live; None where a role of this command is not found again.
fn living(command: &Command) -> Option<Vec<Instance>> {
    // What is no file (a pipe) is never the same one.
    let lasting = command.paths.iter().all(|path| directory::is_lasting(path));
    lasting.then(|| directory::instances().ok()).flatten()
}

/// The roles of a part that fit, and whose supervisor does not live.
fn left(part: &str, living: &[Instance], fits: impl Fn(&Instance) -> bool) -> Vec<Instance> {
    let mut roles = directory::roles(part).unwrap_or_default();
    roles.retain(|one| fits(one) && !living.iter().any(|other| other.pid == one.pid));
    roles
}

fn is_of(command: &Command, one: &Instance) -> bool {
    one.is_of(command.form().program(), &command.paths)
}

/// The role that serves with the files of this command and has no supervisor.
pub fn find(row: &RoleRow, command: &Command) -> Result<Option<Orphan>, AdoptError> {
    let ours = |one: &Instance| is_of(command, one);
    for _ in 0..TRIES {
        let Some(living) = living(command) else {
            return Ok(None);
        };
        // With `-x`, `-sf` or `-st` the new supervisor starts beside the old one.
        if command.before == Before::default() && living.iter().any(ours) {
            return Err(AdoptError::Supervised);
        }
        let left = left(row.part, &living, ours);
        let Some(role) = left.first() else {
            return Ok(None);
        };
        // One that has just gone may have been adopted by somebody else.
        let reached = reach(row.entry, role)?;
        let asked = reached.map(|process| ask(process, role)).transpose()?;
        if let Some(orphan) = asked.flatten() {
            return Ok(Some(orphan));
        }
    }
    Ok(None)
}

/// The role beside the one that serves, of these files, which has no supervisor; with the
/// process id of the one that it had.
pub fn find_beside(row: &RoleRow, command: &Command) -> Result<Option<(Started, u32)>, AdoptError> {
    let Some(living) = living(command) else {
        return Ok(None);
    };
    let ours = |one: &Instance| is_of(command, one) && one.pid != std::process::id();
    for role in left(row.part, &living, ours) {
        if let Some(process) = reach(row.entry, &role)? {
            // It listens at another place from now on.
            directory::remove(&role.socket);
            return Ok(Some((process, role.pid)));
        }
    }
    Ok(None)
}

/// The roles in this network whose supervisor has ended, and that have other files than those
/// of this command: what each is, and the entry of its supervisor.
pub fn others(command: &Command) -> Vec<(&'static str, Instance)> {
    let all = directory::entries().unwrap_or_default();
    let (own, network) = (std::process::id(), directory::network());
    let lives = |pid| {
        let mut supervisors = all.iter().filter(|one| one.is(Kind::Supervisor));
        supervisors.any(|one| one.pid == pid)
    };
    let is_left = |one: &Instance| {
        one.network == network && one.pid != own && !is_of(command, one) && !lives(one.pid)
    };
    let of = |row: &'static RoleRow| {
        let roles = all
            .iter()
            .filter(move |one| one.is(Kind::of_part(row.part)));
        roles.map(|one| (row.entry.what, one.clone()))
    };
    let roles = row::all().iter().flat_map(|row| of(row));
    roles.filter(|(_, one)| is_left(one)).collect()
}

/// A connection to a role that nobody supervises: which process that is, is the
/// kernel's word. None where it has just gone.
fn reach(entry: Entry, role: &Instance) -> Result<Option<Started>, AdoptError> {
    let fd = match directory::connected_to_role(&role.socket) {
        // It has just gone.
        Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let (sender, first) = match first_words(&fd, role) {
        // It has gone, or has just got another supervisor and listens elsewhere.
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
        Ok(Decoded::Message(Message::Alone { .. })) => {}
        Ok(Decoded::Message(Message::Supervised)) => return Err(AdoptError::Supervised),
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

/// Asks a role for its version; None where it has gone meanwhile.
fn ask(mut process: Started, role: &Instance) -> Result<Option<Orphan>, AdoptError> {
    // Its answer also says that the process which is held is the one that
    // speaks: it lives, so its number is no other's.
    let channel = &mut process.channel;
    let asked = channel.send(&Message::GiveVersion, &[]);
    asked?;
    let (take, descriptors) = match answer(channel) {
        // It has gone meanwhile.
        Err(AdoptError::Channel(ChannelError::Closed)) => return Ok(None),
        other => other?,
    };
    // Of all that it says of itself only the number counts.
    let number = take.version;
    Ok(Some(Orphan {
        version: known(&role.socket, number, descriptors),
        process,
        number,
        socket: role.socket.clone(),
        before: role.pid,
    }))
}

/// Waits for the version that a role was asked for. Ignores other messages (its state, a
/// response to the previous supervisor): the role sends them again.
fn answer(channel: &mut Channel) -> Result<(Box<Take>, Vec<OwnedFd>), AdoptError> {
    let until = Instant::now() + ANSWER_LIMIT;
    for _ in 0..MESSAGES_MAX {
        let left = until.saturating_duration_since(Instant::now());
        let received = channel.wait(Some(left))?;
        match received.message {
            Message::Version(take) => return Ok((take, received.descriptors)),
            // It ends, and there is nothing to be adopted.
            Message::Stopping | Message::Obeys { .. } | Message::Ended { .. } => {
                return Err(AdoptError::Channel(ChannelError::Closed));
            }
            _ => {}
        }
    }
    Err(AdoptError::Words)
}

/// What is known of a version of which the role says the number and gives its
/// bundle and the sockets. Its bundle is not looked at.
fn known(socket: &Path, number: u64, descriptors: Vec<OwnedFd>) -> Known {
    let sockets = descriptors.into_iter().skip(1).collect();
    let fits = match keep::read(socket) {
        Ok(left) => left.with(number, sockets),
        Err(error) => Err(Unmatched { error, sockets }),
    };
    match fits {
        Ok(version) => Known::Version(Box::new(version)),
        Err(Unmatched { error, sockets }) => {
            let sockets = sockets.into_iter().filter(is_socket).map(Arc::new);
            Known::Sockets(sockets.collect(), error)
        }
    }
}

fn is_socket(fd: &OwnedFd) -> bool {
    let data = fstat(fd);
    data.is_ok_and(|data| FileType::from_raw_mode(data.st_mode) == FileType::Socket)
}

type FirstWords = (Option<Pid>, Result<Decoded, DecodeError>);

/// The first packet of a role, and who sent it.
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
    Ok((sender, Message::decode(packet)))
}
