//! What stands behind the expression of an ACL: flags, then patterns; and how
//! texts become patterns that values are compared with.

use super::codes;
use super::list_file::{Collected, Place};
use super::live::How;
use super::matching::{Method, Patterns};
use super::network::Network;
use super::regular::Regular;
use super::shared::ListKey;
use crate::config::UserlistSlot;
use crate::rules::draft::Draft;
use language::{Code, Diagnostic, Span, Word, suggest};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// What the flags say, and the patterns.
#[derive(Debug, Default)]
pub struct Patterned {
    /// `-m`, with its place.
    pub method: Option<(Method, Span)>,
    ignore_case: bool,
    no_lookup: bool,
    map: bool,
    /// The files, in their order.
    paths: Vec<PathBuf>,
    /// Numbers are written as versions: `3.1` for 196609.
    pub versions: bool,
    /// `--` stood there: an empty list is meant.
    pub ended: bool,
    /// Where the first pattern stands, if any is written on the line.
    pub first_word: Option<Span>,
    collected: Collected,
}

impl Patterned {
    /// Reads flags and patterns.
    pub fn read(loader: &mut Draft, words: &[Word]) -> Result<Self, Box<Diagnostic>> {
        let mut read = Patterned::default();
        let mut files: Vec<&Word> = Vec::new();
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let mut argument = |what: &str| {
                let next = words.get(at);
                at += 1;
                next.ok_or_else(|| flag_argument(word, what))
            };
            match word.str() {
                "-i" => read.ignore_case = true,
                "-n" => read.no_lookup = true,
                "-M" => read.map = true,
                "-f" => files.push(argument("the name of a file")?),
                // Numbers of lists are for the run time commands of HAProxy.
                "-u" => {
                    argument("a number")?;
                }
                "-m" => {
                    let name = argument("a matching method")?;
                    read.method = Some((method(name)?, name.span));
                }
                "--" => {
                    read.ended = true;
                    break;
                }
                flag if flag.starts_with('-') && !is_number(flag) => {
                    return Err(unknown_flag(word));
                }
                _ => {
                    at -= 1;
                    break;
                }
            }
        }
        for name in files {
            let file = loader.read_list(name.str(), name.span)?;
            read.paths.push(loader.path_of(name.str(), name.span));
            read.collected.file(file, name.span, read.map);
        }
        read.first_word = words.get(at).map(|word| word.span);
        for word in &words[at.min(words.len())..] {
            read.collected.word(word);
        }
        Ok(read)
    }

    /// The lists that the patterns stand in, noted for operators: each file, then
    /// the line itself.
    pub(super) fn note(&self, loader: &Draft, first: &Word) -> Vec<usize> {
        let place = loader.context.sources.position(first.span);
        let file = &loader.context.sources.file(first.span.file).name;
        let lists = &loader.config.lists;
        let mut noted = Vec::new();
        for (n, name) in self.collected.file_names().enumerate() {
            let used_by = format!(
                "pattern loaded from file '{name}' used by acl at file '{file}' line {}",
                place.line
            );
            let of_file = |place: &Place| matches!(place, Place::Line(at, _) if *at == n);
            let entries = self.collected.texts(of_file);
            noted.push(lists.add((Some(name), false), used_by, entries));
        }
        let text = first.text();
        let name = text.split(['(', ',']).next().unwrap_or_default();
        let used_by = format!("acl '{name}' file '{file}' line {}", place.line);
        let words = self
            .collected
            .texts(|place| matches!(place, Place::Word(_)));
        noted.push(lists.add((None, false), used_by, words));
        noted
    }

    /// The patterns are groups of a list of users: those of the line are looked
    /// for when the whole file is known.
    pub(super) fn note_groups(&self, loader: &mut Draft, list: &UserlistSlot, words: &[Word]) {
        let Some(first) = self.first_word.filter(|_| !self.ignore_case) else {
            return;
        };
        for word in words.iter().filter(|word| word.span.start >= first.start) {
            loader
                .userlist_uses
                .group_used(UserlistSlot::clone(list), word);
        }
    }

    /// How the patterns are compared by a method.
    pub(super) fn how(&self, method: Method) -> How {
        How {
            method,
            ignore_case: self.ignore_case,
            versions: self.versions,
            gives: None,
        }
    }

    /// Whether there is nothing to compare with.
    pub fn is_empty(&self) -> bool {
        self.collected.patterns.is_empty()
    }

    /// The patterns for a method: compiled now, or by a line before that names
    /// the same files and nothing else.
    pub fn compile(
        self,
        loader: &mut Draft,
        method: Method,
    ) -> Result<Arc<Patterns>, Box<Diagnostic>> {
        let key = self.key(method);
        let known = key.as_ref().and_then(|key| loader.shared.lists.get(key));
        if let Some(patterns) = known {
            return Ok(Arc::clone(patterns));
        }
        let patterns = Arc::new(self.compile_anew(loader, method)?);
        if let Some(key) = key {
            loader.shared.lists.insert(key, Arc::clone(&patterns));
        }
        Ok(patterns)
    }

    fn key(&self, method: Method) -> Option<ListKey> {
        let only_files = !self.paths.is_empty() && self.first_word.is_none();
        only_files.then(|| ListKey {
            paths: self.paths.clone(),
            map: self.map,
            method,
            ignore_case: self.ignore_case,
            lookup: !self.no_lookup,
            versions: self.versions,
        })
    }

    fn compile_anew(self, loader: &mut Draft, method: Method) -> Result<Patterns, Box<Diagnostic>> {
        let lookup = !self.no_lookup;
        if self.versions && method == Method::Int {
            return compile_ranges(loader, self.collected, version);
        }
        compile(loader, method, self.collected, self.ignore_case, lookup)
    }
}

