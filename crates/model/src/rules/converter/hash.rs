//! Implements the converters that hash values, for load distribution and for short keys. None of
//! them is cryptographically secure.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::value::{Sample, SampleValue, Type};
use crate::sample::hash::{CASTAGNOLI, avalanche, crc, crc32, djb2, sdbm, wt6};
use crate::transaction::ProxyStream;
use twox_hash::{XxHash3_64, XxHash32, XxHash64};

const fn hash(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Int, apply).takes(&[ArgumentKind::Int], 0)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "crc32[(<avalanche>)]", hash(|a, v, _| mixed(a, v, crc32)), "acl half src,crc32,even",
        "The CRC-32 of Ethernet and gzip. An argument of 1 mixes the bits further.";
    "crc32c[(<avalanche>)]",
        hash(|a, v, _| mixed(a, v, |bytes| crc(&CASTAGNOLI, bytes))), "acl half src,crc32c,even",
        "The CRC-32C (Castagnoli) of iSCSI. An argument of 1 mixes the bits further.";
    "djb2[(<avalanche>)]", hash(|a, v, _| mixed(a, v, djb2)), "acl half path,djb2(1),even",
        "Bernstein's 32-bit hash (djb2), suitable for text. An argument of 1 mixes the bits further.";
    "sdbm[(<avalanche>)]", hash(|a, v, _| mixed(a, v, sdbm)), "acl half path,sdbm(1),even",
        "The 32-bit hash of the sdbm library. An argument of 1 mixes the bits further.";
    "wt6[(<avalanche>)]", hash(|a, v, _| mixed(a, v, wt6)), "acl half path,wt6(1),even",
        "The 32-bit hash that `hash-type` calls wt6. An argument of 1 mixes the bits further.";
    "xxh32[(<seed>)]", hash(apply_xxh32), "acl half path,xxh32,even",
        "The XXH32 hash with a seed, by default 0.";
    "xxh64[(<seed>)]", hash(apply_xxh64), "acl half path,xxh64,even",
        "The XXH64 hash with a seed, by default 0. Numbers are signed, so half of the results are negative.";
    "xxh3[(<seed>)]", hash(apply_xxh3), "acl half path,xxh3,even",
        "The 64-bit XXH3 hash with a seed, by default 0. Numbers are signed, so half of the results are negative.";
};

fn mixed<'a>(arguments: &Arguments, value: SampleValue<'a>, hash: fn(&[u8]) -> u32) -> Sample<'a> {
    let hash = hash(&value.into_bytes()?);
    let mix = arguments.int(0).unwrap_or(0) != 0;
    Some(SampleValue::Int(
        (if mix { avalanche(hash) } else { hash }).into(),
    ))
}

fn apply_xxh32<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let seed = arguments.int(0).unwrap_or(0) as u32;
    Some(SampleValue::Int(
        XxHash32::oneshot(seed, &value.into_bytes()?).into(),
    ))
}

fn apply_xxh64<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let seed = arguments.int(0).unwrap_or(0) as u64;
    Some(SampleValue::Int(
        XxHash64::oneshot(seed, &value.into_bytes()?) as i64,
    ))
}

fn apply_xxh3<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let seed = arguments.int(0).unwrap_or(0) as u64;
    Some(SampleValue::Int(
        XxHash3_64::oneshot_with_seed(seed, &value.into_bytes()?) as i64,
    ))
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
        assert_eq!(XxHash32::oneshot(0, hello), 4_211_111_929);
        assert_eq!(XxHash32::oneshot(5, hello), 3_191_799_670);
        assert_eq!(
            XxHash64::oneshot(0, hello) as i64,
            2_794_345_569_481_354_659
        );
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn long_texts_go_through_the_lanes_of_xxh() {
        // Test value from the documentation of the reference implementation.
        let text = b"Nobody inspects the spammish repetition";
        assert_eq!(XxHash32::oneshot(0, text), 0xe229_3b2f);
        assert_eq!(XxHash64::oneshot(0, text), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn xxh3_of_every_range_of_lengths_and_with_seeds() {
        let bytes: Vec<u8> = (0..2500_u32).map(|n| (n * 7) as u8).collect();
        let rows = [
            (0, 0, 0x2d06_8005_38d3_94c2),
            (3, 1, 0xdc7e_936c_d5b1_f73a),
            (7, 2, 0xae2e_c709_1c2e_5813),
            (16, 3, 0xd16c_0917_20e3_e6d9),
            (17, 0, 0xf34c_3c9c_f5a1_12d1),
            (128, 5, 0x690c_e85d_24ed_557f),
            (129, 6, 0x511a_38ea_cdce_18ef),
            (240, 7, 0x76fd_a3c8_cdc8_864b),
            (241, 0, 0x541b_1922_6f00_52e8),
            (241, 8, 0xaf5a_e1df_1793_730f),
            (1024, 9, 0xae8d_1026_fdc2_9354),
            (2500, u64::MAX, 0x5890_80f9_7085_eebd),
        ];
        for (length, seed, wanted) in rows {
            let hash = XxHash3_64::oneshot_with_seed(seed, &bytes[..length]);
            assert_eq!(hash, wanted, "{length} {seed}");
        }
    }
}
