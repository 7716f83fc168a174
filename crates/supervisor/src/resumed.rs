//! The new image of a supervisor: takes up what the one before left to it, in
//! the same process. Where it cannot read that, it closes everything and begins
//! like a supervisor that was started anew: it adopts the role.

use crate::directory::Entry as Place;
use crate::slot::Running;
use part::channel::Channel;
use part::memory::{self, MemoryError};
use part::role::{DecodeError, HandOver, HandedRole, HandedSocket};
use part::row::Entry;
use part::spawn::Started;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The descriptors that every process begins with.
const STANDARD: i32 = 2;

/// Names the memory file's descriptor.
pub const VARIABLE: &str = "EVENKEEL_HAND_OVER";

/// Why nothing can be taken up.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// There is no such descriptor.
    #[error("a descriptor is missing")]
    Descriptor,
    /// The memory file.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// What it says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Something that it needs is missing.
    #[error("the state is incomplete")]
    Incomplete,
}

/// What the image before left.
pub struct Resumed {
    /// What it is.
    pub value: HandOver,
    descriptors: BTreeMap<u32, OwnedFd>,
}

/// Whether this process is the next image of a supervisor.
pub fn is_next_image() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

impl Resumed {
    /// What was left to this process; None where it simply was started. To be
    /// called once, before there is a thread and before anything is opened.
    pub fn find() -> Option<Result<Resumed, ResumeError>> {
        let number = std::env::var(VARIABLE).ok()?;
        // SAFETY: this process has one thread yet.
        unsafe { std::env::remove_var(VARIABLE) };
        let found = number
            .parse()
            .ok()
            .and_then(own)
            .ok_or(ResumeError::Descriptor)
            .and_then(Resumed::read);
        if found.is_err() {
            close_all();
        }
        Some(found)
    }

    fn read(file: OwnedFd) -> Result<Resumed, ResumeError> {
        let bytes = memory::read(&file)?;
        let value = HandOver::decode(&bytes)?;
        let mut descriptors = BTreeMap::new();
        for number in value.all_descriptors() {
            if descriptors.contains_key(&number) {
                return Err(ResumeError::Incomplete);
            }
            let fd = own(number).ok_or(ResumeError::Descriptor)?;
            descriptors.insert(number, fd);
        }
        Ok(Resumed { value, descriptors })
    }

    /// Takes a descriptor of this number.
    pub fn take(&mut self, number: u32) -> Result<OwnedFd, ResumeError> {
        self.descriptors
            .remove(&number)
            .ok_or(ResumeError::Incomplete)
    }

    /// Takes a role.
    pub fn role(&mut self, role: &HandedRole, entry: Entry) -> Result<Running, ResumeError> {
        let (pidfd, channel) = (self.take(role.process)?, self.take(role.channel)?);
        let pid = Pid::from_raw(role.pid.cast_signed()).ok_or(ResumeError::Incomplete)?;
        let channel = Channel::new(channel).map_err(|_| ResumeError::Descriptor)?;
        let mut proxy = Running::adopted(Started::running(entry, pid, pidfd, channel));
        let age = Duration::from_millis(role.age_ms);
        proxy.born = Instant::now().checked_sub(age).unwrap_or(proxy.born);
        Ok(proxy)
    }

    /// Takes a socket that listens, with its entry in the runtime directory.
    pub fn socket(&mut self, socket: &HandedSocket) -> Result<(Place, OwnedFd), ResumeError> {
        Ok((Place::kept(socket.path()), self.take(socket.descriptor)?))
    }
}

/// An open descriptor that came with the process.
fn own(number: u32) -> Option<OwnedFd> {
    let number = number.cast_signed();
    if number <= STANDARD {
        return None;
    }
    // SAFETY: only asked for its flags; a number that is not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed).ok()?;
    // What this process has opened itself is closed when it executes; so this
    // is what came with it, and nobody else has it.
    if flags.contains(FdFlags::CLOEXEC) {
        return None;
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, and from now on nobody else takes it (see above).
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes whatever came with the process: the role sees that its supervisor has
/// gone, and every socket comes back with it.
fn close_all() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers {
        drop(own(number));
    }
}
