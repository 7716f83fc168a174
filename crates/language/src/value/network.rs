//! Parses networks of IP addresses, as used in ACLs and maps.

use super::ValueError;
use crate::codes;
use crate::diagnostic::Code;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 addresses: those that equal `address` under `mask`, which may have gaps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct V4Network {
    /// The address as written, including the bits outside the mask.
    pub address: Ipv4Addr,
    pub mask: Ipv4Addr,
}

/// IPv6 addresses: those that share the first bits of `address`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct V6Network {
    /// The address as written, including the bits after the prefix.
    pub address: Ipv6Addr,
    pub prefix: u8,
}

/// A network of either family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressNetwork {
    V4(V4Network),
    V6(V6Network),
}

impl V4Network {
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        (ip.to_bits() ^ self.address.to_bits()) & self.mask.to_bits() == 0
    }

    /// Returns the length of its prefix; `None` if its mask has gaps.
    pub fn prefix(&self) -> Option<u8> {
        let bits = self.mask.to_bits();
        (bits.leading_ones() + bits.trailing_zeros() >= 32).then(|| bits.leading_ones() as u8)
    }
}

impl V6Network {
    pub fn contains(&self, ip: Ipv6Addr) -> bool {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(self.prefix))
            .unwrap_or(0);
        (ip.to_bits() ^ self.address.to_bits()) & mask == 0
    }
}

impl AddressNetwork {
    /// Returns whether the network contains an address. As in HAProxy, an IPv4 address also belongs
    /// to an IPv6 network that contains its mapped form, and vice versa.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self, ip) {
            (AddressNetwork::V4(network), IpAddr::V4(ip)) => network.contains(ip),
            (AddressNetwork::V6(network), IpAddr::V6(ip)) => network.contains(ip),
            (AddressNetwork::V4(network), IpAddr::V6(ip)) => {
                ip.to_ipv4_mapped().is_some_and(|ip| network.contains(ip))
            }
            (AddressNetwork::V6(network), IpAddr::V4(ip)) => network.contains(ip.to_ipv6_mapped()),
        }
    }
}

/// The errors of a network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("'{text}' is not a valid IPv4 or IPv6 address")]
    NotAnAddress {
        text: String,
        /// The text could be a host name, which HAProxy would resolve.
        name: bool,
    },
    #[error("'{text}' is not a valid IPv4 or IPv6 address")]
    BadMask { text: String, max: u8 },
}

impl ValueError for NetworkError {
    type Value = AddressNetwork;

    fn code(&self) -> &'static Code {
        &codes::BAD_NETWORK
    }

    fn help(&self) -> Option<String> {
        match self {
            NetworkError::BadMask { max: 32, .. } => Some(
                "after the slash, write a prefix length up to 32 or a mask such as 255.255.255.0"
                    .to_owned(),
            ),
            NetworkError::BadMask { max, .. } => Some(format!(
                "after the slash, write a prefix length up to {max}"
            )),
            NetworkError::NotAnAddress { text, .. } => text
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'))
                .map(|inner| format!("write it without brackets: {inner}")),
        }
    }
}

/// Parses `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32`, or an address alone. Zero
/// bytes inside an IPv4 address may be omitted as in `127.1` (which is 127.0.0.1, so `10.1/16` is
/// 10.0.0.1/16).
///
/// # Errors
/// The text is not a network.
pub fn network(text: &str) -> Result<AddressNetwork, NetworkError> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let bad_mask = |max| NetworkError::BadMask {
        text: text.to_owned(),
        max,
    };
    if let Ok(address) = address.parse::<Ipv6Addr>() {
        let prefix = match mask {
            None => 128,
            Some(mask) => prefix_length(mask, 128).ok_or_else(|| bad_mask(128))?,
        };
        return Ok(AddressNetwork::V6(V6Network { address, prefix }));
    }
    let dotted = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        ipv4_as_written(text).filter(|_| digits)
    };
    let Some(address) = dotted(address) else {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let name = mask.is_none()
            && text.bytes().all(allowed)
            && text.bytes().any(|b| b.is_ascii_alphabetic());
        return Err(NetworkError::NotAnAddress {
            text: text.to_owned(),
            name,
        });
    };
    let mask = match mask {
        None => Ipv4Addr::BROADCAST,
        Some(mask) if mask.contains('.') => mask.parse().map_err(|_| bad_mask(32))?,
        Some(mask) => {
            let prefix = prefix_length(mask, 32).ok_or_else(|| bad_mask(32))?;
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(bits)
        }
    };
    Ok(AddressNetwork::V4(V4Network { address, mask }))
}

