//! Installs the nftables filter, which drops packets to and from addresses of `no_accept`. The
//! filter also drops the packets that virtual interfaces send by themselves (group reports, router
//! solicitations), from which switches would learn the virtual MAC of a backup. Group reports are
//! sent from the parent interface instead, if the kernel can duplicate packets.
//!
//! The netlink API of nftables is used directly: the program `nft` is not needed. The table is
//! always replaced as a whole, in one transaction.

use super::message::{INET, INET6, NetlinkMessage, flag, octets};
use super::socket::NetlinkSocket;
use super::{KernelError, VmacSpec};
use crate::config::{Config, Dialect};
use rustix::io::Errno;
use rustix::net::netlink;
use std::net::IpAddr;

/// Number of the netlink subsystem, in the upper byte of a message's type.
const NFTABLES: u16 = 10;
pub(super) const BATCH_BEGIN: u16 = 16;
pub(super) const BATCH_END: u16 = 17;
pub(super) const NEW_TABLE: u16 = NFTABLES << 8;
pub(super) const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
pub(super) const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
pub(super) const NEW_RULE: u16 = NFTABLES << 8 | 6;
pub(super) const NEW_SET: u16 = NFTABLES << 8 | 9;
pub(super) const NEW_ELEMENTS: u16 = NFTABLES << 8 | 12;

/// Hook of packets that this machine receives (NF_INET_LOCAL_IN).
pub(super) const HOOK_INPUT: u32 = 1;
/// Hook of packets that this machine sends (NF_INET_LOCAL_OUT).
pub(super) const HOOK_OUTPUT: u32 = 3;
/// Default priority of the chains, just before the filters of other programs.
pub(super) const PRIORITY: i32 = -1;

/// Register of the verdict (NFT_REG_VERDICT).
const VERDICT: u32 = 0;
pub(super) const REGISTER_1: u32 = 1;
pub(super) const REGISTER_2: u32 = 2;
/// Key of `meta`: index of the input interface (NFT_META_IIF).
const META_INPUT: u32 = 4;
/// Key of `meta`: index of the output interface (NFT_META_OIF).
const META_OUTPUT: u32 = 5;
/// Key of `meta`: transport protocol (NFT_META_L4PROTO).
pub(super) const META_PROTOCOL: u32 = 16;
/// Base of `payload`: the network header (NFT_PAYLOAD_NETWORK_HEADER).
pub(super) const NETWORK: u32 = 1;
/// Base of `payload`: the transport header (NFT_PAYLOAD_TRANSPORT_HEADER).
pub(super) const TRANSPORT: u32 = 2;

pub(super) const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;

const IGMP: u8 = 2;
pub(super) const ICMP6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const GROUP_REPORT: u8 = 143;

/// Maximum number of addresses and interfaces of one table, which must fit one send.
const MOST_RULES: usize = 1024;

/// Content of the table: packets to drop, as addresses and interfaces.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Firewall {
    pub table: String,
    /// Addresses whose packets are dropped. A link-local address has the index of its interface.
    pub refused: Vec<(IpAddr, Option<u32>)>,
    /// Indices of virtual interfaces and their parents.
    pub quiet: Vec<(u32, u32)>,
    /// `nftables_priority`; None: just before the filters of other programs.
    pub priority: Option<i32>,
    /// True if each rule counts the packets that it matched (`nftables_counters`).
    pub counters: bool,
}

