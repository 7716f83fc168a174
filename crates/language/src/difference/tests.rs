//! Tests rendered differences between configurations, and properties that hold for any two texts.

use super::*;
use insta::assert_snapshot;
use proptest::prelude::*;

fn vocabulary() -> Vocabulary<'static> {
    Vocabulary {
        sections: vec![
            "global", "defaults", "frontend", "backend", "listen", "userlist",
        ],
        secrets: vec!["password", "insecure-password", "auth"],
        ..Vocabulary::default()
    }
}

fn files(text: &str) -> Vec<(String, Vec<u8>)> {
    vec![("site.cfg".into(), text.as_bytes().to_vec())]
}

fn compare(old: &str, new: &str) -> Difference {
    let (old, new) = (files(old), files(new));
    let texts = |files| Texts { files, other: &[] };
    compute(texts(&old), texts(&new), &vocabulary())
}

const OLD: &str = "\
global
    maxconn 1000
frontend www
    bind :80
    maxconn 100
    http-request deny if bad
    http-request set-header X-A 1
    default_backend app
backend app
    balance roundrobin
    server web1 10.0.0.1:80 check weight 10
    server web2 10.0.0.2:80 check backup
backend old
    server s 10.0.0.9:80
";

const NEW: &str = "\
global
    maxconn 2000
frontend www
    bind :80
    bind :443
    http-request set-header X-A 1
    http-request deny if bad
    log global
    default_backend app
backend app
    balance roundrobin
    server web1 10.0.0.3:80 check weight 20
    server web2 10.0.0.2:80 check
    server web3 10.0.0.4:80 check
backend fresh
    mode http
    balance first
    server s 10.0.0.8:80
";

#[test]
fn a_change_is_told_section_by_section() {
    assert_snapshot!(compare(OLD, NEW));
}

#[test]
fn spaces_comments_quotes_and_unlike_lines_order_make_no_difference() {
    let other = "\
# A file by another hand.

global
\tmaxconn   '1000'   # most
frontend www
    default_backend \"app\"
    maxconn 100
    bind :80
    http-request deny if bad
    http-request set-header X-A 1
backend app
    server web1 10.0.0.1:80 check weight 10
    balance roundrobin
    server web2 10.0.0.2:80 check backup
backend old
    server s 10.0.0.9:80
";
    assert!(compare(OLD, other).is_empty());
    assert_eq!(compare(OLD, other).to_string(), "nothing changed\n");
}

#[test]
fn secrets_are_covered_and_their_change_is_told() {
    let old = "\
userlist staff
    user joe password $6$salt$hash
    user ann insecure-password hunter2
listen stats
    stats auth admin:first
    http-request set-header Authorization \"Basic YWRtaW46Zmlyc3Q=\"
    http-request add-header X-One \"Bearer abc.def\"
    http-request redirect location http://joe:sesame@example.com/
    setenv API_TOKEN tok-1
    http-check send hdr Authorization Basic open1 ver HTTP/1.1
    source joe:sesame@proxy
";
    let new = "\
userlist staff
    user joe password $6$salt$other
    user bob insecure-password hunter3
listen stats
    stats auth admin:second
    stats auth root:third
    setenv API_TOKEN tok-2
    http-request set-header Authorization \"Basic b3RoZXI=\"
    http-request add-header X-Two \"Bearer ghi\"
    http-request redirect location http://joe:open@example.com/
";
    let told = compare(old, new).to_string();
    for secret in [
        "hash", "other", "hunter", "first", "second", "third", "YWRt", "b3Ro", "abc", "ghi",
        "sesame", "open", "tok-",
    ] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    assert_snapshot!(told);
}

