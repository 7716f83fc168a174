//! Encodes and decodes the integers of the peers protocol: one byte up to 239, then four bits,
//! then seven bits per byte.

/// Maximum length of a 64-bit number in bytes.
pub const BYTES_MAX: usize = 10;

pub fn write(out: &mut Vec<u8>, n: u64) {
    if n < 240 {
        out.push(n as u8);
        return;
    }
    out.push(n as u8 | 0xf0);
    let mut rest = (n - 240) >> 4;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest = (rest - 128) >> 7;
    }
    out.push(rest as u8);
}

/// Parses the number at the start of some bytes, and returns the rest; None if it is incomplete.
pub fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut n = u64::from(*first);
    if n < 240 {
        return Some((n, rest));
    }
    let mut shift = 4;
    for _ in 1..BYTES_MAX {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        // Bits beyond 64 are ignored, because no valid number has them.
        n = n.wrapping_add(u64::from(*byte).checked_shl(shift).unwrap_or(0));
        if *byte < 128 {
            return Some((n, rest));
        }
        shift += 7;
    }
    None
}
