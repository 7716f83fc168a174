//! Detects banned phrases: phrases that sound translated, each with the usual term, which users
//! search for. Messages, manual and docs contain none of them; the number in comments may only
//! decrease.

use super::scan;
use super::tree::{TextFile, Tree};
use super::{Finding, Wrong};
use std::collections::BTreeMap;
use std::ops::Range;

/// Banned phrases in lower case, each with its replacement.
const PHRASES: &[(&str, &str)] = &[
    ("file of authorities", "CA file"),
    ("files of authorities", "CA files"),
    ("list of certificates", "crt-list"),
    ("lists of certificates", "crt-lists"),
    ("server of names", "nameserver"),
    ("servers of names", "nameservers"),
    ("name of a host", "host name"),
    ("names of hosts", "host names"),
    ("votes no more", "is no longer a voter"),
    ("member no more", "no longer a member"),
    ("is not done", "is not supported"),
    ("are not done", "are not supported"),
    ("is not spoken", "is not supported"),
    ("not spoken any more", "not supported"),
    ("not built yet", "not supported"),
    ("limits of time", "timeouts"),
    ("time limits", "timeouts"),
    ("leads on", "remains leader"),
    ("who leads", "the leader"),
    ("begin anew", "restart"),
    ("begins anew", "restarts"),
    ("begun anew", "restarted"),
    ("starts anew", "restarts"),
    ("taken back", "rolled back"),
    ("takes back", "rolls back"),
    ("gone back from", "rolled back"),
    ("serves on", "continues to serve"),
    ("today's form", "the current form"),
    ("on its way", "in progress"),
    ("on trial", "candidate"),
    ("take the files in", "reload"),
    ("takes the files in", "reloads"),
    ("taking the files in", "reloading"),
    ("took the files in", "reloaded"),
    ("passed over", "ignored"),
    ("passes over", "ignores"),
    ("counts for more", "takes precedence"),
    ("no mistakes", "valid"),
    ("is told of", "is reported"),
    ("are told of", "are reported"),
    ("tells of", "reports"),
    ("nobody reads", "unread"),
    ("is believed", "is trusted"),
    ("are believed", "are trusted"),
    ("and its kin", "and similar ones"),
    ("and their kin", "and similar ones"),
    ("at its word", "at its line"),
    ("nothing of it can be said", "it cannot be verified"),
    ("whoever", "the subject by its name"),
    ("whomever", "the subject by its name"),
    ("(os error", "language::reason"),
];

/// Text that quotes the phrases, or names something else by the same words.
const EXCEPTIONS: &[&str] = &["xtask/src/tidy/phrases.rs", "crates/language/src/lib.rs"];

/// Number of phrases that remain in the comments of a crate (or in a page). Lower the number when
/// you rewrite some; a number that is much too high is a finding, too.
const LEFT: &[(&str, usize)] = &[];

/// Permitted excess of a limit, so that changes that are merged together do not collide.
const SLACK: usize = 25;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut comments: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for file in tree.files.iter().filter(|file| is_checked(&file.path)) {
        for (range, is_comment) in pieces(file) {
            let findings = phrases(file, range);
            if is_comment {
                comments
                    .entry(area(&file.path))
                    .or_default()
                    .extend(findings)
            } else {
                found.extend(findings)
            }
        }
    }
    for (area, findings) in comments {
        let left = LEFT.iter().find(|(name, _)| *name == area);
        let left = left.map_or(0, |(_, count)| *count);
        let count = findings.len();
        if count > left || count + SLACK < left {
            let (file, line) = ("xtask/src/tidy/phrases.rs".to_owned(), 1);
            found.push(Finding {
                file,
                line,
                wrong: Wrong::PhrasesLeft { area, count, left },
            });
        }
        if count > left {
            found.extend(findings);
        }
    }
    found
}

/// Returns whether a file is checked: users read messages and docs, and tests may quote both.
fn is_checked(path: &str) -> bool {
    let is_text = path.ends_with(".rs") || path.ends_with(".md");
    let is_test =
        path.contains("tests/") || path.ends_with("tests.rs") || path.contains("simulation");
    is_text && !is_test && !EXCEPTIONS.contains(&path)
}

