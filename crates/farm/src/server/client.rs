//! Serves one RDP client until the farm has decided to which host the client goes, with a timeout
//! for each phase.

use super::places::ConnectionSlot;
use super::{ask, relay};
use crate::site::{FarmState, Meeting};
use protocol::rdp::{
    ConnectionRequest, Negotiated, REQUEST_BYTES_MAX, RdpPacketError, TpktFrame, frame,
};
use rustls::ServerConfig;
use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const REQUEST_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientEnd {
    #[error("timeout")]
    Slow,
    #[error(transparent)]
    Malformed(#[from] RdpPacketError),
    #[error(transparent)]
    Gone(#[from] io::Error),
}

pub(super) async fn serve(
    site: Arc<FarmState>,
    tls: Arc<ServerConfig>,
    stream: TcpStream,
    place: ConnectionSlot,
) {
    match handle_connection(&site, tls, stream, place).await {
        Ok(()) | Err(ClientEnd::Gone(_)) => {}
        Err(ClientEnd::Slow) => site.count(|counters| &mut counters.slow),
        Err(ClientEnd::Malformed(_)) => site.count(|counters| &mut counters.malformed),
    }
}

async fn handle_connection(
    site: &Arc<FarmState>,
    tls: Arc<ServerConfig>,
    mut stream: TcpStream,
    place: ConnectionSlot,
) -> Result<(), ClientEnd> {
    stream.set_nodelay(true)?;
    relay::keep_alive(&stream);
    let reads = async {
        // Waits for the first byte before it takes a permit, which a silent client must not occupy.
        stream.peek(&mut [0]).await?;
        read_request(&mut stream, site.acquire_permit().await).await
    };
    let (packet, turn) = timeout(REQUEST_LIMIT, reads)
        .await
        .map_err(|_| ClientEnd::Slow)??;
    let request = ConnectionRequest::decode(&packet)?;
    place.spoke();
    let meeting = site.decide_connection(&request, place.from).await;
    drop(turn);
    match meeting {
        Meeting::Route(routed) => {
            relay::route(site, &routed, stream, &packet, place).await;
            Ok(())
        }
        Meeting::Ask {
            requested,
            collection,
        } => ask::redirect(site, tls, stream, requested, collection, place).await,
        Meeting::Refuse(code) => {
            stream
                .write_all(&Negotiated::Failed { code }.encode())
                .await?;
            stream.shutdown().await?;
            Ok(())
        }
    }
}

/// Reads the first packet of a client. While the packet is incomplete, the client has no permit.
async fn read_request<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    turn: Option<T>,
) -> Result<(Vec<u8>, Option<T>), ClientEnd> {
    let mut reads = pin!(read_packet(stream, REQUEST_BYTES_MAX));
    tokio::select! {
        biased;
        packet = &mut reads => return Ok((packet?, turn)),
        () = ready(()) => drop(turn),
    }
    Ok((reads.await?, None))
}

/// Reads one packet, and no byte after it.
pub(super) async fn read_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes_max: usize,
) -> Result<Vec<u8>, ClientEnd> {
    let mut packet = Vec::new();
    loop {
        match frame(&packet, bytes_max)? {
            TpktFrame::Complete { .. } => return Ok(packet),
            TpktFrame::Incomplete { missing_bytes } => {
                let begin = packet.len();
                packet.resize(begin + missing_bytes, 0);
                let read = stream.read(&mut packet[begin..]).await?;
                packet.truncate(begin + read);
                if read == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;
    use std::task::{Context, Poll, Waker};

    const REQUEST: [u8; 11] = [3, 0, 0, 11, 6, 0xe0, 0, 0, 0, 0, 0];

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_complete_request_keeps_its_permit_and_others_release_it() {
        for first in 0..=REQUEST.len() {
            let (mut client, mut stream) = tokio::io::duplex(64);
            let turn = Arc::new(());
            let seen: Weak<()> = Arc::downgrade(&turn);
            let mut writes = pin!(client.write_all(&REQUEST[..first]));
            assert!(poll(writes.as_mut()).is_ready());
            let mut reads = pin!(read_request(&mut stream, Some(turn)));
            let read = match poll(reads.as_mut()) {
                Poll::Ready(read) => read,
                Poll::Pending => {
                    assert!(seen.upgrade().is_none(), "{first}");
                    let mut writes = pin!(client.write_all(&REQUEST[first..]));
                    assert!(poll(writes.as_mut()).is_ready());
                    match poll(reads.as_mut()) {
                        Poll::Ready(read) => read,
                        Poll::Pending => panic!("all is there"),
                    }
                }
            };
            let (packet, turn) = read.unwrap();
            let is_whole = first == REQUEST.len();
            assert_eq!((&packet[..], turn.is_some()), (&REQUEST[..], is_whole));
        }
    }
}
