//! What the kernel does while an address is handed over and connections are under way.
//!
//! The machine that has given it away still has it, and is [`Quiet`] about it: it
//! answers nobody who asks for its owner, and never asks with it as the asker, so
//! that neighbours keep the new owner in mind. The machine that has taken it
//! [`Passes`] on what belongs to none of its own connections: segments that begin none,
//! of a connection whose beginning it has not seen, go to the old owner as they are.
//!
//! Both are a table of nftables of an own name, made by one transaction and removed
//! as a whole. Nothing here knows for how long.

use super::KernelError;
use super::firewall::{
    BATCH_BEGIN, BATCH_END, DELETE_TABLE, DROP, HOOK_INPUT, HOOK_OUTPUT, ICMP6, META_PROTOCOL,
    NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NETWORK, NEW_TABLE, REGISTER_1, REGISTER_2,
    TRANSPORT, ask, boundary, chain, duplicate, equal, meta, number, payload, rule, step, verdict,
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
/// Behind the tracking of connections, before addresses are rewritten.
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
const IPV4_DESTINATION: u32 = 16;

const TCP: u8 = 6;
const TCP_FLAGS: u32 = 13;
const SYN: u8 = 0x02;

/// `ct state`, of which the bit of connections that no answer was seen of.
const CT_STATE: u32 = 0;
const CT_NEW: u32 = 8;

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
}

impl Passage {
    /// The table's name for an instance.
    pub fn name(instance: &str) -> String {
        let begin: String = instance.chars().take(NAME_CHARACTERS_MAX).collect();
        format!("evenkeel-hand-over-{begin}")
    }

    /// Makes it, in place of one that is there. Making a new one takes less than a
    /// millisecond, removing one, as [`Passage::undo`] does, can take tens.
    pub fn apply(&self) -> Result<(), KernelError> {
        if self.quiet.len() + self.passes.len() > MOST_ADDRESSES {
            return Err(KernelError::BadValue(
                "too many addresses for the table of a hand-over",
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
        let mut all = vec![boundary(BATCH_BEGIN)];
        for family in [ARP, INET, INET6] {
            let rules = self.rules(family);
            if rules.is_empty() {
                continue;
            }
            all.push(self.table(NEW_TABLE, family));
            for (name, hook, priority) in chains(family) {
                all.push(chain(&self.table, family, name, (*hook, *priority)));
            }
            all.extend(rules);
        }
        all.push(boundary(BATCH_END));
        if all.len() == 2 {
            return Ok(());
        }
        let mut socket = Socket::open(Some(netlink::NETFILTER))?;
        socket.transaction("make the table of a hand-over", &mut all)
    }

    /// Removes what was made.
    pub fn undo(&self) -> Result<(), KernelError> {
        let families = [ARP, INET, INET6].into_iter();
        let made = families.filter(|family| !self.rules(*family).is_empty());
        let mut all = vec![boundary(BATCH_BEGIN)];
        all.extend(made.map(|family| self.table(DELETE_TABLE, family)));
        all.push(boundary(BATCH_END));
        if all.len() == 2 {
            return Ok(());
        }
        let mut socket = Socket::open(Some(netlink::NETFILTER))?;
        match socket.transaction("remove the table of a hand-over", &mut all) {
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
            match socket.transaction("remove the table of a hand-over", &mut all) {
                Ok(()) => removed = true,
                Err(error) if none.into_iter().any(|errno| error.is(errno)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Whether this kernel can do all of it; and what it needs is loaded from here on.
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
        };
        all.apply()?;
        all.undo()
    }

    fn rules(&self, family: u8) -> Vec<Message> {
        let six = family == INET6;
        let mut all = Vec::new();
        if family != INET {
            let quiet = self.quiet.iter();
            for one in quiet.filter(|one| one.address.is_ipv6() == six) {
                all.extend(match six {
                    true => self.quiet_ipv6(one),
                    false => self.quiet_arp(one),
                });
            }
        }
        if family != ARP {
            let passes = self.passes.iter();
            let here = passes.filter(|one| one.address.is_ipv6() == six);
            all.extend(here.map(|one| self.pass(family, one)));
        }
        all
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

    /// Who asks for it gets no answer; what we ask ourselves, we ask under another name.
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
        ]
    }

    /// A connection of which no answer was seen here, and whose segment does not begin
    /// one, began at the old owner: its answers go from there, past this machine.
    fn pass(&self, family: u8, of: &Passes) -> Message {
        let at = if family == INET6 {
            IPV6_DESTINATION
        } else {
            IPV4_DESTINATION
        };
        rule(&self.table, family, "pass", |list| {
            field(list, NETWORK, at, &octets(of.address));
            meta(list, META_PROTOCOL);
            equal(list, &[TCP]);
            payload(list, TRANSPORT, TCP_FLAGS, 1, REGISTER_1);
            masked(list, &[SYN]);
            equal(list, &[0]);
            step(list, "ct", |data| {
                data.attribute(1, &REGISTER_1.to_be_bytes());
                data.attribute(2, &CT_STATE.to_be_bytes());
            });
            masked(list, &CT_NEW.to_ne_bytes());
            equal(list, &CT_NEW.to_ne_bytes());
            load(list, &octets(of.to));
            number(list, of.by, REGISTER_2);
            duplicate(list);
            verdict(list, DROP);
        })
    }
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
        _ => &[("pass", HOOK_PREROUTING, PRIORITY_PASS)],
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
