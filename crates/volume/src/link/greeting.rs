//! Encodes and exchanges the greetings of two nodes, the first message of each on a replication
//! connection. A greeting names the volume, the sender and the sender's replica. They are exchanged
//! on blocking sockets with a deadline, before the connection enters the volume's event loop.

use super::frame::checksum;
use crate::replica::VolumeId;
use part::codec;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use wire::HandshakeError;

/// Magic number of a replication link.
const MAGIC: [u8; 8] = *b"EVLINK01";
const COPY_MAGIC: [u8; 8] = *b"EVCOPY01";
const GREETING_BYTES_MAX: usize = 1024;
/// Magic number, length and checksum.
const HEAD_BYTES: usize = 8 + 4 + 8;

/// Properties of a replica that its node sends before the replicas start their own handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReplicaProperties {
    /// Identifier of the replica's volume. None if the replica never belonged to a volume.
    pub volume: Option<VolumeId>,
    pub size_bytes: u64,
}

/// Greeting for a replication link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Greeting {
    pub volume: String,
    pub from: String,
    pub to: String,
    pub facts: ReplicaProperties,
}

/// Greeting of a node that writes a whole volume of another node. The response is the first frame
/// of [`crate::copy`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyGreeting {
    pub volume: String,
    pub from: String,
    pub to: String,
    /// Identifier of the command, the same on all of its connections.
    pub run: u64,
}

/// First message of a node that dials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    Link(Greeting),
    Copy(CopyGreeting),
}

/// Reason why a greeting failed.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the other side does not use the volume protocol, or uses another version")]
    Foreign,
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("the other side uses TLS: `plain` must be set on both nodes, or on neither")]
    UsesTls,
    #[error("the other side ended the TLS handshake: it may be configured with `plain`")]
    NoTls,
    #[error("the other side has no certificate of a current node of this cluster")]
    Stranger,
    #[error("the other side claims to be '{says}', but has the certificate of '{is}'")]
    OtherCertificate { says: String, is: String },
    #[error("{from} has no running copy of '{volume}'")]
    NoVolume { from: String, volume: String },
    #[error(
        "{from} closed the connection: it has no running copy of '{volume}', it is configured with `plain`, \
         or it does not accept this node: `evenkeel volume show {volume}` on {from} shows why"
    )]
    Closed { from: String, volume: String },
    #[error("the node at the other end is '{from}' and expects '{to}': check `link` and `on`")]
    OtherNode { from: String, to: String },
}

impl From<HandshakeError> for GreetingError {
    fn from(error: HandshakeError) -> GreetingError {
        match error {
            HandshakeError::Io(error) => GreetingError::Io(error),
            HandshakeError::Tls(error) => GreetingError::Tls(error),
            HandshakeError::Ended => GreetingError::NoTls,
            HandshakeError::Stranger => GreetingError::Stranger,
        }
    }
}

impl Greeting {
    /// Sends the greeting.
    ///
    /// # Errors
    /// The network fails.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        write(MAGIC, &codec::encode(self), to)
    }

    /// Reads exactly one greeting, and no byte after it.
    ///
    /// # Errors
    /// The network fails, or the data is not a greeting.
    pub fn read(from: &mut impl Read) -> Result<Greeting, GreetingError> {
        match Opening::read(from)? {
            Opening::Link(greeting) => Ok(greeting),
            Opening::Copy(_) => Err(GreetingError::Foreign),
        }
    }

    /// Checks that the other side's greeting matches this one.
    ///
    /// # Errors
    /// The greeting comes from another node, or names another volume.
    pub fn fits(&self, theirs: &Greeting) -> Result<(), GreetingError> {
        if theirs.volume != self.volume {
            return Err(GreetingError::NoVolume {
                from: theirs.from.clone(),
                volume: self.volume.clone(),
            });
        }
        if theirs.from != self.to || theirs.to != self.from {
            return Err(GreetingError::OtherNode {
                from: theirs.from.clone(),
                to: theirs.to.clone(),
            });
        }
        Ok(())
    }
}

impl CopyGreeting {
    /// Sends the greeting.
    ///
    /// # Errors
    /// The network fails.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        write(COPY_MAGIC, &codec::encode(self), to)
    }
}

