//! Exchanges hello messages on a connection between members, after TLS. They name the member, the
//! run of its process, and the relay, if any; a goodbye gives the reason of a refusal.

use super::frame::{BrokenRule, FrameHeader, FrameKind, HEAD_BYTES};
use crate::authority::PeerRejection;
use crate::member::MemberId;
use part::codec;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const GREETING_BYTES_MAX: usize = 1 << 10;

pub(crate) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) member: MemberId,
    /// Random number of the process that sends this hello, new at each start.
    pub(crate) run: u64,
    /// The member that relays this connection.
    #[serde(default)]
    pub(crate) through: Option<MemberId>,
    #[serde(default)]
    pub(crate) carry_to: Option<MemberId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Goodbye {
    Refused(PeerRejection),
    /// There are too many tunnels, or the destination does not respond.
    NotCarried,
    Replaced,
}

/// Why no hello was received.
#[derive(Debug)]
pub(crate) enum Ungreeted {
    Io(io::Error),
    Goodbye(Goodbye),
    Rule(BrokenRule),
}

impl From<io::Error> for Ungreeted {
    fn from(error: io::Error) -> Self {
        Ungreeted::Io(error)
    }
}

impl From<BrokenRule> for Ungreeted {
    fn from(rule: BrokenRule) -> Self {
        Ungreeted::Rule(rule)
    }
}

/// Reads one frame, which must contain a whole message.
pub(crate) async fn read_frame<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    bytes_max: usize,
) -> Result<(FrameKind, Vec<u8>), Ungreeted> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let head = FrameHeader::decode(&head)?;
    let length = head.length as usize;
    if head.length != head.total || length > bytes_max {
        return Err(BrokenRule::Message { bytes: length }.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok((head.frame, bytes))
}

pub(crate) async fn write_frame<S: AsyncWrite + Unpin + ?Sized>(
    stream: &mut S,
    frame: FrameKind,
    bytes: &[u8],
) -> io::Result<()> {
    let length = bytes.len() as u32;
    let head = FrameHeader {
        frame,
        service: 0,
        length,
        total: length,
        call: 0,
    };
    let mut out = head.encode().to_vec();
    out.extend_from_slice(bytes);
    stream.write_all(&out).await?;
    stream.flush().await
}

pub(crate) async fn say_hello<S: AsyncWrite + Unpin + ?Sized>(
    stream: &mut S,
    hello: &Hello,
) -> io::Result<()> {
    write_frame(stream, FrameKind::Hello, &codec::encode(hello)).await
}

pub(crate) async fn say_goodbye<S: AsyncWrite + Unpin + ?Sized>(
    stream: &mut S,
    why: Goodbye,
) -> io::Result<()> {
    write_frame(stream, FrameKind::Goodbye, &codec::encode(&why)).await?;
    stream.shutdown().await
}

pub(crate) async fn hear_hello<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
) -> Result<Hello, Ungreeted> {
    let (frame, bytes) = read_frame(stream, GREETING_BYTES_MAX).await?;
    match frame {
        FrameKind::Hello => codec::decode(&bytes).map_err(|_| BrokenRule::Order.into()),
        FrameKind::Goodbye => {
            let why = codec::decode(&bytes).map_err(|_| BrokenRule::Order)?;
            Err(Ungreeted::Goodbye(why))
        }
        _ => Err(BrokenRule::Order.into()),
    }
}
