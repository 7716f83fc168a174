//! Compares a value with compiled patterns: few patterns form a list, many form a hash table or a
//! trie. This module reads no files and knows no keywords.

use super::network::Networks;
use super::regular::Regular;
use super::tables::{PartTable, RangeTable, trimmed};
use super::value::{SampleValue, Type};
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Matching method of an ACL (`-m`) or map.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    Found,
    /// The value is true, or a number other than 0.
    Bool,
    Int,
    Ip,
    /// The value equals the pattern, which is written in hexadecimal digits.
    Bin,
    Len,
    Str,
    Beg,
    Sub,
    /// The text contains the pattern between slashes.
    Dir,
    /// The text contains the pattern between dots, slashes or colons.
    Dom,
    End,
    Reg,
}

impl Method {
    pub const ALL: [(&'static str, Method); 13] = [
        ("found", Method::Found),
        ("bool", Method::Bool),
        ("int", Method::Int),
        ("ip", Method::Ip),
        ("bin", Method::Bin),
        ("len", Method::Len),
        ("str", Method::Str),
        ("beg", Method::Beg),
        ("sub", Method::Sub),
        ("dir", Method::Dir),
        ("dom", Method::Dom),
        ("end", Method::End),
        ("reg", Method::Reg),
    ];

    pub fn named(name: &str) -> Option<Method> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, method)| *method)
    }

    pub fn wants(self) -> Type {
        match self {
            Method::Found => Type::Any,
            Method::Bool => Type::Bool,
            Method::Int => Type::Int,
            Method::Ip => Type::Address,
            Method::Bin => Type::Bin,
            _ => Type::Str,
        }
    }

    /// Returns the default method for values of a type.
    pub fn usual(of: Type) -> Option<Method> {
        match of {
            Type::Bool => Some(Method::Bool),
            Type::Int => Some(Method::Int),
            Type::Address | Type::Ipv4 | Type::Ipv6 => Some(Method::Ip),
            Type::Str | Type::Method => Some(Method::Str),
            Type::Bin | Type::Any => None,
        }
    }
}

/// Maximum number of patterns in a list; more patterns form a table.
const FEW: usize = 8;
/// Maximum length of a value that is converted to lower case on the stack, in bytes.
const LOWERED_ON_STACK: usize = 256;

/// Compiled patterns. The result of a match is the number of the pattern.
#[derive(Clone, Debug)]
pub struct Patterns {
    ignore_case: bool,
    set: Set,
}

#[derive(Clone, Debug)]
enum Set {
    Found,
    Bool,
    Int(Vec<RangeInclusive<i64>>),
    IntMany(RangeTable),
    Len(Vec<RangeInclusive<i64>>),
    Ip(Networks),
    Exact(Vec<Box<[u8]>>),
    ExactMany(HashMap<Box<[u8]>, usize>),
    Edge(Edge, Vec<Box<[u8]>>),
    EdgeMany(Edge, EdgeTable),
    Sub(Vec<memchr::memmem::Finder<'static>>),
    Part(&'static [u8], Vec<Box<[u8]>>),
    PartMany(PartTable),
    Reg(Vec<Regular>),
    Bin(Vec<Box<[u8]>>),
    BinMany(HashMap<Box<[u8]>, usize>),
}

/// Side of a value that is compared with the patterns: its beginning or its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Edge {
    Beginning,
    End,
}

impl Edge {
    fn of(self, value: &[u8], length: usize) -> Option<&[u8]> {
        match self {
            Edge::Beginning => value.get(..length),
            Edge::End => value.get(value.len().checked_sub(length)?..),
        }
    }

    /// Returns whether a new match takes precedence over the previous one, which decides the value
    /// of a map. Among beginnings, the longest pattern wins; among ends, the first one in the
    /// list.
    fn wins(self, new: (usize, usize), old: Option<(usize, usize)>) -> bool {
        old.is_none_or(|old| match self {
            Edge::Beginning => new.0 > old.0 || (new.0 == old.0 && new.1 < old.1),
            Edge::End => new.1 < old.1,
        })
    }
}

/// Table of patterns that are beginnings or ends, with the distinct lengths to look up.
#[derive(Clone, Debug)]
struct EdgeTable {
    places: HashMap<Box<[u8]>, usize>,
    lengths: Vec<usize>,
}

impl Patterns {
    /// Creates a pattern that matches any existing value.
    pub fn found() -> Self {
        Patterns {
            ignore_case: false,
            set: Set::Found,
        }
    }

