//! Hashes for sharing out and for short keys. None of them keeps a secret.

use super::xxh3::xxh3;
use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Arguments, Kind};
use crate::rules::value::{Type, Value};
use crate::stream::Stream;

const fn hash(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Int, apply).takes(&[Kind::Int], 0)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "crc32", "crc32[(<avalanche>)]", hash(apply_crc32), "acl half src,crc32,even",
        "The CRC of 32 bits that Ethernet and gzip use. With an argument of 1 its bits are mixed further.";
    "crc32c", "crc32c[(<avalanche>)]", hash(apply_crc32c), "acl half src,crc32c,even",
        "The CRC of 32 bits of Castagnoli, which iSCSI uses. With an argument of 1 its bits are mixed further.";
    "djb2", "djb2[(<avalanche>)]", hash(apply_djb2), "acl half path,djb2(1),even",
        "The hash of 32 bits of Bernstein, which suits text. With an argument of 1 its bits are mixed further.";
    "sdbm", "sdbm[(<avalanche>)]", hash(apply_sdbm), "acl half path,sdbm(1),even",
        "The hash of 32 bits of the sdbm library. With an argument of 1 its bits are mixed further.";
    "wt6", "wt6[(<avalanche>)]", hash(apply_wt6), "acl half path,wt6(1),even",
        "The hash of 32 bits that `hash-type` calls wt6. With an argument of 1 its bits are mixed further.";
    "xxh32", "xxh32[(<seed>)]", hash(apply_xxh32), "acl half path,xxh32,even",
        "The hash XXH32 with a seed, 0 without an argument.";
    "xxh64", "xxh64[(<seed>)]", hash(apply_xxh64), "acl half path,xxh64,even",
        "The hash XXH64 with a seed, 0 without an argument. As numbers have a sign, half of its results are negative.";
    "xxh3", "xxh3[(<seed>)]", hash(apply_xxh3), "acl half path,xxh3,even",
        "The hash XXH3 of 64 bits with a seed, 0 without an argument. As numbers have a sign, half of its results are negative.";
};

/// Mixes the bits of a hash so that each depends on all: the full avalanche
/// of six shifts by Bob Jenkins, and a multiplication by a number near three
/// quarters of the range.
pub fn avalanche(hash: u32) -> u32 {
    let mut a = hash.wrapping_add(0x7ed5_5d16).wrapping_add(hash << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

/// The hash of the sdbm library.
pub fn sdbm(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |hash: u32, byte| {
        u32::from(*byte)
            .wrapping_add(hash << 6)
            .wrapping_add(hash << 16)
            .wrapping_sub(hash)
    })
}

/// The hash of Bernstein.
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
static CASTAGNOLI: [u32; 256] = crc_table(0x82f6_3b78);

fn crc(table: &[u32; 256], bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

/// The CRC of Ethernet.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc(&IEEE, bytes)
}

const P32: [u32; 5] = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
];

