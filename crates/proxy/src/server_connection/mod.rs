//! Connections to servers: made ([`fn@connect`]), kept idle per thread
//! ([`Pools`]), taken again. A server connection is not a stream: it may carry
//! many, one after the other, and of HTTP/2 at the same time ([`shared`]).

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
pub use own::Own;
pub use pool::{Pools, pools, purge, watch};
pub use secured::{Secured, Wanted, forced_version};

use model::state::{ServerState, Way};
use mux::ServerMux;
use mux::link::Link;
use reactor::{Buffer, WeakSocket};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

/// An open connection to a server, or one stream of it.
pub struct ServerConnection {
    /// How the server is reached.
    pub link: Link,
    /// The connection whose stream the link is.
    pub mux: Option<ServerMux>,
    /// Its TLS.
    pub tls: Option<Rc<Secured>>,
    /// The server's state, which counts its idle connections.
    pub state: Arc<ServerState>,
    /// Bytes that came and were not used; taken only when there are some.
    pub input: Option<Buffer>,
    /// Streams that it carried before this one.
    pub streams: u32,
    /// The way that it went to the server.
    pub way: Way,
    /// What sets it apart from others to this server.
    pub mark: Mark,
    /// It must not carry another client's streams.
    pub private: bool,
    /// Whether its server authenticates the connection instead of its requests.
    pub authentication: Authentication,
}

/// Whether a server authenticates a connection instead of each of its requests, as with
/// NTLM and Negotiate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Authentication {
    /// Nothing says so.
    #[default]
    None,
    /// The server has sent a challenge, which only the next request on this connection can
    /// answer.
    Challenged,
    /// The server offers to, or has done so.
    Bound,
}

impl ServerConnection {
    /// Leaves the connection to the client of the present stream, because its server
    /// authenticates it. Streams of other clients that an HTTP/2 connection carries already
    /// continue.
    pub fn bind_to_client(&mut self, authentication: Authentication) {
        self.private = true;
        self.authentication = authentication;
        if let Some(mux) = &self.mux {
            pools().withdraw(&self.state, mux);
        }
    }

    /// Whether an HTTP/2 connection carries streams of other requests, too.
    pub fn carries_others(&self) -> bool {
        self.mux.as_ref().is_some_and(|mux| mux.streams() > 1)
    }

    /// Whether another stream can use it, by what is known without a system
    /// call: bytes without a request, or the end, spoil it.
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

    /// The same for another stream.
    pub fn again(self) -> Option<ServerConnection> {
        let Some(mux) = &self.mux else {
            return Some(self);
        };
        let streams = mux.carried();
        let link = Link::Http2(mux.open()?);
        Some(ServerConnection {
            link,
            streams,
            input: None,
            ..self
        })
    }

    /// Looks at the descriptor, for addresses; None when it is closed.
    fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        match (&self.link, &self.mux) {
            (Link::Http1(transport), _) => Some(look(transport.fd())),
            (_, Some(mux)) => mux.with_fd(look),
            _ => None,
        }
    }

    /// A weak handle of its socket, for queries only.
    pub fn socket(&self) -> Option<WeakSocket> {
        match (&self.link, &self.mux) {
            (Link::Http1(transport), _) => Some(transport.socket().downgrade()),
            (_, Some(mux)) => mux.socket(),
            _ => None,
        }
    }

    /// Our own address on it.
    pub fn local_address(&self) -> Option<SocketAddr> {
        let address = self
            .with_fd(|fd| rustix::net::getsockname(fd).ok())
            .flatten();
        address.and_then(|address| SocketAddr::try_from(address).ok())
    }
}
