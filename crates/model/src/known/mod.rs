//! Lists every keyword that HAProxy has or had (`known.txt`): the manual's of 2.6 to 3.4, and
//! those of 1.x and 2.x that were removed. By this list an unsupported keyword is recognized, so
//! that its use is a specific error, and it is neither ignored nor "unknown".
//!
//! A supported keyword has a row in a keyword table, which takes precedence over its entry here,
//! so entries need not be removed. This module contains no information about arguments.

mod instead;
mod sections;

use language::keyword::UnsupportedKeywords;
use std::sync::LazyLock;

pub use instead::instead;
pub use sections::SECTIONS;

/// Returns all listed keywords, in groups. The list is parsed at the first call, because a file
/// without an unsupported keyword does not need it.
pub fn all() -> &'static [UnsupportedKeywords] {
    &KNOWN
}

pub fn names(kind: &str) -> impl Iterator<Item = &'static str> {
    let groups = KNOWN.iter().filter(move |group| group.kind == kind);
    groups.flat_map(|group| group.names.iter().copied())
}

/// All groups of listed keywords. A name is in one group only, and that group lists all sections of
/// the name.
static KNOWN: LazyLock<Vec<UnsupportedKeywords>> =
    LazyLock::new(|| parse(include_str!("known.txt")));

/// Parses groups of keywords: a line with a kind, a colon and sections, then indented lines with
/// names.
fn parse(text: &'static str) -> Vec<UnsupportedKeywords> {
    let mut groups: Vec<UnsupportedKeywords> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((kind, places)) = line.split_once(": ") {
            groups.push(UnsupportedKeywords {
                kind,
                places: places.split(", ").collect(),
                names: Vec::new(),
            });
        } else if let (Some(names), Some(group)) = (line.strip_prefix("  "), groups.last_mut()) {
            group.names.extend(names.split(", "));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn by_name() -> HashMap<(&'static str, &'static str), &'static [&'static str]> {
        KNOWN
            .iter()
            .flat_map(|g| g.names.iter().map(|n| ((g.kind, *n), &*g.places)))
            .collect()
    }

    #[test]
    fn a_name_stands_once_in_its_kind() {
        let mut seen = HashMap::new();
        for group in &*KNOWN {
            for name in &group.names {
                let before = seen.insert((group.kind, *name), &group.places);
                assert!(
                    before.is_none(),
                    "{} {name}: in {before:?} and {:?}",
                    group.kind,
                    group.places
                );
            }
        }
    }

    #[test]
    fn names_and_places_are_sorted_and_made_of_words_with_one_space_between() {
        for group in &*KNOWN {
            let sorted = |list: &[&str]| list.windows(2).all(|w| w[0] < w[1]);
            assert!(!group.names.is_empty() && !group.places.is_empty());
            assert!(sorted(&group.names), "{}: {:?}", group.kind, group.names);
            assert!(sorted(&group.places), "{}: {:?}", group.kind, group.places);
            for name in &group.names {
                let words: Vec<&str> = name.split_ascii_whitespace().collect();
                assert_eq!(words.join(" "), **name);
                assert!(name.is_ascii() && !name.contains(['(', ',', '%']));
            }
        }
    }

    #[test]
    fn sections_are_sorted_documented_and_the_same_as_the_kind() {
        assert!(SECTIONS.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(SECTIONS.iter().all(|(_, doc)| doc.ends_with('.')));
        let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        let known = KNOWN.iter().find(|group| group.kind == "section");
        assert_eq!(known.map(|group| &group.names), Some(&names));
    }

    #[test]
    fn line_keywords_stand_in_sections_and_every_section_has_one() {
        let places: Vec<&str> = KNOWN
            .iter()
            .filter(|g| g.kind == "keyword")
            .flat_map(|g| g.places.iter().copied())
            .collect();
        for place in &places {
            assert!(SECTIONS.iter().any(|(name, _)| name == place), "{place}");
        }
        for (name, _) in SECTIONS {
            assert!(places.contains(name), "{name} has no keyword");
        }
    }

    #[test]
    fn rule_keywords_and_the_places_of_their_actions_agree() {
        let all = by_name();
        for group in KNOWN.iter().filter(|g| g.kind.ends_with(" action")) {
            let rule = group.places[0];
            assert_eq!(group.kind, format!("{rule} action"));
            assert!(all.contains_key(&("keyword", rule)), "{rule}");
        }
    }

    #[test]
    fn well_known_keywords_are_legal_where_the_manual_says() {
        let all = by_name();
        let cases: &[(&str, &str, &[&str])] = &[
            (
                "keyword",
                "acl",
                &["backend", "defaults", "fcgi-app", "frontend", "listen"],
            ),
            (
                "keyword",
                "bind",
                &["frontend", "listen", "log-forward", "peers"],
            ),
            ("keyword", "server", &["backend", "listen", "peers", "ring"]),
            ("keyword", "use_backend", &["frontend", "listen"]),
            ("keyword", "balance", &["backend", "defaults", "listen"]),
            (
                "keyword",
                "timeout client",
                &["defaults", "frontend", "listen", "log-forward"],
            ),
            ("keyword", "timeout resolve", &["resolvers"]),
            ("keyword", "stats socket", &["global"]),
            (
                "keyword",
                "stats uri",
                &["backend", "defaults", "frontend", "listen"],
            ),
            (
                "keyword",
                "option httpchk",
                &["backend", "defaults", "listen"],
            ),
            (
                "keyword",
                "tcp-request connection",
                &["defaults", "frontend", "listen"],
            ),
            ("keyword", "reqrep", &["backend", "frontend", "listen"]),
            ("keyword", "clitimeout", &["defaults", "frontend", "listen"]),
            ("keyword", "appsession", &["backend", "listen"]),
            ("bind option", "accept-proxy", &["bind"]),
            (
                "server option",
                "on-marked-down",
                &["default-server", "server", "server-template"],
            ),
            ("http-request action", "sc-inc-gpc0", &["http-request"]),
            (
                "tcp-request content action",
                "track-sc2",
                &["tcp-request content"],
            ),
            ("fetch", "hdr_beg", &["fetch"]),
            ("fetch", "req_ssl_sni", &["fetch"]),
            ("fetch", "sc0_http_req_rate", &["fetch"]),
            ("converter", "map_beg", &["converter"]),
            ("log alias", "HM", &["log-format"]),
            ("acl", "METH_GET", &["acl"]),
            ("balance algorithm", "leastconn", &["balance"]),
        ];
        for (kind, name, places) in cases {
            assert_eq!(all.get(&(*kind, *name)), Some(places), "{kind} {name}");
        }
    }

    #[test]
    fn a_keyword_of_several_words_is_found_as_not_built() {
        let table: language::keyword::Table<()> =
            language::keyword::Table::new("keyword", &[], all);
        let words = "capture request header Host len 64".split(' ');
        match table.find(words) {
            language::keyword::KeywordLookup::NotBuilt(name, group, count) => {
                assert_eq!((name, count), ("capture request header", 3));
                assert_eq!(group.places, ["frontend", "listen"]);
            }
            other => panic!("{other:?}"),
        }
    }
}
