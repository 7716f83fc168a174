//! Stores the counters and server states that one process hands to its successor, as opaque bytes.
//! They come from the process that a start takes over from, and later from the role, which sends
//! them regularly so that they survive its death. Also signals the previous processes to end, and
//! reaps child processes that no other code waits for.

use crate::slot::RoleSlot;
use part::SharedFd;
use part::before::Before;
use part::memory::{self, STATE_BYTES_MAX};
use part::role;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// State that a process hands to its successor, and the previous processes of a takeover.
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

    /// Returns what the loader of a start needs to know of the previous processes: their socket and
    /// process ids.
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
        // Without a new state, the one that a starting supervisor already has is kept.
        self.state = descriptors.next().or(self.state.take());
        self.rest = descriptors.next();
        descriptors.next().is_none()
    }

    /// Stores the state that a role sent, if it is sealed memory of bounded size.
    pub fn keep(&mut self, descriptors: Vec<OwnedFd>) {
        let state = descriptors.into_iter().next();
        if let Some(state) = state.filter(is_state) {
            self.state = Some(Arc::new(state));
        }
    }

    /// Ends the takeover when the first role serves: signals the previous processes to end, and
    /// sends the role their final counts. Returns these processes, and which of them were
    /// signalled.
    pub fn take_over(&mut self, primary: &mut RoleSlot) -> Option<(Before, Vec<u32>)> {
        if let Some(rest) = self.rest.take() {
            primary.add_state(rest);
        }
        let before = self.before.take()?;
        let asked = before.signal_predecessors();
        let pids = before.pids.iter();
        let pids = pids.filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?));
        self.children.extend(pids);
        Some((before, asked))
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

    /// Adds a child to those that are reaped, because no other code waits for it.
    pub fn expect(&mut self, pid: Option<Pid>) {
        self.children.extend(pid);
    }

    pub fn reap(&mut self) {
        self.children
            .retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
    }
}

/// Returns whether a descriptor is sealed memory of at most [`STATE_BYTES_MAX`], so that a state in
/// it may be forwarded.
pub fn is_state(fd: &OwnedFd) -> bool {
    memory::check(fd, STATE_BYTES_MAX).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::bed;
    use crate::slot::RunningRole;
    use part::role::SupervisorMessage;
    use part::row::RoleRow;
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");

    fn file(bytes: &[u8]) -> OwnedFd {
        memory::create("test", bytes).expect("memory")
    }

    #[test]
    fn state_of_a_role_replaces_the_inherited_one() {
        let mut carried = Carried::default();
        assert!(carried.take(Vec::new()));
        assert!(carried.take(vec![file(b"state"), file(b"rest")]));
        assert!(!carried.take(vec![file(b"1"), file(b"2"), file(b"3")]));
        let first = carried.state.clone().expect("a state");
        carried.keep(Vec::new());
        let unsealed = std::fs::File::open("/dev/zero").expect("a file");
        carried.keep(vec![unsealed.into()]);
        assert!(Arc::ptr_eq(
            &first,
            carried.state.as_ref().expect("a state")
        ));
        carried.keep(vec![file(b"new")]);
        assert!(!Arc::ptr_eq(
            &first,
            carried.state.as_ref().expect("a state")
        ));
    }

    #[test]
    fn takeover_ends_once_and_sends_the_final_counts() {
        let (process, mut theirs) = bed();
        let mut slot = RoleSlot::of(&ROW);
        slot.running = Some(RunningRole::adopted(process));
        let mut carried = Carried::from(Before::default());
        carried.rest = Some(Arc::new(file(b"rest")));
        assert_eq!(
            carried.take_over(&mut slot),
            Some((Before::default(), Vec::new()))
        );
        assert_eq!(carried.take_over(&mut slot), None);
        let received = theirs.channel.wait(None).expect("a message");
        assert_eq!(received.message, SupervisorMessage::AddState);
        assert!(theirs.channel.receive().expect("a channel").is_none());
    }
}
