//! Checks over TLS, of servers in threads of the test.

use super::*;
use crate::keyword::testing::backend;
use crate::tls::build::provider;
use lab::pki::{self, Leaf};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

/// A server that speaks TLS with one client after the other, and answers each
/// question with 200; it ends with the test.
fn origin() -> SocketAddr {
    let leaf = Leaf {
        names: &["origin.example"],
        ..Leaf::default()
    };
    let issued = pki::self_signed(&leaf).expect("made");
    let key = provider().key_provider.load_private_key(issued.key());
    let shown = CertifiedKey::new(issued.certificates(), key.expect("a key"));
    let config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let mut bytes = [0; 4096];
            // A check that only wants the handshake ends here.
            if matches!(stream.read(&mut bytes), Ok(n) if n > 0) {
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            }
        }
    });
    address
}

fn check(lines: &str) -> CheckResult {
    let proxy = backend(lines);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(probe(&proxy, &proxy.servers[0], None, true))
}

fn told(result: &CheckResult) -> (CheckStatus, String) {
    (result.status, result.info.to_string())
}

#[test]
fn checks_of_a_server_with_tls_speak_it() {
    let address = origin();
    let server = |options: &str| format!("server a {address} check inter 10s {options}");
    let plain = check(&server("ssl verify none"));
    assert_eq!(told(&plain).0, CheckStatus::Layer6Ok);
    let asked = format!("option httpchk\n{}", server("ssl verify none alpn h2"));
    assert_eq!(told(&check(&asked)).0, CheckStatus::Layer7Ok);
    let only_checks = server("check-ssl verify none check-sni origin.example");
    assert_eq!(told(&check(&only_checks)).0, CheckStatus::Layer6Ok);
    // To a port of their own they do not, unless it is said.
    let own_port = server(&format!("ssl verify none port {}", address.port()));
    assert_eq!(told(&check(&own_port)).0, CheckStatus::Layer4Ok);
}

#[test]
fn a_check_fails_where_the_certificate_is_not_believed() {
    let address = origin();
    let file = std::env::temp_dir().join(format!("evenkeel-check-{}.pem", std::process::id()));
    let stranger = pki::self_signed(&Leaf::default()).expect("made");
    std::fs::write(&file, &stranger.certificate_pem).expect("a file");
    let name = file.display();
    let result = check(&format!(
        "server a {address} check inter 10s ssl verify required ca-file {name}"
    ));
    std::fs::remove_file(&file).expect("the file");
    assert_eq!(
        told(&result),
        (CheckStatus::Layer6Invalid, "SSL handshake failure".into())
    );
}

#[test]
fn a_server_without_tls_fails_a_check_that_wants_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 64];
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    let result = check(&format!(
        "server a {address} check inter 10s ssl verify none"
    ));
    assert_eq!(
        told(&result),
        (CheckStatus::Layer6Invalid, "SSL handshake failure".into())
    );
}
