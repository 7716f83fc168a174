//! Parses, negotiates and writes the text keys of an iSCSI connection (RFC 7143, section 6):
//! `key=value`, each terminated by a zero byte.

use super::pdu::{DATA_BYTES_MAX, IscsiError};

const TEXT_BYTES_MAX: usize = 16 << 10;
const KEYS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 63;

/// Negotiated parameters of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// Longest data segment that the initiator accepts, bytes (MaxRecvDataSegmentLength).
    pub receives: usize,
    /// Longest sequence of data, bytes (MaxBurstLength).
    pub burst: usize,
    /// Longest unsolicited data of a write, bytes (FirstBurstLength).
    pub first_burst: usize,
    /// True if unsolicited data is limited to the PDU of the command (InitialR2T).
    pub initial_r2t: bool,
    /// True if the PDU of a command may have data (ImmediateData).
    pub immediate: bool,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            receives: 8192,
            burst: DATA_BYTES_MAX,
            first_burst: 64 << 10,
            initial_r2t: true,
            immediate: true,
        }
    }
}

pub fn add(text: &mut Vec<u8>, key: &str, value: &str) {
    for part in [key, "=", value, "\0"] {
        text.extend_from_slice(part.as_bytes());
    }
}

/// Appends the data of a PDU to a text that extends over several PDUs.
///
/// # Errors
///
/// The text is longer than 16 KiB.
pub fn collect(all: &mut Vec<u8>, part: &[u8]) -> Result<(), IscsiError> {
    if all.len() + part.len() > TEXT_BYTES_MAX {
        return Err(IscsiError::Protocol("a negotiation that is too long"));
    }
    all.extend_from_slice(part);
    Ok(())
}

/// Parses the keys of a text.
///
/// # Errors
///
/// A key is malformed or longer than 63 bytes, or there are more than 64 keys.
pub fn parse(text: &[u8]) -> Result<Vec<(&str, &str)>, IscsiError> {
    let wrong = || IscsiError::Protocol("a malformed key");
    let pairs = text
        .split(|byte| *byte == 0)
        .filter(|pair| !pair.is_empty());
    let mut keys = Vec::new();
    for pair in pairs {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX || keys.len() >= KEYS_MAX {
            return Err(wrong());
        }
        keys.push((key, value));
    }
    Ok(keys)
}

fn offers(value: &str, one: &str) -> bool {
    value.split(',').any(|offered| offered == one)
}

fn number(value: &str) -> Option<u64> {
    match value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"))
    {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

impl Parameters {
    /// Applies a key of the initiator. Returns the value for the response, or None if the response
    /// does not have the key. The value for an unknown key is `NotUnderstood`.
    ///
    /// # Errors
    ///
    /// The value is invalid for the key.
    pub fn take(&mut self, key: &str, value: &str) -> Result<Option<String>, IscsiError> {
        let wrong = IscsiError::Protocol("an impossible value of a key");
        let yes = |is: bool| Some(if is { "Yes" } else { "No" }.to_owned());
        let asked = match value {
            "Yes" => Some(true),
            "No" => Some(false),
            _ => None,
        };
        let size = |least: u64| number(value).filter(|size| (least..1 << 24).contains(size));
        let bounded = |least: u64, own: usize| {
            size(least).map(|size| own.min(usize::try_from(size).unwrap_or(own)))
        };
        Ok(match key {
            "HeaderDigest" | "DataDigest" => {
                if offers(value, "None") {
                    Some("None".to_owned())
                } else {
                    Some("Reject".to_owned())
                }
            }
            "InitialR2T" => {
                self.initial_r2t = asked.ok_or(wrong)?;
                yes(self.initial_r2t)
            }
            "ImmediateData" => {
                self.immediate = asked.ok_or(wrong)?;
                yes(self.immediate)
            }
            "DataPDUInOrder" | "DataSequenceInOrder" => yes(true),
            "IFMarker" | "OFMarker" => yes(false),
            "IFMarkInt" | "OFMarkInt" => Some("Irrelevant".to_owned()),
            "MaxRecvDataSegmentLength" => {
                self.receives = bounded(512, DATA_BYTES_MAX).ok_or(wrong)?;
                None
            }
            "MaxBurstLength" => {
                self.burst = bounded(512, DATA_BYTES_MAX).ok_or(wrong)?;
                self.first_burst = self.first_burst.min(self.burst);
                Some(self.burst.to_string())
            }
            "FirstBurstLength" => {
                let own = Parameters::default().first_burst.min(self.burst);
                self.first_burst = bounded(512, own).ok_or(wrong)?;
                Some(self.first_burst.to_string())
            }
            "MaxConnections" | "MaxOutstandingR2T" => Some("1".to_owned()),
            "DefaultTime2Wait" => {
                let wait = number(value).filter(|wait| *wait <= 3600).ok_or(wrong)?;
                Some(wait.to_string())
            }
            "DefaultTime2Retain" | "ErrorRecoveryLevel" => Some("0".to_owned()),
            "TaskReporting" => Some("RFC3720".to_owned()),
            "iSCSIProtocolLevel" => Some("1".to_owned()),
            // Returns no value for the keys that identify the initiator and the target: the caller
            // evaluates them.
            "InitiatorName" | "InitiatorAlias" | "SessionType" | "TargetName" | "AuthMethod" => {
                None
            }
            _ => Some("NotUnderstood".to_owned()),
        })
    }
}
