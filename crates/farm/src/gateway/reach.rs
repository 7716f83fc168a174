//! The connection of a tunnel with its host. To the farm itself it goes to the farm's own address on this
//! machine, which knows by the address that it comes from where the client is.

use super::target::Target;
use crate::server::keep_alive;
use crate::site::{Arrival, Site};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a host may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A connection with a host.
pub(super) struct Reached {
    pub(super) stream: TcpStream,
    /// What the farm knows of it, if it is the host.
    pub(super) arrival: Option<Arrival>,
}

/// Connects to a host for a client at `from`.
///
/// # Errors
/// Why not, in words.
pub(super) async fn reach(
    site: &Arc<Site>,
    target: &Target,
    from: IpAddr,
) -> Result<Reached, String> {
    let connect = async {
        match target {
            Target::Farm(bind) => to_farm(site, *bind, from).await,
            Target::Host { address, .. } => {
                let stream = TcpStream::connect(address).await?;
                Ok(Reached {
                    stream,
                    arrival: None,
                })
            }
        }
    };
    let reached = match timeout(CONNECT_LIMIT, connect).await {
        Ok(reached) => reached.map_err(|error| language::reason(&error))?,
        Err(_) => return Err("timeout".to_owned()),
    };
    // A delay is all that would be lost.
    let _ = reached.stream.set_nodelay(true);
    keep_alive(&reached.stream);
    Ok(reached)
}

async fn to_farm(site: &Arc<Site>, bind: SocketAddr, from: IpAddr) -> io::Result<Reached> {
    let own = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let socket = match own {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Bound first, so that the farm knows the address before the connection comes.
    socket.bind(SocketAddr::new(own, 0))?;
    let arrival = site.arrives(socket.local_addr()?, from);
    let stream = socket.connect(SocketAddr::new(own, bind.port())).await?;
    Ok(Reached {
        stream,
        arrival: Some(arrival),
    })
}
