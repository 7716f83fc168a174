//! Compiles and evaluates formats: text in which values of a stream are inserted, for log lines,
//! headers, targets, redirects and variables. A format is compiled to a list of pieces when a file
//! is loaded. Evaluation appends to a buffer and looks up no keywords. Only converters in the
//! format can change something, such as a variable.

mod alias;
mod built_in;
mod json;
mod parse;
mod text;

use crate::compiled::format::FormatItem;
pub use crate::compiled::format::{Alias, Dialect, Flags, Format, alias_doc};
pub(super) use alias::{documented, server_address};
pub use built_in::{BuiltIn, built_in, built_in_texts};

use super::usage::Usage;
use crate::compiled::Expression;
use crate::rules::argument::ArgumentText as Source;
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use language::{ConfigWord, Diagnostic};
use text::Put;

impl FormatItem {
    fn alias(&self) -> Option<Alias> {
        match self {
            FormatItem::Alias(alias, _) => Some(*alias),
            FormatItem::Json(member) => member.item().alias(),
            FormatItem::Text(_) | FormatItem::Space | FormatItem::Expression(..) => None,
        }
    }
}

impl Format {
    /// Parses a format from a word. The usage determines the data that expressions can read, and
    /// the dialect: logs have their own.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::parse_as`].
    pub fn parse(
        loader: &mut ConfigDraft,
        word: &ConfigWord,
        usage: Usage,
    ) -> Result<Format, Diagnostic> {
        let dialect = if usage == Usage::LOG {
            Dialect::Log
        } else {
            Dialect::Text
        };
        Self::parse_as(loader, word, usage, dialect)
    }

    /// Parses a format with an explicit dialect.
    ///
    /// # Errors
    /// An item is malformed, not closed, unknown or not supported. An expression is invalid, or
    /// needs data that `usage` lacks. The format has too many items.
    pub fn parse_as(
        loader: &mut ConfigDraft,
        word: &ConfigWord,
        usage: Usage,
        dialect: Dialect,
    ) -> Result<Format, Diagnostic> {
        let source = Source::of(&loader.context.sources, word);
        Self::parse_source(loader, &source, usage, dialect)
    }

    fn parse_source(
        loader: &mut ConfigDraft,
        source: &Source<'_>,
        usage: Usage,
        dialect: Dialect,
    ) -> Result<Format, Diagnostic> {
        let mut warnings = Vec::new();
        let pieces = parse::pieces(source, dialect, &mut warnings, &mut |start| {
            Expression::parse_part(loader, source, start, usage)
        })?;
        loader.report_all(warnings);
        let format = Format { pieces, dialect };
        loader.config.global.recording.server_end |=
            format.shows(&[Alias::ServerSideIp, Alias::ServerSidePort]);
        Ok(format)
    }

    pub fn constant(text: &[u8]) -> Format {
        Format {
            pieces: Box::new([FormatItem::Text(text.into())]),
            dialect: Dialect::Text,
        }
    }

    /// Returns the text of a format that has nothing to insert.
    pub fn as_constant(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [FormatItem::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub fn shows(&self, aliases: &[Alias]) -> bool {
        let mut shown = self.pieces.iter().filter_map(FormatItem::alias);
        shown.any(|alias| aliases.contains(&alias))
    }

    /// Returns the name of the first alias that has a value in HTTP mode only.
    pub fn needs_http(&self) -> Option<&'static str> {
        let mut shown = self.pieces.iter().filter_map(FormatItem::alias);
        shown.find(|alias| alias.is_http()).map(Alias::name)
    }

    /// Changes a format that was parsed as a log line, so that missing values are empty. Used for
    /// unique IDs of streams.
    pub fn leave_gaps(&mut self) {
        self.dialect = Dialect::Text;
    }

    pub fn append(&self, stream: &ProxyStream, out: &mut Vec<u8>) {
        let mut after_space = self.dialect == Dialect::Log;
        for piece in &self.pieces {
            match piece {
                FormatItem::Text(text) => {
                    out.extend_from_slice(text);
                    after_space = false;
                }
                FormatItem::Space => {
                    if !after_space {
                        out.push(b' ');
                        after_space = true;
                    }
                }
                FormatItem::Alias(alias, flags) => {
                    let mut put = Put {
                        out,
                        flags: *flags,
                        dash: self.dialect == Dialect::Log,
                    };
                    if alias.append(stream, &mut put) {
                        after_space = false;
                    }
                }
                FormatItem::Expression(expression, flags) => {
                    let mut put = Put {
                        out,
                        flags: *flags,
                        dash: self.dialect == Dialect::Log,
                    };
                    match expression.evaluate(stream) {
                        Some(value) if self.dialect == Dialect::Text => {
                            value.with_text(|text| put.visible(text))
                        }
                        // Writes an empty value as a missing one, so that a client cannot shift
                        // columns.
                        Some(value) => value.with_text(|text| put.text_or_missing(text)),
                        None if self.dialect == Dialect::Text => {}
                        None => put.missing(),
                    }
                    after_space = false;
                }
                FormatItem::Json(member) => {
                    member.append(stream, out);
                    after_space = false;
                }
            }
        }
    }

    pub fn fill(&self, stream: &ProxyStream) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(stream, &mut out);
        out
    }
}

#[cfg(test)]
mod tests;
