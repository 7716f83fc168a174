//! Handles an RDP client without a token: receives the user's name from it over TLS, and redirects
//! it to this address with a token. The client sends its password together with the name; the
//! buffer with both is wiped.

use super::client::ClientEnd;
use super::places::ConnectionSlot;
use crate::collection::CollectionId;
use crate::site::FarmState;
use protocol::rdp::{
    Acceptor, Logon, Negotiated, PACKET_BYTES_MAX, RdpAcceptorStep, SSL, valid_client,
};
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// Timeout for the logon after the handshake: the user may be looking at the certificate dialog.
const LOGON_LIMIT: Duration = Duration::from_secs(120);
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Requests the user name of a client with these requested protocols, and redirects it to a host of
/// this collection.
pub(super) async fn redirect(
    site: &FarmState,
    tls: Arc<ServerConfig>,
    mut stream: TcpStream,
    requested: u32,
    collection: CollectionId,
    place: ConnectionSlot,
) -> Result<(), ClientEnd> {
    let selected = Negotiated::Selected {
        flags: 0,
        protocol: SSL,
    };
    stream.write_all(&selected.encode()).await?;
    let handshake = timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(tls).accept(stream));
    let mut stream = handshake.await.map_err(|_| ClientEnd::Slow)??;
    let logon = timeout(LOGON_LIMIT, negotiate_logon(&mut stream, requested));
    let logon = logon.await.map_err(|_| ClientEnd::Slow)??;
    if let Some(redirection) = site.logon(&logon, collection, place.from).await {
        let packets = [valid_client(), redirection.encode()].concat();
        stream.write_all(&packets).await?;
        stream.flush().await?;
        // Waits until the client closes, because a reset could discard data that it has not read.
        // Ignores a timeout.
        let _ = timeout(CLOSE_LIMIT, closed(&mut stream)).await;
    }
    stream.shutdown().await?;
    Ok(())
}

async fn negotiate_logon<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    requested: u32,
) -> Result<Logon, ClientEnd> {
    let mut acceptor = Acceptor::new(requested);
    // Allocates the full size, so that the buffer is never moved and leaves no copy of the
    // password.
    let mut bytes = Zeroizing::new(vec![0; PACKET_BYTES_MAX]);
    let (mut length, mut out) = (0, Vec::new());
    loop {
        let read = stream.read(&mut bytes[length..]).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        length += read;
        let mut input = &bytes[..length];
        let step = acceptor.handle(&mut input, &mut out);
        let left = input.len();
        bytes.copy_within(length - left..length, 0);
        length = left;
        // Sends no output of a failed step, which contains nothing useful.
        let step = step?;
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if let RdpAcceptorStep::Known(logon) = step {
            return Ok(logon);
        }
    }
}

async fn closed<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut bytes = Zeroizing::new([0; 1_024]);
    while matches!(stream.read(&mut bytes[..]).await, Ok(1..)) {}
}
