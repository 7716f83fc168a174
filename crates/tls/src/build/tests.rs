//! Tests TLS settings by complete handshakes in memory. No socket is used.

use super::*;
use crate::authorities::Authorities;
use crate::connector::{ClientSettings, Connector};
use crate::ignore::IgnoredErrors;
use crate::settings::{ClientAuth, Verify};
use crate::verify::{Verified, with_outcome};
use crate::versions::SpokenVersions;
use crate::{chain, suites};
use lab::pki::{self, Authority, Issued, Leaf};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ClientConnection, NamedGroup, ProtocolVersion, ServerConnection};

fn certified(issued: &Issued) -> Arc<CertifiedKey> {
    let key = provider().key_provider.load_private_key(issued.key());
    Arc::new(CertifiedKey::new(
        issued.certificates(),
        key.expect("a key"),
    ))
}

fn believe(authority: &Authority) -> Option<Arc<Authorities>> {
    let made = Authorities::from_pem(authority.certificate_pem().as_bytes());
    made.ok().map(Arc::new)
}

fn resumption() -> Resumption {
    Resumption {
        tickets: rustls::crypto::aws_lc_rs::Ticketer::new().ok(),
        sessions: rustls::server::ServerSessionMemoryCache::new(16),
    }
}

/// The configurations of both peers.
struct PeerConfigs {
    server: Arc<ServerConfig>,
    connector: Connector,
}

#[derive(Debug)]
struct Done {
    version: ProtocolVersion,
    suite: CipherSuite,
    group: NamedGroup,
    alpn: Option<Vec<u8>>,
    sni: Option<String>,
    resumed: bool,
    /// Result of the server's verification of the client, and of the client's of the server.
    client: Verified,
    server: Verified,
}

fn ends(server: &ServerSettings, shown: &Issued, client: ClientSettings) -> PeerConfigs {
    let resolver = Arc::new(SingleCertAndKey::from(certified(shown)));
    let server = server_config(server, resolver, resumption()).expect("a server");
    PeerConfigs {
        server: Arc::new(server),
        connector: Connector::new(client).expect("a client"),
    }
}

/// Performs a handshake in memory. The error contains the verification results of both sides.
fn shake(ends: &PeerConfigs, name: &str) -> Result<Done, (rustls::Error, Verified, Verified)> {
    let name = ends.connector.name(name.as_bytes()).expect("a name");
    let mut client = ClientConnection::new(ends.connector.config(), name).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(&ends.server)).expect("a server");
    let (mut of_client, mut of_server) = (Verified::default(), Verified::default());
    // A handshake with its tickets needs fewer rounds.
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        let mut unread = &wire[..];
        while !unread.is_empty() && server.read_tls(&mut unread).expect("memory") > 0 {
            let (done, found) = with_outcome(|| server.process_new_packets());
            if found.verified {
                of_client = found;
            }
            done.map_err(|error| (error, of_client, of_server))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut unread = &wire[..];
        while !unread.is_empty() && client.read_tls(&mut unread).expect("memory") > 0 {
            let (done, found) = with_outcome(|| client.process_new_packets());
            if found.verified {
                of_server = found;
            }
            done.map_err(|error| (error, of_client, of_server))?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let group = server.negotiated_key_exchange_group().expect("a group");
    Ok(Done {
        version: server.protocol_version().expect("a version"),
        suite: server.negotiated_cipher_suite().expect("a suite").suite(),
        group: group.name(),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        sni: server.server_name().map(str::to_owned),
        resumed: server.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        client: of_client,
        server: of_server,
    })
}

fn server_leaf() -> Leaf<'static> {
    Leaf {
        names: &["www.example.com"],
        ..Leaf::default()
    }
}

fn listed(parameters: Parameters) -> ServerSettings {
    ServerSettings {
        parameters,
        ..ServerSettings::default()
    }
}

