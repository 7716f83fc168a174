//! Creates and removes the nftables tables for a hand-over with established connections.
//!
//! The old owner keeps the address and is [`Quiet`] about it: it does not reply to ARP requests and
//! neighbour solicitations for it, and never uses it as the source of its own, so that neighbours
//! keep the new owner in their caches. It does not reset connections that it does not know: a
//! neighbour that heard the old owner last sends it segments of a connection of the new owner, and
//! sends them again to the new owner a moment later. The new owner [`Passes`] the segments of
//! connections that it does not have: a segment without SYN, of a connection whose SYN it has not
//! seen, is forwarded unchanged to the old owner.
//!
//! A set of the table contains the connections of the new owner. The kernel adds each one whose SYN
//! arrives, and [`Passage::apply`] adds those that sockets of this machine already have, if it
//! owned the address a moment ago. Connection tracking is not used: its entries outlive the
//! connections by days, and a table that uses it enables it for all traffic of the machine.
//!
//! Each hand-over has an nftables table with its own name, which is removed as a whole. The caller
//! decides how long it exists.

use super::KernelError;
use super::connection::{self, Connection};
use super::firewall::{
    ACCEPT, BATCH_BEGIN, BATCH_END, DELETE_TABLE, DROP, HOOK_INPUT, HOOK_OUTPUT, ICMP6,
    META_PROTOCOL, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NETWORK, NEW_ELEMENTS, NEW_SET,
    NEW_TABLE, REGISTER_1, REGISTER_2, TRANSPORT, ask, boundary, chain, duplicate, equal, meta,
    number, payload, rule, step, verdict,
};
use super::message::{INET, INET6, NetlinkMessage, flag, octets};
use super::socket::NetlinkSocket;
use rustix::io::Errno;
use rustix::net::netlink;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Netfilter protocol family of ARP tables (NFPROTO_ARP).
const ARP: u8 = 3;
/// Hook of received ARP packets (NF_ARP_IN).
const HOOK_ARP_INPUT: u32 = 0;
/// Hook of sent ARP packets (NF_ARP_OUT).
const HOOK_ARP_OUTPUT: u32 = 1;
/// Hook of received IP packets before routing (NF_INET_PRE_ROUTING).
const HOOK_PREROUTING: u32 = 0;

/// Priority of chains that run before the filters of other programs.
const PRIORITY_FILTER: i32 = -1;
/// Priority of the chain that forwards segments (NF_IP_PRI_MANGLE).
const PRIORITY_PASS: i32 = -150;

/// Offset of the operation in an ARP packet.
const ARP_OPERATION: u32 = 6;
/// Offset of the sender's IPv4 address in an ARP packet for Ethernet.
const ARP_SENDER: u32 = 14;
/// Offset of the target's IPv4 address in an ARP packet for Ethernet.
const ARP_TARGET: u32 = 24;
/// Operation of an ARP request.
const ARP_ASKS: [u8; 2] = [0, 1];
/// Operation of an ARP reply.
const ARP_ANSWERS: [u8; 2] = [0, 2];

/// Offset of the source address in an IPv6 header.
const IPV6_SOURCE: u32 = 8;
/// Offset of the destination address in an IPv6 header.
const IPV6_DESTINATION: u32 = 24;
/// Offset of the target address in a neighbour solicitation or advertisement.
const ICMP6_TARGET: u32 = 8;
/// Offset of the source address in an IPv4 header.
const IPV4_SOURCE: u32 = 12;
/// Offset of the destination address in an IPv4 header.
const IPV4_DESTINATION: u32 = 16;

const TCP: u8 = 6;
const TCP_FLAGS: u32 = 13;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Offset of the source port in a TCP segment.
const PORT_OF_SOURCE: u32 = 0;
/// Offset of the destination port in a TCP segment.
const PORT_OF_DESTINATION: u32 = 2;

/// Name of the set with the connections that belong to this machine.
const OWN: &str = "own";
/// Id of this set within the transaction that creates it.
const OWN_ID: u32 = 1;
/// Set flag: rules add elements while packets pass.
const SET_DYNAMIC: u32 = 0x20;
/// Type number of an IPv4 address in `nft`, which needs the types of the key to list the set.
const TYPE_IPV4: u32 = 7;
/// Type number of an IPv6 address in `nft`.
const TYPE_IPV6: u32 = 8;
/// Type number of a port in `nft`.
const TYPE_PORT: u32 = 13;
/// Number of bits for each type in the type of a key with several fields.
const TYPE_BITS: u32 = 6;
/// First of the four-byte registers.
const WORD_REGISTER_0: u32 = 8;

