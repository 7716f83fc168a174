//! What one process of ours knows and the next goes on with: counters and states
//! of servers, unread. They come from the process that a start takes over from,
//! later from the role by itself, so that a role which dies has left them behind.

use part::Shared;
use part::before::Before;
use part::memory::{self, STATE_BYTES_MAX};
use part::role;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What is carried, and from whom.
#[derive(Default)]
pub struct Carried {
    /// The newest state.
    pub state: Option<Shared>,
    /// Where the process before tells its rest, until a role has it.
    pub rest: Option<Shared>,
    /// The processes before; none once they were told to end.
    pub before: Option<Before>,
    /// Those of them that are children of this process, as the workers of the
    /// HAProxy that it was.
    pub children: Vec<Pid>,
}

impl Carried {
    /// From the processes that a command line names.
    pub fn from(before: Before) -> Carried {
        Carried {
            before: Some(before),
            ..Carried::default()
        }
    }

    /// Returns what the loader of a start needs to know of them.
    pub fn asked(&self) -> role::Before {
        let before = self.before.as_ref();
        let socket = before.and_then(|before| before.socket.as_ref());
        role::Before {
            socket: socket.map(|socket| socket.as_bytes().to_vec()),
            pids: before.map_or_else(Vec::new, |before| before.pids.clone()),
        }
    }

    /// The loader of the start has what it needs of this process. A descriptor
    /// that was inherited for it stays open, since its other end would take
    /// that for the end of its master; but it goes no further.
    pub fn loader_began(&self) {
        let socket = self.before.as_ref().and_then(|one| one.socket.as_ref());
        let number = socket.and_then(|socket| socket.to_str()?.strip_prefix("sockpair@"));
        if let Some(number) = number.and_then(|number| number.parse().ok())
            && number >= 0
        {
            // SAFETY: only borrowed for this call; a number that is not open
            // gives EBADF.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
        }
    }

    /// Takes what the loader brought besides the version; whether that can be.
    pub fn take(&mut self, descriptors: Vec<OwnedFd>) -> bool {
        let mut descriptors = descriptors.into_iter().map(Arc::new);
        // A supervisor that starts may have one already.
        self.state = descriptors.next().or(self.state.take());
        self.rest = descriptors.next();
        descriptors.next().is_none()
    }

    /// Children that only an image of this process before knew are let go when
    /// they end.
    pub fn expect_others_than(&mut self, known: &[Pid]) {
        let own = std::process::id();
        let path = format!("/proc/self/task/{own}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let pids = children.split_whitespace();
        let pids = pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        self.children
            .extend(pids.filter(|pid| !known.contains(pid)));
    }

    /// A child that nobody else waits for.
    pub fn expect(&mut self, pid: Option<Pid>) {
        self.children.extend(pid);
    }

    /// Lets children that have ended go.
    pub fn reap(&mut self) {
        self.children
            .retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
    }
}

/// Whether what a role told as a state may be passed on.
pub fn is_state(fd: &OwnedFd) -> bool {
    memory::check(fd, STATE_BYTES_MAX).is_ok()
}
