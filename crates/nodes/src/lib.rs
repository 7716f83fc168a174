//! Connects a role of one node with the same role of the other nodes: TLS 1.3 with the certificates
//! of the cluster on both sides, a greeting, and frames with values.
//!
//! - [`NodeProtocol`] is the port, the greeting and the version of the messages.
//! - [`NodeChangeDetector`] reports when the nodes of the cluster have changed, so that connections restart.
//! - [`dial()`] connects to a node, and [`RedialPause`] determines when it is dialled again.
//! - [`listen()`] accepts the connections of others, within limits, and `accept_node` greets them.
//! - [`mod@frame`] encodes a value as bytes.
//!
//! This crate does not know the messages, or which of two nodes dials.

mod broken;
mod dial;
pub mod frame;
mod listen;
mod places;
mod protocol;

pub use broken::NodeConnectionError;
pub use dial::{DialedConnection, RedialPause, dial};
pub use listen::{AcceptedConnection, ConnectedClient, NodeConnectionLimits, accept_node, listen};
pub use places::{NodeChangeDetector, TrustedNodesReceiver};
pub use protocol::NodeProtocol;

use rustls::pki_types::CertificateDer;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use wire::{ConnectionPermission, TrustedNodes};

const HANDSHAKE: Duration = Duration::from_secs(2);

/// Returns the result of a network operation within the time of a handshake.
async fn within<T>(what: impl Future<Output = io::Result<T>>) -> Result<T, NodeConnectionError> {
    match tokio::time::timeout(HANDSHAKE, what).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(NodeConnectionError::Silent),
    }
}

/// A socket of a connection with another node, which ends when the cluster no longer accepts that
/// node.
#[derive(Debug)]
pub struct RevocableSocket {
    stream: TcpStream,
    bond: Option<ConnectionPermission>,
}

impl RevocableSocket {
    fn new(stream: TcpStream) -> RevocableSocket {
        RevocableSocket { stream, bond: None }
    }

    /// Admits the node that presented these certificates. Returns its name; `None` when it is no
    /// current node.
    fn admit(
        &mut self,
        trusted: &TrustedNodes,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Option<String> {
        let (node, bond) = trusted.admit(self.stream.as_fd(), certificates)?;
        self.bond = Some(bond);
        Some(node)
    }

    /// Replaces the result of an operation on a connection that the cluster has ended with the
    /// reason.
    fn checked<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self
            .bond
            .as_ref()
            .is_some_and(ConnectionPermission::is_revoked)
        {
            Poll::Ready(Err(io::Error::other(
                "the cluster no longer accepts its certificate",
            )))
        } else {
            polled
        }
    }
}

impl AsyncRead for RevocableSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.checked(polled)
    }
}

impl AsyncWrite for RevocableSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.checked(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.checked(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
