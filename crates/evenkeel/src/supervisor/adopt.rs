//! Adoption: a supervisor that is started where another one was killed takes the
//! role that still serves, with its version and its sockets, in place of
//! starting a second one. The files may be others by now, so a change follows.
//!
//! A role of another supervisor that lives is never touched: the role itself
//! says whether it has one. Which process answers is the kernel's word, not the
//! role's: it is another user's, and what it says may be anything. So the
//! version comes from the file that the supervisor before left ([`keep`]), and
//! where that does not fit from the configuration, by a loader which uses the
//! role's sockets as far as the files still want them.

use super::directory::{self, Instance, Kind};
use super::keep::{self, KeepError, Unmatched};
use super::route::PROXY;
use super::run::Supervisor;
use super::slot::Running;
use super::turn::MESSAGES_MAX;
use super::version::Version;
use super::{Command, first, former, tell};
use crate::process::Before;
use crate::roles::spawn::{PROXY_ENTRY, Started};
use crate::voice::Form;
use part::Shared;
use part::channel::{Channel, ChannelError, timespec};
use part::role::{DecodeError, Decoded, Message, PACKET_BYTES_MAX, Plan, Take};
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

/// The highest number of a version that is taken from a role.
const NUMBER_MAX: u64 = u32::MAX as u64;

/// A role that was found.
pub struct Orphan {
    process: Started,
    /// What it serves.
    version: Known,
    /// The number that it gave that.
    number: u64,
    /// Where it was found.
    socket: PathBuf,
    /// The supervisor that it had.
    before: u32,
}

/// What is known of the version of a role that was found.
enum Known {
    /// All of it.
    Version(Box<Version>),
    /// Only the sockets that the role gave.
    Sockets(Vec<Shared>, KeepError),
}

/// A role that is served by no version that is known, until there is one.
#[derive(Default)]
pub struct Unsettled {
    /// Its sockets.
    pub sockets: Vec<Shared>,
    /// The entry of the supervisor that it had; None once this one can be found.
    entry: Option<PathBuf>,
}

/// Why a role that serves with these files is not taken.
#[derive(Debug)]
pub enum AdoptError {
    /// Another supervisor was faster.
    Supervised,
    /// It does not answer.
    Silent,
    /// It is of a program that speaks otherwise. It can be told to end by a
    /// signal.
    Foreign(DecodeError, Option<Box<OwnedProcess>>),
    /// It says something else than asked.
    Words,
    /// Its process cannot be held.
    Process(Errno),
    /// The connection.
    Channel(ChannelError),
}

/// A process that can only be sent signals.
pub struct OwnedProcess(pub Started);

impl fmt::Debug for OwnedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.pid())
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdoptError::Supervised => f.write_str("it has another supervisor already"),
            AdoptError::Silent => f.write_str("it does not respond"),
            AdoptError::Foreign(error, _) => write!(f, "it runs a different program: {error}"),
            AdoptError::Words => f.write_str("unexpected reply"),
            AdoptError::Process(errno) => write!(f, "its process: {errno}"),
            AdoptError::Channel(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AdoptError {}

impl From<Errno> for AdoptError {
    fn from(errno: Errno) -> Self {
        AdoptError::Channel(errno.into())
    }
}

/// The role that serves with the files of this command and has no supervisor.
fn find(command: &Command) -> Result<Option<Orphan>, AdoptError> {
    // What is no file (a pipe) is never the same one.
    if !command.paths.iter().all(|path| directory::is_lasting(path)) {
        return Ok(None);
    }
    let network = directory::network();
    let program = program(command.form());
    let ours = |one: &&Instance| {
        one.program == program && one.network == network && one.paths == command.paths
    };
    for _ in 0..TRIES {
        let (Ok(roles), Ok(supervisors)) = (directory::roles(PROXY), directory::instances()) else {
            return Ok(None);
        };
        // With `-x`, `-sf` or `-st` the new supervisor starts beside the old one.
        if command.before == Before::default() && supervisors.iter().any(|one| ours(&one)) {
            return Err(AdoptError::Supervised);
        }
        let alone = |one: &&Instance| {
            let lives = supervisors.iter().any(|other| other.pid == one.pid);
            ours(one) && !lives
        };
        let Some(role) = roles.iter().find(alone) else {
            return Ok(None);
        };
        // One that has just gone may have been adopted by somebody else.
        if let Some(orphan) = reach(role)? {
            return Ok(Some(orphan));
        }
    }
    Ok(None)
}

/// By which name the directory knows a supervisor.
pub fn program(form: Form) -> &'static str {
    match form {
        Form::Own => "evenkeel",
        Form::Haproxy => "haproxy",
        Form::Keepalived => "keepalived",
    }
}

