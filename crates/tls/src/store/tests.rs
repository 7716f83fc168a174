//! Tests changes of the certificate store by operators, and their effect on handshakes.

use super::*;
use crate::acceptor::Acceptor;
use crate::acceptor::tests::{acceptor, add, crt, entry};
use crate::certified::tests::certified;
use crate::settings::{BindTls, CertificateSource, TlsLine, Verify};
use crate::testing::{FAR, answer, shown};
use base64::Engine;
use lab::pki::{Authority, Issued, KeyKind, Leaf, self_signed};

fn issue(name: &str) -> Issued {
    self_signed(&Leaf {
        names: &[name],
        ..Leaf::default()
    })
    .unwrap()
}

/// Makes a store with a list of one certificate, and a listener that uses it.
fn served() -> (Store, Arc<Acceptor>) {
    let store = Store::default();
    add(&store, "a.pem", &["a.com"], KeyKind::Ecdsa);
    let entries = vec![entry("a.pem", 1, &[])];
    store.add_list(
        "list",
        List {
            entries,
            lines: 1,
            is_directory: false,
        },
    );
    let words = BindTls {
        ssl: true,
        sources: vec![CertificateSource::List("list".into())],
        ..BindTls::default()
    };
    let made = acceptor(&store, words);
    (store, made)
}

fn told(result: Result<String, StoreError>) -> String {
    result.unwrap_or_else(|error| format!("refused: {error}"))
}

#[test]
fn a_certificate_is_replaced_for_new_handshakes_and_old_ones_keep_theirs() {
    let (store, made) = served();
    let before = store.certificate("a.pem").unwrap();
    let weak = Arc::downgrade(&before);
    let new = issue("new.com");
    let set = store.set_certificate("a.pem", new.bundle().as_bytes());
    assert_eq!(told(set), "Transaction created for certificate a.pem!\n");
    assert_eq!(shown(&made, "new.com").as_deref(), Some("a.com"));
    assert_eq!(
        store.show_certificates(),
        "# transaction\n*a.pem\n# filename\na.pem\n"
    );
    let committed = store.commit_certificate("a.pem");
    assert_eq!(told(committed), "Committing a.pem.\nSuccess!\n");
    assert_eq!(shown(&made, "new.com").as_deref(), Some("new.com"));
    assert!(before.names.iter().any(|name| **name == *b"a.com"));
    drop(before);
    assert!(weak.upgrade().is_none(), "the one before is freed");
    let again = store.commit_certificate("a.pem");
    assert_eq!(
        told(again),
        "refused: No ongoing transaction! !\nCan't commit a.pem!"
    );
}

#[test]
fn a_transaction_that_is_not_whole_changes_nothing() {
    let (store, made) = served();
    let (one, other) = (issue("one.com"), issue("other.com"));
    let mixed = [one.certificate_pem.as_str(), &other.key_pem].concat();
    store.set_certificate("a.pem", mixed.as_bytes()).unwrap();
    assert_eq!(
        told(store.commit_certificate("a.pem")),
        "refused: inconsistencies between private key and certificate loaded 'a.pem'.\nCan't commit a.pem!"
    );
    let alone = one.certificate_pem.as_bytes();
    store.set_certificate("a.pem", alone).unwrap();
    assert_eq!(
        told(store.commit_certificate("a.pem")),
        "refused: The transaction must contain at least a certificate and a private key!\nCan't commit a.pem!"
    );
    // The key may be set separately.
    store
        .set_certificate("a.pem.key", one.key_pem.as_bytes())
        .unwrap();
    assert_eq!(
        told(store.abort_certificate("a.pem")),
        "Transaction aborted for certificate 'a.pem'!\n"
    );
    assert_eq!(
        told(store.abort_certificate("a.pem")),
        "refused: No ongoing transaction!"
    );
    assert_eq!(shown(&made, "").as_deref(), Some("a.com"));
    let unknown = told(store.set_certificate("z.pem", alone));
    assert!(
        unknown.contains("not referenced by the configuration"),
        "{unknown}"
    );
    let junk = told(store.set_certificate("a.pem", b"junk"));
    assert!(
        junk.contains("unable to load certificate from file 'a.pem'"),
        "{junk}"
    );
}

