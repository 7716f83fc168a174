//! Computes the hash of names and values with which an HPACK encoder finds table entries. It need
//! not resist attacks: a bucket has a fixed number of slots, so that a collision costs
//! compression and never time.

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

const fn fold(sum: u64, word: u64) -> u64 {
    let product = (sum ^ word).wrapping_mul(FACTOR);
    product ^ (product >> 32)
}

/// Hashes bytes eight at a time.
pub(super) const fn of(bytes: &[u8]) -> u32 {
    onto(0, bytes)
}

/// Continues a hash of preceding bytes.
pub(super) const fn onto(before: u32, bytes: &[u8]) -> u32 {
    let mut sum = fold(before as u64, bytes.len() as u64);
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        sum = fold(sum, u64::from_le_bytes(*chunk));
        rest = after;
    }
    // Reads four to seven remaining bytes as two words of four bytes that overlap.
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        sum = fold(sum, (first as u64) << 32 | last as u64);
    } else if let [first, .., last] = *rest {
        let middle = rest[rest.len() / 2];
        sum = fold(
            sum,
            (first as u64) << 16 | (middle as u64) << 8 | last as u64,
        );
    } else if let [only] = *rest {
        sum = fold(sum, only as u64);
    }
    sum as u32
}