fn is_number(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn flag_argument(flag: &Word, what: &str) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error(
            &codes::UNKNOWN_MATCH_FLAG,
            flag.span,
            format!("'{}' expects {what}", flag.text()),
        )
        .label("the value after it is missing"),
    )
}

fn unknown_flag(word: &Word) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error(
            &codes::UNKNOWN_MATCH_FLAG,
            word.span,
            format!("'{}' is not a valid ACL option", word.text()),
        )
        .label("not an ACL flag")
        .help("write `--` before the first pattern if it is one"),
    )
}

fn method(word: &Word) -> Result<Method, Box<Diagnostic>> {
    Method::named(word.str()).ok_or_else(|| {
        let mut diagnostic = Diagnostic::error(
            &codes::UNKNOWN_MATCH_METHOD,
            word.span,
            format!("unknown matching method '{}'", word.text()),
        )
        .label(
            "valid methods: found, bool, int, ip, bin, len, str, beg, sub, dir, dom, end and reg",
        );
        if let Some(near) =
            suggest::nearest(&word.text(), Method::ALL.iter().map(|(name, _)| *name))
        {
            diagnostic = diagnostic
                .help(format!("did you mean '{near}'?"))
                .fix(word.span, near);
        }
        Box::new(diagnostic)
    })
}

/// Compiles patterns from wherever they came.
pub(super) fn compile(
    loader: &mut Draft,
    method: Method,
    mut collected: Collected,
    ignore_case: bool,
    lookup: bool,
) -> Result<Patterns, Box<Diagnostic>> {
    let list = std::mem::take(&mut collected.patterns);
    let made = match method {
        Method::Found => Ok(Patterns::found()),
        Method::Bool => Ok(Patterns::truth()),
        Method::Int => ranges(list, number).map(Patterns::numbers),
        Method::Len => ranges(list, number).map(Patterns::lengths),
        Method::Ip => networks(loader, list, lookup),
        Method::Bin => each(list, |text, span| {
            super::argument::unhex(text)
                .map(Vec::into_boxed_slice)
                .ok_or_else(|| {
                    bad(
                        &codes::BAD_PATTERN,
                        span,
                        text,
                        "is not a sequence of hexadecimal byte pairs",
                    )
                })
        })
        .map(Patterns::binaries),
        Method::Reg => each(list, move |text, span| {
            Regular::new(text, ignore_case).map_err(|error| error.diagnostic(span, text))
        })
        .map(Patterns::regulars),
        _ => Ok(Patterns::texts(
            method,
            list.into_iter().map(|(text, _)| text).collect(),
            ignore_case,
        )),
    };
    made.map_err(|(place, diagnose)| collected.wrong(loader, place, diagnose))
}

