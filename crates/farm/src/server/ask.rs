//! A client without a token: it is asked for its user over TLS, and redirected to where it is now, with
//! a token. Its password comes with the name: the bytes are wiped.

use super::client::Ended;
use super::places::Place;
use crate::collection::CollectionId;
use crate::site::Site;
use protocol::rdp::{Acceptor, Logon, Negotiated, PACKET_BYTES_MAX, SSL, Step, valid_client};
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// How long the handshake of TLS may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);
/// How long a client may take then: a person may be looking at the certificate.
const LOGON_LIMIT: Duration = Duration::from_secs(120);
/// How long a client has to close the connection once it is redirected.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Asks and redirects a client that requested these protocols, to a host of this collection.
pub(super) async fn redirect(
    site: &Site,
    tls: Arc<ServerConfig>,
    mut stream: TcpStream,
    (requested, collection): (u32, CollectionId),
    place: Place,
) -> Result<(), Ended> {
    let selected = Negotiated::Selected {
        flags: 0,
        protocol: SSL,
    };
    stream.write_all(&selected.encode()).await?;
    let handshake = timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(tls).accept(stream));
    let mut stream = handshake.await.map_err(|_| Ended::Slow)??;
    let logon = timeout(LOGON_LIMIT, ask(&mut stream, requested));
    let logon = logon.await.map_err(|_| Ended::Slow)??;
    if let Some(redirection) = site.logon(&logon, collection, place.from).await {
        let packets = [valid_client(), redirection.encode()].concat();
        stream.write_all(&packets).await?;
        stream.flush().await?;
        // The client closes; a reset could overtake what it has not read.
        let _ = timeout(CLOSE_LIMIT, closed(&mut stream)).await;
    }
    stream.shutdown().await?;
    Ok(())
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    requested: u32,
) -> Result<Logon, Ended> {
    let mut acceptor = Acceptor::new(requested);
    // Of its full size from the beginning, so that it never moves and leaves a copy.
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
        // What the client gets of a step that failed says nothing.
        let step = step?;
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if let Step::Known(logon) = step {
            return Ok(logon);
        }
    }
}

/// Reads until the client has closed.
async fn closed<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut bytes = Zeroizing::new([0; 1_024]);
    while matches!(stream.read(&mut bytes[..]).await, Ok(1..)) {}
}
