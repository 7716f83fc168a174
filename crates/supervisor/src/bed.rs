//! Starts a `sleep` process in the place of a role, with both ends of a channel, so that a test can
//! play the role.

use part::channel::Channel;
use part::spawn::{LOADER_ENTRY, Started};
use part::voice::{Form, MessagePrinter};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

/// The role's side of a [`bed`]: its end of the channel, and the `sleep` process, which is killed
/// when the value is dropped.
pub(crate) struct Theirs {
    pub(crate) channel: Channel,
    pub(crate) child: Child,
    pidfd: OwnedFd,
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // Kills by the pidfd, because the process id may be reused once the end was noticed.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.child.wait();
    }
}

pub(crate) fn bed() -> (Started, Theirs) {
    let child = Command::new("sleep").arg("600").spawn().expect("sleep");
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a descriptor");
    let (ours, theirs) = Channel::pair().expect("a channel");
    let theirs = Theirs {
        channel: Channel::new(theirs).expect("the other end of the channel"),
        child,
        pidfd: pidfd.try_clone().expect("a descriptor"),
    };
    (Started::running(LOADER_ENTRY, pid, pidfd, ours), theirs)
}

pub(crate) fn voice() -> MessagePrinter {
    MessagePrinter::new(Form::Own, true)
}