/// Compiles patterns that came while traffic flows: no name is looked up. None:
/// one of them cannot be used.
pub(super) fn compile_plain(
    method: Method,
    texts: Vec<Box<[u8]>>,
    ignore_case: bool,
    versions: bool,
) -> Option<Patterns> {
    let number: Number = if versions { version } else { number };
    let list = |texts: Vec<Box<[u8]>>| -> Listed {
        let nowhere = |text| (text, Place::Word(Span::default()));
        texts.into_iter().map(nowhere).collect()
    };
    Some(match method {
        Method::Found => Patterns::found(),
        Method::Bool => Patterns::truth(),
        Method::Int => Patterns::numbers(ranges(list(texts), number).ok()?),
        Method::Len => Patterns::lengths(ranges(list(texts), number).ok()?),
        Method::Ip => {
            let network = |text: &[u8]| Network::parse(std::str::from_utf8(text).ok()?);
            let networks = each_text(&texts, network)?;
            Patterns::networks(super::network::Networks::new(networks))
        }
        Method::Bin => {
            let bytes = |text: &[u8]| super::argument::unhex(text).map(Vec::into_boxed_slice);
            Patterns::binaries(each_text(&texts, bytes)?)
        }
        Method::Reg => {
            let regular = |text: &[u8]| Regular::new(text, ignore_case).ok();
            Patterns::regulars(each_text(&texts, regular)?)
        }
        _ => Patterns::texts(method, texts, ignore_case),
    })
}

fn each_text<T>(texts: &[Box<[u8]>], make: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
    texts.iter().map(|text| make(text)).collect()
}

/// Compiles numbers that are written in a way of their own.
fn compile_ranges(
    loader: &mut Draft,
    mut collected: Collected,
    number: Number,
) -> Result<Patterns, Box<Diagnostic>> {
    let list = std::mem::take(&mut collected.patterns);
    ranges(list, number)
        .map(Patterns::numbers)
        .map_err(|(place, diagnose)| collected.wrong(loader, place, diagnose))
}

/// Reads a number.
type Number = fn(&str) -> Option<i64>;

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// `3.1` is 3 * 65536 + 1.
fn version(text: &str) -> Option<i64> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    Some((i64::from(major.parse::<u16>().ok()?) << 16) + i64::from(minor.parse::<u16>().ok()?))
}

type Wrong = (Place, Box<dyn FnOnce(Span) -> Box<Diagnostic>>);
type Listed = Vec<(Box<[u8]>, Place)>;

fn bad(code: &'static Code, span: Span, text: &[u8], why: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(
        code,
        span,
        format!("'{}' {why}", String::from_utf8_lossy(text)),
    ))
}

/// Makes something of each pattern; the diagnostic of the first that is wrong
/// is made at its place later.
fn each<T>(
    list: Listed,
    make: impl Fn(&[u8], Span) -> Result<T, Box<Diagnostic>> + Copy + 'static,
) -> Result<Vec<T>, Wrong> {
    list.into_iter()
        .map(|(text, place)| {
            make(&text, Span::default()).map_err(|_| {
                let again = move |span: Span| match make(&text, span) {
                    Err(diagnostic) => diagnostic,
                    Ok(_) => bad(&codes::BAD_PATTERN, span, &text, "cannot be used"),
                };
                (
                    place,
                    Box::new(again) as Box<dyn FnOnce(Span) -> Box<Diagnostic>>,
                )
            })
        })
        .collect()
}

fn wrong<T>(place: Place, text: Box<[u8]>, why: &'static str) -> Result<T, Wrong> {
    Err((
        place,
        Box::new(move |span| bad(&codes::BAD_PATTERN, span, &text, why)),
    ))
}

