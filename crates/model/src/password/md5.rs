//! Implements crypt(3) with MD5 (`$1$`): a thousand rounds over password, salt and the previous
//! round's result.

use md5::{Digest, Md5};

/// Digits of crypt(3), from 0 to 63.
pub const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const MAGIC: &[u8] = b"$1$";
const SALT_MAX: usize = 8;
const ROUNDS: usize = 1000;

/// Splits a hash that begins with `$1$` into its salt and the result behind the next dollar sign.
pub fn parts(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(MAGIC)?;
    let dollar = rest.iter().position(|b| *b == b'$')?;
    let (salt, result) = (&rest[..dollar], &rest[dollar + 1..]);
    (salt.len() <= SALT_MAX).then_some((salt, result))
}

/// Returns the 22 characters that follow the salt and its dollar sign.
pub fn crypt(password: &[u8], salt: &[u8]) -> [u8; 22] {
    let mut inner = Md5::new();
    for part in [password, salt, password] {
        inner.update(part);
    }
    let inner = inner.finalize();
    let mut first = Md5::new();
    for part in [password, MAGIC, salt] {
        first.update(part);
    }
    for at in 0..password.len() {
        first.update(&inner[at % 16..at % 16 + 1]);
    }
    let mut length = password.len();
    while length > 0 {
        // Hashes a zero byte for each bit of the length that is set, otherwise the first byte of
        // the password.
        let byte = if length & 1 == 1 { 0 } else { password[0] };
        first.update([byte]);
        length >>= 1;
    }
    let mut result = first.finalize();
    for n in 0..ROUNDS {
        let mut next = Md5::new();
        let (before, behind): (&[u8], &[u8]) = match n & 1 {
            1 => (password, &result),
            _ => (&result, password),
        };
        next.update(before);
        if n % 3 != 0 {
            next.update(salt);
        }
        if n % 7 != 0 {
            next.update(password);
        }
        next.update(behind);
        result = next.finalize();
    }
    encode(&result)
}

fn encode(result: &[u8]) -> [u8; 22] {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let byte = |at: usize| u32::from(result.get(at).copied().unwrap_or(0));
    let mut out = [0; 22];
    let mut put = |at: usize, mut bits: u32, digits: usize| {
        for place in &mut out[at..at + digits] {
            *place = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
        }
    };
    for (n, [high, middle, low]) in ORDER.into_iter().enumerate() {
        put(4 * n, byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    put(20, byte(11), 2);
    out
}
