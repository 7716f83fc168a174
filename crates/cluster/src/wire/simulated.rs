//! Provides the simulated network of turmoil for tests of the wire: time passes as in turmoil, and
//! a partition is silent, like a cut cable.

use super::ConnectionFactory;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use turmoil::net::{TcpListener, TcpStream};

/// Turmoil's TCP, inside of a simulation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Simulated;

impl ConnectionFactory for Simulated {
    type Stream = TcpStream;
    type Listener = TcpListener;

    /// Listens on the port; the simulated host has one address.
    async fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port())).await
    }

    fn address(&self, listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(to).await
    }
}
