//! Reads and changes the kernel's network configuration by netlink: links, addresses, routes,
//! rules, packet filters, and the virtual interfaces of `use_vmac`.
//!
//! [`Kernel`] sends a request and waits for the reply, never longer than
//! [`ANSWER_WITHIN`]. An object that exists already, or is gone already, is not an error
//! but an [`Ack`]. [`Monitor`] reports all changes, including those of other
//! programs. Neither decides anything. Everything happens in the network namespace of the
//! thread that opened them.
//!
//! Netlink is written by hand. The role needs few requests, many of them in one write
//! with every reply matched to its request, bounded waits instead of an async runtime,
//! and lenient reading of attributes that a newer kernel adds.

mod address;
mod connection;
mod error;
mod firewall;
mod link;
mod message;
mod monitor;
mod passage;
mod route;
mod rule;
mod socket;
pub mod sysctl;
mod vmac;

pub use address::{AddressFlags, AddressSeen, AddressSpec, LIFETIME_LEAST, lifetime_seconds};
pub use error::KernelError;
pub use firewall::Firewall;
pub use link::{LinkFlags, NetworkInterface};
pub use monitor::{KernelChange, Monitor};
pub use passage::{Passage, Passes, Quiet};
pub use route::RouteSeen;
pub use rule::RuleSeen;
pub use socket::ANSWER_WITHIN;
pub use vmac::{IpvlanFlag, Vmac, VmacKind, VmacSpec};

use rustix::io::Errno;
use socket::NetlinkSocket;
use std::net::IpAddr;

/// Protocol number of addresses, routes and rules that Evenkeel adds (`RTPROT_KEEPALIVED`): `ip
/// route` shows `proto keepalived`.
pub const MADE_BY: u8 = 18;

/// Acknowledgement of a request by the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    Done,
    /// No change: the object to add existed already, or the object to remove did not
    /// exist.
    Already,
}

impl Ack {
    /// Converts the responses to requests. An error in `unchanged` means that the kernel changed
    /// nothing; if `unchanged` contains `NODEV`, a missing interface means the same.
    fn of_all(
        results: Vec<Result<(), KernelError>>,
        unchanged: &[Errno],
    ) -> Vec<Result<Ack, KernelError>> {
        let ack = |result| match result {
            Ok(()) => Ok(Ack::Done),
            Err(KernelError::Refused { errno, .. }) if unchanged.contains(&errno) => {
                Ok(Ack::Already)
            }
            Err(KernelError::NoInterface(_)) if unchanged.contains(&Errno::NODEV) => {
                Ok(Ack::Already)
            }
            Err(error) => Err(error),
        };
        results.into_iter().map(ack).collect()
    }
}

/// A connection to the kernel's rtnetlink. A request blocks until the reply, for [`ANSWER_WITHIN`]
/// at most.
///
/// A request fails with [`KernelError::Refused`] if the kernel refuses it, with
/// [`KernelError::NoAnswer`] if no reply arrives in time, and with [`KernelError::Socket`] if the
/// socket cannot be used. A list also fails with [`KernelError::NeverStill`] if it changes during
/// each attempt.
#[derive(Debug)]
pub struct Kernel {
    socket: NetlinkSocket,
    vmacs: vmac::Vmacs,
}

impl Kernel {
    /// Connects to the kernel's tables in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Fails if the socket cannot be created.
    pub fn open() -> Result<Kernel, KernelError> {
        Ok(Kernel {
            socket: NetlinkSocket::open(None)?,
            vmacs: vmac::Vmacs::default(),
        })
    }
}

/// Checks that addresses of a route or a rule have its family.
fn check_family(
    addresses: impl IntoIterator<Item = Option<IpAddr>>,
    ipv6: bool,
    error: &'static str,
) -> Result<(), KernelError> {
    let mut addresses = addresses.into_iter().flatten();
    if addresses.all(|address| address.is_ipv6() == ipv6) {
        Ok(())
    } else {
        Err(KernelError::BadValue(error))
    }
}

#[cfg(test)]
mod tests;
