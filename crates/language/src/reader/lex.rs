//! Splits one physical line into words: quotes, escapes, variables and comments. The lexer knows no
//! directive and no keyword, and never stops at an error: it records the error and continues as
//! well as possible.

use super::fault::{FaultKind, LexicalError};
use crate::environment::Environment;
use crate::source::{FileId, Span};
use crate::token::ConfigWord;

/// Maximum words of a line, its keyword included; HAProxy's own limit.
pub const WORDS_MAX: usize = 64;

/// Maximum bytes of a line, before and after its variables are expanded.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// Maximum unset variables that a line's diagnostics name.
const UNSET_MAX: usize = 8;

/// The variables that a line may refer to.
pub(super) struct Scope<'a> {
    pub env: &'a Environment,
    pub file_name: &'a str,
    pub line_number: u32,
    pub section: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Space,
    Special,
}

/// The class of each byte outside quotes.
static CLASSES: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let spaces = b" \t\x0b\x0c";
    let specials = b"#\"'\\\r";
    let mut i = 0;
    while i < spaces.len() {
        table[spaces[i] as usize] = Class::Space;
        i += 1;
    }
    i = 0;
    while i < specials.len() {
        table[specials[i] as usize] = Class::Special;
        i += 1;
    }
    table
};

pub(super) fn is_space(byte: u8) -> bool {
    CLASSES[usize::from(byte)] == Class::Space
}

/// Reads words from `text`, which begins at byte `base` of the file and contains neither line feed
/// nor NUL.
pub(super) struct Lexer<'a> {
    pub text: &'a [u8],
    pub file: FileId,
    pub base: u32,
    pub scope: &'a Scope<'a>,
    pub words: Vec<ConfigWord>,
    pub faults: Vec<LexicalError>,
    /// A hash begins a comment (true in a file, false on a command line).
    pub comments: bool,
    /// Variables are expanded. Otherwise a NUL precedes the `$` of each variable; no word
    /// contains a NUL otherwise.
    pub variables: bool,
    /// Quotes are special: before HAProxy 1.6 they were ordinary bytes.
    pub quotes: bool,
    at: usize,
    /// Number of bytes that variables added to this line.
    grown: usize,
    /// Variables without a value, each once.
    pub unset: Vec<String>,
}

