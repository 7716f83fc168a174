//! XXH3 with 64 bits and a seed, as its specification has it: for short keys
//! multiplications of two words, for long ones eight lanes over stripes.

/// What the input is mixed with.
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

const P32: [u64; 3] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d];
const P64: [u64; 5] = super::hash::P64;
/// Bytes of a stripe, of which the secret has sixteen, one word apart.
const STRIPE: usize = 64;
const STRIPES_IN_BLOCK: usize = (SECRET.len() - STRIPE) / 8;
/// Lengths up to which there is a way of their own.
const SHORT_MAX: usize = 16;
const MIDDLE_MAX: usize = 128;
const LONG_MAX: usize = 240;

/// Eight bytes from a place on; 0 behind the end, which no caller asks for.
fn word(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(<[u8]>::first_chunk);
    eight.map_or(0, |eight| u64::from_le_bytes(*eight))
}

fn half(bytes: &[u8], at: usize) -> u64 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
    four.map_or(0, |four| u64::from(u32::from_le_bytes(*four)))
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 37;
    hash = hash.wrapping_mul(0x1656_6791_9e37_79f9);
    hash ^ (hash >> 32)
}

fn avalanche_of_64(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(P64[1]);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(P64[2]);
    hash ^ (hash >> 32)
}

/// The hash.
pub fn xxh3(bytes: &[u8], seed: u64) -> u64 {
    let length = bytes.len();
    if length <= SHORT_MAX {
        short(bytes, seed)
    } else if length <= MIDDLE_MAX {
        middle(bytes, seed)
    } else if length <= LONG_MAX {
        upper(bytes, seed)
    } else {
        long(bytes, seed)
    }
}

fn short(bytes: &[u8], seed: u64) -> u64 {
    let length = bytes.len() as u64;
    match bytes {
        [] => avalanche_of_64(seed ^ word(&SECRET, 56) ^ word(&SECRET, 64)),
        [first, .., last] | [first @ last] if bytes.len() < 4 => {
            let between = bytes[bytes.len() / 2];
            let joined =
                u64::from(*first) << 16 | u64::from(between) << 24 | u64::from(*last) | length << 8;
            let flip = (half(&SECRET, 0) ^ half(&SECRET, 4)).wrapping_add(seed);
            avalanche_of_64(joined ^ flip)
        }
        _ if bytes.len() <= 8 => {
            let seed = seed ^ u64::from((seed as u32).swap_bytes()) << 32;
            let joined = half(bytes, bytes.len() - 4).wrapping_add(half(bytes, 0) << 32);
            let flip = (word(&SECRET, 8) ^ word(&SECRET, 16)).wrapping_sub(seed);
            let mut hash = joined ^ flip;
            hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
            hash = hash.wrapping_mul(0x9fb2_1c65_1e98_df25);
            hash ^= (hash >> 35).wrapping_add(length);
            hash = hash.wrapping_mul(0x9fb2_1c65_1e98_df25);
            hash ^ (hash >> 28)
        }
        _ => {
            let first = (word(&SECRET, 24) ^ word(&SECRET, 32)).wrapping_add(seed);
            let second = (word(&SECRET, 40) ^ word(&SECRET, 48)).wrapping_sub(seed);
            let low = word(bytes, 0) ^ first;
            let high = word(bytes, bytes.len() - 8) ^ second;
            let sum = length.wrapping_add(low.swap_bytes()).wrapping_add(high);
            avalanche(sum.wrapping_add(fold(low, high)))
        }
    }
}

/// Sixteen bytes with sixteen of the secret.
fn mixed(bytes: &[u8], at: usize, secret_at: usize, seed: u64) -> u64 {
    fold(
        word(bytes, at) ^ word(&SECRET, secret_at).wrapping_add(seed),
        word(bytes, at + 8) ^ word(&SECRET, secret_at + 8).wrapping_sub(seed),
    )
}