/// Maximum number of connections in the set, some 30 MB of kernel memory. Connections that start
/// beyond it are forwarded to the old owner, which ends them.
const MOST_CONNECTIONS: u32 = 1 << 18;
/// Number of elements per message: an attribute holds 64 KiB.
const ELEMENTS_IN_ONE: usize = 512;

/// Payload checksum type: the transport checksum covers the rewritten pseudo-header.
const CHECKSUM_OF_PSEUDO_HEADER: u32 = 1;

const LOOPBACK: u32 = 1;

/// Maximum number of addresses in one table.
const MOST_ADDRESSES: usize = 256;

/// Maximum number of characters of an instance's name in the table name, which has room for 255
/// bytes.
const NAME_CHARACTERS_MAX: usize = 50;

/// An address that this machine still has, and for which it sends no ARP or neighbour discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quiet {
    pub address: IpAddr,
    /// Source address for neighbour requests in place of `address`; None: such requests are
    /// impossible.
    pub instead: Option<IpAddr>,
}

/// An address whose older connections belong to another machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passes {
    pub address: IpAddr,
    /// Other machine's own address, of the same family.
    pub to: IpAddr,
    /// Index of the interface through which `to` is reached.
    pub by: u32,
}

/// The nftables table of one hand-over, which is created and removed as a whole. The table outlives
/// a killed process; the next one finds it by its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Passage {
    /// Name of the table, the same in all families.
    pub table: String,
    /// Addresses that this machine has handed over.
    pub quiet: Vec<Quiet>,
    /// Addresses that this machine has taken over.
    pub passes: Vec<Passes>,
    /// Addresses that this machine offers to others. This machine sends no resets from them for
    /// unknown connections, because the new owner may accept connections before this machine learns
    /// of the takeover.
    pub offered: Vec<IpAddr>,
    /// True if existing connections of local sockets to the addresses in `passes` stay on this
    /// machine, because it handed the addresses over a moment ago and takes them back.
    pub keeps_own: bool,
}

impl Passage {
    /// Returns the name of an instance's table for addresses that this machine has handed over.
    pub fn name(instance: &str) -> String {
        format!("evenkeel-hand-over-{}", begin_of(instance))
    }

    /// Returns the name of an instance's table while its addresses are offered.
    pub fn name_of_offer(instance: &str) -> String {
        format!("evenkeel-offer-{}", begin_of(instance))
    }

    /// Returns the name of an instance's table for addresses that it has taken over. A machine may
    /// have both tables: it forwards older connections of addresses that it has handed over in
    /// turn.
    pub fn name_of_passes(instance: &str) -> String {
        format!("evenkeel-pass-on-{}", begin_of(instance))
    }

    /// Creates the table, and replaces an existing one. Creation takes less than a millisecond;
    /// removal, as in `Passage::remove_tables`, can take tens of milliseconds.
    ///
    /// # Errors
    /// Fails with [`KernelError::BadValue`] if there are too many addresses, otherwise if the
    /// netlink socket cannot be used, or the kernel refuses the table or a query for connections. A
    /// part of the table may then exist.
    pub fn apply(&self) -> Result<(), KernelError> {
        if self.quiet.len() + self.passes.len() + self.offered.len() > MOST_ADDRESSES {
            return Err(KernelError::BadValue(
                "too many addresses for the hand-over table",
            ));
        }
        match self.make() {
            Err(error) if error.is(Errno::EXIST) => {
                Passage::remove(&self.table)?;
                self.make()
            }
            made => made,
        }
    }

    fn make(&self) -> Result<(), KernelError> {
        let mut socket = NetlinkSocket::open(Some(netlink::NETFILTER))?;
        let request = "create the hand-over table";
        commit(&mut socket, request, self.at_once())?;
        if !self.keeps_own {
            return Ok(());
        }
        // Adds the connections that sockets have now. Later ones are added by the kernel, whose
        // rules exist from here on.
        for family in [INET, INET6] {
            let own = self.own_connections(family)?;
            for some in own.chunks(ELEMENTS_IN_ONE) {
                commit(&mut socket, request, vec![self.elements(family, some)])?;
            }
        }
        let all = [INET, INET6].into_iter();
        let all = all.flat_map(|family| self.passing(family)).collect();
        commit(&mut socket, request, all)
    }

