//! What two nodes say to each other: a greeting of eight bytes, then frames of a length (four bytes, most
//! significant first) and a value.

use crate::agreement::Message;
use crate::directory::Origin;
use part::codec;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of what is said. Nodes with another one do not share their directories.
pub(super) const VERSION: u16 = 1;
/// How a greeting begins.
const MAGIC: &[u8; 4] = b"EKFM";
/// Bytes of a frame.
const FRAME_BYTES_MAX: usize = 512 << 10;
/// How deep values may stand in each other.
const DEPTH_MAX: usize = 16;
/// Farms of a node.
const FARMS_MAX: usize = 16;
/// Bytes of the name of a farm.
const NAME_BYTES_MAX: usize = 64;

/// One thing that a node says to another one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    /// The farms of the sender, with their directories; again whenever they change.
    Farms(Vec<(String, Origin)>),
    /// A message of one directory to another one.
    Farm {
        /// The directory of the sender.
        from: Origin,
        /// That of the receiver.
        to: Origin,
        /// What it says.
        message: Message,
    },
    /// The sender is there.
    Ping,
    /// The sender stops: nobody has to wait for it.
    Leave,
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
    #[error("it does not speak the protocol of farms")]
    Foreign,
    /// It is of another program.
    #[error(
        "it speaks version {0} of the protocol, and this node version {VERSION}: each decides alone until both have the same program"
    )]
    Version(u16),
    /// What it says has no bounds or no sense.
    #[error("refused: {0}")]
    Refused(String),
    /// It stops.
    #[error("it has stopped")]
    Left,
    /// This node has ended it.
    #[error("{0}")]
    Cut(String),
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
    frame: &Frame,
) -> Result<(), Broken> {
    let bytes = codec::encode(frame);
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge);
    let length = length.map_err(io::Error::from)?.to_be_bytes();
    stream.write_all(&length).await?;
    stream.write_all(&bytes).await?;
    Ok(())
}

pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Frame, Broken> {
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
    let frame: Frame = frame.map_err(|error| Broken::Refused(error.to_string()))?;
    match &frame {
        Frame::Farms(farms) if farms.len() > FARMS_MAX => {
            Err(Broken::Refused("too many farms".to_owned()))
        }
        Frame::Farms(farms) if farms.iter().any(|(name, _)| name.len() > NAME_BYTES_MAX) => {
            Err(Broken::Refused("a farm with a long name".to_owned()))
        }
        _ => Ok(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Random;

    fn decoded(bytes: &[u8]) -> Result<Frame, Broken> {
        let mut from = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read(&mut from))
    }

    fn encoded(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(write(&mut bytes, frame)).unwrap();
        bytes
    }

    #[test]
    fn a_frame_is_the_same_at_the_other_end() {
        for frame in [
            Frame::Farms(vec![("office".to_owned(), Origin(7))]),
            Frame::Ping,
            Frame::Farm {
                from: Origin(1),
                to: Origin(2),
                message: Message::Whole,
            },
        ] {
            assert_eq!(decoded(&encoded(&frame)).unwrap(), frame);
        }
    }

    #[test]
    fn broken_frames_are_refused_and_take_no_memory() {
        let good = encoded(&Frame::Farms(vec![("office".to_owned(), Origin(7)); 3]));
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
        let many = Frame::Farms(vec![("a".to_owned(), Origin(1)); 17]);
        assert!(matches!(decoded(&encoded(&many)), Err(Broken::Refused(_))));
        let long = Frame::Farms(vec![("a".repeat(65), Origin(1))]);
        assert!(matches!(decoded(&encoded(&long)), Err(Broken::Refused(_))));
    }

    #[test]
    fn another_version_is_refused_with_the_reason() {
        assert!(greeted(greeting()).is_ok());
        let mut newer = greeting();
        newer[5] = 9;
        let words = greeted(newer).unwrap_err().to_string();
        assert!(
            words.starts_with("it speaks version 9 of the protocol"),
            "{words}"
        );
        assert!(matches!(greeted(*b"GET / HT"), Err(Broken::Foreign)));
    }
}
