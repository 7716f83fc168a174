//! Parses values that keywords of several families use: one of several words, `on` or `off`, a
//! limit. The module sets nothing.

use super::{Args, Built};
use language::{ConfigWord, Diagnostic, suggest};
use model::codes;

pub(super) fn unknown_choice_error(
    args: &Args<'_>,
    word: &ConfigWord,
    choices: &[&str],
) -> Diagnostic {
    let (keyword, text) = (args.keyword, word.text());
    let message = format!("'{keyword}': unknown argument '{text}'");
    Diagnostic::error(&codes::BAD_VALUE, word.span, message)
        .label(format!("expected one of: {}", choices.join(", ")))
        .did_you_mean(word.span, suggest::nearest(&text, choices.iter().copied()))
}

/// Parses one of several words and returns its value. `what` describes the words in the error for a
/// missing one.
pub(super) fn parse_choice<T: Copy>(
    args: &mut Args<'_>,
    what: &str,
    words: &[(&str, T)],
) -> Result<T, Diagnostic> {
    let word = args.required(what)?;
    let found = words.iter().find(|(name, _)| word.is(name));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        unknown_choice_error(args, word, &names)
    })
}

pub(super) fn on_off(args: &mut Args<'_>) -> Result<bool, Diagnostic> {
    parse_choice(args, "on or off", &[("off", false), ("on", true)])
}

/// Parses `log-proto`. Returns whether the length of each message is sent before it.
pub(super) fn octets_counted(args: &mut Args<'_>) -> Result<bool, Diagnostic> {
    let framings = [("legacy", false), ("octet-count", true)];
    parse_choice(args, "legacy or octet-count", &framings)
}

/// Parses a limit. 0 means that there is none.
pub(super) fn limit(args: &mut Args<'_>, what: &str) -> Result<Option<u32>, Diagnostic> {
    let number = args.count(what, 0..=i32::MAX as u32)?;
    Ok((number > 0).then_some(number))
}

pub(super) fn require_word(args: &mut Args<'_>, what: &str) -> Built {
    match args.peek() {
        Some(_) => Ok(()),
        None => args.required(what).map(|_| ()),
    }
}
