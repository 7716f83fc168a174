//! Parses the arguments of sample fetches and converters: a list in parentheses with quotes and
//! escapes. Converts each argument to the type that the keyword requires.

use super::codes;
pub use super::lookup::Lookup;
use super::variables::{VariableName, VariableNameError};
pub use crate::compiled::argument::{Argument, Arguments, MessageSide};
use crate::rules::draft::{ConfigDraft, Section};
pub use crate::sample::plain::unhex;
use language::arguments::Built;
use language::{Code, ConfigWord, Diagnostic, SourceMap, Span};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Text of the configuration that is parsed in parts, with the position of each part.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentText<'w> {
    /// Bytes of the text, after quotes and escapes.
    pub bytes: &'w [u8],
    span: Span,
    /// Position of the first byte in the file, if the file has the bytes unchanged.
    exact: Option<u32>,
}

impl<'w> ArgumentText<'w> {
    pub fn of(sources: &SourceMap, word: &'w ConfigWord) -> Self {
        let span = word.span;
        let (start, end) = (span.start as usize, span.end as usize);
        let text = sources
            .files()
            .nth(span.file.0 as usize)
            .and_then(|(_, file)| file.text.get(start..end))
            .unwrap_or(b"");
        let bytes = word.bytes.as_slice();
        let exact = if text == bytes {
            Some(span.start)
        } else if text.len() == bytes.len() + 2 && &text[1..text.len() - 1] == bytes {
            Some(span.start + 1)
        } else {
            None
        };
        ArgumentText { bytes, span, exact }
    }

    /// Creates the text of words that are in no file, such as the predefined ACLs of HAProxy.
    pub fn built_in(bytes: &'w [u8]) -> Self {
        ArgumentText {
            bytes,
            span: Span::default(),
            exact: None,
        }
    }

    /// Returns the position of a part: exact, or the whole word if quotes or escapes are in the
    /// way.
    pub fn span(&self, part: Range<usize>) -> Span {
        match self.exact {
            Some(first) => Span {
                start: first + part.start as u32,
                end: first + part.end as u32,
                ..self.span
            },
            None => self.span,
        }
    }

    /// Returns a part as text for messages.
    pub fn text(&self, part: Range<usize>) -> Cow<'w, str> {
        String::from_utf8_lossy(self.bytes.get(part).unwrap_or(b""))
    }

    pub(super) fn error(
        &self,
        code: &'static Code,
        part: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, self.span(part), message)
    }
}

/// Kind of argument that a fetch or converter takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgumentKind {
    Text,
    Int,
    IntOrVariable,
    Variable,
    /// A network mask: a number of bits or, for IPv4, an address.
    Mask4,
    /// A network mask for IPv6: a number of bits or an address.
    Mask6,
    Ipv4,
    Ipv6,
    /// `true`, `false`, `1` or `0`.
    Bool,
    Hex,
    Frontend,
    Backend,
    /// `server` or `backend/server`.
    Server,
    /// A regular expression; flags follow as a text two arguments later.
    Regex,
    /// A map file; its builder reads it.
    MapFile,
    Table,
    Userlist,
    /// Name of an environment variable; its value at load time is the argument.
    Environment,
}

impl ArgumentKind {
    fn what(self) -> &'static str {
        match self {
            ArgumentKind::Text => "a text",
            ArgumentKind::Int => "an integer",
            ArgumentKind::IntOrVariable => "an integer or a variable",
            ArgumentKind::Variable => "a variable",
            ArgumentKind::Mask4 => "an IPv4 mask",
            ArgumentKind::Mask6 => "an IPv6 mask",
            ArgumentKind::Ipv4 => "an IPv4 address",
            ArgumentKind::Ipv6 => "an IPv6 address",
            ArgumentKind::Bool => "true, false, 1 or 0",
            ArgumentKind::Hex => "pairs of hexadecimal digits",
            ArgumentKind::Frontend => "the name of a frontend",
            ArgumentKind::Backend => "the name of a backend",
            ArgumentKind::Server => "a server as `backend/server`",
            ArgumentKind::Regex => "a regular expression",
            ArgumentKind::MapFile => "the name of a map file",
            ArgumentKind::Table => "the name of a stick table",
            ArgumentKind::Userlist => "the name of a userlist",
            ArgumentKind::Environment => "the name of an environment variable",
        }
    }
}

