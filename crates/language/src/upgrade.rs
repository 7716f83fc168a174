//! Implements `evenkeel upgrade`, which rewrites a configuration file with the replacements that
//! its diagnostics suggest. This module knows no keyword: the diagnostic contains the current
//! form of a deprecated one. Comments, indentation and the order of unaffected lines stay. A line
//! without an exact current form gets a comment above it that describes what to do.

mod diff;

pub use diff::unified;

use crate::diagnostic::{Diagnostic, Fix};
use crate::source::{FileId, SourceMap, Span};

/// The start of a comment above a line that was not upgraded.
pub const MARK: &str = "# evenkeel upgrade: ";

/// A file after one round of replacements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgraded {
    pub text: Vec<u8>,
    /// Number of diagnostics whose replacements were applied.
    pub rewritten: usize,
    /// Number of diagnostics without a replacement.
    pub left: usize,
}

/// A change of the text.
struct Edit {
    start: usize,
    end: usize,
    text: Vec<u8>,
}

/// Applies the replacements of these diagnostics to a file of the map. A replacement that overlaps
/// with an earlier one waits for another round, after the text was read again. A diagnostic of this
/// file without a replacement marks its line.
pub fn upgrade<'d>(
    sources: &SourceMap,
    file: FileId,
    diagnostics: impl Iterator<Item = &'d Diagnostic>,
) -> Upgraded {
    let page = UpgradeText {
        text: &sources.file(file).text,
    };
    let mut edits: Vec<Edit> = Vec::new();
    let (mut rewritten, mut left) = (0, 0);
    for diagnostic in diagnostics {
        let Some(fix) = &diagnostic.fix else {
            let Some(span) = diagnostic.primary.filter(|span| span.file == file) else {
                continue;
            };
            left += 1;
            edits.extend(page.mark(span, diagnostic));
            continue;
        };
        let all = || std::iter::once(fix).chain(&diagnostic.further_fixes);
        if all().any(|fix| fix.span.file != file) {
            continue;
        }
        let new: Vec<Edit> = all().map(|fix| page.edit(fix)).collect();
        let overlaps = |new: &Edit| {
            edits
                .iter()
                .any(|old| new.start < old.end && old.start < new.end)
        };
        if new.iter().any(overlaps) {
            continue;
        }
        rewritten += 1;
        edits.extend(new);
    }
    // Sorts by position only, so that insertions at one position stay in the order of their
    // diagnostics.
    edits.sort_by_key(|edit| edit.start);
    let mut text = Vec::with_capacity(page.text.len() + 1024);
    let mut copied = 0;
    for edit in edits {
        text.extend_from_slice(page.text.get(copied..edit.start).unwrap_or_default());
        text.extend_from_slice(&edit.text);
        copied = copied.max(edit.end);
    }
    text.extend_from_slice(page.text.get(copied..).unwrap_or_default());
    Upgraded {
        text,
        rewritten,
        left,
    }
}

struct UpgradeText<'t> {
    text: &'t [u8],
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl UpgradeText<'_> {
    fn line_start(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |n| n + 1)
    }

    /// Returns the end of the line, before its line feed.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let end = at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        match self.text.get(at..end) {
            Some(line) if line.ends_with(b"\r") => end - 1,
            _ => end,
        }
    }

    /// Returns the line feed of the line of a byte; new lines next to it get the same one.
    fn line_feed(&self, at: usize) -> &'static [u8] {
        match self.text.get(self.line_end(at)) {
            Some(b'\r') => b"\r\n",
            _ => b"\n",
        }
    }

    fn indentation(&self, start: usize) -> &[u8] {
        let line = self.text.get(start..).unwrap_or_default();
        let length = line.iter().take_while(|b| is_blank(**b)).count();
        &line[..length]
    }

    /// Returns the indentation of lines inserted after this one: for a section's first line, that
    /// of the next line.
    fn indentation_behind(&self, at: usize) -> Vec<u8> {
        let own = self.indentation(self.line_start(at));
        let mut next = self.line_end(at);
        while let Some(feed) = self
            .text
            .get(next..)
            .and_then(|rest| rest.iter().position(|b| *b == b'\n'))
        {
            next += feed + 1;
            let blanks = self.indentation(next);
            let first = self.text.get(next + blanks.len());
            if !matches!(first, None | Some(b'\n' | b'\r' | b'#')) {
                return own.max(blanks).to_vec();
            }
        }
        own.to_vec()
    }

    fn edit(&self, fix: &Fix) -> Edit {
        let len = self.text.len();
        let (start, end) = (
            (fix.span.start as usize).min(len),
            (fix.span.end as usize).min(len),
        );
        let feed = self.line_feed(start);
        let lines = |text: &str, indentation: &[u8]| -> Vec<u8> {
            let joint = [feed, indentation].concat();
            text.split('\n')
                .map(str::as_bytes)
                .collect::<Vec<_>>()
                .join(&joint[..])
        };
        if start == end && fix.replacement.starts_with('\n') {
            // Inserts a new line after the current one and its comment.
            let at = self.line_end(start);
            return Edit {
                start: at,
                end: at,
                text: lines(&fix.replacement, &self.indentation_behind(at)),
            };
        }
        let line = self.line_start(start);
        let own = self.indentation(line);
        let whole = start == line + own.len();
        if fix.replacement.is_empty() && whole && end > start {
            return self.removal(line, start, end);
        }
        Edit {
            start,
            end,
            text: lines(&fix.replacement, own),
        }
    }

    /// Removes the words of a line, and the line itself unless a comment follows.
    fn removal(&self, line: usize, start: usize, end: usize) -> Edit {
        let line_end = self.line_end(end);
        let rest = self.text.get(end..line_end).unwrap_or_default();
        let blanks = rest.iter().take_while(|b| is_blank(**b)).count();
        let (start, end) = if blanks == rest.len() {
            (
                line,
                (line_end + self.line_feed(line_end).len()).min(self.text.len()),
            )
        } else {
            (start, end + blanks)
        };
        Edit {
            start,
            end,
            text: Vec::new(),
        }
    }

    /// Adds a comment above the line of a span, unless there is one.
    fn mark(&self, span: Span, diagnostic: &Diagnostic) -> Option<Edit> {
        let start = self.line_start((span.start as usize).min(self.text.len()));
        let above = self
            .text
            .get(self.line_start(start.saturating_sub(1))..start);
        let marked = above
            .unwrap_or_default()
            .trim_ascii_start()
            .starts_with(MARK.as_bytes());
        if marked && start > 0 {
            return None;
        }
        let what = diagnostic.help.as_deref().unwrap_or(&diagnostic.message);
        let mut text = self.indentation(start).to_vec();
        text.extend_from_slice(MARK.as_bytes());
        text.extend_from_slice(what.replace(['\n', '\r'], " ").as_bytes());
        text.extend_from_slice(self.line_feed(start));
        Some(Edit {
            start,
            end: start,
            text,
        })
    }
}

#[cfg(test)]
mod tests;
