//! The simulated network of turmoil, for tests: time passes as it does there, and a
//! partition is silent, as a cut cable is.

use super::Network;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use turmoil::net::{TcpListener, TcpStream};

/// Turmoil's TCP, inside of a simulation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Simulated;

impl Network for Simulated {
    type Stream = TcpStream;
    type Listener = TcpListener;

    /// At the port; the simulated host has one address.
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
