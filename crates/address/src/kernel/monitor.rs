//! Receives notifications of changes in the kernel's tables, including changes by other programs.

use super::message::{Incoming, Messages, kind};
use super::socket::NetlinkSocket;
use super::{AddressSeen, KernelError, NetworkInterface, RouteSeen, RuleSeen};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::collections::VecDeque;

/// Multicast groups of rtnetlink, `RTNLGRP_*`.
mod group {
    pub const LINK: u32 = 1;
    pub const ADDRESS: u32 = 5;
    pub const ROUTE: u32 = 7;
    pub const RULE: u32 = 8;
    pub const IPV6_ADDRESS: u32 = 9;
    pub const IPV6_ROUTE: u32 = 11;
    pub const IPV6_RULE: u32 = 19;
}

/// Maximum number of datagrams that one call reads in search of a change: a router with constantly
/// changing routes must not stop the timers.
const READ_AT_MOST: usize = 64;

/// A change in the kernel's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelChange {
    /// An interface appeared or changed, possibly in a property that this crate ignores.
    Link(NetworkInterface),
    LinkGone(NetworkInterface),
    /// An address was added or changed, which includes each renewal.
    AddressAdded(AddressSeen),
    /// An address was removed by a program, or its lifetime ended.
    AddressRemoved(AddressSeen),
    /// Another machine has this address (IPv6): the kernel does not use it here.
    AddressDuplicate(AddressSeen),
    /// A route was removed. The kernel sends no notification about IPv4 routes that vanish because
    /// their interface goes down: after [`KernelChange::Link`] they must be looked up.
    RouteRemoved(RouteSeen),
    RuleRemoved(RuleSeen),
    /// Notifications were lost: everything must be listed again.
    Overrun,
}

/// Socket that receives notifications of changes. When it is readable, call
/// [`Monitor::next_change`] until there are none.
#[derive(Debug)]
pub struct Monitor {
    socket: NetlinkSocket,
    ready: VecDeque<KernelChange>,
}

impl Monitor {
    /// Subscribes to links and addresses, and with `routes` to routes and rules. A router with a
    /// full routing table need not receive the latter.
    ///
    /// # Errors
    /// Fails if the socket cannot be created, or cannot join a group.
    pub fn open(routes: bool) -> Result<Monitor, KernelError> {
        let socket = NetlinkSocket::open(None)?;
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

    /// Returns the next change. None: there is none yet, or there were many that are ignored; the
    /// socket is then still readable.
    pub fn next_change(&mut self) -> Option<KernelChange> {
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
                Err(Errno::NOBUFS) => return Some(KernelChange::Overrun),
                // Returns None on any other error, which cannot occur on such a socket: a retry
                // could become a busy loop.
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

fn change(message: &Incoming<'_>) -> Option<KernelChange> {
    match message.kind {
        kind::NEW_LINK => NetworkInterface::read(message).map(KernelChange::Link),
        kind::DELETE_LINK => NetworkInterface::read(message).map(KernelChange::LinkGone),
        kind::NEW_ADDRESS => AddressSeen::read(message).map(|seen| {
            if seen.flags.duplicate() {
                KernelChange::AddressDuplicate(seen)
            } else {
                KernelChange::AddressAdded(seen)
            }
        }),
        kind::DELETE_ADDRESS => AddressSeen::read(message).map(KernelChange::AddressRemoved),
        kind::DELETE_ROUTE => RouteSeen::read(message).map(KernelChange::RouteRemoved),
        kind::DELETE_RULE => RuleSeen::read(message).map(KernelChange::RuleRemoved),
        kind::OVERRUN => Some(KernelChange::Overrun),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::NetlinkMessage;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_kernel_says_is_read_without_panic(
            kind in 14_u16..36,
            body in prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..120),
        ) {
            let mut message = NetlinkMessage::new(kind, 0, &body);
            for message in Messages(message.finish(1)) {
                let _ = change(&message);
            }
        }
    }
}
