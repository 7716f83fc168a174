//! Lines whose keyword no table has.

use crate::keyword::Table;
use crate::{Code, Diagnostic, Line, suggest};

/// The error about the keyword of a line (of one word at least) in a section, with what may have been meant.
/// `elsewhere` names a section in which a keyword is legal.
pub fn unknown<B: 'static>(
    line: &Line,
    place: &str,
    table: &Table<B>,
    code: &'static Code,
    elsewhere: impl Fn(&str) -> Option<&'static str>,
) -> Diagnostic {
    let first = &line.words[0];
    let text = first.text();
    let told = format!("unknown keyword '{text}' in '{place}' section");
    let told = Diagnostic::error(code, first.span, told);
    let mut names: Vec<&str> = table.names_in(place).collect();
    names.sort_unstable();
    let words = |name: &&'static str| name.split_once(' ').unwrap_or((*name, ""));
    let family = || names.iter().filter(|name| words(name).0 == text);
    if family().next().is_some() {
        let second = line.word(1).and_then(|word| {
            let near = suggest::nearest(&word.text(), family().map(|name| words(name).1))?;
            Some((word.span, near))
        });
        let family: Vec<String> = family().map(|name| format!("`{name}`")).collect();
        return match second {
            Some((span, near)) => told.did_you_mean(span, Some(near)),
            None => told
                .label("one of its words is missing or another one")
                .help(format!("write one of {}", family.join(", "))),
        };
    }
    let near = suggest::nearest(&text, names.iter().map(|name| words(name).0));
    match (near, elsewhere(&text)) {
        (Some(near), _) => told.did_you_mean(first.span, Some(near)),
        (None, Some(other)) => told.help(format!("it belongs into a `{other}` section")),
        (None, None) => told.note(format!(
            "a `{place}` section may hold: {}",
            names.join(", ")
        )),
    }
}
