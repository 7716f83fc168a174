//! Builds the check steps `tcp-check expect` and `http-check expect`.

use super::{Comment, unknown_word};
use crate::family::Args;
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::check::{Code, Expect, Matcher, Pattern, ReportedText, StatusRange, unhex};
use model::codes;
use model::rules::regular::Regular;
use model::rules::{Dialect, Expression, Format, Usage};
use model::state::CheckStatus;

const HTTP_PATTERNS: &[&str] = &[
    "status",
    "rstatus",
    "hdr",
    "fhdr",
    "string",
    "rstring",
    "string-lf",
];
const TCP_PATTERNS: &[&str] = &[
    "string",
    "rstring",
    "string-lf",
    "binary",
    "rbinary",
    "binary-lf",
];
const OPTIONS: &[&str] = &[
    "min-recv",
    "comment",
    "ok-status",
    "error-status",
    "tout-status",
    "on-success",
    "on-error",
    "status-code",
];

fn words(http: bool) -> Vec<&'static str> {
    let patterns = if http { HTTP_PATTERNS } else { TCP_PATTERNS };
    [patterns, OPTIONS].concat()
}

/// Parses the words of a step and its comment. `http` is true for the keyword `http-check`.
pub(super) fn expect(
    loader: &mut Loader,
    args: &mut Args<'_>,
    http: bool,
) -> Result<(Expect, Comment), Diagnostic> {
    // Creates the step first: options may precede the pattern.
    let mut expect = Expect::success();
    let mut comment = None;
    let mut word = args.required("a matching pattern")?;
    while option(loader, args, word, &mut expect, &mut comment)? {
        word = args.required("a matching pattern")?;
    }
    // Accepts any number of `!`, each a word of its own or before the next word.
    let mut kind = word.text().into_owned();
    while let Some(rest) = kind.strip_prefix('!') {
        expect.negated = !expect.negated;
        kind = rest.to_owned();
        if kind.is_empty() {
            word = args.required("a matching pattern")?;
            kind = word.text().into_owned();
        }
    }
    expect.pattern = match (kind.as_str(), http) {
        ("status", true) => Pattern::Status(statuses(args)?),
        ("rstatus", true) => Pattern::StatusText(regex(loader, args)?),
        ("hdr", true) => header(loader, args, false)?,
        ("fhdr", true) => header(loader, args, true)?,
        ("string", _) => Pattern::Text(non_empty_pattern(args)?.bytes.as_slice().into()),
        ("rstring", _) => Pattern::Regex(regex(loader, args)?),
        ("string-lf", _) => Pattern::TextFormat(format(loader, args)?),
        ("binary", false) => {
            let word = non_empty_pattern(args)?;
            Pattern::Binary(binary(args, word)?)
        }
        ("rbinary", false) => Pattern::BinaryRegex(regex(loader, args)?),
        ("binary-lf", false) => Pattern::BinaryFormat(format(loader, args)?),
        _ => return Err(unknown_word(args, word, &words(http))),
    };
    while let Some(word) = args.next() {
        if !option(loader, args, word, &mut expect, &mut comment)? {
            return Err(unknown_word(args, word, OPTIONS));
        }
    }
    Ok((expect, comment))
}

