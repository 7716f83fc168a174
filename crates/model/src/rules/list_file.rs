//! Reads files of patterns (`-f`) and of maps line by line when a configuration is loaded, without
//! interpreting the lines. Also collects the patterns of one test from words and files, with their
//! positions for diagnostics.

use super::codes;
use super::live::PatternPair;
use crate::codes as load_codes;
use crate::rules::draft::{ConfigDraft, DefaultPath};
pub use crate::sample::plain::{Entry, PatternOrigin};
use configuration::outside::{NAMED_FILE_BYTES_MAX, Unreadable};
use language::source::Text;
use language::{ConfigWord, Diagnostic, Span};
use std::path::PathBuf;
use std::sync::Arc;

/// File of patterns, as read.
#[derive(Clone, Debug)]
pub struct ListFile {
    pub name: Arc<str>,
    text: Text,
    entries: Vec<Entry>,
}

impl ListFile {
    /// Returns the significant lines, without leading blanks and line ends.
    pub fn lines(&self) -> impl Iterator<Item = (Entry, &[u8])> {
        self.entries
            .iter()
            .map(|entry| (*entry, &self.text[entry.start as usize..entry.end as usize]))
    }

    /// Returns the lines as keys and values of a map: a word, blanks, the rest. The value of a line
    /// with one word is empty.
    pub fn pairs(&self) -> impl Iterator<Item = (Entry, &[u8], &[u8])> {
        self.lines().map(|(entry, line)| {
            let key = line.iter().position(|b| is_blank(*b)).unwrap_or(line.len());
            (entry, &line[..key], line[key..].trim_ascii())
        })
    }

