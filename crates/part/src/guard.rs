//! Lets a role outlive its supervisor. A role with a guard continues to serve when its supervisor
//! dies, and accepts a new supervisor at the guard's socket. A role without one (a candidate when
//! the supervisor died) ends, because another role serves.
//!
//! Only root and the user of the start may connect. The guard does not read their messages; the
//! channel does.

use crate::channel::Channel;
use crate::role::SupervisorMessage;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::os::fd::OwnedFd;

const ACCEPTED_MAX: usize = 16;

#[derive(Debug)]
pub struct Guard {
    listener: Option<OwnedFd>,
    uid: u32,
}

impl Guard {
    /// Creates the guard from the descriptors that the supervisor sent.
    pub fn new(uid: u32, descriptors: Vec<OwnedFd>) -> Guard {
        let listener = descriptors.into_iter().next();
        // Drops a socket that cannot be made nonblocking, because accept(2) could block this
        // thread.
        let listener = listener.filter(|fd| rustix::io::ioctl_fionbio(fd, true).is_ok());
        Guard { listener, uid }
    }

    pub fn watched(&self) -> Option<PollFd<'_>> {
        let listener = self.listener.as_ref()?;
        Some(PollFd::new(listener, PollFlags::IN))
    }

    pub fn listener(&self) -> Option<&OwnedFd> {
        self.listener.as_ref()
    }

    pub fn can_be_found(&self) -> bool {
        self.listener.is_some()
    }

    /// Returns the channel to the new supervisor, if one has connected, and notifies it that the
    /// role has no other supervisor.
    pub fn accept_supervisor(&self, version: u64) -> Option<Channel> {
        for _ in 0..ACCEPTED_MAX {
            // Ignores peers that have disconnected or are not allowed.
            if let Ok(mut channel) = self.accept()?
                && channel
                    .send(&SupervisorMessage::Alone { version }, &[])
                    .is_ok()
            {
                return Some(channel);
            }
        }
        None
    }

    /// Closes all waiting connections, because the role has a supervisor.
    pub fn close_waiting(&self) {
        for _ in 0..ACCEPTED_MAX {
            match self.accept() {
                None => return,
                Some(Err(NotHeard)) => {}
                Some(Ok(mut channel)) => {
                    // Ignores a failure: a peer that misses the message sees the end of the
                    // connection.
                    let _ = channel.send(&SupervisorMessage::Supervised, &[]);
                }
            }
        }
    }

    fn accept(&self) -> Option<Result<Channel, NotHeard>> {
        let fd = accept_with(self.listener.as_ref()?, SocketFlags::CLOEXEC).ok()?;
        let heard = sockopt::socket_peercred(&fd)
            .is_ok_and(|peer| peer.uid.is_root() || peer.uid.as_raw() == self.uid);
        Some(if heard {
            Channel::to_supervisor(fd).map_err(|_| NotHeard)
        } else {
            Err(NotHeard)
        })
    }
}

/// A peer that may not communicate with a role.
struct NotHeard;
