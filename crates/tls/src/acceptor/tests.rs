//! Tests which certificate a listener presents for a ClientHello.

use super::*;
use crate::certified::tests::certified;
use crate::crt_list::{self, List};
use crate::store::Store;
use crate::testing::{SCHEMES, shown};
use lab::pki::{KeyKind as K, Leaf, self_signed};
use rustls::{CipherSuite, SignatureScheme};
use std::sync::Weak;

pub(crate) fn add(store: &Store, file: &str, names: &[&str], key: K) {
    let issued = self_signed(&Leaf {
        names,
        key,
        ..Leaf::default()
    });
    store.add_certificate(file, certified(&issued.unwrap()));
}

pub(crate) fn acceptor(store: &Store, words: BindTls) -> Arc<Acceptor> {
    let made = store.with(|stock| {
        let words = Arc::new(words);
        Acceptor::new(words, TlsSide::default(), own_resumption, stock)
    });
    let made = Arc::new(made.unwrap());
    let weak: Weak<Acceptor> = Arc::downgrade(&made);
    store.register_dependent(weak);
    made
}

pub(crate) fn crt(names: &[&str]) -> CertificateSource {
    CertificateSource::Certificates(names.iter().map(|name| (*name).into()).collect())
}

pub(crate) fn entry(certificate: &str, line: u32, filters: &[&str]) -> crt_list::Entry {
    crt_list::Entry {
        certificate: certificate.into(),
        line,
        options: TlsLine::default(),
        option_words: "".into(),
        filters: filters
            .iter()
            .map(|filter| SniFilter::parse(filter.as_bytes()))
            .collect(),
    }
}

#[test]
fn certificate_is_chosen_by_name_then_wildcard_then_first() {
    let store = Store::default();
    add(&store, "a", &["a.example.com"], K::Ecdsa);
    add(&store, "w", &["*.example.com", "example.org"], K::Ecdsa);
    let mut words = BindTls {
        sources: vec![crt(&["a"]), crt(&["w"])],
        ..BindTls::default()
    };
    let made = acceptor(&store, words.clone());
    let cases = [
        ("", "a.example.com"),
        ("A.EXAMPLE.com", "a.example.com"),
        ("b.example.com", "*.example.com"),
        ("x.b.example.com", "a.example.com"),
        ("example.com", "a.example.com"),
        ("example.org", "*.example.com"),
        ("nowhere", "a.example.com"),
    ];
    for (name, expected) in cases {
        assert_eq!(shown(&made, name).as_deref(), Some(expected), "{name}");
    }
    words.line.side.strict_sni = true;
    let strict = acceptor(&store, words);
    assert_eq!(shown(&strict, ""), None);
    assert_eq!(shown(&strict, "nowhere"), None);
    assert_eq!(
        shown(&strict, "b.example.com").as_deref(),
        Some("*.example.com")
    );
}