#[test]
fn the_usual_handshake_is_tls_1_3_with_x25519() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let settings = ServerSettings {
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        ..ServerSettings::default()
    };
    let client = ClientSettings {
        alpn: vec![b"http/1.1".to_vec(), b"h2".to_vec()],
        verify: true,
        authorities: believe(&root),
        ..ClientSettings::default()
    };
    let ends = ends(&settings, &leaf, client);
    let done = shake(&ends, "www.example.com").expect("it works");
    assert_eq!(done.version, ProtocolVersion::TLSv1_3);
    assert_eq!(done.group, NamedGroup::X25519);
    // The order of the server decides.
    assert_eq!(done.alpn.as_deref(), Some(&b"h2"[..]));
    assert_eq!(done.sni.as_deref(), Some("www.example.com"));
    assert!(!done.resumed && done.server.verified && done.server.last.is_none());
    assert!(shake(&ends, "www.example.com").expect("it works").resumed);
}

#[test]
fn lists_and_versions_decide_what_is_negotiated() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let old = SpokenVersions {
        tls12: true,
        tls13: false,
    };
    let order = suites::ciphers("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256");
    let settings = listed(Parameters {
        versions: old,
        ciphers: Some(order.supported.into()),
        curves: Some([NamedGroup::secp384r1].into()),
        ..Parameters::default()
    });
    let prefers = |prefer_client_ciphers| ServerSettings {
        prefer_client_ciphers,
        ..settings.clone()
    };
    let suite = |settings: &ServerSettings| {
        let ends = ends(settings, &leaf, ClientSettings::default());
        let done = shake(&ends, "a").expect("it works");
        assert_eq!(done.version, ProtocolVersion::TLSv1_2);
        assert_eq!(done.group, NamedGroup::secp384r1);
        suites::openssl_name(done.suite)
    };
    assert_eq!(suite(&prefers(false)), "ECDHE-ECDSA-CHACHA20-POLY1305");
    let reversed = ClientSettings {
        parameters: Parameters {
            ciphers: Some(suites::ciphers("AES128:CHACHA20").supported.into()),
            ..Parameters::default()
        },
        ..ClientSettings::default()
    };
    let ends = ends(&prefers(true), &leaf, reversed);
    let done = shake(&ends, "a").expect("it works");
    assert_eq!(
        suites::openssl_name(done.suite),
        "ECDHE-ECDSA-AES128-GCM-SHA256"
    );
}

#[test]
fn nothing_left_of_the_only_version_is_an_error() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let build = |parameters| {
        let resolver = Arc::new(SingleCertAndKey::from(certified(&leaf)));
        server_config(&listed(parameters), resolver, resumption()).map(|_| ())
    };
    let only = |tls12| SpokenVersions {
        tls12,
        tls13: !tls12,
    };
    let none = Parameters {
        versions: only(true),
        ciphers: Some([].into()),
        ..Parameters::default()
    };
    assert!(matches!(build(none), Err(BuildError::NoCipher)));
    let none = Parameters {
        versions: only(false),
        ciphersuites: Some([].into()),
        ..Parameters::default()
    };
    assert!(matches!(build(none), Err(BuildError::NoCiphersuite)));
    let none = Parameters {
        curves: Some([].into()),
        ..Parameters::default()
    };
    assert!(matches!(build(none), Err(BuildError::NoGroup)));
}

#[test]
fn servers_are_verified_by_the_name_that_is_sent_or_else_by_verifyhost() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let with_host = |host: Option<&str>| {
        let client = ClientSettings {
            verify: true,
            authorities: believe(&root),
            verify_host: host.map(Into::into),
            ..ClientSettings::default()
        };
        ends(&ServerSettings::default(), &leaf, client)
    };
    let mismatch = |found: Result<Done, (rustls::Error, Verified, Verified)>| {
        let (.., server) = found.expect_err("another name");
        server.refused.map(|failure| failure.code)
    };
    let bad = Some(chain::code::HOSTNAME_MISMATCH);
    // Without any name only the issuer matters.
    assert!(shake(&with_host(None), "").is_ok());
    assert_eq!(mismatch(shake(&with_host(None), "other.example.com")), bad);
    assert!(shake(&with_host(Some("www.example.com")), "").is_ok());
    assert_eq!(mismatch(shake(&with_host(Some("b.example")), "")), bad);
    // The server name in the handshake takes precedence over the configured host.
    assert!(shake(&with_host(Some("b.example")), "www.example.com").is_ok());
}

