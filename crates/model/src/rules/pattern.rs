//! Parses the flags and patterns after the expression of an ACL, and compiles the patterns that
//! values are compared with.

use super::codes;
use super::draft::AS_EARLIER;
use super::list_file::{Collected, PatternOrigin};
use super::live::How;
use super::matching::{Method, Patterns};
use super::network::MaskedNetwork;
use super::regular::Regular;
use super::shared::ListKey;
use crate::config::UserlistSlot;
use crate::rules::draft::ConfigDraft;
use crate::sample::plain::{Listed, Number, Wrong, bad, number, ranges, version, wrong};
use language::difference::COVER;
use language::{ConfigWord, Diagnostic, Span, suggest};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Patterned {
    /// Method of `-m`, with its position.
    pub method: Option<(Method, Span)>,
    ignore_case: bool,
    no_lookup: bool,
    map: bool,
    paths: Vec<PathBuf>,
    /// True if numbers are written as version numbers: `3.1` for 196609.
    pub versions: bool,
    /// True after `--`, which makes an empty list intentional.
    pub ended: bool,
    /// Position of the first pattern on the line; None if the line has no patterns.
    pub first_word: Option<Span>,
    collected: Collected,
}

/// Words that are flags if they come before the first pattern.
const FLAGS: &[&str] = &["-i", "-n", "-M", "-f", "-u", "-m"];

