//! Defines the errors in the bytes of a configuration line, and their diagnostics.

use super::lex::{LINE_BYTES_MAX, WORDS_MAX};
use crate::codes;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::source::{SourceMap, Span};

/// The kinds of lexical errors in a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultKind {
    /// A quote without its partner: `"` or `'`.
    #[error("unmatched quote")]
    Quote(u8),
    /// An unmatched quote in a file for HAProxy before 1.6, where quotes were ordinary
    /// bytes.
    #[error("a single quote is an ordinary character in a file this old")]
    OldQuote(u8),
    #[error("truncated or invalid hexadecimal sequence")]
    Hexadecimal,
    /// A variable whose name begins with an invalid character.
    #[error("forbidden first char in environment variable name")]
    VariableName,
    #[error("unmatched brace in environment variable name")]
    VariableBrace,
    /// `[` in a variable that does not continue as `[*]`.
    #[error("truncated or invalid word expansion sequence")]
    VariableSplit,
    /// A line has more than [`WORDS_MAX`] words.
    #[error("too many words, truncating after word {WORDS_MAX}")]
    TooManyWords,
    /// A line has more than [`LINE_BYTES_MAX`] bytes.
    #[error("line too long, truncating after {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// `\x00` or a variable with such a byte: the word ends there.
    #[error("a NUL byte ends this word")]
    Nul,
    /// A carriage return that text follows: the line ends there.
    #[error("the text after the carriage return is ignored")]
    CarriageReturn,
    /// A written empty word (`""`) that other words follow.
    #[error("this word is empty, so the rest of the line is ignored")]
    EmptyWord,
    /// An empty word from a variable that other words follow.
    #[error("this word is empty, so the rest of the line is ignored")]
    EmptyVariable,
}

/// An error and its position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LexicalError {
    pub kind: FaultKind,
    pub span: Span,
}

impl FaultKind {
    /// Returns whether the error refuses the line.
    pub fn is_error(self) -> bool {
        self.severity() == Severity::Error
    }

    fn severity(self) -> Severity {
        match self {
            FaultKind::OldQuote(_)
            | FaultKind::Nul
            | FaultKind::CarriageReturn
            | FaultKind::EmptyWord => Severity::Warning,
            FaultKind::EmptyVariable => Severity::Diag,
            _ => Severity::Error,
        }
    }

    fn code(self) -> &'static Code {
        match self {
            FaultKind::Quote(_) => &codes::UNMATCHED_QUOTE,
            FaultKind::OldQuote(_) => &codes::OLD_QUOTE,
            FaultKind::Hexadecimal => &codes::BAD_HEXADECIMAL,
            FaultKind::VariableName => &codes::BAD_VARIABLE_NAME,
            FaultKind::VariableBrace => &codes::UNMATCHED_BRACE,
            FaultKind::VariableSplit => &codes::BAD_WORD_EXPANSION,
            FaultKind::TooManyWords => &codes::TOO_MANY_WORDS,
            FaultKind::TooLong => &codes::LINE_TOO_LONG,
            FaultKind::Nul => &codes::NUL_IN_WORD,
            FaultKind::CarriageReturn => &codes::CARRIAGE_RETURN,
            FaultKind::EmptyWord | FaultKind::EmptyVariable => &codes::EMPTY_WORD,
        }
    }
}

impl LexicalError {
    pub fn diagnostic(&self, sources: &SourceMap) -> Diagnostic {
        let span = self.span;
        let told = Diagnostic::new(
            self.kind.code(),
            self.kind.severity(),
            span,
            self.kind.to_string(),
        );
        match self.kind {
            FaultKind::Quote(quote) => {
                told.label("opened here and not closed on this line")
                    .help(format!(
                        "close it with {0}, or write \\{0} for the character itself",
                        quote as char
                    ))
            }
            FaultKind::OldQuote(quote) => told
                .label("HAProxy 1.6 and later expect a closing quote")
                .help(format!("write \\{}", quote as char))
                .fix(span, format!("\\{}", quote as char)),
            FaultKind::Hexadecimal => told
                .label("expected two hexadecimal digits after \\x")
                .help("for a backslash and an x write \\\\x"),
            FaultKind::VariableName => told
                .label("a name begins with a letter or '_'")
                .help("for a dollar sign itself write \\$ or use single quotes"),
            FaultKind::VariableBrace => {
                let written = sources.snippet(span);
                let told = told.label("the name ends here, and no '}' follows");
                match written.split_once(['{']) {
                    Some((_, name)) if !name.is_empty() => {
                        told.help(format!("write \"${{{name}}}\" or \"${{{name}-default}}\""))
                    }
                    _ => told.help("write \"${NAME}\" or \"${NAME-default}\""),
                }
            }
            FaultKind::VariableSplit => told
                .label("only [*] is allowed here")
                .help("write \"${NAME[*]}\" to split the variable into words"),
            FaultKind::TooManyWords => told
                .label("the rest is ignored")
                .help("use several lines, or put the words in a file"),
            FaultKind::EmptyWord => told.label("empty"),
            FaultKind::EmptyVariable => told.label("empty after replacing its variables"),
            FaultKind::TooLong | FaultKind::Nul | FaultKind::CarriageReturn => told,
        }
    }
}

pub(super) fn nul_byte(span: Span) -> Diagnostic {
    Diagnostic::error(&codes::NUL_BYTE, span, "stray NUL character")
        .label("the rest of the line is ignored")
        .help("the file is damaged or not UTF-8: save it as UTF-8 text")
}

pub(super) fn missing_line_feed(end: Span) -> Diagnostic {
    Diagnostic::error(
        &codes::MISSING_LINE_FEED,
        end,
        "missing LF on last line, file might have been truncated",
    )
    .label("the file ends here")
    .help("if the file is whole, end its last line with a line feed")
    .fix(end, "\n")
}
