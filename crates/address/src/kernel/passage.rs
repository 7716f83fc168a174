//! The nftables tables for a hand-over with established connections.
//!
//! The old owner keeps the address and is [`Quiet`] about it: it does not reply to ARP
//! and neighbour solicitations for it, and never uses it as the source of its own, so
//! that neighbours keep the new owner in their caches. It resets no connection that it does
//! not know: a neighbour that heard the old owner last sends it segments of a connection of
//! the new one, and sends them again to the new one a moment later. The new owner [`Passes`] the
//! segments of connections that it does not have: a segment without SYN, of a connection
//! whose SYN it has not seen, is forwarded unchanged to the old owner.
//!
//! A set of the table contains the connections of the new owner. The kernel adds each one
//! whose SYN arrives, and [`Passage::apply`] adds those that sockets of this machine
//! already have, if it owned the address a moment ago. Connection tracking is not used:
//! its entries outlive the connections by days, and a table that uses it enables it for
//! all traffic of the machine.
//!
//! Each is an nftables table with a name of its own, removed as a whole. The duration is
//! up to the caller.

use super::KernelError;
use super::connection::{self, Connection};
use super::firewall::{
    ACCEPT, BATCH_BEGIN, BATCH_END, DELETE_TABLE, DROP, HOOK_INPUT, HOOK_OUTPUT, ICMP6,
    META_PROTOCOL, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NETWORK, NEW_ELEMENTS, NEW_SET,
    NEW_TABLE, REGISTER_1, REGISTER_2, TRANSPORT, ask, boundary, chain, duplicate, equal, meta,
    number, payload, rule, step, verdict,
};
use super::message::{INET, INET6, Message, flag, octets};
use super::socket::Socket;
use rustix::io::Errno;
use rustix::net::netlink;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The family of ARP, and its hooks.
const ARP: u8 = 3;
const HOOK_ARP_INPUT: u32 = 0;
const HOOK_ARP_OUTPUT: u32 = 1;
const HOOK_PREROUTING: u32 = 0;

/// Before the filters of others.
const PRIORITY_FILTER: i32 = -1;
/// Before addresses are rewritten.
const PRIORITY_PASS: i32 = -150;

/// Places of an ARP packet of Ethernet and IPv4.
const ARP_OPERATION: u32 = 6;
const ARP_SENDER: u32 = 14;
const ARP_TARGET: u32 = 24;
const ARP_ASKS: [u8; 2] = [0, 1];
const ARP_ANSWERS: [u8; 2] = [0, 2];

/// Places of IPv6's header, and the target in a message of neighbour discovery.
const IPV6_SOURCE: u32 = 8;
const IPV6_DESTINATION: u32 = 24;
const ICMP6_TARGET: u32 = 8;
const IPV4_SOURCE: u32 = 12;
const IPV4_DESTINATION: u32 = 16;

const TCP: u8 = 6;
const TCP_FLAGS: u32 = 13;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Ports of a TCP segment, each in a register of its own.
const PORT_OF_SOURCE: u32 = 0;
const PORT_OF_DESTINATION: u32 = 2;

/// The set of connections that are this machine's own: the name, and an id within the
/// transaction.
const OWN: &str = "own";
const OWN_ID: u32 = 1;
/// Rules add elements to it while packets pass.
const SET_DYNAMIC: u32 = 0x20;
/// Types of `nft`, by which it can list the set: two addresses, two ports.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PORT: u32 = 13;
const TYPE_BITS: u32 = 6;
/// The first of the registers of four bytes.
const WORD_REGISTER_0: u32 = 8;

/// The most connections of the set, some 30 MB of the kernel's memory. Connections that
/// begin beyond it are passed on and end.
const MOST_CONNECTIONS: u32 = 1 << 18;
/// How many elements go in one message: an attribute holds 64 KiB.
const ELEMENTS_IN_ONE: usize = 512;

/// The checksum of what is carried covers what is rewritten.
const CHECKSUM_OF_PSEUDO_HEADER: u32 = 1;

