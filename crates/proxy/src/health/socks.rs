//! Requests the connection of a health check from a SOCKS4 proxy (`check-via-socks4`).

use model::config::target::CheckAddress;
use protocol::socks4;
use std::net::SocketAddr;
use tls::side::BoxedWire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// User ID that is sent to SOCKS4 proxies, which may be configured to expect it from HAProxy.
pub(crate) const USER: &str = "HAProxy";

/// Sends the request. Err: the reason of the failure, with HAProxy's wording.
pub(super) async fn ask(wire: &mut BoxedWire, target: &CheckAddress) -> Result<(), String> {
    let CheckAddress::Inet(SocketAddr::V4(to)) = target else {
        return Err("SOCKS4 Proxy knows IPv4 addresses only".to_owned());
    };
    let aborted = |error: std::io::Error| {
        let reason = language::reason(&error);
        format!("SOCKS4 Proxy handshake aborted by server ({reason})")
    };
    let request = socks4::request(*to, USER);
    wire.write_all(&request).await.map_err(aborted)?;
    let mut reply = [0; socks4::REPLY_BYTES];
    wire.read_exact(&mut reply).await.map_err(aborted)?;
    if socks4::is_granted(&reply) {
        Ok(())
    } else {
        Err("SOCKS4 Proxy deny the request".to_owned())
    }
}
