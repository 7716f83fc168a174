//! Compiles configuration lines with the keywords of HAProxy 1.x (`reqrep`, `rspidel`) to rules
//! when a file is loaded.

use super::LINE_RULES_MAX;
use crate::compiled::Condition;
use crate::compiled::lines::{Addition, Effect, LineFilter, LineRuleSet, ReplacementPart};
use crate::config::Reference;
use crate::rules::action::is_framing;
use crate::rules::draft::ConfigDraft;
use crate::rules::regular::Regular;
use crate::rules::{HttpRule, RuleSet, codes, http_rule};
use language::arguments::Args;
use language::{ConfigLine, ConfigWord, Diagnostic};

type RefusedLine = Diagnostic;

/// Direction of the messages that a keyword applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Request,
    Response,
}

impl Direction {
    fn set(self) -> RuleSet {
        match self {
            Direction::Request => RuleSet::HttpRequest,
            Direction::Response => RuleSet::HttpResponse,
        }
    }
}

fn lines(loader: &mut ConfigDraft) -> &mut LineRuleSet {
    loader.config.global.lines_shown = true;
    loader.proxy().lines.get_or_insert_default()
}

fn condition(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
    direction: Direction,
) -> Result<Option<Condition>, RefusedLine> {
    let usage = direction.set().usage(loader.proxy().kind);
    Condition::parse(loader, args, usage)
}

/// Refuses a section whose rules would make every message too expensive.
fn bounded(count: usize, args: &Args<'_>) -> Result<(), RefusedLine> {
    if count < LINE_RULES_MAX {
        return Ok(());
    }
    Err(Diagnostic::error(
        &codes::TOO_MANY_LINE_RULES,
        args.keyword_span(),
        format!("more than {LINE_RULES_MAX} req and rsp rules in one section"),
    )
    .label("one too many"))
}

/// Parses `reqrep` and the other keywords with a pattern.
///
/// # Errors
/// The pattern, the replacement or the name of the backend is missing. The pattern, the replacement
/// or the condition is invalid. The section has too many rules.
pub fn filter(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
    direction: Direction,
) -> Result<(), RefusedLine> {
    let (verb, ignore_case) = verb(args.keyword);
    let word = args.required("<search>")?;
    let compiled = Regular::of_line(&word.bytes, ignore_case);
    let regular = loader.regular_or_earlier(compiled, &word.bytes, ignore_case, |error| {
        error.diagnostic(word.span, &word.bytes)
    })?;
    let effect = match verb {
        "rep" => Effect::Replace(replacement(args)?),
        "del" => Effect::Delete,
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        "tarpit" => Effect::Tarpit,
        "pass" => Effect::Pass,
        _ => {
            let name = args.required("<backend>")?;
            Effect::Switch(Reference {
                name: name.text().into(),
                span: name.span,
                index: None,
            })
        }
    };
    let condition = condition(loader, args, direction)?;
    let rules = match direction {
        Direction::Request => &mut lines(loader).request,
        Direction::Response => &mut lines(loader).response,
    };
    bounded(rules.filters.len(), args)?;
    rules.filters.push(LineFilter {
        span: word.span,
        condition,
        regular,
        only: header_of(&word.bytes),
        effect,
    });
    Ok(())
}

/// Splits `reqidel` into its verb, and whether case is ignored.
pub(super) fn verb(keyword: &str) -> (&str, bool) {
    let rest = keyword
        .strip_prefix("req")
        .or_else(|| keyword.strip_prefix("rsp"))
        .unwrap_or(keyword);
    match rest.strip_prefix('i') {
        Some(rest) => (rest, true),
        None => (rest, false),
    }
}

/// Returns the only header whose lines a pattern can match: `^Name:…`. A request line has no colon
/// before its first space, and a status line begins differently.
pub(super) fn header_of(pattern: &[u8]) -> Option<Box<[u8]>> {
    // Returns None for a pattern with a top-level alternative, which could begin differently.
    if has_open_alternative(pattern) {
        return None;
    }
    let rest = pattern.strip_prefix(b"^")?;
    let rest = match rest.strip_prefix(b"(") {
        Some(inner) if is_plain_group(inner) => inner,
        _ => rest,
    };
    let mut name = Vec::new();
    let mut bytes = rest.iter();
    loop {
        match bytes.next()? {
            b':' => break,
            b'\\' => name.push(*bytes.next().filter(|b| **b == b'-' || **b == b'_')?),
            byte if byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_' => {
                name.push(byte.to_ascii_lowercase());
            }
            _ => return None,
        }
    }
    // Returns None if a quantifier after the colon makes the colon optional.
    let repeated = bytes
        .next()
        .is_some_and(|b| matches!(b, b'?' | b'*' | b'{'));
    (!name.is_empty() && !repeated).then(|| name.into())
}

/// Returns whether the group that begins here occurs exactly once, that is, no quantifier follows
/// it.
fn is_plain_group(inner: &[u8]) -> bool {
    let (mut depth, mut at) = (1usize, 0);
    while depth > 0 {
        match inner.get(at) {
            None => return false,
            Some(b'\\') => at += 1,
            Some(b'(') => depth += 1,
            Some(b')') => depth -= 1,
            Some(_) => {}
        }
        at += 1;
    }
    inner.first() != Some(&b'?')
        && !inner
            .get(at)
            .is_some_and(|byte| matches!(byte, b'?' | b'*' | b'{'))
}

