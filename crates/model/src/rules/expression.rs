//! Compiles and evaluates expressions: a sample fetch, then converters, as in
//! `req.hdr(host),lower,word(1,.)`. They are compiled when a file is loaded. Evaluation looks up no
//! keywords and copies only what a converter must change.

use super::argument::{self, ArgumentKind, ArgumentText, Arguments, KeywordSignature, MessageSide};
use super::codes;
use super::converter::{self, ConverterBuild};
use super::fetch::{self, FetchBuild, Prepare};
use super::matching::Method;
use super::usage::{Needs, Usage};
use super::value::{Sample, SampleValue, Type};
use crate::codes as load_codes;
use crate::compiled::expression::{ConverterCall, Converters, Expression};
use crate::config::UserlistSlot;
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use language::arguments::Built;
use language::keyword::{Keyword, KeywordLookup, Table};
use language::{ConfigWord, Diagnostic, suggest};
use std::ops::Range;

impl Converters {
    /// Parses a list of converters; the first one takes a string.
    ///
    /// # Errors
    /// A converter is missing, unknown or not supported. Its arguments are invalid, or it does not
    /// take values of the preceding type. Other text follows the list.
    pub fn parse(loader: &mut ConfigDraft, word: &ConfigWord) -> Result<Converters, Diagnostic> {
        let piece = ArgumentText::of(&loader.context.sources, word);
        let (mut steps, mut given, mut start) = (Vec::new(), Type::Str, 0);
        loop {
            let (step, gives, end) = parse_converter(loader, &piece, start, given)?;
            steps.push(step);
            if piece.bytes.get(end) != Some(&b',') {
                whole(&piece, end)?;
                return Ok(Converters(steps.into()));
            }
            (given, start) = (gives, end + 1);
        }
    }

    /// Applies the converters in order; returns None if one of them returns no value.
    pub fn apply<'a>(&'a self, value: SampleValue<'a>, stream: &'a ProxyStream) -> Sample<'a> {
        convert(&self.0, value, stream)
    }
}

fn convert<'a>(
    steps: &'a [ConverterCall],
    mut value: SampleValue<'a>,
    stream: &'a ProxyStream,
) -> Sample<'a> {
    for step in steps {
        let converter = &converter::row(step.converter).build;
        let input = value.cast(converter.input)?;
        value = (converter.apply)(&step.arguments, input, stream)?;
    }
    Some(value)
}

/// Treatment of an expression whose fetch never has a value at its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Misplaced {
    Refuse,
    Keep,
}

/// Parsed expression, and the matching method from the fetch's name (`path_beg`).
#[derive(Debug)]
pub struct Parsed {
    pub expression: Expression,
    pub method: Option<Method>,
    /// Offset after the last byte of the expression in its [`ArgumentText`].
    pub end: usize,
}

impl Expression {
    /// Parses an expression that is a whole word. The data that its fetch needs must be available
    /// in `usage`.
    ///
    /// # Errors
    /// The fetch is missing, unknown, not supported, or needs data that `usage` lacks. Its
    /// arguments or a converter are invalid. Other text follows the expression.
    pub fn parse(
        loader: &mut ConfigDraft,
        word: &ConfigWord,
        usage: Usage,
    ) -> Result<Expression, Diagnostic> {
        let piece = ArgumentText::of(&loader.context.sources, word);
        let parsed = parse(loader, &piece, 0, Some(usage), Misplaced::Refuse)?;
        whole(&piece, parsed.end)?;
        Ok(parsed.expression)
    }

    /// Parses an expression within a text (a log format). Also returns its end, which is the first
    /// byte that is not part of it.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::parse`], except that any text may follow.
    pub fn parse_part(
        loader: &mut ConfigDraft,
        piece: &ArgumentText<'_>,
        start: usize,
        usage: Usage,
    ) -> Result<(Expression, usize), Diagnostic> {
        let parsed = parse(loader, piece, start, Some(usage), Misplaced::Refuse)?;
        Ok((parsed.expression, parsed.end))
    }

    /// Parses the first word of an ACL, whose fetch name may include a matching method. Data that
    /// `usage` lacks is no error here.
    pub(super) fn parse_test(
        loader: &mut ConfigDraft,
        word: &ConfigWord,
        usage: Option<Usage>,
    ) -> Result<Parsed, Diagnostic> {
        let piece = ArgumentText::of(&loader.context.sources, word);
        let parsed = parse(loader, &piece, 0, usage, Misplaced::Keep)?;
        whole(&piece, parsed.end)?;
        Ok(parsed)
    }

