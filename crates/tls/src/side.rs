//! Provides TLS connections outside the threads that serve clients: for peers and log messages,
//! through tokio-rustls or blocking. rustls performs handshakes and records there; client and
//! server connections of the proxy use the record code of this crate.

use super::acceptor::Acceptor;
use super::connector::no_name;
use super::sni::CertificateCriteria;
use super::{Connector, Counted};
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

pub trait AsyncTransport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncTransport for T {}

/// A connection with or without TLS.
pub type BoxedWire = Pin<Box<dyn AsyncTransport>>;

/// A TLS connection, counted until it is dropped.
struct CountedWire<S> {
    wire: S,
    _counted: Option<Counted>,
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedWire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedWire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

fn counted<S: AsyncTransport + 'static>(wire: S) -> BoxedWire {
    Box::pin(CountedWire {
        wire,
        _counted: Counted::new(None),
    })
}

/// Performs the handshake with a server over `stream`. No SNI is sent; `verifyhost` is verified.
/// The caller must set a timeout.
///
/// # Errors
/// An error of the connection, or of rustls.
pub async fn connect<S>(stream: S, connector: &Connector) -> io::Result<BoxedWire>
where
    S: AsyncTransport + 'static,
{
    let made = TlsConnector::from(connector.config()).connect(no_name(), stream);
    Ok(counted(made.await?))
}

/// Performs the handshake with a client over `stream`. The caller must set a timeout.
///
/// # Errors
/// An error of the connection, an error of rustls, or that there is no certificate for the client.
pub async fn accept<S>(stream: S, acceptor: &Acceptor) -> io::Result<BoxedWire>
where
    S: AsyncTransport + 'static,
{
    let begun = LazyConfigAcceptor::new(Default::default(), stream).await?;
    let config = {
        let hello = begun.client_hello();
        let offer = CertificateCriteria {
            server_name: hello.server_name().map(str::as_bytes),
            schemes: hello.signature_schemes(),
            suites: hello.cipher_suites(),
            // Detects TLS 1.3 by its suites. A client without TLS 1.3 gets a certificate that fits
            // its suites.
            tls13: hello
                .cipher_suites()
                .iter()
                .any(|suite| u16::from(*suite) >> 8 == TLS13_SUITES),
        };
        acceptor.choose(&offer)
    };
    let chosen = config.map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
    Ok(counted(begun.into_stream(chosen.config).await?))
}

/// First byte of the numbers of TLS 1.3 suites, which no other version uses.
const TLS13_SUITES: u16 = 0x13;

/// Performs the handshake with a server over a blocking socket, within the timeouts of the socket.
///
/// # Errors
/// An error of the connection, or of rustls.
pub fn connect_blocking<S>(
    mut socket: S,
    connector: &Connector,
) -> io::Result<Box<dyn Write + Send>>
where
    S: Read + Write + Send + 'static,
{
    let made = ClientConnection::new(connector.config(), no_name());
    let mut session = made.map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(Box::new(StreamOwned::new(session, socket)))
}
