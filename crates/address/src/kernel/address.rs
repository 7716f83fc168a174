//! Adds, renews, removes and lists addresses of interfaces, with their lifetimes.
//!
//! The kernel removes an address with a lifetime by itself unless it is renewed, so a killed role
//! cannot leave one behind.

use super::message::{INET6, Incoming, NetlinkMessage, family, flag, kind, octets, text, u32_at};
use super::{Ack, Kernel, KernelError, MADE_BY};
use crate::config::{Address, Lifetime, Scope};
use rustix::io::Errno;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Length of the kernel's `struct ifaddrmsg`, bytes.
const BODY: usize = 8;
/// Minimum lifetime in seconds. The kernel counts in seconds and checks in steps, so one second may
/// already be over.
pub const LIFETIME_LEAST: u32 = 2;
/// Kernel value of an unlimited lifetime.
const FOREVER: u32 = u32::MAX;

/// Types of netlink attributes of an address, `IFA_*`.
mod attribute {
    pub const ADDRESS: u16 = 1;
    pub const LOCAL: u16 = 2;
    pub const LABEL: u16 = 3;
    pub const BROADCAST: u16 = 4;
    pub const CACHE_INFO: u16 = 6;
    pub const FLAGS: u16 = 8;
    pub const MADE_BY: u16 = 11;
}

/// Flags of an address, `IFA_F_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    pub const NO_DAD: AddressFlags = AddressFlags(0x02);
    pub const HOME: AddressFlags = AddressFlags(0x10);
    pub const MANAGE_TEMPORARY: AddressFlags = AddressFlags(0x100);
    pub const NO_PREFIX_ROUTE: AddressFlags = AddressFlags(0x200);
    pub const AUTO_JOIN: AddressFlags = AddressFlags(0x400);

    /// Returns these flags, with `other` added if `if_so`.
    #[must_use]
    pub fn with(self, other: AddressFlags, if_so: bool) -> AddressFlags {
        AddressFlags(if if_so { self.0 | other.0 } else { self.0 })
    }

    /// `secondary`: another address of the same network existed before.
    pub fn secondary(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// `dadfailed`: another machine has the address (IPv6).
    pub fn duplicate(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// `tentative`: duplicate address detection is in progress (IPv6).
    pub fn tentative(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// `permanent`: the address has no lifetime.
    pub fn permanent(self) -> bool {
        self.0 & 0x80 != 0
    }
}

/// An address to add to an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressSpec {
    pub interface: u32,
    pub address: IpAddr,
    pub prefix: u8,
    pub broadcast: Option<IpAddr>,
    pub peer: Option<IpAddr>,
    /// `scope`; None: the scope that fits the address.
    pub scope: Option<Scope>,
    pub label: Option<String>,
    pub flags: AddressFlags,
    /// `preferred_lft`; None: equal to the lifetime.
    pub preferred: Option<Lifetime>,
    /// Lifetime unless renewed; None: unlimited.
    pub lifetime: Option<Duration>,
}

impl AddressSpec {
    /// Describes a configured address on an interface. `probed`: this machine has checked for
    /// duplicates, so the kernel need not delay the use of the address by its own check (IPv6).
    pub fn new(
        address: &Address,
        interface: u32,
        lifetime: Option<Duration>,
        probed: bool,
    ) -> AddressSpec {
        let ipv6 = address.address.is_ipv6();
        let flags = AddressFlags::default()
            .with(AddressFlags::NO_DAD, ipv6 && (probed || address.no_dad))
            .with(AddressFlags::HOME, ipv6 && address.home)
            .with(
                AddressFlags::MANAGE_TEMPORARY,
                ipv6 && address.manage_temporary,
            )
            .with(AddressFlags::NO_PREFIX_ROUTE, address.no_prefix_route)
            .with(AddressFlags::AUTO_JOIN, address.auto_join);
        AddressSpec {
            interface,
            address: address.address,
            prefix: address.prefix,
            broadcast: address.broadcast,
            peer: address.peer,
            scope: address.scope,
            label: address.label.clone(),
            flags,
            preferred: address.preferred,
            lifetime,
        }
    }

    fn message(&self, kind: u16, flags: u16) -> NetlinkMessage {
        let index = self.interface.to_ne_bytes();
        // Writes only the first eight flags into the old header field; the attribute contains all
        // of them.
        let short = self.flags.0.to_le_bytes()[0];
        let scope = self.scope.map_or(0, |s| s.0);
        let mut body = [family(self.address), self.prefix, short, scope, 0, 0, 0, 0];
        body[4..].copy_from_slice(&index);
        let mut message = NetlinkMessage::new(kind, flag::REQUEST | flag::ACK | flags, &body);
        message.address(attribute::LOCAL, self.address);
        message.address(attribute::ADDRESS, self.peer.unwrap_or(self.address));
        if let (Some(broadcast), false) = (self.broadcast, self.address.is_ipv6()) {
            message.address(attribute::BROADCAST, broadcast);
        }
        if let (Some(label), false) = (&self.label, self.address.is_ipv6()) {
            message.string(attribute::LABEL, label);
        }
        message
    }

    fn addition(&self, flags: u16) -> NetlinkMessage {
        let mut message = self.message(kind::NEW_ADDRESS, flag::CREATE | flags);
        if self.flags.0 != 0 {
            message.u32(attribute::FLAGS, self.flags.0);
        }
        if self.lifetime.is_some() || self.preferred.is_some() {
            let valid = self.lifetime.map_or(FOREVER, lifetime_seconds);
            let preferred = match self.preferred {
                Some(Lifetime::Seconds(seconds)) => seconds.min(valid),
                _ => valid,
            };
            // Layout of struct ifa_cacheinfo: preferred, valid, and two fields that only the kernel
            // sets.
            let mut info = [0; 16];
            info[..4].copy_from_slice(&preferred.to_ne_bytes());
            info[4..8].copy_from_slice(&valid.to_ne_bytes());
            message.attribute(attribute::CACHE_INFO, &info);
        }
        message.u8(attribute::MADE_BY, MADE_BY);
        message
    }
}

/// Converts a lifetime for the kernel: whole seconds, rounded up, at least [`LIFETIME_LEAST`].
pub fn lifetime_seconds(lifetime: Duration) -> u32 {
    let up = lifetime
        .as_secs()
        .saturating_add(u64::from(lifetime.subsec_nanos() > 0));
    u32::try_from(up)
        .unwrap_or(FOREVER - 1)
        .clamp(LIFETIME_LEAST, FOREVER - 1)
}

/// An address as reported by the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressSeen {
    pub interface: u32,
    /// Local address (`IFA_LOCAL`, if there is one).
    pub address: IpAddr,
    pub prefix: u8,
    /// Address of the other end of a point-to-point link, if it differs.
    pub peer: Option<IpAddr>,
    pub scope: Scope,
    pub label: Option<String>,
    pub flags: AddressFlags,
    /// Remaining lifetime in seconds; None: unlimited.
    pub valid_seconds: Option<u32>,
    /// Remaining preferred lifetime in seconds; None: unlimited.
    pub preferred_seconds: Option<u32>,
    /// Protocol that added the address; zero if unset, or if the kernel is older than 5.18.
    pub made_by: u8,
}

