//! Tests the TLS options of `server` lines, with real files in a directory of the test.

use crate::testing::{backend, codes_of, load_text};
use lab::pki::{Authority, Leaf};
use model::config::{HttpProtocol, ServerOptions, WebSocketProto};
use std::path::PathBuf;

fn options(text: &str) -> ServerOptions {
    let backend = backend(&format!("server a 127.0.0.1:443 {text}"));
    backend.servers[0].options.clone()
}

fn codes(text: &str) -> Vec<&'static str> {
    codes_of(&format!("server a 127.0.0.1:443 {text}"))
}

/// Directory with the files of one test, removed on drop.
struct TestFiles(PathBuf);

impl TestFiles {
    fn new(name: &str) -> TestFiles {
        let own = format!("evenkeel-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&path).expect("a directory");
        TestFiles(path)
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for TestFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn each_word_sets_what_it_says() {
    let all = options(
        "ssl verify none verifyhost www.example alpn h2,http/1.1 check-alpn http/1.1 check-sni c.example \
         sni req.hdr(host),lower ciphers ECDHE-RSA-AES128-GCM-SHA256 ciphersuites TLS_AES_128_GCM_SHA256 \
         curves X25519:P-256 sigalgs RSA-PSS+SHA256 client-sigalgs ECDSA+SHA256 ssl-min-ver TLSv1.2 \
         ssl-max-ver TLSv1.3 no-ssl-reuse no-tls-tickets check-ssl proto h2 ws h2 check-proto h1",
    );
    let tls = &all.tls;
    assert!(tls.ssl && tls.check_ssl == Some(true) && tls.no_reuse && tls.side.no_tickets);
    assert_eq!(tls.verify, Some(false));
    assert_eq!(tls.verify_host.as_deref(), Some("www.example"));
    assert_eq!(tls.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(tls.check_alpn, Some(vec![b"http/1.1".to_vec()]));
    assert_eq!(tls.check_sni.as_deref(), Some("c.example"));
    let sni = tls.sni.as_ref().map(|(text, _)| &**text);
    assert_eq!(sni, Some("req.hdr(host),lower"));
    assert_eq!(all.protocol, Some(HttpProtocol::Http2));
    assert_eq!(all.check_proto, Some(HttpProtocol::Http1));
    assert_eq!(all.web_socket, WebSocketProto::H2);
    let connector = tls.for_traffic().expect("a connector");
    let settings = connector.settings();
    assert!(settings.no_resumption && settings.no_tickets && !settings.verify);
    let kept = settings.parameters;
    assert_eq!(kept.ciphers.map(|list| list.len()), Some(1));
    assert_eq!(kept.curves.map(|list| list.len()), Some(2));
}

#[test]
fn default_server_hands_its_words_on_and_a_line_undoes_them() {
    let proxy = backend(
        "default-server ssl verify none no-ssl-reuse check-ssl no-tls-tickets\n\
         server a 127.0.0.1:443\n\
         server b 127.0.0.1:80 no-ssl no-check-ssl ssl-reuse tls-tickets",
    );
    let [a, b] = &proxy.servers[..] else {
        panic!("two servers")
    };
    assert!(a.options.tls.for_traffic().is_some());
    let undone = &b.options.tls;
    assert!(undone.for_traffic().is_none() && undone.for_checks(false).is_none());
    // An operator may switch it on again.
    assert!(undone.connector.is_some() && !undone.ssl);
    assert!(!undone.no_reuse && !undone.side.no_tickets);
}

#[test]
fn checks_of_their_own_place_speak_tls_only_where_it_is_said() {
    let plain = options("ssl verify none");
    assert!(plain.tls.for_checks(false).is_some() && plain.tls.for_checks(true).is_none());
    let never = options("ssl verify none no-check-ssl");
    assert!(never.tls.for_traffic().is_some() && never.tls.for_checks(false).is_none());
    let only = options("check-ssl verify none");
    assert!(only.tls.for_traffic().is_none() && only.tls.for_checks(true).is_some());
}

#[test]
fn what_cannot_be_spoken_is_refused() {
    for (text, want) in [
        ("ssl", "E0230"),
        ("check-ssl", "E0230"),
        ("ssl verify required", "E0230"),
        ("ssl verify optional", "E0207"),
        ("ssl verify", "E0201"),
        ("ssl verify none force-tlsv10", "E0216"),
        ("ssl verify none ssl-max-ver TLSv1.1", "E0216"),
        ("ssl verify none ssl-min-ver TLSv9", "E0207"),
        ("ssl verify none ciphers FOO", "E0215"),
        (
            "ssl verify none ciphers DHE-RSA-AES128-SHA:RC4-SHA",
            "E0215",
        ),
        ("ssl verify none ciphersuites FOO", "E0215"),
        ("ssl verify none curves X25519:FOO", "E0215"),
        ("ssl verify none sigalgs RSA+SHA256:FOO", "E0215"),
        ("ssl ca-file /no/such/file", "E0231"),
        ("ssl verify none crt /no/such/file", "E0231"),
        ("ssl verify none sni nofetch(a)", "E0401"),
        ("ssl verify none sni res.hdr(a)", "E0405"),
        ("check-proto fcgi", "E0103"),
    ] {
        let found = codes(text);
        assert!(found.contains(&want), "{text}: {found:?}");
    }
}

#[test]
fn what_is_left_out_is_told() {
    for (text, want) in [
        ("ssl verify none npn http/1.1", "W0305"),
        ("ssl verify none allow-0rtt", "W0305"),
        (
            "ssl verify none ciphers DHE-RSA-AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256",
            "W0122",
        ),
        (
            "ssl verify none ciphers FOO:ECDHE-RSA-AES128-GCM-SHA256",
            "W0123",
        ),
        ("ssl verify none curves X448:P-256", "W0122"),
        ("ssl verify none ssl-min-ver TLSv1.0", "W0124"),
        ("ssl verify none ssl-min-ver TLSv1.2 no-tlsv10", "W0116"),
    ] {
        assert_eq!(codes(text), [want], "{text}");
    }
    // Excluded ciphers may be unknown. A long list of unsupported ones is shortened in the message.
    let left_out = "ssl verify none ciphers ECDHE-RSA-AES128-GCM-SHA256:!FOO:-BAR:!aNULL";
    assert_eq!(codes(left_out), Vec::<&str>::new());
    let many = "server a 127.0.0.1:443 ssl verify none ciphers \
                ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA:DHE-RSA-AES128-SHA:AES128-SHA256";
    let loaded = crate::testing::load_text(&format!("backend b\n{many}\n"));
    let told = loaded
        .diagnostics
        .iter()
        .find(|told| told.code.id == "W0122");
    let message =
        "'ciphers': unsupported ciphers ignored: AES128-SHA, AES256-SHA, DES-CBC3-SHA and 2 more";
    assert_eq!(told.map(|told| &*told.message), Some(message));
    // Reported once per file, however many lines set the version.
    let twice = "server a 127.0.0.1:443 ssl verify none ssl-min-ver TLSv1.0\n\
                 server b 127.0.0.1:443 ssl verify none ssl-min-ver TLSv1.1";
    assert_eq!(codes_of(twice), ["W0124"]);
}

#[test]
fn words_about_versions_count_for_nothing_without_tls() {
    assert_eq!(codes("force-tlsv10"), Vec::<&str>::new());
    assert_eq!(codes("no-sslv3"), Vec::<&str>::new());
}

#[test]
fn global_says_what_lines_do_not() {
    let server = |global: &str, line: &str| {
        let text = format!(
            "global\n{global}\nlisten l\nbind 127.0.0.1:1\nserver a 127.0.0.1:443 {line}\n"
        );
        let config = load_text(&text).config?;
        let tls = config.proxies[0].servers[0].options.tls.clone();
        Some(tls.for_traffic()?.settings())
    };
    assert!(server("ssl-server-verify none", "ssl").is_some_and(|found| !found.verify));
    assert!(server("", "ssl").is_none());
    let versions = "ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets";
    let found = server(versions, "ssl verify none").expect("it loads");
    assert!(!found.parameters.versions.tls12 && found.no_tickets);
    let found = server(versions, "ssl verify none ssl-min-ver TLSv1.2").expect("it loads");
    assert!(found.parameters.versions.tls12);
    let list = "ssl-default-server-ciphers AES128";
    let found = server(list, "ssl verify none").expect("it loads");
    assert_eq!(found.parameters.ciphers.map(|list| list.len()), Some(2));
}

#[test]
fn files_are_found_by_the_bases_and_directories_are_read() {
    let files = TestFiles::new("server-tls");
    let root = Authority::new("root").expect("made");
    let other = Authority::new("other").expect("made");
    let client = Leaf {
        client: true,
        ..Leaf::default()
    };
    let client = root.issue(&client).expect("issued");
    let ca = files.put("root.pem", root.certificate_pem());
    files.put("other.crt", other.certificate_pem());
    files.put(".hidden.pem", "nothing");
    files.put("notes.txt", "nothing");
    let crl = files.put("list.crl.txt", &root.crl(&[]).expect("a list"));
    let directory = files.0.display().to_string();
    let both = options(&format!("ssl ca-file {directory}"));
    let authorities = both.tls.authorities.expect("they are there").content;
    assert_eq!(authorities.len(), 2);
    let one = options(&format!("ssl ca-file {ca} crl-file {crl}"));
    assert_eq!(one.tls.authorities.map(|file| file.content.len()), Some(1));
    assert!(one.tls.crls.is_some());

    let inside = files.put("inside.txt", &client.bundle());
    assert!(
        options(&format!("ssl verify none crt {inside}"))
            .tls
            .certificate
            .is_some()
    );
    let beside = files.put("beside.txt", &client.full_chain());
    assert_eq!(codes(&format!("ssl verify none crt {beside}")), ["E0231"]);
    files.put("beside.txt.key", &client.key_pem);
    assert!(
        options(&format!("ssl verify none crt {beside}"))
            .tls
            .certificate
            .is_some()
    );
    let stranger = other.issue(&Leaf::default()).expect("issued");
    files.put("beside.txt.key", &stranger.key_pem);
    assert_eq!(codes(&format!("ssl verify none crt {beside}")), ["E0231"]);
    assert_eq!(codes(&format!("ssl ca-file {beside}.key")), ["E0231"]);

    let text = format!(
        "global\nca-base {directory}\ncrt-base {directory}\nlisten l\nbind 127.0.0.1:1\n\
         server a 127.0.0.1:443 ssl ca-file root.pem crt inside.txt\n"
    );
    assert!(load_text(&text).config.is_some());
}
