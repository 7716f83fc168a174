//! Parses character classes in brackets.

use super::{Parsed, ParsedItem, Parser, digits, space, word};
use crate::set::Set;
use crate::tree::{Assertion, LookAround, PatternNode};

impl Parser<'_> {
    pub(super) fn class(&mut self) -> Parsed<PatternNode> {
        let opening = self.at;
        if posix_end(self.rest()).is_some()
            && matches!(self.rest().get(1), Some(b':' | b'.' | b'='))
        {
            return self.syntax_error("a named class belongs within another pair of brackets");
        }
        self.at += 1;
        // \E and \Q\E before the first character are ignored.
        while self.consume_text(b"\\E") || self.consume_text(b"\\Q\\E") {}
        let negated = self.consume_text(b"^");
        let (mut chars, sets) = self.members(opening)?;
        if self.options.ignore_case {
            chars = chars.folded(self.settings.utf || self.settings.ucp, self.max());
        }
        chars.add(&sets);
        if negated {
            chars = chars.negated(self.max());
        }
        Ok(match chars.ranges() {
            [(first, last)] if first == last => PatternNode::Char(*first),
            _ => PatternNode::Set(chars),
        })
    }

    /// Parses the contents of the brackets: characters, which are affected by case folding, and
    /// sets, which are not.
    pub(super) fn members(&mut self, opening: usize) -> Parsed<(Set, Set)> {
        let mut chars = Set::default();
        let mut sets = Set::default();
        let mut first = true;
        let mut quoting = false;
        // The start of a possible range.
        let mut before: Option<u32> = None;
        loop {
            if self.at >= self.pattern.len() {
                self.at = opening;
                return self.syntax_error("this bracket is not closed");
            }
            if quoting {
                if self.consume_text(b"\\E") {
                    quoting = false;
                    continue;
                }
            } else {
                if self.consume_text(b"\\Q") {
                    quoting = true;
                    continue;
                }
                if self.consume_text(b"\\E") {
                    continue;
                }
                if self.options.extended_more && matches!(self.peek(), Some(b' ' | b'\t')) {
                    self.at += 1;
                    continue;
                }
                if !first && self.consume_text(b"]") {
                    return Ok((chars, sets));
                }
                if let Some(set) = self.class_set()? {
                    first = false;
                    before = None;
                    sets.add(&set);
                    if self.dash_before_more() {
                        return self
                            .syntax_error("a range starts with a character, not with a class");
                    }
                    continue;
                }
            }
            first = false;
            if !quoting
                && let Some(start) = before
                && self.peek() == Some(b'-')
                && let Some(end_quoted) = self.range_follows()
            {
                quoting = end_quoted;
                chars.add(&self.range_from(start, quoting)?);
                before = None;
                continue;
            }
            let char = self.class_char(quoting)?;
            chars.add(&Set::from_ranges(&[(char, char)]));
            before = Some(char);
        }
    }

    pub(super) fn range_from(&mut self, start: u32, quoting: bool) -> Parsed<Set> {
        if !quoting && self.class_set()?.is_some() {
            return self.syntax_error("a range ends with a character, not with a class");
        }
        let end = self.class_char(quoting)?;
        if end < start {
            return self.syntax_error("the ends of this range are in the wrong order");
        }
        Ok(Set::from_ranges(&[(start, end)]))
    }

    /// Returns whether a hyphen follows that is not the last member, after a class within a class.
    pub(super) fn dash_before_more(&self) -> bool {
        let rest = self.rest();
        rest.len() > 1 && rest[0] == b'-' && rest[1] != b']'
    }

    /// Returns whether the end of a range is quoted, and moves past the hyphen at this position;
    /// returns `None` if the hyphen begins no range.
    pub(super) fn range_follows(&mut self) -> Option<bool> {
        let mut at = self.at + 1;
        let mut quoting = false;
        loop {
            let rest = self.pattern.get(at..)?;
            if !quoting && rest.starts_with(b"\\Q") {
                quoting = true;
                at += 2;
            } else if rest.starts_with(b"\\E") {
                quoting = false;
                at += 2;
            } else if !quoting
                && self.options.extended_more
                && matches!(rest.first(), Some(b' ' | b'\t'))
            {
                at += 1;
            } else {
                if rest.is_empty() || (!quoting && rest[0] == b']') {
                    return None;
                }
                self.at = at;
                return Some(quoting);
            }
        }
    }

    /// Parses a set within a class, such as `\d` or `[:alpha:]`; returns `None` for other contents.
    pub(super) fn class_set(&mut self) -> Parsed<Option<Set>> {
        match self.rest() {
            [b'\\', letter @ (b'p' | b'P'), ..] => {
                self.at += 2;
                self.property(*letter == b'P').map(Some)
            }
            [b'\\', letter, ..] => match self.escaped_set(*letter) {
                Some(set) => {
                    self.at += 2;
                    Ok(Some(set))
                }
                None => Ok(None),
            },
            [b'[', kind @ (b':' | b'.' | b'='), ..] => {
                let Some(end) = posix_end(self.rest()) else {
                    return Ok(None);
                };
                if *kind != b':' {
                    return self.syntax_error("collating elements of POSIX are not supported");
                }
                let name = &self.rest()[2..end];
                let (name, negated) = match name.strip_prefix(b"^") {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let Some(set) = self.posix(name) else {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return self.syntax_error(format!("unknown class of characters: '[:{name}:]'"));
                };
                self.at += end + 2;
                Ok(Some(if negated {
                    set.negated(self.max())
                } else {
                    set
                }))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn posix(&self, name: &[u8]) -> Option<Set> {
        let name = match name {
            b"lower" | b"upper" if self.options.ignore_case && !self.settings.ucp => b"alpha",
            name => name,
        };
        if self.settings.ucp {
            let found = match name {
                b"alpha" => Some("l"),
                b"lower" => Some("ll"),
                b"upper" => Some("lu"),
                b"alnum" => Some("xan"),
                b"space" => Some("xps"),
                b"cntrl" => Some("cc"),
                b"digit" => Some("nd"),
                b"word" => Some("xwd"),
                _ => None,
            };
            if let Some(found) = found {
                return Some(self.property_set(found));
            }
            let union = |names: &[&str]| {
                let mut set = Set::default();
                for name in names {
                    set.add(&self.property_set(name));
                }
                set
            };
            match name {
                b"blank" => return self.escaped_set(b'h'),
                b"graph" | b"print" => {
                    let mut set = union(&["l", "m", "n", "p", "s", "cf"]);
                    if name == b"print" {
                        set.add(&self.property_set("zs"));
                    }
                    let max = self.max();
                    let mut without = set.negated(max);
                    let unseen: &[(u32, u32)] = match name {
                        b"graph" => &[(0x61c, 0x61c), (0x180e, 0x180e), (0x2066, 0x2069)],
                        _ => &[(0x61c, 0x61c), (0x2066, 0x2069)],
                    };
                    without.add(&self.clipped(Set::from_ranges(unseen)));
                    return Some(without.negated(max));
                }
                b"punct" => {
                    let mut set = self.property_set("p");
                    set.add(&self.property_set("s").clipped(127));
                    return Some(set);
                }
                _ => {}
            }
        }
        Some(match name {
            b"alpha" => Set::from_ranges(&[(0x41, 0x5a), (0x61, 0x7a)]),
            b"lower" => Set::from_ranges(&[(0x61, 0x7a)]),
            b"upper" => Set::from_ranges(&[(0x41, 0x5a)]),
            b"alnum" => Set::from_ranges(&[(0x30, 0x39), (0x41, 0x5a), (0x61, 0x7a)]),
            b"ascii" => Set::from_ranges(&[(0, 127)]),
            b"blank" => Set::bytes(b" \t"),
            b"cntrl" => Set::from_ranges(&[(0, 31), (127, 127)]),
            b"digit" => digits(),
            b"graph" => Set::from_ranges(&[(33, 126)]),
            b"print" => Set::from_ranges(&[(32, 126)]),
            b"punct" => Set::from_ranges(&[(33, 47), (58, 64), (91, 96), (123, 126)]),
            b"space" => space(),
            b"word" => word(),
            b"xdigit" => Set::from_ranges(&[(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
            _ => return None,
        })
    }

    pub(super) fn class_char(&mut self, quoting: bool) -> Parsed<u32> {
        let escaped = !quoting && self.consume_text(b"\\");
        let char = match (escaped, self.peek()) {
            (true, Some(b'b')) => {
                self.at += 1;
                0x08
            }
            (true, Some(b'N')) if !self.rest().starts_with(b"N{U+") => {
                return self.syntax_error("\\N is not supported in a class");
            }
            (true, Some(letter @ (b'B' | b'R' | b'X'))) if !self.lenient => {
                return self
                    .syntax_error(format!("\\{} is not valid in a class", char::from(letter)));
            }
            (true, Some(letter @ b'g')) => {
                self.at += 1;
                u32::from(letter)
            }
            (true, Some(_)) => self.escaped_char()?,
            (true, None) => return self.syntax_error("a backslash at the end escapes nothing"),
            (false, _) => match self.char() {
                Some(char) => char,
                None => return self.syntax_error("this bracket is not closed"),
            },
        };
        if char == 0x0a || char == 0x0d {
            self.has_newline_literal = true;
        }
        Ok(char)
    }

    pub(super) fn word_edge(&self, start: bool) -> ParsedItem {
        let word = if self.settings.ucp {
            self.property_set("xwd")
        } else {
            word()
        };
        let look = PatternNode::Look(Box::new(LookAround {
            ahead: start,
            negated: false,
            reenters: false,
            node: PatternNode::Set(word),
        }));
        ParsedItem::Pair(PatternNode::Assert(Assertion::WordBoundary), look)
    }
}

/// Returns the position at which the name in `[:name:]` ends, if there is one.
fn posix_end(rest: &[u8]) -> Option<usize> {
    let kind = *rest.get(1)?;
    if rest.first() != Some(&b'[') || !b":.=".contains(&kind) {
        return None;
    }
    let mut at = 2;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' if matches!(rest.get(at + 1), Some(b']' | b'\\')) => at += 2,
            b'[' if rest.get(at + 1) == Some(&kind) => return None,
            b']' => return None,
            _ if *byte == kind && rest.get(at + 1) == Some(&b']') => return Some(at),
            _ => at += 1,
        }
    }
    None
}
