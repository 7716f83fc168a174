//! Finds the secret in a line with a misspelt keyword. Such a line is refused and quoted in the
//! diagnostic, so its words are first corrected, and the secret after the corrected word is
//! masked.

use super::Vocabulary;
use super::secret::{
    ALL_BEHIND, ENVIRONMENT, KEYED, NAMING, OF_HEADER_LINES, OF_HEADERS, OF_NAMES, OF_TWO_VALUES,
    PROGRAMS, SECRET_SAMPLES, SENDING, SUSPECT, may_name_secret,
};
use crate::suggest;

/// Maximum length of a word that is compared with keywords, bytes. Longer words are no keywords.
const WORD_BYTES_MAX: usize = 40;
/// First words and options whose meaning decides where a secret stands.
const DECIDING: &[&str] = &["tcp-check", "http-check", "set-var", "body", "cookie"];
/// Functions of expressions whose arguments, or what is compared with them, may be secret.
const FUNCTIONS: &[&str] = &[
    "str",
    "set-var",
    "req.hdr",
    "res.hdr",
    "req.fhdr",
    "req.cook",
    "res.cook",
    "url_param",
    "txn.cook",
];

/// Returns the words of a line with misspelt words corrected, where a correct word
/// would precede a secret. None: no word was corrected.
pub(super) fn corrected(texts: &[String], vocabulary: &Vocabulary<'_>) -> Option<Vec<String>> {
    if vocabulary.words.is_empty() {
        return None;
    }
    let first = texts.first().map_or("", String::as_str);
    let mut is_condition = false;
    let mut all: Option<Vec<String>> = None;
    for (at, text) in texts.iter().enumerate() {
        // Names that the user chose are no keywords: of sections and ACLs, in conditions.
        let is_name =
            at == 1 && (OF_NAMES.contains(&first) || vocabulary.sections.contains(&first));
        let before = at.checked_sub(1).and_then(|at| texts.get(at));
        let is_sample = before.is_some_and(|before| before == "{") || first == "acl" && at == 2;
        is_condition |= first == "acl" || text == "if" || text == "unless" || text == "{";
        if is_name || text.len() > WORD_BYTES_MAX && !text.contains('(') {
            continue;
        }
        let right = if text.contains('(') {
            with_functions(text, vocabulary)
        } else if is_condition && !is_sample {
            None
        } else {
            word(text, at, vocabulary)
        };
        if let Some(right) = right {
            all.get_or_insert_with(|| texts.to_vec())[at] = right;
        }
    }
    all
}

fn is_known_word(vocabulary: &Vocabulary<'_>, word: &str) -> bool {
    vocabulary.words.binary_search(&word).is_ok()
}

/// Returns the keyword that a misspelt word means, if there is one.
fn word(text: &str, at: usize, vocabulary: &Vocabulary<'_>) -> Option<String> {
    let low = text.to_ascii_lowercase();
    let is_word = low.starts_with(|c: char| c.is_ascii_lowercase())
        && low
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_word || is_known_word(vocabulary, &low) {
        return None;
    }
    let lists = [
        &*vocabulary.secrets,
        &*vocabulary.programs,
        SUSPECT,
        OF_HEADERS,
        OF_TWO_VALUES,
        SENDING,
        PROGRAMS,
        ENVIRONMENT,
        ALL_BEHIND,
        OF_HEADER_LINES,
        DECIDING,
    ];
    let names = lists.into_iter().flatten().copied();
    let samples = SECRET_SAMPLES.iter().map(|name| name.trim_end_matches('('));
    if let Some(near) = suggest::nearest(&low, names.chain(samples)) {
        return Some(near.to_owned());
    }
    // `stats-auth admin:…`: a part of an unknown first word suggests that a secret
    // follows.
    (at == 0 && may_name_secret(&low)).then(|| ALL_BEHIND[0].to_owned())
}

/// Returns a word with its misspelt function names corrected.
fn with_functions(text: &str, vocabulary: &Vocabulary<'_>) -> Option<String> {
    let mut right = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_changed = false;
    while let Some(open) = rest.find('(') {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = &rest[..open];
        let begin = name.rfind(|c| !is_of_name(c)).map_or(0, |at| {
            at + name[at..].chars().next().map_or(1, char::len_utf8)
        });
        let name = &rest[begin..open];
        let keyed = KEYED.iter().map(|(name, _)| name.trim_end_matches('('));
        let samples = SECRET_SAMPLES
            .iter()
            .chain(NAMING)
            .map(|name| name.trim_end_matches('('));
        let names = keyed.chain(samples).chain(FUNCTIONS.iter().copied());
        let is_candidate = name.len() > 2
            && name.len() <= WORD_BYTES_MAX
            && !is_known_word(vocabulary, &name.to_ascii_lowercase());
        let near = is_candidate
            .then(|| suggest::nearest(name, names))
            .flatten();
        is_changed |= near.is_some();
        right.push_str(&rest[..begin]);
        right.push_str(near.unwrap_or(name));
        right.push('(');
        rest = &rest[open + 1..];
    }
    right.push_str(rest);
    is_changed.then_some(right)
}
