//! Determines the bytes and positions at which a match can start.

use super::set::BYTE_MAX;
use super::tree::{Assertion, PatternNode, Verb};

pub(super) fn is_anchored(node: &PatternNode) -> bool {
    match node {
        PatternNode::Assert(assertion) => matches!(
            assertion,
            Assertion::SubjectStart | Assertion::LineOrSubjectStart | Assertion::SearchStart
        ),
        PatternNode::Group(_, node) | PatternNode::Atomic(node) => is_anchored(node),
        PatternNode::Concat(list) => list.first().is_some_and(is_anchored),
        PatternNode::Alternate(list) => list.iter().all(is_anchored),
        _ => false,
    }
}

pub(super) struct StartBytes {
    bytes: [bool; 256],
    utf: bool,
    /// A verb came first: PCRE2 then finds only a single character as a start.
    verb: bool,
    known: bool,
}

impl StartBytes {
    /// Returns the start bytes of a whole pattern; `None` when a match can start with any byte or
    /// with none.
    pub(super) fn of(root: &PatternNode, utf: bool) -> Option<Box<[bool; 256]>> {
        let mut starts = StartBytes {
            bytes: [false; 256],
            utf,
            verb: false,
            known: true,
        };
        let any = starts.add(root, &mut 1_000) || !starts.is_complete();
        (!any).then(|| Box::new(starts.bytes))
    }

    /// Adds the start bytes of a node; returns whether the node can be empty, so that the following
    /// nodes also count.
    fn add(&mut self, node: &PatternNode, steps: &mut u32) -> bool {
        *steps = steps.saturating_sub(1);
        if *steps == 0 {
            self.known = false;
            return true;
        }
        match node {
            PatternNode::Char(char) => {
                self.range(*char, *char);
                false
            }
            PatternNode::Set(set) => {
                for (first, last) in set.ranges() {
                    self.range(*first, *last);
                }
                false
            }
            PatternNode::Group(_, node) | PatternNode::Atomic(node) => self.add(node, steps),
            PatternNode::Concat(list) => list.iter().all(|node| self.add(node, steps)),
            PatternNode::Alternate(list) => {
                let mut empty = false;
                for node in list {
                    empty |= self.add(node, steps);
                }
                empty
            }
            PatternNode::Repeat(repeat) => match repeat.max {
                Some(0) => true,
                _ => self.add(&repeat.node, steps) || repeat.min == 0,
            },
            PatternNode::Empty
            | PatternNode::Assert(_)
            | PatternNode::KeepOut
            | PatternNode::Look(_) => true,
            PatternNode::Verb(Verb::Accept) => {
                self.known = false;
                true
            }
            PatternNode::Verb(_) => {
                self.verb = true;
                true
            }
            PatternNode::AnyByte
            | PatternNode::BackReference { .. }
            | PatternNode::Call(_)
            | PatternNode::Conditional(_) => {
                self.known = false;
                false
            }
        }
    }

    /// Returns whether the start bytes are complete and PCRE2 would find them: after a verb, PCRE2
    /// finds only a single character.
    fn is_complete(&self) -> bool {
        let mut bytes = (0u8..=255).filter(|byte| self.bytes[usize::from(*byte)]);
        let first = bytes.next().unwrap_or(0);
        self.known && (!self.verb || bytes.all(|byte| byte.eq_ignore_ascii_case(&first)))
    }

    fn range(&mut self, first: u32, last: u32) {
        let ascii = if self.utf { 0x7f } else { BYTE_MAX };
        for char in first..=last.min(ascii) {
            self.bytes[char as usize] = true;
        }
        if last > ascii {
            self.bytes[0xc0..].fill(true);
        }
    }
}
