//! Finds the supported actions, converters and fetches that no case of any family covers.

use super::FAMILIES;
use crate::program::binary;
use std::collections::BTreeSet;
use std::process::Command;

/// Keywords that have no case yet, by the beginnings of `kind name`. A commit that adds a family
/// removes its beginning here.
static WITHOUT_CASES: &[&str] = &[
    // The client would wait forever; tests of the driver cover this action.
    "http-request action silent-drop",
    "http-response action silent-drop",
    "tcp-request connection action silent-drop",
    "tcp-request session action silent-drop",
    "tcp-request content action silent-drop",
    "tcp-response content action silent-drop",
    // haproxy before 2.8 has three of these counters.
    "http-request action track-sc",
    "http-response action track-sc",
    "tcp-request connection action track-sc",
    "tcp-request session action track-sc",
    "tcp-request content action track-sc",
    // The action needs a nameserver; `names.rs` has one.
    "http-request action do-resolve",
    "tcp-request content action do-resolve",
    // The output consists of counters and times; `statistics.rs` compares them.
    "http-request action use-service",
    // The installed haproxy knows none of these (`cur_*_timeout` came after 2.9, `prio_*` after
    // 3.0). Similar fetches that it knows have cases.
    "fetch cur_",
    "fetch prio_",
    // No case has a peer that resets its HTTP/2 stream.
    "fetch fs.rst_code",
    "fetch bs.rst_code",
    // The same as `sc0_key`, which the installed haproxy does not know either.
    "fetch sc1_key",
    "fetch sc2_key",
    // The installed haproxy has no log profiles, and its is_htx shows its own internals.
    "http-after-response action do-log",
    "http-request action do-log",
    "http-response action do-log",
    "tcp-request connection action do-log",
    "tcp-request content action do-log",
    "tcp-request session action do-log",
    "tcp-response content action do-log",
    "fetch internal.strm.is_htx",
    // Cases will be part of the families for compression and caches.
    "fetch res.comp",
    "fetch res.cache",
];

/// Returns the names in an expression: its fetch, and its converters.
fn names(expression: &str) -> BTreeSet<String> {
    let (mut depth, mut quote, mut escaped) = (0, None, false);
    let mut parts = vec![String::new()];
    for c in expression.trim_matches('\'').chars() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            (',', None) if depth == 0 => parts.push(String::new()),
            (c, None) if depth == 0 => parts.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    let kinds = std::iter::once("fetch").chain(std::iter::repeat("converter"));
    kinds
        .zip(parts)
        .map(|(kind, part)| format!("{kind} {part}"))
        .collect()
}

/// Returns whether cases have to cover keywords of this kind.
fn is_counted(kind: &str) -> bool {
    matches!(kind, "fetch" | "converter") || kind.ends_with(" action")
}

fn built() -> BTreeSet<String> {
    let output = Command::new(binary()).args(["keyword", "--list"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines()
        .filter_map(|line| line.strip_suffix(')')?.split_once(" ("))
        .filter(|(_, kind)| is_counted(kind))
        .map(|(name, kind)| format!("{kind} {name}"))
        .collect()
}

/// Returns whether a fetch is a variant of another one by its matching method: `path_beg` is
/// covered by `path`, and `-m beg` has cases of its own.
fn is_variant(all: &BTreeSet<String>, name: &str) -> bool {
    let methods = ["_beg", "_dir", "_dom", "_end", "_len", "_reg", "_sub"];
    name.starts_with("fetch ")
        && methods
            .iter()
            .filter_map(|method| name.strip_suffix(method))
            .any(|fetch| all.contains(fetch))
}

#[test]
fn everything_built_is_compared_with_haproxy() {
    let mut covered: BTreeSet<String> = BTreeSet::new();
    for family in FAMILIES {
        for sample in family.samples {
            covered.extend(names(sample.expression));
        }
        for case in family.cases {
            covered.extend(case.covers.iter().map(|name| (*name).to_owned()));
        }
    }
    let built = built();
    let missing: Vec<_> = built
        .iter()
        .filter(|name| !covered.contains(*name) && !is_variant(&built, name))
        .collect();
    let (later, missing): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|name| WITHOUT_CASES.iter().any(|begin| name.starts_with(begin)));
    let unknown: Vec<_> = covered
        .iter()
        .filter(|name| !built.contains(*name))
        .collect();
    assert!(
        unknown.is_empty(),
        "cases cover what is not built: {unknown:?}"
    );
    eprintln!("{} without a case: {later:?}", later.len());
    assert!(missing.is_empty(), "no case covers {missing:#?}");
}

#[test]
fn names_of_an_expression_are_found() {
    let wanted = ["converter field", "converter lower", "fetch str"].map(str::to_owned);
    let found = names("str('a,(b'),field(1,\\,),lower");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
}
