//! Holds the properties of a TLS connection after its handshake, for fetches and logs.

use super::failure::Failure;
use super::failure::FailureCodes;
use super::hello::Hello;
use super::keylog::Secrets;
use super::verify::Verified;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
use std::sync::Arc;

/// The result of a handshake.
#[derive(Clone, Debug)]
pub struct Info {
    pub version: ProtocolVersion,
    pub suite: CipherSuite,
    pub sni: Option<Box<str>>,
    /// Key exchange group. None if a session was resumed without a key exchange.
    pub group: Option<NamedGroup>,
    pub alpn: Option<Box<[u8]>>,
    pub resumed: bool,
    /// True if data arrived before the handshake was complete. Such data could be a replay.
    pub early_data: bool,
    /// Certificates of the peer, the leaf first. If a client resumed a session, those of the
    /// original handshake.
    pub peer_certificates: Option<Arc<[CertificateDer<'static>]>>,
    pub verified: Verified,
    pub own_certificate: Option<Arc<CertifiedKey>>,
    /// The offer of the client, if `tune.ssl.capture-buffer-size` is set.
    pub offer: Option<Box<ClientHelloOffer>>,
    pub clear: Option<Box<Clear>>,
    /// Session secrets, if `tune.ssl.keylog` is set.
    pub secrets: Option<Box<Secrets>>,
    pub broken: Option<FailureCodes>,
}

/// The plaintext fields of a handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clear {
    pub client_random: Option<[u8; 32]>,
    pub server_random: Option<[u8; 32]>,
    /// Session ID in the ServerHello.
    pub session_id: Option<Box<[u8]>>,
}

/// Offer of a client in its ClientHello: the lists as sent, up to the size limit. Numbers have
/// two bytes each, except point formats, which have one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHelloOffer {
    /// Legacy version field as one number.
    pub version: u16,
    pub ciphers: Box<[u8]>,
    /// Hash of all cipher suites, including those beyond the size limit.
    pub ciphers_hash: u64,
    /// The numbers of all extensions, two bytes each.
    pub extensions: Box<[u8]>,
    pub groups: Box<[u8]>,
    pub point_formats: Box<[u8]>,
    pub versions: Box<[u8]>,
    pub signature_schemes: Box<[u8]>,
}

const GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const VERSIONS: u16 = 43;
const SIGNATURE_SCHEMES: u16 = 13;

impl ClientHelloOffer {
    /// Copies the lists of a ClientHello in the order of the fields, at most `room_bytes`
    /// bytes together.
    pub fn of(hello: &Hello<'_>, room_bytes: usize) -> ClientHelloOffer {
        let mut room = room_bytes;
        let mut keep = |list: &[u8]| -> Box<[u8]> {
            let kept = &list[..list.len().min(room)];
            room -= kept.len();
            kept.into()
        };
        let extensions: Vec<u8> = hello
            .all_extensions()
            .flat_map(|(number, _)| number.to_be_bytes())
            .collect();
        let list = |extension: u16, count_bytes: usize| {
            let found = hello.extension(extension);
            found.and_then(|mut content| content.counted(count_bytes))
        };
        ClientHelloOffer {
            version: u16::from_be_bytes([hello.version.0, hello.version.1]),
            ciphers: keep(hello.ciphers),
            ciphers_hash: twox_hash::XxHash64::oneshot(0, hello.ciphers),
            extensions: keep(&extensions),
            groups: keep(list(GROUPS, 2).map_or(&[], |list| list.0)),
            point_formats: keep(list(POINT_FORMATS, 1).map_or(&[], |list| list.0)),
            versions: keep(list(VERSIONS, 1).map_or(&[], |list| list.0)),
            signature_schemes: keep(list(SIGNATURE_SCHEMES, 2).map_or(&[], |list| list.0)),
        }
    }
}

impl Info {
    /// Creates the properties of a handshake of which only the version and the suite are known
    /// yet.
    pub fn new(version: ProtocolVersion, suite: CipherSuite) -> Info {
        Info {
            version,
            suite,
            group: None,
            sni: None,
            alpn: None,
            resumed: false,
            early_data: false,
            peer_certificates: None,
            verified: Verified::default(),
            own_certificate: None,
            offer: None,
            clear: None,
            secrets: None,
            broken: None,
        }
    }

    /// Creates the properties of a failed handshake, with the parameters that were already
    /// negotiated.
    pub fn failed(failure: &Failure, wanted: ProtocolVersion) -> Info {
        let (agreed, verified) = match failure {
            Failure::Tls(_, verified, agreed) => (*agreed, *verified),
            _ => (None, Verified::default()),
        };
        let (version, suite) = agreed.unwrap_or((wanted, CipherSuite::TLS_NULL_WITH_NULL_NULL));
        Info {
            broken: Some(failure.broken()),
            verified,
            ..Info::new(version, suite)
        }
    }

    pub fn failed_with_server(failure: &Failure) -> Info {
        let mut info = Info::failed(failure, ProtocolVersion::TLSv1_3);
        info.broken = info.broken.map(FailureCodes::for_server_connection);
        info
    }

    /// Returns OpenSSL's name of the version.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            // Names older versions, too, which occur only in logs of refused clients.
            ProtocolVersion::SSLv3 => "SSLv3",
            ProtocolVersion::TLSv1_0 => "TLSv1",
            ProtocolVersion::TLSv1_1 => "TLSv1.1",
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "unknown",
        }
    }

    /// Returns OpenSSL's name of the suite.
    pub fn suite_name(&self) -> &'static str {
        super::suites::openssl_name(self.suite)
    }

    pub fn group_name(&self) -> Option<&'static str> {
        super::groups::iana_name(self.group?)
    }

    pub fn key_bits(&self) -> u16 {
        use rustls::CipherSuite as Suite;
        match self.suite {
            Suite::TLS13_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 128,
            // Counts the remaining suites as 256 bits: they use AES with 256 bits or ChaCha20.
            _ => 256,
        }
    }

    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let first = self.peer_certificates.as_ref()?.first()?;
        Some(first.as_ref())
    }

    pub fn shown_certificate(&self) -> Option<&[u8]> {
        let first = self.own_certificate.as_ref()?.cert.first()?;
        Some(first.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::extension;

    #[test]
    fn offer_is_recorded_up_to_the_limit() {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0]);
        let extensions = [
            extension(10, &[0, 4, 0, 29, 0, 23]),
            extension(11, &[2, 0, 1]),
        ]
        .concat();
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let hello = Hello::of_body(&body).unwrap();
        let whole = ClientHelloOffer::of(&hello, 100);
        assert_eq!(whole.version, 771);
        assert_eq!(*whole.extensions, [0, 10, 0, 11]);
        assert_eq!(*whole.groups, [0, 29, 0, 23]);
        assert_eq!(*whole.point_formats, [0, 1]);
        let cut = ClientHelloOffer::of(&hello, 10);
        assert_eq!(*cut.groups, [0, 29]);
        assert!(cut.point_formats.is_empty());
        assert_eq!(cut.ciphers_hash, whole.ciphers_hash);
    }

    #[test]
    fn names_and_bits_are_openssls() {
        let info = Info::new(
            ProtocolVersion::TLSv1_3,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        );
        assert_eq!(info.version_name(), "TLSv1.3");
        assert_eq!(info.suite_name(), "TLS_CHACHA20_POLY1305_SHA256");
        assert_eq!(info.key_bits(), 256);
        assert!(info.peer_certificate().is_none());
    }
}
