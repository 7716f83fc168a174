//! Notifications of changes in the kernel's tables, including changes by other programs.

use super::message::{Incoming, Messages, kind};
use super::socket::Socket;
use super::{AddressSeen, KernelError, Link, RouteSeen, RuleSeen};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::collections::VecDeque;

/// `RTNLGRP_*`
mod group {
    pub const LINK: u32 = 1;
    pub const ADDRESS: u32 = 5;
    pub const ROUTE: u32 = 7;
    pub const RULE: u32 = 8;
    pub const IPV6_ADDRESS: u32 = 9;
    pub const IPV6_ROUTE: u32 = 11;
    pub const IPV6_RULE: u32 = 19;
}

/// How many datagrams one call reads in search of a change: a router whose routes
/// change all the time must not stop the timers.
const READ_AT_MOST: usize = 64;

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// An interface came, or something of it changed (also told when nothing that we
    /// look at did).
    Link(Link),
    /// An interface went.
    LinkGone(Link),
    /// An address came, or something of it changed: also each renewal.
    AddressAdded(AddressSeen),
    /// An address went: removed by somebody, or its lifetime ended.
    AddressRemoved(AddressSeen),
    /// Another machine has this address (IPv6): the kernel does not use it here.
    AddressDuplicate(AddressSeen),
    /// A route went. The kernel tells nobody of the IPv4 routes that go with an
    /// interface that goes down: after [`Change::Link`] they are looked up.
    RouteRemoved(RouteSeen),
    /// A rule went.
    RuleRemoved(RuleSeen),
    /// More happened than was read: all must be listed anew.
    Overrun,
}

/// A socket that hears of changes. Readable: call [`Monitor::next_change`] until it
/// has none.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    ready: VecDeque<Change>,
}

impl Monitor {
    /// Hears of links and addresses, and of routes and rules where `routes` says so: a
    /// router with the whole Internet's routes need not tell them.
    pub fn open(routes: bool) -> Result<Monitor, KernelError> {
        let socket = Socket::open(None)?;
        for group in [group::LINK, group::ADDRESS, group::IPV6_ADDRESS] {
            socket.join(group)?;
        }
        if routes {
            for group in [
                group::ROUTE,
                group::IPV6_ROUTE,
                group::RULE,
                group::IPV6_RULE,
            ] {
                socket.join(group)?;
            }
        }
        Ok(Monitor {
            socket,
            ready: VecDeque::new(),
        })
    }

    /// The next change; none where nothing more has happened yet, or where much has that
    /// we do not look at: then the socket is still readable.
    pub fn next_change(&mut self) -> Option<Change> {
        for _ in 0..READ_AT_MOST {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            match self.socket.try_receive() {
                Ok(Some(datagram)) => {
                    let changes = Messages(datagram).filter_map(|m| change(&m));
                    self.ready.extend(changes);
                }
                Ok(None) => return None,
                Err(Errno::NOBUFS) => return Some(Change::Overrun),
                // Nothing else is possible on such a socket; what would be must not spin.
                Err(_) => return None,
            }
        }
        self.ready.pop_front()
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn change(message: &Incoming<'_>) -> Option<Change> {
    match message.kind {
        kind::NEW_LINK => Link::read(message).map(Change::Link),
        kind::DELETE_LINK => Link::read(message).map(Change::LinkGone),
        kind::NEW_ADDRESS => AddressSeen::read(message).map(|seen| {
            if seen.flags.duplicate() {
                Change::AddressDuplicate(seen)
            } else {
                Change::AddressAdded(seen)
            }
        }),
        kind::DELETE_ADDRESS => AddressSeen::read(message).map(Change::AddressRemoved),
        kind::DELETE_ROUTE => RouteSeen::read(message).map(Change::RouteRemoved),
        kind::DELETE_RULE => RuleSeen::read(message).map(Change::RuleRemoved),
        kind::OVERRUN => Some(Change::Overrun),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_kernel_says_is_read_without_panic(
            kind in 14_u16..36,
            body in prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..120),
        ) {
            let mut message = Message::new(kind, 0, &body);
            for message in Messages(message.finish(1)) {
                let _ = change(&message);
            }
        }
    }
}
