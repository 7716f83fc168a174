//! What lines of several families share: words of a list, options in any order, paths.

use super::codes;
use crate::size::{self, MIB};
use language::arguments::{Args, Built};
use language::value::TimeUnit;
use language::{Diagnostic, Span, Word, suggest};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

/// The memory of a guest, or of a node for guests.
const MEMORY_BYTES: RangeInclusive<u64> = 16 * MIB..=16 << 40;

/// Something with the place at which it is written.
#[derive(Clone, Debug)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The error for a second one in a section.
pub(super) fn twice(first: Span, span: Span, keyword: &str) -> Diagnostic {
    let told = format!("'{keyword}' may appear only once in a section");
    let told = Diagnostic::error(&codes::TWICE, span, told).label("a second one");
    told.also(first, "first given here")
}

/// `a`, `b` or `c`, as a message has them.
fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The error for a word that is none of a list.
fn none_of(args: &Args<'_>, word: &Word, words: &[&str]) -> Diagnostic {
    let told = args.unfit(word, &format!("not {}", list(words)));
    match suggest::nearest(&word.text(), words.iter().copied()) {
        Some(near) => told.did_you_mean(word.span, Some(near)),
        None => told,
    }
}

/// Takes one word of a list, and returns what it stands for.
pub(super) fn choice<T: Copy>(
    args: &mut Args<'_>,
    choices: &[(&'static str, T)],
) -> Result<T, Diagnostic> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let word = args.required(&list(&words))?;
    let found = choices.iter().find(|(known, _)| word.is(known));
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| none_of(args, word, &words))
}

/// Takes options in any order to the end of the line, each once except for those of `many`.
pub(super) fn options(
    args: &mut Args<'_>,
    known: &[&'static str],
    many: &[&str],
    mut take: impl FnMut(&'static str, &mut Args<'_>) -> Built,
) -> Built {
    let mut seen: Vec<&str> = Vec::new();
    while let Some(word) = args.next() {
        let Some(name) = known.iter().find(|name| word.is(name)) else {
            return Err(none_of(args, word, known));
        };
        if seen.contains(name) && !many.contains(name) {
            let told = format!("'{name}' may appear only once in this line");
            let told = Diagnostic::error(&codes::TWICE, word.span, told);
            return Err(told.label("a second one").help("remove one of the two"));
        }
        seen.push(name);
        take(name, args)?;
    }
    Ok(())
}

/// Takes an absolute path.
pub(super) fn path(args: &mut Args<'_>, what: &str) -> Result<Written<PathBuf>, Diagnostic> {
    let word = args.required(what)?;
    let path = Path::new(word.str());
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(args.unfit(word, "not an absolute path without `.` and `..`"));
    }
    Ok(Written {
        value: path.components().collect(),
        span: word.span,
    })
}

/// Takes a time within bounds, milliseconds; a number without a unit is in milliseconds.
pub(super) fn time_ms(
    args: &mut Args<'_>,
    bounds: RangeInclusive<u32>,
    unfit: &str,
) -> Result<u64, Diagnostic> {
    let word = args.peek();
    let time = args.time_ms(TimeUnit::Milliseconds)?;
    match word.filter(|_| !bounds.contains(&time)) {
        Some(word) => Err(args.unfit(word, unfit)),
        None => Ok(time.into()),
    }
}

/// Takes a size of memory: a multiple of 1 MiB within bounds.
pub(super) fn memory(args: &mut Args<'_>) -> Result<Written<u64>, Diagnostic> {
    let word = args.required("a size")?;
    let Some(bytes) = size::parse(word.str()) else {
        return Err(args.unfit(word, "not a size: write a number and `m`, `g` or `t`"));
    };
    let text = word.str();
    if !bytes.is_multiple_of(MIB) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let told = format!(
            "'{}': '{text}' has no unit, so it is {text} bytes",
            args.keyword
        );
        let told = Diagnostic::error(&codes::VALUE, word.span, told);
        // Two digits are meant as GiB, up to seven as MiB, and more as bytes.
        let example = match text.len() {
            ..3 => format!("{text}g"),
            3..=7 => format!("{text}m"),
            _ => size::words(bytes.div_ceil(MIB).saturating_mul(MIB)),
        };
        return Err(told.help(format!("add `m`, `g` or `t`, such as `{example}`")));
    }
    if !bytes.is_multiple_of(MIB) {
        return Err(args.unfit(word, "not a multiple of 1 MiB"));
    }
    if !MEMORY_BYTES.contains(&bytes) {
        return Err(args.unfit(word, "not between 16m and 16t"));
    }
    Ok(Written {
        value: bytes,
        span: word.span,
    })
}