/// Parsed argument, with its position.
#[derive(Debug)]
pub struct RawArgument {
    /// Bytes after quotes and escapes.
    pub bytes: Vec<u8>,
    /// Range of the argument in its [`ArgumentText`].
    pub part: Range<usize>,
}

pub const ARGUMENTS_MAX: usize = 12;

/// Parses a list whose opening parenthesis is at `open`. Also returns the offset after the closing
/// parenthesis.
///
/// # Errors
/// A quote or the list itself is not closed, or the list has more than [`ARGUMENTS_MAX`] arguments.
pub fn read_list(
    piece: &ArgumentText<'_>,
    open: usize,
    owner: &str,
) -> Result<(Vec<RawArgument>, usize), Diagnostic> {
    let mut list = Vec::new();
    let mut at = open + 1;
    loop {
        let (raw, end) = read_one(piece, at).map_err(|quote| {
            piece
                .error(
                    &codes::EXPRESSION_SYNTAX,
                    quote..quote + 1,
                    format!("'{owner}': unmatched quote in its arguments"),
                )
                .label("the quote is not closed")
        })?;
        list.push(raw);
        match piece.bytes.get(end) {
            Some(b')') => return Ok((list, end + 1)),
            Some(_) if list.len() < ARGUMENTS_MAX => at = end + 1,
            Some(_) => {
                return Err(piece
                    .error(
                        &codes::BAD_EXPRESSION_ARGUMENT,
                        open..end,
                        format!("'{owner}' has too many arguments"),
                    )
                    .label("no keyword takes this many"));
            }
            None => {
                let whole = piece.bytes.len();
                return Err(piece
                    .error(
                        &codes::EXPRESSION_SYNTAX,
                        open..whole,
                        format!(
                            "'{owner}': expected ')' after its \
                        arguments"
                        ),
                    )
                    .label("this parenthesis is not closed")
                    .help(
                        "a space ends a word: quote the whole word if an argument contains one",
                    ));
            }
        }
    }
}

/// Parses one argument from `start` to the next comma or parenthesis. The error is the offset of a
/// quote that does not end.
fn read_one(piece: &ArgumentText<'_>, start: usize) -> Result<(RawArgument, usize), usize> {
    let bytes = piece.bytes;
    let mut out = Vec::new();
    let mut quote: Option<(u8, usize)> = None;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (byte, quote) {
            (b',' | b')', None) => {
                at -= 1;
                break;
            }
            (b'"' | b'\'', None) => quote = Some((byte, at - 1)),
            (_, Some((open, _))) if open == byte => quote = None,
            (b'\\', None | Some((b'"', _))) => match bytes.get(at) {
                Some(next) if unescape(*next).is_some() => {
                    out.extend(unescape(*next));
                    at += 1;
                }
                _ => out.push(b'\\'),
            },
            _ => out.push(byte),
        }
    }
    match quote {
        Some((_, open)) => Err(open),
        None => Ok((
            RawArgument {
                bytes: out,
                part: start..at,
            },
            at,
        )),
    }
}

/// Returns the byte for an escape sequence in arguments. Other sequences stay unchanged, as `\1`
/// and `\.` of regular expressions must.
fn unescape(byte: u8) -> Option<u8> {
    match byte {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'\\' | b'"' | b'\'' | b' ' => Some(byte),
        _ => None,
    }
}

