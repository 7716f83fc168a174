//! Tests the memory of the request history, its filters, and the search for a request by a log
//! line. They use no thread that serves clients.

use super::*;
use crate::config::{Config, ServerIndex};
use crate::transaction::sample::request;
use crate::transaction::trace::Tie;
use crate::transaction::{Endpoint, PersistentServer, RuleMet, TryFailure};
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

const GET: &[u8] = b"GET /a?token=secret HTTP/1.1\r\nhost: Example.org:8080\r\n\r\n";

fn kept(ring: &mut Ring, stream: &ProxyStream, limit: usize) {
    ring.keep(stream, limit);
}

fn look(ring: &Ring, since: u64, before: Option<u64>, max: usize) -> HistoryPage {
    let look = HistoryRange { since, before, max };
    ring.find_entries(look, |_| Some(0))
}

fn numbers(part: &HistoryPage) -> Vec<u64> {
    part.entries
        .iter()
        .map(|(_, told)| told.entry.number)
        .collect()
}

fn entry(stream: ProxyStream) -> Entry {
    let mut ring = Ring::new();
    kept(&mut ring, &stream, 1);
    let mut part = look(&ring, 0, None, 1);
    part.entries.remove(0).1.entry
}

#[test]
fn the_newest_are_kept_and_told_first_part_by_part() {
    let (mut ring, stream) = (Ring::new(), request(GET));
    (0..10).for_each(|_| kept(&mut ring, &stream, 4));
    let all = look(&ring, 0, None, 100);
    assert_eq!(numbers(&all), [10, 9, 8, 7]);
    assert_eq!(
        (all.before, all.written, all.kept, all.missed),
        (None, 10, 4, 0)
    );
    let first = look(&ring, 0, None, 3);
    assert_eq!((numbers(&first), first.before), (vec![10, 9, 8], Some(8)));
    assert_eq!(numbers(&look(&ring, 0, first.before, 3)), [7]);
    // Entries that the caller has seen are not returned again; overwritten ones are counted.
    assert_eq!(numbers(&look(&ring, 8, None, 100)), [10, 9]);
    let late = look(&ring, 3, None, 100);
    assert_eq!((numbers(&late).len(), late.missed), (4, 3));
    // The caller's number is from an earlier process: all entries are new.
    assert_eq!(numbers(&look(&ring, 11, None, 100)).len(), 4);
}

#[test]
fn another_limit_keeps_the_newest_and_none_frees_all() {
    let (mut ring, stream) = (Ring::new(), request(GET));
    (0..6).for_each(|_| kept(&mut ring, &stream, 4));
    kept(&mut ring, &stream, 8);
    let all = numbers(&look(&ring, 0, None, 100));
    assert_eq!(all[..5], [7, 6, 5, 4, 3]);
    kept(&mut ring, &stream, 2);
    assert_eq!(numbers(&look(&ring, 0, None, 100)), [8, 7]);
    kept(&mut ring, &stream, 0);
    assert_eq!((ring.memory_bytes(), ring.written), (0, 8));
    assert!(look(&ring, 0, None, 100).entries.is_empty());
}

#[test]
fn memory_is_bounded_and_used_again() {
    let long = format!("GET /{0} HTTP/1.1\r\nhost: {0}\r\n\r\n", "x".repeat(4000));
    let (mut ring, short, long) = (Ring::new(), request(GET), request(long.as_bytes()));
    (0..3000).for_each(|_| kept(&mut ring, &short, 1000));
    let before = ring.memory_bytes();
    (0..10_000).for_each(|_| kept(&mut ring, &short, 1000));
    assert_eq!(ring.memory_bytes(), before);
    println!("an entry has {} bytes", before / 1000);
    assert!(before <= 500 * 1000, "{before}");
    (0..10_000).for_each(|_| kept(&mut ring, &long, 1000));
    assert!(
        ring.memory_bytes() <= 1000 * 1000,
        "{}",
        ring.memory_bytes()
    );
    // All entries are returned, from every group.
    let all = numbers(&look(&ring, 0, None, 2000));
    assert_eq!((all.len(), all[0], all[999]), (1000, 23_000, 22_001));
}