    /// Returns the type of the value; Any if that is known only at run time.
    pub fn output(&self) -> Type {
        self.output
    }

    pub fn needs(&self) -> Needs {
        fetch::row(self.fetch).build.needs
    }

    pub fn fetch_name(&self) -> &'static str {
        fetch::row(self.fetch).name()
    }

    /// Returns the userlist whose groups tests compare, if the expression is a fetch of groups.
    pub(super) fn compares_groups(&self) -> Option<&UserlistSlot> {
        let groups = fetch::row(self.fetch).build.each.is_some() && self.converters.is_empty();
        self.arguments.userlist_slot(0).filter(|_| groups)
    }

    pub(super) fn gives_versions(&self) -> bool {
        fetch::row(self.fetch).build.versions && self.converters.is_empty()
    }

    pub fn needs_http(&self) -> bool {
        fetch::row(self.fetch).build.http
    }

    pub fn evaluate<'a>(&'a self, stream: &'a ProxyStream) -> Sample<'a> {
        self.convert(
            (fetch::row(self.fetch).build.one)(&self.arguments, stream)?,
            stream,
        )
    }

    /// Passes each value to `take` until it returns true; returns whether it did.
    pub fn any<'a>(
        &'a self,
        stream: &'a ProxyStream,
        take: &mut dyn FnMut(SampleValue<'a>) -> bool,
    ) -> bool {
        match fetch::row(self.fetch).build.each {
            Some(each) => each(&self.arguments, stream, &mut |value| {
                self.convert(value, stream).is_some_and(&mut *take)
            }),
            None => self.evaluate(stream).is_some_and(take),
        }
    }

    /// Returns whether more bytes can change the current value.
    pub fn may_change(&self, stream: &ProxyStream) -> bool {
        let build = &fetch::row(self.fetch).build;
        if build.waits {
            return !stream.payloads.request_complete;
        }
        if build.of_hello && fetch::hello_is_whole(&self.arguments, stream) {
            return false;
        }
        let is_whole = build.settles && !fetch::is_open_ended(&self.arguments);
        if is_whole && (build.one)(&self.arguments, stream).is_some() {
            return false;
        }
        let mut converters = self.converters.iter();
        if converters.any(|step| converter::row(step.converter).build.decides)
            && self.evaluate(stream).is_some()
        {
            return false;
        }
        match (build.needs, fetch::side_of(&self.arguments, stream)) {
            (Needs::Request | Needs::RequestKept | Needs::EitherSide, MessageSide::Request) => {
                !stream.payloads.request_complete && (!build.http || fetch::request_awaited(stream))
            }
            (Needs::Response | Needs::ResponseKept | Needs::EitherSide, MessageSide::Response) => {
                let there = build.http && stream.response.start().is_some();
                !stream.payloads.response_complete && !there
            }
            _ => false,
        }
    }

    fn convert<'a>(&'a self, value: SampleValue<'a>, stream: &'a ProxyStream) -> Sample<'a> {
        convert(&self.converters, value, stream)
    }
}

fn whole(piece: &ArgumentText<'_>, end: usize) -> Built {
    let len = piece.bytes.len();
    if end == len {
        return Ok(());
    }
    Err(piece
        .error(
            &codes::EXPRESSION_SYNTAX,
            end..len,
            format!("'{}' cannot follow an expression", piece.text(end..len)),
        )
        .label("only a comma and a converter can follow"))
}

/// Returns the range of the name that begins at `start`. It ends at a parenthesis, a comma, or the
/// end of an expression in a format.
fn name_at(piece: &ArgumentText<'_>, start: usize) -> Range<usize> {
    let rest = piece.bytes.get(start..).unwrap_or(b"");
    let length = rest
        .iter()
        .position(|b| b"(),] \t\"'[".contains(b))
        .unwrap_or(rest.len());
    start..start + length
}

fn list_at(
    piece: &ArgumentText<'_>,
    at: usize,
    name: &str,
) -> Result<(Vec<argument::RawArgument>, usize), Diagnostic> {
    if piece.bytes.get(at) == Some(&b'(') {
        argument::read_list(piece, at, name)
    } else {
        Ok((Vec::new(), at))
    }
}

