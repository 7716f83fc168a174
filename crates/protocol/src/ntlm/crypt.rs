//! Implements the hashes of NTLMv2 ([MS-NLMP] 3.3.2), and RC4, which encrypts its session key.

use hmac::{Hmac, KeyInit, Mac};
use md4::Md4;
use md5::{Digest, Md5};

/// Returns NTLM's hash of a password (NTOWFv1): the MD4 of its UTF-16.
pub fn nt_hash(password: &str) -> [u8; 16] {
    let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(wide).into()
}

/// Returns the key of a user's responses (NTOWFv2).
pub(super) fn response_key(nt_hash: &[u8; 16], user: &str, domain: &str) -> [u8; 16] {
    let upper = user.to_uppercase();
    let wide = upper.encode_utf16().chain(domain.encode_utf16());
    let wide: Vec<u8> = wide.flat_map(u16::to_le_bytes).collect();
    hmac_md5(nt_hash, &[&wide])
}

pub(super) fn hmac_md5(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Md5>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Returns the hash of a TLS connection's channel bindings (RFC 5929, `tls-server-end-point`),
/// computed from the hash of the server's certificate.
pub fn channel_hash(certificate_hash: &[u8]) -> [u8; 16] {
    const PREFIX: &[u8] = b"tls-server-end-point:";
    let length = u32::try_from(PREFIX.len() + certificate_hash.len()).unwrap_or(u32::MAX);
    let mut hash = Md5::new();
    hash.update([0; 16]);
    hash.update(length.to_le_bytes());
    hash.update(PREFIX);
    hash.update(certificate_hash);
    hash.finalize().into()
}

pub(super) fn rc4(key: &[u8; 16], bytes: &[u8; 16]) -> [u8; 16] {
    let mut state: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap_or_default());
    let mut j = 0_u8;
    for at in 0..256 {
        j = j.wrapping_add(state[at]).wrapping_add(key[at % 16]);
        state.swap(at, j.into());
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    bytes.map(|byte| {
        i = i.wrapping_add(1);
        j = j.wrapping_add(state[usize::from(i)]);
        state.swap(i.into(), j.into());
        let at = state[usize::from(i)].wrapping_add(state[usize::from(j)]);
        byte ^ state[usize::from(at)]
    })
}

pub(super) fn same(one: &[u8; 16], other: &[u8; 16]) -> bool {
    let differ = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differ) == 0
}
