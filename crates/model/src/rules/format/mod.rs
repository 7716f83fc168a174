//! Formats: text with what is known of a stream filled in, for log lines,
//! headers, targets, redirections and variables. A format is compiled when a
//! file is loaded to a list of pieces; filling one in appends to a buffer and
//! looks no name up. It changes nothing of the stream.

mod alias;
mod built_in;
mod json;
mod parse;
mod text;

use crate::compiled::format::Piece;
pub use crate::compiled::format::{Alias, Dialect, Flags, Format, alias_doc};
pub(super) use alias::{documented, server_address};
pub use built_in::{BuiltIn, built_in, built_in_texts};

use super::usage::Usage;
use crate::compiled::Expression;
use crate::rules::argument::Piece as Source;
use crate::rules::draft::Draft;
use crate::transaction::Stream;
use language::{Diagnostic, Word};
use text::Put;

impl Piece {
    /// The alias that it shows.
    fn alias(&self) -> Option<Alias> {
        match self {
            Piece::Alias(alias, _) => Some(*alias),
            Piece::Json(member) => member.item().alias(),
            Piece::Text(_) | Piece::Space | Piece::Expression(..) => None,
        }
    }
}

impl Format {
    /// Reads one from a word. Where it is used says what its expressions may
    /// look at, and the dialect: that of logs for logs.
    pub fn parse(loader: &mut Draft, word: &Word, usage: Usage) -> Result<Format, Diagnostic> {
        let dialect = if usage == Usage::LOG {
            Dialect::Log
        } else {
            Dialect::Text
        };
        Self::parse_as(loader, word, usage, dialect)
    }

    /// The same with a dialect of its own.
    pub fn parse_as(
        loader: &mut Draft,
        word: &Word,
        usage: Usage,
        dialect: Dialect,
    ) -> Result<Format, Diagnostic> {
        let source = Source::of(&loader.context.sources, word);
        Self::parse_source(loader, &source, usage, dialect)
    }

    /// The same from any text.
    fn parse_source(
        loader: &mut Draft,
        source: &Source<'_>,
        usage: Usage,
        dialect: Dialect,
    ) -> Result<Format, Diagnostic> {
        let mut warnings = Vec::new();
        let pieces = parse::pieces(source, dialect, &mut warnings, &mut |start| {
            Expression::parse_part(loader, source, start, usage)
        })?;
        loader.tell_all(warnings);
        let format = Format { pieces, dialect };
        loader.config.global.asked.server_end |=
            format.shows(&[Alias::ServerSideIp, Alias::ServerSidePort]);
        Ok(format)
    }

    /// A text without anything to fill in.
    pub fn constant(text: &[u8]) -> Format {
        Format {
            pieces: Box::new([Piece::Text(text.into())]),
            dialect: Dialect::Text,
        }
    }

    /// Its text, when nothing is to be filled in.
    pub fn as_constant(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it has one of these aliases.
    pub fn shows(&self, aliases: &[Alias]) -> bool {
        let mut shown = self.pieces.iter().filter_map(Piece::alias);
        shown.any(|alias| aliases.contains(&alias))
    }

    /// The first alias that only HTTP has, by its name.
    pub fn needs_http(&self) -> Option<&'static str> {
        let mut shown = self.pieces.iter().filter_map(Piece::alias);
        shown.find(|alias| alias.is_http()).map(Alias::name)
    }

    /// It was read as a log line, but what is missing leaves nothing: ids of streams.
    pub fn leave_gaps(&mut self) {
        self.dialect = Dialect::Text;
    }

    /// Appends what it makes of a stream.
    pub fn append(&self, stream: &Stream, out: &mut Vec<u8>) {
        let mut after_space = self.dialect == Dialect::Log;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text);
                    after_space = false;
                }
                Piece::Space => {
                    if !after_space {
                        out.push(b' ');
                        after_space = true;
                    }
                }
                Piece::Alias(alias, flags) => {
                    let mut put = Put {
                        out,
                        flags: *flags,
                        dash: self.dialect == Dialect::Log,
                    };
                    if alias.append(stream, &mut put) {
                        after_space = false;
                    }
                }
                Piece::Expression(expression, flags) => {
                    let mut put = Put {
                        out,
                        flags: *flags,
                        dash: self.dialect == Dialect::Log,
                    };
                    match expression.evaluate(stream) {
                        Some(value) if self.dialect == Dialect::Text => {
                            value.with_text(|text| put.visible(text))
                        }
                        // An empty value leaves a field as well: a client cannot shift columns.
                        Some(value) => value.with_text(|text| put.text_or_missing(text)),
                        None if self.dialect == Dialect::Text => {}
                        None => put.missing(),
                    }
                    after_space = false;
                }
                Piece::Json(member) => {
                    member.append(stream, out);
                    after_space = false;
                }
            }
        }
    }

    /// What it makes of a stream, in a buffer of its own.
    pub fn fill(&self, stream: &Stream) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(stream, &mut out);
        out
    }
}

#[cfg(test)]
mod tests;