/// Returns the crate of a file, or the first component of its path.
fn area(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("crates"), Some(krate)) => krate.to_owned(),
        (Some(first), _) => first.to_owned(),
        (None, _) => String::new(),
    }
}

/// Returns the literals and comments of a file, or the whole page, each with whether only
/// developers read it.
fn pieces(file: &TextFile) -> Vec<(Range<usize>, bool)> {
    let Some(code) = &file.code else {
        return vec![(0..file.text.len(), file.path == "ARCHITECTURE.md")];
    };
    let end = code.find("mod tests {").unwrap_or(code.len());
    let mut pieces: Vec<(Range<usize>, bool)> = Vec::new();
    for range in scan::literals(&file.text) {
        if range.start >= end {
            break;
        }
        let is_comment = file.text[range.clone()].starts_with('/');
        // Joins the lines of a comment to one text.
        match pieces.last_mut() {
            Some((last, true))
                if is_comment && file.text[last.end..range.start].trim().is_empty() =>
            {
                last.end = range.end;
            }
            _ => pieces.push((range, is_comment)),
        }
    }
    pieces
}

fn phrases(file: &TextFile, range: Range<usize>) -> Vec<Finding> {
    let (plain, places) = plain(&file.text, range);
    let is_word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        for (at, _) in plain.match_indices(phrase) {
            let bytes = plain.as_bytes();
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            if !is_word(before) && !is_word(bytes.get(at + phrase.len())) {
                found.push(Finding {
                    file: file.path.clone(),
                    line: file.line_of(places[at]),
                    wrong: Wrong::Phrase { phrase, instead },
                });
            }
        }
    }
    found
}

/// Returns the text in lower case with one space between words, and the origin of each byte. Line
/// ends, the backslashes before them in literals and comment markers become spaces.
fn plain(text: &str, range: Range<usize>) -> (String, Vec<usize>) {
    let (mut plain, mut places) = (String::new(), Vec::new());
    let bytes = &text.as_bytes()[range.clone()];
    for (at, byte) in bytes.iter().enumerate() {
        let continues = *byte == b'\\' && bytes.get(at + 1) == Some(&b'\n');
        let byte = match byte {
            b' ' | b'\t' | b'\n' | b'/' | b'!' => b' ',
            _ if continues => b' ',
            byte if byte.is_ascii() => byte.to_ascii_lowercase(),
            _ => b'?',
        };
        if byte != b' ' || !plain.ends_with(' ') {
            plain.push(byte as char);
            places.push(range.start + at);
        }
    }
    (plain, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let tree = Tree::of(&[(path, text)]);
        let found = check(&tree).into_iter();
        let found = found.filter_map(|finding| match finding.wrong {
            Wrong::Phrase { instead, .. } => Some((finding.line, instead)),
            _ => None,
        });
        found.collect()
    }

    #[test]
    fn a_banned_phrase_is_found_in_messages_comments_and_pages_over_line_ends() {
        let message = "fn a() {\n    f(\"nobody: the Names \\\n       of hosts\");\n}\n";
        assert_eq!(found("crates/none/src/a.rs", message), [(2, "host names")]);
        let comment = "/// Of the servers of\n/// names that it has.\nfn a() {}\n";
        assert_eq!(found("crates/none/src/a.rs", comment), [(1, "nameservers")]);
        assert_eq!(found("docs/a.md", "a\nb on its way"), [(2, "in progress")]);
    }

    #[test]
    fn tests_code_and_parts_of_words_are_not() {
        for (path, text) in [
            ("crates/none/tests/a.rs", "fn a() { f(\"whoever\"); }"),
            (
                "crates/none/src/a.rs",
                "fn a() {}\nmod tests {\n    // whoever\n}\n",
            ),
            ("crates/none/src/a.rs", "fn whoever() { \"whoeverelse\" }"),
            ("crates/none/src/a.sh", "whoever"),
        ] {
            assert_eq!(found(path, text), [], "{path}");
        }
    }
}