/// Converts the parsed arguments to the kinds that the keyword requires.
///
/// # Errors
/// There are too many arguments, a required one is missing or empty, or one is not of its kind.
pub fn build(
    loader: &mut ConfigDraft,
    piece: &ArgumentText<'_>,
    owner: KeywordSignature<'_>,
    raw: &[RawArgument],
) -> Result<Arguments, Diagnostic> {
    owner.check_count(piece, raw)?;
    if raw.first().is_none_or(|raw| raw.bytes.is_empty()) {
        own_proxy(loader, piece.span(owner.place.clone()), owner.kinds);
    }
    let mut list = Vec::with_capacity(owner.kinds.len());
    for (n, (kind, raw)) in owner.kinds.iter().zip(raw).enumerate() {
        if raw.bytes.is_empty() && (n >= owner.required || *kind != ArgumentKind::Text) {
            if n < owner.required {
                return Err(owner.missing(piece, n, "it is empty"));
            }
            list.push(None);
            continue;
        }
        let argument = build_one(loader, piece, *kind, raw).map_err(|reason| match reason {
            Reason::Told(diagnostic) => diagnostic,
            Reason::Kind => owner.wrong_kind(piece, *kind, raw),
        })?;
        list.push(Some(argument));
    }
    Ok(Arguments {
        list,
        side: MessageSide::Request,
    })
}

impl KeywordSignature<'_> {
    fn check_count(&self, piece: &ArgumentText<'_>, raw: &[RawArgument]) -> Built {
        let none = self.kinds.is_empty();
        // Accepts `path()`, whose list contains one empty argument.
        let extra = raw
            .get(self.kinds.len())
            .filter(|extra| !(none && extra.bytes.is_empty()));
        if let Some(extra) = extra {
            return Err(piece
                .error(
                    &codes::BAD_EXPRESSION_ARGUMENT,
                    extra.part.clone(),
                    format!("'{}' has an extra argument", self.name),
                )
                .label(if none {
                    "it takes none"
                } else {
                    "unexpected argument"
                })
                .help(format!("write `{}`", self.syntax)));
        }
        if raw.len() < self.required {
            return Err(self.missing(piece, raw.len(), "it is missing"));
        }
        Ok(())
    }

    fn missing(&self, piece: &ArgumentText<'_>, n: usize, label: &str) -> Diagnostic {
        let what = self.kinds.get(n).map_or("something", |kind| kind.what());
        piece
            .error(
                &codes::BAD_EXPRESSION_ARGUMENT,
                self.place.clone(),
                format!("'{}' expects {what} as argument {}", self.name, n + 1),
            )
            .label(label)
            .help(format!("write `{}`", self.syntax))
    }

    fn wrong_kind(
        &self,
        piece: &ArgumentText<'_>,
        kind: ArgumentKind,
        raw: &RawArgument,
    ) -> Diagnostic {
        let text = String::from_utf8_lossy(&raw.bytes);
        piece
            .error(
                &codes::BAD_EXPRESSION_ARGUMENT,
                raw.part.clone(),
                format!("'{}': '{text}' is not {}", self.name, kind.what()),
            )
            .label(format!("expected {}", kind.what()))
            .help(format!("write `{}`", self.syntax))
    }
}

/// Queues a check that the section's own proxy, which an omitted name means, is of the right kind.
fn own_proxy(loader: &mut ConfigDraft, span: Span, kinds: &[ArgumentKind]) {
    let Some(kind @ (ArgumentKind::Frontend | ArgumentKind::Backend)) = kinds.first().copied()
    else {
        return;
    };
    if let Section::Proxy(index, _) = loader.section {
        let name = loader.config.proxy(index).name.clone();
        loader.lookups.push(Lookup {
            span,
            kind,
            backend: None,
            name,
            from: loader.section,
        });
    }
}

/// Keyword whose arguments are built.
#[derive(Clone, Debug)]
pub struct KeywordSignature<'k> {
    pub name: &'k str,
    pub syntax: &'k str,
    pub kinds: &'static [ArgumentKind],
    pub required: usize,
    /// Range of the keyword's name and its argument list in the text.
    pub place: Range<usize>,
}