fn parse(
    loader: &mut ConfigDraft,
    piece: &ArgumentText<'_>,
    start: usize,
    usage: Option<Usage>,
    misplaced: Misplaced,
) -> Result<Parsed, Diagnostic> {
    let name = name_at(piece, start);
    if name.is_empty() {
        return Err(piece
            .error(
                &codes::EXPRESSION_SYNTAX,
                name,
                "missing fetch method in an expression",
            )
            .label("expected a sample fetch"));
    }
    let tests = misplaced == Misplaced::Keep;
    let (row, method) = find_fetch(piece, name.clone(), tests)?;
    let build = &row.build;
    let (mut arguments, mut end) = parse_arguments(loader, piece, name, row.into())?;
    arguments.side = match (build.needs, usage) {
        (Needs::Response | Needs::ResponseKept, _) => MessageSide::Response,
        (Needs::EitherSide, None) => MessageSide::Either,
        (Needs::EitherSide, Some(usage)) if usage.is_response() => MessageSide::Response,
        _ => MessageSide::Request,
    };
    if misplaced == Misplaced::Refuse
        && let Some(usage) = usage
        && !build.needs.usage().meets(usage)
    {
        return Err(not_here(piece, start..end, row, usage));
    }
    if piece.bytes.get(end).is_some_and(|b| !b",] \t".contains(b)) {
        let extra = name_at(piece, end);
        return Err(piece
            .error(
                &codes::EXPRESSION_SYNTAX,
                end..extra.end.max(end + 1),
                format!("missing comma after fetch keyword '{}'", row.name()),
            )
            .label("expected a comma before a converter"));
    }
    let mut output = build.output;
    let mut converters = Vec::new();
    while piece.bytes.get(end) == Some(&b',') {
        let (step, gives, after) = parse_converter(loader, piece, end + 1, output)?;
        output = gives;
        end = after;
        converters.push(step);
    }
    let span = piece.span(start..end);
    let expression = Expression {
        fetch: fetch::id(row),
        arguments,
        converters: converters.into(),
        output,
        span,
    };
    Ok(Parsed {
        expression,
        method,
        end,
    })
}

/// Common properties of fetches and converters: their arguments.
struct Callable {
    name: &'static str,
    syntax: &'static str,
    kinds: &'static [ArgumentKind],
    required: usize,
    prepare: Option<Prepare>,
}

impl From<&'static Keyword<FetchBuild>> for Callable {
    fn from(row: &'static Keyword<FetchBuild>) -> Self {
        Callable {
            name: row.name(),
            syntax: row.syntax,
            kinds: row.build.arguments,
            required: row.build.required,
            prepare: row.build.prepare,
        }
    }
}

impl From<&'static Keyword<ConverterBuild>> for Callable {
    fn from(row: &'static Keyword<ConverterBuild>) -> Self {
        Callable {
            name: row.name(),
            syntax: row.syntax,
            kinds: row.build.arguments,
            required: row.build.required,
            prepare: row.build.prepare,
        }
    }
}

/// Parses the arguments after a name. Also returns the offset after them.
fn parse_arguments(
    loader: &mut ConfigDraft,
    piece: &ArgumentText<'_>,
    name: Range<usize>,
    callable: Callable,
) -> Result<(Arguments, usize), Diagnostic> {
    let (raw, end) = list_at(piece, name.end, callable.name)?;
    let owner = KeywordSignature {
        name: callable.name,
        syntax: callable.syntax,
        kinds: callable.kinds,
        required: callable.required,
        place: name.start..end,
    };
    let mut arguments = argument::build(loader, piece, owner, &raw)?;
    if let Some(prepare) = callable.prepare {
        prepare(loader, &mut arguments, piece.span(name.start..end))
            .map_err(|diagnostic| with_syntax(diagnostic, callable.syntax))?;
    }
    Ok((arguments, end))
}

fn with_syntax(mut diagnostic: Diagnostic, syntax: &str) -> Diagnostic {
    diagnostic
        .help
        .get_or_insert_with(|| format!("write `{syntax}`"));
    diagnostic
}

fn not_here(
    piece: &ArgumentText<'_>,
    part: Range<usize>,
    row: &Keyword<FetchBuild>,
    usage: Usage,
) -> Diagnostic {
    let needs = row.build.needs;
    let mut diagnostic = piece
        .error(
            &codes::FETCH_NOT_HERE,
            part,
            format!("'{}' cannot be used in a {}", row.name(), usage.name()),
        )
        .label(format!(
            "requires {}, which are not available here",
            needs.what(row.build.http)
        ));
    if needs == Needs::Request && (usage.is_response() || usage.meets(Usage::LOG)) {
        diagnostic.help = Some(format!(
            "store it during the request: `http-request set-var(txn.kept) {}`, and use `var(txn.kept)` here",
            row.syntax
        ));
    }
    diagnostic
}

