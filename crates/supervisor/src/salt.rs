//! Generates the salt of a version: random bytes that only the supervisor and its role know. The
//! digest of the version's bundle includes them ([`crate::keep`]).

/// Length of a salt, in bytes.
pub const SALT_BYTES: usize = 32;

pub fn new_salt() -> Option<Vec<u8>> {
    let mut salt = vec![0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    Some(salt)
}
