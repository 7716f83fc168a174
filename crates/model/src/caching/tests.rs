//! Tests which responses the HTTP cache stores, for how long, and what it delivers.

use super::*;
use crate::cache::Cache;

fn settings() -> Settings {
    Settings {
        name: "c".into(),
        total_max: 6000,
        object_max: 1000,
        age_max_s: 60,
        vary: false,
        secondary_max: 2,
    }
}

fn answer(lines: &[(&str, &str)]) -> HttpMessage {
    let mut head = HttpMessage::new();
    head.begin_response(HttpVersion::Http11, 200, b"OK")
        .unwrap();
    for (name, value) in lines {
        head.add(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

fn request(lines: &[(&str, &str)]) -> HttpMessage {
    let mut head = HttpMessage::new();
    head.begin_request(b"GET", b"/", HttpVersion::Http11)
        .unwrap();
    for (name, value) in lines {
        head.add(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

/// 2026-01-01, in seconds since 1970.
const NOW_S: i64 = 1_767_225_600;

#[test]
fn an_answer_is_stored_for_as_long_as_it_says_and_the_cache_allows() {
    for (lines, lifetime) in [
        (&[("cache-control", "max-age=10")][..], Some(10)),
        (&[("cache-control", "max-age=100")], Some(60)),
        (&[("cache-control", "max-age=\"10\"")], Some(10)),
        (&[("cache-control", "max-age=99999999999999")], Some(60)),
        (&[("cache-control", "s-maxage=5, max-age=10")], Some(5)),
        (&[("cache-control", "s-maxage=5, max-age=0")], Some(5)),
        (&[("cache-control", "s-maxage=0, max-age=5")], None),
        (&[("cache-control", "max-age=0")], None),
        (&[("cache-control", "max-age=x")], None),
        (&[("cache-control", "public")], None),
        (&[("cache-control", "private, max-age=9")], None),
        (&[("cache-control", "no-store, max-age=9")], None),
        (&[("cache-control", "no-cache, max-age=9")], None),
        (&[("cache-control", "no-cache=\"x\", max-age=9")], Some(9)),
        (
            &[("cache-control", "max-age=9"), ("pragma", "no-cache")],
            None,
        ),
        (&[("etag", "\"a\"")], Some(60)),
        (
            &[("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")],
            Some(60),
        ),
        (&[], None),
        (&[("expires", "Thu, 01 Jan 2026 00:00:20 GMT")], Some(20)),
        (&[("expires", "Wed, 01 Jan 2025 00:00:00 GMT")], None),
        (&[("expires", "0"), ("etag", "\"a\"")], None),
        (&[("cache-control", "max-age=10"), ("age", "3")], Some(10)),
        (&[("cache-control", "max-age=10"), ("age", "10")], None),
        (
            &[("cache-control", "max-age=500"), ("age", "100")],
            Some(160),
        ),
        (&[("cache-control", "max-age=10"), ("age", "abc")], None),
        (&[("cache-control", "max-age=10"), ("age", "-1")], None),
        (&[("cache-control", "max-age=10"), ("vary", "cookie")], None),
        (
            &[("cache-control", "max-age=10"), ("set-cookie", "a=b")],
            None,
        ),
        (
            &[
                ("cache-control", "max-age=10, private=\"X-A, Set-Cookie\""),
                ("set-cookie", "a=b"),
            ],
            Some(10),
        ),
        (
            &[("cache-control", "max-age=10"), ("content-length", "990")],
            None,
        ),
        (
            &[("cache-control", "max-age=10"), ("content-length", "800")],
            Some(10),
        ),
    ] {
        let stored = storing(&settings(), &answer(lines), NOW_S);
        assert_eq!(stored.map(|s| s.lifetime_s), lifetime, "{lines:?}");
    }
    let mut other = answer(&[("cache-control", "max-age=10")]);
    other.set_status(404, None).unwrap();
    assert!(storing(&settings(), &other, NOW_S).is_none());
}

#[test]
fn what_concerns_one_hop_is_not_stored() {
    let head = answer(&[
        (
            "cache-control",
            "max-age=10, no-cache=\"set-cookie, X-Own\"",
        ),
        ("set-cookie", "a=b"),
        ("x-own", "1"),
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "3"),
        ("age", "1"),
        ("x-kept", "1"),
    ]);
    let stored = storing(&settings(), &head, NOW_S).unwrap();
    let names: Vec<&[u8]> = stored.head.fields().iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"cache-control"[..], b"x-kept"]);
    assert_eq!(stored.age_s, 1);
}

fn entry(lines: &[(&str, &str)], body: usize) -> Entry {
    Entry {
        head: answer(lines),
        body: vec![b'x'; body].into(),
        came_ms: 1000,
        came_at: NOW_S,
        age_s: 2,
        lifetime_s: 10,
        varies: vary::Varies::default(),
        secondary: Secondary::default(),
    }
}

#[test]
fn a_client_that_has_the_answer_is_told_so() {
    let tagged = entry(
        &[
            ("etag", "W/\"a\""),
            ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ],
        5,
    );
    let plain = entry(&[], 5);
    for (lines, of_tagged, of_plain) in [
        (&[][..], 200, 200),
        (&[("if-none-match", "\"a\"")], 304, 200),
        (&[("if-none-match", "\"b\", W/\"a\"")], 304, 200),
        (&[("if-none-match", "\"b\"")], 200, 200),
        (&[("if-none-match", "*")], 304, 304),
        (
            &[("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")],
            304,
            304,
        ),
        (
            &[("if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT")],
            200,
            200,
        ),
        (
            &[("if-modified-since", "Mon, 01 Jan 2026 00:00:00 GMT")],
            304,
            304,
        ),
        (&[("if-modified-since", "yesterday")], 200, 200),
        // The entity tag takes precedence.
        (
            &[
                ("if-none-match", "\"b\""),
                ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ],
            200,
            200,
        ),
    ] {
        for (entry, want) in [(&tagged, of_tagged), (&plain, of_plain)] {
            let reply = deliver(&request(lines), entry, 4999);
            assert_eq!(reply.head.status(), want, "{lines:?}");
            assert_eq!(reply.body.len(), if want == 304 { 0 } else { 5 });
            assert_eq!(reply.head.get(b"age"), Some(&b"5"[..]));
        }
    }
}

#[test]
fn the_oldest_make_room_and_nothing_is_delivered_past_its_time() {
    let cache = Cache::new(settings());
    let find = |key: &[u8], now| cache.find(key, &Secondary::default(), now).is_some();
    for n in 0..20u8 {
        cache.insert([n][..].into(), entry(&[], 500));
        let (bytes, entries) = cache.report(100);
        assert!(bytes <= 6000, "{bytes}");
        let sum: usize = entries
            .iter()
            .map(|(key, e)| e.bytes() + store::key_bytes(key))
            .sum();
        assert_eq!(bytes, sum);
    }
    assert!(!find(&[0], 1000) && find(&[19], 1000));
    assert!(find(&[19], 8999));
    assert!(!find(&[19], 9000), "10 seconds, of which 2 had passed");
    assert!(!find(&[19], 1000), "it was removed");
    cache.insert(b"large"[..].into(), entry(&[], 6000));
    assert!(!find(b"large", 1000));
    cache.insert([18][..].into(), entry(&[], 1));
    let (_, entries) = cache.report(100);
    assert_eq!(
        entries.iter().filter(|(key, _)| **key == [18]).count(),
        1,
        "replaced"
    );
}

#[test]
fn entries_that_differ_are_bounded() {
    let cache = Cache::new(Settings {
        vary: true,
        ..settings()
    });
    let of = |referer: &str| Secondary::of(&request(&[("referer", referer)]));
    let varies = vary::Varies::of(&answer(&[("vary", "referer")]), true).unwrap();
    for referer in ["a", "b", "c", "a"] {
        cache.insert(
            b"k"[..].into(),
            Entry {
                varies,
                secondary: of(referer),
                ..entry(&[], 1)
            },
        );
    }
    let has = |referer| cache.find(b"k", &of(referer), 1000).is_some();
    assert_eq!([has("a"), has("b"), has("c")], [true, true, false]);
}

#[test]
fn what_entries_differ_by_counts_and_only_what_matters_is_kept() {
    let long = "r".repeat(2000);
    let asked = Secondary::of(&request(&[("referer", &long), ("origin", &long)]));
    let varies = vary::Varies::of(&answer(&[("vary", "referer")]), true).unwrap();
    let kept = asked.needed(&varies);
    assert_eq!(kept.bytes(), 2000);
    assert!(varies.fits(&kept, &asked));
    let cache = Cache::new(settings());
    for n in 0..100u8 {
        let entry = Entry {
            varies,
            secondary: kept.clone(),
            ..entry(&[], 1)
        };
        cache.insert([n][..].into(), entry);
        let (_, entries) = cache.report(100);
        let held: usize = entries.iter().map(|(_, e)| e.secondary.bytes()).sum();
        assert!(held <= cache.settings.total_max, "{held}");
    }
}

#[test]
fn answers_on_their_way_take_no_more_than_the_cache_may() {
    let cache = Arc::new(Cache::new(settings()));
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut filling = store::Filling::of(&cache);
        if filling.take(500) && filling.take(500) {
            held.push(filling);
        }
    }
    assert_eq!(held.len(), 6);
    held.clear();
    assert!(store::Filling::of(&cache).take(6000));
    assert!(!store::Filling::of(&cache).take(6001));
}

#[test]
fn a_request_with_a_body_is_none_for_a_cache() {
    assert!(!has_body(&request(&[])));
    assert!(!has_body(&request(&[("content-length", "0")])));
    assert!(has_body(&request(&[("content-length", "5")])));
    assert!(has_body(&request(&[("transfer-encoding", "chunked")])));
}
