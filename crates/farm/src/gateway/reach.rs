//! Connects a tunnel with its host. If the target is the farm itself, the connection goes to the
//! farm's own address on this machine, and its source address is registered, by which the farm
//! finds the client's address.

use super::target::TunnelTarget;
use crate::server::keep_alive;
use crate::site::{Arrival, FarmState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Reached {
    pub(super) stream: TcpStream,
    /// Registration of the connection, if the target is the farm itself.
    pub(super) arrival: Option<Arrival>,
}

/// Connects to a host for a client at `from`.
///
/// # Errors
/// Returns why the host cannot be reached.
pub(super) async fn reach(
    site: &Arc<FarmState>,
    target: &TunnelTarget,
    from: IpAddr,
) -> Result<Reached, String> {
    let connect = async {
        match target {
            TunnelTarget::Farm(bind) => to_farm(site, *bind, from).await,
            TunnelTarget::Host { address, .. } => {
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
    // Ignores an error, which costs only latency.
    let _ = reached.stream.set_nodelay(true);
    keep_alive(&reached.stream);
    Ok(reached)
}

async fn to_farm(site: &Arc<FarmState>, bind: SocketAddr, from: IpAddr) -> io::Result<Reached> {
    let own = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let socket = match own {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Binds the socket before it connects, so that the farm knows the source address before the
    // connection arrives.
    socket.bind(SocketAddr::new(own, 0))?;
    let arrival = site.arrives(socket.local_addr()?, from);
    let stream = socket.connect(SocketAddr::new(own, bind.port())).await?;
    Ok(Reached {
        stream,
        arrival: Some(arrival),
    })
}
