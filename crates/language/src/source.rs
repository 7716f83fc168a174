//! Holds source files, and converts positions in them to lines and columns. A [`Span`] is eight
//! bytes and a file ID, and stays valid as long as its [`SourceMap`].

use std::any::Any;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// The shared bytes of a file.
pub type Text = Arc<Vec<u8>>;

/// A file of a [`SourceMap`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FileId(pub u32);

/// Bytes `start..end` of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    /// End of the span, one past the last byte.
    pub end: u32,
}

impl Span {
    /// Returns the smallest span that contains both (within one file; otherwise `self`).
    pub fn to(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span {
            file: self.file,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// A file as it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// The name as given by the user.
    pub name: String,
    pub text: Text,
    /// True if all lines of the file are secrets, such as those of a list of passwords.
    pub is_secret: bool,
    line_starts: Vec<u32>,
}

impl SourceFile {
    /// Returns the offset of the first byte of each line.
    pub fn line_starts(&self) -> &[u32] {
        &self.line_starts
    }

    /// Returns the start and end of the line with this index (from 0), without its line feed, and
    /// whether it has one. A file that ends with a line feed has no further line after it.
    pub fn line(&self, index: usize) -> Option<(usize, usize, bool)> {
        let start = *self.line_starts.get(index)? as usize;
        match self.line_starts.get(index + 1) {
            Some(next) => Some((start, *next as usize - 1, true)),
            None if start < self.text.len() => Some((start, self.text.len(), false)),
            None => None,
        }
    }
}

/// All files of one configuration, in the order in which they were read.
#[derive(Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
    /// Cached result of [`SourceMap::vocabulary`]; a new file clears it. Untyped, because the module
    /// of the vocabulary imports this one.
    pub(crate) vocabulary: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// A position for display: both numbers start at 1, and the column is in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl SourceMap {
    /// Adds a file. The caller must refuse files over 4 GiB.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Text>) -> FileId {
        self.add_file(name.into(), text.into(), false)
    }

    /// Adds a file of which no line may be displayed.
    pub fn add_secret(&mut self, name: impl Into<String>, text: impl Into<Text>) -> FileId {
        self.add_file(name.into(), text.into(), true)
    }

    fn add_file(&mut self, name: String, text: Text, is_secret: bool) -> FileId {
        let line_starts = std::iter::once(0)
            .chain(
                text.iter()
                    .enumerate()
                    .filter(|(_, b)| **b == b'\n')
                    .map(|(i, _)| i as u32 + 1),
            )
            .collect();
        self.vocabulary = OnceLock::new();
        self.files.push(SourceFile {
            name,
            text,
            is_secret,
            line_starts,
        });
        FileId(self.files.len() as u32 - 1)
    }

    /// Returns the file of an ID that this map issued.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files
            .iter()
            .enumerate()
            .map(|(i, f)| (FileId(i as u32), f))
    }

    pub fn position(&self, span: Span) -> Position {
        let starts = &self.file(span.file).line_starts;
        let line = starts.partition_point(|s| *s <= span.start).max(1);
        Position {
            line: line as u32,
            column: span.start - starts[line - 1] + 1,
        }
    }

    /// Returns the bytes of a span as text for display.
    pub fn snippet(&self, span: Span) -> Cow<'_, str> {
        let text = &self.file(span.file).text;
        let end = (span.end as usize).min(text.len());
        String::from_utf8_lossy(&text[(span.start as usize).min(end)..end])
    }

    /// Returns the whole line (without its line feed) in which a span begins.
    pub fn line_text(&self, span: Span) -> &[u8] {
        let file = self.file(span.file);
        let line = file
            .line_starts
            .partition_point(|s| *s <= span.start)
            .max(1)
            - 1;
        let start = file.line_starts[line] as usize;
        let end = file
            .line_starts
            .get(line + 1)
            .map_or(file.text.len(), |e| *e as usize - 1);
        &file.text[start..end.max(start)]
    }
}
