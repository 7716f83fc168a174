//! Parses IP networks of clients that configuration lines name, and returns the network by which
//! rate limits count a client.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Addresses with a common prefix, such as `10.0.0.1`, `10.0.0.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpPrefix {
    address: IpAddr,
    bits: u32,
}

impl IpPrefix {
    /// Returns whether an address belongs to the network. An IPv4-mapped IPv6 address counts as
    /// IPv4.
    pub fn contains_address(&self, address: IpAddr) -> bool {
        let number = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, true),
            IpAddr::V6(address) => (u128::from(address), false),
        };
        let ((own, own_family), (other, family)) = (number(self.address), number(address));
        let differs = own ^ other;
        own_family == family && differs.leading_zeros() >= self.bits
    }

    pub fn is_whole_family(&self) -> bool {
        self.bits == 0
    }
}

impl FromStr for IpPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<IpPrefix, String> {
        let wrong = || format!("not an IP address, or one with a prefix length: '{text}'");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits <= most {
            Ok(IpPrefix { address, bits })
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Returns the key by which limits count a client: its IPv4 address, or the first address of its
/// IPv6 /64 network. A machine can choose any of the 2^64 addresses of such a network itself (RFC
/// 4291, section 2.5.1).
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(prefix).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_has_its_addresses_only() {
        let has = |network: &str, address: &str| {
            let network: IpPrefix = network.parse().unwrap();
            network.contains_address(address.parse().unwrap())
        };
        assert!(has("10.0.0.1", "10.0.0.1") && !has("10.0.0.1", "10.0.0.2"));
        assert!(has("10.0.0.0/24", "10.0.0.255") && !has("10.0.0.0/24", "10.0.1.0"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/32", "2001:db8:1::1") && !has("::1", "::2"));
        assert!(has("10.0.0.0/24", "::ffff:10.0.0.7"));
        for wrong in [
            "",
            "a",
            "10.0.0.1/33",
            "10.0.0.1/",
            "::1/129",
            "10.0.0.1/-1",
        ] {
            assert!(wrong.parse::<IpPrefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ipv6_clients_are_counted_by_64_bits() {
        let network = |text: &str| client_network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:0:1:a:b:c:d"), "2001:db8:0:1::");
    }
}