fn prefix_length(text: &str, max: u8) -> Option<u8> {
    text.parse::<u8>().ok().filter(|n| *n <= max)
}

/// Parses an IPv4 address as the C library does: one to four parts, the last of which fills the
/// remaining bytes, each decimal, octal (`010`) or hexadecimal (`0x0a`). So `10.1` is 10.0.0.1 and
/// `010.0.0.1` is 8.0.0.1.
pub fn ipv4_as_written(text: &str) -> Option<Ipv4Addr> {
    let mut value: u32 = 0;
    let count = text.split('.').count();
    if count > 4 {
        return None;
    }
    for (n, part) in text.split('.').enumerate() {
        let number = c_number(part)?;
        if n + 1 < count {
            let byte = u8::try_from(number).ok()?;
            value |= u32::from(byte) << (24 - 8 * n as u32);
        } else {
            let room = 32 - 8 * n as u32;
            if room < 32 && number >> room != 0 {
                return None;
            }
            value |= number;
        }
    }
    Some(Ipv4Addr::from_bits(value))
}

fn c_number(part: &str) -> Option<u32> {
    if part.is_empty() || part.starts_with('+') {
        return None;
    }
    match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(hexadecimal) if !hexadecimal.starts_with('+') => {
            u32::from_str_radix(hexadecimal, 16).ok()
        }
        Some(_) => None,
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, inside: &[&str], outside: &[&str]) {
        let network = network(text).unwrap();
        for ip in inside {
            assert!(network.contains(ip.parse().unwrap()), "{ip} in {text}");
        }
        for ip in outside {
            assert!(!network.contains(ip.parse().unwrap()), "{ip} not in {text}");
        }
    }

    #[test]
    fn networks_hold_what_they_hold_in_haproxy() {
        holds(
            "10.0/8",
            &["10.0.0.0", "10.7.0.9"],
            &["11.0.0.0", "8.0.0.1"],
        );
        holds("10/8", &["0.0.0.10"], &["10.0.0.0"]);
        holds("10.1", &["10.0.0.1"], &["10.1.0.0", "10.1.0.1"]);
        holds("10.1/16", &["10.0.0.0", "10.0.0.1"], &["10.1.0.0"]);
        holds("10.1.2/24", &["10.1.0.0", "10.1.0.2"], &["10.1.2.9"]);
        holds("010.0.0.1", &["8.0.0.1"], &["10.0.0.1"]);
        holds("10.1.2.3/08", &["10.5.5.5"], &["9.255.255.255"]);
        holds("10.0.0.0/+8", &["10.5.5.5"], &["9.255.255.255"]);
        holds("10.0.0.0/255.0.255.0", &["10.7.0.9"], &["10.0.1.0"]);
        holds("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::1"]);
        holds("::ffff:1.2.3.4", &["1.2.3.4"], &["1.2.3.5"]);
        holds("::ffff:1.2.3.4/96", &["8.8.8.8"], &["::1"]);
        holds("1.2.3.4", &["::ffff:1.2.3.4"], &["::1.2.3.4"]);
        holds("::/0", &["::1", "2001:db8::1", "1.2.3.4"], &[]);
        holds("2001:db8::/32", &["2001:db8:1::"], &["2001:db9::"]);
        holds("::1/128", &["::1"], &["::2"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "/8",
            "::1/129",
            "[::1]",
            "10.0.0.1/abc",
            "10.0.0.1/-1",
            "256.0.0.1",
            "10.0.0.0/8x",
            "::1/ffff::",
            "10.0.0.300",
            "*",
            "0x0a.0.0.1",
            "",
            "1.2.3.4.5",
            "1..2",
            "999999999999",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
        assert!(matches!(
            network("localhost"),
            Err(NetworkError::NotAnAddress { name: true, .. })
        ));
        assert_eq!(
            network("[::1]").unwrap_err().help().unwrap(),
            "write it without brackets: ::1"
        );
    }

    #[test]
    fn only_masks_without_gaps_have_a_prefix() {
        let prefix = |text| match network(text).unwrap() {
            AddressNetwork::V4(v4) => v4.prefix(),
            AddressNetwork::V6(v6) => Some(v6.prefix),
        };
        assert_eq!(prefix("10.0.0.0/255.255.0.0"), Some(16));
        assert_eq!(prefix("10.0.0.0/255.0.255.0"), None);
        assert_eq!(prefix("0.0.0.0/0"), Some(0));
        assert_eq!(prefix("1.2.3.4"), Some(32));
    }
}
