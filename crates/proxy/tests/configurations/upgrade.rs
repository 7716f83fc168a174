//! Tests the upgrade of old configuration files. HAProxy accepts the result, Evenkeel reports no
//! old syntax in it, and a second upgrade changes nothing.

use configuration::LoadOptions;
use keyword::load::{Loaded, load};
use language::upgrade::upgrade;
use language::{Environment, Facts, FileId};
use model::codes;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

const ROUNDS_MAX: usize = 8;

fn loaded(text: &[u8]) -> Loaded {
    let files = vec![("test.cfg".to_owned(), text.to_vec())];
    load(
        files,
        Environment::empty(),
        Facts::new("2.6.12"),
        LoadOptions::default(),
    )
}

/// Returns the upgraded text, and how many old forms are left in it.
fn upgraded(text: &str) -> (String, usize) {
    let mut text = text.as_bytes().to_vec();
    for _ in 0..ROUNDS_MAX {
        let loaded = loaded(&text);
        let old = || {
            loaded
                .diagnostics
                .iter()
                .filter(|d| d.code.id == codes::LEGACY.id)
        };
        let new = upgrade(&loaded.sources, FileId(0), old()).text;
        if new == text {
            let told: Vec<_> = loaded.diagnostics.iter().map(|d| &d.message).collect();
            assert_eq!(loaded.diagnostics.errors(), 0, "{told:?}");
            return (String::from_utf8(text).unwrap(), old().count());
        }
        text = new;
    }
    panic!("it never ends: {}", String::from_utf8_lossy(&text));
}

