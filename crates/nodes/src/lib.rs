//! Connections between a role of one node and the same role of the other nodes: TLS 1.3 with the
//! certificates of the cluster on both sides, a greeting, and frames with values.
//!
//! - [`Protocol`] is the port, the greeting and the bounds of what is said there.
//! - [`Places`] says when the nodes of the cluster have changed, so that connections restart.
//! - [`dial()`] connects to a node, and [`Pause`] says when it is dialled again.
//! - [`listen()`] accepts the connections of others, within bounds, and [`answer`] greets them.
//! - [`mod@frame`] is a value as bytes.
//!
//! Nothing here knows what is said, or which of two nodes dials.

mod broken;
mod dial;
pub mod frame;
mod listen;
mod places;
mod protocol;

pub use broken::Broken;
pub use dial::{Dialled, Pause, dial};
pub use listen::{Answered, Guest, Rooms, answer, listen};
pub use places::{Known, Places};
pub use protocol::Protocol;

use rustls::pki_types::CertificateDer;
use std::future::Future;
use std::io;
use std::time::Duration;
use wire::Trusted;

/// How long a connection and its handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// What an operation of the network comes to in the time of a handshake.
async fn within<T>(what: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    match tokio::time::timeout(HANDSHAKE, what).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Broken::Silent),
    }
}

/// The node whose certificate came.
fn name_of(trusted: &Trusted, certificates: Option<&[CertificateDer<'_>]>) -> Option<String> {
    (trusted.node_of)(certificates?.first()?)
}