#[test]
fn queries_and_passwords_are_not_kept_and_texts_are_cut() {
    for (target, path) in [
        ("/a/b?token=secret", "/a/b"),
        ("/a#secret", "/a"),
        ("http://me:secret@site/p?q", "/p"),
        ("http://me:secret@site", "/"),
        ("http://me:secret@site?q", "/"),
        ("*", "*"),
        ("me:secret@site:443", "site:443"),
        ("", ""),
    ] {
        assert_eq!(entry::path(target.as_bytes()), path.as_bytes(), "{target}");
    }
    let long = format!("GET /{0} HTTP/1.1\r\nhost: {0}\r\n\r\n", "x".repeat(4000));
    let mut stream = request(long.as_bytes());
    stream.identity.unique_id = std::cell::OnceCell::from(Box::from([b'u'; 9000]));
    let entry = entry(stream);
    let lengths =
        [EntryText::Path, EntryText::Host, EntryText::UniqueId].map(|f| entry.text(f).len());
    assert_eq!(lengths, [128, 64, 96]);
    let is_marked = |field| entry.text(field).ends_with("x…".as_bytes());
    assert!(is_marked(EntryText::Path) && is_marked(EntryText::Host));
    assert_eq!(entry.text(EntryText::Frontend), b"web");
}

#[test]
fn an_entry_has_nothing_of_the_stream_before_it() {
    let mut ring = Ring::new();
    let mut first = request(GET);
    let config = Arc::get_mut(&mut first.config);
    assert!(config.is_none(), "the session has it, too");
    first.config = Arc::new(Config {
        files: vec!["a.cfg".into()],
        line_starts: Arc::new([[0, 10, 20].into()]),
        ..(*first.config).clone()
    });
    first.route.server = Some(ServerIndex(0));
    first.decide_by_rule(RuleMet {
        file: 0,
        line: 2,
        words: ["http-request", "deny"],
        ends: true,
    });
    first.try_failed(TryFailure::ConnectFailed);
    first.decide_owner(PersistentServer {
        server: ServerIndex(0),
        by: Tie::Cookie,
        rule: None,
    });
    kept(&mut ring, &first, 1);
    let part = look(&ring, 0, None, 1);
    let told = &part.entries[0].1;
    assert_eq!(told.place(told.entry.rule_place(0)), Some(("a.cfg", 2)));
    assert_eq!(
        told.entry.decided.as_deref().map(|one| one.tries().count()),
        Some(1)
    );
    let second = request(b"GET /b HTTP/1.1\r\n\r\n");
    kept(&mut ring, &second, 1);
    let part = look(&ring, 0, None, 1);
    let told = &part.entries[0].1;
    assert!(told.entry.decided.is_none());
    assert_eq!(told.place(told.entry.rule_place(0)), None);
    assert_eq!(told.entry.text(EntryText::Host), b"");
    assert_eq!(told.entry.text(EntryText::Path), b"/b");
}

#[test]
fn places_are_lines_of_files() {
    let config = Config {
        line_starts: Arc::new([[0, 10, 20].into()]),
        ..Config::default()
    };
    let at = |file, start| {
        config.line_of(language::Span {
            file: language::source::FileId(file),
            start,
            end: start,
        })
    };
    assert_eq!(
        [at(0, 0), at(0, 9), at(0, 10), at(0, 99)],
        [Some(1), Some(1), Some(2), Some(3)]
    );
    assert_eq!(at(1, 0), None);
    // The number of file names is bounded, too.
    let mut files = Ring::new().files;
    for version in 1..400 {
        let config = Config {
            files: vec![format!("{version}.cfg")],
            version,
            ..Config::default()
        };
        let place = files.place(&config, 0);
        assert_eq!(place == RuleLocation::NO_FILE, version > 255, "{version}");
        assert_eq!(files.place(&config, 1), RuleLocation::NO_FILE);
    }
}

/// Returns an entry of 198.51.100.7:40000 at a given second.
fn known(unique_id: &str) -> Entry {
    let mut stream = request(GET);
    stream.identity.id = 0x1f;
    stream.identity.unique_id = std::cell::OnceCell::from(Box::from(unique_id.as_bytes()));
    stream.times.began_at = UNIX_EPOCH + Duration::from_millis(1_000_000_000_123);
    entry(stream)
}

