//! Counters and server states that one process hands to its successor, as opaque bytes. They come
//! from the process that a start takes over from, and later from the role, which sends them
//! regularly so that they survive its death.

use part::SharedFd;
use part::before::Before;
use part::memory::{self, STATE_BYTES_MAX};
use part::role;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The carried state and its source.
#[derive(Default)]
pub struct Carried {
    pub state: Option<SharedFd>,
    pub rest: Option<SharedFd>,
    /// The previous processes; None once they were asked to end.
    pub before: Option<Before>,
    /// Previous processes that are children of this process, such as the workers of a HAProxy
    /// master that it replaced.
    pub children: Vec<Pid>,
}

impl Carried {
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

    /// Records that the start's loader has inherited what it needs. An inherited descriptor stays
    /// open, because the process at its other end would take a close for the end of its master, but
    /// later children do not inherit it.
    pub fn loader_began(&self) {
        let socket = self.before.as_ref().and_then(|one| one.socket.as_ref());
        let number = socket.and_then(|socket| socket.to_str()?.strip_prefix("sockpair@"));
        if let Some(number) = number.and_then(|number| number.parse().ok())
            && number >= 0
        {
            // SAFETY: the descriptor is only borrowed for this call; a number that is not open
            // gives EBADF.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
        }
    }

    pub fn take(&mut self, descriptors: Vec<OwnedFd>) -> bool {
        let mut descriptors = descriptors.into_iter().map(Arc::new);
        // A starting supervisor may already have a state.
        self.state = descriptors.next().or(self.state.take());
        self.rest = descriptors.next();
        descriptors.next().is_none()
    }

    /// Adds all children that are not in `known` to those that are reaped: only a previous image of
    /// this process knew them.
    pub fn expect_others_than(&mut self, known: &[Pid]) {
        let own = std::process::id();
        let path = format!("/proc/self/task/{own}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let pids = children.split_whitespace();
        let pids = pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        self.children
            .extend(pids.filter(|pid| !known.contains(pid)));
    }

    /// Adds a child that no other code waits for.
    pub fn expect(&mut self, pid: Option<Pid>) {
        self.children.extend(pid);
    }

    pub fn reap(&mut self) {
        self.children
            .retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
    }
}

/// Returns whether a descriptor that a role sent as its state may be forwarded.
pub fn is_state(fd: &OwnedFd) -> bool {
    memory::check(fd, STATE_BYTES_MAX).is_ok()
}