#[test]
fn new_cas_and_crls_reach_their_users() {
    let store = Store::default();
    let (old, new) = (
        Authority::new("old").unwrap(),
        Authority::new("new").unwrap(),
    );
    let authorities = Authorities::from_pem(old.certificate_pem().as_bytes()).unwrap();
    store.add_authorities("ca", Arc::new(authorities));
    add(&store, "a.pem", &["a.com"], KeyKind::Ecdsa);
    let words = BindTls {
        ssl: true,
        line: TlsLine {
            verify: Some(Verify::Required),
            ca_file: Some("ca".into()),
            ..TlsLine::default()
        },
        sources: vec![crt(&["a.pem"])],
        ..BindTls::default()
    };
    let made = acceptor(&store, words);
    let config = || {
        let offer = crate::sni::CertificateCriteria::default();
        made.choose(&offer).unwrap().config
    };
    let before = config();
    assert_eq!(
        told(store.set_authorities("ca", new.certificate_pem().as_bytes())),
        "transaction created for CA ca!\n"
    );
    assert_eq!(
        told(store.commit_authorities("ca")),
        "Committing ca.\nSuccess!\n"
    );
    // Sessions of the old CA file are not resumed with the new one.
    assert!(!Arc::ptr_eq(&before.ticketer, &config().ticketer));
    sessions_of_other_authorities_are_not_resumed();
    assert_eq!(
        store.show_authorities(),
        "# filename\nca - 1 certificate(s)\n"
    );
    let shown = told(store.show_authority("ca"));
    assert!(
        shown.contains("Status: Used") && shown.contains("/CN=new\n"),
        "{shown}"
    );
    assert!(told(store.delete_authorities("ca")).contains("in use"));
    assert_eq!(
        told(store.new_authorities("z")),
        "New CA file created 'z'!\n"
    );
    assert!(told(store.set_authorities("z", b"junk")).contains("Invalid payload"));
    assert_eq!(
        told(store.delete_authorities("z")),
        "CA file 'z' deleted!\n"
    );
    store.new_revocations("l").unwrap();
    let list = old.crl(&[b"\x05"]).unwrap();
    store.set_revocations("l", list.as_bytes()).unwrap();
    assert_eq!(
        told(store.commit_revocations("l")),
        "Committing l\nSuccess!\n"
    );
    let shown = told(store.show_revocation("l:1"));
    assert!(
        shown.contains("Status: Unused") && shown.contains("/CN=old\n"),
        "{shown}"
    );
}

/// A user of one certificate that refuses it with an OCSP response.
struct RefusesOcsp {
    name: &'static str,
    place: ConfigLocation,
}

impl Dependent for RefusesOcsp {
    fn prepare(self: Arc<Self>, stock: &Stock) -> Result<Prepared, String> {
        let certified = stock.certificate(self.name).map_err(|e| e.to_string())?;
        if certified.ocsp().is_some() {
            return Err("no OCSP here".to_owned());
        }
        Ok(Box::new(|| {}))
    }

    fn certificate_uses(&self, name: &str) -> usize {
        usize::from(name == self.name)
    }

    fn list_uses(&self, _: &str) -> usize {
        0
    }

    fn file_uses(&self, _: &str) -> usize {
        0
    }

    fn names_file(&self, _: &str) -> bool {
        false
    }

    fn place(&self) -> &ConfigLocation {
        &self.place
    }
}

#[test]
fn ocsp_response_is_set_for_all_certificates_or_none() {
    let store = Store::default();
    let authority = Authority::new("CA").unwrap();
    let issued = authority
        .issue(&Leaf {
            names: &["a.com"],
            ..Leaf::default()
        })
        .unwrap();
    let mut parts = certified(&issued).parts();
    parts
        .take_issuer(authority.certificate_pem().as_bytes())
        .unwrap();
    for name in ["a.pem", "b.pem"] {
        store.add_certificate(name, parts.clone().certify().unwrap().0);
    }
    let id = store.certificate("a.pem").unwrap().ocsp_id.clone().unwrap();
    let der = answer(&id, 0, Some(FAR));
    let payload = base64::engine::general_purpose::STANDARD.encode(der);
    let has_response = |name| store.certificate(name).unwrap().ocsp().is_some();
    let dependent: Arc<dyn Dependent> = Arc::new(RefusesOcsp {
        name: "b.pem",
        place: ConfigLocation::default(),
    });
    store.register_dependent(Arc::downgrade(&dependent));
    let refused = told(store.set_ocsp(payload.as_bytes()));
    assert!(refused.contains("no OCSP here"), "{refused}");
    assert!(!has_response("a.pem") && !has_response("b.pem"));
    drop(dependent);
    told(store.set_ocsp(payload.as_bytes()));
    assert!(has_response("a.pem") && has_response("b.pem"));
}

