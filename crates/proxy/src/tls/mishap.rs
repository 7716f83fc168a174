//! Why a handshake failed, by the numbers and words of HAProxy and of OpenSSL,
//! for fetches (`fc_err`, `ssl_fc_err`) and logs. Nothing here decides anything.

use super::handshake::{Failure, Refusal};
use rustls::{AlertDescription, Error, PeerIncompatible};

/// A handshake that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mishap {
    /// HAProxy's number (`fc_err`).
    pub number: u8,
    /// Its words for that.
    pub text: &'static str,
    /// The reason in OpenSSL's error; 0 for none, where nothing of TLS went wrong.
    reason: u32,
}

/// The library of TLS among those of OpenSSL's errors, in its place.
const LIBRARY: u32 = 20 << 23;
/// Alerts of the peer are reasons from here on.
const ALERT: u32 = 1000;

const NO_MATCH: u32 = 193;
const NO_KEY_SHARE: u32 = 101;
const NO_SIGNATURE: u32 = 118;
const UNSUPPORTED_PROTOCOL: u32 = 258;
const VERIFY_FAILED: u32 = 134;
const WRONG_VERSION: u32 = 267;

/// OpenSSL's words for its reasons.
const REASONS: &[(u32, &str)] = &[
    (NO_KEY_SHARE, "no suitable key share"),
    (NO_SIGNATURE, "no suitable signature algorithm"),
    (VERIFY_FAILED, "certificate verify failed"),
    (155, "https proxy request"),
    (156, "http request"),
    (159, "length mismatch"),
    (NO_MATCH, "no shared cipher"),
    (199, "peer did not return a certificate"),
    (234, "callback failed"),
    (235, "no application protocol"),
    (244, "unexpected message"),
    (UNSUPPORTED_PROTOCOL, "unsupported protocol"),
    (WRONG_VERSION, "wrong version number"),
    (281, "decryption failed or bad record mac"),
    (1010, "sslv3 alert unexpected message"),
    (1020, "sslv3 alert bad record mac"),
    (1022, "tlsv1 alert record overflow"),
    (1040, "sslv3 alert handshake failure"),
    (1042, "sslv3 alert bad certificate"),
    (1043, "sslv3 alert unsupported certificate"),
    (1044, "sslv3 alert certificate revoked"),
    (1045, "sslv3 alert certificate expired"),
    (1046, "sslv3 alert certificate unknown"),
    (1047, "sslv3 alert illegal parameter"),
    (1048, "tlsv1 alert unknown ca"),
    (1049, "tlsv1 alert access denied"),
    (1050, "tlsv1 alert decode error"),
    (1051, "tlsv1 alert decrypt error"),
    (1070, "tlsv1 alert protocol version"),
    (1071, "tlsv1 alert insufficient security"),
    (1080, "tlsv1 alert internal error"),
    (1086, "tlsv1 alert inappropriate fallback"),
    (1090, "tlsv1 alert user cancelled"),
    (1109, "tlsv13 alert missing extension"),
    (1110, "tlsv1 unsupported extension"),
    (1112, "tlsv1 unrecognized name"),
    (1113, "tlsv1 bad certificate status response"),
    (1116, "tlsv13 alert certificate required"),
    (1120, "tlsv1 alert no application protocol"),
];

impl Mishap {
    /// What a failure is called. None: there was no handshake that could fail.
    pub fn of(failure: &Failure) -> Option<Mishap> {
        let mut mishap = Mishap {
            number: 34,
            text: "SSL handshake failure",
            reason: 0,
        };
        mishap.reason = match failure {
            Failure::Timeout | Failure::Nothing | Failure::Closed | Failure::TooMany => {
                return None;
            }
            Failure::Foreign => WRONG_VERSION,
            Failure::Http { proxied: true } => 155,
            Failure::Http { proxied: false } => 156,
            Failure::Refused(Refusal::PROTOCOL_VERSION) => UNSUPPORTED_PROTOCOL,
            Failure::Refused(Refusal::UNRECOGNIZED_NAME) => 234,
            Failure::Refused(_) => NO_MATCH,
            Failure::Tls(error, outcome, _) => match outcome.refused {
                Some(refused) => {
                    (mishap.number, mishap.text) = match refused.depth {
                        0 => (31, "SSL client certificate not trusted"),
                        _ => (30, "SSL client CA chain cannot be verified"),
                    };
                    VERIFY_FAILED
                }
                None => reason(error),
            },
        };
        Some(mishap)
    }

