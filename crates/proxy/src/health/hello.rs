//! The check of `option ssl-hello-chk`: the first message of SSLv3, and the
//! first bytes of whatever answers it. It never makes a handshake: an alert that
//! refuses so old a version is as good as an answer, both come from somebody
//! who speaks TLS.

use crate::state::{CheckResult, CheckStatus};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The head of a record.
const HEAD_BYTES: usize = 5;
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
/// Nothing is made secure with it.
const RANDOM: &[u8; 28] = b"Evenkeel asks: who is there?";

/// A ClientHello of SSLv3 with the ciphers of its time.
pub(super) fn hello(unix_seconds: u32) -> Vec<u8> {
    let ciphers: Vec<u8> = (0x01..=0x1b).chain(0x2f..=0x3a).collect();
    let mut body = vec![3, 0];
    body.extend_from_slice(&unix_seconds.to_be_bytes());
    body.extend_from_slice(RANDOM);
    body.push(0);
    body.extend_from_slice(&[0, ciphers.len() as u8 * 2]);
    body.extend(ciphers.iter().flat_map(|cipher| [0, *cipher]));
    body.extend_from_slice(&[1, 0]);
    let length = body.len() as u8;
    let mut record = vec![HANDSHAKE, 3, 0, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&body);
    record
}

/// Asks behind what is to be sent before, and reads as much as tells who answers.
pub(super) async fn ask<W>(wire: &mut W, mut first: Vec<u8>) -> io::Result<CheckResult>
where
    W: AsyncRead + AsyncWrite + Unpin,
{
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    first.extend_from_slice(&hello(now.map_or(0, |now| now.as_secs() as u32)));
    wire.write_all(&first).await?;
    let mut head = [0; HEAD_BYTES];
    let mut have = 0;
    while have < HEAD_BYTES {
        let read = match wire.read(&mut head[have..]).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            other => other?,
        };
        if read == 0 {
            return Ok(CheckResult::new(CheckStatus::Layer6Invalid, 0).info("empty response"));
        }
        have += read;
    }
    let status = match head[0] {
        ALERT | HANDSHAKE => CheckStatus::Layer6Ok,
        _ => CheckStatus::Layer6Invalid,
    };
    Ok(CheckResult::new(status, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_of_the_hello_are_those_of_its_parts() {
        let hello = hello(0x0102_0304);
        assert_eq!(hello.len(), 5 + usize::from(hello[4]));
        assert_eq!(hello.len(), 9 + usize::from(hello[8]));
        assert_eq!(
            hello[..15],
            [22, 3, 0, 0, 121, 1, 0, 0, 117, 3, 0, 1, 2, 3, 4]
        );
        assert_eq!(hello[43..46], [0, 0, 78]);
    }
}
