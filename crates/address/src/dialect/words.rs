//! Splits a line of `keepalived.conf` into words and braces, and the text of a script into program
//! and arguments.

use super::family::draft::At;
use super::loader::Sink;
use super::text::{Text, is_space};
use crate::codes;
use language::{Diagnostic, Span};

/// Maximum number of words on a line.
const WORDS_MAX: usize = 4096;

/// A word of a line, without its quotes.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceWord {
    pub(super) text: String,
    pub(super) span: Span,
}

impl SourceWord {
    /// Returns the text with its position.
    pub(super) fn at(&self) -> At<String> {
        At {
            value: self.text.clone(),
            span: self.span,
        }
    }
}

/// A word or a brace.
#[derive(Clone, Debug)]
pub(super) enum Token {
    Word(SourceWord),
    Open(Span),
    Close(Span),
}

/// Returns the tokens of a line whose variables are replaced.
pub(super) fn tokens(line: &Text, sink: &mut Sink) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < line.len() && found.len() < WORDS_MAX {
        match line.at(at) {
            b if is_space(b) || b == b'\n' || b == 0 => at += 1,
            b'{' => {
                found.push(Token::Open(line.span(at, at + 1)));
                at += 1;
            }
            b'}' => {
                found.push(Token::Close(line.span(at, at + 1)));
                at += 1;
            }
            _ => {
                let (word, end) = word(line, at, sink);
                found.push(Token::Word(word));
                at = end;
            }
        }
    }
    if found.len() == WORDS_MAX && !line.from(at).trim().is_empty() {
        sink.push(Diagnostic::error(
            &codes::TOO_LARGE,
            line.span(at, line.len()),
            format!("more than {WORDS_MAX} words in a line"),
        ));
    }
    found
}

/// Parses the word at `start`; returns it with the index of its end.
fn word(line: &Text, start: usize, sink: &mut Sink) -> (SourceWord, usize) {
    let mut bytes = Vec::new();
    let mut quote = 0;
    let mut quote_at = start;
    let mut at = start;
    while at < line.len() {
        let byte = line.at(at);
        if quote != 0 {
            if byte == quote {
                quote = 0;
                at += 1;
            } else if byte == b'\\' {
                at = escape(line, at, &mut bytes);
            } else {
                bytes.push(byte);
                at += 1;
            }
            continue;
        }
        match byte {
            b'"' | b'\'' => {
                (quote, quote_at) = (byte, at);
                at += 1;
            }
            b'\\' if matches!(line.at(at + 1), b'"' | b'\'' | b'\\') => {
                bytes.push(line.at(at + 1));
                at += 2;
            }
            // Copies `${NAME}` into the word, because its braces are not those of a block: the
            // variable is undefined.
            b'$' if line.at(at + 1) == b'{' => {
                let end = variable_end(line, at).unwrap_or(at + 1);
                bytes.extend_from_slice(line.part(at, end).bytes());
                at = end;
            }
            b'{' | b'}' => break,
            b if is_space(b) || b == 0 || b == b'\n' => break,
            b => {
                bytes.push(b);
                at += 1;
            }
        }
    }
    if quote != 0 {
        sink.push(
            Diagnostic::error(
                &codes::UNMATCHED_QUOTE,
                line.span(quote_at, quote_at + 1),
                "a quote is opened and not closed before the end of the line",
            )
            .help("close it, or write a backslash before a quote that is meant as a character"),
        );
    }
    let word = SourceWord {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        span: line.span(start, at),
    };
    (word, at)
}

/// Returns the index after the closing brace of `${NAME}`, or None if the text is not of this form.
fn variable_end(line: &Text, dollar: usize) -> Option<usize> {
    let rest = line.bytes().get(dollar + 2..)?;
    let close = rest.iter().position(|b| *b == b'}')?;
    let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    (close > 0 && rest[..close].iter().all(plain)).then_some(dollar + 2 + close + 1)
}