    /// The same failure on a server's connection: HAProxy has one number there.
    pub fn at_server(self) -> Mishap {
        Mishap {
            number: 34,
            text: "SSL handshake failure",
            ..self
        }
    }

    /// OpenSSL's number of the error (`ssl_fc_err`).
    pub fn openssl(self) -> u32 {
        LIBRARY | self.reason
    }

    /// OpenSSL's line for the error (`ssl_fc_err_str`).
    pub fn openssl_text(self) -> String {
        let known = REASONS.iter().find(|(reason, _)| *reason == self.reason);
        let number = self.openssl();
        match known {
            Some((_, words)) => format!("error:{number:08X}:SSL routines::{words}"),
            None => format!("error:{number:08X}:SSL routines::reason({})", self.reason),
        }
    }
}

/// OpenSSL's reason for what rustls says.
fn reason(error: &Error) -> u32 {
    match error {
        Error::AlertReceived(alert) => ALERT + u32::from(u8::from(*alert)),
        Error::NoCertificatesPresented => 199,
        Error::InvalidCertificate(_) => VERIFY_FAILED,
        Error::NoApplicationProtocol => 235,
        Error::DecryptError => 281,
        Error::PeerIncompatible(why) => match why {
            PeerIncompatible::NoSignatureSchemesInCommon => NO_SIGNATURE,
            PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::KeyShareExtensionRequired => {
                NO_KEY_SHARE
            }
            PeerIncompatible::NoCipherSuitesInCommon => NO_MATCH,
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic => UNSUPPORTED_PROTOCOL,
            _ => NO_MATCH,
        },
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => 244,
        Error::InvalidMessage(_) => WRONG_VERSION,
        _ => ALERT + u32::from(u8::from(AlertDescription::HandshakeFailure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{chain, verify};

    #[test]
    fn failures_have_the_numbers_and_words_of_haproxy_and_openssl() {
        let alert = Error::AlertReceived(AlertDescription::UnknownCA);
        let nobody = verify::Outcome::default();
        for (failure, number, line) in [
            (
                Failure::Tls(alert, nobody, None),
                34,
                "error:0A000418:SSL routines::tlsv1 alert unknown ca",
            ),
            (
                Failure::Tls(Error::NoCertificatesPresented, nobody, None),
                34,
                "error:0A0000C7:SSL routines::peer did not return a certificate",
            ),
            (
                Failure::Http { proxied: false },
                34,
                "error:0A00009C:SSL routines::http request",
            ),
            (
                Failure::Http { proxied: true },
                34,
                "error:0A00009B:SSL routines::https proxy request",
            ),
            (
                Failure::Refused(Refusal::PROTOCOL_VERSION),
                34,
                "error:0A000102:SSL routines::unsupported protocol",
            ),
            (
                Failure::Refused(Refusal::UNRECOGNIZED_NAME),
                34,
                "error:0A0000EA:SSL routines::callback failed",
            ),
            (
                Failure::Foreign,
                34,
                "error:0A00010B:SSL routines::wrong version number",
            ),
        ] {
            let mishap = Mishap::of(&failure).unwrap();
            assert_eq!((mishap.number, &*mishap.openssl_text()), (number, line));
        }
        let refused = |depth| verify::Outcome {
            refused: Some(chain::Failure { depth, code: 20 }),
            ..nobody
        };
        let failed = |depth| {
            let error = rustls::CertificateError::UnknownIssuer.into();
            Mishap::of(&Failure::Tls(error, refused(depth), None)).unwrap()
        };
        assert_eq!(failed(0).text, "SSL client certificate not trusted");
        assert_eq!(failed(1).number, 30);
        assert_eq!(failed(1).at_server().number, 34);
        assert!(Mishap::of(&Failure::Closed).is_none());
    }
}