/// The number of the loopback's interface.
const LOOPBACK: u32 = 1;

/// The most addresses of one table.
const MOST_ADDRESSES: usize = 256;

/// The most characters of an instance's name in the name of its table, which has room for
/// 255 bytes.
const NAME_CHARACTERS_MAX: usize = 50;

/// An address that this machine still has and does not speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quiet {
    /// The address.
    pub address: IpAddr,
    /// Under which address it asks for neighbours instead; without one it cannot.
    pub instead: Option<IpAddr>,
}

/// An address whose older connections are another machine's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passes {
    /// The address.
    pub address: IpAddr,
    /// The other machine's own address, of the same family,
    pub to: IpAddr,
    /// and the number of the interface by which it is reached.
    pub by: u32,
}

/// The table of an instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Passage {
    /// Its name, the same in all families.
    pub table: String,
    /// Of what this machine has given away.
    pub quiet: Vec<Quiet>,
    /// Of what it has taken.
    pub passes: Vec<Passes>,
    /// Addresses that this machine offers to others: it resets no connection that it does not
    /// know. The new owner may accept some before this machine hears of it.
    pub offered: Vec<IpAddr>,
    /// Connections of the addresses in `passes` that sockets here have already stay
    /// here: the machine gave the address away a moment ago and takes it again.
    pub keeps_own: bool,
}

impl Passage {
    /// The name of an instance's table of what this machine has given away.
    pub fn name(instance: &str) -> String {
        format!("evenkeel-hand-over-{}", begin_of(instance))
    }

    /// The name of an instance's table while its addresses are offered.
    pub fn name_of_offer(instance: &str) -> String {
        format!("evenkeel-offer-{}", begin_of(instance))
    }

    /// The name of an instance's table of what it has taken. A machine may have both:
    /// it passes on older connections of what it has given away in turn.
    pub fn name_of_passes(instance: &str) -> String {
        format!("evenkeel-pass-on-{}", begin_of(instance))
    }

    /// Makes it, in place of one that is there. Making a new one takes less than a
    /// millisecond, removing one, as [`Passage::undo`] does, can take tens.
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
        let mut socket = Socket::open(Some(netlink::NETFILTER))?;
        let request = "create the hand-over table";
        commit(&mut socket, request, self.at_once())?;
        if !self.keeps_own {
            return Ok(());
        }
        // From here on the kernel adds what begins: what sockets have now is the rest.
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

