//! One client: what it says in the clear, and where that leads. Each phase has a timeout.

use super::places::Place;
use super::{ask, relay};
use crate::site::{Meeting, Site};
use protocol::rdp::{ConnectionRequest, Frame, Malformed, Negotiated, REQUEST_BYTES_MAX, frame};
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may take to say where it wants to go.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Why a client ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// It did not go on in time.
    #[error("timeout")]
    Slow,
    /// It does not keep to the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It has closed the connection, or that broke.
    #[error(transparent)]
    Gone(#[from] io::Error),
}

/// Serves a client until it is gone.
pub(super) async fn serve(
    site: Arc<Site>,
    tls: Arc<ServerConfig>,
    stream: TcpStream,
    place: Place,
) {
    match meet(&site, tls, stream, place).await {
        Ok(()) | Err(Ended::Gone(_)) => {}
        Err(Ended::Slow) => site.count(|counters| &mut counters.slow),
        Err(Ended::Malformed(_)) => site.count(|counters| &mut counters.malformed),
    }
}

async fn meet(
    site: &Arc<Site>,
    tls: Arc<ServerConfig>,
    mut stream: TcpStream,
    place: Place,
) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    relay::keep_alive(&stream);
    let packet = timeout(REQUEST_LIMIT, read_packet(&mut stream, REQUEST_BYTES_MAX));
    let packet = packet.await.map_err(|_| Ended::Slow)??;
    let request = ConnectionRequest::decode(&packet)?;
    place.spoke();
    match site.meet(&request, place.from).await {
        Meeting::Route(routed) => {
            relay::route(site, &routed, stream, &packet, place).await;
            Ok(())
        }
        Meeting::Ask {
            requested,
            collection,
        } => ask::redirect(site, tls, stream, (requested, collection), place).await,
        Meeting::Refuse(code) => {
            stream
                .write_all(&Negotiated::Failed { code }.encode())
                .await?;
            stream.shutdown().await?;
            Ok(())
        }
    }
}

/// Reads one packet and nothing behind it.
pub(super) async fn read_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes_max: usize,
) -> Result<Vec<u8>, Ended> {
    let mut packet = Vec::new();
    loop {
        match frame(&packet, bytes_max)? {
            Frame::Complete { .. } => return Ok(packet),
            Frame::Incomplete { missing_bytes } => {
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