    /// Returns the messages of the first transaction: all of them, unless local connections must be
    /// added before the last rules.
    fn at_once(&self) -> Vec<NetlinkMessage> {
        let mut all = Vec::new();
        for family in [ARP, INET, INET6] {
            if !self.has(family) {
                continue;
            }
            all.push(self.table(NEW_TABLE, family));
            for (name, hook, priority) in chains(family) {
                all.push(chain(&self.table, family, name, *hook, *priority));
            }
            all.extend(self.silence(family));
            all.extend(self.no_resets_of_offered(family));
            all.extend(self.remembering(family));
            if !self.keeps_own {
                all.extend(self.passing(family));
            }
        }
        all
    }

    fn own_connections(&self, family: u8) -> Result<Vec<Connection>, KernelError> {
        let mut all = Vec::new();
        for one in self.passes_of(family) {
            all.extend(connection::of(one.address)?);
        }
        all.truncate(MOST_CONNECTIONS as usize);
        Ok(all)
    }

    /// Describes a table of another process, of which only the name is known.
    pub fn left(table: String) -> Passage {
        Passage {
            table,
            ..Passage::default()
        }
    }

    /// Removes the table in all families.
    ///
    /// # Errors
    /// Fails if the netlink socket cannot be used, or the kernel refuses. A table that is already
    /// gone is no error.
    pub fn remove_tables(&self) -> Result<(), KernelError> {
        if self.quiet.is_empty() && self.passes.is_empty() && self.offered.is_empty() {
            return Passage::remove(&self.table).map(|_| ());
        }
        let families = [ARP, INET, INET6].into_iter();
        let made = families.filter(|family| self.has(*family));
        let all = made.map(|family| self.table(DELETE_TABLE, family));
        let mut socket = NetlinkSocket::open(Some(netlink::NETFILTER))?;
        match commit(&mut socket, "remove the hand-over table", all.collect()) {
            // Removes each table by itself: another program removed at least one of them already.
            Err(error) if error.is(Errno::NOENT) => Passage::remove(&self.table).map(|_| ()),
            done => done,
        }
    }

