//! Returns random bytes, for keys, secrets and tokens.

use aws_lc_rs::rand;

/// Returns random bytes.
///
/// # Errors
/// The system has no random numbers.
pub fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    match rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err("the system has no random numbers".to_owned()),
    }
}