/// Returns HAProxy's objections to a file; None without HAProxy.
fn refused(text: &str) -> Option<String> {
    let mut child = Command::new("haproxy")
        .args(["-c", "-f", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() {
        String::new()
    } else {
        said
    })
}

const HEAD: &str = "\
defaults
    mode http
    clitimeout 5s # of clients
    srvtimeout 5s
    contimeout 1s

";

/// Sections in old syntax, and their current form.
const FILES: &[(&str, &str)] = &[
    (
        "listen web 127.0.0.1:8080,127.0.0.1:8081\n\tserver a 127.0.0.1:1\n",
        "listen web\n\tbind 127.0.0.1:8080,127.0.0.1:8081\n\tserver a 127.0.0.1:1\n",
    ),
    (
        "frontend web\n    bind 127.0.0.1:8080\n    redirect location / if { path /old }\n    default_backend b\n    rspidel ^Server:.*$  # hide\n    # both\n    rspidel ^X-(A|B):\n    rspidel ^X-Powered-By:.*$\n",
        "frontend web\n    bind 127.0.0.1:8080\n    redirect location / if { path /old }\n    default_backend b\n    http-response del-header Server  # hide\n    # both\n    # evenkeel upgrade: `del-header NAME` removes all headers with a name regardless of their values; to keep some, stop the server from sending the others, or use `replace-header NAME REGEX FORMAT`\n    rspidel ^X-(A|B):\n    # evenkeel upgrade: it runs after an earlier rule that has no current form, and would run before it; rewrite that one by hand, then run the upgrade again\n    rspidel ^X-Powered-By:.*$\n",
    ),
    (
        "listen web\n    bind 127.0.0.1:8080\n    reqadd X-Proto:\\ https if { dst_port 443 }\n    reqirep ^X-Proto:\\ http$ X-Proto:\\ plain\n    http-request set-header x 1 # first\n    block if { src 10.0.0.1 }\n    server a 127.0.0.1:1\n",
        "listen web\n    bind 127.0.0.1:8080\n    http-request deny if { src 10.0.0.1 }\n    http-request set-header x 1 # first\n    http-request replace-header X-Proto '(?i)^http$' plain\n    http-request add-header X-Proto https if { dst_port 443 }\n    server a 127.0.0.1:1\n",
    ),
    (
        "listen web\n    bind 127.0.0.1:8080\n    reqirep ^(\\w+\\ )https:/(/.*)$ \\1http:/\\2\n    rspirep ^Location:\\s*http://.*?\\.example.com(/.*)$ Location:\\ \\1\n    rspirep ^Location:(.*\\?\\w+=)http(%3a%2f%2f.*?\\.example.com%2f.*)$ Location:\\ \\1https\\2\n    server a 127.0.0.1:1\n",
        "listen web\n    bind 127.0.0.1:8080\n    http-request replace-uri '(?i)^https:/(/.*)$' 'http:/\\1'\n    http-response replace-header Location '(?i)^http://.*?\\.example.com(/.*)$' '\\1'\n    http-response replace-header Location '(?i)^(.*\\?\\w+=)http(%3a%2f%2f.*?\\.example.com%2f.*)$' '\\1https\\2'\n    server a 127.0.0.1:1\n",
    ),
    (
        "listen web\n    bind 127.0.0.1:8080\n    redispatch\n    option forceclose\n    option http-use-htx\n    reqpass ^[^:\\ ]*:\n    reqtarpit ^[^:\\ ]*\\ /cgi-bin/\n    reqsetbe ^GET\\ /static/ b\n    reqdeny ^POST\\  unless { src 10.0.0.1 }\n    server a 127.0.0.1:1\n",
        "listen web\n    bind 127.0.0.1:8080\n    option redispatch\n    option httpclose\n    http-request tarpit if { pathq -m reg ^/cgi-bin/ }\n    use_backend b if { method GET } { pathq -m reg ^/static/ }\n    # evenkeel upgrade: name the header or part of the request: `http-request deny if { path -m reg REGEX }`, `… if { req.fhdr(NAME) -m reg REGEX }`\n    reqdeny ^POST\\  unless { src 10.0.0.1 }\n    server a 127.0.0.1:1\n",
    ),
];

#[test]
fn upgraded_old_files_are_accepted_by_haproxy() {
    for (old, expected) in FILES {
        let tail = "backend b\n    server b 127.0.0.1:2\n";
        let (new, left) = upgraded(&format!("{HEAD}{old}{tail}"));
        let body = new
            .split_once("connect 1s\n\n")
            .map_or("", |(_, body)| body);
        assert_eq!(body.strip_suffix(tail).unwrap_or(body), *expected);
        assert!(new.contains("timeout client 5s # of clients\n"), "{new}");
        assert_eq!(upgraded(&new), (new.clone(), left));
        if left == 0
            && let Some(said) = refused(&new)
        {
            assert_eq!(said, "", "{new}");
        }
    }
}

/// Generates texts from words of old files and from characters that break lines.
fn any_text() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "listen a 127.0.0.1:1",
        "frontend f",
        "backend b",
        "defaults",
        "global",
        "reqrep ^GET\\ (.*) GET\\ /x\\1",
        "reqirep ^Host:\\ (.*) Host:\\ \\1 if { path / }",
        "reqidel ^X-A:.* # why",
        "rspidel ^Server",
        "rspadd X:\\ \"a b\"",
        "reqadd X-Y:\\ %[src]",
        "reqitarpit ^X:.*$",
        "reqpass ^X",
        "reqsetbe ^GET b",
        "block if { src 1.2.3.4 }",
        "clitimeout 5000",
        "srvtimeout 5000",
        "contimeout 4s",
        "option forceclose",
        "option httpclose",
        "redispatch",
        "appsession JSESSIONID len 52 timeout 3h",
        "monitor-net 10.0.0.0/8",
        "balance roundrobin",
        "cookie S insert",
        "server s 127.0.0.1:2 cookie s check",
        "dispatch 127.0.0.1:3",
        "bind :4 ssl crt x",
        "nbproc 4",
        "http-request deny",
        "acl x hdr_beg(Host) -i www.",
        "use_backend b if x",
    ]);
    let piece = prop_oneof![
        6 => line.prop_map(str::to_owned),
        1 => "[ -~\\t\"'\\\\#]{0,30}",
        1 => prop::sample::select(vec!["\\", "\"", "'", "#", "if", "unless", "\r", "é"]).prop_map(str::to_owned),
    ];
    let ends = prop::sample::select(vec!["\n", "\r\n", "\n  ", " ", "\\\n", ""]);
    prop::collection::vec((piece, ends), 0..14)
        .prop_map(|all| all.into_iter().map(|(line, end)| line + end).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_text_is_rewritten_to_an_end_without_new_errors(text in any_text()) {
        let (before, after, new) = errors_around(&text);
        prop_assert!(after <= before, "{} errors, were {}: {}", after, before, new);
    }
}

/// Returns the number of errors in a text before and after its upgrade, and the upgraded
/// text.
fn errors_around(text: &str) -> (usize, usize, String) {
    let before = loaded(text.as_bytes()).diagnostics.errors();
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..ROUNDS_MAX {
        let loaded = loaded(&bytes);
        let old = [codes::LEGACY.id, language::codes::OLD_QUOTE.id];
        let old = loaded
            .diagnostics
            .iter()
            .filter(|d| old.contains(&d.code.id));
        let new = upgrade(&loaded.sources, FileId(0), old).text;
        if new == bytes {
            break;
        }
        bytes = new;
    }
    let after = loaded(&bytes).diagnostics.errors();
    (before, after, String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn all_quotes_of_a_line_with_one_alone_become_characters() {
    let text = "frontend f\n    reqidel ^X\n    acl a path_reg x\"y'z \\'w # it's\n";
    let (before, after, new) = errors_around(text);
    assert_eq!(before, after, "{new}");
    assert!(new.contains("path_reg x\\\"y\\'z \\'w # it's\n"), "{new}");
}
