//! Parses addresses in configuration lines. Like HAProxy's address parser, this one expands
//! environment variables itself, regardless of quotes: `bind $HOST:80`, `bind fd@${fe}`. The
//! caller splits a comma-separated list of a `bind` line first.

use super::ConfigDraft;
use crate::codes;
use language::value::{self, Accepts, Address, ValueError};
use language::{ConfigWord, Diagnostic};
use std::borrow::Cow;

/// Maximum length of an expanded address, in bytes; no valid address is that long.
const ADDRESS_BYTES_MAX: usize = 4096;

impl ConfigDraft {
    /// Parses an address of a keyword, which is a whole word or a part of it.
    ///
    /// # Errors
    /// The text is not an address, or not of an accepted kind.
    pub fn address(
        &mut self,
        word: &ConfigWord,
        text: &str,
        accepts: &Accepts,
        keyword: &str,
    ) -> Result<Address, Diagnostic> {
        let (text, unset) = self.expanded(text);
        let refused = match value::address(&text, accepts) {
            Ok(address) => {
                self.warn_of_unset(word, &text, &unset);
                return Ok(address);
            }
            Err(refused) => refused,
        };
        let mut diagnostic = refused.diagnostic(word.span, &format!("'{keyword}'"));
        if !unset.is_empty() {
            diagnostic = diagnostic.note(nothing_stands(&unset));
        }
        match refused.accepted() {
            Some(address) => {
                self.report(diagnostic);
                Ok(address.clone())
            }
            None => Err(diagnostic),
        }
    }

    /// Returns a text with its environment variables expanded, and the names of unset ones.
    pub fn expanded<'a>(&self, text: &'a str) -> (Cow<'a, str>, Vec<String>) {
        match self.context.environment.expanded(text, ADDRESS_BYTES_MAX) {
            Some(expanded) => (Cow::Owned(expanded.text), expanded.unset),
            None => (Cow::Borrowed(text), Vec::new()),
        }
    }

    fn warn_of_unset(&mut self, word: &ConfigWord, text: &str, unset: &[String]) {
        if unset.is_empty() {
            return;
        }
        self.report(
            Diagnostic::warning(&codes::UNSET_VARIABLE, word.span, nothing_stands(unset))
                .label(format!("is read as '{text}'"))
                .help("set it in the environment of the start, or with `setenv` in `global`"),
        );
    }
}

fn nothing_stands(unset: &[String]) -> String {
    let names: Vec<String> = unset.iter().map(|name| format!("'{name}'")).collect();
    match &names[..] {
        [name] => {
            format!("the environment variable {name} is not set and expands to an empty string")
        }
        names => format!(
            "the environment variables {} are not set and expand to empty strings",
            names.join(", ")
        ),
    }
}
