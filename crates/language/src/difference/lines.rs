//! Splits configuration texts into sections and their lines, as written, for the comparison of
//! two texts.

use super::{TextDifference, Vocabulary};
use crate::Outline;
use crate::reader::{BYTE_ORDER_MARK, NESTED_MAX, written_words};
use std::collections::HashMap;

/// A section with its lines.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub kind: Vec<u8>,
    pub name: Vec<u8>,
    /// All lines of the section, including its first line. Lines before the first section of a file
    /// form a section without `kind` and first line.
    pub lines: Vec<DiffLine>,
}

impl Section {
    pub fn body(&self) -> &[DiffLine] {
        let head = usize::from(!self.kind.is_empty());
        self.lines.get(head..).unwrap_or_default()
    }
}

/// A line with at least one word.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct DiffLine {
    pub words: Vec<Vec<u8>>,
    pub conditions: Vec<u8>,
}

impl DiffLine {
    pub fn first(&self) -> &[u8] {
        self.words.first().map_or(b"", |word| word)
    }
}

pub(super) fn read(files: &[(String, Vec<u8>)], vocabulary: &Vocabulary<'_>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (_, text) in files {
        // Begins each file outside of any section.
        let mut current: Option<usize> = None;
        let mut outline = Outline::new(
            vocabulary.sections.iter().copied(),
            vocabulary.shared.iter().copied(),
        );
        let mut conditions = Conditions::default();
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for line in text.split(|b| *b == b'\n') {
            let words = written_words(line);
            let Some(first) = words.first() else {
                continue;
            };
            let indented = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
            let first = std::str::from_utf8(first).unwrap_or_default();
            let begins = outline.begins_section(first, indented);
            let under = conditions.line(&words);
            if begins || current.is_none() {
                let word = |n: usize| words.get(n).filter(|_| begins).cloned();
                sections.push(Section {
                    kind: word(0).unwrap_or_default(),
                    name: word(1).unwrap_or_default(),
                    lines: Vec::new(),
                });
                current = Some(sections.len() - 1);
            }
            if let Some(section) = current.and_then(|at| sections.get_mut(at)) {
                section.lines.push(DiffLine {
                    words,
                    conditions: under,
                });
            }
        }
    }
    sections
}

#[derive(Default)]
struct Conditions {
    open: Vec<Vec<u8>>,
    /// Number of blocks beyond [`NESTED_MAX`].
    beyond: usize,
}

impl Conditions {
    fn line(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let text = || words.join(&b' ');
        let first = words.first().map_or(&b""[..], |word| word);
        match first {
            b".if" => {
                let under = self.under();
                if self.open.len() < NESTED_MAX {
                    self.open.push(text());
                } else {
                    self.beyond += 1;
                }
                return under;
            }
            b".endif" if self.beyond > 0 => self.beyond -= 1,
            b".endif" => {
                self.open.pop();
            }
            b".elif" | b".else" if self.beyond == 0 => {
                if let Some(block) = self.open.last_mut() {
                    let under = std::mem::replace(block, text());
                    block.extend_from_slice(b" of ");
                    block.extend_from_slice(&under);
                    block.truncate(CONDITION_BYTES_MAX);
                }
            }
            _ => {}
        }
        self.under()
    }

    fn under(&self) -> Vec<u8> {
        let mut under = self.open.join(&b", "[..]);
        under.truncate(CONDITION_BYTES_MAX);
        under
    }
}

/// Maximum bytes of conditions that distinguish lines.
const CONDITION_BYTES_MAX: usize = 4096;

pub(super) fn of_text(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

/// Compares two texts; returns `None` if they are equal.
pub(super) fn compare_texts(old: &[u8], new: &[u8]) -> Option<TextDifference> {
    if old == new {
        return None;
    }
    if old.contains(&0) || new.contains(&0) {
        return Some(TextDifference::Bytes);
    }
    let mut counts: HashMap<&[u8], i64> = HashMap::new();
    for line in of_text(new) {
        *counts.entry(line).or_default() += 1;
    }
    for line in of_text(old) {
        *counts.entry(line).or_default() -= 1;
    }
    let sum = |sign: i64| -> usize {
        let counts = counts.values().map(|n| (n * sign).max(0));
        usize::try_from(counts.sum::<i64>()).unwrap_or(0)
    };
    Some(match (sum(1), sum(-1)) {
        (0, 0) => TextDifference::Reordered,
        (added, removed) => TextDifference::Lines { added, removed },
    })
}