    pub fn truth() -> Self {
        Patterns {
            ignore_case: false,
            set: Set::Bool,
        }
    }

    pub fn numbers(ranges: Vec<RangeInclusive<i64>>) -> Self {
        Patterns {
            ignore_case: false,
            set: match ranges.len() {
                0..=FEW => Set::Int(ranges),
                _ => Set::IntMany(RangeTable::new(&ranges)),
            },
        }
    }

    pub fn lengths(ranges: Vec<RangeInclusive<i64>>) -> Self {
        Patterns {
            ignore_case: false,
            set: Set::Len(ranges),
        }
    }

    pub fn networks(networks: Networks) -> Self {
        Patterns {
            ignore_case: false,
            set: Set::Ip(networks),
        }
    }

    pub fn regulars(list: Vec<Regular>) -> Self {
        Patterns {
            ignore_case: false,
            set: Set::Reg(list),
        }
    }

    /// Creates patterns that match when the value equals one of these byte strings.
    pub fn binaries(list: Vec<Box<[u8]>>) -> Self {
        Patterns {
            ignore_case: false,
            set: match list.len() {
                0..=FEW => Set::Bin(list),
                _ => Set::BinMany(places(list)),
            },
        }
    }

    /// Creates patterns for the methods `str`, `beg`, `end`, `sub`, `dir` or `dom`. With any other
    /// method, whole texts are compared.
    pub fn texts(method: Method, mut list: Vec<Box<[u8]>>, ignore_case: bool) -> Self {
        if ignore_case {
            list.iter_mut().for_each(|text| text.make_ascii_lowercase());
        }
        let few = list.len() <= FEW;
        let set = match method {
            Method::Beg | Method::End => {
                let edge = if method == Method::Beg {
                    Edge::Beginning
                } else {
                    Edge::End
                };
                if few {
                    Set::Edge(edge, list)
                } else {
                    Set::EdgeMany(edge, EdgeTable::new(list))
                }
            }
            Method::Sub => {
                let finders = list
                    .iter()
                    .map(|text| memchr::memmem::Finder::new(text).into_owned());
                Set::Sub(finders.collect())
            }
            Method::Dir | Method::Dom => {
                let delimiters: &'static [u8] = match method {
                    Method::Dir => b"/?",
                    _ => b"/?.:",
                };
                if few {
                    Set::Part(delimiters, list)
                } else {
                    Set::PartMany(PartTable::new(delimiters, list))
                }
            }
            _ if few => Set::Exact(list),
            _ => Set::ExactMany(places(list)),
        };
        Patterns { ignore_case, set }
    }

    /// Returns the number of the pattern that matches a value.
    pub fn find(&self, value: &SampleValue<'_>) -> Option<usize> {
        match &self.set {
            Set::Found => Some(0),
            Set::Bool => value.truth()?.then_some(0),
            Set::Int(ranges) => in_range(ranges, value.integer()?),
            Set::IntMany(table) => table.find(value.integer()?),
            Set::Len(ranges) => value.with_text(|text| in_range(ranges, text.len() as i64)),
            Set::Ip(networks) => networks.find(value.address()?),
            Set::Bin(list) => match value {
                SampleValue::Bin(bytes) => list.iter().position(|p| **p == **bytes),
                other => other.with_text(|bytes| list.iter().position(|p| **p == *bytes)),
            },
            Set::BinMany(places) => match value {
                SampleValue::Bin(bytes) => places.get(&**bytes).copied(),
                other => other.with_text(|bytes| places.get(bytes).copied()),
            },
            Set::Reg(list) => value.with_text(|text| list.iter().position(|r| r.is_match(text))),
            _ => value.with_text(|text| self.find_text(text)),
        }
    }

    /// If the patterns are regular expressions, returns the one with this number.
    pub fn regular(&self, at: usize) -> Option<&Regular> {
        match &self.set {
            Set::Reg(list) => list.get(at),
            _ => None,
        }
    }

