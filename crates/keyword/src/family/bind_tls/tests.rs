//! Tests the loading of certificates by `bind`, crt-list and crt-store lines: valid files, errors,
//! replays, and changes at run time.

use super::*;
use crate::load::{Loaded, replay};
use crate::testing::load_text;
use configuration::Recording;
use lab::ScratchDirectory;
use lab::pki::{Authority, Issued, KeyKind, Leaf, self_signed};
use std::sync::Weak;
use tls::acceptor::{Acceptor, own_resumption};
use tls::certified::{Certified, Parts};
use tls::crt_list::{Entry, List};
use tls::store::{Dependent, StoreError};
use tls::testing::{FAR, answer, shown};

struct BindFiles(ScratchDirectory);

impl BindFiles {
    fn new() -> BindFiles {
        BindFiles(ScratchDirectory::new().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn load(&self, global: &str, options: &str) -> Loaded {
        let at = self.0.path().display();
        load_text(&format!(
            "global\n crt-base {at}\n ca-base {at}\n{global}\nfrontend f\n mode http\n timeout client 1s\n bind 127.0.0.1:1 {options}\n"
        ))
    }

    fn told(&self, options: &str) -> (Vec<&'static str>, String) {
        let loaded = self.load("", options);
        let codes = loaded.diagnostics.iter().map(|d| d.code.id).collect();
        let first = loaded.diagnostics.iter().next();
        (codes, first.map(|d| d.message.clone()).unwrap_or_default())
    }

    fn shows(&self, global: &str, options: &str, names: &[(&str, &str)]) {
        let loaded = self.load(global, options);
        let config = config(&loaded);
        let acceptor = config.proxies[0].binds[0].tls.as_ref().unwrap();
        for (name, expected) in names {
            assert_eq!(shown(acceptor, name).as_deref(), Some(*expected), "{name}");
        }
    }
}

fn config(loaded: &Loaded) -> &model::config::Config {
    loaded.config.as_ref().unwrap_or_else(|| {
        let told: Vec<&str> = loaded.diagnostics.iter().map(|d| &*d.message).collect();
        panic!("{told:?}")
    })
}

fn issue(name: &str, key: KeyKind) -> Issued {
    self_signed(&Leaf {
        names: &[name],
        key,
        ..Leaf::default()
    })
    .unwrap()
}

#[test]
fn files_bundles_directories_and_keys_beside_are_loaded() {
    let files = BindFiles::new();
    let one = issue("one.com", KeyKind::Ecdsa);
    files.write("one.pem", format!("{}{}", one.key_pem, one.certificate_pem));
    let two = issue("two.com", KeyKind::Ecdsa);
    files.write("two.crt", &two.certificate_pem);
    files.write("two.crt.key", &two.key_pem);
    files.write("sites/B.pem", issue("b.com", KeyKind::Ecdsa).bundle());
    files.write("sites/a.pem", issue("a.com", KeyKind::Ecdsa).bundle());
    files.write("sites/.hidden.pem", "nothing");
    files.write("sites/a.pem.issuer", "");
    std::fs::remove_file(files.0.path().join("sites/a.pem.issuer")).unwrap();
    files.write("both.rsa", issue("r.com", KeyKind::Rsa2048).bundle());
    files.write("both.ecdsa", issue("e.com", KeyKind::Ecdsa).bundle());
    files.shows(
        "",
        "ssl crt one.pem crt two.crt",
        &[("", "one.com"), ("two.com", "two.com")],
    );
    let directory = [("", "b.com"), ("a.com", "a.com"), ("b.com", "b.com")];
    files.shows("", "ssl crt sites", &directory);
    files.shows("", "ssl crt sites/", &directory);
    files.shows("", "ssl crt both", &[("", "e.com"), ("r.com", "r.com")]);
    let first = [("", "two.com"), ("one.com", "one.com")];
    files.shows("", "ssl crt one.pem default-crt two.crt", &first);
    let del = issue("del.com", KeyKind::Ecdsa);
    files.write("del.crt", &del.certificate_pem);
    files.write("del.key", &del.key_pem);
    files.shows(
        " ssl-load-extra-del-ext",
        "ssl crt del.crt",
        &[("", "del.com")],
    );
    assert_eq!(files.told("ssl crt del.crt").0, ["E0220"]);
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_in_haproxys_words_and_more() {
    let files = BindFiles::new();
    let (one, two) = (issue("1", KeyKind::Ecdsa), issue("2", KeyKind::Ecdsa));
    files.write(
        "mixed.pem",
        [one.certificate_pem.as_str(), &two.key_pem].concat(),
    );
    files.write("bare.pem", &one.certificate_pem);
    files.write("key.pem", &one.key_pem);
    files.write(
        "encrypted.pem",
        one.bundle().replace("PRIVATE", "ENCRYPTED PRIVATE"),
    );
    files.write("empty/.keep", "");
    files.write("sctl.pem", one.bundle());
    files.write("sctl.pem.sctl", "x");
    let old = self_signed(&Leaf::default().expired()).unwrap();
    files.write("old.pem", old.bundle());
    files.write(
        "soon.pem",
        self_signed(&Leaf::default().not_yet_valid())
            .unwrap()
            .bundle(),
    );
    let path = |name: &str| files.0.path().join(name).display().to_string();
    let cases = [
        ("crt mixed.pem", "E0220", format!("inconsistencies between private key and certificate loaded '{}'.", path("mixed.pem"))),
        ("crt bare.pem", "E0220", format!("no private key in '{}.key'", path("bare.pem"))),
        ("crt key.pem", "E0220", format!("unable to load certificate from file '{}'.", path("key.pem"))),
        ("crt encrypted.pem", "E0220", format!("'{}': its private key is encrypted", path("encrypted.pem"))),
        ("crt none.pem", "E0111", format!("unable to stat SSL certificate from file '{}' : No such file or directory", path("none.pem"))),
        ("crt empty", "E0222", "Proxy 'f': no SSL certificate specified for bind '127.0.0.1:1' at [test.cfg:8] (use 'crt').".to_owned()),
        ("crt @web/x", "E0220", "no `crt-store` has loaded '@web/x'".to_owned()),
        ("crt old.pem", "W0301", String::new()),
        ("crt soon.pem", "W0301", String::new()),
        ("crt sctl.pem", "W0302", String::new()),
        ("crt sctl.pem verify required", "W0302", String::new()),
        ("crt sctl.pem verify foo", "W0302", String::new()),
    ];
    for (options, code, message) in cases {
        let (codes, first) = files.told(&format!("ssl {options}"));
        assert_eq!(codes.first(), Some(&code), "{options}: {first}");
        assert!(message.is_empty() || first == message, "{first}");
    }
    let (codes, _) = files.told("ssl crt sctl.pem verify required");
    assert_eq!(codes, ["W0302", "E0230"]);
    let (codes, first) = files.told("ssl strict-sni");
    assert_eq!(
        (codes, first.contains("ssl connections will fail")),
        (vec!["W0307"], true)
    );
    assert_eq!(files.told("crt sctl.pem").0, ["W0302", "W0304"]);
    assert_eq!(
        files.told("ssl crt sctl.pem generate-certificates").0,
        ["W0302", "E0103"]
    );
}

#[test]
fn lists_are_read_with_options_and_filters_and_mistakes_have_their_line() {
    let files = BindFiles::new();
    files.write("a.pem", issue("a.com", KeyKind::Ecdsa).bundle());
    files.write("b.pem", issue("b.com", KeyKind::Ecdsa).bundle());
    let list = files.write(
        "good",
        "# sites\n\na.pem\n  b.pem [alpn h2 ssl-min-ver TLSv1.3] *.x.com !no.x.com # and\n",
    );
    files.shows(
        "",
        &format!("ssl crt-list {list}"),
        &[("", "a.com"), ("k.x.com", "b.com"), ("no.x.com", "a.com")],
    );
    let cases = [
        ("a.pem [foo] x\n", "E0221", "unknown ssl keyword foo"),
        ("a.pem [crt b.pem] x\n", "E0221", "unknown ssl keyword crt"),
        ("a.pem [ocsp-update on]\n", "E0103", "'ocsp-update'"),
        ("[alpn h2] a.pem\n", "E0221", "file must start with a cert"),
        ("a.pem [alpn h2] [alpn h2]\n", "E0221", "too many '['"),
        ("a.pem", "E0221", "Missing LF on last line"),
        ("a.pem x [alpn h2]\n", "W0308", "malformated line"),
        ("none.pem\n", "E0111", "unable to stat SSL certificate"),
        ("a.pem [npn h2]\n", "W0305", "'npn' has no effect"),
    ];
    for (at, (text, code, message)) in cases.into_iter().enumerate() {
        let list = files.write(&format!("list{at}"), text);
        let (codes, first) = files.told(&format!("ssl crt-list {list}"));
        assert_eq!(codes.first(), Some(&code), "{text}: {first}");
        assert!(first.contains(message), "{first}");
    }
    assert_eq!(files.told("ssl crt-list nowhere").0[0], "E0111");
}

#[test]
fn a_store_gives_certificates_names() {
    let files = BindFiles::new();
    let one = issue("one.com", KeyKind::Ecdsa);
    files.write("site.crt", &one.certificate_pem);
    let key = files.write("keys/site.key", &one.key_pem);
    let keys = std::path::Path::new(&key).parent().unwrap().display();
    let text =
        format!("crt-store web\n key-base {keys}\n load crt site.crt key site.key alias site\n");
    files.shows(&text, "ssl crt @web/site", &[("", "one.com")]);
}

#[test]
fn answers_of_ocsp_are_stapled_or_told() {
    let files = BindFiles::new();
    let authority = Authority::new("CA").unwrap();
    let issued = authority.issue(&Leaf::default()).unwrap();
    files.write("a.pem", issued.bundle());
    files.write("a.pem.ocsp", "junk");
    assert_eq!(files.told("ssl crt a.pem").0, ["E0220"]);
    files.write("a.pem.issuer", authority.certificate_pem());
    let (codes, first) = files.told("ssl crt a.pem");
    assert_eq!(codes, ["W0306"]);
    assert!(first.contains("Unable to parse OCSP response. Content will be ignored."));
    let loaded = files.load("", "ssl crt a.pem");
    let store = &config(&loaded).certificates;
    let name = files.0.path().join("a.pem").display().to_string();
    let id = store.certificate(&name).unwrap().ocsp_id.clone().unwrap();
    files.write("a.pem.ocsp", answer(&id, 0, Some(FAR)));
    let loaded = files.load("", "ssl crt a.pem");
    let found = config(&loaded).certificates.certificate(&name).unwrap();
    assert!(found.ocsp().is_some());
    files.write("a.pem.issuer", issue("x", KeyKind::Ecdsa).certificate_pem);
    assert!(files.told("ssl crt a.pem").1.contains("is not an issuer"));
}

#[test]
fn a_replay_has_the_certificates_without_the_files_and_the_key_is_a_secret() {
    let files = BindFiles::new();
    let issued = issue("a.com", KeyKind::Ecdsa);
    files.write("sites/a.pem", issued.bundle());
    let loaded = files.load("", "ssl crt sites");
    assert!(config(&loaded).proxies[0].binds[0].tls.is_some());
    assert!(loaded.recording.has_secrets());
    let bytes = loaded.recording.encode();
    assert!(!configuration::without_secrets(&bytes));
    let shown_debug = format!("{:?} {:?}", loaded.recording, loaded.config);
    let line = issued.key_pem.lines().nth(1).unwrap();
    assert!(!shown_debug.contains(line));
    drop(files);
    let again = replay(Recording::decode(&bytes).unwrap());
    let acceptor = config(&again).proxies[0].binds[0].tls.as_ref().unwrap();
    assert_eq!(shown(acceptor, "a.com").as_deref(), Some("a.com"));
}

#[test]
fn options_of_tls_are_words_of_the_line() {
    let files = BindFiles::new();
    files.write("a.pem", issue("a.com", KeyKind::Ecdsa).bundle());
    let authority = Authority::new("CA").unwrap();
    files.write("ca.pem", authority.certificate_pem());
    files.write("crl.pem", authority.crl(&[]).unwrap());
    let keys = format!("{0}\n{0}\n{0}\n", "A".repeat(64));
    let keys = files.write("tickets", keys);
    let all = format!(
        "ssl crt a.pem alpn h2,http/1.1 ca-file ca.pem crl-file crl.pem ca-verify-file ca.pem verify optional \
         ca-ignore-err all crt-ignore-err 10,20 ciphersuites TLS_AES_128_GCM_SHA256 curves X25519 \
         ssl-min-ver TLSv1.2 no-tls-tickets allow-0rtt no-ca-names prefer-client-ciphers strict-sni \
         tls-ticket-keys {keys} proto h2"
    );
    let loaded = files.load("", &all);
    let bind = &config(&loaded).proxies[0].binds[0];
    let words = bind.tls.as_ref().unwrap().words();
    assert_eq!(
        words.line.alpn,
        Some(vec![b"h2".to_vec(), b"http/1.1".to_vec()])
    );
    assert_eq!(words.line.verify, Some(Verify::Optional));
    assert!(words.line.early_data && words.line.no_ca_names && words.line.side.strict_sni);
    assert!(words.ticket_keys.is_some() && !words.crt_ignore_err.is_empty());
    let short = files.write("short", "QUFB\n");
    for (options, code) in [
        ("alpn ,", "E0207"),
        ("verify foo", "E0207"),
        ("ca-ignore-err foo", "E0204"),
        ("ca-file none.pem", "E0231"),
        ("ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.2", "E0216"),
        (&*format!("tls-ticket-keys {short}"), "E0214"),
    ] {
        let (codes, first) = files.told(&format!("ssl crt a.pem {options}"));
        assert_eq!(codes.first(), Some(&code), "{options}: {first}");
    }
}

fn certified(issued: &Issued) -> Certified {
    let mut parts = Parts::default();
    parts.take(issued.bundle().as_bytes()).unwrap();
    parts.certify().unwrap().0
}

/// A store with a list of one certificate, and a listener that uses it.
fn served() -> (Store, Arc<Acceptor>) {
    let store = Store::default();
    store.add_certificate("a.pem", certified(&issue("a.com", KeyKind::Ecdsa)));
    let entry = Entry {
        certificate: "a.pem".into(),
        line: 1,
        options: TlsLine::default(),
        option_words: "".into(),
        filters: Vec::new(),
    };
    let list = List {
        entries: vec![entry],
        lines: 1,
        is_directory: false,
    };
    store.add_list("list", list);
    let words = BindTls {
        ssl: true,
        sources: vec![CertificateSource::List("list".into())],
        ..BindTls::default()
    };
    let made = store
        .with(|stock| Acceptor::new(Arc::new(words), Default::default(), own_resumption, stock));
    let made = Arc::new(made.unwrap());
    let weak: Weak<Acceptor> = Arc::downgrade(&made);
    let weak: Weak<dyn Dependent> = weak;
    store.register_dependent(weak);
    (store, made)
}

fn told(result: Result<String, StoreError>) -> String {
    result.unwrap_or_else(|error| format!("refused: {error}"))
}

#[test]
fn a_new_certificate_goes_into_a_list_and_out_again() {
    let (store, made) = served();
    assert_eq!(
        told(store.new_certificate("n.pem")),
        "New empty certificate store 'n.pem'!\n"
    );
    assert_eq!(
        told(store.new_certificate("a.pem")),
        "refused: Certificate 'a.pem' already exists!"
    );
    let add = |text: &str| {
        let line = sent_line(text, &store).map_err(StoreError)?;
        store.add_to_list(
            "list",
            &line.certificate,
            line.options,
            &line.option_words,
            line.filters,
        )
    };
    assert!(told(add("n.pem")).contains("is empty"));
    let new = issue("n.com", KeyKind::Ecdsa);
    store
        .set_certificate("n.pem", new.bundle().as_bytes())
        .unwrap();
    assert_eq!(
        told(store.commit_certificate("n.pem")),
        "Committing n.pem\nSuccess!\n"
    );
    assert_eq!(
        told(add("n.pem [alpn h2] a.b !c.d")),
        "Inserting certificate 'n.pem' in crt-list 'list'.\nSuccess!\n"
    );
    assert_eq!(shown(&made, "a.b").as_deref(), Some("n.com"));
    assert_eq!(
        told(add("n.pem [alpn h2 foo] x")),
        "refused: parsing [CLI:1]: unknown ssl keyword foo"
    );
    add("n.pem").unwrap();
    assert_eq!(
        told(store.show_list("list", true)),
        "# list\na.pem:1\nn.pem:2 [alpn h2] a.b !c.d\nn.pem:3\n"
    );
    assert!(told(store.delete_certificate("n.pem")).contains("in use"));
    assert!(told(store.delete_from_list("list", "n.pem")).contains("(2, 3)!"));
    assert!(told(store.delete_from_list("list", "n.pem:9")).contains("(2, 3)!"));
    for name in ["n.pem:2", "n.pem"] {
        assert_eq!(
            told(store.delete_from_list("list", name)),
            "Entry 'n.pem' deleted in crtlist 'list'!\n"
        );
    }
    assert_eq!(shown(&made, "a.b").as_deref(), Some("a.com"));
    assert!(told(store.delete_from_list("list", "a.pem")).contains("default certificate"));
    assert_eq!(
        told(store.delete_certificate("n.pem")),
        "Certificate 'n.pem' deleted!\n"
    );
}