impl Firewall {
    /// Returns the filter for a configuration: it drops packets to and from addresses of
    /// `no_accept` unless the priority is 255, and silences virtual interfaces. `vmacs`: the
    /// indices of the virtual interfaces and their parents; `index` returns the index of a named
    /// interface.
    pub fn for_configuration(
        config: &Config,
        vmacs: &[(u32, u32)],
        index: impl Fn(&str) -> Option<u32>,
    ) -> Firewall {
        let table = config.global.nftables.table.clone();
        let mut refused = Vec::new();
        for instance in config
            .instances
            .iter()
            .filter(|i| !i.options.accept && i.priority != 255)
        {
            let vmac = instance.vmac.as_ref();
            let named = vmac.map(|v| v.name.clone());
            let own = || VmacSpec::name(instance.vrid, instance.ipv6);
            let usual = named.map(|name| name.unwrap_or_else(own));
            let usual = usual.unwrap_or_else(|| instance.interface.clone());
            for address in instance.addresses.iter().chain(&instance.excluded) {
                let local = matches!(address.address, IpAddr::V6(a) if a.is_unicast_link_local());
                let on = address.interface.as_ref().unwrap_or(&usual);
                // Skips a link-local address on a missing interface, which is unreachable anyway.
                match index(on) {
                    at @ Some(_) if local => refused.push((address.address, at)),
                    _ if local => {}
                    _ => refused.push((address.address, None)),
                }
            }
        }
        let usual = match config.dialect {
            Dialect::Keepalived => "keepalived",
            Dialect::Own => "evenkeel",
        };
        Firewall {
            table: table.unwrap_or_else(|| usual.to_owned()),
            refused,
            quiet: vmacs.to_vec(),
            priority: config.global.nftables.priority,
            counters: config.global.nftables.counters,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.quiet.is_empty()
    }

    /// Creates the tables and replaces existing ones. If there is nothing to drop, the tables are
    /// removed.
    ///
    /// # Errors
    /// Fails with [`KernelError::BadValue`] if there are too many addresses, otherwise if the
    /// netlink socket cannot be used or the kernel refuses the tables. If there is nothing to drop,
    /// a kernel without nftables is no error.
    pub fn apply(&self) -> Result<(), KernelError> {
        if self.refused.len() + self.quiet.len() > MOST_RULES {
            return Err(KernelError::BadValue(
                "too many addresses for the nftables table",
            ));
        }
        let mut socket = match NetlinkSocket::open(Some(netlink::NETFILTER)) {
            // Succeeds: a kernel without nftables has no table to remove.
            Err(error) if self.is_empty() && error.is_unsupported() => return Ok(()),
            socket => socket?,
        };
        for family in [INET, INET6] {
            self.apply_to(&mut socket, family)?;
        }
        Ok(())
    }

    fn apply_to(&self, socket: &mut NetlinkSocket, family: u8) -> Result<(), KernelError> {
        let refused =
            |(address, _): &&(IpAddr, Option<u32>)| address.is_ipv6() == (family == INET6);
        let refused: Vec<_> = self.refused.iter().filter(refused).copied().collect();
        let needed = !refused.is_empty() || !self.quiet.is_empty();
        let request = "create the nftables table";
        let mut all = self.transaction(family, &refused, needed, true);
        let made = match socket.transaction(request, &mut all) {
            // Drops group reports without sending them from the parent: this kernel cannot
            // duplicate packets.
            Err(error) if error.is(Errno::NOENT) && !self.quiet.is_empty() => {
                let mut all = self.transaction(family, &refused, needed, false);
                socket.transaction(request, &mut all)
            }
            made => made,
        };
        match made {
            // Succeeds: without nftables for this address family, there is no table to remove.
            Err(error) if !needed && error.is_unsupported() => Ok(()),
            made => made,
        }
    }

    /// Removes the tables with this name.
    ///
    /// # Errors
    /// As [`Firewall::apply`].
    pub fn remove(table: &str) -> Result<(), KernelError> {
        Firewall {
            table: table.to_owned(),
            ..Firewall::default()
        }
        .apply()
    }

    fn transaction(
        &self,
        family: u8,
        refused: &[(IpAddr, Option<u32>)],
        needed: bool,
        copying: bool,
    ) -> Vec<NetlinkMessage> {
        let table = || {
            let mut message = ask(NEW_TABLE, family, flag::CREATE);
            message.string(1, &self.table);
            message
        };
        // Creates the table before the deletion, because only an existing table can be deleted.
        let mut delete = ask(DELETE_TABLE, family, 0);
        delete.string(1, &self.table);
        let mut all = vec![boundary(BATCH_BEGIN), table(), delete];
        if needed {
            let priority = self.priority.unwrap_or(PRIORITY);
            all.push(table());
            all.push(chain(&self.table, family, "in", HOOK_INPUT, priority));
            all.push(chain(&self.table, family, "out", HOOK_OUTPUT, priority));
            self.drop_interface_packets(family, copying, &mut all);
            if family == INET6 {
                self.neighbours(&mut all);
            }
            for (address, interface) in refused {
                all.push(self.refusal("in", *address, *interface));
                all.push(self.refusal("out", *address, *interface));
            }
        }
        all.push(boundary(BATCH_END));
        all
    }

    fn count(&self, list: &mut NetlinkMessage) {
        if self.counters {
            step(list, "counter", |_| {});
        }
    }

    /// Drops packets to (`in`) or from (`out`) an address.
    fn refusal(&self, chain: &str, address: IpAddr, interface: Option<u32>) -> NetlinkMessage {
        let family = if address.is_ipv6() { INET6 } else { INET };
        let inward = chain == "in";
        let at = match (family, inward) {
            (INET6, true) => 24,
            (INET6, false) => 8,
            (_, true) => 16,
            (_, false) => 12,
        };
        let bytes = octets(address);
        rule(&self.table, family, chain, |list| {
            if let Some(index) = interface {
                meta(list, if inward { META_INPUT } else { META_OUTPUT });
                equal(list, &index.to_ne_bytes());
            }
            payload(list, NETWORK, at, bytes.len(), REGISTER_1);
            equal(list, &bytes);
            self.count(list);
            verdict(list, DROP);
        })
    }

    /// Accepts neighbour discovery even for addresses whose packets are dropped: other machines
    /// must find the owner of an address.
    fn neighbours(&self, all: &mut Vec<NetlinkMessage>) {
        for chain in ["in", "out"] {
            for kind in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
                all.push(rule(&self.table, INET6, chain, |list| {
                    icmp6(list, kind);
                    self.count(list);
                    verdict(list, ACCEPT);
                }));
            }
        }
    }

