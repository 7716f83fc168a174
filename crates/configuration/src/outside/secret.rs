//! Holds bytes that may contain a key. They are shared, never copied, shown in no output, and
//! wiped when the last reference is dropped.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Minimum initial capacity in bytes.
const ROOM_MIN: usize = 4096;

/// The bytes of a file with a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Creates a secret from these bytes, without a copy.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Arc::new(Zeroizing::new(bytes)))
    }

    /// Copies bytes whose other owner wipes them itself.
    pub fn copy(bytes: &[u8]) -> Secret {
        Secret::new(bytes.to_vec())
    }

    /// Reads to the end. Whenever the buffer has to grow, the old one is wiped.
    pub(super) fn read(from: &mut impl Read, room: usize) -> io::Result<Secret> {
        let mut bytes = Zeroizing::new(vec![0; room.max(ROOM_MIN)]);
        let mut length = 0;
        loop {
            if length == bytes.len() {
                let mut larger = Zeroizing::new(vec![0; bytes.len() * 2]);
                larger[..length].copy_from_slice(&bytes);
                bytes = larger;
            }
            match from.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes[length..].zeroize();
        bytes.truncate(length);
        Ok(Secret(Arc::new(bytes)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_any_length_is_read_and_not_shown() {
        for length in [0, 1, ROOM_MIN - 1, ROOM_MIN, ROOM_MIN + 1, 5 * ROOM_MIN] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let secret = Secret::read(&mut &bytes[..], 1).unwrap();
            assert_eq!(secret.bytes(), bytes);
        }
        let shown = format!("{:?}", Secret::copy(b"hunter2"));
        assert_eq!(shown, "Secret(7 bytes)");
    }
}
