//! Connects to other nodes.

use crate::{Bonded, Broken, Protocol, within};
use rustls::pki_types::ServerName;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client};
use wire::Trusted;

/// Initial and maximum pause before a node is dialled again.
const REDIAL: Duration = Duration::from_millis(100);
const REDIAL_MAX: Duration = Duration::from_secs(1);
/// The pause for a node with another version of the protocol.
const REDIAL_OTHER: Duration = Duration::from_secs(5);

/// A connection to a node, after the greetings.
pub type Dialled = client::TlsStream<Bonded>;

/// The pause before a node is dialled again.
#[derive(Debug)]
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(REDIAL)
    }
}

impl Pause {
    /// Resets the pause after a successful connection.
    pub fn connected(&mut self) {
        self.0 = REDIAL;
    }

    /// Waits until the node is to be dialled again. `broken` is the reason why there is no
    /// connection, if the cause was the network or another program version.
    pub async fn after(&mut self, broken: Option<&Broken>) {
        let pause = match broken {
            Some(Broken::Version { .. }) => REDIAL_OTHER,
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
pub async fn dial(protocol: &Protocol, trusted: &Trusted, node: &str) -> Result<Dialled, Broken> {
    let mut stream = connect(trusted, node, protocol.port).await?;
    protocol.greet(&mut stream).await?;
    Ok(stream)
}

async fn connect(trusted: &Trusted, node: &str, port: u16) -> Result<Dialled, Broken> {
    let nowhere = "the cluster does not say where it is".to_owned();
    let mut last = Err(Broken::Refused(nowhere));
    for address in trusted.addresses_of(node) {
        let at = SocketAddr::new(*address, port);
        last = within(async {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            // The certificate identifies the node, not an address.
            let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let connector = TlsConnector::from(Arc::clone(&trusted.client));
            connector.connect(name, Bonded::new(stream)).await
        })
        .await;
        if last.is_ok() {
            break;
        }
    }
    let mut stream = last?;
    let (socket, tls) = stream.get_mut();
    let is = socket.admit(trusted, tls.peer_certificates());
    match is.as_deref() == Some(node) {
        true => Ok(stream),
        false => {
            let why = "its certificate is not that of this node".to_owned();
            Err(Broken::Refused(why))
        }
    }
}
