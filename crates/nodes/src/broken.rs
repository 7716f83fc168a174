//! Describes why a connection between two nodes failed or ended, from errors of the network and of
//! TLS.

use rustls::{AlertDescription, Error};
use std::io;

/// The reason why a connection to a node failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeConnectionError {
    #[error("{}", describe_network_error(.0))]
    Gone(#[from] io::Error),
    #[error("it does not respond")]
    Silent,
    #[error("it does not speak the protocol of {0}")]
    Foreign(&'static str),
    /// The other node uses another version of the messages.
    #[error("it speaks version {theirs} of the protocol, and this node version {ours}")]
    Version { theirs: u16, ours: u16 },
    /// The message exceeds a limit or is invalid, or the node is not the expected one.
    #[error("refused: {0}")]
    Refused(String),
}

/// Returns the meaning of a network error between two nodes, because the libraries' texts are
/// written for programmers.
fn describe_network_error(error: &io::Error) -> String {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidInput, UnexpectedEof,
    };
    if let Some(error) = error.get_ref().and_then(|one| one.downcast_ref::<Error>()) {
        return match error {
            Error::AlertReceived(alert) if is_of_certificate(*alert) => {
                "it refuses the certificate of this node".to_owned()
            }
            Error::InvalidCertificate(_) => "it has no certificate of this cluster".to_owned(),
            error => format!("the handshake of TLS failed: {error}"),
        };
    }
    match error.kind() {
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => {
            "it closed the connection".to_owned()
        }
        // Counts EINVAL as a missing route, because a blackhole route causes it.
        InvalidInput if error.raw_os_error().is_some() => "no route to it".to_owned(),
        _ => language::reason(error),
    }
}

fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn errors_of_the_network_are_told_in_words_of_nodes() {
        let ended = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "peer closed connection without sending TLS close_notify: https://docs.rs/",
        );
        let tls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let table = [
            (ended, "it closed the connection"),
            (
                io::ErrorKind::ConnectionReset.into(),
                "it closed the connection",
            ),
            // Errors of the system by their numbers: EINVAL, ECONNREFUSED and EHOSTUNREACH.
            (io::Error::from_raw_os_error(22), "no route to it"),
            (io::Error::from_raw_os_error(111), "Connection refused"),
            (io::Error::from_raw_os_error(113), "No route to host"),
            (
                tls(Error::AlertReceived(AlertDescription::UnknownCA)),
                "it refuses the certificate of this node",
            ),
            (
                tls(Error::InvalidCertificate(CertificateError::Expired)),
                "it has no certificate of this cluster",
            ),
            (
                tls(Error::HandshakeNotComplete),
                "the handshake of TLS failed: handshake not complete",
            ),
        ];
        for (error, words) in table {
            assert_eq!(NodeConnectionError::Gone(error).to_string(), words);
        }
    }
}
