//! Reads the IPv6 addresses of an interface with their lifetimes, and chooses the one that machines
//! can rely on.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::Ipv6Addr;

/// Table of the IPv6 addresses of this thread's network namespace (proc_net(5)).
const TABLE: &str = "/proc/thread-self/net/if_inet6";
/// Flag of a temporary address; all flags are those of linux/if_addr.h (rtnetlink(7)).
const TEMPORARY: u32 = 0x01;
const DAD_FAILED: u32 = 0x08;
const DEPRECATED: u32 = 0x20;
const TENTATIVE: u32 = 0x40;
const PERMANENT: u32 = 0x80;

/// IPv6 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Lifetime {
    pub address: Ipv6Addr,
    flags: u32,
}

impl Ipv6Lifetime {
    pub fn permanent(address: Ipv6Addr) -> Ipv6Lifetime {
        Ipv6Lifetime {
            address,
            flags: PERMANENT,
        }
    }

    fn has(self, flags: u32) -> bool {
        self.flags & flags > 0
    }
}

/// Opens the table. A confined thread can read an open table, but cannot open one.
///
/// # Errors
///
/// A system call fails: the system has no IPv6, or no such table.
pub fn open_table() -> io::Result<File> {
    File::open(TABLE)
}

/// Returns the current addresses of an interface.
///
/// # Errors
///
/// A system call fails.
pub fn of_interface(mut table: &File, interface: &str) -> io::Result<Vec<Ipv6Lifetime>> {
    table.rewind()?;
    let mut text = String::new();
    table.read_to_string(&mut text)?;
    let all = text.lines().filter_map(|line| parse(line, interface));
    Ok(all.collect())
}

/// Parses a line: address, index, prefix length, scope, flags and interface.
fn parse(line: &str, interface: &str) -> Option<Ipv6Lifetime> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [address, _, _, _, flags, name] = words[..] else {
        return None;
    };
    let address = u128::from_str_radix(address, 16).ok()?;
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (name == interface).then_some(Ipv6Lifetime {
        address: address.into(),
        flags,
    })
}

/// Chooses the address of this node that machines get: preferably in the network, and the one least
/// likely to expire or to move. A virtual address (`is_moving`) moves to the other node, a
/// temporary or deprecated one (RFC 8981, RFC 4862) expires. Of equal ones, the smallest address is
/// used, so that an additional address does not change it.
pub fn choose(
    all: &[Ipv6Lifetime],
    is_in_network: impl Fn(Ipv6Addr) -> bool,
    is_moving: impl Fn(Ipv6Addr) -> bool,
) -> Option<Ipv6Addr> {
    let usable = all.iter().filter(|one| {
        let is_local = one.address.is_unicast_link_local() || one.address.is_loopback();
        !is_local && !one.has(DAD_FAILED | TENTATIVE)
    });
    let chosen = usable.min_by_key(|one| {
        (
            !is_in_network(one.address),
            is_moving(one.address),
            one.has(DEPRECATED),
            one.has(TEMPORARY),
            !one.has(PERMANENT),
            one.address,
        )
    });
    chosen.map(|one| one.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip -6 addr` of an interface with addresses of each kind, as the kernel lists them.
    const LISTED: &str = "\
        fd000020000000000000000000000dea 02 40 00 20     eth0\n\
        fd000020000000000000000000000105 02 80 00 80     eth0\n\
        fd000020000000000000000000000001 02 40 00 01     eth0\n\
        fd000020000000000000000000000002 02 40 00 00     eth0\n\
        fd000020000000000000000000000099 02 40 00 80     eth0\n\
        fd000020000000000000000000000098 02 40 00 c0     eth0\n\
        fd000020000000000000000000000003 03 40 00 80     eth1\n\
        fe80000000000000100000fffe000001 02 40 20 80     eth0\n";

    #[test]
    fn open_table_is_read_again() {
        let Ok(table) = open_table() else { return };
        let loopback = || of_interface(&table, "lo").unwrap();
        let first = loopback();
        assert_eq!(loopback(), first);
        assert!(first.iter().all(|one| one.has(PERMANENT)), "{first:?}");
    }

    #[test]
    fn address_that_stays_is_chosen() {
        let mut all: Vec<Ipv6Lifetime> = LISTED
            .lines()
            .filter_map(|line| parse(line, "eth0"))
            .collect();
        assert_eq!(all.len(), 7);
        let is_in_network = |one: Ipv6Addr| one.segments()[..4] == [0xfd00, 0x20, 0, 0];
        let virtual_ip: Ipv6Addr = "fd00:20::105".parse().unwrap();
        // In this order: permanent, dynamic, temporary, deprecated, virtual. A tentative address,
        // and a link-local one, are not used.
        for expected in ["99", "2", "1", "dea", "105"] {
            let chosen = choose(&all, is_in_network, |one| one == virtual_ip);
            let expected: Ipv6Addr = format!("fd00:20::{expected}").parse().unwrap();
            assert_eq!(chosen, Some(expected));
            all.retain(|one| one.address != expected);
        }
        assert_eq!(choose(&all, is_in_network, |_| false), None);
    }
}
