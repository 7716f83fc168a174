//! Manages connections to servers: [`fn@connect`] opens them, [`Pools`] keep idle ones per thread
//! for later streams. A server connection may carry many streams, one after the other, and with
//! HTTP/2 also at the same time ([`shared`]).

mod connect;
mod mark;
mod neighbours;
mod own;
mod pool;
mod proxy_header;
mod secured;
mod shared;
mod source;

pub use connect::{ConnectFailure, address, connect};
pub use mark::Mark;
pub use own::PrivateConnections;
pub use pool::{Pools, pools, purge, watch};
pub use secured::{ConnectionRequirements, Secured, forced_version};

use model::state::{ServerState, Way};
use mux::ServerMux;
use mux::link::PeerConnection;
use reactor::{Buffer, WeakSocket};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

/// An open connection to a server, or one HTTP/2 stream of a connection.
pub struct ServerConnection {
    pub link: PeerConnection,
    pub mux: Option<ServerMux>,
    pub tls: Option<Rc<Secured>>,
    pub state: Arc<ServerState>,
    /// Bytes received and not consumed yet; None while there are none.
    pub input: Option<Buffer>,
    /// Number of streams that the connection has carried before the current one.
    pub streams: u32,
    pub way: Way,
    pub mark: Mark,
    /// Only streams of the same client may use the connection.
    pub private: bool,
    pub authentication: Authentication,
}

/// State of connection-oriented authentication, as with NTLM and Negotiate: the server
/// authenticates a connection instead of each request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Authentication {
    #[default]
    None,
    /// The server has sent a challenge, which only the next request on this connection can
    /// answer.
    Challenged,
    /// The server offers the authentication, or has completed it.
    Bound,
}

impl ServerConnection {
    /// Reserves the connection for the client of the current stream, because its server
    /// authenticates the connection. Streams of other clients that an HTTP/2 connection already
    /// carries continue.
    pub fn bind_to_client(&mut self, authentication: Authentication) {
        self.private = true;
        self.authentication = authentication;
        if let Some(mux) = &self.mux {
            pools().withdraw(&self.state, mux);
        }
    }

    /// Returns whether an HTTP/2 connection also carries other streams.
    pub fn carries_others(&self) -> bool {
        self.mux.as_ref().is_some_and(|mux| mux.streams() > 1)
    }

    /// Returns whether another stream can use the connection, without a system call: the server has
    /// not moved since, the connection has not been closed, and no unexpected bytes were received.
    /// An HTTP/2 connection needs room for a further stream.
    pub fn is_fit(&self) -> bool {
        self.way == self.state.way()
            && match (&self.link, &self.mux) {
                (_, Some(mux)) => mux.has_room(),
                (link, None) => {
                    self.input.as_ref().is_none_or(Buffer::is_empty)
                        && !link.is_gone()
                        && !link.is_readable()
                }
            }
    }

    /// Prepares the connection for another stream; None if it cannot be used again.
    pub fn reuse(self) -> Option<ServerConnection> {
        let Some(mux) = &self.mux else {
            return Some(self);
        };
        let streams = mux.opened_streams();
        let link = PeerConnection::Http2(mux.open()?);
        Some(ServerConnection {
            link,
            streams,
            input: None,
            ..self
        })
    }

    /// Passes the descriptor to a function that reads its addresses; None if the connection is
    /// closed.
    fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        match (&self.link, &self.mux) {
            (PeerConnection::Http1(transport), _) => Some(look(transport.fd())),
            (_, Some(mux)) => mux.with_fd(look),
            _ => None,
        }
    }

    pub fn socket(&self) -> Option<WeakSocket> {
        match (&self.link, &self.mux) {
            (PeerConnection::Http1(transport), _) => Some(transport.socket().downgrade()),
            (_, Some(mux)) => mux.socket(),
            _ => None,
        }
    }

    pub fn local_address(&self) -> Option<SocketAddr> {
        let address = self
            .with_fd(|fd| rustix::net::getsockname(fd).ok())
            .flatten();
        address.and_then(|address| SocketAddr::try_from(address).ok())
    }
}