    /// What is made in one transaction: all of it, unless own connections come before the last rules.
    fn at_once(&self) -> Vec<Message> {
        let mut all = Vec::new();
        for family in [ARP, INET, INET6] {
            if !self.has(family) {
                continue;
            }
            all.push(self.table(NEW_TABLE, family));
            for (name, hook, priority) in chains(family) {
                all.push(chain(&self.table, family, name, (*hook, *priority)));
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

    /// The connections that sockets of this machine have at the addresses.
    fn own_connections(&self, family: u8) -> Result<Vec<Connection>, KernelError> {
        let mut all = Vec::new();
        for one in self.passes_of(family) {
            all.extend(connection::of(one.address)?);
        }
        all.truncate(MOST_CONNECTIONS as usize);
        Ok(all)
    }

    /// A table that another process made, of which only the name is known.
    pub fn left(table: String) -> Passage {
        Passage {
            table,
            ..Passage::default()
        }
    }

    /// Removes what was made.
    pub fn undo(&self) -> Result<(), KernelError> {
        if self.quiet.is_empty() && self.passes.is_empty() && self.offered.is_empty() {
            return Passage::remove(&self.table).map(|_| ());
        }
        let families = [ARP, INET, INET6].into_iter();
        let made = families.filter(|family| self.has(*family));
        let all = made.map(|family| self.table(DELETE_TABLE, family));
        let mut socket = Socket::open(Some(netlink::NETFILTER))?;
        match commit(&mut socket, "remove the hand-over table", all.collect()) {
            // Somebody else was faster, with one of them at least.
            Err(error) if error.is(Errno::NOENT) => Passage::remove(&self.table).map(|_| ()),
            done => done,
        }
    }

    /// Removes the tables of this name, which another process may have left; whether
    /// there was one.
    pub fn remove(table: &str) -> Result<bool, KernelError> {
        // A kernel without nftables has no table.
        let Ok(mut socket) = Socket::open(Some(netlink::NETFILTER)) else {
            return Ok(false);
        };
        let own = Passage {
            table: table.to_owned(),
            ..Passage::default()
        };
        let none = [Errno::NOENT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT];
        let mut removed = false;
        for family in [ARP, INET, INET6] {
            let delete = own.table(DELETE_TABLE, family);
            let mut all = [boundary(BATCH_BEGIN), delete, boundary(BATCH_END)];
            match socket.transaction("remove the hand-over table", &mut all) {
                Ok(()) => removed = true,
                Err(error) if none.into_iter().any(|errno| error.is(errno)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Whether this kernel can do all of it; and what it needs is loaded from here on. No table is made, which a
    /// process that is killed would leave.
    pub fn can() -> Result<(), KernelError> {
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
        // Addresses that no packet goes to.
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
        let mut socket = Socket::open(Some(netlink::NETFILTER))?;
        socket.trial("try the hand-over table", &mut whole)?;
        for family in [INET, INET6] {
            all.own_connections(family)?;
        }
        Ok(())
    }

    /// Whether there is something for a family.
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

    fn no_resets_of_offered(&self, family: u8) -> Vec<Message> {
        let offered = self.offered_of(family);
        offered.map(|one| self.no_reset(family, *one)).collect()
    }

    fn passes_of(&self, family: u8) -> impl Iterator<Item = &Passes> {
        let here = move |one: &&Passes| family != ARP && one.address.is_ipv6() == (family == INET6);
        self.passes.iter().filter(here)
    }

    fn silence(&self, family: u8) -> Vec<Message> {
        let quiet = self.quiet.iter();
        let silence = |one: &Quiet| match (family, one.address.is_ipv6()) {
            (ARP, false) => self.quiet_arp(one),
            (INET, false) => vec![self.no_reset(INET, one.address)],
            (INET6, true) => self.quiet_ipv6(one),
            _ => Vec::new(),
        };
        quiet.flat_map(silence).collect()
    }

    /// The set of own connections, and the rules by which the kernel adds to it.
    fn remembering(&self, family: u8) -> Vec<Message> {
        if self.passes_of(family).next().is_none() {
            return Vec::new();
        }
        let rules = self.passes_of(family).map(|of| self.remember(family, of));
        let mut all = vec![self.set(family)];
        all.extend(rules);
        all
    }

    fn passing(&self, family: u8) -> Vec<Message> {
        let passes = self.passes_of(family);
        passes.map(|of| self.pass(family, of)).collect()
    }

    fn table(&self, kind: u16, family: u8) -> Message {
        let create = match kind {
            NEW_TABLE => flag::CREATE | flag::EXCLUSIVE,
            _ => 0,
        };
        let mut message = ask(kind, family, create);
        message.string(1, &self.table);
        message
    }

    /// Drops requests for the address, and rewrites the source of our own requests.
    fn quiet_arp(&self, of: &Quiet) -> Vec<Message> {
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

    fn quiet_ipv6(&self, of: &Quiet) -> Vec<Message> {
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

    /// Drops the kernel's answer to a segment of a connection that is not here. It has no
    /// ACK, unlike the reset of a connection that is (RFC 9293, section 3.10.7.1).
    fn no_reset(&self, family: u8, source: IpAddr) -> Message {
        let (at, address) = (source_place(family), octets(source));
        rule(&self.table, family, "out", |list| {
            field(list, NETWORK, at, &address);
            flags(list);
            masked(list, &[RST | ACK]);
            equal(list, &[RST]);
            verdict(list, DROP);
        })
    }

    fn set(&self, family: u8) -> Message {
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

    fn elements(&self, family: u8, connections: &[Connection]) -> Message {
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

    /// A connection that begins here is this machine's own.
    fn remember(&self, family: u8, of: &Passes) -> Message {
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

    /// A segment that begins no connection, and belongs to none of this machine's own, is
    /// of one that began at the old owner: its answers go from there, past this machine.
    fn pass(&self, family: u8, of: &Passes) -> Message {
        rule(&self.table, family, "pass", |list| {
            segment_to(list, family, of.address);
            masked(list, &[SYN]);
            equal(list, &[0]);
            connection_key(list, family);
            step(list, "lookup", |data| {
                data.string(1, OWN);
                data.attribute(2, &WORD_REGISTER_0.to_be_bytes());
                // Where it is not in the set.
                data.attribute(5, &1_u32.to_be_bytes());
            });
            load(list, &octets(of.to));
            number(list, of.by, REGISTER_2);
            duplicate(list);
            verdict(list, DROP);
        })
    }
}

/// Enough of a name for a table of its own.
fn begin_of(instance: &str) -> String {
    instance.chars().take(NAME_CHARACTERS_MAX).collect()
}

/// All of it happens or nothing.
fn commit(
    socket: &mut Socket,
    request: &'static str,
    all: Vec<Message>,
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

/// A port as it is in a register of four bytes.
fn port_word(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, 0, 0]
}

/// The rule goes on where the packet is a TCP segment to an address; its flags are in
/// the first register.
fn segment_to(list: &mut Message, family: u8, address: IpAddr) {
    let at = if family == INET6 {
        IPV6_DESTINATION
    } else {
        IPV4_DESTINATION
    };
    field(list, NETWORK, at, &octets(address));
    flags(list);
}

/// The rule goes on where the packet is a TCP segment; its flags are in the first register.
fn flags(list: &mut Message) {
    meta(list, META_PROTOCOL);
    equal(list, &[TCP]);
    payload(list, TRANSPORT, TCP_FLAGS, 1, REGISTER_1);
}

/// Where the source address is in the header.
fn source_place(family: u8) -> u32 {
    if family == INET6 {
        IPV6_SOURCE
    } else {
        IPV4_SOURCE
    }
}

/// Both addresses and both ports come into the registers from the first on.
fn connection_key(list: &mut Message, family: u8) {
    let at = source_place(family);
    let addresses = 2 * address_length(family);
    let length = usize::try_from(addresses).unwrap_or(0);
    let ports = WORD_REGISTER_0 + addresses / 4;
    payload(list, NETWORK, at, length, WORD_REGISTER_0);
    payload(list, TRANSPORT, PORT_OF_SOURCE, 2, ports);
    payload(list, TRANSPORT, PORT_OF_DESTINATION, 2, ports + 1);
}

/// The chains of a family: name, hook, priority.
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

/// The rule goes on where the packet has these bytes there.
fn field(list: &mut Message, base: u32, offset: u32, value: &[u8]) {
    payload(list, base, offset, value.len(), REGISTER_1);
    equal(list, value);
}

/// The rule goes on where the packet is a message of neighbour discovery of this type.
fn discovery(list: &mut Message, kind: u8) {
    meta(list, META_PROTOCOL);
    equal(list, &[ICMP6]);
    field(list, TRANSPORT, 0, &[kind]);
}

/// Of the first register only these bits stay.
fn masked(list: &mut Message, mask: &[u8]) {
    let length = u32::try_from(mask.len()).unwrap_or(0);
    step(list, "bitwise", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes());
        data.attribute(2, &REGISTER_1.to_be_bytes());
        data.attribute(3, &length.to_be_bytes());
        data.nested(4, |of| of.attribute(1, mask));
        data.nested(5, |of| of.attribute(1, &vec![0; mask.len()]));
    });
}

/// Bytes come into the first register.
fn load(list: &mut Message, value: &[u8]) {
    step(list, "immediate", |data| {
        data.attribute(1, &REGISTER_1.to_be_bytes());
        data.nested(2, |of| of.attribute(1, value));
    });
}

/// Bytes come into the packet's header of the network.
fn write(list: &mut Message, offset: u32, value: &[u8], checksum: u32) {
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
