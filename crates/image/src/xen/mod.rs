//! Converts Xen guests to QEMU.
//!
//! - This module parses a configuration file of `xl` or `xm`: assignments in a subset of Python
//!   (xl.cfg(5)). Nothing is executed; unsupported syntax is reported with its line.
//! - [`domain`] interprets the assignments.
//! - [`plan`] creates the list of conversion steps.

pub mod domain;
pub mod plan;

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::CharIndices;

/// Maximum length of a configuration file in characters; the rest is ignored.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Maximum number of items of a list, and of assigned names of a file.
const ITEMS_MAX: usize = 512;
const COMPLAINTS_MAX: usize = 32;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum XenValue {
    Text(String),
    Number(i64),
    /// A list of strings and numbers, as text.
    List(Vec<String>),
}

/// Line that cannot be parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Number of the line, counted from 1.
    pub line: usize,
    pub words: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct XenConfiguration {
    /// Last value assigned to each name.
    pub values: BTreeMap<String, XenValue>,
    pub complaints: Vec<ParseError>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Name(String),
    Text(String),
    Number(i64),
    Sign(char),
    /// End of a line outside of brackets.
    End,
}

impl XenValue {
    pub fn text(&self) -> String {
        match self {
            XenValue::Text(text) => text.clone(),
            XenValue::Number(number) => number.to_string(),
            XenValue::List(items) => items.join(" "),
        }
    }

    pub fn number(&self) -> Option<i64> {
        match self {
            XenValue::Number(number) => Some(*number),
            XenValue::Text(text) => text.trim().parse().ok(),
            XenValue::List(_) => None,
        }
    }

    /// Returns the items of a list; a single value is a list of one.
    pub fn items(&self) -> Vec<String> {
        match self {
            XenValue::List(items) => items.clone(),
            one => vec![one.text()],
        }
    }
}

pub fn parse(text: &str) -> XenConfiguration {
    let mut file = XenConfiguration::default();
    let text = match text.char_indices().nth(FILE_BYTES_MAX) {
        Some((end, _)) => {
            file.complain(
                0,
                format!("longer than {FILE_BYTES_MAX} characters: the rest is ignored"),
            );
            &text[..end]
        }
        None => text,
    };
    let mut tokens = Tokens::new(text);
    loop {
        match tokens.next() {
            None => break,
            Some(Token::End) => {}
            Some(Token::Name(name)) => {
                let line = tokens.line;
                match tokens.assignment() {
                    Ok(value) if file.values.len() < ITEMS_MAX => {
                        file.values.insert(name, value);
                    }
                    Ok(_) => {
                        file.complain(line, format!("more than {ITEMS_MAX} assignments"));
                        break;
                    }
                    Err(words) => {
                        file.complain(line, format!("'{name}': {words}"));
                        tokens.skip();
                    }
                }
            }
            Some(_) => {
                file.complain(tokens.line, "not an assignment".to_owned());
                tokens.skip();
            }
        }
    }
    file
}

impl XenConfiguration {
    fn complain(&mut self, line: usize, words: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(ParseError { line, words });
        }
    }
}

struct Tokens<'t> {
    text: &'t str,
    rest: Peekable<CharIndices<'t>>,
    line: usize,
    lines: usize,
    depth: usize,
    held: Option<Token>,
}

impl<'t> Tokens<'t> {
    fn new(text: &'t str) -> Tokens<'t> {
        Tokens {
            text,
            rest: text.char_indices().peekable(),
            line: 1,
            lines: 1,
            depth: 0,
            held: None,
        }
    }

    fn next(&mut self) -> Option<Token> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        loop {
            let (at, sign) = self.rest.next()?;
            self.line = self.lines;
            match sign {
                '\n' => {
                    self.lines += 1;
                    if self.depth == 0 {
                        return Some(Token::End);
                    }
                }
                ';' if self.depth == 0 => return Some(Token::End),
                '#' => while self.rest.next_if(|(_, sign)| *sign != '\n').is_some() {},
                // Continues the line after a backslash at its end.
                '\\' if self.next_is('\n') => self.lines += 1,
                _ if sign.is_whitespace() => {}
                '\'' | '"' => return Some(self.string(at, sign)),
                '[' | '(' | '{' => {
                    self.depth += 1;
                    return Some(Token::Sign(sign));
                }
                ']' | ')' | '}' => {
                    self.depth = self.depth.saturating_sub(1);
                    return Some(Token::Sign(sign));
                }
                _ if sign.is_ascii_digit() => return Some(self.number(at)),
                _ if sign.is_alphabetic() || sign == '_' => return Some(self.name(at)),
                _ => return Some(Token::Sign(sign)),
            }
        }
    }

