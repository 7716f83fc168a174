//! Tests the commands about certificates: their effects, and the intentional differences from
//! HAProxy. A scenario test compares the same sequence of commands with HAProxy.

use super::command::{Context, Payload};
use super::connection::{self, PAYLOAD_MAX};
use super::tests::{ask, block_on, context, talk};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::ScratchDirectory;
use lab::pki::{Authority, KeyKind, Leaf};
use model::config::StatsLevel;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A listener and a server with all kinds of files.
struct TlsFixture {
    scratch: ScratchDirectory,
    authority: Authority,
    context: Context,
}

fn bundle(authority: &Authority, name: &str) -> String {
    let leaf = Leaf {
        names: &[name],
        key: KeyKind::Ecdsa,
        ..Leaf::default()
    };
    authority.issue(&leaf).unwrap().bundle()
}

fn key(n: u8) -> String {
    STANDARD.encode([n; 48])
}

impl TlsFixture {
    fn new() -> TlsFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let authority = Authority::new("CA").unwrap();
        let write = |name: &str, text: &str| {
            scratch.write(name, text).unwrap();
        };
        write("a.pem", &bundle(&authority, "a.com"));
        write("client.pem", &bundle(&authority, "client.com"));
        write("ca", authority.certificate_pem());
        write("crl", &authority.crl(&[]).unwrap());
        write("keys", &[key(1), key(2), key(3)].join("\n"));
        let at = scratch.path().display();
        let context = context(&format!(
            "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
             frontend f\n bind 127.0.0.1:1 ssl crt {at}/a.pem ca-file {at}/ca crl-file {at}/crl verify optional tls-ticket-keys {at}/keys\n\
             backend b\n server s 127.0.0.1:2 ssl verify required ca-file {at}/ca crl-file {at}/crl crt {at}/client.pem\n \
             server t 127.0.0.1:2\n"
        ));
        TlsFixture {
            scratch,
            authority,
            context,
        }
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    fn admin(&self, command: &str) -> String {
        ask(&self.context, StatsLevel::Admin, command)
    }

    fn set(&self, kind: &str, name: &str, payload: &str) -> String {
        let name = self.path(name);
        self.admin(&format!("set ssl {kind} {name} <<\n{payload}\n"))
    }

    fn commit(&self, kind: &str, name: &str) -> String {
        let name = self.path(name);
        let told = self.admin(&format!("commit ssl {kind} {name}"));
        told.replace(&name, "FILE")
    }
}

#[test]
fn an_operator_switches_the_tls_of_a_server_off_and_on() {
    let bed = TlsFixture::new();
    let config = bed.context.runtime.config();
    let servers = || config.proxies.iter().flat_map(|proxy| &proxy.servers);
    let server = servers().find(|server| &*server.name == "s").expect("s");
    let updated = "server ssl setting updated.\n\n";
    assert!(server.traffic_tls().is_some());
    let way = server.state.way();
    assert_eq!(bed.admin("set server b/s ssl off"), updated);
    assert!(server.traffic_tls().is_none() && server.options.tls.for_checks(false).is_some());
    assert!(server.state.way() != way, "kept connections are for others");
    assert_eq!(bed.admin("set server b/s ssl on"), updated);
    assert!(server.traffic_tls().is_some());
    let cannot =
        "'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n\n";
    assert_eq!(bed.admin("set server b/t ssl on"), cannot);
    let expects = "'set server <srv> ssl' expects 'on' or 'off'.\n\n";
    assert_eq!(bed.admin("set server b/s ssl ON"), expects);
}

#[test]
fn commit_reaches_servers_and_retires_their_connections() {
    let bed = TlsFixture::new();
    let config = bed.context.runtime.config();
    let [server, plain] = &config.proxies[1].servers[..] else {
        panic!("two servers");
    };
    let connector = server.options.tls.for_traffic().unwrap();
    let ways = || (server.state.way(), plain.state.way());
    for (kind, name, payload) in [
        ("cert", "client.pem", bundle(&bed.authority, "other.com")),
        (
            "ca-file",
            "ca",
            Authority::new("new").unwrap().certificate_pem().to_owned(),
        ),
        ("crl-file", "crl", bed.authority.crl(&[b"\x05"]).unwrap()),
    ] {
        let (before, before_ways) = (connector.config(), ways());
        bed.set(kind, name, &payload);
        assert!(
            Arc::ptr_eq(&before, &connector.config()),
            "{kind} is prepared"
        );
        let dots = if kind == "cert" { "." } else { ".." };
        let told = bed.commit(kind, name);
        assert_eq!(told, format!("Committing FILE{dots}\nSuccess!\n\n"));
        assert!(!Arc::ptr_eq(&before, &connector.config()), "{kind}");
        let (way, plain_way) = ways();
        assert!(way != before_ways.0 && plain_way == before_ways.1, "{kind}");
    }
    // A changed file does not affect a server that does not use it.
    let before = ways();
    bed.set("cert", "a.pem", &bundle(&bed.authority, "b.com"));
    bed.commit("cert", "a.pem");
    assert!(ways() == before);
}