fn middle(bytes: &[u8], seed: u64) -> u64 {
    let length = bytes.len();
    let mut sum = (length as u64).wrapping_mul(P64[0]);
    // From both ends to the middle.
    for n in 0..length.div_ceil(32) {
        let front = mixed(bytes, 16 * n, 32 * n, seed);
        let back = mixed(bytes, length - 16 * (n + 1), 32 * n + 16, seed);
        sum = sum.wrapping_add(front).wrapping_add(back);
    }
    avalanche(sum)
}

fn upper(bytes: &[u8], seed: u64) -> u64 {
    let length = bytes.len();
    let mut sum = (length as u64).wrapping_mul(P64[0]);
    for n in 0..8 {
        sum = sum.wrapping_add(mixed(bytes, 16 * n, 16 * n, seed));
    }
    sum = avalanche(sum);
    for n in 8..length / 16 {
        sum = sum.wrapping_add(mixed(bytes, 16 * n, 16 * (n - 8) + 3, seed));
    }
    avalanche(sum.wrapping_add(mixed(bytes, length - 16, 136 - 17, seed)))
}

fn accumulate(lanes: &mut [u64; 8], stripe: &[u8], secret: &[u8]) {
    for n in 0..8 {
        let data = word(stripe, 8 * n);
        let key = data ^ word(secret, 8 * n);
        lanes[n ^ 1] = lanes[n ^ 1].wrapping_add(data);
        lanes[n] = lanes[n].wrapping_add((key & 0xffff_ffff).wrapping_mul(key >> 32));
    }
}

fn long(bytes: &[u8], seed: u64) -> u64 {
    let mut secret = SECRET;
    for (n, eight) in secret.chunks_exact_mut(8).enumerate() {
        let own = word(&SECRET, 8 * n);
        let seeded = match n % 2 {
            0 => own.wrapping_add(seed),
            _ => own.wrapping_sub(seed),
        };
        eight.copy_from_slice(&seeded.to_le_bytes());
    }
    let mut lanes = [
        P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0],
    ];
    let last = bytes.len() - STRIPE;
    // The last byte is left for the last stripe, which may lap over the one before.
    let blocks = bytes[..bytes.len() - 1].chunks(STRIPE * STRIPES_IN_BLOCK);
    for block in blocks {
        for (n, stripe) in block.chunks_exact(STRIPE).enumerate() {
            accumulate(&mut lanes, stripe, &secret[8 * n..]);
        }
        if block.len() == STRIPE * STRIPES_IN_BLOCK {
            for (n, lane) in lanes.iter_mut().enumerate() {
                *lane ^= *lane >> 47;
                *lane ^= word(&secret, SECRET.len() - STRIPE + 8 * n);
                *lane = lane.wrapping_mul(P32[0]);
            }
        }
    }
    accumulate(
        &mut lanes,
        &bytes[last..],
        &secret[SECRET.len() - STRIPE - 7..],
    );
    let start = (bytes.len() as u64).wrapping_mul(P64[0]);
    let pairs = lanes.chunks_exact(2).enumerate();
    avalanche(pairs.fold(start, |sum, (n, pair)| {
        let first = pair[0] ^ word(&secret, 11 + 16 * n);
        let second = pair[1] ^ word(&secret, 11 + 16 * n + 8);
        sum.wrapping_add(fold(first, second))
    }))
}

#[cfg(test)]
mod tests {
    use super::xxh3;

    #[test]
    fn every_length_has_a_hash_of_its_own() {
        let bytes: Vec<u8> = (0..2500_u32).map(|n| (n * 7) as u8).collect();
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..bytes.len() {
            for seed in [0, 1, u64::MAX] {
                assert!(seen.insert(xxh3(&bytes[..length], seed)), "{length} {seed}");
            }
        }
    }

    #[test]
    fn known_results() {
        assert_eq!(xxh3(b"", 0), 0x2d06_8005_38d3_94c2);
    }
}
