//! Removes secrets from texts about a configuration version: a loader's report may quote lines of
//! its files, and values from them.

use super::mask::{Mask, has_words};
use crate::file_set::{FileSet, SetFile};
use language::difference::{COVER, secrets};

/// Shortest secret that is removed: shorter ones cannot be distinguished from other
/// words.
const BYTES_MIN: usize = 3;
const SECRETS_MAX: usize = 4_096;

/// The secrets of a version, the longest first.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redaction(Vec<String>);

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redaction({})", self.0.len())
    }
}

impl Redaction {
    pub fn of(set: &FileSet, mask: &Mask<'_>) -> Redaction {
        Redaction::of_files(&set.files, mask)
    }

    pub fn of_files(files: &[SetFile], mask: &Mask<'_>) -> Redaction {
        let of_files = mask.of(files);
        let texts = files.iter();
        let texts = texts.filter(|file| has_words(file) && !of_files.is_secret(file));
        let all = texts.flat_map(|file| secrets(&file.bytes, of_files.vocabulary()));
        let entries = files
            .iter()
            .flat_map(|file| of_files.secret_lines(file))
            .take(SECRETS_MAX);
        let entries = entries.flat_map(|line| {
            let line = String::from_utf8_lossy(line);
            let words = line.split_whitespace().map(str::to_owned);
            words.chain([line.trim().to_owned()]).collect::<Vec<_>>()
        });
        let all = all.chain(entries).filter(|one| one.len() >= BYTES_MIN);
        let mut all = Redaction::sorted(all.collect());
        all.0.truncate(SECRETS_MAX);
        all
    }

    pub fn all<'r>(some: impl Iterator<Item = &'r Redaction>) -> Redaction {
        Redaction::sorted(some.flat_map(|one| one.0.iter().cloned()).collect())
    }

    /// Sorts the longest first: one secret may be within another.
    fn sorted(mut all: Vec<String>) -> Redaction {
        all.sort_unstable_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
        all.dedup();
        Redaction(all)
    }

    pub fn apply(&self, text: &str) -> String {
        let found = self
            .0
            .iter()
            .filter(|secret| text.contains(secret.as_str()));
        let found: Vec<&String> = found.collect();
        found
            .into_iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, COVER))
    }
}

/// Returns a loader's report without the lines of the files that it quotes.
pub fn without_source(text: &str) -> String {
    let quotes = |line: &str| {
        let rest = line
            .trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        rest.trim_start().starts_with('|')
    };
    let lines: Vec<&str> = text.lines().filter(|line| !quotes(line)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::difference::Vocabulary;

    #[test]
    fn secrets_of_a_version_are_masked_everywhere() {
        let vocabulary = Vocabulary {
            secrets: vec!["password"],
            ..Vocabulary::default()
        };
        let mask = Mask {
            vocabulary: &vocabulary,
            certificate: |_| None,
        };
        let file = SetFile {
            path: "/a.cfg".to_owned(),
            main: true,
            secret: false,
            mode: 0o600,
            bytes: b"  user a password SECRET\n  user b password \"SECRET two\"\n  x http://u:PASS@h/\n".to_vec(),
        };
        let set = FileSet {
            files: vec![file],
            ..FileSet::default()
        };
        let redaction = Redaction::of(&set, &mask);
        let text = "it is 'SECRET', 'SECRET two', PASS and http://u:PASS@h/, not another";
        let covered = redaction.apply(text);
        assert!(
            !covered.contains("SECRET") && !covered.contains("PASS"),
            "{covered}"
        );
        assert!(covered.contains("not another"), "{covered}");
        assert!(!format!("{redaction:?}").contains("SECRET"));
    }

    #[test]
    fn quoted_lines_are_removed_and_positions_stay() {
        let text = "error[E0103]: unknown keyword 'x'\n  --> /a.cfg:12:5\n   |\n12 |     user a password SECRET\n   |     \
                    ^ not known\n   = help: did you mean 'y'?\n";
        let expected =
            "error[E0103]: unknown keyword 'x'\n  --> /a.cfg:12:5\n   = help: did you mean 'y'?";
        assert_eq!(without_source(text), expected);
    }
}
