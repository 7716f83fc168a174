//! How values become bytes, on disk and between members: MessagePack with the
//! names of fields. A field that is not known is passed over; a field that may be
//! missing says so with `#[serde(default)]`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;

/// Bytes are no value of the wanted kind.
#[derive(Debug)]
pub struct Malformed(rmp_serde::decode::Error);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not what it should be: {}", self.0)
    }
}

impl Error for Malformed {}

/// The bytes of a value.
///
/// # Panics
/// Where the value's own `Serialize` fails, which none of ours does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("memory takes all, and our types serialise")
}

/// The value of bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    rmp_serde::from_slice(bytes).map_err(Malformed)
}