struct Building {
    start: usize,
    bytes: Vec<u8>,
    /// A NUL has ended the word, and further bytes are dropped.
    cut: bool,
    /// The open quote and its position.
    quote: Option<(u8, usize)>,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], file: FileId, base: u32, scope: &'a Scope<'a>) -> Self {
        Lexer {
            text,
            file,
            base,
            scope,
            words: Vec::new(),
            faults: Vec::new(),
            comments: true,
            variables: true,
            quotes: true,
            at: 0,
            grown: 0,
            unset: Vec::new(),
        }
    }

    /// Reads the whole line, up to an empty word.
    pub fn run(&mut self) {
        self.scan();
        self.end_at_empty_word();
    }

    /// Reads the line again without quotes if a quote is unmatched.
    pub fn without_quotes(&mut self) {
        let lonely = |fault: &LexicalError| matches!(fault.kind, FaultKind::Quote(_));
        if !self.faults.iter().any(lonely) {
            return;
        }
        let mut plain = Lexer::new(self.text, self.file, self.base, self.scope);
        plain.quotes = false;
        plain.run();
        // Reports the other quotes of the line, too, which are ordinary characters.
        let (mut at, read) = (0, self.text.get(..plain.at).unwrap_or(self.text));
        while let Some(byte) = read.get(at) {
            match *byte {
                b'\\' => at += 1,
                quote @ (b'"' | b'\'') => plain.faults.push(LexicalError {
                    kind: FaultKind::OldQuote(quote),
                    span: plain.span(at, at + 1),
                }),
                _ => {}
            }
            at += 1;
        }
        *self = plain;
    }

    /// Reads the whole line, empty words included.
    pub fn scan(&mut self) {
        // Reserves space for the words of most lines; unused capacity is freed with the line.
        self.words.reserve(8);
        while self.skip_to_word() {
            if self.words.len() >= WORDS_MAX {
                self.fault(FaultKind::TooManyWords, self.at, self.text.len());
                break;
            }
            self.word();
            self.carriage_return();
        }
    }

    /// Skips white space; returns false at the end of the line or at a comment.
    fn skip_to_word(&mut self) -> bool {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'#' if self.comments => return false,
                // Skips a carriage return between words, where it is white space; directly after a
                // word it ends the line.
                b'\r' => self.at += 1,
                _ if is_space(*byte) => self.at += 1,
                _ => return true,
            }
        }
        false
    }

    /// Ends the line at a carriage return directly after a word, and reports text after it, which
    /// would be lost.
    fn carriage_return(&mut self) {
        if self.text.get(self.at) != Some(&b'\r') {
            return;
        }
        let rest = &self.text[self.at + 1..];
        if rest.iter().any(|b| !is_space(*b) && *b != b'\r') {
            self.fault(FaultKind::CarriageReturn, self.at, self.text.len());
        }
        self.at = self.text.len();
    }

    fn word(&mut self) {
        let start = self.at;
        let run = self.text[start..]
            .iter()
            .position(|b| CLASSES[usize::from(*b)] != Class::Plain)
            .unwrap_or(self.text.len() - start);
        self.at = start + run;
        let bytes = self.text[start..self.at].to_vec();
        match self.text.get(self.at) {
            None => self.push(start, self.at, bytes),
            Some(byte) if is_space(*byte) => self.push(start, self.at, bytes),
            Some(_) => self.slow_word(Building {
                start,
                bytes,
                cut: false,
                quote: None,
            }),
        }
    }

    /// Reads a word that contains a quote, an escape or a comment.
    fn slow_word(&mut self, mut word: Building) {
        let first = self.words.len();
        let faults = self.faults.len();
        while let Some(&byte) = self.text.get(self.at) {
            match (word.quote, byte) {
                (None, b'#') if self.comments => break,
                (_, b'\r') => break,
                (None, _) if is_space(byte) => break,
                (None, b'"' | b'\'') if self.quotes => {
                    word.quote = Some((byte, self.at));
                    self.at += 1;
                }
                (Some((open, _)), _) if open == byte => {
                    word.quote = None;
                    self.at += 1;
                }
                (None | Some((b'"', _)), b'\\') => self.escape(&mut word),
                (Some((b'"', _)), b'$') if self.variables => self.variable(&mut word),
                (Some((b'"', _)), b'$') => {
                    word.bytes.extend_from_slice(b"\0$");
                    self.at += 1;
                }
                _ => {
                    word.push(byte);
                    self.at += 1;
                }
            }
        }
        // Reports no unmatched quote after another error of the word: a variable without its brace
        // swallows the quote.
        if let (Some((quote, opened)), true) = (word.quote, faults == self.faults.len()) {
            self.fault(FaultKind::Quote(quote), opened, self.at);
        }
        self.push(word.start, self.at, word.bytes);
        // Gives the words from `[*]` the span of the whole written word.
        let span = self.span(word.start, self.at);
        for made in &mut self.words[first..] {
            made.span = span;
        }
    }

    fn escape(&mut self, word: &mut Building) {
        let Some(&next) = self.text.get(self.at + 1) else {
            // Keeps a backslash at the end of a line as an ordinary character, because nothing
            // joins lines.
            word.push(b'\\');
            self.at += 1;
            return;
        };
        let plain = match next {
            b' ' | b'#' | b'\\' | b'"' | b'\'' => Some(next),
            b'$' if word.quote.is_some() => Some(next),
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'x' => return self.hexadecimal(word),
            _ => None,
        };
        match plain {
            Some(byte) => {
                word.push(byte);
                self.at += 2;
            }
            None => {
                word.push(b'\\');
                self.at += 1;
            }
        }
    }

    fn hexadecimal(&mut self, word: &mut Building) {
        let digit = |at: usize| {
            self.text
                .get(at)
                .and_then(|b| (*b as char).to_digit(16))
                .map(|d| d as u8)
        };
        match (digit(self.at + 2), digit(self.at + 3)) {
            (Some(high), Some(low)) => {
                let byte = high * 16 + low;
                if byte == 0 {
                    self.fault(FaultKind::Nul, self.at, self.at + 4);
                    word.cut = true;
                }
                word.push(byte);
                self.at += 4;
            }
            (first, _) => {
                let end = self.at + 2 + usize::from(first.is_some());
                self.fault(FaultKind::Hexadecimal, self.at, end);
                word.push(b'\\');
                self.at += 1;
            }
        }
    }

    fn variable(&mut self, word: &mut Building) {
        let dollar = self.at;
        let braced = self.text.get(dollar + 1) == Some(&b'{');
        let name_at = dollar + 1 + usize::from(braced);
        let name_end = self.name_end(name_at);
        let Some(name) = name_end.map(|end| (end, &self.text[name_at..end])) else {
            let end = (name_at + 1).min(self.text.len());
            self.fault(FaultKind::VariableName, name_at, end);
            word.push(b'$');
            self.at += 1;
            return;
        };
        let (mut end, name) = name;
        let mut split = false;
        let mut default: Option<&[u8]> = None;
        if braced {
            if self.text.get(end) == Some(&b'[') {
                if !self.text[end..].starts_with(b"[*]") {
                    self.fault(FaultKind::VariableSplit, end, end + 1);
                    self.at = end;
                    return;
                }
                split = true;
                end += 3;
            }
            if self.text.get(end) == Some(&b'-') {
                let close = self.text[end..]
                    .iter()
                    .position(|b| matches!(b, b'}' | b'\r'));
                let close = close.map_or(self.text.len(), |n| end + n);
                default = Some(&self.text[end + 1..close]);
                end = close;
            }
            if self.text.get(end) != Some(&b'}') {
                self.fault(FaultKind::VariableBrace, dollar + 1, end);
                self.at = end;
                return;
            }
            end += 1;
        }
        self.at = end;
        let line;
        let value: Option<&[u8]> = match name {
            b".FILE" => Some(self.scope.file_name.as_bytes()),
            b".SECTION" => Some(self.scope.section.as_bytes()),
            b".LINE" => {
                line = self.scope.line_number.to_string();
                Some(line.as_bytes())
            }
            _ => std::str::from_utf8(name)
                .ok()
                .and_then(|name| self.scope.env.get(name)),
        };
        let value = value.or(default).unwrap_or_else(|| {
            let name = String::from_utf8_lossy(name);
            if self.unset.len() < UNSET_MAX && !self.unset.iter().any(|known| *known == name) {
                self.unset.push(name.into_owned());
            }
            b""
        });
        self.grown += value.len();
        if self.grown > LINE_BYTES_MAX {
            self.fault(FaultKind::TooLong, dollar, end);
            return;
        }
        // Copies the value, because its borrow would outlive the changes below.
        let value = value.to_vec();
        self.insert(word, &value, split, dollar);
    }

    /// Returns the end of the name that begins at `at`: a letter or an underscore, then also
    /// digits; or one of the pseudo-variables.
    fn name_end(&self, at: usize) -> Option<usize> {
        let dotted = self.text.get(at) == Some(&b'.');
        let first = at + usize::from(dotted);
        let begins = self
            .text
            .get(first)
            .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
        if !begins {
            return None;
        }
        let length = self.text[first..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let end = first + length;
        let known = !dotted || matches!(&self.text[at..end], b".FILE" | b".LINE" | b".SECTION");
        known.then_some(end)
    }

    /// Inserts a value into the word; with `split`, every run of white space in it begins a new
    /// word. All words share the span of the written text.
    fn insert(&mut self, word: &mut Building, value: &[u8], split: bool, dollar: usize) {
        let mut in_space = false;
        for &byte in value {
            let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
            if byte == 0 && !word.cut {
                self.fault(FaultKind::Nul, dollar, self.at);
                word.cut = true;
            }
            if !(split && space) {
                word.push(byte);
            } else if !in_space {
                if self.words.len() + 1 >= WORDS_MAX {
                    self.fault(FaultKind::TooManyWords, dollar, self.at);
                    return;
                }
                let bytes = std::mem::take(&mut word.bytes);
                word.cut = false;
                self.push(word.start, self.at, bytes);
            }
            in_space = space;
        }
    }

    fn push(&mut self, start: usize, end: usize, bytes: Vec<u8>) {
        let span = self.span(start, end);
        self.words.push(ConfigWord { bytes, span });
    }

    fn fault(&mut self, kind: FaultKind, start: usize, end: usize) {
        let span = self.span(start, end.min(self.text.len()));
        // Reports each error once: a line has too many words only once, and a word has one NUL
        // error.
        let once = |f: &LexicalError| {
            f.kind == kind && (f.span == span || kind == FaultKind::TooManyWords)
        };
        if !self.faults.iter().any(once) {
            self.faults.push(LexicalError { kind, span });
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: self.base + start as u32,
            end: self.base + end.max(start) as u32,
        }
    }

    /// Ends the line at an empty word, as HAProxy ends its list of arguments. Reported when words
    /// follow.
    fn end_at_empty_word(&mut self) {
        let Some(first) = self.words.iter().position(|w| w.bytes.is_empty()) else {
            return;
        };
        let span = self.words[first].span;
        let hides = self.words[first + 1..].iter().any(|w| w.span != span);
        self.words.truncate(first);
        if hides {
            let written = span.start.saturating_sub(self.base) as usize
                ..span.end.saturating_sub(self.base) as usize;
            let variable = self.text.get(written).is_some_and(|w| w.contains(&b'$'));
            let kind = if variable {
                FaultKind::EmptyVariable
            } else {
                FaultKind::EmptyWord
            };
            self.faults.push(LexicalError { kind, span });
        }
    }
}

impl Building {
    fn push(&mut self, byte: u8) {
        if !self.cut {
            self.bytes.push(byte);
        }
    }
}
