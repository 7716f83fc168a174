//! Parses formats: text, `%%`, `%(name){flags}alias`, `%(name){flags}[expression]`.

use super::{Alias, Dialect, Flags, FormatItem, json};
use crate::compiled::Expression;
use crate::compiled::format::{Cast, JsonMember};
use crate::rules::action::codes;
use crate::rules::argument::ArgumentText as Source;
use language::arguments::Built;
use language::{Diagnostic, suggest};

pub const PIECES_MAX: usize = 4096;

type ReadExpression<'e> = &'e mut dyn FnMut(usize) -> Result<(Expression, usize), Diagnostic>;

/// Parses a whole format. `expression` parses an expression at an offset and returns its end.
pub(super) fn pieces(
    source: &Source<'_>,
    dialect: Dialect,
    warnings: &mut Vec<Diagnostic>,
    expression: ReadExpression<'_>,
) -> Result<Box<[FormatItem]>, Diagnostic> {
    let mut reader = Reader {
        source,
        at: 0,
        text: Vec::new(),
        pieces: Vec::new(),
        base: Flags::default(),
        members: Vec::new(),
        nameless: None,
        warnings,
    };
    while let Some(byte) = reader.take() {
        match byte {
            b'%' => reader.percent(expression)?,
            b' ' if dialect == Dialect::Log => {
                reader.end_text();
                // Adds one space for consecutive blanks, and none at the start.
                if !matches!(reader.pieces.last(), None | Some(FormatItem::Space)) {
                    reader.pieces.push(FormatItem::Space);
                }
            }
            other => reader.text.push(other),
        }
        if reader.pieces.len() > PIECES_MAX {
            let whole = 0..source.bytes.len();
            return Err(Diagnostic::error(
                &codes::FORMAT_SYNTAX,
                source.span(whole),
                format!("a format of more than {PIECES_MAX} parts"),
            ));
        }
    }
    reader.end_text();
    if reader.base.json {
        return reader.object();
    }
    Ok(reader.pieces.into())
}

/// Name and type in the parentheses before an item.
#[derive(Default)]
struct ItemName {
    key: String,
    cast: Option<Cast>,
}

