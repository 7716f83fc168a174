//! Loads files as they were written for HAProxy 1.x, and the current stock file.

use super::{codes, text, told};
use model::config::{BindAddress, Mode, ProxyOption};

/// Configuration file for HAProxy 1.3 and 1.4.
const OLD: &str = "\
global
    daemon
    maxconn 4096
    nbproc 1
    quiet

defaults
    mode http
    retries 3
    redispatch
    contimeout 5000
    clitimeout 50000
    srvtimeout 50000
    option httpclose
    option forceclose

listen statistics *:8100
    mode http
    stats uri /lb?stats
    stats refresh 15s
    stats show-legends
    stats auth watch:keeper

frontend shop
    bind *:8101
    default_backend pool

backend pool
    stats enable

listen mail 127.0.0.1:8125
    mode tcp
    option nolinger
    option independant-streams
";

#[test]
fn a_file_of_haproxy_1_4_loads_with_warnings_that_show_todays_forms() {
    let loaded = text(OLD);
    insta::assert_snapshot!(told(&loaded));
    let config = loaded.config.expect("only warnings");
    let names: Vec<&str> = config.proxies.iter().map(|proxy| &*proxy.name).collect();
    assert_eq!(names, ["statistics", "shop", "pool", "mail"]);
    let mail = &config.proxies[3];
    assert_eq!(mail.mode, Mode::Tcp);
    assert_eq!(mail.timeouts.client_ms, Some(50_000));
    assert_eq!(mail.redispatch, Some(-1));
    assert!(mail.has(ProxyOption::IndependentStreams) && mail.has(ProxyOption::HttpClose));
    let BindAddress::Inet(address) = mail.binds[0].address else {
        panic!("an address")
    };
    assert_eq!(address.to_string(), "127.0.0.1:8125");
    let page = config.proxies[0].stats.as_deref().expect("a page");
    assert_eq!((page.refresh_s, page.users.len()), (15, 1));
}

#[test]
fn tls_settings_of_a_stock_file_are_read_where_no_line_says_ssl() {
    let loaded = text(
        "global\n    ca-base /etc/ssl/certs\n    crt-base /etc/ssl/private\n    \
         ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384\n    \
         ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256\n    \
         ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets\n",
    );
    // The cipher with finite-field Diffie-Hellman is omitted with a warning.
    assert_eq!(codes(&loaded), ["W0122"], "{}", told(&loaded));
    let tls = loaded.config.expect("no error").global.tls;
    assert!(tls.bind.no_tickets && tls.bind.versions.min.is_some());
    assert_eq!(tls.server, Default::default());
}
