//! Reads and writes frames: a length (four bytes, most significant first) and an encoded value.

use crate::NodeConnectionError;
use part::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Writes a value. The written data may wait for a flush.
///
/// # Errors
/// A network error, or the value is too long for the length field.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &impl Serialize,
) -> Result<(), NodeConnectionError> {
    let bytes = codec::encode(value);
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge);
    let length = length.map_err(io::Error::from)?.to_be_bytes();
    // Writes in one call, because each write becomes a TLS record.
    stream.write_all(&[&length[..], &bytes].concat()).await?;
    Ok(())
}

/// Reads a value of at most `bytes_max` bytes, with values nested at most `depth_max` deep.
///
/// # Errors
/// A network error, or the value is longer, nested deeper, or of another type.
pub async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
    depth_max: usize,
) -> Result<T, NodeConnectionError> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(NodeConnectionError::Refused(format!(
            "a frame of {length} bytes"
        )));
    }
    // Allocates memory only as the announced bytes arrive.
    let mut bytes = Vec::new();
    let mut rest = stream.take(u64::try_from(length).unwrap_or(u64::MAX));
    rest.read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(&bytes, bytes_max, depth_max)
}

/// Decodes a value of at most `bytes_max` bytes, with values nested at most `depth_max` deep.
///
/// # Errors
/// The value is longer, nested deeper, or of another type.
pub fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    depth_max: usize,
) -> Result<T, NodeConnectionError> {
    let value = codec::decode_within(bytes, bytes_max, depth_max);
    value.map_err(|error| NodeConnectionError::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Random;

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap()
    }

    fn encoded(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        runtime().block_on(write(&mut bytes, value)).unwrap();
        bytes
    }

    fn decoded(mut bytes: &[u8]) -> Result<Vec<String>, NodeConnectionError> {
        runtime().block_on(read(&mut bytes, 1_000, 8))
    }

    #[test]
    fn a_value_is_the_same_at_the_other_end() {
        let value = vec!["one".to_owned(), "n".repeat(900)];
        let bytes = encoded(&value);
        assert_eq!(bytes[..2], [0, 0]);
        assert_eq!(decoded(&bytes).unwrap(), value);
    }

    #[test]
    fn what_is_too_long_cut_or_no_value_is_refused() {
        let long = encoded(&vec!["n".repeat(1_001)]);
        assert!(matches!(
            decoded(&long),
            Err(NodeConnectionError::Refused(_))
        ));
        assert!(matches!(
            decoded(&[0xff; 8]),
            Err(NodeConnectionError::Refused(_))
        ));
        assert!(matches!(
            decoded(&[0, 0, 0, 9, 1]),
            Err(NodeConnectionError::Gone(_))
        ));
        let good = encoded(&vec!["office".to_owned(); 3]);
        for seed in 0..5_000 {
            let mut random = Random::new(seed);
            let mut bytes = good.clone();
            let at = random.index(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
            bytes.truncate(random.index(bytes.len() + 1));
            // Decoding must end, whatever the result.
            let _ = decoded(&bytes);
        }
    }
}
