//! Converts a tree to a pattern of the crate `regex`, if the tree is regular. Every character is
//! written as a number, so that none has a special meaning in `regex`.

use super::set::{BYTE_MAX, Set, scalar_ranges};
use super::tree::{Assertion, Greed, Newline, PatternNode, Tree};
use std::fmt::Write;

/// The error for a construct that `regex` cannot express.
struct NotRegular;

#[derive(Debug)]
pub struct RegexPattern {
    pub pattern: String,
    /// The pattern contains `$`, which `regex` matches only at the end of the subject, so a subject
    /// that ends with a newline needs the backtracking machine.
    pub has_line_end: bool,
    /// The pattern contains `^`, which `regex` matches only at the start of the subject, so a
    /// search in the middle of a line needs the backtracking machine.
    pub has_line_start: bool,
}

/// Returns the pattern; `None` when only the backtracking machine can match the tree.
pub fn linear(tree: &Tree) -> Option<RegexPattern> {
    if tree.newline != Newline::Lf || tree.not_empty || tree.not_empty_at_start {
        return None;
    }
    let mut emitter = Emitter {
        utf: tree.utf,
        ascii_words: tree.word.ranges().len() == 4,
        next_group: 1,
        out: RegexPattern {
            pattern: String::new(),
            has_line_end: false,
            has_line_start: false,
        },
    };
    emitter.node(&tree.root).ok()?;
    Some(emitter.out)
}

struct Emitter {
    utf: bool,
    ascii_words: bool,
    next_group: u32,
    out: RegexPattern,
}

impl Emitter {
    fn text(&mut self, text: &str) {
        self.out.pattern.push_str(text);
    }

    fn node(&mut self, node: &PatternNode) -> Result<(), NotRegular> {
        match node {
            PatternNode::Empty => self.text("(?:)"),
            PatternNode::Char(char) => self.char(*char),
            PatternNode::Set(set) => self.set(set),
            PatternNode::AnyByte if !self.utf => self.text("(?s-u:.)"),
            PatternNode::Assert(assertion) => self.assertion(*assertion)?,
            PatternNode::Group(number, node) => {
                // Groups of a branch reset have the same number, which `regex` cannot express.
                if *number != self.next_group {
                    return Err(NotRegular);
                }
                self.next_group += 1;
                self.text("(");
                self.node(node)?;
                self.text(")");
            }
            PatternNode::Concat(list) => {
                for node in list {
                    self.node(node)?;
                }
            }
            PatternNode::Alternate(list) => {
                self.text("(?:");
                for (n, node) in list.iter().enumerate() {
                    if n > 0 {
                        self.text("|");
                    }
                    self.node(node)?;
                }
                self.text(")");
            }
            PatternNode::Repeat(repeat) => {
                if repeat.greed == Greed::Possessive {
                    return Err(NotRegular);
                }
                // The engines differ in the contents of a group after an empty iteration.
                if repeat.max != Some(1) && can_be_empty(&repeat.node) {
                    return Err(NotRegular);
                }
                self.text("(?:");
                self.node(&repeat.node)?;
                self.text(")");
                match (repeat.min, repeat.max) {
                    (0, None) => self.text("*"),
                    (1, None) => self.text("+"),
                    (0, Some(1)) => self.text("?"),
                    (min, None) => self.text(&format!("{{{min},}}")),
                    (min, Some(max)) => self.text(&format!("{{{min},{max}}}")),
                }
                if repeat.greed == Greed::Lazy {
                    self.text("?");
                }
            }
            _ => return Err(NotRegular),
        }
        Ok(())
    }

    fn assertion(&mut self, assertion: Assertion) -> Result<(), NotRegular> {
        match assertion {
            Assertion::SubjectStart => self.text("\\A"),
            Assertion::LineOrSubjectStart => {
                self.out.has_line_start = true;
                self.text("\\A");
            }
            Assertion::SubjectEnd => self.text("\\z"),
            Assertion::FinalLineEnd => {
                self.out.has_line_end = true;
                self.text("\\z");
            }
            Assertion::LineEnd => self.text("(?m:$)"),
            Assertion::WordBoundary if self.ascii_words => self.text("(?-u:\\b)"),
            // In UTF-8 the `\B` of `regex` also matches in the middle of a character.
            Assertion::NotWordBoundary if self.ascii_words && !self.utf => {
                self.text("(?-u:\\B)");
            }
            _ => return Err(NotRegular),
        }
        Ok(())
    }

    fn char(&mut self, char: u32) {
        // Writing to a string never fails.
        let _ = if self.utf {
            write!(self.out.pattern, "\\x{{{char:x}}}")
        } else {
            write!(self.out.pattern, "\\x{char:02x}")
        };
    }

    fn set(&mut self, set: &Set) {
        let ranges: Vec<(u32, u32)> = if self.utf {
            scalar_ranges(set.ranges())
                .into_iter()
                .map(|(first, last)| (u32::from(first), u32::from(last)))
                .collect()
        } else {
            set.ranges().to_vec()
        };
        match ranges.as_slice() {
            // An empty set matches nothing.
            [] => self.text("[^\\s\\S]"),
            [(0, BYTE_MAX)] if !self.utf => self.text("(?s-u:.)"),
            _ => {
                self.text("[");
                for (first, last) in ranges {
                    self.char(first);
                    if last > first {
                        self.text("-");
                        self.char(last);
                    }
                }
                self.text("]");
            }
        }
    }
}

pub(super) fn can_be_empty(node: &PatternNode) -> bool {
    match node {
        PatternNode::Char(_) | PatternNode::Set(_) | PatternNode::AnyByte => false,
        PatternNode::Group(_, node) | PatternNode::Atomic(node) => can_be_empty(node),
        PatternNode::Concat(list) => list.iter().all(can_be_empty),
        PatternNode::Alternate(list) => list.iter().any(can_be_empty),
        PatternNode::Repeat(repeat) => repeat.min == 0 || can_be_empty(&repeat.node),
        PatternNode::Conditional(conditional) => {
            can_be_empty(&conditional.yes) || can_be_empty(&conditional.no)
        }
        PatternNode::Empty
        | PatternNode::Assert(_)
        | PatternNode::KeepOut
        | PatternNode::Look(_)
        | PatternNode::BackReference { .. }
        | PatternNode::Call(_)
        | PatternNode::Verb(_) => true,
    }
}