/// Numbers and ranges, with operators before them that hold until the next.
fn ranges(list: Listed, number: Number) -> Result<Vec<RangeInclusive<i64>>, Wrong> {
    let mut ranges = Vec::with_capacity(list.len());
    let mut operator = "eq";
    for (text, place) in list {
        let word = std::str::from_utf8(&text).unwrap_or("");
        if let Place::Word(_) = place
            && let Some(known) = ["eq", "ge", "gt", "le", "lt"]
                .iter()
                .find(|known| **known == word)
        {
            operator = known;
            continue;
        }
        let Some((low, high)) = range(word, number) else {
            let why = if word.contains(':') {
                "is not a valid number range"
            } else {
                "is not a number"
            };
            return wrong(place, text, why);
        };
        if operator != "eq" && word.contains(':') {
            return wrong(
                place,
                text,
                "is a range, but an operator compares with one number",
            );
        }
        ranges.push(match operator {
            "ge" => low..=i64::MAX,
            "le" => i64::MIN..=high,
            // Nothing is above the highest number or below the lowest.
            "gt" => low
                .checked_add(1)
                .map_or(RangeInclusive::new(1, 0), |low| low..=i64::MAX),
            "lt" => high
                .checked_sub(1)
                .map_or(RangeInclusive::new(1, 0), |high| i64::MIN..=high),
            _ => low..=high,
        });
    }
    Ok(ranges)
}

/// `5`, `1:5`, `:5`, `5:`.
fn range(text: &str, number: Number) -> Option<(i64, i64)> {
    match text.split_once(':') {
        None => number(text).map(|n| (n, n)),
        Some((low, high)) => {
            let low = if low.is_empty() {
                i64::MIN
            } else {
                number(low)?
            };
            let high = if high.is_empty() {
                i64::MAX
            } else {
                number(high)?
            };
            (low <= high).then_some((low, high))
        }
    }
}

fn networks(loader: &mut Draft, list: Listed, lookup: bool) -> Result<Patterns, Wrong> {
    let mut networks = Vec::with_capacity(list.len());
    for (text, place) in list {
        let word = std::str::from_utf8(&text).unwrap_or("");
        if let Some(network) = Network::parse(word) {
            networks.push(network);
            continue;
        }
        let in_names = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let may_be_name =
            word.contains(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(in_names);
        if !may_be_name || !lookup {
            return wrong(place, text, "is not a valid IPv4 or IPv6 address");
        }
        // A check of files from elsewhere looks up no name, and takes it for good.
        if !loader.context.options.resolve_names {
            continue;
        }
        let found = loader.context.outside.addresses(word);
        if found.is_empty() {
            let why = "is not a valid IPv4 or IPv6 address, nor a name that can be resolved";
            return wrong(place, text, why);
        }
        networks.extend(found.iter().map(|ip| Network::host(*ip)));
    }
    Ok(Patterns::networks(super::network::Networks::new(networks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<Vec<RangeInclusive<i64>>> {
        let list = words
            .iter()
            .map(|w| (w.as_bytes().into(), Place::Word(Span::default())))
            .collect();
        ranges(list, number).ok()
    }

    #[test]
    fn versions_have_a_dot() {
        assert_eq!(range("3.1", version), Some((196_609, 196_609)));
        assert_eq!(range("3:3.3", version), Some((196_608, 196_611)));
        assert_eq!(range("3.x", version), None);
    }

    #[test]
    fn numbers_have_ranges_and_operators() {
        assert_eq!(
            read(&["1", "3:5", ":0", "9:"]),
            Some(vec![1..=1, 3..=5, i64::MIN..=0, 9..=i64::MAX])
        );
        assert_eq!(
            read(&["gt", "2", "le", "-1"]),
            Some(vec![3..=i64::MAX, i64::MIN..=-1])
        );
        assert_eq!(
            read(&["lt", "2", "5"]),
            Some(vec![i64::MIN..=1, i64::MIN..=4])
        );
        assert_eq!(
            read(&["gt", "9223372036854775807"]).map(|r| r[0].is_empty()),
            Some(true)
        );
        for wrong in [&["5:2"][..], &["foo"], &["1.2:1.5"], &["1:2:3"], &[""]] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
