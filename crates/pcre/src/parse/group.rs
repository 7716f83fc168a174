//! Parses the constructs that start with a parenthesis, and references to groups.

use super::{NAME_MAX, Parsed, ParsedItem, Parser};
use crate::tree::{Condition, Conditional, LookAround, PatternNode, Verb};

impl Parser<'_> {
    /// Parses a group's name up to a closing byte; the opening one is skipped.
    pub(super) fn name_to(&mut self, close: u8) -> Parsed<String> {
        self.at += 1;
        let name = self.name()?;
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(name)
            }
            _ => self.syntax_error(format!(
                "the name of a group ends with {}",
                char::from(close)
            )),
        }
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        let start = self.at;
        if self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return self.syntax_error("the name of a group does not start with a digit");
        }
        if self.settings.utf {
            let text = String::from_utf8_lossy(self.rest());
            let length: usize = text
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .map(char::len_utf8)
                .sum();
            self.at += length;
        } else {
            while self
                .peek()
                .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            {
                self.at += 1;
            }
        }
        let name = String::from_utf8_lossy(&self.pattern[start..self.at]).into_owned();
        if name.is_empty() {
            return self.syntax_error("the name of a group is missing");
        }
        if name.len() > NAME_MAX {
            return self.syntax_error(format!(
                "the name of a group has at most {NAME_MAX} characters"
            ));
        }
        Ok(name)
    }

    pub(super) fn numbers(&self, name: &str) -> Parsed<Vec<u32>> {
        let Some(known) = &self.known else {
            return Ok(Vec::new());
        };
        let mut numbers = Vec::new();
        for (other, number) in &known.names {
            if other == name && !numbers.contains(number) {
                numbers.push(*number);
            }
        }
        if numbers.is_empty() {
            self.missing_group_error(format!("'{name}'"))
        } else {
            Ok(numbers)
        }
    }

    pub(super) fn require_group(&self, number: u32) -> Parsed<u32> {
        match &self.known {
            Some(known) if number > known.groups => self.missing_group_error(number.to_string()),
            _ => Ok(number),
        }
    }

    pub(super) fn reference(&self, number: u32) -> Parsed<PatternNode> {
        Ok(PatternNode::BackReference {
            groups: vec![self.require_group(number)?],
            ignore_case: self.options.ignore_case,
        })
    }

    pub(super) fn reference_by_name(&self, name: &str) -> Parsed<PatternNode> {
        Ok(PatternNode::BackReference {
            groups: self.numbers(name)?,
            ignore_case: self.options.ignore_case,
        })
    }

    pub(super) fn call_by_name(&self, name: &str) -> Parsed<ParsedItem> {
        let number = self.numbers(name)?.first().copied().unwrap_or(0);
        Ok(ParsedItem::Node(PatternNode::Call(number)))
    }

    /// Parses a number with an optional sign, which makes it relative to this position; returns
    /// `None` without digits.
    pub(super) fn signed_number(&mut self) -> Parsed<Option<u32>> {
        let start = self.at;
        let sign = self.peek().filter(|b| matches!(b, b'+' | b'-'));
        if sign.is_some() {
            self.at += 1;
        }
        let digits = self.at;
        let number = self.number(10);
        if digits == self.at {
            self.at = start;
            return Ok(None);
        }
        let absolute = match sign {
            None => Some(number),
            Some(_) if number == 0 => return self.syntax_error("a relative reference to group 0"),
            Some(b'+') => self.groups.checked_add(number),
            Some(_) => (self.groups + 1).checked_sub(number).filter(|n| *n > 0),
        };
        match absolute {
            Some(number) => Ok(Some(number)),
            None => self.missing_group_error(format!("-{number} before this place")),
        }
    }

    /// Parses the reference after `\g`.
    pub(super) fn group_reference(&mut self) -> Parsed<ParsedItem> {
        let wrong = "\\g is followed by a number, or a number or name in {}, <> or ''";
        match self.peek() {
            Some(open @ (b'<' | b'\'')) => {
                let close = if open == b'<' { b'>' } else { b'\'' };
                self.at += 1;
                if let Some(number) = self.signed_number()? {
                    if !self.consume_text(&[close]) {
                        return self.syntax_error(wrong);
                    }
                    return Ok(ParsedItem::Node(PatternNode::Call(
                        self.require_group(number)?,
                    )));
                }
                self.at -= 1;
                let name = self.name_to(close)?;
                self.call_by_name(&name)
            }
            Some(b'{') => {
                self.at += 1;
                if let Some(number) = self.signed_number()? {
                    if !self.consume_text(b"}") {
                        return self.syntax_error(wrong);
                    }
                    return Ok(ParsedItem::Node(self.nonzero_reference(number)?));
                }
                self.at -= 1;
                let name = self.name_to(b'}')?;
                Ok(ParsedItem::Node(self.reference_by_name(&name)?))
            }
            _ => match self.signed_number()? {
                Some(number) => Ok(ParsedItem::Node(self.nonzero_reference(number)?)),
                None => self.syntax_error(wrong),
            },
        }
    }

    pub(super) fn nonzero_reference(&self, number: u32) -> Parsed<PatternNode> {
        match number {
            0 => self.syntax_error("a reference to group 0"),
            number => self.reference(number),
        }
    }

    pub(super) fn close(&mut self) -> Parsed<()> {
        if self.consume_text(b")") {
            Ok(())
        } else {
            self.syntax_error("a closing parenthesis is missing")
        }
    }

    pub(super) fn parenthesis(&mut self) -> Parsed<ParsedItem> {
        self.at += 1;
        if self.peek() == Some(b'*') {
            return self.verb();
        }
        if !self.consume_text(b"?") {
            if self.options.no_capture {
                let node = self.alternatives()?;
                self.close()?;
                return Ok(ParsedItem::Node(node));
            }
            return self.capture(None);
        }
        let Some(kind) = self.peek() else {
            return self.syntax_error("a closing parenthesis is missing");
        };
        self.at += 1;
        match kind {
            b'#' => self.comment(),
            b':' => {
                let node = self.alternatives()?;
                self.close()?;
                Ok(ParsedItem::Node(node))
            }
            b'|' => {
                let branches = self.branches(true)?;
                self.close()?;
                Ok(ParsedItem::Node(PatternNode::Alternate(branches)))
            }
            b'>' => self.atomic(),
            b'=' => self.parse_look_around(true, false, false),
            b'!' => self.parse_look_around(true, true, false),
            b'*' => self.parse_look_around(true, false, true),
            b'<' if self.consume_text(b"=") => self.parse_look_around(false, false, false),
            b'<' if self.consume_text(b"!") => self.parse_look_around(false, true, false),
            b'<' if self.consume_text(b"*") => self.parse_look_around(false, false, true),
            b'<' => self.named_group(b'>'),
            b'\'' => self.named_group(b'\''),
            b'P' if self.consume_text(b"<") => self.named_group(b'>'),
            b'P' if self.consume_text(b"=") => {
                let name = self.name()?;
                self.close()?;
                Ok(ParsedItem::Node(self.reference_by_name(&name)?))
            }
            b'P' if self.consume_text(b">") => self.call_to_name(),
            b'&' => self.call_to_name(),
            b'R' => {
                if self.consume_text(b")") {
                    Ok(ParsedItem::Node(PatternNode::Call(0)))
                } else {
                    self.syntax_error("(?R is followed by a closing parenthesis")
                }
            }
            b'C' => {
                self.callout()?;
                Ok(ParsedItem::Fixed(PatternNode::Empty))
            }
            b'(' => self.conditional(),
            b'0'..=b'9' | b'+' => self.call_to_number(),
            b'-' if self.peek().is_some_and(|b| b.is_ascii_digit()) => self.call_to_number(),
            _ => {
                self.at -= 1;
                self.change_options()
            }
        }
    }

    pub(super) fn comment(&mut self) -> Parsed<ParsedItem> {
        let Some(end) = self.rest().iter().position(|b| *b == b')') else {
            return self.syntax_error("the comment is not closed");
        };
        self.at += end + 1;
        Ok(ParsedItem::Ignored)
    }

    pub(super) fn atomic(&mut self) -> Parsed<ParsedItem> {
        let node = self.alternatives()?;
        self.close()?;
        Ok(ParsedItem::Node(PatternNode::Atomic(Box::new(node))))
    }

    pub(super) fn call_to_name(&mut self) -> Parsed<ParsedItem> {
        let name = self.name()?;
        self.close()?;
        self.call_by_name(&name)
    }

    pub(super) fn call_to_number(&mut self) -> Parsed<ParsedItem> {
        self.at -= 1;
        let Some(number) = self.signed_number()? else {
            return self.syntax_error("a number is expected");
        };
        self.close()?;
        Ok(ParsedItem::Node(PatternNode::Call(
            self.require_group(number)?,
        )))
    }

    pub(super) fn capture(&mut self, name: Option<String>) -> Parsed<ParsedItem> {
        self.groups += 1;
        let number = self.groups;
        if let Some(name) = name {
            for (known, other) in &self.names {
                if *known == name && *other != number && !self.options.duplicate_names {
                    return self.syntax_error(format!("two groups are named '{name}'"));
                }
                if *known != name && *other == number {
                    return self.syntax_error("one group has two names");
                }
            }
            self.names.push((name, number));
        }
        let node = self.alternatives()?;
        self.close()?;
        Ok(ParsedItem::Node(PatternNode::Group(number, Box::new(node))))
    }

    pub(super) fn named_group(&mut self, close: u8) -> Parsed<ParsedItem> {
        self.at -= 1;
        let name = self.name_to(close)?;
        self.capture(Some(name))
    }

    pub(super) fn parse_look_around(
        &mut self,
        ahead: bool,
        negated: bool,
        reenters: bool,
    ) -> Parsed<ParsedItem> {
        self.looks += 1;
        let node = self.alternatives()?;
        self.looks -= 1;
        self.close()?;
        Ok(ParsedItem::Node(PatternNode::Look(Box::new(LookAround {
            ahead,
            negated,
            reenters,
            node,
        }))))
    }

    /// Parses `(?i)`, `(?i-s:…)` or `(?^x)`, at the first letter.
    pub(super) fn change_options(&mut self) -> Parsed<ParsedItem> {
        let mut options = self.options;
        let mut on = true;
        let reset = self.consume_text(b"^");
        if reset {
            options.ignore_case = false;
            options.multi_line = false;
            options.no_capture = false;
            options.dot_all = false;
            options.extended = false;
            options.extended_more = false;
        }
        let mut hyphens = 0;
        loop {
            let Some(letter) = self.peek() else {
                return self.syntax_error("a closing parenthesis is missing");
            };
            self.at += 1;
            match letter {
                b'-' if hyphens == 0 && !reset => {
                    hyphens += 1;
                    on = false;
                }
                b'-' => return self.syntax_error("a second hyphen, or one behind ^"),
                b'i' => options.ignore_case = on,
                b'm' => options.multi_line = on,
                b's' => options.dot_all = on,
                b'n' => options.no_capture = on,
                b'J' => options.duplicate_names = on,
                b'U' => options.ungreedy = on,
                b'x' => {
                    options.extended = on;
                    options.extended_more = self.consume_text(b"x") && on;
                }
                b')' => {
                    self.options = options;
                    return Ok(ParsedItem::Fixed(PatternNode::Empty));
                }
                b':' => {
                    let outer = self.options;
                    self.options = options;
                    let node = self.alternatives()?;
                    self.options = outer;
                    self.close()?;
                    return Ok(ParsedItem::Node(node));
                }
                other => {
                    self.at -= 1;
                    return self.syntax_error(format!(
                        "'{}' has no meaning behind (?",
                        char::from(other).escape_default()
                    ));
                }
            }
        }
    }

    /// Parses `(?C…)`, which HAProxy does not use, after the letter.
    pub(super) fn callout(&mut self) -> Parsed<()> {
        let rest = self.rest();
        match rest.first() {
            Some(open) if b"`'\"^%#${".contains(open) => {
                let close = if *open == b'{' { b'}' } else { *open };
                let mut at = 1;
                loop {
                    match rest.get(at) {
                        None => return self.syntax_error("the text of this callout is not closed"),
                        Some(byte) if *byte == close && rest.get(at + 1) == Some(&close) => at += 2,
                        Some(byte) if *byte == close => break,
                        Some(_) => at += 1,
                    }
                }
                self.at += at + 1;
            }
            _ => {
                if self.signed_number()?.is_some_and(|number| number > 255) {
                    return self.syntax_error("the number of a callout is at most 255");
                }
            }
        }
        self.close()
    }

    /// Parses a conditional group after `(?(`.
    pub(super) fn conditional(&mut self) -> Parsed<ParsedItem> {
        let condition = self.condition()?;
        let mut branches = self.branches(false)?;
        self.close()?;
        if matches!(condition, Condition::Always(false)) && branches.len() > 1 {
            return self.syntax_error("DEFINE has one alternative");
        }
        if branches.len() > 2 {
            return self.syntax_error("a condition has at most two alternatives");
        }
        let no = match branches.len() {
            2 => branches.pop(),
            _ => None,
        };
        Ok(ParsedItem::Node(PatternNode::Conditional(Box::new(
            Conditional {
                condition,
                yes: branches.pop().unwrap_or(PatternNode::Empty),
                no: no.unwrap_or(PatternNode::Empty),
            },
        ))))
    }

    pub(super) fn condition(&mut self) -> Parsed<Condition> {
        if self.rest().starts_with(b"?C") {
            self.at += 2;
            self.callout()?;
            if !self.consume_text(b"(") {
                return self.syntax_error("a look-around is expected behind this callout");
            }
        }
        if matches!(self.peek(), Some(b'?' | b'*')) {
            self.at -= 1;
            return match self.parenthesis()? {
                ParsedItem::Node(PatternNode::Look(look)) => Ok(Condition::Look(*look)),
                _ => self.syntax_error("a condition is a group, a look-around, R or DEFINE"),
            };
        }
        if let Some(number) = self.signed_number()? {
            if number == 0 {
                return self.syntax_error("a condition on group 0");
            }
            let number = self.require_group(number)?;
            self.close()?;
            return Ok(Condition::Groups(vec![number]));
        }
        if self.consume_text(b"VERSION") {
            return self.version();
        }
        let name = match self.peek() {
            Some(b'<') => self.name_to(b'>')?,
            Some(b'\'') => self.name_to(b'\'')?,
            Some(b'R') if self.rest().starts_with(b"R&") => {
                self.at += 2;
                let name = self.name()?;
                self.close()?;
                return Ok(Condition::Recursing(Some(self.numbers(&name)?)));
            }
            _ => {
                let name = self.name()?;
                let is_group = self
                    .known
                    .as_ref()
                    .is_some_and(|known| known.names.iter().any(|(known, _)| *known == name));
                match name.as_bytes() {
                    _ if is_group => name,
                    b"DEFINE" => {
                        self.close()?;
                        return Ok(Condition::Always(false));
                    }
                    [b'R', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                        self.close()?;
                        let number = std::str::from_utf8(digits).unwrap_or("").parse::<u32>();
                        return Ok(Condition::Recursing(match number {
                            Ok(number) => Some(vec![self.require_group(number)?]),
                            Err(_) => None,
                        }));
                    }
                    _ => name,
                }
            }
        };
        self.close()?;
        Ok(Condition::Groups(self.numbers(&name)?))
    }

    /// Parses the condition after `(?(VERSION`.
    pub(super) fn version(&mut self) -> Parsed<Condition> {
        let newer = self.consume_text(b">");
        if !self.consume_text(b"=") {
            return self.syntax_error("VERSION is followed by = or >= and a number");
        }
        let rest = self.rest();
        let Some(end) = rest.iter().position(|b| *b == b')') else {
            return self.syntax_error("a closing parenthesis is missing");
        };
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
        let minor = format!("{minor:0<2}");
        let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else {
            return self.syntax_error("VERSION is followed by = or >= and a number");
        };
        self.at += end + 1;
        const VERSION: (u32, u32) = (10, 42);
        Ok(Condition::Always(if newer {
            VERSION >= (major, minor)
        } else {
            VERSION == (major, minor)
        }))
    }

    /// Parses `(*pla:…)` and other constructs with a lower-case name, at the colon.
    pub(super) fn named_construct(&mut self, name: &[u8]) -> Parsed<ParsedItem> {
        if !self.consume_text(b":") {
            return self.syntax_error("a colon is expected behind this name of a group");
        }
        match name {
            b"pla" | b"positive_lookahead" => self.parse_look_around(true, false, false),
            b"nla" | b"negative_lookahead" => self.parse_look_around(true, true, false),
            b"plb" | b"positive_lookbehind" => self.parse_look_around(false, false, false),
            b"nlb" | b"negative_lookbehind" => self.parse_look_around(false, true, false),
            b"napla" | b"non_atomic_positive_lookahead" => {
                self.parse_look_around(true, false, true)
            }
            b"naplb" | b"non_atomic_positive_lookbehind" => {
                self.parse_look_around(false, false, true)
            }
            b"atomic" => self.atomic(),
            b"sr" | b"script_run" | b"asr" | b"atomic_script_run" if !self.settings.utf => {
                // Checks no script, because bytes belong to none.
                let node = self.alternatives()?;
                self.close()?;
                Ok(ParsedItem::Node(match name.first() {
                    Some(b'a') => PatternNode::Atomic(Box::new(node)),
                    _ => node,
                }))
            }
            b"sr" | b"script_run" | b"asr" | b"atomic_script_run" => {
                self.syntax_error("script runs are not supported")
            }
            _ => self.syntax_error("unknown name behind (*"),
        }
    }

    /// Parses `(*ACCEPT)` or `(*atomic:…)`, at the star.
    pub(super) fn verb(&mut self) -> Parsed<ParsedItem> {
        self.at += 1;
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        {
            self.at += 1;
        }
        let name = &self.pattern[start..self.at];
        if name.first().is_some_and(u8::is_ascii_lowercase) {
            return self.named_construct(name);
        }
        let argument = if self.consume_text(b":") {
            let rest = self.rest();
            let Some(end) = rest.iter().position(|b| *b == b')') else {
                return self.syntax_error("a closing parenthesis is missing");
            };
            self.at += end;
            Some(rest[..end].to_vec().into_boxed_slice())
        } else {
            None
        };
        if !self.consume_text(b")") {
            return self.syntax_error("unknown verb behind (*");
        }
        let mark = argument.filter(|argument| !argument.is_empty());
        let verb = match name {
            b"ACCEPT" => return Ok(ParsedItem::Node(PatternNode::Verb(Verb::Accept))),
            b"F" | b"FAIL" => Verb::Fail,
            b"COMMIT" => Verb::Commit,
            b"PRUNE" => Verb::Prune,
            b"SKIP" => return Ok(ParsedItem::Fixed(PatternNode::Verb(Verb::Skip(mark)))),
            b"THEN" => Verb::Then,
            b"" | b"MARK" => {
                return match mark {
                    Some(mark) => Ok(ParsedItem::Fixed(PatternNode::Verb(Verb::Mark(mark)))),
                    None => self.syntax_error("(*MARK) has a name"),
                };
            }
            _ => return self.syntax_error("unknown verb behind (*"),
        };
        Ok(ParsedItem::Fixed(PatternNode::Verb(verb)))
    }
}