    /// Removes tables of this name that another process may have left; returns whether there was
    /// one.
    ///
    /// # Errors
    /// Fails if the netlink socket cannot be used, or if the kernel refuses for another reason than
    /// a missing table or missing support. The tables of the other families are removed
    /// nevertheless.
    pub fn remove(table: &str) -> Result<bool, KernelError> {
        // Returns false: a kernel without nftables has no tables.
        let mut socket = match NetlinkSocket::open(Some(netlink::NETFILTER)) {
            Err(error) if error.is_unsupported() => return Ok(false),
            socket => socket?,
        };
        let own = Passage {
            table: table.to_owned(),
            ..Passage::default()
        };
        let mut removed = false;
        let mut failed = None;
        for family in [ARP, INET, INET6] {
            let delete = own.table(DELETE_TABLE, family);
            let mut all = [boundary(BATCH_BEGIN), delete, boundary(BATCH_END)];
            match socket.transaction("remove the hand-over table", &mut all) {
                Ok(()) => removed = true,
                Err(error) if error.is(Errno::NOENT) || error.is_unsupported() => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(removed),
        }
    }

    /// Tests whether the kernel supports everything that the tables need, and makes it load the
    /// modules. No table is created, because a killed process would leave it behind.
    ///
    /// # Errors
    /// Fails if the netlink socket cannot be used, or the kernel lacks support for a rule or for
    /// queries for connections.
    pub fn probe_kernel_support() -> Result<(), KernelError> {
        let pair = |ours: IpAddr, theirs: IpAddr| {
            let quiet = Quiet {
                address: ours,
                instead: Some(theirs),
            };
            let passes = Passes {
                address: ours,
                to: theirs,
                by: LOOPBACK,
            };
            (quiet, passes)
        };
        // Addresses to which no packet is sent.
        let four = pair(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into());
        let six = pair(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into());
        let all = Passage {
            table: Passage::name(&std::process::id().to_string()),
            quiet: vec![four.0, six.0],
            passes: vec![four.1, six.1],
            offered: Vec::new(),
            keeps_own: false,
        };
        let mut whole = vec![boundary(BATCH_BEGIN)];
        whole.extend(all.at_once());
        let mut socket = NetlinkSocket::open(Some(netlink::NETFILTER))?;
        socket.trial("try the hand-over table", &mut whole)?;
        for family in [INET, INET6] {
            all.own_connections(family)?;
        }
        Ok(())
    }

    fn has(&self, family: u8) -> bool {
        let six = family == INET6;
        let quiet = |one: &Quiet| one.address.is_ipv6() == six;
        self.quiet.iter().any(quiet)
            || self.passes_of(family).next().is_some()
            || self.offered_of(family).next().is_some()
    }

    fn offered_of(&self, family: u8) -> impl Iterator<Item = &IpAddr> {
        let fits = move |one: &&IpAddr| family != ARP && one.is_ipv6() == (family == INET6);
        self.offered.iter().filter(fits)
    }

    fn no_resets_of_offered(&self, family: u8) -> Vec<NetlinkMessage> {
        let offered = self.offered_of(family);
        offered.map(|one| self.no_reset(family, *one)).collect()
    }

    fn passes_of(&self, family: u8) -> impl Iterator<Item = &Passes> {
        let here = move |one: &&Passes| family != ARP && one.address.is_ipv6() == (family == INET6);
        self.passes.iter().filter(here)
    }

    fn silence(&self, family: u8) -> Vec<NetlinkMessage> {
        let quiet = self.quiet.iter();
        let silence = |one: &Quiet| match (family, one.address.is_ipv6()) {
            (ARP, false) => self.quiet_arp(one),
            (INET, false) => vec![self.no_reset(INET, one.address)],
            (INET6, true) => self.quiet_ipv6(one),
            _ => Vec::new(),
        };
        quiet.flat_map(silence).collect()
    }

    fn remembering(&self, family: u8) -> Vec<NetlinkMessage> {
        if self.passes_of(family).next().is_none() {
            return Vec::new();
        }
        let rules = self.passes_of(family).map(|of| self.remember(family, of));
        let mut all = vec![self.set(family)];
        all.extend(rules);
        all
    }

    fn passing(&self, family: u8) -> Vec<NetlinkMessage> {
        let passes = self.passes_of(family);
        passes.map(|of| self.pass(family, of)).collect()
    }

    fn table(&self, kind: u16, family: u8) -> NetlinkMessage {
        let create = match kind {
            NEW_TABLE => flag::CREATE | flag::EXCLUSIVE,
            _ => 0,
        };
        let mut message = ask(kind, family, create);
        message.string(1, &self.table);
        message
    }

    /// Drops ARP requests for the address, and rewrites the source of this machine's own requests.
    fn quiet_arp(&self, of: &Quiet) -> Vec<NetlinkMessage> {
        let address = octets(of.address);
        let asked = rule(&self.table, ARP, "in", |list| {
            field(list, NETWORK, ARP_OPERATION, &ARP_ASKS);
            field(list, NETWORK, ARP_TARGET, &address);
            verdict(list, DROP);
        });
        let answers = rule(&self.table, ARP, "out", |list| {
            field(list, NETWORK, ARP_OPERATION, &ARP_ANSWERS);
            field(list, NETWORK, ARP_SENDER, &address);
            verdict(list, DROP);
        });
        let asks = rule(&self.table, ARP, "out", |list| {
            field(list, NETWORK, ARP_OPERATION, &ARP_ASKS);
            field(list, NETWORK, ARP_SENDER, &address);
            match of.instead {
                Some(own) => write(list, ARP_SENDER, &octets(own), 0),
                None => verdict(list, DROP),
            }
        });
        vec![asked, answers, asks]
    }

    fn quiet_ipv6(&self, of: &Quiet) -> Vec<NetlinkMessage> {
        let address = octets(of.address);
        let target = |chain, kind| {
            rule(&self.table, INET6, chain, |list| {
                discovery(list, kind);
                field(list, TRANSPORT, ICMP6_TARGET, &address);
                verdict(list, DROP);
            })
        };
        let asks = rule(&self.table, INET6, "out", |list| {
            discovery(list, NEIGHBOUR_SOLICITATION);
            field(list, NETWORK, IPV6_SOURCE, &address);
            match of.instead {
                Some(own) => write(list, IPV6_SOURCE, &octets(own), CHECKSUM_OF_PSEUDO_HEADER),
                None => verdict(list, DROP),
            }
        });
        vec![
            target("in", NEIGHBOUR_SOLICITATION),
            target("out", NEIGHBOUR_ADVERTISEMENT),
            asks,
            self.no_reset(INET6, of.address),
        ]
    }

    /// Drops the kernel's reset for a segment of an unknown connection. That reset has no ACK,
    /// unlike the reset of a known connection (RFC 9293, section 3.10.7.1).
    fn no_reset(&self, family: u8, source: IpAddr) -> NetlinkMessage {
        let (at, address) = (source_place(family), octets(source));
        rule(&self.table, family, "out", |list| {
            field(list, NETWORK, at, &address);
            flags(list);
            masked(list, &[RST | ACK]);
            equal(list, &[RST]);
            verdict(list, DROP);
        })
    }

    fn set(&self, family: u8) -> NetlinkMessage {
        let address = if family == INET6 {
            TYPE_IPV6
        } else {
            TYPE_IPV4
        };
        let kinds = [address, address, TYPE_PORT, TYPE_PORT];
        let kind = kinds.iter().fold(0, |all, kind| all << TYPE_BITS | kind);
        let length = 2 * address_length(family) + 2 * 4;
        let mut message = ask(NEW_SET, family, flag::CREATE);
        message.string(1, &self.table);
        message.string(2, OWN);
        message.attribute(3, &SET_DYNAMIC.to_be_bytes());
        message.attribute(4, &kind.to_be_bytes());
        message.attribute(5, &length.to_be_bytes());
        message.nested(9, |of| of.attribute(1, &MOST_CONNECTIONS.to_be_bytes()));
        message.attribute(10, &OWN_ID.to_be_bytes());
        message
    }

    fn elements(&self, family: u8, connections: &[Connection]) -> NetlinkMessage {
        let mut message = ask(NEW_ELEMENTS, family, flag::CREATE);
        message.string(1, &self.table);
        message.string(2, OWN);
        message.nested(3, |list| {
            for one in connections {
                let key = [
                    octets(one.client.ip()),
                    octets(one.own.ip()),
                    port_word(one.client.port()),
                    port_word(one.own.port()),
                ];
                list.nested(1, |element| {
                    element.nested(1, |data| data.attribute(1, &key.concat()));
                });
            }
        });
        message
    }

    fn remember(&self, family: u8, of: &Passes) -> NetlinkMessage {
        rule(&self.table, family, "pass", |list| {
            segment_to(list, family, of.address);
            masked(list, &[SYN]);
            equal(list, &[SYN]);
            connection_key(list, family);
            step(list, "dynset", |data| {
                data.string(1, OWN);
                data.attribute(2, &OWN_ID.to_be_bytes());
                data.attribute(3, &0_u32.to_be_bytes());
                data.attribute(4, &WORD_REGISTER_0.to_be_bytes());
            });
            verdict(list, ACCEPT);
        })
    }

    /// Forwards a segment that neither starts a connection nor belongs to a local one. It belongs
    /// to a connection that started at the old owner, whose responses go out directly from there.
    fn pass(&self, family: u8, of: &Passes) -> NetlinkMessage {
        rule(&self.table, family, "pass", |list| {
            segment_to(list, family, of.address);
            masked(list, &[SYN]);
            equal(list, &[0]);
            connection_key(list, family);
            step(list, "lookup", |data| {
                data.string(1, OWN);
                data.attribute(2, &WORD_REGISTER_0.to_be_bytes());
                // Matches a connection that is not in the set.
                data.attribute(5, &1_u32.to_be_bytes());
            });
            load(list, &octets(of.to));
            number(list, of.by, REGISTER_2);
            duplicate(list);
            verdict(list, DROP);
        })
    }
}

fn begin_of(instance: &str) -> String {
    instance.chars().take(NAME_CHARACTERS_MAX).collect()
}

/// Sends a transaction: either all of it takes effect or nothing.
fn commit(
    socket: &mut NetlinkSocket,
    request: &'static str,
    all: Vec<NetlinkMessage>,
) -> Result<(), KernelError> {
    if all.is_empty() {
        return Ok(());
    }
    let mut whole = vec![boundary(BATCH_BEGIN)];
    whole.extend(all);
    whole.push(boundary(BATCH_END));
    socket.transaction(request, &mut whole)
}

fn address_length(family: u8) -> u32 {
    if family == INET6 { 16 } else { 4 }
}

/// Returns a port as it is stored in a four-byte register.
fn port_word(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, 0, 0]
}