struct Reader<'r, 's> {
    source: &'r Source<'s>,
    at: usize,
    text: Vec<u8>,
    pieces: Vec<FormatItem>,
    /// Flags of `%{…}o`, which apply to all later items.
    base: Flags,
    /// Named items in order, for a line that is a JSON object.
    members: Vec<(String, JsonMember)>,
    /// Range of the first part that a JSON object would omit.
    nameless: Option<(usize, usize)>,
    warnings: &'r mut Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.source.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces
                .push(FormatItem::Text(std::mem::take(&mut self.text).into()));
        }
    }

    fn error(&self, from: usize, to: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&codes::FORMAT_SYNTAX, self.source.span(from..to), message)
            .help("write `%%` for a percent sign")
    }

    /// Parses the text after a percent sign.
    fn percent(&mut self, expression: ReadExpression<'_>) -> Built {
        let start = self.at - 1;
        if self.peek() == Some(b'%') {
            self.at += 1;
            self.text.push(b'%');
            return Ok(());
        }
        let mut name = ItemName::default();
        if self.peek() == Some(b'(') {
            self.at += 1;
            name = self.name(start)?;
        }
        let mut flags = self.base;
        if self.peek() == Some(b'{') {
            self.at += 1;
            flags = self.flags(start)?;
        }
        match self.peek() {
            Some(b'[') => self.expression(start, name, flags, expression),
            Some(byte) if byte.is_ascii_alphanumeric() => self.alias(start, name, flags),
            Some(_) => Err(self.error(
                start,
                self.at + 1,
                "expected a name or '[' after the '%' of a format",
            )),
            None => Err(self.error(start, self.at, "truncated line after '%'")),
        }
    }

    /// Parses `name:type)`; the opening parenthesis is already read.
    fn name(&mut self, start: usize) -> Result<ItemName, Diagnostic> {
        let from = self.at;
        let Some(length) = self.source.bytes[from..].iter().position(|b| *b == b')') else {
            let end = self.source.bytes.len();
            return Err(self.error(start, end, "the '(' of a format is not closed"));
        };
        self.at = from + length + 1;
        let text = self.source.text(from..from + length);
        let (key, kind) = text.split_once(':').unwrap_or((&text, ""));
        let cast = match kind {
            "" => None,
            "str" => Some(Cast::Str),
            "sint" => Some(Cast::Int),
            "bool" => Some(Cast::Bool),
            _ => {
                let mut wrong = self.error(
                    from + key.len() + 1,
                    from + length,
                    format!("unknown value type '{kind}'"),
                );
                wrong = wrong.help("valid types: str, sint and bool, as in `%(status:str)ST`");
                return Err(wrong);
            }
        };
        let key = key.to_owned();
        Ok(ItemName { key, cast })
    }

    /// Adds an item that begins at the percent sign at `start`.
    fn item(&mut self, start: usize, name: ItemName, flags: Flags, piece: FormatItem) {
        self.end_text();
        let member = JsonMember::new(piece, name.cast);
        if !name.key.is_empty() {
            self.members.push((name.key, member.clone()));
        } else if self.nameless.is_none() {
            self.nameless = Some((start, self.at));
        }
        self.pieces.push(if flags.json {
            FormatItem::Json(Box::new(member))
        } else {
            member.into_item()
        });
    }

    /// Converts the whole line to a JSON object of the named items.
    fn object(self) -> Result<Box<[FormatItem]>, Diagnostic> {
        if let Some((from, to)) = self.nameless {
            self.warnings.push(
                Diagnostic::warning(
                    &codes::NAMELESS_ITEM,
                    self.source.span(from..to),
                    "an unnamed item in a JSON log line",
                )
                .label("is omitted")
                .help("add its name in parentheses after the percent sign, as in `%(client)ci`"),
            );
        }
        Ok(json::object(self.members))
    }

    /// Parses `+Q,-X}`; the opening brace is already read.
    fn flags(&mut self, start: usize) -> Result<Flags, Diagnostic> {
        let from = self.at;
        let Some(length) = self.source.bytes[from..].iter().position(|b| *b == b'}') else {
            let end = self.source.bytes.len();
            return Err(self.error(start, end, "the '{' of a format is not closed"));
        };
        self.at = from + length + 1;
        let mut flags = self.base;
        let mut at = from;
        for part in self.source.bytes[from..from + length].split(|b| *b == b',') {
            let (on, flag) = match part {
                [b'+', flag @ ..] => (true, flag),
                [b'-', flag @ ..] => (false, flag),
                _ => (true, b"".as_slice()),
            };
            match flag {
                b"Q" => flags.quoted = on,
                b"X" => flags.hex = on,
                b"E" => flags.escaped = on,
                b"json" => flags.json = on,
                _ => self.warnings.push(
                    Diagnostic::warning(
                        &codes::UNKNOWN_FLAG,
                        self.source.span(at..at + part.len()),
                        format!("unknown format flag '{}'", String::from_utf8_lossy(part)),
                    )
                    .label("has no effect")
                    .help("valid flags: +Q, +X, +E, +json and their opposites -Q, -X, -E, -json"),
                ),
            }
            at += part.len() + 1;
        }
        Ok(flags)
    }

    /// Parses `[expression]`, beginning at its opening bracket.
    fn expression(
        &mut self,
        start: usize,
        name: ItemName,
        flags: Flags,
        expression: ReadExpression<'_>,
    ) -> Built {
        let open = self.at;
        let (expression, end) = expression(open + 1)?;
        let blanks = self.source.bytes[end..]
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        if self.source.bytes.get(end + blanks) != Some(&b']') {
            let inner = self.source.text(open + 1..end);
            let told = format!("missing ']' after '{inner}'");
            let told = Diagnostic::error(&codes::FORMAT_SYNTAX, self.source.span(open..end), told);
            return Err(told.help(format!("close the expression: `%[{inner}]`")));
        }
        self.at = end + blanks + 1;
        self.item(
            start,
            name,
            flags,
            FormatItem::Expression(expression, flags),
        );
        Ok(())
    }

    /// Parses an alias such as `ci`, beginning at its first letter.
    fn alias(&mut self, start: usize, item: ItemName, flags: Flags) -> Built {
        let from = self.at;
        let length = self.source.bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        let to = from + length;
        self.at = to;
        let name = self.source.text(from..to);
        if name == "o" {
            self.base = flags;
            return Ok(());
        }
        let Some(alias) = Alias::by_name(&name) else {
            return Err(self.unknown(start, to, &name));
        };
        self.item(start, item, flags, FormatItem::Alias(alias, flags));
        Ok(())
    }

    fn unknown(&self, start: usize, to: usize, name: &str) -> Diagnostic {
        let names = Alias::names();
        if let Some(known) = super::alias::not_built(name) {
            return Diagnostic::error(
                &crate::codes::NOT_BUILT,
                self.source.span(start..to),
                format!("log alias '%{known}' is not supported"),
            );
        }
        let mut diagnostic = self.error(start, to, format!("no such format variable '{name}'"));
        diagnostic.code = &codes::UNKNOWN_ALIAS;
        let letters = name.len();
        // Looks for an alias at the start of the name, because text may follow without a separator:
        // `%cistart`.
        let prefix = (1..letters)
            .rev()
            .filter_map(|n| name.get(..n))
            .find(|p| Alias::by_name(p).is_some());
        let near =
            suggest::nearest(name, names).or(prefix.and_then(Alias::by_name).map(Alias::name));
        if let Some(near) = near {
            diagnostic = diagnostic.help(format!(
                "did you mean '%{near}'? Write `%%` for a percent sign."
            ));
        }
        diagnostic
    }
}
