//! The guard: what a role does when its supervisor dies. A role that has a guard
//! continues to serve, and accepts a new supervisor at the guard's socket. A role without
//! one (a candidate when the supervisor died) ends, because another one serves.
//!
//! Only root and the user of the start may connect. The guard does not read their
//! messages: the channel does.

use crate::channel::Channel;
use crate::role::Message;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::os::fd::OwnedFd;

/// Connections that are looked at in one turn.
const ACCEPTED_MAX: usize = 16;

/// Where a new supervisor comes.
#[derive(Debug)]
pub struct Guard {
    listener: Option<OwnedFd>,
    uid: u32,
}

impl Guard {
    /// Of what the supervisor said.
    pub fn new(uid: u32, descriptors: Vec<OwnedFd>) -> Guard {
        let listener = descriptors.into_iter().next();
        // A socket that cannot be told not to wait could make this thread wait.
        let listener = listener.filter(|fd| rustix::io::ioctl_fionbio(fd, true).is_ok());
        Guard { listener, uid }
    }

    /// Returns the descriptor to poll.
    pub fn watched(&self) -> Option<PollFd<'_>> {
        let listener = self.listener.as_ref()?;
        Some(PollFd::new(listener, PollFlags::IN))
    }

    /// The socket where one comes.
    pub fn listener(&self) -> Option<&OwnedFd> {
        self.listener.as_ref()
    }

    /// Whether a new supervisor can come.
    pub fn can_be_found(&self) -> bool {
        self.listener.is_some()
    }

    /// The new supervisor, if one has come. It is told that it is the one.
    pub fn take_in(&self, version: u64) -> Option<Channel> {
        for _ in 0..ACCEPTED_MAX {
            // Who has gone meanwhile, or may not come, is ignored.
            if let Ok(mut channel) = self.accept()?
                && channel.send(&Message::Alone { version }, &[]).is_ok()
            {
                return Some(channel);
            }
        }
        None
    }

    /// Closes all waiting connections: there is a supervisor already.
    pub fn turn_away(&self) {
        for _ in 0..ACCEPTED_MAX {
            match self.accept() {
                None => return,
                Some(Err(NotHeard)) => {}
                Some(Ok(mut channel)) => {
                    // Who does not hear it sees the end of the connection.
                    let _ = channel.send(&Message::Supervised, &[]);
                }
            }
        }
    }

    fn accept(&self) -> Option<Result<Channel, NotHeard>> {
        let fd = accept_with(self.listener.as_ref()?, SocketFlags::CLOEXEC).ok()?;
        let heard = sockopt::socket_peercred(&fd)
            .is_ok_and(|peer| peer.uid.is_root() || peer.uid.as_raw() == self.uid);
        Some(match heard {
            true => Channel::new(fd).map_err(|_| NotHeard),
            false => Err(NotHeard),
        })
    }
}

/// Somebody who may not speak to a role.
struct NotHeard;