    fn next_is(&mut self, sign: char) -> bool {
        self.rest.next_if(|(_, next)| *next == sign).is_some()
    }

    fn word(&mut self, at: usize) -> &'t str {
        let mut end = at + 1;
        while let Some((place, sign)) = self.rest.peek().copied() {
            if !sign.is_alphanumeric() && !"_.".contains(sign) {
                end = place;
                break;
            }
            end = place + sign.len_utf8();
            self.rest.next();
        }
        self.text.get(at..end).unwrap_or_default()
    }

    fn name(&mut self, at: usize) -> Token {
        // Takes the first character separately, which may have several bytes.
        let first = self.text.get(at..).and_then(|rest| rest.chars().next());
        let mut name: String = first.into_iter().collect();
        while let Some((_, sign)) = self
            .rest
            .next_if(|(_, sign)| sign.is_alphanumeric() || *sign == '_')
        {
            name.push(sign);
        }
        Token::Name(name)
    }

    fn number(&mut self, at: usize) -> Token {
        let word = self.word(at);
        let number = match word.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => word.trim_end_matches('L').parse(),
        };
        number.map_or_else(|_| Token::Text(word.to_owned()), Token::Number)
    }

    /// Reads a string after its first quote. An unterminated string ends with its line.
    fn string(&mut self, at: usize, quote: char) -> Token {
        let long: String = std::iter::repeat_n(quote, 3).collect();
        let is_long = self
            .text
            .get(at..)
            .is_some_and(|rest| rest.starts_with(&long));
        if is_long {
            self.rest.next();
            self.rest.next();
        }
        let mut text = String::new();
        let mut quotes = 0;
        while let Some((_, sign)) = self.rest.next() {
            match sign {
                _ if sign == quote && !is_long => break,
                _ if sign == quote => {
                    quotes += 1;
                    if quotes == long.len() {
                        break;
                    }
                    continue;
                }
                '\n' if !is_long => {
                    self.lines += 1;
                    self.held = Some(Token::End);
                    break;
                }
                _ => {}
            }
            text.extend(std::iter::repeat_n(quote, quotes));
            quotes = 0;
            match sign {
                '\\' => match self.rest.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, '\n')) => self.lines += 1,
                    Some((_, sign @ ('\\' | '\'' | '"'))) => text.push(sign),
                    Some((_, sign)) => text.extend(['\\', sign]),
                    None => {}
                },
                '\n' => {
                    self.lines += 1;
                    text.push('\n');
                }
                sign => text.push(sign),
            }
        }
        Token::Text(text)
    }

    fn assignment(&mut self) -> Result<XenValue, String> {
        match self.next() {
            Some(Token::Sign('=')) => {}
            other => {
                self.held = other;
                return Err("not an assignment: only NAME = VALUE is supported, no code".to_owned());
            }
        }
        let value = self.value()?;
        match self.next() {
            None | Some(Token::End) => Ok(value),
            other => {
                self.held = other;
                Err("unsupported expression: write its value".to_owned())
            }
        }
    }

    fn value(&mut self) -> Result<XenValue, String> {
        let not_read = || "unsupported expression: write its value".to_owned();
        match self.next() {
            Some(Token::Text(text)) => Ok(XenValue::Text(self.more(text)?)),
            Some(Token::Number(number)) => Ok(XenValue::Number(number)),
            Some(Token::Sign('-')) => match self.next() {
                Some(Token::Number(number)) => Ok(XenValue::Number(number.saturating_neg())),
                _ => Err(not_read()),
            },
            Some(Token::Sign('[' | '(')) => self.list(),
            Some(Token::Name(name)) => match name.as_str() {
                "True" => Ok(XenValue::Number(1)),
                "False" => Ok(XenValue::Number(0)),
                "None" => Ok(XenValue::Text(String::new())),
                // Skips the prefix of a string, and reads the string.
                "r" | "u" | "b" => self.value(),
                _ => Err(not_read()),
            },
            other => {
                self.held = other;
                Err("a value is missing".to_owned())
            }
        }
    }

    /// Concatenates adjacent strings, with or without `+` between them.
    fn more(&mut self, mut text: String) -> Result<String, String> {
        loop {
            match self.next() {
                Some(Token::Text(more)) => text += &more,
                Some(Token::Sign('+')) => match self.next() {
                    Some(Token::Text(more)) => text += &more,
                    _ => return Err("unsupported expression: write its value".to_owned()),
                },
                other => {
                    self.held = other;
                    return Ok(text);
                }
            }
        }
    }

    fn list(&mut self) -> Result<XenValue, String> {
        let mut items = Vec::new();
        loop {
            match self.next() {
                Some(Token::Sign(']' | ')')) => return Ok(XenValue::List(items)),
                Some(Token::Sign(',')) => {}
                Some(Token::Text(text)) => items.push(self.more(text)?),
                Some(Token::Number(number)) => items.push(number.to_string()),
                None => return Err("its list does not end".to_owned()),
                Some(_) => return Err("unsupported item: write it as a string".to_owned()),
            }
            if items.len() > ITEMS_MAX {
                return Err(format!("a list of more than {ITEMS_MAX} items"));
            }
        }
    }

    fn skip(&mut self) {
        self.held = None;
        self.depth = 0;
        while let Some(token) = self.next() {
            if token == Token::End {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> XenValue {
        let file = parse(&format!("a = {text}\n"));
        assert_eq!(file.complaints, [], "{text}");
        file.values["a"].clone()
    }

    #[test]
    fn values_are_those_of_python() {
        let text = |text: &str| XenValue::Text(text.to_owned());
        let list =
            |items: &[&str]| XenValue::List(items.iter().map(|one| (*one).to_owned()).collect());
        for (written, expected) in [
            ("'mail'", text("mail")),
            ("\"it's\"  # a comment", text("it's")),
            (r"'it\'s \x \\'", text(r"it's \x \")),
            ("'a' \"b\" + 'c'", text("abc")),
            ("'''two\nlines'''", text("two\nlines")),
            ("u'mail'", text("mail")),
            ("512", XenValue::Number(512)),
            ("0x10", XenValue::Number(16)),
            ("-1", XenValue::Number(-1)),
            ("True", XenValue::Number(1)),
            ("None", text("")),
            ("[]", list(&[])),
            ("[ 'a', # one\n  \"b\",\n 3, ]", list(&["a", "b", "3"])),
            ("('a',)", list(&["a"])),
            ("\\\n 'a'", text("a")),
        ] {
            assert_eq!(value(written), expected, "{written}");
        }
    }

    #[test]
    fn a_file_is_read_line_by_line_and_what_is_code_is_reported() {
        let file = parse(
            "import os\nname = 'mail'; memory = 512\nname2 = name\ndef f():\n  return 1\ndisk = ['a' % name,\n 'b']\nvcpus = 2",
        );
        let lines: Vec<usize> = file.complaints.iter().map(|one| one.line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7]);
        assert_eq!(file.values["name"], XenValue::Text("mail".to_owned()));
        assert_eq!(file.values["memory"], XenValue::Number(512));
        assert_eq!(file.values["vcpus"], XenValue::Number(2));
        assert!(!file.values.contains_key("disk"));
        assert!(file.complaints[0].words.contains("only NAME = VALUE"));
    }

    #[test]
    fn an_unterminated_value_does_not_affect_the_rest() {
        let file = parse("a = 'x\nb = 2\nc = [ 'y',\n");
        assert_eq!(file.values["a"], XenValue::Text("x".to_owned()));
        assert_eq!(file.values["b"], XenValue::Number(2));
        assert_eq!(file.complaints[0].words, "'c': its list does not end");
    }

    proptest! {
        #[test]
        fn random_text_is_parsed_or_reported(text in ".{0,200}") {
            // The results are checked by the tables above.
            let _ = parse(&text);
        }

        #[test]
        fn random_fragments_are_parsed_or_reported(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "=", "'", "\"", "[", "]", "(", ")", ",", "\n", "\\", "#", "'''", "1", "0x", "+", "-", " ", ";",
                    "é", "disk", "{", "r'",
                ]),
                0..60,
            )
        ) {
            let text = pieces.concat();
            let file = parse(&text);
            prop_assert!(file.complaints.len() <= COMPLAINTS_MAX);
            domain::read(&file, "guest");
        }

        #[test]
        fn a_string_is_what_it_was(text in "[a-z0-9 =,:/'\"\\\\]{0,40}") {
            let written = text.replace('\\', "\\\\").replace('\'', "\\'");
            prop_assert_eq!(value(&format!("'{written}'")), XenValue::Text(text));
        }
    }
}
