//! Lists the addresses of this host, and provides a descriptor that becomes readable when they
//! change (rtnetlink(7)).

use configuration::outside::Outside;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::collections::BTreeSet;
use std::net::IpAddr;

const GROUPS: u32 = (libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR).cast_unsigned();
const MESSAGES_MAX: usize = 1_024;

/// Monitor of address changes of this host.
#[derive(Debug)]
pub struct AddressMonitor(OwnedFd);

impl AddressMonitor {
    /// Starts to monitor the changes of addresses.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn watch() -> Result<AddressMonitor, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::RAW;
        // The default protocol is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(AddressMonitor(socket))
    }

    /// Returns whether an address may have changed since the last call. [`of_host`] returns the
    /// current addresses.
    pub fn any(&self) -> bool {
        let mut message = [0; 4_096];
        for count in 0..MESSAGES_MAX {
            match recv(&self.0, &mut message, RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return count > 0,
                // Returns true: the kernel has dropped messages (ENOBUFS), so an address may have
                // changed.
                Err(_) => return true,
            }
        }
        true
    }
}

impl AsFd for AddressMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns the addresses of all interfaces of this host, except those of the loopback network. None
/// if the kernel does not list them.
pub fn of_host() -> Option<BTreeSet<IpAddr>> {
    let interfaces = Outside::default().interfaces();
    let all = interfaces.iter().flat_map(|one| &one.addresses);
    let all = all.map(|(address, _)| *address);
    (!interfaces.is_empty()).then(|| all.filter(|address| !address.is_loopback()).collect())
}
