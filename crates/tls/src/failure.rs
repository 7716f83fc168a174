//! Translates failed handshakes to HAProxy's numbers and texts for connection errors, and to
//! those of OpenSSL. If rustls is less specific than OpenSSL, the nearest reason is used.

use super::verify::{Verified, WrongCurve};
use rustls::{AlertDescription, CipherSuite, Error, OtherError, PeerIncompatible, ProtocolVersion};
use std::fmt;

#[derive(Debug)]
pub enum Failure {
    Timeout,
    /// The peer closed the connection before it sent anything.
    Nothing,
    Closed,
    Foreign,
    Http,
    /// The local settings refuse the ClientHello, for its name or another property.
    Refused(ClientHelloAlert),
    /// The connection limit `maxsslconn` is reached.
    TooMany,
    /// rustls refused the peer, or the peer sent an alert. With the result of the verification, and
    /// the parameters negotiated so far.
    Tls(rustls::Error, Verified, Option<Agreed>),
}

/// The parameters negotiated before a handshake failed.
pub type Agreed = (ProtocolVersion, CipherSuite);

/// The alert with which a ClientHello is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientHelloAlert(pub u8);

impl ClientHelloAlert {
    pub const UNRECOGNIZED_NAME: ClientHelloAlert = ClientHelloAlert(112);
    pub const PROTOCOL_VERSION: ClientHelloAlert = ClientHelloAlert(70);
    pub const HANDSHAKE_FAILURE: ClientHelloAlert = ClientHelloAlert(40);
    pub const INTERNAL_ERROR: ClientHelloAlert = ClientHelloAlert(80);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FailureCodes {
    /// HAProxy's error number, the value of `fc_err`.
    pub connection: u8,
    /// OpenSSL's reason code, which `ssl_fc_err` combines with the library's number. 0 means none.
    pub reason: u16,
}

mod connection {
    pub(super) const CLOSED: u8 = 24;
    pub(super) const TIMEOUT: u8 = 26;
    pub(super) const TOO_MANY: u8 = 27;
    pub(super) const AUTHORITY: u8 = 30;
    pub(super) const CERTIFICATE: u8 = 31;
    pub(super) const HANDSHAKE: u8 = 34;
}

/// OpenSSL's library number for TLS errors, which is combined with the reason.
const LIBRARY: u32 = 0x0a00_0000;

const REASONS: &[(u16, &str)] = &[
    (0x44, "internal error"),
    (0x86, "certificate verify failed"),
    (0x9c, "http request"),
    (0x9f, "length mismatch"),
    (0xc1, "no shared cipher"),
    (0xc7, "peer did not return a certificate"),
    (0xea, "callback failed"),
    (0xeb, "no application protocol"),
    (0xf4, "unexpected message"),
    (0x102, "unsupported protocol"),
    (0x10b, "wrong version number"),
    (0x119, "decryption failed or bad record mac"),
    (0x17a, "wrong curve"),
];

/// Names of the alerts. OpenSSL's error numbers for alerts begin at 1000.
const ALERTS: &[(u8, &str)] = &[
    (0, "close notify"),
    (10, "sslv3 alert unexpected message"),
    (20, "sslv3 alert bad record mac"),
    (21, "tlsv1 alert decryption failed"),
    (22, "tlsv1 alert record overflow"),
    (40, "sslv3 alert handshake failure"),
    (42, "sslv3 alert bad certificate"),
    (43, "sslv3 alert unsupported certificate"),
    (44, "sslv3 alert certificate revoked"),
    (45, "sslv3 alert certificate expired"),
    (46, "sslv3 alert certificate unknown"),
    (47, "sslv3 alert illegal parameter"),
    (48, "tlsv1 alert unknown ca"),
    (49, "tlsv1 alert access denied"),
    (50, "tlsv1 alert decode error"),
    (51, "tlsv1 alert decrypt error"),
    (70, "tlsv1 alert protocol version"),
    (71, "tlsv1 alert insufficient security"),
    (80, "tlsv1 alert internal error"),
    (86, "tlsv1 alert inappropriate fallback"),
    (90, "tlsv1 alert user cancelled"),
    (100, "tlsv1 alert no renegotiation"),
    (109, "tlsv13 alert missing extension"),
    (110, "tlsv1 unsupported extension"),
    (111, "tlsv1 certificate unobtainable"),
    (112, "tlsv1 unrecognized name"),
    (113, "tlsv1 bad certificate status response"),
    (115, "tlsv1 alert unknown psk identity"),
    (116, "tlsv13 alert certificate required"),
    (120, "tlsv1 alert no application protocol"),
];
const ALERTS_FROM: u16 = 1000;

impl FailureCodes {
    /// Returns OpenSSL's error number including the library. 0 means none.
    pub fn library(self) -> u32 {
        match self.reason {
            0 => 0,
            reason => LIBRARY | u32::from(reason),
        }
    }

    /// Returns the codes for a connection to a server, where HAProxy has one number for all TLS
    /// errors.
    pub fn for_server_connection(self) -> FailureCodes {
        FailureCodes {
            connection: connection::HANDSHAKE,
            ..self
        }
    }