/// Parses an option before or after the pattern. Returns false if the word is no option.
fn option(
    loader: &mut Loader,
    args: &mut Args<'_>,
    word: &ConfigWord,
    expect: &mut Expect,
    comment: &mut Comment,
) -> Result<bool, Diagnostic> {
    use CheckStatus as S;
    match word.str() {
        "min-recv" => {
            let least = args.integer("<bytes>", -1..=i64::from(i32::MAX))?;
            expect.min_recv = usize::try_from(least).ok();
        }
        "comment" => *comment = Some(args.required("<text>")?.bytes.as_slice().into()),
        "ok-status" => {
            let known = [
                S::Layer7Ok,
                S::Layer7OkConditional,
                S::Layer6Ok,
                S::Layer4Ok,
            ];
            expect.ok_status = Some(status(args, &known)?);
        }
        "error-status" => {
            let known = [
                S::Layer7Invalid,
                S::Layer7Status,
                S::Layer7OkConditional,
                S::Layer6Invalid,
                S::Layer4Error,
            ];
            expect.error_status = Some(status(args, &known)?);
        }
        "tout-status" => {
            let known = [S::Layer7Timeout, S::Layer6Timeout, S::Layer4Timeout];
            expect.timeout_status = Some(status(args, &known)?);
        }
        "on-success" => expect.on_success = Some(ReportedText::Format(format(loader, args)?)),
        "on-error" => expect.on_error = Some(ReportedText::Format(format(loader, args)?)),
        "status-code" => {
            let word = args.required("<expr>")?;
            let expression = Expression::parse(loader, word, Usage::CHECK)?;
            expect.code = Some(Code::Expression(expression));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn status(args: &mut Args<'_>, known: &[CheckStatus]) -> Result<CheckStatus, Diagnostic> {
    let word = args.required("<st>")?;
    let found = known.iter().find(|status| word.is(status.code()));
    found.copied().ok_or_else(|| {
        let names: Vec<&'static str> = known.iter().map(|status| status.code()).collect();
        unknown_word(args, word, &names)
    })
}

fn non_empty_pattern<'l>(args: &mut Args<'l>) -> Result<&'l ConfigWord, Diagnostic> {
    let word = args.required("<pattern>")?;
    if word.bytes.is_empty() {
        let message = format!("'{}' expects a pattern that is not empty", args.keyword);
        return Err(args.word_error(&codes::BAD_VALUE, word, message));
    }
    Ok(word)
}

pub(super) fn binary(args: &Args<'_>, word: &ConfigWord) -> Result<Box<[u8]>, Diagnostic> {
    match unhex(&word.bytes) {
        Some(bytes) => Ok(bytes.into()),
        None => {
            let message = format!(
                "'{}': an even number of hex digits is expected",
                args.keyword
            );
            Err(args.word_error(&codes::BAD_VALUE, word, message))
        }
    }
}

fn format(loader: &mut Loader, args: &mut Args<'_>) -> Result<Format, Diagnostic> {
    let word = args.required("<fmt>")?;
    Format::parse_as(loader, word, Usage::CHECK, Dialect::Text)
}

fn statuses(args: &mut Args<'_>) -> Result<Vec<StatusRange>, Diagnostic> {
    let word = args.required("<pattern>")?;
    let mut ranges = Vec::new();
    for part in word.str().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => ranges.push(StatusRange { first, last }),
            _ => {
                return Err(Diagnostic::error(
                    &codes::BAD_VALUE,
                    word.span,
                    format!(
                        "'{}': '{part}' is not a status or a range of statuses",
                        args.keyword
                    ),
                )
                .label("statuses and ranges, separated by commas")
                .help("write `http-check expect status 200-299,404`"));
            }
        }
    }
    Ok(ranges)
}

fn regex(loader: &mut Loader, args: &mut Args<'_>) -> Result<Regular, Diagnostic> {
    let word = non_empty_pattern(args)?;
    regex_of(loader, args, word)
}

fn regex_of(
    loader: &mut Loader,
    args: &Args<'_>,
    word: &ConfigWord,
) -> Result<Regular, Diagnostic> {
    let compiled = Regular::new(&word.bytes, false);
    loader.regular_or_earlier(compiled, &word.bytes, false, |error| {
        Diagnostic::error(
            &codes::BAD_VALUE,
            word.span,
            format!("'{}': regex '{}' is invalid", args.keyword, word.text()),
        )
        .label(error.to_string())
    })
}

fn header(loader: &mut Loader, args: &mut Args<'_>, full: bool) -> Result<Pattern, Diagnostic> {
    let word = args.required("the word `name` and a pattern")?;
    let name = match word.str() {
        "name" => matcher(loader, args, true, false)?,
        "name-lf" => matcher(loader, args, true, true)?,
        _ => return Err(unknown_word(args, word, &["name", "name-lf"])),
    };
    let value = if args.take_if("value") {
        Some(matcher(loader, args, false, false)?)
    } else if args.take_if("value-lf") {
        Some(matcher(loader, args, false, true)?)
    } else {
        None
    };
    Ok(Pattern::Header { name, value, full })
}

/// Parses `[-m <how>] <pattern>`. Names are compared in lower case; the pattern may be a format.
fn matcher(
    loader: &mut Loader,
    args: &mut Args<'_>,
    lower: bool,
    formatted: bool,
) -> Result<Matcher, Diagnostic> {
    const HOW: &[&str] = &["str", "beg", "end", "sub", "reg"];
    let how = if args.take_if("-m") {
        Some(args.required("<match>")?)
    } else {
        None
    };
    let word = args.required("<pattern>")?;
    if let Some(how) = how.filter(|how| how.is("reg")) {
        if formatted {
            return Err(args.word_error(
                &codes::BAD_VALUE,
                how,
                "a regular expression cannot be a log format",
            ));
        }
        return Ok(Matcher::Regex(regex_of(loader, args, word)?));
    }
    let text = if formatted {
        Format::parse_as(loader, word, Usage::CHECK, Dialect::Text)?
    } else if lower {
        Format::constant(&word.bytes.to_ascii_lowercase())
    } else {
        Format::constant(&word.bytes)
    };
    Ok(match how.map(ConfigWord::str) {
        None | Some("str") => Matcher::Exact(text),
        Some("beg") => Matcher::Begin(text),
        Some("end") => Matcher::End(text),
        Some("sub") => Matcher::Contains(text),
        Some(_) => return Err(unknown_word(args, how.unwrap_or(word), HOW)),
    })
}