fn date(style: crate::log::DateStyle) -> String {
    let mut shown = Vec::new();
    let at = UNIX_EPOCH + Duration::from_millis(1_000_000_000_123);
    crate::log::append_date(&mut shown, at, style);
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_request_is_found_by_a_word_or_a_line_of_a_log() {
    use crate::log::DateStyle;
    let millis = date(DateStyle::Millis);
    let local = date(DateStyle::Local);
    let http = |client: &str, date: &str| {
        format!(
            "Nov 27 07:16:39 lb haproxy[12]: {client} [{date}] web app/one 0/0/0/1/1 200 5 - - ---- \
             1/1/0/0/0 0/0 \"GET /a HTTP/1.1\""
        )
    };
    let (client, other) = ("198.51.100.7:40000", "198.51.100.7:40001");
    for (text, is_found) in [
        ("0x1f".to_owned(), true),
        ("0x1e".to_owned(), false),
        ("AB12-0007".to_owned(), true),
        ("AB12".to_owned(), false),
        ("AB12-00071".to_owned(), false),
        (format!("  {}\n", http(client, &millis)), true),
        (http(&format!("::ffff:{client}"), &millis), true),
        (http(client, &local), true),
        (http(other, &millis), false),
        (http(client, "27/Nov/2026:07:16:39.124"), false),
        (format!("{} id=AB12-0007 x", http(other, "-")), true),
        (format!("{} id=xAB12-0007", http(other, "-")), false),
        ("{\"id\": \"AB12-0007\", \"status\": 200}".to_owned(), true),
        (String::new(), false),
        ("[".repeat(10_000), false),
        (format!("{}0x1f", "\u{e4}".repeat(9000)), false),
        (format!("{}:1 [", "9.9.9.9".repeat(2000)), false),
    ] {
        let fits = HistorySearch::read(&text).fits(&known("AB12-0007"));
        assert_eq!(fits.is_some(), is_found, "{text:.100}");
    }
    // A search text without an id does not match an entry whose id is empty.
    assert_eq!(HistorySearch::read("x").fits(&known("")), None);
    // Of two requests at the same time, the one that the log line describes gets the better
    // rating.
    let line = HistorySearch::read(&http(client, &millis));
    let another = entry({
        let mut stream = request(b"GET /other HTTP/1.1\r\n\r\n");
        stream.times.began_at = UNIX_EPOCH + Duration::from_millis(1_000_000_000_123);
        stream
    });
    assert!(line.fits(&known("")) > line.fits(&another));
    assert!(line.fits(&another).is_some());
}

#[test]
fn a_long_unique_id_is_found_by_what_is_kept_of_it() {
    let id = "x".repeat(200);
    let entry = known(&id);
    assert!(HistorySearch::read(&id).fits(&entry).is_some());
    assert!(
        HistorySearch::read(&format!("line {id} end"))
            .fits(&entry)
            .is_some()
    );
    assert!(HistorySearch::read(&"x".repeat(50)).fits(&entry).is_none());
}

#[test]
fn filters_choose_and_wrong_ones_are_refused() {
    let entry = known("");
    for (words, is_wanted) in [
        ("", true),
        ("host example.org", true),
        ("host example.org:8080", true),
        ("host example.com", false),
        ("path /a", true),
        ("path /b", false),
        ("status 0", true),
        ("status 4xx", false),
        ("outcome ok", true),
        ("outcome failed", false),
        ("client 198.51.100.7", true),
        ("client ::ffff:198.51.100.7", true),
        ("client 198.51.100.7:40000", true),
        ("client 198.51.100.7:40001", false),
        ("client 198.51.100.8", false),
        ("server web", true),
        ("server web/one", false),
        ("server app", false),
        ("frontend web", true),
        ("frontend we", false),
        ("frontend web path /a host example.org max 5 json", true),
        ("frontend web path /b", false),
    ] {
        let words: Vec<&str> = words.split_whitespace().collect();
        let filter =
            HistoryFilter::read(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert_eq!(filter.fits(&entry), is_wanted, "{words:?}");
    }
    let since = HistoryFilter::read(&["since", "4.0.7"]).unwrap();
    assert_eq!([0, 1, 2, 3].map(|thread| since.since(thread)), [4, 0, 7, 0]);
    let wrong: Vec<String> = [
        "hots a",
        "host",
        "status 6xx",
        "status x",
        "outcome x",
        "client a",
        "client 1.2.3.4:x",
        "max 0",
        "max 10001",
        "since",
        "since 1..2",
        "since -1",
        "\u{1b}[2J",
    ]
    .iter()
    .map(|words| {
        let words: Vec<&str> = words.split_whitespace().collect();
        HistoryFilter::read(&words).unwrap_err().to_string()
    })
    .collect();
    are_told(&wrong);
}

/// Checks the messages for invalid filters: one line each, without control characters.
fn are_told(wrong: &[String]) {
    assert!(
        wrong[0].starts_with("unknown filter 'hots', expected since, host,"),
        "{}",
        wrong[0]
    );
    assert_eq!(wrong[1], "'host' needs a value");
    assert_eq!(
        wrong[2],
        "'6xx' is not valid for 'status': expected a number or 1xx to 5xx"
    );
    assert!(wrong.iter().all(|one| !one.contains('\u{1b}')), "{wrong:?}");
}

#[test]
fn a_status_of_5xx_or_an_early_end_is_a_failure_and_a_decision_of_the_proxy_is_none() {
    let [failed, ok] =
        ["failed", "ok"].map(|word| HistoryFilter::read(&["outcome", word]).unwrap());
    let mut one = entry(request(GET));
    for (status, letters, has_failed) in [
        (200, b"----", false),
        (404, b"----", false),
        (503, b"----", true),
        (500, b"LR--", true),
        (302, b"LR--", false),
        (403, b"PR--", false),
        (200, b"CD--", true),
        (504, b"sH--", true),
        (0, b"SC--", true),
        (0, b"----", false),
    ] {
        (one.facts.ended.status, one.facts.ended.letters) = (status, *letters);
        assert_eq!(failed.fits(&one), has_failed, "{status} {letters:?}");
        assert_eq!(ok.fits(&one), !has_failed, "{status} {letters:?}");
    }
}

#[test]
fn unix_clients_match_no_address() {
    let mut stream = request(GET);
    stream.links.source = Some(Endpoint::Unix);
    let unix = entry(stream);
    let filter = HistoryFilter::read(&["client", "127.0.0.1"]).unwrap();
    assert!(!filter.fits(&unix));
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    assert!(
        HistorySearch::read(&format!("{at} [x]"))
            .fits(&unix)
            .is_none()
    );
}

#[test]
fn a_rule_has_the_text_of_its_own_version_until_that_is_forgotten() {
    let mut ring = Ring::new();
    let with = |version: u64| {
        let mut stream = request(GET);
        let mut sources = language::SourceMap::default();
        let text = format!("frontend web\n http-request deny if {{ path /{version} }}\n");
        sources.add("a.cfg", text.into_bytes());
        stream.config = Arc::new(Config {
            files: vec!["a.cfg".into()],
            rule_texts: Arc::new(RuleTexts::of(&sources)),
            version,
            ..(*stream.config).clone()
        });
        stream.decide_by_rule(RuleMet {
            file: 0,
            line: 2,
            words: ["http-request", "deny"],
            ends: true,
        });
        stream
    };
    // Streams under two configurations end in any order.
    for version in [1, 2, 1, 2] {
        kept(&mut ring, &with(version), 100);
    }
    let texts = |ring: &Ring| {
        let part = look(ring, 0, None, 100);
        let text = |told: &HistoryEntry| {
            let place = told.entry.rule_place(0);
            assert_eq!(told.place(place), Some(("a.cfg", 2)));
            told.line_text(place)
        };
        let all = part.entries.iter().map(|(_, told)| text(told));
        all.collect::<Vec<_>>()
    };
    let of = |version: u64| Some(format!("http-request deny if {{ path /{version} }}"));
    assert_eq!(texts(&ring), [of(2), of(1), of(2), of(1)]);
    (3..=10).for_each(|version| kept(&mut ring, &with(version), 100));
    let all = texts(&ring);
    assert_eq!((&all[0], &all[7]), (&of(10), &of(3)));
    assert_eq!(all[8..], [None, None, None, None]);
    // A late stream of a configuration whose texts were dropped adds them again, within the
    // maximum number.
    kept(&mut ring, &with(1), 100);
    assert_eq!(texts(&ring)[0], of(1));
}
