//! Describes the machine that a configuration is built for: its host name and interfaces.

use configuration::outside::Interface;
use language::value::{AddressNetwork, V4Network, V6Network};
use std::net::{IpAddr, Ipv4Addr};

/// The machine that a configuration is built for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TargetHost {
    /// Host name; None if the file is only inspected, possibly for other machines. Then the
    /// configuration is built for the first node, and errors that depend on the machine are not
    /// reported.
    pub name: Option<String>,
    /// True if the files are a configuration version that was accepted earlier, which is served
    /// without the programs that cannot be run.
    pub is_accepted: bool,
    pub interfaces: Vec<Interface>,
}

fn network(address: IpAddr, prefix: u8) -> AddressNetwork {
    match address {
        IpAddr::V4(address) => AddressNetwork::V4(V4Network {
            address,
            mask: Ipv4Addr::from_bits(
                u32::MAX
                    .checked_shl(32_u32.saturating_sub(u32::from(prefix)))
                    .unwrap_or(0),
            ),
        }),
        IpAddr::V6(address) => AddressNetwork::V6(V6Network { address, prefix }),
    }
}

impl TargetHost {
    pub(super) fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        let mut all = self.interfaces.iter().flat_map(|i| &i.addresses);
        all.any(|(own, _)| *own == address)
    }

    /// Returns the interfaces whose networks contain an address: those with the longest prefix, and
    /// that prefix. The loopback interface never counts.
    pub(super) fn around(&self, address: IpAddr) -> Vec<(&Interface, u8)> {
        let mut found: Vec<(&Interface, u8)> = Vec::new();
        for interface in self.interfaces.iter().filter(|i| i.name != "lo") {
            let fits = |(own, prefix): &&(IpAddr, u8)| {
                own.is_ipv4() == address.is_ipv4()
                    // Ignores a single address, which shows nothing about neighbours.
                    && *prefix != full(*own)
                    && network(*own, *prefix).contains(address)
            };
            let longest = interface
                .addresses
                .iter()
                .filter(fits)
                .map(|(_, p)| *p)
                .max();
            found.extend(longest.map(|prefix| (interface, prefix)));
        }
        let longest = found.iter().map(|(_, prefix)| *prefix).max();
        found.retain(|(_, prefix)| Some(*prefix) == longest);
        found
    }
}

/// Returns the prefix length of a single address.
pub(super) fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_interface_with_the_longest_prefix_around_it() {
        let of = |name: &str, addresses: &[&str]| Interface {
            name: name.to_owned(),
            addresses: addresses
                .iter()
                .map(|text| {
                    let (address, prefix) = text.split_once('/').expect("a prefix");
                    (
                        address.parse().expect("an address"),
                        prefix.parse().expect("a number"),
                    )
                })
                .collect(),
        };
        let host = TargetHost {
            name: None,
            is_accepted: false,
            interfaces: vec![
                of("lo", &["127.0.0.1/8", "::1/128"]),
                of("eth0", &["10.0.0.1/8", "2001:db8::1/64"]),
                of("eth1", &["10.1.0.1/16", "10.9.9.9/32"]),
            ],
        };
        let around = |text: &str| -> Vec<(&str, u8)> {
            let found = host.around(text.parse().expect("an address"));
            found
                .iter()
                .map(|(i, prefix)| (i.name.as_str(), *prefix))
                .collect()
        };
        assert_eq!(around("10.1.2.3"), [("eth1", 16)]);
        assert_eq!(around("10.2.2.3"), [("eth0", 8)]);
        assert_eq!(around("2001:db8::80"), [("eth0", 64)]);
        assert_eq!(around("192.0.2.1"), []);
        assert_eq!(around("127.0.0.9"), [], "loopback moves nowhere");
    }
}