/// XXH32.
pub fn xxh32(bytes: &[u8], seed: u32) -> u32 {
    let [p1, p2, p3, p4, p5] = P32;
    let word = |b: &[u8]| {
        b.iter()
            .rev()
            .fold(0, |n, byte| (n << 8) | u32::from(*byte))
    };
    let stripes = bytes.chunks_exact(16);
    let mut rest = stripes.remainder();
    let mut hash = if bytes.len() >= 16 {
        let mut lanes = [
            seed.wrapping_add(p1).wrapping_add(p2),
            seed.wrapping_add(p2),
            seed,
            seed.wrapping_sub(p1),
        ];
        for stripe in stripes {
            for (lane, chunk) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                *lane = lane
                    .wrapping_add(word(chunk).wrapping_mul(p2))
                    .rotate_left(13)
                    .wrapping_mul(p1);
            }
        }
        let [a, b, c, d] = lanes;
        a.rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    } else {
        seed.wrapping_add(p5)
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    while let Some((chunk, after)) = rest.split_at_checked(4) {
        hash = hash
            .wrapping_add(word(chunk).wrapping_mul(p3))
            .rotate_left(17)
            .wrapping_mul(p4);
        rest = after;
    }
    for byte in rest {
        hash = hash
            .wrapping_add(u32::from(*byte).wrapping_mul(p5))
            .rotate_left(11)
            .wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(p3);
    hash ^ (hash >> 16)
}

pub(super) const P64: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

/// XXH64.
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let [p1, p2, p3, p4, p5] = P64;
    let word = |b: &[u8]| {
        b.iter()
            .rev()
            .fold(0, |n, byte| (n << 8) | u64::from(*byte))
    };
    let round = |lane: u64, input: u64| {
        lane.wrapping_add(input.wrapping_mul(p2))
            .rotate_left(31)
            .wrapping_mul(p1)
    };
    let stripes = bytes.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut hash = if bytes.len() >= 32 {
        let mut lanes = [
            seed.wrapping_add(p1).wrapping_add(p2),
            seed.wrapping_add(p2),
            seed,
            seed.wrapping_sub(p1),
        ];
        for stripe in stripes {
            for (lane, chunk) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(chunk));
            }
        }
        let [a, b, c, d] = lanes;
        let joined = a
            .rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18));
        lanes.iter().fold(joined, |hash, lane| {
            (hash ^ round(0, *lane)).wrapping_mul(p1).wrapping_add(p4)
        })
    } else {
        seed.wrapping_add(p5)
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((chunk, after)) = rest.split_at_checked(8) {
        hash = (hash ^ round(0, word(chunk)))
            .rotate_left(27)
            .wrapping_mul(p1)
            .wrapping_add(p4);
        rest = after;
    }
    if let Some((chunk, after)) = rest.split_at_checked(4) {
        hash = (hash ^ word(chunk).wrapping_mul(p1))
            .rotate_left(23)
            .wrapping_mul(p2)
            .wrapping_add(p3);
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5))
            .rotate_left(11)
            .wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}

/// The hash of a value, its bits mixed where the argument is not 0.
fn mixed<'a>(arguments: &Arguments, value: Value<'a>, hash: fn(&[u8]) -> u32) -> Option<Value<'a>> {
    let hash = hash(&value.into_bytes()?);
    let mix = arguments.int(0).unwrap_or(0) != 0;
    Some(Value::Int(
        (if mix { avalanche(hash) } else { hash }).into(),
    ))
}

fn apply_crc32<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    mixed(arguments, value, crc32)
}

fn apply_crc32c<'a>(
    arguments: &'a Arguments,
    value: Value<'a>,
    _: &'a Stream,
) -> Option<Value<'a>> {
    mixed(arguments, value, |bytes| crc(&CASTAGNOLI, bytes))
}

fn apply_djb2<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    mixed(arguments, value, djb2)
}

fn apply_sdbm<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    mixed(arguments, value, sdbm)
}

/// The hash that was made for HAProxy's `hash-type wt6`: two words, each turned by
/// what the other one came to.
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

fn apply_wt6<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    mixed(arguments, value, wt6)
}

fn apply_xxh32<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    let seed = arguments.int(0).unwrap_or(0) as u32;
    Some(Value::Int(xxh32(&value.into_bytes()?, seed).into()))
}

fn apply_xxh64<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    let seed = arguments.int(0).unwrap_or(0) as u64;
    Some(Value::Int(xxh64(&value.into_bytes()?, seed) as i64))
}

fn apply_xxh3<'a>(arguments: &'a Arguments, value: Value<'a>, _: &'a Stream) -> Option<Value<'a>> {
    let seed = arguments.int(0).unwrap_or(0) as u64;
    Some(Value::Int(xxh3(&value.into_bytes()?, seed) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_haproxy_prints() {
        let hello = b"hello";
        assert_eq!(crc32(hello), 907_060_870);
        assert_eq!(avalanche(crc32(hello)), 3_902_247_103);
        assert_eq!(crc(&CASTAGNOLI, hello), 2_591_144_780);
        assert_eq!(djb2(hello), 261_238_937);
        assert_eq!(avalanche(djb2(hello)), 1_119_739_105);
        assert_eq!(sdbm(hello), 684_824_882);
        assert_eq!(xxh32(hello, 0), 4_211_111_929);
        assert_eq!(xxh32(hello, 5), 3_191_799_670);
        assert_eq!(xxh64(hello, 0) as i64, 2_794_345_569_481_354_659);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn long_texts_go_through_the_lanes_of_xxh() {
        // From the reference implementation's documentation of its test values.
        let text = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh32(text, 0), 0xe229_3b2f);
        assert_eq!(xxh64(text, 0), 0xfbce_a83c_8a37_8bf1);
    }
}