#[test]
fn filters_of_a_list_replace_names_and_may_exclude() {
    let store = Store::default();
    for name in ["a", "b", "c"] {
        add(&store, name, &[name], K::Ecdsa);
    }
    let entries = vec![
        entry("a", 1, &[]),
        entry("b", 2, &["*.x.com", "!no.x.com", "y.com"]),
        entry("c", 3, &["!z.com"]),
    ];
    store.add_list(
        "list",
        List {
            entries,
            lines: 3,
            is_directory: false,
        },
    );
    let words = BindTls {
        sources: vec![CertificateSource::List("list".into())],
        ..BindTls::default()
    };
    let made = acceptor(&store, words);
    let cases = [
        ("a", "a"),
        ("b", "a"),
        ("k.x.com", "b"),
        ("y.com", "b"),
        ("no.x.com", "a"),
        // The filter only excludes: HAProxy 2.6 assigns it no name at all.
        ("c", "a"),
    ];
    for (name, expected) in cases {
        assert_eq!(shown(&made, name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn key_type_is_chosen_by_the_clients_abilities() {
    let store = Store::default();
    let kinds = [("e", K::Ecdsa), ("r", K::Rsa2048), ("d", K::Ed25519)];
    for (file, kind) in kinds {
        add(&store, file, &["x.com"], kind);
    }
    let words = BindTls {
        sources: vec![crt(&["r", "e"]), crt(&["d"])],
        ..BindTls::default()
    };
    let made = acceptor(&store, words);
    use SignatureScheme as S;
    let rsa12 = &[CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256][..];
    let all12 = &[
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ][..];
    use crate::certified::KeyKind;
    let cases: &[(&[S], &[CipherSuite], bool, KeyKind)] = &[
        (SCHEMES, &[], true, KeyKind::Ecdsa),
        (&[S::RSA_PSS_SHA256], &[], true, KeyKind::Rsa),
        (&[S::ED25519], &[], true, KeyKind::Ed25519),
        (
            &[S::ECDSA_NISTP384_SHA384, S::RSA_PSS_SHA256],
            &[],
            true,
            KeyKind::Rsa,
        ),
        (SCHEMES, rsa12, false, KeyKind::Rsa),
        (SCHEMES, all12, false, KeyKind::Ecdsa),
        // The client supports none of them, so it gets the first one, for the alert that follows.
        (&[], &[], true, KeyKind::Rsa),
    ];
    for name in [Some(&b"x.com"[..]), None] {
        for (schemes, suites, tls13, kind) in cases {
            // Only the certificates of the first `crt` are the default.
            if name.is_none() && *kind == KeyKind::Ed25519 {
                continue;
            }
            let offer = CertificateCriteria {
                server_name: name,
                schemes,
                suites,
                tls13: *tls13,
            };
            let chosen = made.choose(&offer).unwrap();
            assert_eq!(chosen.certified.kind, *kind, "{offer:?}");
        }
    }
}

#[test]
fn a_line_of_a_list_has_settings_of_its_own_and_others_share_theirs() {
    let store = Store::default();
    add(&store, "a", &["a"], K::Ecdsa);
    add(&store, "b", &["b"], K::Ecdsa);
    let mut own = entry("b", 2, &[]);
    own.options.alpn = Some(vec![b"h2".to_vec()]);
    let entries = vec![entry("a", 1, &[]), own, entry("a", 3, &["c"])];
    store.add_list(
        "list",
        List {
            entries,
            lines: 3,
            is_directory: false,
        },
    );
    let made = acceptor(
        &store,
        BindTls {
            sources: vec![CertificateSource::List("list".into())],
            ..BindTls::default()
        },
    );
    let config = |name: &str| {
        let offer = CertificateCriteria {
            server_name: Some(name.as_bytes()),
            schemes: SCHEMES,
            tls13: true,
            ..CertificateCriteria::default()
        };
        made.choose(&offer).unwrap().config
    };
    assert_eq!(config("b").alpn_protocols, [b"h2".to_vec()]);
    assert!(config("a").alpn_protocols.is_empty());
    assert!(Arc::ptr_eq(&config("a").ticketer, &config("c").ticketer));
    assert!(!Arc::ptr_eq(&config("a").ticketer, &config("b").ticketer));
}

#[test]
fn a_listener_needs_a_certificate_and_verification_needs_authorities() {
    let store = Store::default();
    add(&store, "a", &["a"], K::Ecdsa);
    let made = |words: BindTls| {
        store
            .with(|stock| Acceptor::new(Arc::new(words), TlsSide::default(), own_resumption, stock))
    };
    let none = made(BindTls::default());
    assert!(matches!(none, Err(AcceptorError::NoCertificate)));
    let mut words = BindTls::default();
    words.line.side.strict_sni = true;
    assert_eq!(made(words).unwrap().certificates(), 0);
    let mut words = BindTls {
        sources: vec![crt(&["a"])],
        ..BindTls::default()
    };
    words.line.verify = Some(Verify::Required);
    assert!(matches!(made(words), Err(AcceptorError::NoAuthorities)));
    let words = BindTls {
        sources: vec![crt(&["z"])],
        ..BindTls::default()
    };
    assert!(matches!(made(words), Err(AcceptorError::Missing(_))));
}