    fn find_text(&self, text: &[u8]) -> Option<usize> {
        // Compares with a few texts directly, which needs no copy in lower case.
        match &self.set {
            Set::Exact(list) if self.ignore_case => {
                return list.iter().position(|p| p.eq_ignore_ascii_case(text));
            }
            Set::Edge(edge, list) => return edge_of_few(*edge, list, text, self.ignore_case),
            _ => {}
        }
        if !self.ignore_case {
            return self.find_as_is(text);
        }
        if text.len() <= LOWERED_ON_STACK {
            let mut lowered = [0; LOWERED_ON_STACK];
            let lowered = &mut lowered[..text.len()];
            lowered.copy_from_slice(text);
            lowered.make_ascii_lowercase();
            self.find_as_is(lowered)
        } else {
            self.find_as_is(&text.to_ascii_lowercase())
        }
    }

    fn find_as_is(&self, text: &[u8]) -> Option<usize> {
        match &self.set {
            Set::Exact(list) => list.iter().position(|p| **p == *text),
            Set::ExactMany(places) => places.get(text).copied(),
            Set::EdgeMany(edge, table) => table.find(*edge, text),
            Set::Sub(list) => list.iter().position(|finder| finder.find(text).is_some()),
            Set::PartMany(table) => table.find(text),
            Set::Part(delimiters, list) => list
                .iter()
                .position(|part| holds_part(text, part, delimiters)),
            _ => None,
        }
    }
}

fn in_range(ranges: &[RangeInclusive<i64>], n: i64) -> Option<usize> {
    ranges.iter().position(|range| range.contains(&n))
}

fn places(list: Vec<Box<[u8]>>) -> HashMap<Box<[u8]>, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (n, text) in list.into_iter().enumerate() {
        // Keeps the number of the first of two equal patterns.
        places.entry(text).or_insert(n);
    }
    places
}

