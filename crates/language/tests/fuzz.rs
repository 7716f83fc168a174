//! Tests the reader with bytes of every kind, from a fixed seed: nothing panics, every span is
//! within its file and covers its word exactly, and every diagnostic can be rendered.

use lab::Random;
use language::diagnostic::{Diagnostics, Severity};
use language::environment::Environment;
use language::reader::{Facts, Reader, evaluate_condition};
use language::render::{self, HaproxyForm, RenderOptions};
use language::source::{SourceMap, Span};
use language::value::{self, Accepts, TimeUnit};
use language::{format, suggest};
use std::time::Instant;

const PIECES: &[&str] = &[
    " ",
    " ",
    " ",
    "\t",
    "\"",
    "\"",
    "'",
    "\\",
    "\\x4",
    "\\x41",
    "\\x00",
    "\\n",
    "#",
    "$",
    "${",
    "}",
    "${A}",
    "\"${A[*]}\"",
    "\"${S[*]}x\"",
    "\"$E\"",
    "[*]",
    "[",
    "[a]",
    "]",
    "-",
    "${U-d}",
    "$.LINE",
    "${.SECTION}",
    "$.X",
    "\r",
    "\0",
    "\u{feff}",
    "é",
    "\u{1b}[2J",
    "a",
    "bind",
    ":80",
    "::1",
    "1.2.3.4",
    "/8",
    "*",
    "ipv4@",
    "quic6@",
    "fd@",
    "unix@/x",
    "+8000",
    "10s",
    "5us",
    "99999999999999999999",
    "k",
    "%",
    ".if ",
    ".if 1",
    ".if 0",
    ".elif ",
    ".else",
    ".endif",
    ".notice x",
    ".alert",
    "defined(A)",
    "streq(",
    ",",
    ")",
    "(",
    "!",
    "&&",
    "||",
    "version_atleast(2.6)",
    "strstr('a',b)",
    "0",
    "1",
];

fn line(random: &mut Random, text: &mut Vec<u8>) {
    for _ in 0..random.index(9) {
        if random.index(12) == 0 {
            text.extend_from_slice(&random.next().to_le_bytes()[..1 + random.index(7)]);
        } else {
            text.extend_from_slice(PIECES[random.index(PIECES.len())].as_bytes());
        }
    }
}

fn environment() -> Environment {
    let mut env = Environment::empty();
    env.set("A", "one two  three");
    env.set("E", "");
    env.set("S", " x \t y ");
    env.set("N", b"a\0b".to_vec());
    env
}

#[test]
fn no_line_panics_and_every_span_is_exact() {
    const FILES: usize = 10_000;
    const LINES: usize = 100;
    let mut random = Random::new(0x5EED_0001);
    let env = environment();
    let (mut lines, mut words) = (0, 0);
    for _ in 0..FILES {
        let mut text = Vec::new();
        for _ in 0..LINES {
            line(&mut random, &mut text);
            text.push(b'\n');
        }
        let length = text.len() as u32;
        let mut sources = SourceMap::default();
        let file = sources.add("fuzz", text);
        let mut reader = Reader::new(vec![file], Facts::new("2.6.12"));
        let mut diagnostics = Diagnostics::default();
        while let Some(line) = reader.next(&sources, &env, &mut diagnostics) {
            lines += 1;
            let mut before = line.span.start;
            for word in &line.words {
                words += 1;
                assert!(word.span.start <= word.span.end && word.span.end <= length);
                assert!(before <= word.span.start, "words are in order");
                assert!(!word.bytes.contains(&0));
                before = word.span.start;
            }
            assert_eq!(line.span.end, line.words.last().unwrap().span.end);
            if !reader.recovered() && random.index(16) == 0 {
                assert_words_are_exact(&sources, &line, &env);
            }
        }
        for d in diagnostics.iter() {
            for span in d.primary.iter().chain(d.fix.iter().map(|f| &f.span)) {
                assert!(span.start <= span.end && span.end <= length, "{d:?}");
            }
        }
    }
    assert!(lines > FILES * LINES / 20, "{lines} lines, {words} words");
}

/// Checks that the text of a word's span parses to that word.
fn assert_words_are_exact(sources: &SourceMap, line: &language::ConfigLine, env: &Environment) {
    for word in &line.words {
        let alone = line.words.iter().filter(|w| w.span == word.span).count() == 1;
        let (start, end) = (word.span.start as usize, word.span.end as usize);
        let written = &sources.file(word.span.file).text[start..end];
        let moves = written.windows(2).any(|w| w == b"$." || w == b"{.");
        if !alone || moves || written.starts_with(b".") || written.contains(&b'[') {
            continue;
        }
        let mut again = SourceMap::default();
        let file = again.add("word", [b"x ", written, b"\n"].concat());
        let mut reader = Reader::new(vec![file], Facts::new("2.6.12"));
        let read = reader
            .next(&again, env, &mut Diagnostics::default())
            .unwrap();
        let bytes: Vec<_> = read.words.iter().skip(1).map(|w| &w.bytes).collect();
        assert_eq!(bytes, [&word.bytes], "{}", written.escape_ascii());
        let span = read.words[1].span;
        assert_eq!((span.end - span.start) as usize, written.len());
    }
}

