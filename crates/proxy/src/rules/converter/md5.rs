//! The digest MD5 (RFC 1321), for signatures of programs that know nothing newer.
//! It keeps no secret and proves nothing.

/// Shifts of the four rounds.
const SHIFTS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The 64 numbers that are added: the whole part of 2^32 times the sine of 1 to 64.
static ADDED: std::sync::LazyLock<[u32; 64]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|n| (f64::from(n as u32 + 1).sin().abs() * 4_294_967_296.0) as u32)
});

fn block(state: &mut [u32; 4], block: &[u8; 64]) {
    let word = |n: usize| {
        let at = n * 4;
        u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
    };
    let [mut a, mut b, mut c, mut d] = *state;
    for n in 0..64 {
        let (mixed, from) = match n / 16 {
            0 => ((b & c) | (!b & d), n),
            1 => ((d & b) | (!d & c), (5 * n + 1) % 16),
            2 => (b ^ c ^ d, (3 * n + 5) % 16),
            _ => (c ^ (b | !d), (7 * n) % 16),
        };
        let sum = a
            .wrapping_add(mixed)
            .wrapping_add(ADDED[n])
            .wrapping_add(word(from));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(SHIFTS[n / 16][n % 4]));
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d]) {
        *old = old.wrapping_add(new);
    }
}

/// The digest of these parts, one behind the other.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut held = [0; 64];
    let (mut filled, mut length) = (0, 0_u64);
    let mut take = |bytes: &mut dyn Iterator<Item = u8>, filled: &mut usize| {
        for byte in bytes {
            held[*filled] = byte;
            *filled += 1;
            if *filled == held.len() {
                block(&mut state, &held);
                *filled = 0;
            }
        }
    };
    for part in parts {
        length = length.wrapping_add(part.len() as u64);
        take(&mut part.iter().copied(), &mut filled);
    }
    take(&mut std::iter::once(0x80), &mut filled);
    let zeros = (120 - filled) % 64;
    take(&mut std::iter::repeat_n(0, zeros), &mut filled);
    let bits = length.wrapping_mul(8).to_le_bytes();
    take(&mut bits.into_iter(), &mut filled);
    let mut out = [0; 16];
    for (chunk, word) in out.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_rfc_1321() {
        let rows = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (text, wanted) in rows {
            let hex: String = md5(&[text.as_bytes()])
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(hex, wanted, "{text}");
        }
        let long = [b'a'; 119];
        assert_eq!(md5(&[&long]), md5(&[&long[..55], &long[55..]]));
    }
}
