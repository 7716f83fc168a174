//! Tests that loading random files ends without a panic, either with a configuration or with an
//! error.

use super::text;
use crate::family::registry;
use proptest::prelude::*;

const FILES: u32 = 300;
const LINES_MAX: usize = 20;

/// Words that have a meaning somewhere, and some that have none.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "4294967295",
    "99999999999999999999",
    "10k",
    "5s",
    "5x",
    "1-",
    "-",
    "%",
    "a",
    "no",
    "default",
    "if",
    "unless",
    "{",
    "}",
    "!",
    "||",
    "TRUE",
    "src",
    "127.0.0.1",
    ":80",
    ":80-90",
    "[::1]:80",
    "unix@/x",
    "abns@x",
    "fd@3",
    "fd@-1",
    "127.0.0.1/8",
    "/dev/null",
    "/nowhere",
    "http",
    "tcp",
    "on",
    "off",
    "all",
    "from",
    "level",
    "admin",
    "except",
    "header",
    "id",
    "mode",
    "660",
    "user",
    "root",
    "ssl",
    "crt",
    "check",
    "inter",
    "weight",
    "maxconn",
    "\"\"",
    "a\\ b",
    "\u{e9}",
    "auto:1/1-2",
    "prefix",
    "%[src]",
    "name:word",
    ",",
    "::",
];

fn keyword() -> impl Strategy<Value = String> {
    let mut names: Vec<String> = registry()
        .lines
        .documented()
        .iter()
        .map(|row| row.name.to_owned())
        .collect();
    let sections = [
        "global",
        "defaults",
        "frontend x",
        "backend x",
        "listen x",
        "peers x",
        "listen y :1",
    ];
    for section in sections {
        names.extend(std::iter::repeat_n(section.to_owned(), 20));
    }
    prop::sample::select(names)
}

fn line() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..6);
    let prefix = prop::sample::select(vec!["", "", "", "", "no ", "default "]);
    (prefix, keyword(), words).prop_map(|(p, k, words)| format!("{p}{k} {}\n", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(FILES))]

    #[test]
    fn no_file_of_known_words_stops_the_loader(lines in prop::collection::vec(line(), 0..LINES_MAX)) {
        let loaded = text(&lines.concat());
        prop_assert_eq!(loaded.config.is_some(), loaded.diagnostics.errors() == 0);
    }

    #[test]
    fn no_file_of_any_text_stops_the_loader(lines in "(\\PC{0,30}\n){0,10}") {
        let loaded = text(&lines);
        prop_assert_eq!(loaded.config.is_some(), loaded.diagnostics.errors() == 0);
    }
}
