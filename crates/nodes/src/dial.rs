//! Dials other nodes: connects with TLS, checks that the certificate is that of the node, exchanges
//! greetings, and determines the pause before the next attempt.

use crate::{NodeConnectionError, NodeProtocol, RevocableSocket, within};
use rustls::pki_types::ServerName;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client};
use wire::TrustedNodes;

/// First pause before a node is dialled again.
const REDIAL: Duration = Duration::from_millis(100);
const REDIAL_MAX: Duration = Duration::from_secs(1);
const REDIAL_OTHER: Duration = Duration::from_secs(5);

/// A connection to a node, after the greetings.
pub type DialedConnection = client::TlsStream<RevocableSocket>;

#[derive(Debug)]
pub struct RedialPause(Duration);

impl Default for RedialPause {
    fn default() -> RedialPause {
        RedialPause(REDIAL)
    }
}

impl RedialPause {
    pub fn reset_pause(&mut self) {
        self.0 = REDIAL;
    }

    /// Waits until the node is to be dialled again. `broken` is the reason why there is no
    /// connection, if the cause was the network or another program version.
    pub async fn wait_before_redial(&mut self, broken: Option<&NodeConnectionError>) {
        let pause = match broken {
            Some(NodeConnectionError::Version { .. }) => REDIAL_OTHER,
            _ => self.0,
        };
        tokio::time::sleep(pause).await;
        self.0 = (self.0 * 2).min(REDIAL_MAX);
    }
}

/// Connects to a node, at the first of its addresses that responds.
///
/// # Errors
/// The node is unreachable, is another node, or does not speak this protocol.
pub async fn dial(
    protocol: &NodeProtocol,
    trusted: &TrustedNodes,
    node: &str,
) -> Result<DialedConnection, NodeConnectionError> {
    let mut stream = connect(trusted, node, protocol.port).await?;
    protocol.exchange_greetings(&mut stream).await?;
    Ok(stream)
}

async fn connect(
    trusted: &TrustedNodes,
    node: &str,
    port: u16,
) -> Result<DialedConnection, NodeConnectionError> {
    let nowhere = "the cluster does not say where it is".to_owned();
    let mut last = Err(NodeConnectionError::Refused(nowhere));
    for address in trusted.addresses_of(node) {
        let at = SocketAddr::new(*address, port);
        last = within(async {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            // Gives TLS a placeholder as the name of the server, because the node is identified by
            // its certificate.
            let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let connector = TlsConnector::from(Arc::clone(&trusted.client));
            connector.connect(name, RevocableSocket::new(stream)).await
        })
        .await;
        if last.is_ok() {
            break;
        }
    }
    let mut stream = last?;
    let (socket, tls) = stream.get_mut();
    let is = socket.admit(trusted, tls.peer_certificates());
    if is.as_deref() == Some(node) {
        Ok(stream)
    } else {
        let why = "its certificate is not that of this node".to_owned();
        Err(NodeConnectionError::Refused(why))
    }
}
