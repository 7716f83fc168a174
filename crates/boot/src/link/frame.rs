//! What two nodes say to each other: a greeting of eight bytes, then frames of a length (four bytes, most
//! significant first) and a value.

use crate::dhcp::mirror::Told;
use part::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of what is said. Nodes with another one do not know each other's leases.
pub(super) const VERSION: u16 = 1;
/// How a greeting begins.
const MAGIC: &[u8; 4] = b"EKBT";
/// Bytes of a frame: of as many changes as a message has, and more.
const FRAME_BYTES_MAX: usize = 512 << 10;
/// How deep values may stand in each other.
const DEPTH_MAX: usize = 16;

/// What the holder of parts says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) enum Says {
    /// Of a part of a network.
    Told {
        /// The name of the network's section.
        network: String,
        /// What.
        told: Told,
    },
    /// It is there.
    Ping,
}

/// What it hears.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) enum Hears {
    /// All up to this is on the disk of the other node.
    Known {
        /// The name of the network's section.
        network: String,
        /// The part.
        part: usize,
        /// The epoch of its holder.
        epoch: u64,
        /// The number of the last message.
        number: u64,
    },
    /// The other node is there.
    Ping,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The network.
    #[error("{}", language::reason(.0))]
    Gone(#[from] io::Error),
    /// It says nothing any more.
    #[error("it does not respond")]
    Silent,
    /// It does not speak this protocol.
    #[error("it does not speak the protocol of leases")]
    Foreign,
    /// It is of another program.
    #[error("it speaks version {0} of the protocol, and this node version {VERSION}")]
    Version(u16),
    /// What it says has no bounds or no sense.
    #[error("refused: {0}")]
    Refused(String),
}

/// The greeting of this program.
pub(super) fn greeting() -> [u8; 8] {
    let [high, low] = VERSION.to_be_bytes();
    let [a, b, c, d] = *MAGIC;
    [a, b, c, d, high, low, 0, 0]
}

/// Judges the greeting of the other side.
pub(super) fn greeted(greeting: [u8; 8]) -> Result<(), Broken> {
    let [a, b, c, d, high, low, ..] = greeting;
    if [a, b, c, d] != *MAGIC {
        return Err(Broken::Foreign);
    }
    match u16::from_be_bytes([high, low]) {
        VERSION => Ok(()),
        other => Err(Broken::Version(other)),
    }
}

pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &impl Serialize,
) -> Result<(), Broken> {
    let bytes = codec::encode(frame);
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge);
    let length = length.map_err(io::Error::from)?.to_be_bytes();
    stream.write_all(&length).await?;
    stream.write_all(&bytes).await?;
    Ok(())
}

pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<T, Broken> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(Broken::Refused(format!("a frame of {length} bytes")));
    }
    // What was announced takes memory only as it comes.
    let mut bytes = Vec::new();
    let mut rest = stream.take(u64::try_from(length).unwrap_or(u64::MAX));
    rest.read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let frame = codec::decode_within(&bytes, FRAME_BYTES_MAX, DEPTH_MAX);
    frame.map_err(|error| Broken::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::mirror::{CHANGES_MAX, Said};
    use crate::dhcp::pool::{Change, Holder};
    use crate::mac::Mac;
    use lab::Random;
    use std::net::{IpAddr, Ipv6Addr};

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap()
    }

    fn encoded(frame: &Says) -> Vec<u8> {
        let mut bytes = Vec::new();
        runtime().block_on(write(&mut bytes, frame)).unwrap();
        bytes
    }

    fn decoded(mut bytes: &[u8]) -> Result<Says, Broken> {
        runtime().block_on(read(&mut bytes))
    }

    fn told(count: usize) -> Says {
        let change = |number: usize| Change {
            address: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - number as u128)),
            holder: Holder::Client(Mac([0xfe; 6])),
        };
        Says::Told {
            network: "n".repeat(64),
            told: Told {
                part: 63,
                epoch: u64::MAX,
                number: u64::MAX,
                said: Said::Changes((0..count).map(change).collect()),
            },
        }
    }

    #[test]
    fn a_frame_is_the_same_at_the_other_end_and_has_room_for_the_longest_message() {
        for frame in [Says::Ping, told(0), told(3), told(CHANGES_MAX)] {
            assert_eq!(decoded(&encoded(&frame)).unwrap(), frame);
        }
    }

    #[test]
    fn broken_frames_are_refused_and_take_no_memory() {
        let good = encoded(&told(5));
        for seed in 0..5_000 {
            let mut random = Random::new(seed);
            let mut bytes = good.clone();
            let at = random.index(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
            bytes.truncate(random.index(bytes.len() + 1));
            // Whatever comes of it, it comes to an end.
            let _ = decoded(&bytes);
        }
        assert!(matches!(decoded(&[0xff; 8]), Err(Broken::Refused(_))));
    }

    #[test]
    fn another_version_is_refused_with_the_reason() {
        assert!(greeted(greeting()).is_ok());
        let mut newer = greeting();
        newer[5] = 9;
        let words = greeted(newer).unwrap_err().to_string();
        assert!(words.starts_with("it speaks version 9"), "{words}");
        assert!(matches!(greeted(*b"GET / HT"), Err(Broken::Foreign)));
    }
}