#[test]
fn a_secret_behind_the_way_of_comparing_it_or_in_a_query_is_covered() {
    let text = |secret: &str| {
        format!(
            "backend b\n    option httpchk GET /check?a=1&password={secret}\n    \
             http-request deny unless {{ req.hdr(x-token) -m str -i {secret} }}\n    \
             http-request deny if {{ req.hdr(x-secret) -i {secret} }}\n"
        )
    };
    let told = compare(&text("hunter-one"), &text("hunter-two")).to_string();
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn conditions_variables_and_places_count() {
    let old = "\
defaults
    mode http
backend a
    server s \"${IP}\":80
defaults
    mode tcp
backend b
    retries 2
    .if defined(X)
        fullconn 5
    .endif
";
    let new = "\
defaults
    mode http
backend b
    .if defined(X)
        retries 2
    .endif
    fullconn 5
backend a
    server s '${IP}':80
defaults
    mode tcp
";
    assert_snapshot!(compare(old, new));
}

#[test]
fn a_long_difference_is_cut_and_the_rest_is_counted() {
    let list = |n: usize, port: u16| -> String {
        let server = |n: usize| format!("    server s{n} 192.0.2.1:{port} check\n");
        "backend many\n".to_owned() + &(0..n).map(server).collect::<String>()
    };
    let difference = compare(&list(100, 80), &list(100, 81));
    let told = difference.render(3);
    assert_snapshot!(told);
    let wide = format!("global\n    description {}\n", "x".repeat(1000));
    assert!(compare("global\n", &wide).to_string().len() < 300);
}

#[test]
fn other_texts_are_told_in_numbers_only() {
    let other = |list: &[(&str, &[u8])]| -> Vec<(String, Vec<u8>)> {
        list.iter()
            .map(|(name, text)| ((*name).to_owned(), text.to_vec()))
            .collect()
    };
    let old = other(&[
        ("map routes.map", b"a 1\nb 2\nc 3\n"),
        ("list bad.lst", b"x\ny\n"),
        ("list gone.lst", b"x\n"),
        ("page 503.http", b"\0one"),
        ("map same.map", b"a\n"),
    ]);
    let new = other(&[
        ("map routes.map", b"a 1\nb 9\nc 3\nd 4\n"),
        ("list bad.lst", b"y\nx\n"),
        ("page 503.http", b"\0two"),
        ("map same.map", b"a\n"),
        ("map new.map", b"a 1\n"),
    ]);
    let files = files("global\n");
    let texts = |other| Texts {
        files: &files,
        other,
    };
    assert_snapshot!(compute(texts(&old), texts(&new), &vocabulary()));
}

/// Returns the processor time that this thread has used, however busy the machine is.
fn processor_time() -> std::time::Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = times.split_whitespace().next().unwrap();
    std::time::Duration::from_nanos(nanoseconds.parse().unwrap())
}

#[test]
fn ten_thousand_servers_are_compared_in_little_processor_time() {
    let list = |step: usize| -> String {
        let server = |n: usize| format!("    server s{} 192.0.2.1:80 check\n", n * step % 10_007);
        "backend many\n".to_owned() + &(1..10_000).map(server).collect::<String>()
    };
    let began = processor_time();
    let difference = compare(&list(1), &list(3));
    assert!(!difference.is_empty());
    // Much more than the comparison needs without optimization.
    let spent = processor_time() - began;
    assert!(spent < std::time::Duration::from_secs(5), "{spent:?}");
}

#[test]
fn hostile_texts_are_masked_in_little_processor_time() {
    let word = |piece: &str| format!("http-request set-header a {}\n", piece.repeat(20_000));
    let line = |n: usize| format!("http-request set-map(f{n}) %[http_auth_bearer] x\n");
    let texts = [
        word("€x("),
        word("var(a"),
        word("hdr(a)"),
        word("?"),
        word("a?key&"),
        word("hmac(a,b)"),
        word("strcmp(a"),
        (0..4_000).map(line).collect(),
    ];
    let carried = "http-request set-var(txn.k) http_auth_bearer\n";
    for text in texts {
        let began = processor_time();
        mask_secrets((carried.to_owned() + &text).as_bytes(), &vocabulary());
        let spent = processor_time() - began;
        let beginning = text.get(..40);
        assert!(
            spent < std::time::Duration::from_secs(20),
            "{beginning:?}: {spent:?}"
        );
    }
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"global\n".to_vec()),
        Just(b"backend a\n".to_vec()),
        Just(b"backend b from x\n".to_vec()),
        Just(b" server s 1:1 check\n".to_vec()),
        Just(b" server s 1:2 \"${X}\"\n".to_vec()),
        Just(b" user u password p\n".to_vec()),
        Just(b".if 1\n".to_vec()),
        Just(b".else\n".to_vec()),
        Just(b".endif\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_differs_from_itself(text in anything()) {
        let files = [("f".to_owned(), text.clone())];
        let texts = Texts { files: &files, other: &files };
        prop_assert!(compute(texts, texts, &vocabulary()).is_empty());
    }

    #[test]
    fn any_two_texts_can_be_compared_and_told(old in anything(), new in anything(), max in 0usize..9) {
        let (old, new) = ([("f".to_owned(), old)], [("f".to_owned(), new)]);
        let texts = |files| Texts { files, other: files };
        let difference = compute(texts(&old), texts(&new), &vocabulary());
        let told = difference.render(max);
        prop_assert!(told.lines().count() <= max + 1);
        prop_assert_eq!(difference.is_empty(), told == "nothing changed\n");
    }
}