fn reach(role: &Instance) -> Result<Option<Orphan>, AdoptError> {
    let fd = match directory::connected_to_role(&role.socket) {
        // It has just gone.
        Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let (sender, first) = match first_words(&fd) {
        // It has gone, or has just got another supervisor and listens elsewhere.
        Err(AdoptError::Channel(ChannelError::Closed)) => return Ok(None),
        other => other?,
    };
    let process = |pid: Option<Pid>, fd: OwnedFd| -> Result<Started, AdoptError> {
        let pid = pid.ok_or(AdoptError::Process(Errno::SRCH))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(AdoptError::Process)?;
        let channel = Channel::new(fd).map_err(|error| AdoptError::Channel(error.into()))?;
        Ok(Started::running(PROXY_ENTRY, pid, pidfd, channel))
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
    let mut process = process(sender, fd)?;
    // Its answer also says that the process which is held is the one that
    // speaks: it lives, so its number is no other's.
    let channel = &mut process.channel;
    let asked = channel.send(&Message::GiveVersion, &[]);
    asked.map_err(AdoptError::Channel)?;
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
        let received = channel.wait(Some(left)).map_err(AdoptError::Channel)?;
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
pub(super) fn first_words(fd: &OwnedFd) -> Result<FirstWords, AdoptError> {
    let limit = timespec(ANSWER_LIMIT);
    let mut watched = [PollFd::new(fd, PollFlags::IN)];
    if poll(&mut watched, Some(&limit))? == 0 {
        return Err(AdoptError::Silent);
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

impl Supervisor {
    /// Whether this supervisor may start: no other one starts or runs with the same files.
    pub(super) fn claim(&mut self) -> bool {
        let paths = &self.command.paths;
        let files = !paths.is_empty() && paths.iter().all(|path| directory::is_lasting(path));
        // HAProxy's name may be started twice; a takeover starts beside the other process.
        let many = self.voice.form() != Form::Own || self.command.before != Before::default();
        if many || !files {
            return true;
        }
        match directory::claim(program(Form::Own), paths) {
            Ok(Some(claim)) => self.claim = Some(claim),
            Ok(None) => {
                self.fail("another supervisor already serves these files");
                return false;
            }
            // It is said once it cannot be reached there.
            Err(_) => {}
        }
        true
    }

    /// Adopts a role that serves with these files and has no supervisor; whether
    /// that settles the start.
    pub(super) fn adopt(&mut self) -> bool {
        match find(&self.command) {
            Ok(None) => false,
            Ok(Some(orphan)) => {
                self.take_in(orphan);
                true
            }
            // Two that were started at once: one is enough. HAProxy's name may
            // be started twice.
            Err(AdoptError::Supervised) if self.voice.form() == Form::Own => {
                self.fail("another supervisor already serves these files");
                true
            }
            Err(AdoptError::Supervised) => false,
            Err(error) => {
                tell::not_adopted(&mut self.voice, &error);
                if let AdoptError::Foreign(_, Some(process)) = error {
                    // It shares its addresses with the one that is started now,
                    // and finishes what it has when that serves.
                    self.foreign = Some(former::foreign(process.0));
                }
                false
            }
        }
    }

    fn take_in(&mut self, orphan: Orphan) {
        let pid = orphan.process.pid();
        self.versions = orphan.number.min(NUMBER_MAX);
        self.carried.expect_others_than(&[pid]);
        tell::adopted(&mut self.voice, pid.as_raw_nonzero().get(), orphan.before);
        self.slots[PROXY].running = Some(Running::adopted(orphan.process));
        self.served = true;
        let entry = Some(orphan.socket);
        match orphan.version {
            Known::Version(version) => {
                let sockets = Vec::new();
                self.unsettled = Some(Unsettled { sockets, entry });
                self.settle_in(Some(version.plan()));
                self.kept = Some(*version);
                self.unsettled = None;
                self.keep_version();
                self.follow_version();
            }
            Known::Sockets(sockets, error) => {
                tell::not_known(&mut self.voice, &error);
                self.unsettled = Some(Unsettled { sockets, entry });
            }
        }
        // The files may say something else than they did.
        self.requests.ask(None);
    }

    /// This process becomes the one that is found and told: where its plan says
    /// so in the background, and with the file of its process id. Once there is
    /// a plan, or none can be had.
    pub(super) fn settle_in(&mut self, plan: Option<&Plan>) {
        let entry = self.unsettled.as_mut().and_then(|one| one.entry.take());
        let Some(entry) = entry else {
            return;
        };
        if let Some(plan) = plan {
            self.voice.quiet |= plan.quiet;
            let file = first::PidFile::open(plan);
            if plan.daemon {
                match first::into_background() {
                    Ok(ready) => self.ready = Some(ready),
                    // The role serves; it is only supervised from elsewhere.
                    Err(error) => self.voice.warning(error),
                }
                self.voice.pid = std::process::id();
            }
            // The role serves, whatever becomes of the file.
            let written = file.and_then(|file| file.map_or(Ok(()), first::PidFile::write));
            if let Err(error) = written {
                self.voice.warning(error);
            }
        }
        if self.control.is_none() {
            self.open_control();
        }
        self.guard_proxy();
        // The role listens elsewhere from now on.
        directory::remove(&entry);
        self.take_over();
        self.tell_ready();
    }

    /// Tells the role that it is the one to serve on, and where it would be found.
    pub(super) fn guard_proxy(&mut self) {
        let slot = &mut self.slots[PROXY];
        let listener = slot.guard.as_ref().map(|(_, listener)| listener);
        if let Some(proxy) = &mut slot.running {
            // If the message cannot be sent, the role has ended; the main loop notices that.
            let _ = proxy.process.guard(listener);
        }
    }

    /// Opens the socket where a new supervisor would find the role.
    pub(super) fn open_guard(&mut self) -> Result<(), directory::DirectoryError> {
        let program = program(self.voice.form());
        let (entry, listener) = directory::enter(Kind::Role(PROXY), program, &self.command.paths)?;
        self.slots[PROXY].guard = Some((entry, Arc::new(listener)));
        Ok(())
    }
}