impl Opening {
    /// Reads exactly one greeting, and no byte after it.
    ///
    /// # Errors
    /// The network fails, or the data is not a greeting.
    pub(super) fn read(from: &mut impl Read) -> Result<Opening, GreetingError> {
        let mut magic = [0; 8];
        let mut length = [0; 4];
        let mut sum = [0; 8];
        let (first, rest) = magic.split_at_mut(2);
        from.read_exact(first)?;
        // Detects a handshake or alert record of TLS (RFC 8446, section 5.1).
        if matches!(first, [21 | 22, 3]) {
            return Err(GreetingError::UsesTls);
        }
        from.read_exact(rest)?;
        if magic != MAGIC && magic != COPY_MAGIC {
            return Err(GreetingError::Foreign);
        }
        from.read_exact(&mut length)?;
        from.read_exact(&mut sum)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > GREETING_BYTES_MAX {
            return Err(GreetingError::Foreign);
        }
        let mut content = vec![0; length];
        from.read_exact(&mut content)?;
        if checksum(&content) != u64::from_le_bytes(sum) {
            return Err(GreetingError::Foreign);
        }
        let opening = match magic {
            MAGIC => codec::decode(&content).map(Opening::Link),
            _ => codec::decode(&content).map(Opening::Copy),
        };
        opening.map_err(|_| GreetingError::Foreign)
    }
}

fn write(magic: [u8; 8], content: &[u8], to: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&checksum(content).to_le_bytes());
    bytes.extend_from_slice(content);
    to.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(volume: &str, from: &str, to: &str) -> Greeting {
        Greeting {
            volume: volume.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            facts: ReplicaProperties {
                volume: Some(VolumeId([3; 16])),
                size_bytes: 4096,
            },
        }
    }

    #[test]
    fn a_greeting_survives_its_encoding_without_trailing_bytes() {
        let greeting = greeting("mail", "alpha", "beta");
        let mut bytes = Vec::new();
        greeting.write(&mut bytes).unwrap();
        bytes.push(7);
        let mut from = &bytes[..];
        assert_eq!(Greeting::read(&mut from).unwrap(), greeting);
        assert_eq!(from, [7]);
    }

    #[test]
    fn invalid_greetings_are_refused_within_bounds() {
        let mut bytes = Vec::new();
        greeting("mail", "alpha", "beta").write(&mut bytes).unwrap();
        for place in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[place] ^= 0x41;
            assert!(Greeting::read(&mut &broken[..]).is_err(), "{place}");
            assert!(Greeting::read(&mut &bytes[..place]).is_err(), "{place}");
        }
        let http = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
        assert!(matches!(
            Greeting::read(&mut &http[..]),
            Err(GreetingError::Foreign)
        ));
    }

    #[test]
    fn a_copy_announcement_is_no_replication_greeting() {
        let greeting = CopyGreeting {
            volume: "mail".to_owned(),
            from: "alpha".to_owned(),
            to: "beta".to_owned(),
            run: 7,
        };
        let mut bytes = Vec::new();
        greeting.write(&mut bytes).unwrap();
        let read = Opening::read(&mut &bytes[..]).unwrap();
        assert_eq!(read, Opening::Copy(greeting));
        assert!(matches!(
            Greeting::read(&mut &bytes[..]),
            Err(GreetingError::Foreign)
        ));
        for place in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[place] ^= 0x41;
            assert!(Opening::read(&mut &broken[..]).is_err(), "{place}");
        }
    }

    #[test]
    fn both_sides_must_name_each_other_and_one_volume() {
        let ours = greeting("mail", "alpha", "beta");
        assert!(ours.fits(&greeting("mail", "beta", "alpha")).is_ok());
        for (volume, from, to) in [
            ("data", "beta", "alpha"),
            ("mail", "gamma", "alpha"),
            ("mail", "beta", "gamma"),
            ("mail", "alpha", "beta"),
        ] {
            assert!(
                ours.fits(&greeting(volume, from, to)).is_err(),
                "{volume} {from} {to}"
            );
        }
    }
}