    /// Returns HAProxy's text for the connection error.
    pub fn words(self) -> &'static str {
        match self.connection {
            0 => "Success",
            connection::CLOSED => "Connection closed during SSL handshake",
            connection::TIMEOUT => "Timeout during SSL handshake",
            connection::TOO_MANY => "Too many SSL connections",
            connection::AUTHORITY => "SSL client CA chain cannot be verified",
            connection::CERTIFICATE => "SSL client certificate not trusted",
            _ => "SSL handshake failure",
        }
    }

    /// Returns OpenSSL's text. None without a reason.
    pub fn library_words(self) -> Option<String> {
        let number = self.library();
        let said =
            |what: &dyn fmt::Display| Some(format!("error:{number:08X}:SSL routines::{what}"));
        let reason = REASONS.iter().find(|(known, _)| *known == self.reason);
        let alert = self.reason.checked_sub(ALERTS_FROM);
        let alert = alert.and_then(|alert| ALERTS.iter().find(|(n, _)| u16::from(*n) == alert));
        match (self.reason, reason, alert) {
            (0, ..) => None,
            (_, Some((_, words)), _) => said(words),
            (_, _, Some((_, words))) => said(words),
            (reason, None, None) => said(&format_args!("reason({reason})")),
        }
    }
}

impl Failure {
    pub fn broken(&self) -> FailureCodes {
        let of = |connection, reason| FailureCodes { connection, reason };
        match self {
            Failure::Nothing | Failure::Closed => of(connection::CLOSED, 0),
            Failure::Timeout => of(connection::TIMEOUT, 0),
            Failure::TooMany => of(connection::TOO_MANY, 0),
            Failure::Foreign => of(connection::HANDSHAKE, 0x10b),
            Failure::Http => of(connection::HANDSHAKE, 0x9c),
            Failure::Refused(ClientHelloAlert::PROTOCOL_VERSION) => {
                of(connection::HANDSHAKE, 0x102)
            }
            Failure::Refused(_) => of(connection::HANDSHAKE, 0xea),
            Failure::Tls(error, verified, _) => match verified.refused {
                Some(failure) if failure.depth > 0 => of(connection::AUTHORITY, 0x86),
                Some(_) => of(connection::CERTIFICATE, 0x86),
                None => of(connection::HANDSHAKE, reason(error)),
            },
        }
    }
}

fn reason(error: &Error) -> u16 {
    match error {
        Error::NoCertificatesPresented => 0xc7,
        Error::AlertReceived(alert) => ALERTS_FROM + u16::from(number(*alert)),
        Error::InvalidCertificate(_) => 0x86,
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        ) => 0xc1,
        Error::PeerIncompatible(_) => 0x102,
        Error::NoApplicationProtocol => 0xeb,
        Error::InvalidMessage(_) => 0x9f,
        Error::DecryptError => 0x119,
        Error::Other(OtherError(other)) if other.is::<WrongCurve>() => 0x17a,
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => 0xf4,
        _ => 0x44,
    }
}

fn number(alert: AlertDescription) -> u8 {
    u8::from(alert)
}

#[cfg(test)]
mod tests {
    use super::super::chain;
    use super::super::verify::Verified;
    use super::*;
    use std::sync::Arc;

    /// The expected texts are those that HAProxy 2.6 logs with OpenSSL 3.0.
    #[test]
    fn failures_have_the_numbers_and_texts_of_haproxy() {
        let told = |failure: Failure| {
            let broken = failure.broken();
            let library = broken.library_words().unwrap_or_default();
            format!("{} {} {}", broken.connection, broken.words(), library)
        };
        let tls = |error| Failure::Tls(error, Verified::default(), None);
        assert_eq!(
            told(tls(Error::NoCertificatesPresented)),
            "34 SSL handshake failure \
             error:0A0000C7:SSL routines::peer did not return a certificate"
        );
        assert_eq!(
            told(tls(Error::AlertReceived(AlertDescription::UnknownCA))),
            "34 SSL handshake failure error:0A000418:SSL routines::tlsv1 alert unknown ca"
        );
        assert_eq!(
            told(tls(Error::AlertReceived(AlertDescription::Unknown(200)))),
            "34 SSL handshake failure error:0A0004B0:SSL routines::reason(1200)"
        );
        assert_eq!(
            told(tls(Error::Other(OtherError(Arc::new(WrongCurve))))),
            "34 SSL handshake failure error:0A00017A:SSL routines::wrong curve"
        );
        let refused = |depth| {
            let failure = chain::ChainError { depth, code: 10 };
            let verified = Verified {
                refused: Some(failure),
                ..Verified::default()
            };
            told(Failure::Tls(Error::NoCertificatesPresented, verified, None))
        };
        assert_eq!(
            refused(0),
            "31 SSL client certificate not trusted \
             error:0A000086:SSL routines::certificate verify failed"
        );
        assert!(refused(1).starts_with("30 SSL client CA chain cannot be verified"));
        assert_eq!(
            told(Failure::Http),
            "34 SSL handshake failure error:0A00009C:SSL routines::http request"
        );
        assert_eq!(
            told(Failure::Refused(ClientHelloAlert::UNRECOGNIZED_NAME)),
            "34 SSL handshake failure error:0A0000EA:SSL routines::callback failed"
        );
        assert_eq!(told(Failure::Timeout), "26 Timeout during SSL handshake ");
        assert_eq!(
            told(Failure::Nothing),
            "24 Connection closed during SSL handshake "
        );
        assert_eq!(FailureCodes::default().words(), "Success");
        assert_eq!(FailureCodes::default().library(), 0);
    }
}