/// Matches a TCP segment to an address, and loads its flags into the first register.
fn segment_to(list: &mut NetlinkMessage, family: u8, address: IpAddr) {
    let at = if family == INET6 {
        IPV6_DESTINATION
    } else {
        IPV4_DESTINATION
    };
    field(list, NETWORK, at, &octets(address));
    flags(list);
}

/// Matches a TCP segment, and loads its flags into the first register.
fn flags(list: &mut NetlinkMessage) {
    meta(list, META_PROTOCOL);
    equal(list, &[TCP]);
    payload(list, TRANSPORT, TCP_FLAGS, 1, REGISTER_1);
}

fn source_place(family: u8) -> u32 {
    if family == INET6 {
        IPV6_SOURCE
    } else {
        IPV4_SOURCE
    }
}

/// Loads both addresses and both ports into the registers, from the first one on.
fn connection_key(list: &mut NetlinkMessage, family: u8) {
    let at = source_place(family);
    let addresses = 2 * address_length(family);
    let length = usize::try_from(addresses).unwrap_or(0);
    let ports = WORD_REGISTER_0 + addresses / 4;
    payload(list, NETWORK, at, length, WORD_REGISTER_0);
    payload(list, TRANSPORT, PORT_OF_SOURCE, 2, ports);
    payload(list, TRANSPORT, PORT_OF_DESTINATION, 2, ports + 1);
}

