//! Encodes and decodes values on disk and between members, as MessagePack with field names. Unknown
//! fields are ignored; an optional field has `#[serde(default)]`.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes are not a valid encoding of the expected type.
#[derive(Debug, thiserror::Error)]
#[error("malformed: {0}")]
pub struct InvalidEncoding(rmp_serde::decode::Error);

/// Encodes a value.
///
/// # Panics
/// The value's own `Serialize` fails, which no type of this program does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value)
        .expect("writing to memory cannot fail, and all types can be serialised")
}

/// Decodes a value.
///
/// # Errors
/// The bytes are not an encoding of a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidEncoding> {
    rmp_serde::from_slice(bytes).map_err(InvalidEncoding)
}

/// Decodes a value from an unprivileged process: at most `bytes_max` bytes, nested at
/// most `depth_max` deep.
///
/// # Errors
/// A limit is exceeded, or the bytes are not an encoding of a `T`.
pub fn decode_within<T: DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    depth_max: usize,
) -> Result<T, InvalidEncoding> {
    if bytes.len() > bytes_max {
        let words = format!("{} bytes, more than {bytes_max}", bytes.len());
        return Err(InvalidEncoding(rmp_serde::decode::Error::Uncategorized(
            words,
        )));
    }
    let mut from = rmp_serde::Deserializer::from_read_ref(bytes);
    from.set_max_depth(depth_max);
    T::deserialize(&mut from).map_err(InvalidEncoding)
}