#[test]
fn insufficient_level_is_reported() {
    let bed = TlsFixture::new();
    use StatsLevel::{Admin, Operator, User};
    for (least, command) in [
        (Operator, "show ssl cert"),
        (Operator, "show ssl ca-file"),
        (Operator, "show ssl crl-file"),
        (Admin, "show ssl crt-list"),
        (User, "show ssl ocsp-response"),
        (User, "show ssl providers"),
        (User, "show tls-keys"),
        (Admin, "show tls-keys *"),
        (Admin, "show tls-keys #0"),
        (Admin, "set ssl tls-key #0 x"),
        (Admin, "set ssl ocsp-response x"),
        (Admin, "set ssl cert x"),
        (Admin, "new ssl ca-file"),
        (Admin, "commit ssl crl-file"),
        (Admin, "abort ssl cert"),
        (Admin, "del ssl cert"),
        (Admin, "add ssl crt-list"),
        (Admin, "del ssl crt-list"),
    ] {
        for level in [User, Operator, Admin] {
            let denied = ask(&bed.context, level, command) == "Permission denied\n\n";
            assert_eq!(denied, level < least, "{level:?}: {command}");
        }
    }
}

#[test]
fn a_transaction_is_about_one_certificate() {
    let bed = TlsFixture::new();
    let new = bundle(&bed.authority, "b.com");
    bed.set("cert", "a.pem", &new);
    // HAProxy 2.6 adds this file to the open transaction of the other one.
    let told = bed.set("cert", "client.pem", &new);
    let told = told.replace(&bed.scratch.path().display().to_string(), "");
    assert_eq!(
        told,
        "The ongoing transaction is about '/a.pem' but you are trying to set '/client.pem'\n\
         Can't update /client.pem!\n\n"
    );
}

#[test]
fn keys_of_tickets_are_shown_and_moved_on() {
    let bed = TlsFixture::new();
    let file = bed.path("keys");
    assert_eq!(
        bed.admin("show tls-keys"),
        format!("# id (file)\n0 ({file})\n\n")
    );
    let told = bed.admin(&format!("set ssl tls-key #0 {}", key(4)));
    assert_eq!(told, "TLS ticket key updated!\n\n");
    let shown = format!(
        "# id secret\n# 0 ({file})\n0.0 {}\n0.1 {}\n0.2 {}\n\n",
        key(2),
        key(3),
        key(4)
    );
    assert_eq!(bed.admin("show tls-keys *"), shown);
    assert_eq!(bed.admin(&format!("show tls-keys {file}")), shown);
    let short = STANDARD.encode([5; 80]);
    for (command, answer) in [
        (
            format!("set ssl tls-key {file} {short}"),
            "'set ssl tls-key' received a key of wrong size.\n\n",
        ),
        (
            "set ssl tls-key #0 !".to_owned(),
            "'set ssl tls-key' received invalid base64 encoded TLS key.\n\n",
        ),
        (
            "show tls-keys #1".to_owned(),
            "'show tls-keys' unable to locate referenced filename\n\n",
        ),
    ] {
        assert_eq!(bed.admin(&command), answer, "{command}");
    }
}

#[test]
fn a_payload_without_its_empty_line_is_refused_and_changes_nothing() {
    let bed = TlsFixture::new();
    let (name, pem) = (bed.path("a.pem"), bed.authority.certificate_pem());
    for cut in ["", "-----BEGIN", pem] {
        let input = format!("set ssl cert {name} <<\n{cut}");
        let answer = block_on(async {
            let (mut peer, ours) = UnixStream::pair().unwrap();
            peer.write_all(input.as_bytes()).await.unwrap();
            peer.shutdown().await.unwrap();
            let served = connection::serve(ours, StatsLevel::Admin, &bed.context);
            served.await.unwrap();
            let mut answer = String::new();
            peer.read_to_string(&mut answer).await.unwrap();
            answer
        });
        assert!(
            answer.contains("does not end with an empty line"),
            "{answer}"
        );
    }
    let shown = bed.admin("show ssl cert");
    assert!(!shown.contains("# transaction"), "{shown}");
}

#[test]
fn a_payload_that_is_too_long_is_refused_and_changes_nothing() {
    let bed = TlsFixture::new();
    let name = bed.path("a.pem");
    let line = "x".repeat(1000) + "\n";
    let mut input = format!("set ssl cert {name} <<\n").into_bytes();
    while input.len() <= PAYLOAD_MAX + line.len() {
        input.extend_from_slice(line.as_bytes());
    }
    let answer = block_on(async {
        let talked = talk(&bed.context, StatsLevel::Admin, &input);
        talked.await
    });
    assert!(answer.contains("payload is longer"), "{answer}");
    let shown = bed.admin("show ssl cert");
    assert!(!shown.contains("# transaction"), "{shown}");
}

#[test]
fn payload_is_hidden_from_session_listings() {
    let payload = Payload("PRIVATE KEY".to_owned().into());
    assert_eq!(format!("{payload:?}"), "Payload(11 bytes)");
}

#[test]
fn unknown_tls_command_lists_similar_ones() {
    let bed = TlsFixture::new();
    let told = bed.admin("abort ssl nothing");
    assert!(told.contains("  abort ssl cert <certfile>"), "{told}");
    let told = bed.admin("show ssl");
    assert!(!told.contains("show stat"), "{told}");
}