#[test]
fn certificate_is_shown_with_ocsp_and_without_key() {
    let store = Store::default();
    let authority = Authority::new("CA").unwrap();
    let issued = authority
        .issue(&Leaf {
            names: &["a.com"],
            ..Leaf::default()
        })
        .unwrap();
    let mut parts = certified(&issued).parts();
    parts
        .take_issuer(authority.certificate_pem().as_bytes())
        .unwrap();
    store.add_certificate("a.pem", parts.certify().unwrap().0);
    let id = store.certificate("a.pem").unwrap().ocsp_id.clone().unwrap();
    let encode = |der: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(der);
    let good = encode(answer(&id, 0, Some(FAR)));
    assert_eq!(
        told(store.set_ocsp(good.as_bytes())),
        "OCSP Response updated!\n"
    );
    let unknown = encode(answer(&id, 2, Some(FAR)));
    assert!(told(store.set_ocsp(unknown.as_bytes())).contains("status is unknown"));
    assert!(told(store.set_ocsp(b"x!")).contains("invalid base64"));
    let shown = told(store.show_certificate("a.pem"));
    let expected = [
        "Status: Unused",
        "Subject Alternative Name: DNS:a.com",
        "Algorithm: EC256",
        "Subject: /CN=a.com",
        "Issuer: /O=Evenkeel Lab/CN=CA",
    ];
    for line in expected {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    assert!(!shown.contains("PRIVATE"));
    assert!(shown.contains(&describe_hex(&id)));
    assert!(store.show_ocsp().contains(&describe_hex(&id)));
    assert!(told(store.show_certificate("a.pem.ocsp")).contains("Cert Status: good"));
    assert!(told(store.show_ocsp_of(&describe_hex(&id))).contains("good"));
    assert!(told(store.show_certificate("z")).contains("Can't display"));
    // Another certificate does not keep the OCSP response of this one.
    let other = issue("other.com");
    store
        .set_certificate("a.pem", other.bundle().as_bytes())
        .unwrap();
    assert_eq!(told(store.show_certificate("*a.pem.ocsp")), "");
    assert_eq!(
        told(store.commit_certificate("a.pem")),
        "Committing a.pem\nSuccess!\n"
    );
    assert_eq!(store.show_ocsp(), "");
}

/// Checks the process-wide ticket keys that listeners of configuration files use.
fn sessions_of_other_authorities_are_not_resumed() {
    let store = Store::default();
    let (old, new) = (
        Authority::new("old").unwrap(),
        Authority::new("new").unwrap(),
    );
    let authorities = Authorities::from_pem(old.certificate_pem().as_bytes()).unwrap();
    store.add_authorities("ca", Arc::new(authorities));
    let none = Revocations::from_pem(old.crl(&[]).unwrap().as_bytes()).unwrap();
    store.add_revocations("crl", Arc::new(none));
    add(&store, "a.pem", &["a.com"], KeyKind::Ecdsa);
    let words = BindTls {
        ssl: true,
        line: TlsLine {
            verify: Some(Verify::Required),
            ca_file: Some("ca".into()),
            crl_file: Some("crl".into()),
            ..TlsLine::default()
        },
        sources: vec![crt(&["a.pem"])],
        ..BindTls::default()
    };
    let made = store.with(|stock| {
        let resumption = crate::resume::resumption;
        Acceptor::new(Arc::new(words), Default::default(), resumption, stock)
    });
    let made = Arc::new(made.unwrap());
    let weak: Weak<Acceptor> = Arc::downgrade(&made);
    store.register_dependent(weak);
    let ticketer = || {
        let offer = crate::sni::CertificateCriteria::default();
        Arc::clone(&made.choose(&offer).unwrap().config.ticketer)
    };
    let ticket = ticketer().encrypt(b"session").unwrap();
    let certificate = issue("new.com");
    store
        .set_certificate("a.pem", certificate.bundle().as_bytes())
        .unwrap();
    store.commit_certificate("a.pem").unwrap();
    let opens = |ticket: &[u8]| ticketer().decrypt(ticket).is_some();
    assert!(opens(&ticket), "another certificate asks for nothing else");
    let revoked = old.crl(&[b"\x05"]).unwrap();
    store.set_revocations("crl", revoked.as_bytes()).unwrap();
    store.commit_revocations("crl").unwrap();
    assert!(!opens(&ticket), "the client may be revoked now");
    let ticket = ticketer().encrypt(b"session").unwrap();
    let pem = new.certificate_pem().as_bytes();
    store.set_authorities("ca", pem).unwrap();
    store.commit_authorities("ca").unwrap();
    assert!(!opens(&ticket), "nobody believes the client any more");
}

fn describe_hex(bytes: &[u8]) -> String {
    crate::describe::hex(bytes, false)
}