    /// Reports an invalid line: at the line, and where the configuration names the file.
    pub fn wrong(
        self,
        loader: &mut ConfigDraft,
        entry: Entry,
        named_at: Span,
        mut diagnostic: Diagnostic,
    ) {
        let secret = loader
            .shared
            .secret
            .get_or_insert_with(|| loader.context.sources.vocabulary().uses.clone());
        let name = self.name.to_string();
        let file = if secret.contains(&name) {
            loader.context.sources.add_secret(name, self.text)
        } else {
            loader.context.sources.add(name, self.text)
        };
        diagnostic.primary = Some(Span {
            file,
            start: entry.start,
            end: entry.end,
        });
        loader.report(diagnostic.with_label(named_at, "the file is named here"));
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Finds the significant lines of a text.
fn entries(text: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    for line in text.split(|b| *b == b'\n') {
        let blanks = line.iter().take_while(|b| is_blank(**b)).count();
        let start = at + blanks;
        let mut end = at + line.len();
        while end > start && text[end - 1] == b'\r' {
            end -= 1;
        }
        if end > start && text[start] != b'#' {
            entries.push(Entry {
                start: start as u32,
                end: end as u32,
            });
        }
        at += line.len() + 1;
    }
    entries
}

impl ConfigDraft {
    pub(super) fn path_of(&self, name: &str, span: Span) -> PathBuf {
        let base = match &self.base {
            DefaultPath::Current => PathBuf::new(),
            DefaultPath::Origin(directory) => directory.clone(),
            DefaultPath::Config | DefaultPath::Parent => {
                let file = self
                    .context
                    .sources
                    .files()
                    .nth(span.file.0 as usize)
                    .map(|(_, f)| f.name.as_str());
                let mut directory = PathBuf::from(file.unwrap_or(""));
                directory.pop();
                if self.base == DefaultPath::Parent {
                    directory.push("..");
                }
                directory
            }
        };
        // Returns an absolute name unchanged: it replaces the base.
        base.join(name)
    }

    pub(super) fn read_list(&mut self, name: &str, span: Span) -> Result<ListFile, Diagnostic> {
        let path = self.path_of(name, span);
        let unreadable = |reason: String| {
            Diagnostic::error(
                &load_codes::UNREADABLE,
                span,
                format!("failed to open pattern file '{name}'"),
            )
            .label(reason)
        };
        let read = self.context.outside.read(&path, NAMED_FILE_BYTES_MAX);
        let text = read.map_err(|error| match error {
            Unreadable::TooLarge(max) => unreadable(format!("it is larger than {} MiB", max >> 20)),
            error => unreadable(std::io::Error::from(error).to_string()),
        })?;
        let entries = entries(&text);
        Ok(ListFile {
            name: name.into(),
            text,
            entries,
        })
    }
}

/// Patterns of one test, from words and files.
#[derive(Debug, Default)]
pub struct Collected {
    pub patterns: Vec<(Box<[u8]>, PatternOrigin)>,
    files: Vec<(ListFile, Span)>,
}

impl Collected {
    pub(super) fn file_names(&self) -> impl Iterator<Item = Arc<str>> {
        self.files.iter().map(|(file, _)| Arc::clone(&file.name))
    }

    pub(super) fn texts(
        &self,
        of: impl Fn(&PatternOrigin) -> bool,
    ) -> impl Iterator<Item = PatternPair> {
        let there = self.patterns.iter().filter(move |(_, place)| of(place));
        there.map(|(text, _)| (text.clone(), None))
    }

    pub fn word(&mut self, word: &ConfigWord) {
        self.patterns
            .push((word.bytes.as_slice().into(), PatternOrigin::Word(word.span)));
    }

    /// Adds the lines of a file; of a map, only the keys.
    pub fn file(&mut self, file: ListFile, named_at: Span, map: bool) {
        let n = self.files.len();
        if map {
            let keys = file
                .pairs()
                .map(|(entry, key, _)| (key.into(), PatternOrigin::Line(n, entry)));
            self.patterns.extend(keys);
        } else {
            let lines = file
                .lines()
                .map(|(entry, line)| (line.into(), PatternOrigin::Line(n, entry)));
            self.patterns.extend(lines);
        }
        self.files.push((file, named_at));
    }

    /// Returns the pattern's position in the configuration. For a pattern in a file, this is where
    /// the file is named.
    pub fn span_of(&self, place: &PatternOrigin) -> Span {
        match place {
            PatternOrigin::Word(span) => *span,
            PatternOrigin::Line(n, _) => self.files.get(*n).map_or_else(Span::default, |one| one.1),
        }
    }

    /// Reports an invalid pattern, with the diagnostic that `diagnose` creates. A pattern in a file
    /// is reported at its line there.
    pub fn wrong(
        mut self,
        loader: &mut ConfigDraft,
        place: PatternOrigin,
        diagnose: impl FnOnce(Span) -> Diagnostic,
    ) -> Diagnostic {
        match place {
            PatternOrigin::Word(span) => diagnose(span),
            PatternOrigin::Line(n, entry) => {
                let (file, named_at) = self.files.swap_remove(n);
                let name = file.name.clone();
                let diagnostic = diagnose(named_at);
                file.wrong(loader, entry, named_at, diagnostic);
                Diagnostic::error(
                    &codes::BAD_PATTERN,
                    named_at,
                    format!("pattern file '{name}' cannot be used"),
                )
                .label("it has an invalid line")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> ListFile {
        ListFile {
            name: "list".into(),
            text: Text::new(text.into()),
            entries: entries(text.as_bytes()),
        }
    }

    #[test]
    fn empty_lines_and_comments_do_not_count() {
        let file = list("a\n\n  # no\n\t b c \r\n#no\n/x#y");
        let lines: Vec<&[u8]> = file.lines().map(|(_, line)| line).collect();
        assert_eq!(lines, [&b"a"[..], b"b c ", b"/x#y"]);
    }

    #[test]
    fn a_line_of_a_map_is_a_word_and_the_rest() {
        let file = list("a.example  web 1 \nb.example\n");
        let pairs: Vec<_> = file.pairs().map(|(_, key, value)| (key, value)).collect();
        assert_eq!(
            pairs,
            [(&b"a.example"[..], &b"web 1"[..]), (b"b.example", b"")]
        );
    }
}
