//! Decodes the little-endian numbers of an on-disk record with bounds checks, and appends and
//! verifies the checksum at the end of the record.

use twox_hash::XxHash3_64;

pub(crate) const CHECKSUM_BYTES: usize = 8;

pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl Reader<'_> {
    pub(crate) fn array<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }
}

/// Appends the checksum of all preceding bytes.
pub(crate) fn seal(bytes: &mut Vec<u8>) {
    let checksum = XxHash3_64::oneshot(bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

/// Returns the bytes before the trailing checksum; None if it does not match.
pub(crate) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    (XxHash3_64::oneshot(content) == u64::from_le_bytes(*checksum)).then_some(content)
}
