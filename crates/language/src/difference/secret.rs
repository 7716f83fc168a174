//! Words for people, with what is secret covered: the word behind one that the
//! vocabulary names or whose name says what follows, passwords in URLs, and
//! credentials of HTTP.

use super::Vocabulary;
use super::lines::Line;
use crate::render::visible;

/// The mask that replaces a secret.
pub const COVER: &str = "***";

/// A word that contains one of these may be followed by a secret.
const SUSPECT: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "authorization",
];

/// Converters whose arguments hold a key, and the argument from which on they are covered.
const KEYED: &[(&str, usize)] = &[
    ("hmac(", 1),
    ("jwt_verify(", 1),
    ("aes_gcm_dec(", 1),
    ("aes_gcm_enc(", 1),
    ("aes_cbc_dec(", 1),
    ("aes_cbc_enc(", 1),
];

/// Actions whose next word is the name of a header, before its value.
const OF_HEADERS: &[&str] = &[
    "set-header",
    "add-header",
    "replace-header",
    "replace-value",
    "hdr",
];
/// Headers that sign somebody in.
const SIGNING_IN: &[&str] = &["cookie", "set-cookie"];
/// Commands of protocols with a password, as checks send them (Redis, POP3, IMAP, SMTP).
const COMMANDS: &[&str] = &["auth ", "pass ", "login "];

/// Whether a name says that what it names is secret.
pub fn is_suspect(name: &str) -> bool {
    let low = name.to_ascii_lowercase();
    SUSPECT.iter().any(|suspect| low.contains(suspect))
}

/// Schemes of credentials; what stands behind them is secret.
const SCHEMES: &[&str] = &["basic", "bearer"];

/// The visible part of a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Visibility {
    /// All of it.
    Whole,
    /// This in its place.
    Part(String),
    /// Masked.
    Covered,
}

/// Returns the visible parts of the words of a line.
pub(super) fn seen(words: &[Vec<u8>], vocabulary: &Vocabulary<'_>) -> Vec<Visibility> {
    let mut all = Vec::with_capacity(words.len());
    let mut secret = false;
    let mut method = false;
    let is_check = words.first().is_some_and(|word| word == b"tcp-check");
    for (at, word) in words.iter().enumerate() {
        let text = super::words::shown(word);
        let known = |list: &[&str]| list.iter().any(|w| w.eq_ignore_ascii_case(&text));
        // The line of a token of the console: its name is none.
        let is_token = at == 0 && text == "token";
        let names = !is_token && {
            let low = text.to_ascii_lowercase();
            let is_key = low.starts_with("set-var") && low.contains("key");
            let named = at > 0 && {
                let before = super::words::shown(&words[at - 1]);
                OF_HEADERS.contains(&&*before) && SIGNING_IN.contains(&&*low)
            };
            known(&vocabulary.secrets) || is_suspect(&text) || is_key || named
        };
        // `{ req.hdr(x-token) -m str … }`: how it is compared is no secret.
        let flag = secret && text.len() == 2 && text.starts_with('-');
        if flag || method {
            method = flag && text == "-m";
            all.push(Visibility::Whole);
            continue;
        }
        let scheme = known(SCHEMES);
        all.push(if secret && at > 0 {
            Visibility::Covered
        } else {
            let part = match is_check {
                true => command(text.clone()),
                false => text.clone(),
            };
            let part = credentials(keyed(part));
            match part == text {
                true => Visibility::Whole,
                false => Visibility::Part(part),
            }
        });
        // The name of a secret that is itself behind one names nothing.
        secret = scheme || names && !secret;
    }
    all
}

/// The words of a line as people may see them.
pub(super) fn words(line: &Line, vocabulary: &Vocabulary<'_>) -> Vec<String> {
    let seen = seen(&line.words, vocabulary);
    let shown = |(word, seen): (&Vec<u8>, Visibility)| match seen {
        Visibility::Covered => COVER.to_owned(),
        Visibility::Part(part) => quoted(part, word.contains(&0)),
        Visibility::Whole => quoted(super::words::shown(word), word.contains(&0)),
    };
    line.words.iter().zip(seen).map(shown).collect()
}

/// A line as people may see it.
pub(super) fn text(line: &Line, vocabulary: &Vocabulary<'_>) -> String {
    under(line, words(line, vocabulary).join(" "))
}

/// With the condition that it stands under.
pub(super) fn under(line: &Line, text: String) -> String {
    if line.under.is_empty() || line.first().starts_with(b".") {
        return text;
    }
    format!("{text} (under {})", super::words::shown(&line.under))
}

/// A word on one line; one with spaces is seen as one, and one with variables as
/// one that has them.
fn quoted(text: String, variables: bool) -> String {
    let quote = match variables {
        true => "\"",
        false if text.contains(|c: char| c.is_whitespace() || c == '#') => "'",
        false => "",
    };
    format!("{quote}{}{quote}", visible(&text))
}

/// Covers what stands behind a command with a password.
fn command(mut text: String) -> String {
    let low = text.to_ascii_lowercase();
    if let Some(word) = COMMANDS.iter().find(|word| low.starts_with(**word)) {
        text.truncate(word.len());
        text.push_str(COVER);
    }
    text
}

/// Covers keys among the arguments of converters.
fn keyed(mut text: String) -> String {
    for (name, first) in KEYED {
        let mut from = 0;
        while let Some(at) = text[from..].find(name).map(|at| from + at + name.len()) {
            let end = end_of_arguments(&text, at);
            let arguments = &text[at..end];
            let mut commas = arguments.match_indices(',').map(|(comma, _)| comma + 1);
            from = match commas.nth(first - 1) {
                Some(start) => {
                    text.replace_range(at + start..end, COVER);
                    at + start + COVER.len()
                }
                None => end,
            };
        }
    }
    text
}

/// Where the arguments end that begin here: at the parenthesis that closes them, outside of quotes.
fn end_of_arguments(text: &str, from: usize) -> usize {
    let (mut depth, mut quote) = (0, None);
    for (at, letter) in text[from..].char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return from + at,
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Covers passwords of URLs (`scheme://user:password@host`, or without a scheme)
/// and what stands behind a scheme of credentials.
fn credentials(mut text: String) -> String {
    let low = text.to_ascii_lowercase();
    for scheme in SCHEMES {
        let at = low.find(&format!("{scheme} "));
        if let Some(at) = at {
            text.truncate(at + scheme.len() + 1);
            text.push_str(COVER);
            return text;
        }
    }
    for suspect in SUSPECT {
        // Of a query; what stands behind it in the word is not needed.
        let name = format!("{suspect}=");
        if let Some(at) = low.find(&name).map(|at| at + name.len()) {
            text.truncate(at);
            text.push_str(COVER);
            return text;
        }
    }
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..]
        .find(['/', '?', ' '])
        .map_or(text.len(), |n| authority + n);
    if let Some(at) = text[authority..end].rfind('@')
        && let Some(colon) = text[authority..authority + at].find(':')
    {
        text.replace_range(authority + colon + 1..authority + at, COVER);
    }
    text
}
