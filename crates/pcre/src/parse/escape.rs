//! Parses escape sequences after a backslash.

use super::{
    Parsed, ParsedItem, Parser, brace_quantifier, crlf_or, digits, horizontal_space, space,
    vertical_space, word,
};
use crate::set::{BYTE_MAX, Set, property};
use crate::tree::{Assertion, PatternNode};

impl Parser<'_> {
    /// Returns the set of `\d` and similar letters; `None` for other letters.
    pub(super) fn escaped_set(&self, letter: u8) -> Option<Set> {
        let set = match (letter.to_ascii_lowercase(), self.settings.ucp) {
            (b'd', false) => digits(),
            (b's', false) => space(),
            (b'w', false) => word(),
            (b'd', true) => self.property_set("nd"),
            (b's', true) => self.property_set("xsp"),
            (b'w', true) => self.property_set("xwd"),
            (b'h', _) => self.clipped(horizontal_space()),
            (b'v', _) => self.clipped(vertical_space()),
            _ => return None,
        };
        Some(if letter.is_ascii_uppercase() {
            set.negated(self.max())
        } else {
            set
        })
    }

    pub(super) fn escape(&mut self) -> Parsed<ParsedItem> {
        let start = self.at;
        self.at += 1;
        let Some(letter) = self.peek() else {
            return self.syntax_error("a backslash at the end escapes nothing");
        };
        if let Some(set) = self.escaped_set(letter) {
            self.at += 1;
            return Ok(ParsedItem::Node(PatternNode::Set(set)));
        }
        let assertion = match letter {
            b'A' => Some(Assertion::SubjectStart),
            b'z' => Some(Assertion::SubjectEnd),
            b'Z' => Some(Assertion::FinalLineEnd),
            b'G' => Some(Assertion::SearchStart),
            b'b' => Some(Assertion::WordBoundary),
            b'B' => Some(Assertion::NotWordBoundary),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.at += 1;
            return Ok(ParsedItem::Fixed(PatternNode::Assert(assertion)));
        }
        self.at += 1;
        Ok(match letter {
            b'Q' => {
                self.quoting = true;
                ParsedItem::Ignored
            }
            b'E' => ParsedItem::Ignored,
            b'K' => {
                if self.looks > 0 {
                    return self.syntax_error("\\K is not allowed in a look-around");
                }
                ParsedItem::Fixed(PatternNode::KeepOut)
            }
            b'C' => ParsedItem::Node(PatternNode::AnyByte),
            b'R' => ParsedItem::Node(self.line_break()),
            b'N' if !self.rest().starts_with(b"{") || brace_quantifier(self.rest()).is_some() => {
                ParsedItem::Node(self.dot(false))
            }
            b'X' if self.settings.utf => {
                return self.syntax_error("\\X is not supported with (*UTF)");
            }
            b'X' => ParsedItem::Node(crlf_or(Set::default().negated(BYTE_MAX))),
            b'p' | b'P' => ParsedItem::Node(PatternNode::Set(self.property(letter == b'P')?)),
            b'g' => self.group_reference()?,
            b'k' => ParsedItem::Node(self.named_reference()?),
            b'1'..=b'9' => {
                self.at -= 1;
                match self.decimal_reference() {
                    Some(number) => ParsedItem::Node(self.reference(number)?),
                    None => {
                        self.at = start + 1;
                        ParsedItem::Node(self.escaped_character()?)
                    }
                }
            }
            _ => {
                self.at = start + 1;
                ParsedItem::Node(self.escaped_character()?)
            }
        })
    }

    /// Parses the name after `\k`.
    pub(super) fn named_reference(&mut self) -> Parsed<PatternNode> {
        let name = match self.peek() {
            Some(b'<') => self.name_to(b'>')?,
            Some(b'\'') => self.name_to(b'\'')?,
            Some(b'{') => self.name_to(b'}')?,
            _ => return self.syntax_error("\\k is followed by a name in <>, '' or {}"),
        };
        self.reference_by_name(&name)
    }

    pub(super) fn escaped_character(&mut self) -> Parsed<PatternNode> {
        let char = self.escaped_char()?;
        Ok(self.character(char))
    }

    /// Returns the number of `\12` if it is a reference and not octal.
    pub(super) fn decimal_reference(&mut self) -> Option<u32> {
        let start = self.at;
        let number = self.number(10);
        let octal = matches!(self.pattern[start], b'1'..=b'7');
        if number < 10 || !octal || number <= self.groups {
            return Some(number);
        }
        self.at = start;
        None
    }

    pub(super) fn escaped_char(&mut self) -> Parsed<u32> {
        let Some(letter) = self.peek() else {
            return self.syntax_error("a backslash at the end escapes nothing");
        };
        if !letter.is_ascii_alphanumeric() {
            return match self.char() {
                Some(char) => Ok(char),
                None => self.syntax_error("a backslash at the end escapes nothing"),
            };
        }
        self.at += 1;
        let value = match letter {
            b'a' => 0x07,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'0'..=b'7' => self.digits(u32::from(letter - b'0'), 8),
            // In a class, the digit is neither octal nor a reference to a group, and matches
            // itself.
            b'8' | b'9' => u32::from(letter),
            b'o' => match self.peek() {
                Some(b'{') => self.braced_number(8)?,
                _ => return self.syntax_error("\\o is followed by an octal number in {}"),
            },
            b'x' if self.peek() == Some(b'{') => self.braced_number(16)?,
            b'x' => self.digits(0, 16),
            b'c' => match self.peek() {
                Some(byte @ b' '..=b'~') => {
                    self.at += 1;
                    u32::from(byte.to_ascii_uppercase() ^ 0x40)
                }
                Some(_) => {
                    return self.syntax_error("\\c is followed by a printable ASCII character");
                }
                None => return self.syntax_error("\\c at the end of the pattern"),
            },
            b'N' if self.rest().starts_with(b"{U+") => {
                if !self.settings.utf {
                    return self.syntax_error("\\N{U+…} requires (*UTF)");
                }
                self.at += 2;
                self.braced_number(16)?
            }
            b'F' | b'L' | b'l' | b'U' | b'u' | b'N' if !self.lenient => {
                return self.syntax_error(format!(
                    "\\{} is not part of the syntax of PCRE2",
                    char::from(letter)
                ));
            }
            _ if self.lenient => u32::from(letter),
            _ => {
                self.at -= 1;
                return self.syntax_error(format!("\\{} has no meaning", char::from(letter)));
            }
        };
        if value > self.max() || (self.settings.utf && (0xd800..0xe000).contains(&value)) {
            return self.syntax_error(if self.settings.utf {
                "this is no code point of Unicode".to_owned()
            } else {
                "the character is above 255, which requires (*UTF)".to_owned()
            });
        }
        Ok(value)
    }

    /// Parses the number at this position with saturation; returns 0 without digits.
    pub(super) fn number(&mut self, radix: u32) -> u32 {
        let mut value: u32 = 0;
        while let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(radix)) {
            value = value.saturating_mul(radix).saturating_add(digit);
            self.at += 1;
        }
        value
    }

    pub(super) fn digits(&mut self, mut value: u32, radix: u32) -> u32 {
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(radix)) else {
                break;
            };
            value = value * radix + digit;
            self.at += 1;
        }
        value
    }

    /// Parses a number in braces; the byte before the digits is skipped.
    pub(super) fn braced_number(&mut self, radix: u32) -> Parsed<u32> {
        self.at += 1;
        let begin = self.at;
        let value = self.number(radix);
        let any = self.at > begin;
        match self.peek() {
            Some(b'}') if any => {
                self.at += 1;
                Ok(value)
            }
            Some(b'}') => self.syntax_error("a number is missing in the braces"),
            _ => self.syntax_error(format!(
                "a {} digit or a closing brace is expected",
                if radix == 8 { "octal" } else { "hexadecimal" }
            )),
        }
    }

    /// Parses `\pL`, `\p{Lu}` or `\p{^Lu}`, after the letter.
    pub(super) fn property(&mut self, negated: bool) -> Parsed<Set> {
        let start = self.at;
        let (name, inverted) = match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let inverted = self.consume_text(b"^");
                let rest = self.rest();
                let Some(end) = rest.iter().position(|b| *b == b'}') else {
                    return self.syntax_error("the name of a property ends with }");
                };
                self.at += end + 1;
                (String::from_utf8_lossy(&rest[..end]).into_owned(), inverted)
            }
            Some(letter) if letter.is_ascii_alphabetic() => {
                self.at += 1;
                (char::from(letter).to_string(), false)
            }
            _ => return self.syntax_error("\\p and \\P are followed by the name of a property"),
        };
        let Some(set) = property(&name) else {
            self.at = start;
            return self.syntax_error(format!("unknown property of characters: '{name}'"));
        };
        let set = self.clipped(set);
        Ok(if negated != inverted {
            set.negated(self.max())
        } else {
            set
        })
    }
}