impl Patterned {
    pub fn read(loader: &mut ConfigDraft, words: &[ConfigWord]) -> Result<Self, Diagnostic> {
        let mut read = Patterned::default();
        let mut files: Vec<&ConfigWord> = Vec::new();
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
                // Ignores the number of `-u`, which only commands of HAProxy use.
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
            if !read.ended && FLAGS.contains(&word.str()) {
                let message = format!("'{}' behind a pattern is a pattern too", word.text());
                loader.report(
                    Diagnostic::warning(&crate::codes::FLAG_BEHIND_PATTERN, word.span, message)
                        .label("flags stand before the patterns"),
                );
            }
            read.collected.word(word);
        }
        Ok(read)
    }

    /// Registers the lists of patterns for operators: each file, then the line itself.
    pub(super) fn note(&self, loader: &ConfigDraft, first: &ConfigWord) -> Vec<usize> {
        let place = loader.context.sources.position(first.span);
        let file = &loader.context.sources.file(first.span.file).name;
        let lists = &loader.config.lists;
        let mut noted = Vec::new();
        for (n, name) in self.collected.file_names().enumerate() {
            let used_by = format!(
                "pattern loaded from file '{name}' used by acl at file '{file}' line {}",
                place.line
            );
            let of_file =
                |place: &PatternOrigin| matches!(place, PatternOrigin::Line(at, _) if *at == n);
            let entries = self.collected.texts(of_file);
            noted.push(lists.add(Some(name), false, used_by, entries));
        }
        let text = first.text();
        let name = text.split(['(', ',']).next().unwrap_or_default();
        let used_by = format!("acl '{name}' file '{file}' line {}", place.line);
        let words = self
            .collected
            .texts(|place| matches!(place, PatternOrigin::Word(_)));
        let of_line = lists.add(None, false, used_by, words);
        lists.set_expression(of_line, &text);
        noted.push(of_line);
        noted
    }

    /// Registers the patterns as groups of a userlist. Groups on the line are looked up when the
    /// whole file is known.
    pub(super) fn note_groups(
        &self,
        loader: &mut ConfigDraft,
        list: &UserlistSlot,
        words: &[ConfigWord],
    ) {
        let Some(first) = self.first_word.filter(|_| !self.ignore_case) else {
            return;
        };
        for word in words.iter().filter(|word| word.span.start >= first.start) {
            loader
                .userlist_uses
                .group_used(UserlistSlot::clone(list), word);
        }
    }

    pub(super) fn how(&self, method: Method) -> How {
        How {
            method,
            ignore_case: self.ignore_case,
            versions: self.versions,
            gives: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.collected.patterns.is_empty()
    }

    /// Returns the patterns compiled for a method. Patterns from files alone are shared with an
    /// earlier line that has exactly the same files; others are compiled now.
    ///
    /// # Errors
    /// A pattern is invalid for the method.
    pub fn compile(
        self,
        loader: &mut ConfigDraft,
        method: Method,
    ) -> Result<Arc<Patterns>, Diagnostic> {
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

    fn compile_anew(
        self,
        loader: &mut ConfigDraft,
        method: Method,
    ) -> Result<Patterns, Diagnostic> {
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

fn flag_argument(flag: &ConfigWord, what: &str) -> Diagnostic {
    Diagnostic::error(
        &codes::UNKNOWN_MATCH_FLAG,
        flag.span,
        format!("'{}' expects {what}", flag.text()),
    )
    .label("the value after it is missing")
}

fn unknown_flag(word: &ConfigWord) -> Diagnostic {
    Diagnostic::error(
        &codes::UNKNOWN_MATCH_FLAG,
        word.span,
        format!("'{}' is not a valid ACL option", word.text()),
    )
    .label("not an ACL flag")
    .help("write `--` before the first pattern if it is one")
}

fn method(word: &ConfigWord) -> Result<Method, Diagnostic> {
    Method::named(word.str()).ok_or_else(|| {
        let diagnostic = Diagnostic::error(
            &codes::UNKNOWN_MATCH_METHOD,
            word.span,
            format!("unknown matching method '{}'", word.text()),
        )
        .label(
            "valid methods: found, bool, int, ip, bin, len, str, beg, sub, dir, dom, end and reg",
        );
        diagnostic.did_you_mean(
            word.span,
            suggest::nearest(&word.text(), Method::ALL.iter().map(|(name, _)| *name)),
        )
    })
}

pub(super) fn compile(
    loader: &mut ConfigDraft,
    method: Method,
    mut collected: Collected,
    ignore_case: bool,
    lookup: bool,
) -> Result<Patterns, Diagnostic> {
    let list = std::mem::take(&mut collected.patterns);
    let made = match method {
        Method::Found => Ok(Patterns::found()),
        Method::Bool => Ok(Patterns::truth()),
        Method::Int => ranges(list, number).map(Patterns::numbers),
        Method::Len => ranges(list, number).map(Patterns::lengths),
        Method::Ip => networks(loader, list, lookup),
        Method::Bin => each(list, |text, span| {
            crate::sample::plain::unhex(text)
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
        Method::Reg => {
            let is_accepted = loader.context.is_accepted();
            if is_accepted {
                warn_of_earlier(loader, &collected, &list, ignore_case);
            }
            each(list, move |text, span| {
                Regular::new(text, ignore_case).or_else(|error| {
                    let earlier =
                        is_accepted.then(|| Regular::of_earlier_program(text, ignore_case));
                    earlier
                        .flatten()
                        .ok_or_else(|| error.diagnostic(span, text))
                })
            })
            .map(Patterns::regulars)
        }
        _ => Ok(Patterns::texts(
            method,
            list.into_iter().map(|(text, _)| text).collect(),
            ignore_case,
        )),
    };
    made.map_err(|(place, diagnose)| collected.wrong(loader, place, diagnose))
}

/// Warns about expressions in an accepted configuration version that only an earlier release of
/// Evenkeel could parse.
fn warn_of_earlier(
    loader: &mut ConfigDraft,
    collected: &Collected,
    list: &[(Box<[u8]>, PatternOrigin)],
    ignore_case: bool,
) {
    for (text, place) in list {
        let Err(error) = Regular::new(text, ignore_case) else {
            continue;
        };
        if Regular::of_earlier_program(text, ignore_case).is_some() {
            // Masks a pattern of a file, which may be a secret.
            let text: &[u8] = match place {
                PatternOrigin::Word(_) => text,
                PatternOrigin::Line(..) => COVER.as_bytes(),
            };
            let told = error.diagnostic(collected.span_of(place), text);
            loader.report(told.with_earlier_behaviour(AS_EARLIER));
        }
    }
}

fn compile_ranges(
    loader: &mut ConfigDraft,
    mut collected: Collected,
    number: Number,
) -> Result<Patterns, Diagnostic> {
    let list = std::mem::take(&mut collected.patterns);
    ranges(list, number)
        .map(Patterns::numbers)
        .map_err(|(place, diagnose)| collected.wrong(loader, place, diagnose))
}

/// Converts each pattern. The caller later creates the diagnostic for the first invalid one, at its
/// position.
fn each<T>(
    list: Listed,
    make: impl Fn(&[u8], Span) -> Result<T, Diagnostic> + Copy + 'static,
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
                    Box::new(again) as Box<dyn FnOnce(Span) -> Diagnostic>,
                )
            })
        })
        .collect()
}

fn networks(loader: &mut ConfigDraft, list: Listed, lookup: bool) -> Result<Patterns, Wrong> {
    let mut networks = Vec::with_capacity(list.len());
    for (text, place) in list {
        let word = std::str::from_utf8(&text).unwrap_or("");
        if let Some(network) = MaskedNetwork::parse(word) {
            networks.push(network);
            continue;
        }
        let in_names = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let may_be_name =
            word.contains(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(in_names);
        if !may_be_name || !lookup {
            return wrong(place, text, "is not a valid IPv4 or IPv6 address");
        }
        // Skips a host name without resolving it: a check of files from another host assumes that
        // the name is valid.
        if !loader.context.options.resolve_names {
            continue;
        }
        let found = loader.context.outside.addresses(word);
        if found.is_empty() {
            let why = "is not a valid IPv4 or IPv6 address, nor a name that can be resolved";
            return wrong(place, text, why);
        }
        networks.extend(found.iter().map(|ip| MaskedNetwork::host(*ip)));
    }
    Ok(Patterns::networks(super::network::Networks::new(networks)))
}
