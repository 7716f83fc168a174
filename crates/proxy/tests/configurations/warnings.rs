//! Tests the warnings about a configuration, and that a line can suppress each of them by its
//! code.

use crate::corpus::load_text;
use configuration::LoadOptions;
use keyword::load::{Loaded, load};
use language::{Environment, Facts};
use std::os::unix::fs::PermissionsExt;

const DEFAULTS: &str = "defaults\n    mode http\n    timeout client 5s\n    timeout connect 5s\n    timeout server 5s\n";

/// The code, the file, and the line of it (a part of which is given) that is
/// warned about.
const WARNINGS: &[(&str, &str, &str)] = &[
    (
        "W0101",
        "listen l\n    bind :1\n    use_backend b if TRUE\nbackend b\n",
        "backend b",
    ),
    ("W0102", "defaults\nfrontend f\n    bind :1\n", "frontend f"),
    ("W0103", "frontend f\n", "frontend f"),
    (
        "W0104",
        "listen l\n    bind :1\n    redispatch\n",
        "redispatch",
    ),
    ("W0104", "listen l 127.0.0.1:1\n", "listen l"),
    (
        "W0104",
        "listen l\n    bind :1\n    clitimeout 5000\n",
        "clitimeout",
    ),
    (
        "W0105",
        "listen l\n    bind :1\n    mode tcp\n    option forwardfor\n",
        "listen l",
    ),
    (
        "W0107",
        "listen l\n    bind :1\n    option nolinger\n",
        "option nolinger",
    ),
    (
        "W0110",
        "listen l\n    bind :1\n    use_backend b\n    use_backend c\nbackend b\n    stats enable\nbackend c\n    stats enable\n",
        "use_backend c",
    ),
    (
        "W0110",
        "listen l\n    bind :1\n    http-request deny\n    http-request allow\n",
        "http-request allow",
    ),
    (
        "W0111",
        "listen l\n    bind :1\n    acl unused path /x\n",
        "acl unused",
    ),
    (
        "W0113",
        "backend b\n    stats enable\n    maxconn 5\n",
        "maxconn 5",
    ),
    (
        "W0114",
        "listen l\n    bind :1\n    timeout client 50\n",
        "timeout client 50\n",
    ),
    (
        "W0115",
        "listen l\n    bind :1\n    redirect prefix / if TRUE\n    http-request deny\n",
        "http-request deny",
    ),
    (
        "W0119",
        "listen l\n    bind :1\n    maxconn 10k\n",
        "maxconn 10k",
    ),
    (
        "W0120",
        "backend b surplus\n    stats enable\n",
        "backend b",
    ),
    (
        "W0303",
        "listen l\n    bind :1\n    bind :1 name second\n",
        "bind :1 name",
    ),
    (
        "W0401",
        "listen l\n    bind :1\n    http-request deny if { res.hdr(a) b }\n",
        "http-request deny",
    ),
    (
        "W0402",
        "listen l\n    bind :1\n    http-request deny if { path }\n",
        "http-request deny",
    ),
    (
        "W0403",
        "listen l\n    bind :1\n    http-request deny if\n",
        "http-request deny",
    ),
    (
        "W0404",
        "listen l\n    bind :1\n    http-request deny if { ssl_fc 0 }\n",
        "http-request deny",
    ),
    (
        "W0505",
        "listen l\n    bind :1\n    http-request set-header X: y\n",
        "http-request set-header",
    ),
];

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|d| d.code.id).collect()
}

#[test]
fn each_warning_is_given_once_and_can_be_silenced_on_its_line() {
    for (code, text, line) in WARNINGS {
        let text = if text.starts_with("defaults") {
            (*text).to_owned()
        } else {
            format!("{DEFAULTS}{text}")
        };
        let told = codes(&load_text("test.cfg", text.as_bytes()));
        assert_eq!(
            told.iter().filter(|told| *told == code).count(),
            1,
            "{code}: {told:?} in\n{text}"
        );
        let at = text.rfind(line).expect("the line is in the text");
        let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        let silent = format!("{} # evenkeel: allow {code}{}", &text[..end], &text[end..]);
        let told = codes(&load_text("test.cfg", silent.as_bytes()));
        assert!(!told.contains(code), "{code} is not silenced in\n{silent}");
    }
}

#[test]
fn an_error_cannot_be_silenced_and_other_codes_stay() {
    let text = "frontend f\n    bind :1 # evenkeel: allow E0209, W0107\n    mode htp # evenkeel: allow E0207\n";
    let told = codes(&load_text(
        "test.cfg",
        format!("{DEFAULTS}{text}").as_bytes(),
    ));
    assert_eq!(told, ["E0207"]);
    let text = "frontend f\n    bind :1\n    option nolinger # evenkeel: allow W0104\n";
    let told = codes(&load_text(
        "test.cfg",
        format!("{DEFAULTS}{text}").as_bytes(),
    ));
    assert_eq!(told, ["W0107"]);
}

#[test]
fn an_address_of_another_host_is_warned_about_where_addresses_are_looked_at() {
    let of = |comment: &str| {
        let text = format!("{DEFAULTS}frontend f\n    bind 192.0.2.77:80{comment}\n");
        let options = LoadOptions {
            resolve_names: true,
            ..LoadOptions::default()
        };
        let files = vec![("test.cfg".to_owned(), text.into_bytes())];
        codes(&load(
            files,
            Environment::empty(),
            Facts::new("2.6.12"),
            options,
        ))
    };
    let nonlocal = std::fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind");
    if nonlocal.is_ok_and(|text| text.trim() == "1") {
        println!("skipped: this system binds any address");
        return;
    }
    assert_eq!(of(""), ["W0108"]);
    assert!(of(" # evenkeel: allow W0108").is_empty());
}

#[test]
fn a_password_that_everyone_can_read_is_warned_about() {
    let path = std::env::temp_dir().join(format!("evenkeel-password-{}.cfg", std::process::id()));
    let of = |mode: u32, comment: &str| {
        let text =
            format!("{DEFAULTS}listen l\n    bind :1\n    stats auth watch:keeper{comment}\n");
        std::fs::write(&path, &text).expect("a place for the file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .expect("our own file");
        codes(&load_text(&path.to_string_lossy(), text.as_bytes()))
    };
    let (open, closed, allowed) = (
        of(0o644, ""),
        of(0o600, ""),
        of(0o644, " # evenkeel: allow W0109"),
    );
    let _ = std::fs::remove_file(&path);
    assert_eq!(open, ["W0109"]);
    assert!(closed.is_empty(), "{closed:?}");
    assert!(allowed.is_empty(), "{allowed:?}");
}

#[test]
fn zero_warning_refuses_for_what_haproxy_warns_about_and_for_nothing_else() {
    let of = |lines: &str| {
        codes(&load_text(
            "test.cfg",
            format!("global\n    zero-warning\n{DEFAULTS}{lines}").as_bytes(),
        ))
    };
    assert!(of("frontend f\n    bind :1\n    option http-pretend-keepalive\n").contains(&"E0304"));
    assert_eq!(
        of("frontend f\n    bind :1\n    option nolinger\n    acl unused path /x\n"),
        ["W0107", "W0111"]
    );
}
