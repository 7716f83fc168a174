//! Defines the MAC address of a network card: parses, formats, validates and hashes it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Address of an Ethernet card, by which a machine is known before any system runs on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

/// Error: the text is no MAC address.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a MAC address: six pairs of hexadecimal digits, such as 52:54:00:12:34:56")]
pub struct MacParseError;

impl Mac {
    /// Returns whether a network card can have the address: it is neither zero nor a group address.
    pub fn is_of_a_card(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Formats the address for a file name: `52-54-00-12-34-56`.
    pub fn dashed(self) -> String {
        let [a, b, c, d, e, f] = self.0;
        format!("{a:02x}-{b:02x}-{c:02x}-{d:02x}-{e:02x}-{f:02x}")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl FromStr for Mac {
    type Err = MacParseError;

    /// Parses pairs of digits, with `:` or `-` between them.
    ///
    /// # Errors
    ///
    /// The text is something else.
    fn from_str(text: &str) -> Result<Mac, MacParseError> {
        let mut mac = [0; 6];
        let between = if text.contains('-') { '-' } else { ':' };
        let mut pairs = text.split(between);
        for byte in &mut mac {
            let pair = pairs
                .next()
                .filter(|pair| pair.len() == 2)
                .ok_or(MacParseError)?;
            let is_digits = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let pair = is_digits
                .then(|| u8::from_str_radix(pair, 16))
                .ok_or(MacParseError)?;
            *byte = pair.map_err(|_| MacParseError)?;
        }
        match pairs.next() {
            None => Ok(Mac(mac)),
            Some(_) => Err(MacParseError),
        }
    }
}

/// Computes a short hash of a MAC address, for lists of many machines. Two addresses may have the
/// same hash.
pub fn mark(mac: Mac) -> u32 {
    // Uses FNV-1a; any hash is suitable that is the same on all nodes.
    mac.0.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_six_pairs_of_digits() {
        let mac = Mac([0x52, 0x54, 0, 0, 0, 0xaf]);
        for text in ["52:54:00:00:00:af", "52-54-00-00-00-AF"] {
            assert_eq!(text.parse(), Ok(mac));
        }
        assert_eq!(mac.to_string(), "52:54:00:00:00:af");
        assert_eq!(mac.dashed(), "52-54-00-00-00-af");
        for text in [
            "",
            "52:54:00:00:00",
            "52:54:00:00:00:af:01",
            "52:54:00:00:00:a",
            "52:54:0:00:00:af",
            "52:54:00:00:00:+f",
            "5254000000af",
            "52:54-00:00:00:af",
            "52:54:00:00:00:äf",
            "gg:54:00:00:00:00",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(MacParseError), "{text}");
        }
        assert!(mac.is_of_a_card());
        assert!(!Mac([0; 6]).is_of_a_card() && !Mac([0xff; 6]).is_of_a_card());
    }
}