/// Finds the row of a fetch by name; in tests, the name may include a matching method.
fn find_fetch(
    piece: &ArgumentText<'_>,
    part: Range<usize>,
    tests: bool,
) -> Result<(&'static Keyword<FetchBuild>, Option<Method>), Diagnostic> {
    let text = piece.text(part.clone());
    let table = fetch::table();
    let found = table.find(std::iter::once(&*text));
    if let KeywordLookup::Built(row, _) = found {
        return Ok((row, None));
    }
    if tests
        && let Some((name, method)) = fetch::variant(&text)
        && let KeywordLookup::Built(row, _) = table.find(std::iter::once(name))
        && row.build.variants
    {
        return Ok((row, Some(method)));
    }
    if let KeywordLookup::NotBuilt(name, ..) = found {
        return Err(not_built(piece, part, "sample fetch", name));
    }
    if text.starts_with(OF_LUA) {
        return Err(not_built(piece, part, "sample fetch", &text));
    }
    Err(unknown(
        piece,
        part,
        &codes::UNKNOWN_FETCH,
        "unknown fetch method",
        table,
    ))
}

/// Prefix of fetches, converters and actions that a Lua script of the user defines. Scripts are not
/// supported.
pub(super) const OF_LUA: &str = "lua.";

fn not_built(piece: &ArgumentText<'_>, part: Range<usize>, what: &str, name: &str) -> Diagnostic {
    piece
        .error(
            &load_codes::NOT_BUILT,
            part,
            format!("{what} '{name}' is not supported"),
        )
        .help(
            crate::known::instead(name)
                .unwrap_or("remove the rule, or keep this proxy on HAProxy for now"),
        )
}

fn unknown<B>(
    piece: &ArgumentText<'_>,
    part: Range<usize>,
    code: &'static language::Code,
    what: &str,
    table: &'static Table<B>,
) -> Diagnostic {
    let text = piece.text(part.clone());
    let diagnostic = piece.error(code, part.clone(), format!("{what} '{text}'"));
    let near = suggest::nearest(&text, table.names_in(table.kind()));
    diagnostic.did_you_mean(piece.span(part), near)
}

fn parse_converter(
    loader: &mut ConfigDraft,
    piece: &ArgumentText<'_>,
    start: usize,
    input: Type,
) -> Result<(ConverterCall, Type, usize), Diagnostic> {
    let name = name_at(piece, start);
    let text = piece.text(name.clone());
    let table = converter::table();
    let row = match table.find(std::iter::once(&*text)) {
        KeywordLookup::Built(row, _) => row,
        KeywordLookup::NotBuilt(known, ..) => {
            return Err(not_built(piece, name, "converter", known));
        }
        KeywordLookup::Unknown if text.starts_with(OF_LUA) => {
            return Err(not_built(piece, name, "converter", &text));
        }
        KeywordLookup::Unknown if name.is_empty() => {
            return Err(piece
                .error(
                    &codes::EXPRESSION_SYNTAX,
                    start.saturating_sub(1)..start,
                    "missing converter after a comma",
                )
                .label("expected a converter"));
        }
        KeywordLookup::Unknown => {
            return Err(unknown(
                piece,
                name,
                &codes::UNKNOWN_CONVERTER,
                "unknown converter",
                table,
            ));
        }
    };
    let build = &row.build;
    let (arguments, end) = parse_arguments(loader, piece, name.clone(), row.into())?;
    if !input.casts_to(build.input) {
        return Err(piece
            .error(
                &codes::TYPES_DO_NOT_FIT,
                name.start..end,
                format!("converter '{}' cannot be applied", row.name()),
            )
            .label(format!(
                "expects type {}, but gets type {}",
                build.input.name(),
                input.name()
            )));
    }
    let output = match (build.output, build.input) {
        (Type::Any, Type::Any) => input,
        // Treats a result computed from bytes like one computed from text: its possible types are
        // the same.
        (Type::Any, Type::Bin) => Type::Str,
        // Any means the type of the input, which was already cast to the type that the converter
        // requires.
        (Type::Any, cast) => cast,
        (output, _) => output,
    };
    Ok((
        ConverterCall {
            converter: converter::id(row),
            arguments,
        },
        output,
        end,
    ))
}
