//! Searches a set of networks for an address. Few networks are compared one by one, many form a
//! trie; the longest prefix wins. This module resolves no names.

use prefix_trie::PrefixMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Network: an address, and its significant bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaskedNetwork {
    /// IPv4: address and mask, whose bits need not be consecutive.
    V4(u32, u32),
    /// IPv6: address and the length of the prefix.
    V6(u128, u8),
}

impl MaskedNetwork {
    pub fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => MaskedNetwork::V4(v4.into(), u32::MAX),
            IpAddr::V6(v6) => MaskedNetwork::V6(v6.into(), 128),
        }
    }

    /// Parses `address`, `address/bits` or, for IPv4, `address/mask`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((address, mask)) = text.split_once('/') else {
            return Some(Self::host(text.parse().ok()?));
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let mask = match mask.parse::<Ipv4Addr>() {
                    Ok(mask) => mask.into(),
                    Err(_) => mask_v4(bits(mask, 32)?),
                };
                Some(MaskedNetwork::V4(u32::from(address) & mask, mask))
            }
            IpAddr::V6(address) => {
                let bits = bits(mask, 128)?;
                Some(MaskedNetwork::V6(u128::from(address) & mask_v6(bits), bits))
            }
        }
    }

    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (MaskedNetwork::V4(network, mask), IpAddr::V4(v4)) => u32::from(v4) & mask == network,
            (MaskedNetwork::V6(network, bits), IpAddr::V6(v6)) => {
                u128::from(v6) & mask_v6(bits) == network
            }
            _ => false,
        }
    }

    pub(crate) fn length(self) -> u8 {
        match self {
            MaskedNetwork::V4(_, mask) => mask.count_ones() as u8,
            MaskedNetwork::V6(_, bits) => bits,
        }
    }
}

fn bits(text: &str, max: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n <= max)
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// Maximum number of networks in a list; more networks form tries.
const FEW: usize = 16;

/// A set of networks, each with its number.
#[derive(Clone, Debug)]
pub struct Networks {
    /// All networks if there are few; otherwise only those whose mask bits are not consecutive.
    line: Vec<(MaskedNetwork, usize)>,
    tries: Option<Box<Tries>>,
}

#[derive(Clone, Debug, Default)]
struct Tries {
    v4: PrefixMap<(u32, u8), usize>,
    v6: PrefixMap<(u128, u8), usize>,
}

impl Networks {
    pub fn new(list: Vec<MaskedNetwork>) -> Self {
        let numbered = list
            .into_iter()
            .enumerate()
            .map(|(n, network)| (network, n));
        let mut line: Vec<_> = numbered.collect();
        if line.len() <= FEW {
            return Networks { line, tries: None };
        }
        let mut tries = Box::new(Tries::default());
        line.retain(|(network, n)| match *network {
            MaskedNetwork::V4(address, mask) if mask.leading_ones() == mask.count_ones() => {
                let prefix = (address, mask.count_ones() as u8);
                if tries.v4.get(&prefix).is_none() {
                    tries.v4.insert(prefix, *n);
                }
                false
            }
            MaskedNetwork::V4(..) => true,
            MaskedNetwork::V6(address, bits) => {
                if tries.v6.get(&(address, bits)).is_none() {
                    tries.v6.insert((address, bits), *n);
                }
                false
            }
        });
        Networks {
            line,
            tries: Some(tries),
        }
    }

    /// Returns the number of the narrowest network that contains an address. An IPv4-mapped IPv6
    /// address is looked up in both forms.
    pub fn find(&self, address: IpAddr) -> Option<usize> {
        self.find_exactly(address).or_else(|| match address {
            IpAddr::V4(v4) => self.find_exactly(v4.to_ipv6_mapped().into()),
            IpAddr::V6(v6) => self.find_exactly(Ipv6Addr::to_ipv4_mapped(&v6)?.into()),
        })
    }

    fn find_exactly(&self, address: IpAddr) -> Option<usize> {
        let mut best: Option<(u8, usize)> = None;
        for (network, n) in &self.line {
            if network.contains(address) && best.is_none_or(|(length, _)| network.length() > length)
            {
                best = Some((network.length(), *n));
            }
        }
        if let Some(tries) = &self.tries {
            let found = match address {
                IpAddr::V4(v4) => tries
                    .v4
                    .get_lpm(&(u32::from(v4), 32))
                    .map(|((_, bits), n)| (bits, *n)),
                IpAddr::V6(v6) => tries
                    .v6
                    .get_lpm(&(u128::from(v6), 128))
                    .map(|((_, bits), n)| (bits, *n)),
            };
            if let Some(found) = found
                && best.is_none_or(|(length, _)| found.0 > length)
            {
                best = Some(found);
            }
        }
        best.map(|(_, n)| n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(
            list.iter()
                .map(|text| MaskedNetwork::parse(text).unwrap())
                .collect(),
        )
    }

    fn found(networks: &Networks, address: &str) -> Option<usize> {
        networks.find(address.parse().unwrap())
    }

    #[test]
    fn the_narrowest_network_is_found_among_few_and_among_many() {
        let few = [
            "10.0.0.0/8",
            "10.1.0.0/255.255.0.0",
            "10.1.2.3",
            "2001:db8::/32",
            "::1",
        ];
        let mut many = few.to_vec();
        let more: Vec<String> = (0..60).map(|n| format!("192.168.{n}.0/24")).collect();
        many.extend(more.iter().map(String::as_str));
        for set in [networks(&few), networks(&many)] {
            assert_eq!(found(&set, "10.2.0.1"), Some(0));
            assert_eq!(found(&set, "10.1.9.9"), Some(1));
            assert_eq!(found(&set, "10.1.2.3"), Some(2));
            assert_eq!(found(&set, "::ffff:10.1.2.3"), Some(2));
            assert_eq!(found(&set, "2001:db8::5"), Some(3));
            assert_eq!(found(&set, "::1"), Some(4));
            assert_eq!(found(&set, "11.0.0.1"), None);
        }
        assert_eq!(found(&networks(&many), "192.168.3.7"), Some(8));
    }

    #[test]
    fn masks_with_holes_work() {
        let set = networks(&["10.0.0.1/255.0.0.255"]);
        assert_eq!(found(&set, "10.9.8.1"), Some(0));
        assert_eq!(found(&set, "10.9.8.2"), None);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "10.0.0.0/33",
            "10.0.0",
            "::1/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "x",
            "",
        ] {
            assert_eq!(MaskedNetwork::parse(text), None, "{text}");
        }
        assert_eq!(
            MaskedNetwork::parse("0.0.0.0/0"),
            Some(MaskedNetwork::V4(0, 0))
        );
    }
}