    /// Drops the packets that virtual interfaces send by themselves.
    fn drop_interface_packets(&self, family: u8, copying: bool, all: &mut Vec<NetlinkMessage>) {
        for (vmac, base) in &self.quiet {
            all.push(rule(&self.table, family, "out", |list| {
                meta(list, META_OUTPUT);
                equal(list, &vmac.to_ne_bytes());
                if family == INET6 {
                    icmp6(list, GROUP_REPORT);
                } else {
                    payload(list, NETWORK, 9, 1, REGISTER_1);
                    equal(list, &[IGMP]);
                }
                self.count(list);
                if copying {
                    let (at, length) = if family == INET6 { (24, 16) } else { (16, 4) };
                    payload(list, NETWORK, at, length, REGISTER_1);
                    number(list, *base, REGISTER_2);
                    duplicate(list);
                }
                verdict(list, DROP);
            }));
            if family == INET6 {
                all.push(rule(&self.table, family, "out", |list| {
                    meta(list, META_OUTPUT);
                    equal(list, &vmac.to_ne_bytes());
                    icmp6(list, ROUTER_SOLICITATION);
                    self.count(list);
                    verdict(list, DROP);
                }));
            }
        }
    }
}

/// Creates a message with `struct nfgenmsg`.
pub(super) fn ask(kind: u16, family: u8, flags: u16) -> NetlinkMessage {
    NetlinkMessage::new(kind, flag::REQUEST | flags, &[family, 0, 0, 0])
}

/// Adds a filter chain at a hook and priority; packets that match no rule are accepted.
pub(super) fn chain(
    table: &str,
    family: u8,
    name: &str,
    hook: u32,
    priority: i32,
) -> NetlinkMessage {
    let mut message = ask(NEW_CHAIN, family, flag::CREATE);
    message.string(1, table);
    message.string(3, name);
    message.nested(4, |place| {
        place.attribute(1, &hook.to_be_bytes());
        place.attribute(2, &priority.to_be_bytes());
    });
    message.attribute(5, &ACCEPT.to_be_bytes());
    message.string(7, "filter");
    message
}

pub(super) fn rule(
    table: &str,
    family: u8,
    chain: &str,
    inside: impl FnOnce(&mut NetlinkMessage),
) -> NetlinkMessage {
    let mut message = ask(NEW_RULE, family, flag::CREATE | flag::APPEND);
    message.string(1, table);
    message.string(2, chain);
    message.nested(4, inside);
    message
}

pub(super) fn boundary(kind: u16) -> NetlinkMessage {
    let [high, low] = NFTABLES.to_be_bytes();
    NetlinkMessage::new(kind, flag::REQUEST, &[0, 0, high, low])
}

pub(super) fn step(
    list: &mut NetlinkMessage,
    name: &str,
    inside: impl FnOnce(&mut NetlinkMessage),
) {
    list.nested(1, |element| {
        element.string(1, name);
        element.nested(2, inside);
    });
}

pub(super) fn meta(list: &mut NetlinkMessage, key: u32) {
    step(list, "meta", |data| {
        data.attribute(2, &key.to_be_bytes());
        data.attribute(1, &REGISTER_1.to_be_bytes());
    });
}

pub(super) fn payload(
    list: &mut NetlinkMessage,
    base: u32,
    offset: u32,
    length: usize,
    register: u32,
) {
    let length = u32::try_from(length).unwrap_or(0);
    step(list, "payload", |data| {
        data.attribute(1, &register.to_be_bytes());
        data.attribute(2, &base.to_be_bytes());
        data.attribute(3, &offset.to_be_bytes());
        data.attribute(4, &length.to_be_bytes());
    });
}

/// Matches if the first register has this value.
pub(super) fn equal(list: &mut NetlinkMessage, value: &[u8]) {
    step(list, "cmp", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes());
        data.attribute(2, &0_u32.to_be_bytes());
        data.nested(3, |of| of.attribute(1, value));
    });
}

fn icmp6(list: &mut NetlinkMessage, kind: u8) {
    meta(list, META_PROTOCOL);
    equal(list, &[ICMP6]);
    payload(list, TRANSPORT, 0, 1, REGISTER_1);
    equal(list, &[kind]);
}

pub(super) fn number(list: &mut NetlinkMessage, value: u32, register: u32) {
    step(list, "immediate", |data| {
        data.attribute(1, &register.to_be_bytes());
        data.nested(2, |of| of.attribute(1, &value.to_ne_bytes()));
    });
}

/// Sends a copy to the address in the first register, through the interface in the second.
pub(super) fn duplicate(list: &mut NetlinkMessage) {
    step(list, "dup", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes());
        data.attribute(2, &REGISTER_2.to_be_bytes());
    });
}

pub(super) fn verdict(list: &mut NetlinkMessage, code: u32) {
    step(list, "immediate", |data| {
        data.attribute(1, &VERDICT.to_be_bytes());
        data.nested(2, |of| {
            of.nested(2, |v| v.attribute(1, &code.to_be_bytes()))
        });
    });
}