impl AddressSeen {
    pub fn is(&self, spec: &AddressSpec) -> bool {
        self.interface == spec.interface
            && self.address == spec.address
            && (self.prefix == spec.prefix)
            && (self.peer == spec.peer || spec.peer == Some(spec.address))
    }

    /// Parses a message `RTM_NEWADDR` or `RTM_DELADDR`.
    pub(super) fn read(message: &Incoming<'_>) -> Option<AddressSeen> {
        let body = message.body;
        let attributes = message.attributes(BODY);
        let far = attributes.address(attribute::ADDRESS);
        let address = attributes.address(attribute::LOCAL).or(far)?;
        let short = u32::from(*body.get(2)?);
        let lives = attributes.find(attribute::CACHE_INFO);
        let seconds = |at| {
            lives
                .and_then(|v| u32_at(v, at))
                .filter(|seconds| *seconds != FOREVER)
        };
        Some(AddressSeen {
            interface: u32_at(body, 4)?,
            address,
            prefix: *body.get(1)?,
            peer: far.filter(|far| *far != address),
            scope: Scope(*body.get(3)?),
            label: attributes.find(attribute::LABEL).map(text),
            flags: AddressFlags(attributes.number(attribute::FLAGS).unwrap_or(short)),
            valid_seconds: seconds(4),
            preferred_seconds: seconds(0),
            made_by: attributes.made_by(attribute::MADE_BY),
        })
    }
}

/// Length of `struct rtmsg`, in bytes.
const ROUTE_BODY: usize = 12;
/// Offset of `rtm_type` in `struct rtmsg`.
const ROUTE_KIND_AT: usize = 7;
/// Route type `RTN_LOCAL`: packets to the destination are accepted by this machine.
const ROUTE_LOCAL: u8 = 2;
/// Attribute type `RTA_DST`: the destination address.
const ROUTE_DESTINATION: u16 = 1;
/// Attribute type `RTA_OIF`: index of the output interface.
const ROUTE_OUTPUT: u16 = 4;
/// Poll interval while a local route is missing.
const ROUTE_LOOK_EVERY: Duration = Duration::from_micros(200);

