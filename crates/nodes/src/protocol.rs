//! What both sides know of a protocol before anything is said.

use crate::Broken;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a greeting is waited for.
const GREETING: Duration = Duration::from_secs(2);

/// A protocol between two roles. A greeting is eight bytes: four signs, the version (most significant byte
/// first), and two zero bytes.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// What it is about, for `it does not speak the protocol of …`.
    pub of: &'static str,
    /// The port.
    pub port: u16,
    /// How a greeting begins.
    pub signs: [u8; 4],
    /// The version of what is said.
    pub version: u16,
}

impl Protocol {
    /// The greeting of this program.
    pub fn greeting(&self) -> [u8; 8] {
        let [high, low] = self.version.to_be_bytes();
        let [a, b, c, d] = self.signs;
        [a, b, c, d, high, low, 0, 0]
    }

    /// Judges the greeting of the other side.
    ///
    /// # Errors
    /// It is of another protocol, or of another version.
    pub fn greeted(&self, greeting: [u8; 8]) -> Result<(), Broken> {
        let [a, b, c, d, high, low, ..] = greeting;
        if [a, b, c, d] != self.signs {
            return Err(Broken::Foreign(self.of));
        }
        let (ours, theirs) = (self.version, u16::from_be_bytes([high, low]));
        match theirs == ours {
            true => Ok(()),
            false => Err(Broken::Version { theirs, ours }),
        }
    }

    /// Greets the other side, and is greeted.
    ///
    /// # Errors
    /// The network, the other side is silent, or does not speak this protocol.
    pub async fn greet<S>(&self, stream: &mut S) -> Result<(), Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let greeted = timeout(GREETING, async {
            stream.write_all(&self.greeting()).await?;
            stream.flush().await?;
            let mut greeting = [0; 8];
            stream.read_exact(&mut greeting).await?;
            Ok::<_, Broken>(greeting)
        });
        self.greeted(greeted.await.map_err(|_| Broken::Silent)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: Protocol = Protocol {
        of: "tests",
        port: 1,
        signs: *b"EKXX",
        version: 0x0102,
    };

    #[test]
    fn a_greeting_has_the_version_and_another_one_is_refused_with_the_reason() {
        assert_eq!(PROTOCOL.greeting(), *b"EKXX\x01\x02\0\0");
        assert!(PROTOCOL.greeted(PROTOCOL.greeting()).is_ok());
        let words = |greeting: &[u8; 8]| PROTOCOL.greeted(*greeting).unwrap_err().to_string();
        assert_eq!(
            words(b"EKXX\x01\x03\0\0"),
            "it speaks version 259 of the protocol, and this node version 258"
        );
        assert_eq!(
            words(b"GET / HT"),
            "it does not speak the protocol of tests"
        );
    }
}
