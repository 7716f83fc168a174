//! The facts about a TLS connection after its handshake, for fetches and logs. Nothing
//! here decides anything.

use super::failure::Broken;
use super::failure::Failure;
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
    /// The version.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub suite: CipherSuite,
    /// The name of the server that the client wanted.
    pub sni: Option<Box<str>>,
    /// The group by which keys were agreed on; none where an old session went on
    /// without that.
    pub group: Option<NamedGroup>,
    /// The protocol that was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// An earlier session went on.
    pub resumed: bool,
    /// The first data came before the handshake was done, and could be a repeat.
    pub early_data: bool,
    /// The peer's certificates, its own first. Of a client's connection that was
    /// resumed they are those of the session.
    pub peer_certificates: Option<Arc<[CertificateDer<'static>]>>,
    /// The result of the verification of the peer's certificate.
    pub verified: Verified,
    /// The certificate that was shown to the client.
    pub own_certificate: Option<Arc<CertifiedKey>>,
    /// The offer of the client, if `tune.ssl.capture-buffer-size` is set.
    pub offer: Option<Box<Offer>>,
    /// The plaintext fields of both hellos, if known.
    pub clear: Option<Box<Clear>>,
    /// The keys, where `tune.ssl.keylog` asks for them.
    pub secrets: Option<Box<Secrets>>,
    /// Why there is no connection: of a handshake that failed, for its log.
    pub broken: Option<Broken>,
}

/// The plaintext fields of a handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clear {
    /// The client's random bytes.
    pub client_random: Option<[u8; 32]>,
    /// The server's.
    pub server_random: Option<[u8; 32]>,
    /// The session's id, as the server's hello has it.
    pub session_id: Option<Box<[u8]>>,
}

/// The offer of a ClientHello: its lists as sent, up to the size limit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// The version that the hello names, as one number.
    pub version: u16,
    /// Cipher suites, two bytes each.
    pub ciphers: Box<[u8]>,
    /// A hash of all of them, also of those there was no room for.
    pub ciphers_hash: u64,
    /// The numbers of all extensions, two bytes each.
    pub extensions: Box<[u8]>,
    /// Groups (curves), two bytes each.
    pub groups: Box<[u8]>,
    /// Formats of points, a byte each.
    pub point_formats: Box<[u8]>,
    /// Versions, two bytes each.
    pub versions: Box<[u8]>,
    /// Signature schemes, two bytes each.
    pub signature_schemes: Box<[u8]>,
}

/// The extension with the groups.
const GROUPS: u16 = 10;
/// The extension with the formats of points.
const POINT_FORMATS: u16 = 11;
/// The extension with the versions of TLS.
const VERSIONS: u16 = 43;
/// The extension with the signature schemes.
const SIGNATURE_SCHEMES: u16 = 13;

impl Offer {
    /// Copies the lists of a ClientHello in the order of the fields, at most `room_bytes`
    /// bytes together.
    pub fn of(hello: &Hello<'_>, room_bytes: usize) -> Offer {
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
        Offer {
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
    /// A handshake of which only the version and the suite are known yet.
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

    /// A handshake that failed: of what was agreed on there is what there was.
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

    /// Returns the result of a failed handshake with a server.
    pub fn failed_with_server(failure: &Failure) -> Info {
        let mut info = Info::failed(failure, ProtocolVersion::TLSv1_3);
        info.broken = info.broken.map(Broken::at_server);
        info
    }

    /// The version by OpenSSL's name.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            // Older ones only in logs of clients that were refused.
            ProtocolVersion::SSLv3 => "SSLv3",
            ProtocolVersion::TLSv1_0 => "TLSv1",
            ProtocolVersion::TLSv1_1 => "TLSv1.1",
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "unknown",
        }
    }

    /// The suite by OpenSSL's name.
    pub fn suite_name(&self) -> &'static str {
        super::suites::openssl_name(self.suite)
    }

    /// The group by which keys were agreed on, as IANA and OpenSSL name it.
    pub fn group_name(&self) -> Option<&'static str> {
        super::groups::iana_name(self.group?)
    }

    /// The bits of the cipher's key.
    pub fn key_bits(&self) -> u16 {
        use rustls::CipherSuite as Suite;
        match self.suite {
            Suite::TLS13_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 128,
            // AES with 256 bits and ChaCha20.
            _ => 256,
        }
    }

    /// The peer's own certificate.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let first = self.peer_certificates.as_ref()?.first()?;
        Some(first.as_ref())
    }

    /// The certificate that was shown to the client.
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
    fn an_offer_is_kept_as_far_as_the_room_goes() {
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
        let whole = Offer::of(&hello, 100);
        assert_eq!(whole.version, 771);
        assert_eq!(*whole.extensions, [0, 10, 0, 11]);
        assert_eq!(*whole.groups, [0, 29, 0, 23]);
        assert_eq!(*whole.point_formats, [0, 1]);
        let cut = Offer::of(&hello, 10);
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