#[test]
fn no_value_condition_or_name_panics() {
    let mut random = Random::new(0x5EED_0002);
    let env = environment();
    let facts = Facts::new("3.1-dev2");
    let places = [
        Accepts::BIND,
        Accepts::DATAGRAM_BIND,
        Accepts::SERVER,
        Accepts::LOG,
        Accepts::SOURCE,
        Accepts::SERVER_SOURCE,
    ];
    let mut text = Vec::new();
    for n in 0..60_000 {
        text.clear();
        line(&mut random, &mut text);
        let text = String::from_utf8_lossy(&text);
        use value::ValueError as _;
        let place = &places[n % places.len()];
        if let Err(error) = value::address(&text, place) {
            let told = error.diagnostic(Span::default(), "'bind'");
            assert_eq!(
                told.severity == Severity::Warning,
                error.accepted().is_some()
            );
        }
        if let Err(error) = value::network(&text) {
            let _ = error.diagnostic(Span::default(), "acl");
        }
        if let Err(error) = value::time(&text, TimeUnit::Milliseconds) {
            let _ = error.diagnostic(Span::default(), "timeout");
        }
        let _ = value::milliseconds(&text, TimeUnit::Days);
        let _ = value::integer(&text, -5..=5);
        let _ = value::size(&text, 1 << 20);
        let _ = value::percentage(&text, 100);
        if let Err(error) = evaluate_condition(&text, &facts, &env) {
            let _ = (error.to_string(), error.help());
        }
        if n % 8 == 0 {
            let _ = suggest::nearest(&text, PIECES.iter().copied());
        }
    }
}

#[test]
fn whatever_is_told_can_be_rendered() {
    let mut random = Random::new(0x5EED_0003);
    let form = HaproxyForm {
        pid: 1,
        version: "x",
        executable: "y",
        diag: true,
        zero_warning: true,
    };
    for n in 0..300 {
        let mut text = Vec::new();
        for _ in 0..12 {
            line(&mut random, &mut text);
            text.extend_from_slice(if n % 3 == 0 { b"\r\n" } else { b"\n" });
        }
        if n % 2 == 0 {
            text.pop();
        }
        let formatted = format::format(&text, |word, _| word == "a");
        assert!(formatted.is_empty() || formatted.ends_with(b"\n"));
        let mut sources = SourceMap::default();
        let file = sources.add("fuzz", text);
        let mut reader = Reader::new(vec![file], Facts::new("2.6.12"));
        let mut diagnostics = Diagnostics::default();
        while reader
            .next(&sources, &environment(), &mut diagnostics)
            .is_some()
        {}
        let look = RenderOptions {
            diag: true,
            unicode: n % 5 == 0,
            width: random.index(200),
            ..RenderOptions::default()
        };
        for shown in [
            render::full(&sources, &diagnostics, &look),
            render::concise(&sources, &diagnostics, true),
            render::json(&sources, &diagnostics, true),
            render::haproxy(&sources, &diagnostics, &form),
        ] {
            assert!(
                !shown.chars().any(|c| c.is_control() && c != '\n'),
                "{shown:?}"
            );
        }
    }
}

#[test]
fn ten_thousand_servers_are_read_in_no_time() {
    let mut text = String::from("backend b\n");
    for n in 0..10_000 {
        text += &format!(
            "    server web{n} 10.{}.{}.1:8080 check inter 2s weight 100 maxconn 500\n",
            n / 256,
            n % 256
        );
    }
    let mut sources = SourceMap::default();
    let file = sources.add("big", text.into_bytes());
    let env = Environment::empty();
    let began = Instant::now();
    let mut reader = Reader::new(vec![file], Facts::new("2.6.12"));
    let mut diagnostics = Diagnostics::default();
    let mut words = 0;
    while let Some(line) = reader.next(&sources, &env, &mut diagnostics) {
        words += line.words.len();
    }
    let took = began.elapsed();
    println!("{words} words in {took:?}");
    assert_eq!(words, 2 + 10_000 * 10);
    // A few milliseconds with optimisation; this bound only detects quadratic time, on a slow
    // machine without optimisation.
    assert!(took.as_secs() < 5, "{took:?}");
}
