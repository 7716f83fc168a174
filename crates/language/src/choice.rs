//! Parses what lines of several parts of the platform share: words of a list, options in any
//! order, and paths.

use crate::arguments::{Args, Built};
use crate::{Code, ConfigWord, Diagnostic, Span, suggest};
use std::path::{Component, Path, PathBuf};

/// A value with its position in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Spanned<T> {
        Spanned { value, span }
    }
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

impl<'l> Args<'l> {
    pub fn unknown_choice_error(&self, word: &ConfigWord, words: &[&str]) -> Diagnostic {
        let told = self.unexpected_value(word, &format!("not {}", list(words)));
        match suggest::nearest(&word.text(), words.iter().copied()) {
            Some(near) => told.did_you_mean(word.span, Some(near)),
            None => told,
        }
    }

    /// Takes one word of a list, and returns its value.
    ///
    /// # Errors
    /// The word is missing or not in the list.
    pub fn choice<T: Copy>(&mut self, choices: &[(&'static str, T)]) -> Result<T, Diagnostic> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let word = self.required(&list(&words))?;
        let found = choices.iter().find(|(known, _)| word.is(known));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.unknown_choice_error(word, &words))
    }

    /// Takes options in any order to the end of the line, each once except for those in `many`;
    /// `twice` is the code for a repeated option.
    ///
    /// # Errors
    /// A word is not an option, an option is repeated, or `take` refuses its value.
    pub fn options(
        &mut self,
        known: &[&'static str],
        many: &[&str],
        twice: &'static Code,
        mut take: impl FnMut(&'static str, &mut Args<'l>) -> Built,
    ) -> Built {
        let mut seen: Vec<&str> = Vec::new();
        while let Some(word) = self.next() {
            let Some(name) = known.iter().find(|name| word.is(name)) else {
                return Err(self.unknown_choice_error(word, known));
            };
            if seen.contains(name) && !many.contains(name) {
                let told = format!("'{name}' may appear only once in this line");
                let told = Diagnostic::error(twice, word.span, told);
                return Err(told.label("a second one").help("remove one of the two"));
            }
            seen.push(name);
            take(name, self)?;
        }
        Ok(())
    }

    /// Takes a word that is an absolute path.
    ///
    /// # Errors
    /// The word is missing, or the path is relative or contains `.` or `..`.
    pub fn absolute_path(&mut self, what: &str) -> Result<Spanned<PathBuf>, Diagnostic> {
        let word = self.required(what)?;
        let path = Path::new(word.str());
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return Err(self.unexpected_value(word, "not an absolute path without `.` and `..`"));
        }
        Ok(Spanned::new(path.components().collect(), word.span))
    }
}
