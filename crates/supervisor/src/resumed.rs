//! Restores what the previous program image left for this one in the same process. If the state is
//! unreadable, this image closes all inherited descriptors and starts like a new supervisor, which
//! adopts the roles.

use crate::directory::Entry as Place;
use crate::slot::RunningRole;
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

const STANDARD: i32 = 2;

pub const VARIABLE: &str = "EVENKEEL_HAND_OVER";

/// The reason why the state cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error("a descriptor is missing")]
    Descriptor,
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the state is incomplete")]
    Incomplete,
}

pub struct Resumed {
    pub value: HandOver,
    descriptors: BTreeMap<u32, OwnedFd>,
}

/// Returns whether this process is the next image of a supervisor.
pub fn is_next_image() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

impl Resumed {
    /// Finds what the previous image left; None after a normal start. Must be called once, before
    /// any thread is started and any descriptor is opened.
    pub fn find() -> Option<Result<Resumed, ResumeError>> {
        let number = std::env::var(VARIABLE).ok()?;
        // SAFETY: this process still has only one thread.
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

    pub fn take(&mut self, number: u32) -> Result<OwnedFd, ResumeError> {
        self.descriptors
            .remove(&number)
            .ok_or(ResumeError::Incomplete)
    }

    pub fn role(&mut self, role: &HandedRole, entry: Entry) -> Result<RunningRole, ResumeError> {
        let (pidfd, channel) = (self.take(role.process)?, self.take(role.channel)?);
        let pid = Pid::from_raw(role.pid.cast_signed()).ok_or(ResumeError::Incomplete)?;
        let channel = Channel::new(channel).map_err(|_| ResumeError::Descriptor)?;
        let mut proxy = RunningRole::adopted(Started::running(entry, pid, pidfd, channel));
        let age = Duration::from_millis(role.age_ms);
        proxy.born = Instant::now().checked_sub(age).unwrap_or(proxy.born);
        Ok(proxy)
    }

    pub fn socket(&mut self, socket: &HandedSocket) -> Result<(Place, OwnedFd), ResumeError> {
        Ok((Place::kept(socket.path()), self.take(socket.descriptor)?))
    }
}

/// Takes ownership of an inherited descriptor.
fn own(number: u32) -> Option<OwnedFd> {
    let number = number.cast_signed();
    if number <= STANDARD {
        return None;
    }
    // SAFETY: the descriptor is only used to read its flags; a number that is not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed).ok()?;
    // Descriptors that this process opened itself have close-on-exec set. This one does not, so it
    // was inherited and has no other owner.
    if flags.contains(FdFlags::CLOEXEC) {
        return None;
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: the descriptor is open and has no other owner from now on (see above).
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes all inherited descriptors. The role then sees that its supervisor has died, and its
/// sockets come back when it is adopted.
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