#[test]
fn untrusted_servers_are_refused_unless_verification_is_off() {
    let root = Authority::new("root").expect("made");
    let own = pki::self_signed(&server_leaf()).expect("made");
    let asks = |verify| {
        let client = ClientSettings {
            verify,
            authorities: believe(&root),
            ..ClientSettings::default()
        };
        ends(&ServerSettings::default(), &own, client)
    };
    let (.., server) = shake(&asks(true), "www.example.com").expect_err("unknown");
    let code = server.refused.map(|failure| failure.code);
    assert_eq!(code, Some(chain::code::DEPTH_ZERO_SELF_SIGNED_CERT));
    assert!(shake(&asks(false), "any.example.com").is_ok());
}

#[test]
fn client_certificates_and_ignored_errors_are_recorded() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let settings = |mode, ignored| ServerSettings {
        client: ClientAuth {
            mode,
            authorities: believe(&root),
            crt_ignore_err: ignored,
            ..ClientAuth::default()
        },
        ..ServerSettings::default()
    };
    let client = Leaf {
        subject: &[("CN", "client")],
        client: true,
        ..Leaf::default()
    };
    let good = root.issue(&client).expect("issued");
    let old = root.issue(&client.expired()).expect("issued");
    let showing = |issued: Option<&Issued>| ClientSettings {
        certificate: issued.map(certified),
        ..ClientSettings::default()
    };
    let strict = settings(Verify::Required, IgnoredErrors::default());
    let found = shake(&ends(&strict, &leaf, showing(Some(&good))), "").expect("it works");
    assert!(found.client.verified && found.client.last.is_none());
    assert!(shake(&ends(&strict, &leaf, showing(None)), "").is_err());
    let (_, refused, _) =
        shake(&ends(&strict, &leaf, showing(Some(&old))), "").expect_err("expired");
    assert_eq!(
        refused.refused.map(|f| f.code),
        Some(chain::code::CERT_HAS_EXPIRED)
    );
    let optional = settings(Verify::Optional, IgnoredErrors::default());
    let found = shake(&ends(&optional, &leaf, showing(None)), "").expect("it works");
    assert!(!found.client.verified);
    let lenient = settings(
        Verify::Required,
        IgnoredErrors::parse("10").expect("a number"),
    );
    let found = shake(&ends(&lenient, &leaf, showing(Some(&old))), "").expect("it works");
    assert_eq!(found.client.verify_code(), chain::code::CERT_HAS_EXPIRED);
    assert!(found.client.refused.is_none());
}

#[test]
fn configured_signature_algorithms_are_respected() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let only = |scheme| {
        let settings = listed(Parameters {
            sigalgs: Some([scheme].into()),
            ..Parameters::default()
        });
        shake(&ends(&settings, &leaf, ClientSettings::default()), "a").is_ok()
    };
    assert!(only(rustls::SignatureScheme::ECDSA_NISTP256_SHA256));
    assert!(!only(rustls::SignatureScheme::RSA_PSS_SHA256));
}

#[test]
fn sessions_are_not_resumed_if_disabled() {
    let root = Authority::new("root").expect("made");
    let leaf = root.issue(&server_leaf()).expect("issued");
    let client = ClientSettings {
        no_resumption: true,
        ..ClientSettings::default()
    };
    let ends = ends(&ServerSettings::default(), &leaf, client);
    for _ in 0..2 {
        assert!(!shake(&ends, "a").expect("it works").resumed);
    }
}