/// Returns the chains of a family: name, hook, priority.
fn chains(family: u8) -> &'static [(&'static str, u32, i32)] {
    match family {
        ARP => &[
            ("in", HOOK_ARP_INPUT, PRIORITY_FILTER),
            ("out", HOOK_ARP_OUTPUT, PRIORITY_FILTER),
        ],
        INET6 => &[
            ("in", HOOK_INPUT, PRIORITY_FILTER),
            ("out", HOOK_OUTPUT, PRIORITY_FILTER),
            ("pass", HOOK_PREROUTING, PRIORITY_PASS),
        ],
        _ => &[
            ("out", HOOK_OUTPUT, PRIORITY_FILTER),
            ("pass", HOOK_PREROUTING, PRIORITY_PASS),
        ],
    }
}

fn field(list: &mut NetlinkMessage, base: u32, offset: u32, value: &[u8]) {
    payload(list, base, offset, value.len(), REGISTER_1);
    equal(list, value);
}

fn discovery(list: &mut NetlinkMessage, kind: u8) {
    meta(list, META_PROTOCOL);
    equal(list, &[ICMP6]);
    field(list, TRANSPORT, 0, &[kind]);
}

fn masked(list: &mut NetlinkMessage, mask: &[u8]) {
    let length = u32::try_from(mask.len()).unwrap_or(0);
    step(list, "bitwise", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes());
        data.attribute(2, &REGISTER_1.to_be_bytes());
        data.attribute(3, &length.to_be_bytes());
        data.nested(4, |of| of.attribute(1, mask));
        data.nested(5, |of| of.attribute(1, &vec![0; mask.len()]));
    });
}

/// Loads bytes into the first register.
fn load(list: &mut NetlinkMessage, value: &[u8]) {
    step(list, "immediate", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes());
        data.nested(2, |of| of.attribute(1, value));
    });
}

fn write(list: &mut NetlinkMessage, offset: u32, value: &[u8], checksum: u32) {
    load(list, value);
    let length = u32::try_from(value.len()).unwrap_or(0);
    step(list, "payload", |data| {
        data.attribute(5, &REGISTER_1.to_be_bytes());
        data.attribute(2, &NETWORK.to_be_bytes());
        data.attribute(3, &offset.to_be_bytes());
        data.attribute(4, &length.to_be_bytes());
        data.attribute(6, &0_u32.to_be_bytes());
        data.attribute(7, &0_u32.to_be_bytes());
        data.attribute(8, &checksum.to_be_bytes());
    });
}
