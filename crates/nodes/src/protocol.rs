//! Defines a protocol between the same role of two nodes by its port, magic bytes and version, and
//! exchanges and checks the greetings of both sides.

use crate::NodeConnectionError;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

const GREETING: Duration = Duration::from_secs(2);

/// A protocol between two roles. A greeting is eight bytes: four magic bytes, the version (most
/// significant byte first), and two zero bytes.
#[derive(Clone, Copy, Debug)]
pub struct NodeProtocol {
    /// The subject of the protocol, for `it does not speak the protocol of …`.
    pub subject: &'static str,
    pub port: u16,
    pub signs: [u8; 4],
    pub version: u16,
}

impl NodeProtocol {
    pub fn greeting(&self) -> [u8; 8] {
        let [high, low] = self.version.to_be_bytes();
        let [a, b, c, d] = self.signs;
        [a, b, c, d, high, low, 0, 0]
    }

    /// Checks the greeting of the other side.
    ///
    /// # Errors
    /// The greeting belongs to another protocol or version.
    pub fn check_greeting(&self, greeting: [u8; 8]) -> Result<(), NodeConnectionError> {
        let [a, b, c, d, high, low, ..] = greeting;
        if [a, b, c, d] != self.signs {
            return Err(NodeConnectionError::Foreign(self.subject));
        }
        let (ours, theirs) = (self.version, u16::from_be_bytes([high, low]));
        if theirs == ours {
            Ok(())
        } else {
            Err(NodeConnectionError::Version { theirs, ours })
        }
    }

    /// Exchanges greetings with the other side.
    ///
    /// # Errors
    /// A network error, or the other side does not respond or does not speak this protocol.
    pub async fn exchange_greetings<S>(&self, stream: &mut S) -> Result<(), NodeConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let greeted = timeout(GREETING, async {
            stream.write_all(&self.greeting()).await?;
            stream.flush().await?;
            let mut greeting = [0; 8];
            stream.read_exact(&mut greeting).await?;
            Ok::<_, NodeConnectionError>(greeting)
        });
        self.check_greeting(greeted.await.map_err(|_| NodeConnectionError::Silent)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: NodeProtocol = NodeProtocol {
        subject: "tests",
        port: 1,
        signs: *b"EKXX",
        version: 0x0102,
    };

    #[test]
    fn a_greeting_has_the_version_and_another_one_is_refused_with_the_reason() {
        assert_eq!(PROTOCOL.greeting(), *b"EKXX\x01\x02\0\0");
        assert!(PROTOCOL.check_greeting(PROTOCOL.greeting()).is_ok());
        let words =
            |greeting: &[u8; 8]| PROTOCOL.check_greeting(*greeting).unwrap_err().to_string();
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
