//! Tests common clients over TLS and HTTP/2: curl, openssl, nghttp, h2load.

use crate::program::evenkeel;
use crate::tls::site::{NAME, Site, all_said, here, much, output, s_client, said};
use lab::{Location, OriginServer, Peer};
use std::net::SocketAddr;
use std::process::Command;

/// Size of an upload and of a download.
const MUCH_BYTES: usize = 8 << 20;

const DEFAULTS: &str = "
    defaults
        mode http
        timeout client 20s
        timeout server 20s
        timeout connect 5s
";

/// Starts Evenkeel with these options of `bind` in front of a server.
fn front(site: &Site, bind: &str, more: &str, server: SocketAddr) -> Peer {
    let address = here();
    let bind = bind.replace("{site}", &site.scratch.path().display().to_string());
    let config = format!(
        "{DEFAULTS}    listen web\n        bind {address} {bind}\n{more}        server s {server}\n"
    );
    evenkeel(Location::Here, &config, address).unwrap()
}

const BOTH: &str =
    "ssl crt {site}/site.pem crt {site}/rsa.pem crt {site}/chain.pem alpn h2,http/1.1";

#[test]
fn curl_uses_each_http_version_over_each_tls_version() {
    lab::skip_unless_installed!("curl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    let tell =
        "        http-response set-header x-tls %[ssl_fc_protocol],%[ssl_fc_alpn],%[ssl_fc_sni]\n";
    let peer = front(&site, BOTH, tell, origin.address());
    let port = peer.address().port();
    for (flag, version, alpn) in [("--http2", "2", "h2"), ("--http1.1", "1.1", "http/1.1")] {
        for (most, protocol) in [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")] {
            for name in [NAME, "rsa.test", "chain.test", "a.wild.test"] {
                let url = format!("https://{name}:{port}/");
                let show = "%{http_version} %{http_code} %header{x-tls}";
                let asked = [flag, "--tls-max", most, "--write-out", show, &url];
                let answer = said(&site.curl(peer.address(), &asked));
                let wanted = format!("web{version} 200 {protocol},{alpn},{name}");
                assert!(answer.starts_with(&wanted), "{asked:?}: {answer}");
            }
        }
    }
}

#[test]
fn curl_uses_http2_without_tls_by_prior_knowledge() {
    lab::skip_unless_installed!("curl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    for bind in ["", "proto h2"] {
        let peer = front(&site, bind, "", origin.address());
        let url = format!("http://{}/", peer.address());
        let show = ["--http2-prior-knowledge", "--write-out", "%{http_version}"];
        let answer = site.curl(peer.address(), &[&show[..], &[&url]].concat());
        assert_eq!(said(&answer), "web2", "bind {bind}");
    }
}

/// Uploads and downloads a file through `peer` with each set of curl's flags.
fn passes_whole(site: &Site, peer: &Peer, scheme: &str, ways: &[&str]) {
    let content = much(MUCH_BYTES);
    std::fs::write(site.path("www/much"), &content).unwrap();
    let original = site.word("www/much");
    let base = format!("{scheme}://{NAME}:{}", peer.address().port());
    for way in ways {
        let flags: Vec<&str> = way.split_whitespace().collect();
        let down = site.curl(
            peer.address(),
            &[&flags[..], &[&format!("{base}/much")]].concat(),
        );
        assert!(
            down.status.success(),
            "{way}: {}",
            String::from_utf8_lossy(&down.stderr)
        );
        assert!(down.stdout == content, "the download by {way}");
        let up = format!("{base}/up");
        let asked = [&flags[..], &["--fail", "--upload-file", &original, &up]].concat();
        said(&site.curl(peer.address(), &asked));
        assert!(
            std::fs::read(site.path("www/up")).unwrap() == content,
            "the upload by {way}"
        );
        std::fs::remove_file(site.path("www/up")).unwrap();
    }
}

#[test]
fn large_files_pass_whole_over_tls_and_http2_to_a_server_with_tls() {
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("nginx");
    let site = Site::new();
    let nginx = site.nginx("");
    let trusts = format!(
        "        default-server ssl verify required ca-file {} verifyhost {NAME}\n",
        site.word("ca.pem")
    );
    let secure = front(&site, BOTH, &trusts, nginx.address());
    let ways = [
        "--http2",
        "--http1.1",
        "--http2 --tls-max 1.2",
        "--http1.1 --tls-max 1.2",
        "--http1.1 -H Transfer-Encoding:chunked",
        "--http1.1 -H Expect:100-continue",
    ];
    passes_whole(&site, &secure, "https", &ways);
    let plain = front(&site, "", &trusts, nginx.address());
    passes_whole(&site, &plain, "http", &["--http2-prior-knowledge"]);
}

#[test]
fn client_needs_its_certificate() {
    lab::skip_unless_installed!("curl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    let tell =
        "        http-response set-header x-who %[ssl_c_used],%[ssl_c_verify],%[ssl_c_s_dn(cn)]\n";
    let bind = |verify| format!("{BOTH} ca-file {{site}}/ca.pem verify {verify}");
    let required = front(&site, &bind("required"), tell, origin.address());
    let optional = front(&site, &bind("optional"), tell, origin.address());
    let identity = site.word("client.pem");
    for (peer, shown, wanted) in [
        (&required, true, Some("web1,0,alice")),
        (&required, false, None),
        (&optional, true, Some("web1,0,alice")),
        (&optional, false, Some("web0,0,")),
    ] {
        for flags in [["--http2", "--tlsv1.3"], ["--http1.1", "--tlsv1.2"]] {
            let url = format!("https://{NAME}:{}/", peer.address().port());
            let mut asked = [&flags[..], &["--write-out", "%header{x-who}", &url]].concat();
            if shown {
                asked.extend(["--cert", &identity]);
            }
            let answer = site.curl(peer.address(), &asked);
            match wanted {
                Some(wanted) => assert_eq!(said(&answer), wanted, "{asked:?}"),
                None => assert!(!answer.status.success(), "{asked:?}: {answer:?}"),
            }
        }
    }
    let names = s_client(required.address(), &["-tls1_2"]);
    let (_, names) = names
        .split_once("Acceptable client certificate CA names")
        .unwrap();
    assert!(names.contains("CN = Test CA"), "{names}");
}

#[test]
fn openssl_agrees_on_versions_suites_groups_and_protocols() {
    lab::skip_unless_installed!("openssl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    let peer = front(&site, BOTH, "", origin.address());
    for (asked, wanted) in [
        ("-tls1_3", "New, TLSv1.3, Cipher is TLS_AES_"),
        (
            "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
            "Cipher is TLS_CHACHA20_POLY1305_SHA256",
        ),
        ("-tls1_2", "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES"),
        (
            "-tls1_2 -servername rsa.test",
            "New, TLSv1.2, Cipher is ECDHE-RSA-AES",
        ),
        (
            "-tls1_2 -servername rsa.test -cipher ECDHE-RSA-AES128-GCM-SHA256",
            "Cipher is ECDHE-RSA-AES128-GCM-SHA256",
        ),
        (
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
            "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ("-groups P-256", "Server Temp Key: ECDH, prime256v1"),
        ("-groups P-384", "Server Temp Key: ECDH, secp384r1"),
        ("-groups X25519", "Server Temp Key: X25519"),
        ("-alpn h2,http/1.1", "ALPN protocol: h2"),
        ("-alpn http/1.1", "ALPN protocol: http/1.1"),
        ("-alpn http/1.1,h2", "ALPN protocol: h2"),
        ("", "No ALPN negotiated"),
        // As in HAProxy, a client that offers only other protocols uses HTTP/1.
        ("-alpn spdy/3.1,foo", "No ALPN negotiated"),
        ("-alpn spdy/3.1,foo", "subject=CN = site.test"),
        ("-status", "OCSP response: no response sent"),
        (
            "-tls1_1 -cipher DEFAULT@SECLEVEL=0",
            "alert protocol version",
        ),
        ("-tls1_2 -cipher AES128-SHA", "alert handshake failure"),
    ] {
        let flags: Vec<&str> = asked.split_whitespace().collect();
        let answer = s_client(peer.address(), &flags);
        assert!(answer.contains(wanted), "{asked}: {answer}");
    }
    let chain = ["-servername", "chain.test", "-showcerts"];
    let shown = s_client(peer.address(), &chain);
    assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 2, "{shown}");
    let ca = site.word("ca.pem");
    let verified = s_client(peer.address(), &[&chain[..], &["-CAfile", &ca]].concat());
    assert!(
        verified.contains("Verify return code: 0 (ok)"),
        "{verified}"
    );
}

#[test]
fn settings_of_the_line_narrow_what_openssl_gets() {
    lab::skip_unless_installed!("openssl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    for (line, asked, wanted) in [
        ("ssl-min-ver TLSv1.3", "-tls1_2", "alert protocol version"),
        ("ssl-max-ver TLSv1.2", "", "New, TLSv1.2"),
        ("no-tlsv13", "", "New, TLSv1.2"),
        ("force-tlsv13", "-tls1_2", "alert protocol version"),
        (
            "ciphers ECDHE-ECDSA-AES128-GCM-SHA256",
            "-tls1_2",
            "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            "ciphersuites TLS_AES_128_GCM_SHA256",
            "",
            "Cipher is TLS_AES_128_GCM_SHA256",
        ),
        ("curves P-384", "", "Server Temp Key: ECDH, secp384r1"),
        ("strict-sni", "-servername other.test", "alert"),
        (
            "strict-sni",
            "-servername a.wild.test",
            "subject=CN = site.test",
        ),
        ("", "-servername a.b.wild.test", "subject=CN = site.test"),
    ] {
        let bind = format!("ssl crt {{site}}/site.pem {line}");
        let peer = front(&site, &bind, "", origin.address());
        let flags: Vec<&str> = asked.split_whitespace().collect();
        let answer = s_client(peer.address(), &flags);
        assert!(answer.contains(wanted), "{line} {asked}: {answer}");
    }
}

#[test]
fn openssl_resumes_sessions_by_tickets_and_without() {
    lab::skip_unless_installed!("openssl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    let peer = front(&site, BOTH, "", origin.address());
    for more in [&[][..], &["-no_ticket"]] {
        let asked = [&["-tls1_2", "-reconnect"], more].concat();
        let answer = s_client(peer.address(), &asked);
        assert_eq!(
            answer.matches("Reused, TLSv1.2").count(),
            5,
            "{asked:?}: {answer}"
        );
    }
    // TLS 1.3 sends its tickets with the response.
    let kept = site.word("session");
    let mut last = String::new();
    for flag in ["-sess_out", "-sess_in"] {
        let script = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -connect {} -tls1_3 -ign_eof {flag} {kept}",
            peer.address()
        );
        last = all_said(&output(Command::new("sh").args(["-c", &script])));
        assert!(last.contains("HTTP/1.1 200"), "{last}");
    }
    assert!(last.contains("Reused, TLSv1.3"), "{last}");
}

/// Writes an OCSP response for `site.pem` next to it, made by openssl itself.
fn staple(site: &Site) {
    let directory = site.scratch.path().display();
    let script = format!(
        "cd {directory} &&
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout o.key -out o.crt -subj /CN=OCSP -days 9 &&
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout s.key -out s.csr -subj /CN=stapled &&
         openssl x509 -req -in s.csr -CA o.crt -CAkey o.key -set_serial 0x1234 -days 9 -out s.crt &&
         printf 'V\\t400101000000Z\\t\\t1234\\tunknown\\t/CN=stapled\\n' > index &&
         openssl ocsp -index index -CA o.crt -rsigner o.crt -rkey o.key -issuer o.crt -cert s.crt -noverify -ndays 5 -respout stapled.pem.ocsp &&
         cat s.crt s.key > stapled.pem && cp o.crt stapled.pem.issuer"
    );
    let made = output(Command::new("sh").args(["-c", &script]));
    assert!(made.status.success(), "{}", all_said(&made));
}

#[test]
fn openssl_gets_the_stapled_ocsp_response() {
    lab::skip_unless_installed!("openssl");
    let (site, origin) = (Site::new(), OriginServer::start_local("web").unwrap());
    staple(&site);
    let peer = front(&site, "ssl crt {site}/stapled.pem", "", origin.address());
    for version in ["-tls1_2", "-tls1_3"] {
        let answer = s_client(peer.address(), &["-status", version]);
        assert!(answer.contains("Cert Status: good"), "{version}: {answer}");
        assert!(
            answer.contains("OCSP Response Status: successful"),
            "{answer}"
        );
        let unasked = s_client(peer.address(), &[version]);
        assert!(!unasked.contains("Cert Status"), "{unasked}");
    }
}

#[test]
fn load_generators_see_no_error_over_http2() {
    lab::skip_unless_installed!("nghttp");
    lab::skip_unless_installed!("h2load");
    lab::skip_unless_installed!("nginx");
    let site = Site::new();
    let nginx = site.nginx("");
    std::fs::write(site.path("www/page"), much(64 << 10)).unwrap();
    let trusts = "        default-server ssl verify none\n";
    for (bind, scheme) in [(BOTH, "https"), ("", "http")] {
        let peer = front(&site, bind, trusts, nginx.address());
        let url = |path| format!("{scheme}://{}/{path}", peer.address());
        for (path, connections, streams) in [
            ("small", "4", "1"),
            ("small", "8", "100"),
            ("page", "4", "20"),
        ] {
            let mut load = Command::new("h2load");
            load.args(["-n", "1200", "-c", connections, "-m", streams, &url(path)]);
            let said = said(&output(&mut load));
            let none = "1200 succeeded, 0 failed, 0 errored, 0 timeout";
            assert!(said.contains(none), "{scheme} {path} {streams}: {said}");
            assert!(said.contains("status codes: 1200 2xx"), "{said}");
        }
        // Sends two requests over one connection, and shows the frames.
        let mut one = Command::new("nghttp");
        one.args(["--null-out", "--stat", &url("small"), &url("page")]);
        let said = all_said(&output(&mut one));
        assert_eq!(said.matches(" 200 ").count(), 2, "{said}");
    }
}