/// Appends the byte that a backslash escape between quotes stands for; returns the index
/// after it.
fn escape(line: &Text, at: usize, out: &mut Vec<u8>) -> usize {
    let next = line.at(at + 1);
    match next {
        0 => {
            out.push(b'\\');
            at + 1
        }
        b'a' => put(out, 7, at + 2),
        b'b' => put(out, 8, at + 2),
        b'E' => put(out, 0x1b, at + 2),
        b'f' => put(out, 0x0c, at + 2),
        b'n' => put(out, b'\n', at + 2),
        b'r' => put(out, b'\r', at + 2),
        b't' => put(out, b'\t', at + 2),
        b'v' => put(out, 0x0b, at + 2),
        b'c' if line.at(at + 2).is_ascii_alphabetic() => put(out, line.at(at + 2) & 0x1f, at + 3),
        b'x' if line.at(at + 2).is_ascii_hexdigit() => number(line, at + 2, 16, usize::MAX, out),
        b'0'..=b'7' => number(line, at + 1, 8, 3, out),
        other => put(out, other, at + 2),
    }
}

fn put(out: &mut Vec<u8>, byte: u8, next: usize) -> usize {
    out.push(byte);
    next
}

/// Parses a byte from digits; if they exceed a byte, the low bits count.
fn number(line: &Text, start: usize, radix: u32, most: usize, out: &mut Vec<u8>) -> usize {
    let mut value: u8 = 0;
    let mut at = start;
    while at - start < most
        && let Some(digit) = char::from(line.at(at)).to_digit(radix)
    {
        value = value.wrapping_mul(radix as u8).wrapping_add(digit as u8);
        at += 1;
    }
    put(out, value, at)
}

/// Splits a script into words: a quoted string is split again at white space outside quotes. None:
/// a quote is not closed.
pub(super) fn command(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => {
                let next = chars.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        let mut sink = Sink::default();
        let text = Text::of_place(line.as_bytes(), Span::default());
        let shown: Vec<String> = tokens(&text, &mut sink)
            .into_iter()
            .map(|t| match t {
                Token::Word(w) => format!("[{}]", w.text),
                Token::Open(_) => "{".to_owned(),
                Token::Close(_) => "}".to_owned(),
            })
            .collect();
        let faults = sink.count();
        format!("{}{}", shown.join(" "), "!".repeat(faults))
    }

    #[test]
    fn words_are_parted_as_keepalived_parts_them() {
        for (line, words) in [
            ("a b  c", "[a] [b] [c]"),
            ("k{l }m {n", "[k] { [l] } [m] { [n]"),
            ("abcd\" efg h jkl \"mnop", "[abcd efg h jkl mnop]"),
            ("abcd \"efg h jkl\" mnop", "[abcd] [efg h jkl] [mnop]"),
            ("\"a{b}\"", "[a{b}]"),
            ("'it\"s'", "[it\"s]"),
            ("\"x\\\"y\"", "[x\"y]"),
            ("\"\\x41\\102\\t|\"", "[AB\t|]"),
            ("\"\\c\"", "[c]"),
            ("\"\\cA\"", "[\u{1}]"),
            ("${UNDEF}.1 $X", "[${UNDEF}.1] [$X]"),
            ("\"open", "[open]!"),
            ("\"\" x", "[] [x]"),
        ] {
            assert_eq!(read(line), words, "{line}");
        }
    }

    #[test]
    fn a_command_in_quotes_is_parted_again() {
        let words = |text| command(text).map(|w| w.join("|"));
        assert_eq!(words("/bin/a b 'c d'"), Some("/bin/a|b|c d".to_owned()));
        assert_eq!(words("  "), Some(String::new()));
        assert_eq!(words("/bin/a ''"), Some("/bin/a|".to_owned()));
        assert_eq!(words("/bin/a \"b"), None);
    }
}
