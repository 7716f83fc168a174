//! Tests the diagnostics about typical mistakes, one line each.

use super::{codes, text, told};

fn snapshot(lines: &str) -> String {
    told(&text(lines))
}

#[test]
fn mistakes_of_global_are_told_with_the_nearest_word() {
    insta::assert_snapshot!(snapshot(
        "global\n    maxcon 5\n    maxconn abc\n    maxconn 10k\n    maxconn -1\n    maxconn\n    maxconn 1 2\n    \
         no maxconn\n    user nosuchuser\n    uid x\n    nbthread 0\n    nbthread 9999\n    spread-checks 60\n    \
         tune.bufsize 0\n    tune.foo 5\n    stats timeout 0\n    stats timeout x\n    stats foo\n    stats\n    \
         stats socket /x level adm\n    stats socket /x mode 999\n    stats socket /x foo\n    \
         ssl-default-bind-options no-sslv4\n    ssl-default-bind-options ssl-min-ver TLSv1.9\n    \
         ssl-server-verify maybe\n    crt-base /a\n    crt-base /b\n    cpu-map 1/0 0\n    cpu-map 1\n    \
         default-path conf\n    node a$b\n    setenv A\n    chroot\n    hard-stop-after 5x\n    master-worker\n    \
         mode http\n    foo bar\n"
    ));
}

#[test]
fn mistakes_of_timeouts_are_told() {
    insta::assert_snapshot!(snapshot(
        "defaults\n    timeout\n    timeout client\n    timeout clietn 5s\n    timeout client 5x\n    timeout client 5.5s\n    \
         timeout client -1\n    timeout client 25d\n    timeout client 30s 40s\n    timeout client 30\n    \
         timeout client 5sec\n    no timeout client 5s\n    clitimeout 5x\n    timeout connect 0\n"
    ));
}

#[test]
fn mistakes_of_bind_lines_are_told() {
    insta::assert_snapshot!(snapshot(
        "frontend f\n    timeout client 5s\n    bind\n    bind :\n    bind 127.0.0.1\n    bind :0\n    bind :90-80\n    \
         bind :99999\n    bind udp@:53\n    bind quic4@:443\n    bind :101 ssl crt /x alpn h2\n    bind :102 nmae x\n    \
         bind :103 mss 99999\n    bind :104 backlog x\n    bind :105 id 0\n    bind :80-81 id 5\n    bind :106 mode 999\n    \
         bind :107 user nosuchuser\n    bind :108 maxconn x\n    bind :109 proto quic\n    bind :110 thread 1/2\n    \
         bind :83 process 1/all\n    bind :84 level admin\n    bind :85\n    bind :85\n"
    ));
}

#[test]
fn mistakes_of_proxies_are_told() {
    insta::assert_snapshot!(snapshot(
        "listen l\n    timeout client 5s\n    bind :80\n    mode htp\n    mode health\n    mode http tcp\n    option\n    \
         option httplgo\n    option dontlognull x\n    no option forwardfor\n    option forwardfor except nope\n    \
         option forwardfor hedder X\n    option redispatch x\n    retries abc\n    http-reuse sometimes\n    \
         rate-limit sessions x\n    source nope.invalid\n    source 127.0.0.1 usesrc clientip\n    id x\n    id 0\n    \
         disabled x\n    errorfile 418 /x\n    errorfile 503 /nope/503.http\n    errorfile 503\n    errorloc 999 /x\n    \
         monitor-uri\n    stats foo\n    stats uri\n    stats refresh x\n    bidn :80\n    description\n"
    ));
}

#[test]
fn references_are_resolved_and_mistakes_in_them_told() {
    insta::assert_snapshot!(snapshot(
        "defaults\n    mode http\n    timeout client 5s\n    timeout connect 5s\n    timeout server 5s\n\
         frontend f\n    bind :80\n    default_backend wbe\nfrontend g\n    bind :81\n    default_backend bytes\n\
         frontend h\n    bind :82\n    default_backend f\nlisten l\n    bind :83\n    default_backend l\n\
         backend web\n    stats enable\nbackend bytes\n    mode tcp\n    server s 127.0.0.1:90\nbackend web\n    id 5\n\
         frontend nothing\n    id 5\n"
    ));
}