enum Reason {
    Kind,
    Told(Diagnostic),
}

fn build_one(
    loader: &mut ConfigDraft,
    piece: &ArgumentText<'_>,
    kind: ArgumentKind,
    raw: &RawArgument,
) -> Result<Argument, Reason> {
    let text = std::str::from_utf8(&raw.bytes).unwrap_or("");
    let bits = |max: u32| text.parse::<u32>().ok().filter(|n| *n <= max);
    Ok(match kind {
        ArgumentKind::Text | ArgumentKind::MapFile => Argument::Text(raw.bytes.clone().into()),
        ArgumentKind::Int => Argument::Int(text.parse().map_err(|_| Reason::Kind)?),
        ArgumentKind::IntOrVariable => match text.parse() {
            Ok(n) => Argument::Int(n),
            Err(_) => Argument::Variable(variable(piece, raw, text)?),
        },
        ArgumentKind::Variable => Argument::Variable(variable(piece, raw, text)?),
        ArgumentKind::Mask4 => Argument::Ipv4(match bits(32) {
            Some(n) => u32::MAX.checked_shl(32 - n).unwrap_or(0).into(),
            None => text.parse().map_err(|_| Reason::Kind)?,
        }),
        ArgumentKind::Mask6 => Argument::Ipv6(match bits(128) {
            Some(n) => u128::MAX.checked_shl(128 - n).unwrap_or(0).into(),
            None => text.parse().map_err(|_| Reason::Kind)?,
        }),
        ArgumentKind::Ipv4 => Argument::Ipv4(text.parse().map_err(|_| Reason::Kind)?),
        ArgumentKind::Ipv6 => Argument::Ipv6(text.parse().map_err(|_| Reason::Kind)?),
        ArgumentKind::Bool => Argument::Bool(match text {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(Reason::Kind),
        }),
        ArgumentKind::Hex => Argument::Text(unhex(&raw.bytes).ok_or(Reason::Kind)?.into()),
        ArgumentKind::Frontend | ArgumentKind::Backend => {
            look_up(loader, piece.span(raw.part.clone()), kind, None, text);
            Argument::Proxy(text.into())
        }
        ArgumentKind::Server => {
            let (backend, name) = match text.split_once('/') {
                Some((backend, name)) => (Some(backend.into()), name),
                None => (None, text),
            };
            let place = piece.span(raw.part.clone());
            look_up(loader, place, kind, backend.clone(), name);
            Argument::Server(backend, name.into())
        }
        ArgumentKind::Table => {
            loader.name_table(text, piece.span(raw.part.clone()));
            Argument::Table(loader.config.tables.place(text))
        }
        ArgumentKind::Environment => {
            let place = piece.span(raw.part.clone());
            // An unset variable becomes `false`, so that the fetch has no value.
            environment(loader, text, place).map_or(Argument::Bool(false), Argument::Text)
        }
        ArgumentKind::Userlist => {
            let place = piece.span(raw.part.clone());
            Argument::Userlist(loader.userlist_uses.used(text, place))
        }
        // Flags may follow; in that case the keyword's own check compiles the expression again with
        // them.
        ArgumentKind::Regex => {
            let place = piece.span(raw.part.clone());
            let regular = loader.regular(&raw.bytes, false, place);
            Argument::Regex(Arc::new(regular.map_err(Reason::Told)?))
        }
    })
}

/// Queues the lookup of a proxy or server until the whole file is known.
fn look_up(
    loader: &mut ConfigDraft,
    span: language::Span,
    kind: ArgumentKind,
    backend: Option<Box<str>>,
    name: &str,
) {
    loader.lookups.push(Lookup {
        span,
        kind,
        backend,
        name: name.into(),
        from: loader.section,
    });
}

