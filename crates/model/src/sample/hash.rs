//! Implements hashes of 32 bits for load distribution. None of them is cryptographically secure.

/// Mixes the bits of a hash so that each depends on all others. Uses the full avalanche of six
/// shifts by Bob Jenkins, and a multiplication by a number near three quarters of the range.
pub fn avalanche(hash: u32) -> u32 {
    let mut a = hash.wrapping_add(0x7ed5_5d16).wrapping_add(hash << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

pub fn sdbm(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |hash: u32, byte| {
        u32::from(*byte)
            .wrapping_add(hash << 6)
            .wrapping_add(hash << 16)
            .wrapping_sub(hash)
    })
}

/// Returns the hash of Daniel J. Bernstein (djb2).
pub fn djb2(bytes: &[u8]) -> u32 {
    bytes.iter().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    })
}

const fn crc_table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ polynomial
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

static IEEE: [u32; 256] = crc_table(0xedb8_8320);
pub(crate) static CASTAGNOLI: [u32; 256] = crc_table(0x82f6_3b78);

pub(crate) fn crc(table: &[u32; 256], bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

/// Returns the CRC-32 of Ethernet.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc(&IEEE, bytes)
}

/// Returns the hash of HAProxy's `hash-type wt6`, which combines two words, each rotated by the
/// value of the other.
pub fn wt6(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut left, mut right) = (6, 18);
    for byte in bytes {
        let byte = u32::from(*byte);
        let (turned, added) = (!(a ^ byte), !b.wrapping_add(byte));
        (a, b) = (added.rotate_left(left), turned.rotate_left(right));
        let mixed = ((a >> 16) ^ b) & 0xffff;
        (left, right) = (mixed & 0x1f, mixed >> 11);
    }
    a ^ b
}