/// Returns whether a bar occurs outside of parentheses and classes, or within the parentheses that
/// contain a name.
fn has_open_alternative(pattern: &[u8]) -> bool {
    let (mut depth, mut class) = (0usize, false);
    let mut first_group_open = pattern.starts_with(b"^(");
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'(' if !class => depth += 1,
            b')' if !class => {
                depth = depth.saturating_sub(1);
                first_group_open &= depth > 0;
            }
            b'|' if !class && (depth == 0 || (depth == 1 && first_group_open)) => return true,
            _ => {}
        }
        at += 1;
    }
    false
}

/// Parses a replacement of a line: text, `\1` to `\9`, `\xHH`.
fn replacement(args: &mut Args<'_>) -> Result<Box<[ReplacementPart]>, RefusedLine> {
    let word = args.required("<string>")?;
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut bytes = word.bytes.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                if !text.is_empty() {
                    pieces.push(ReplacementPart::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(ReplacementPart::Group(digit - b'0'));
            }
            Some(b'x') => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                match (high, low) {
                    (Some(high), Some(low)) => text.push((high * 16 + low) as u8),
                    _ => {
                        return Err(bad_line(
                            word,
                            "expected two hexadecimal digits after `\\x`",
                        ));
                    }
                }
            }
            Some(other) => text.push(other),
            None => text.push(b'\\'),
        }
    }
    if !text.is_empty() {
        pieces.push(ReplacementPart::Text(text.into()));
    }
    for piece in &pieces {
        if let ReplacementPart::Text(text) = piece
            && memchr::memchr(0, text).is_some()
        {
            return Err(bad_line(word, "a line cannot contain a zero byte"));
        }
    }
    Ok(pieces.into())
}

fn bad_line(word: &ConfigWord, label: &str) -> RefusedLine {
    let told = format!("'{}' does not produce a valid header line", word.text());
    Diagnostic::error(&codes::BAD_LINE, word.span, told).label(label)
}

/// Splits the text `Name: value`.
pub(super) fn header(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', text)?;
    let name = &text[..colon];
    let valid = !name.is_empty()
        && name
            .iter()
            .all(|byte| http::message::NAME_BYTES[usize::from(*byte)] != 0)
        && memchr::memchr3(0, b'\r', b'\n', text).is_none();
    valid.then(|| (name, text[colon + 1..].trim_ascii()))
}

/// Parses a `reqadd` or `rspadd` line.
///
/// # Errors
/// The header is missing or malformed, the condition is invalid, or the section has too many rules.
pub fn addition(
    loader: &mut ConfigDraft,
    args: &mut Args<'_>,
    direction: Direction,
) -> Result<(), RefusedLine> {
    let word = args.required("<string>")?;
    let Some((name, value)) = header(&word.bytes) else {
        let diagnostic = bad_line(word, "expected a complete header: `Name:\\ value`");
        return Err(diagnostic.help("escape each space with a backslash"));
    };
    if is_framing(name) {
        loader.report(
            Diagnostic::warning(
                &crate::rules::action_codes::FRAMING_HEADER,
                word.span,
                format!("'{}' of '{}' has no effect", args.keyword, word.text()),
            )
            .label("the proxy sets this header according to the body")
            .help("remove the line"),
        );
    }
    let condition = condition(loader, args, direction)?;
    if is_framing(name) {
        return Ok(());
    }
    let rules = match direction {
        Direction::Request => &mut lines(loader).request,
        Direction::Response => &mut lines(loader).response,
    };
    bounded(rules.additions.len(), args)?;
    rules.additions.push(Addition {
        condition,
        name: name.into(),
        value: value.into(),
    });
    Ok(())
}

/// Parses `block if …`, which is `http-request deny if …` before all other rules.
///
/// # Errors
/// The condition is missing or invalid, or the section has too many rules.
pub fn blocking(loader: &mut ConfigDraft, args: &mut Args<'_>) -> Result<(), RefusedLine> {
    let span = args.keyword_span();
    if args.peek().is_none() {
        args.required("'if' or 'unless' and a condition")?;
    }
    let deny = ConfigWord {
        bytes: b"deny".to_vec(),
        span,
    };
    let words: Vec<ConfigWord> = std::iter::once(deny)
        .chain(args.rest().iter().cloned())
        .collect();
    let line = ConfigLine {
        span: args.line().span,
        words,
        unset: Vec::new(),
    };
    let mut words = Args::new(
        &line,
        0,
        args.keyword,
        args.syntax,
        &crate::codes::OF_ARGUMENTS,
    );
    let rule: HttpRule = http_rule(loader, &mut words, RuleSet::HttpRequest)?;
    for told in words.take_warnings() {
        args.add_warning(told);
    }
    let lines = loader.proxy().lines.get_or_insert_default();
    if lines.block.len() >= LINE_RULES_MAX {
        return bounded(LINE_RULES_MAX, args);
    }
    lines.block.push(rule);
    Ok(())
}