impl Kernel {
    /// Adds addresses to their interfaces in one batch. An existing address is adopted: its
    /// lifetime becomes the requested one.
    pub fn add_addresses(&mut self, specs: &[AddressSpec]) -> Vec<Result<Ack, KernelError>> {
        let mut asks: Vec<_> = specs.iter().map(|s| s.addition(flag::EXCLUSIVE)).collect();
        let added = self.socket.batch("add an address", &mut asks);
        let there = |r: &Result<(), KernelError>| matches!(r, Err(error) if error.is(Errno::EXIST));
        let existing = specs.iter().zip(&added).filter(|(_, result)| there(result));
        let mut again: Vec<_> = existing
            .map(|(spec, _)| spec.addition(flag::REPLACE))
            .collect();
        let mut taken = self
            .socket
            .batch("take over an address", &mut again)
            .into_iter();
        let outcome = |result| match result {
            result if there(&result) => {
                let taken = taken.next().unwrap_or(Ok(()));
                taken.map(|()| Ack::Already)
            }
            result => result.map(|()| Ack::Done),
        };
        added.into_iter().map(outcome).collect()
    }

    /// Waits until this machine accepts packets to new addresses. The kernel acknowledges a new
    /// IPv6 address before a kernel thread has added its local route, and packets in between are
    /// lost. Returns false after `within`.
    pub fn wait_for_routes(&mut self, specs: &[AddressSpec], within: Duration) -> bool {
        let until = Instant::now() + within;
        for spec in specs.iter().filter(|spec| spec.address.is_ipv6()) {
            while !self.is_local(spec) {
                if Instant::now() >= until {
                    return false;
                }
                std::thread::sleep(ROUTE_LOOK_EVERY);
            }
        }
        true
    }

    fn is_local(&mut self, spec: &AddressSpec) -> bool {
        let bytes = octets(spec.address);
        let mut body = [0; ROUTE_BODY];
        body[0] = INET6;
        body[1] = 128;
        let mut ask = NetlinkMessage::new(kind::GET_ROUTE, flag::REQUEST, &body);
        ask.attribute(ROUTE_DESTINATION, &bytes);
        if matches!(spec.address, IpAddr::V6(a) if a.is_unicast_link_local()) {
            ask.u32(ROUTE_OUTPUT, spec.interface);
        }
        let local = |m: &Incoming<'_>| {
            let kind = *m.body.get(ROUTE_KIND_AT)?;
            (m.kind == kind::NEW_ROUTE).then_some(kind == ROUTE_LOCAL)
        };
        let found = self.socket.get("look up a route", ask, local);
        found.unwrap_or(false)
    }

    /// Renews the lifetimes of addresses. An address that another program deleted is restored.
    pub fn renew_addresses(&mut self, specs: &[AddressSpec]) -> Vec<Result<(), KernelError>> {
        let mut asks: Vec<_> = specs.iter().map(|s| s.addition(flag::REPLACE)).collect();
        self.socket.batch("renew an address", &mut asks)
    }

    /// Removes addresses from their interfaces in one batch; one that is already gone is no error.
    /// The last one is removed first: with the first address of a network (IPv4) the kernel removes
    /// the others of that network, or promotes the next one.
    pub fn remove_addresses(&mut self, specs: &[AddressSpec]) -> Vec<Result<Ack, KernelError>> {
        let last_first = specs.iter().rev();
        let mut asks: Vec<_> = last_first
            .map(|s| s.message(kind::DELETE_ADDRESS, 0))
            .collect();
        let mut removed = self.socket.batch("remove an address", &mut asks);
        removed.reverse();
        Ack::of_all(removed, &[Errno::ADDRNOTAVAIL, Errno::NODEV])
    }

    /// Lists the addresses of all interfaces.
    ///
    /// # Errors
    /// As described at [`Kernel`].
    pub fn addresses(&mut self) -> Result<Vec<AddressSeen>, KernelError> {
        let ask = NetlinkMessage::new(kind::GET_ADDRESS, flag::REQUEST | flag::DUMP, &[0; BODY]);
        let read = |m: &Incoming<'_>| m.read_as(kind::NEW_ADDRESS, AddressSeen::read);
        self.socket.dump("list addresses", ask, read)
    }
}