/// Returns the value of an environment variable; reports a hint if it is not set.
fn environment(loader: &mut ConfigDraft, name: &str, place: language::Span) -> Option<Box<[u8]>> {
    if let Some(value) = loader.context.environment.get(name) {
        return Some(value.into());
    }
    let told = format!("the environment variable '{name}' is not set: no value");
    let code = &crate::codes::UNSET_VARIABLE;
    loader.report(
        Diagnostic::new(code, language::Severity::Diag, place, told)
            .label("not set at the start, and nothing sets it later"),
    );
    None
}

fn variable(
    piece: &ArgumentText<'_>,
    raw: &RawArgument,
    text: &str,
) -> Result<VariableName, Reason> {
    VariableName::parse(text)
        .map_err(|error| Reason::Told(variable_error(error, text, piece.span(raw.part.clone()))))
}

pub fn variable_error(error: VariableNameError, text: &str, span: Span) -> Diagnostic {
    let message = match error {
        VariableNameError::Scope => {
            format!("invalid variable name '{text}': it must begin with its scope")
        }
        VariableNameError::Empty => {
            format!("invalid variable name '{text}': the name after the scope is missing")
        }
        VariableNameError::Character(at) => {
            format!(
                "invalid variable name '{text}': bad character at position {}",
                at + 1
            )
        }
        VariableNameError::TooMany => format!("variable '{text}' is one too many for this process"),
    };
    let mut diagnostic = Diagnostic::error(&codes::BAD_VARIABLE, span, message)
        .label("a scope and a name, as in `txn.user`");
    if error == VariableNameError::Scope && !text.contains('.') {
        diagnostic = diagnostic
            .help(format!("did you mean 'txn.{text}'?"))
            .fix(span, format!("txn.{text}"));
    }
    diagnostic
}

/// Returns the diagnostic for an invalid variable name in the parentheses of a word.
pub fn variable_error_in(error: VariableNameError, text: &str, word: &ConfigWord) -> Diagnostic {
    let mut diagnostic = variable_error(error, text, word.span);
    if let Some(fix) = &mut diagnostic.fix {
        let (before, behind) = (format!("({text}"), format!("({}", fix.replacement));
        fix.replacement = word.text().replacen(&before, &behind, 1);
    }
    diagnostic
}

pub(super) fn bad_argument(span: Span, message: String) -> Diagnostic {
    Diagnostic::error(&codes::BAD_EXPRESSION_ARGUMENT, span, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Vec<String>, usize)> {
        let piece = ArgumentText::built_in(text.as_bytes());
        let (list, end) = read_list(&piece, 0, "test").ok()?;
        Some((
            list.iter()
                .map(|raw| String::from_utf8_lossy(&raw.bytes).into_owned())
                .collect(),
            end,
        ))
    }

    #[test]
    fn quotes_and_escapes_of_arguments_are_haproxys() {
        let rows: &[(&str, Option<&[&str]>)] = &[
            ("()", Some(&[""])),
            ("(a,b)", Some(&["a", "b"])),
            ("(a,)", Some(&["a", ""])),
            ("( a b )", Some(&[" a b "])),
            ("(\"a)b,c\")", Some(&["a)b,c"])),
            ("(a\"b\"c)", Some(&["abc"])),
            ("(\"a\"'b,\"')", Some(&["ab,\""])),
            ("(\"a\\\"b\")", Some(&["a\"b"])),
            ("(\"a\\nb\\2\\.\")", Some(&["a\nb\\2\\."])),
            ("(\"a\\x41b\")", Some(&["a\\x41b"])),
            ("(a\\\\b)", Some(&["a\\b"])),
            ("(a\\,b)", Some(&["a\\", "b"])),
            ("('a\\nb')", Some(&["a\\nb"])),
            ("(a", None),
            ("(\"a)", None),
        ];
        for (text, expected) in rows {
            let found = read(text);
            let found = found.as_ref().map(|(list, end)| {
                assert_eq!(*end, text.len());
                list.iter().map(String::as_str).collect::<Vec<_>>()
            });
            assert_eq!(found.as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn a_list_ends_behind_its_parenthesis() {
        assert_eq!(read("(a),lower").map(|(_, end)| end), Some(3));
    }
}