impl EdgeTable {
    fn new(list: Vec<Box<[u8]>>) -> Self {
        let mut lengths: Vec<usize> = list.iter().map(|text| text.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        EdgeTable {
            places: places(list),
            lengths,
        }
    }

    fn find(&self, edge: Edge, text: &[u8]) -> Option<usize> {
        let mut best = None;
        for length in &self.lengths {
            let Some(part) = edge.of(text, *length) else {
                break;
            };
            if let Some(place) = self.places.get(part)
                && edge.wins((*length, *place), best)
            {
                best = Some((*length, *place));
            }
        }
        best.map(|(_, place)| place)
    }
}

fn edge_of_few(edge: Edge, list: &[Box<[u8]>], text: &[u8], ignore_case: bool) -> Option<usize> {
    let mut best = None;
    for (n, pattern) in list.iter().enumerate() {
        let Some(part) = edge.of(text, pattern.len()) else {
            continue;
        };
        let same = if ignore_case {
            pattern.eq_ignore_ascii_case(part)
        } else {
            **pattern == *part
        };
        if same && edge.wins((pattern.len(), n), best) {
            best = Some((pattern.len(), n));
        }
    }
    best.map(|(_, n)| n)
}

/// Returns whether a text contains the pattern as a whole part, that is, with a delimiter or an
/// end of the text on both sides. Delimiters around the pattern itself are ignored.
fn holds_part(text: &[u8], pattern: &[u8], delimiters: &[u8]) -> bool {
    let is_delimiter = |b: &u8| delimiters.contains(b);
    let pattern = trimmed(pattern, delimiters);
    if pattern.is_empty() {
        return false;
    }
    // Continues one byte after the start of an occurrence, because an occurrence may overlap the
    // one before it: `a/a` in `xa/a/a`.
    let mut from = 0;
    while let Some(found) = text
        .get(from..)
        .and_then(|rest| memchr::memmem::find(rest, pattern))
    {
        let at = from + found;
        let begins = at == 0 || is_delimiter(&text[at - 1]);
        if begins && text.get(at + pattern.len()).is_none_or(is_delimiter) {
            return true;
        }
        from = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(method: Method, list: &[&str], ignore_case: bool) -> Patterns {
        Patterns::texts(
            method,
            list.iter().map(|t| t.as_bytes().into()).collect(),
            ignore_case,
        )
    }

    #[test]
    fn texts_are_compared_as_the_method_says() {
        let rows: &[(Method, &str, &str, bool, bool)] = &[
            (Method::Str, "/a", "/a", false, true),
            (Method::Str, "/a", "/A", false, false),
            (Method::Str, "/a", "/A", true, true),
            (Method::Beg, "/a", "/ab", false, true),
            (Method::Beg, "/ab", "/a", false, false),
            (Method::Beg, "/A", "/ab", true, true),
            (Method::End, ".jpg", "/x.jpg", false, true),
            (Method::End, ".JPG", "/x.jpg", true, true),
            (Method::Sub, "b/", "/ab/c", false, true),
            (Method::Sub, "B/", "/ab/c", false, false),
            (Method::Sub, "B/", "/ab/c", true, true),
            (Method::Dir, "b", "/a/b/c", false, true),
            (Method::Dir, "/b/", "/a/b", false, true),
            (Method::Dir, "b", "/ab/c", false, false),
            (Method::Dir, "a/b", "/x/a/b?q", false, true),
            (Method::Dir, "b", "/a.b/c", false, false),
            (Method::Dir, "a/a", "xa/a/a", false, true),
            (Method::Dir, "a/a", "xa/a/ax", false, false),
            (Method::Dom, "b", "/a.b/c", false, true),
            (
                Method::Dom,
                "example.com",
                "www.example.com:80",
                false,
                true,
            ),
            (Method::Dom, "example.com", "notexample.com", false, false),
        ];
        for (method, pattern, text, ignore_case, expected) in rows {
            let found =
                texts(*method, &[pattern], *ignore_case).find(&SampleValue::text(text.as_bytes()));
            assert_eq!(found.is_some(), *expected, "{method:?} {pattern} in {text}");
        }
    }

    #[test]
    fn many_patterns_find_what_few_find() {
        let words: Vec<String> = (0..40).map(|n| format!("/dir{n}")).collect();
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        for method in [
            Method::Str,
            Method::Beg,
            Method::End,
            Method::Sub,
            Method::Dir,
        ] {
            for text in [
                "/dir7", "/dir39", "/dir39/x", "/x/dir3", "/none", "/DIR7", "",
            ] {
                for ignore_case in [false, true] {
                    let value = SampleValue::text(text.as_bytes());
                    let many = texts(method, &all, ignore_case).find(&value);
                    let one_by_one = all
                        .iter()
                        .any(|one| texts(method, &[one], ignore_case).find(&value).is_some());
                    assert_eq!(many.is_some(), one_by_one, "{method:?} {text}");
                }
            }
        }
    }

    #[test]
    fn of_several_beginnings_the_longest_is_told_and_of_ends_the_first() {
        let value = SampleValue::text(b"/a/b/c");
        assert_eq!(
            texts(Method::Beg, &["/", "/a/b", "/a"], false).find(&value),
            Some(1)
        );
        assert_eq!(
            texts(Method::End, &["c", "/b/c"], false).find(&value),
            Some(0)
        );
        let mut many = vec!["/", "/a/b", "/a"];
        many.extend(["1", "2", "3", "4", "5", "6"]);
        assert_eq!(texts(Method::Beg, &many, false).find(&value), Some(1));
    }

    #[test]
    fn numbers_and_lengths_are_compared_with_ranges() {
        let ranges = vec![1..=3, 10..=i64::MAX];
        assert_eq!(
            Patterns::numbers(ranges.clone()).find(&SampleValue::Int(12)),
            Some(1)
        );
        assert_eq!(
            Patterns::numbers(ranges.clone()).find(&SampleValue::text(b"4x")),
            None
        );
        assert_eq!(
            Patterns::lengths(ranges).find(&SampleValue::text(b"abc")),
            Some(0)
        );
    }

    #[test]
    fn found_takes_any_value_and_bool_a_true_one() {
        assert!(Patterns::found().find(&SampleValue::Bool(false)).is_some());
        assert!(Patterns::truth().find(&SampleValue::Bool(false)).is_none());
        assert!(Patterns::truth().find(&SampleValue::Int(3)).is_some());
    }
}