#[test]
fn what_has_no_effect_or_is_missing_is_warned_about() {
    insta::assert_snapshot!(snapshot(
        "listen l\n    bind :80\n    option forwardfor\n    option http-ignore-probes\n    option prefer-last-server\n    \
         monitor-uri /x\n    stats enable\n    option nolinger\nfrontend f\n    timeout client 5s\nbackend b\n    \
         fullconn 5\n    timeout client 5s\n"
    ));
}

#[test]
fn lines_outside_of_what_is_known_are_told_once() {
    insta::assert_snapshot!(snapshot(
        "bind :80\nfronted f\n    bind :80\nbackend b\n    mode http\nfronted g\n    bind :80\npeers p\n    peer a 127.0.0.1:1\n    bind :80\n    pear b\n\
         frontend\n    bind :80\nfrontend a$b\n    nonsense\nfrontend f from nowhere\n    nonsense\n"
    ));
}

#[test]
fn small_mistakes_are_told_so_that_they_can_be_mended() {
    let of = |line: &str| {
        let file = format!(
            "frontend a\n    mode http\n    bind 127.0.0.1:1\n    timeout client 9s\n    {line}\n"
        );
        let loaded = text(&file);
        let found = loaded.diagnostics.iter().find(|d| d.code.id != "W0103");
        let d = found.unwrap_or_else(|| panic!("{line}")).clone();
        let fix = d.fix.clone().map(|fix| fix.replacement);
        let help = d.help.clone().unwrap_or_default();
        (d.code.id, help, fix.unwrap_or_default())
    };
    let (code, help, _) = of("default_server inter 2s");
    assert_eq!((code, &*help), ("E0101", "did you mean 'default-server'?"));
    let (code, _, fix) = of("http-request set-var(user,ifnotexists) src");
    assert_eq!((code, &*fix), ("E0416", "set-var(txn.user,ifnotexists)"));
    let (code, _, fix) = of("http-request set-header a %[var(user)]");
    assert_eq!((code, &*fix), ("E0416", "txn.user"));
    assert_eq!(of("log /var/log/haproxy/all.log local0").0, "W0127");
    assert_eq!(of("log /srv/logs/x.log local0").0, "W0127");
    let sockets = text("global\n    log /dev/log local0\n    log /run/log local0\n");
    assert!(!codes(&sockets).contains(&"W0127"));
}

#[test]
fn a_variable_without_a_value_is_named_where_its_line_is_refused() {
    let file = |line: &str| format!("listen a\n    bind 127.0.0.1:1\n    {line}\n");
    let notes = |line: &str| -> Vec<String> {
        let loaded = text(&file(line));
        let errors = loaded.diagnostics.iter();
        let errors = errors.filter(|told| told.severity == language::Severity::Error);
        errors.flat_map(|told| told.notes.clone()).collect()
    };
    let one = |name: &str| {
        vec![format!(
            "the environment variable '{name}' is not set and expands to an empty string"
        )]
    };
    assert_eq!(notes("dispatch \"$HOST:\""), one("HOST"));
    assert_eq!(notes("server s \"${HOST}\""), one("HOST"));
    assert_eq!(
        notes("dispatch \"$HOST:$PORT$HOST\""),
        ["the environment variables 'HOST', 'PORT' are not set and expand to empty strings"]
    );
    // Variables with a default, and addresses that are valid without the variable, are not
    // reported.
    assert!(notes("server s \"${HOST-x:y:z}\"").is_empty());
    assert!(notes("server s \"127.0.0.1${NOTHING}:80\"").is_empty());
}
