//! Computes the internet checksum (RFC 1071), with the pseudo headers that it may cover.

use std::net::IpAddr;

/// An unfolded sum of 16-bit words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last one is the upper half of a word.
    pub fn with(self, bytes: &[u8]) -> Sum {
        let word = |pair: &[u8]| match *pair {
            [upper, lower] => u64::from(u16::from_be_bytes([upper, lower])),
            [upper] => u64::from(upper) << 8,
            _ => 0,
        };
        Sum(self.0 + bytes.chunks(2).map(word).sum::<u64>())
    }

    /// Adds the pseudo header of IPv6 (RFC 8200, 8.1), or that of IPv4, which has the same parts in
    /// other widths and therefore the same sum.
    pub fn with_pseudo_header(self, from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Sum {
        let sum = self.with_address(from).with_address(to);
        Sum(sum.0 + u64::from(protocol)).with(&(length as u32).to_be_bytes())
    }

    fn with_address(self, address: IpAddr) -> Sum {
        match address {
            IpAddr::V4(v4) => self.with(&v4.octets()),
            IpAddr::V6(v6) => self.with(&v6.octets()),
        }
    }

    /// Returns the value for the checksum field; zero if the bytes already contain a
    /// valid one.
    pub fn checksum(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().with(&bytes).checksum(), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_if_a_zero_stood_behind_it() {
        let odd = Sum::default().with(&[0x12, 0x34, 0x56]).checksum();
        assert_eq!(odd, Sum::default().with(&[0x12, 0x34, 0x56, 0]).checksum());
    }

    #[test]
    fn bytes_with_their_own_checksum_have_none_left() {
        let mut bytes = vec![0x45, 0xc0, 0, 0x24, 0, 1, 0, 0, 0xff, 0x70, 0, 0];
        bytes.extend([10, 9, 0, 1, 224, 0, 0, 18]);
        let sum = Sum::default().with(&bytes).checksum();
        // Value that keepalived's host sent.
        assert_eq!(sum, 0xd08c);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Sum::default().with(&bytes).checksum(), 0);
    }
}
