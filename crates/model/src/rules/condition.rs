//! Compiles and evaluates conditions: `if` or `unless`, then ACLs. A condition is compiled to
//! alternatives, each a list of tests that must all be true. Evaluation does not allocate.

use super::codes;
use super::usage::Usage;
use crate::compiled::condition::{Acl, Alternatives, Condition, Term, Test};
use crate::rules::draft::ConfigDraft;
use crate::transaction::{ProxyStream, trace};
use language::arguments::Args;
use language::{ConfigWord, Diagnostic, Span, suggest};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TestResult {
    Fail,
    /// Unknown until more bytes arrive.
    Miss,
    Pass,
}

impl TestResult {
    fn met(self) -> Option<bool> {
        match self {
            TestResult::Pass => Some(true),
            TestResult::Miss => None,
            TestResult::Fail => Some(false),
        }
    }

    fn negated(self) -> Self {
        match self {
            TestResult::Fail => TestResult::Pass,
            TestResult::Miss => TestResult::Miss,
            TestResult::Pass => TestResult::Fail,
        }
    }
}

pub const TERMS_MAX: usize = 1024;

impl Condition {
    /// Parses the rest of a line: nothing, or a condition.
    ///
    /// # Errors
    /// The next word is neither `if` nor `unless`. An ACL is not declared, a brace is not closed,
    /// or a test is invalid. There are too many terms.
    pub fn parse(
        loader: &mut ConfigDraft,
        args: &mut Args<'_>,
        usage: Usage,
    ) -> Result<Option<Condition>, Diagnostic> {
        let Some(word) = args.peek() else {
            return Ok(None);
        };
        let negated = match word.str() {
            "if" => false,
            "unless" => true,
            _ => return Err(no_condition(args, word)),
        };
        args.next();
        let words = args.rest();
        let span = words
            .last()
            .map_or(word.span, |last| word.span.to(last.span));
        let alternatives = Parser {
            loader,
            words,
            at: 0,
            usage,
        }
        .alternatives()?;
        let is_empty = alternatives.is_empty();
        if is_empty {
            loader.report(
                Diagnostic::warning(
                    &codes::EMPTY_CONDITION,
                    word.span,
                    format!("the condition after '{}' is missing", word.text()),
                )
                .label("expected ACL names"),
            );
        }
        Ok(Some(Condition {
            negated,
            alternatives,
            span,
        }))
    }

    /// Builds a condition that is true if all named ACLs are, or are not for a name with `!`. The
    /// error is an unknown name.
    pub(super) fn of_names<'n>(
        loader: &mut ConfigDraft,
        names: impl Iterator<Item = &'n str>,
        span: Span,
    ) -> Result<Condition, &'n str> {
        let mut terms = Vec::new();
        for name in names {
            let bare = name.trim_start_matches('!');
            let negated = (name.len() - bare.len()) % 2 == 1;
            let acl = loader.acl(bare).ok_or(bare)?;
            terms.push(Term { acl, negated });
        }
        Ok(Condition {
            negated: false,
            alternatives: Box::new([terms.into()]),
            span,
        })
    }

    /// Returns whether the condition is true. An unknown result counts as false.
    pub fn test(&self, stream: &ProxyStream) -> bool {
        self.run(stream) == TestResult::Pass
    }

    /// Returns whether the condition is true; None if more bytes can still change the result.
    pub fn test_or_wait(&self, stream: &ProxyStream) -> Option<bool> {
        self.run(stream).met()
    }

    pub fn run(&self, stream: &ProxyStream) -> TestResult {
        if stream.session.is_traced() {
            return self.run_traced(stream);
        }
        self.find(|term| term.acl.run(stream))
    }

    /// Evaluates the condition and records the values that its terms compared.
    #[cold]
    fn run_traced(&self, stream: &ProxyStream) -> TestResult {
        let mut terms = Vec::new();
        let found = self.find(|term| {
            let acl = &term.acl;
            let mut noted = trace::Term::new(&acl.name, acl.span, term.negated);
            let found = acl.run_noting(stream, &mut noted);
            noted.met = found.met();
            terms.push(noted);
            found
        });
        let (span, met) = (self.span, found.met());
        stream
            .session
            .note(|| trace::TraceStep::Condition { span, met, terms });
        found
    }

    fn find(&self, mut run: impl FnMut(&Term) -> TestResult) -> TestResult {
        let mut outcome = TestResult::Fail;
        for terms in &self.alternatives {
            outcome = outcome.max(all(terms, &mut run));
            if outcome == TestResult::Pass {
                break;
            }
        }
        if self.negated {
            outcome.negated()
        } else {
            outcome
        }
    }
}

fn all(terms: &[Term], run: &mut impl FnMut(&Term) -> TestResult) -> TestResult {
    let mut outcome = TestResult::Pass;
    for term in terms {
        let found = run(term);
        outcome = outcome.min(if term.negated { found.negated() } else { found });
        if outcome == TestResult::Fail {
            break;
        }
    }
    outcome
}

fn no_condition(args: &Args<'_>, word: &ConfigWord) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(
        &codes::CONDITION_SYNTAX,
        word.span,
        format!(
            "unexpected keyword '{}' after '{}', only 'if' and 'unless' are allowed",
            word.text(),
            args.keyword
        ),
    )
    .label("a condition begins with `if` or `unless`");
    if let Some(near) = suggest::nearest(&word.text(), ["if", "unless"]) {
        diagnostic = diagnostic
            .help(format!("did you mean '{near}'?"))
            .fix(word.span, near);
    } else {
        let before = Span {
            end: word.span.start,
            ..word.span
        };
        diagnostic = diagnostic
            .help(format!(
                "if this is a condition, write `if {}`",
                word.text()
            ))
            .fix(before, "if ");
    }
    diagnostic
}

/// Recognizes habits from other languages: "and" between tests, "not" before one, a brace without
/// its spaces. Returns the advice, and the replacement for the word.
fn foreign(name: &str) -> Option<(String, Option<String>)> {
    let said = match name {
        "and" | "AND" | "&&" => "adjacent tests must all be true: remove this word".into(),
        "not" | "NOT" => "write `!` before the name: `!name`".into(),
        _ => {
            let inside = name.strip_prefix('{').or_else(|| name.strip_suffix('}'))?;
            let inside = inside.strip_suffix('}').unwrap_or(inside);
            if inside.is_empty() {
                return None;
            }
            let spaced = name.replace('{', "{ ").replace('}', " }");
            return Some((
                "a brace needs a space before and after it".into(),
                Some(spaced),
            ));
        }
    };
    Some((said, None))
}

struct Parser<'p, 'l> {
    loader: &'p mut ConfigDraft,
    words: &'l [ConfigWord],
    at: usize,
    usage: Usage,
}

impl<'l> Parser<'_, 'l> {
    fn next(&mut self) -> Option<&'l ConfigWord> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    fn alternatives(mut self) -> Result<Alternatives, Diagnostic> {
        let mut alternatives: Vec<Box<[Term]>> = Vec::new();
        let mut terms: Vec<Term> = Vec::new();
        let mut negated = false;
        let mut count = 0;
        while let Some(word) = self.next() {
            let mut bytes = word.bytes.as_slice();
            if word.is("||") || bytes.eq_ignore_ascii_case(b"or") {
                if !terms.is_empty() {
                    alternatives.push(std::mem::take(&mut terms).into());
                }
                negated = false;
                continue;
            }
            while let Some(rest) = bytes.strip_prefix(b"!") {
                negated = !negated;
                bytes = rest;
            }
            if bytes.is_empty() {
                continue;
            }
            count += 1;
            if count > TERMS_MAX {
                return Err(Diagnostic::error(
                    &codes::CONDITION_SYNTAX,
                    word.span,
                    format!("a condition of more than {TERMS_MAX} terms"),
                )
                .label("one too many"));
            }
            let acl = if bytes == b"{" {
                self.anonymous(word)?
            } else {
                self.named(word, bytes)?
            };
            // Replaces an ACL that never finds a value in this kind of rule by one that is never
            // true.
            let never = self.warn_never(&acl, word, bytes == b"{");
            let acl = if never { Acl::never(acl.span) } else { acl };
            terms.push(Term {
                acl,
                negated: std::mem::take(&mut negated),
            });
        }
        if !terms.is_empty() {
            alternatives.push(terms.into());
        }
        Ok(alternatives.into())
    }

    /// Parses a test in braces; the opening brace is already read.
    fn anonymous(&mut self, open: &ConfigWord) -> Result<Arc<Acl>, Diagnostic> {
        let rest = &self.words[self.at..];
        let Some(length) = rest.iter().position(|word| word.is("}")) else {
            return Err(Diagnostic::error(
                &codes::CONDITION_SYNTAX,
                open.span,
                "missing closing '}' in condition",
            )
            .label("this brace is not closed")
            .help("a brace needs a space before and after it"));
        };
        let whole = open.span.to(rest[length].span);
        self.at += length + 1;
        let test = Test::parse(self.loader, &rest[..length], whole, Some(self.usage))?;
        Ok(Acl::anonymous(test, whole))
    }

    fn named(&mut self, word: &ConfigWord, bytes: &[u8]) -> Result<Arc<Acl>, Diagnostic> {
        let name = String::from_utf8_lossy(bytes);
        if let Some(acl) = self.loader.acl(&name) {
            return Ok(acl);
        }
        let mut diagnostic = Diagnostic::error(
            &codes::UNKNOWN_ACL,
            word.span,
            format!("ACL '{name}' not found"),
        )
        .label("not declared above in this section");
        if let Some(span) = self.loader.acls.hidden(&name) {
            diagnostic = diagnostic
                .with_label(span, "that of the defaults section is not visible here")
                .help("repeat the `acl` line in this section");
        } else if let Some((help, replacement)) = foreign(&name) {
            diagnostic = diagnostic.help(help);
            if let Some(replacement) = replacement {
                diagnostic = diagnostic.fix(word.span, replacement);
            }
        } else if self.loader.suggests() {
            let predefined = super::acl::PREDEFINED.iter().map(|(name, _)| *name);
            if let Some(near) = suggest::nearest(&name, self.loader.acls.names().chain(predefined))
            {
                // Keeps a leading negation in the suggested replacement.
                let kept = word
                    .text()
                    .chars()
                    .take_while(|c| *c == '!')
                    .collect::<String>();
                let near = near.to_owned();
                self.loader.acls.mention(&near);
                diagnostic = diagnostic
                    .help(format!("did you mean '{near}'?"))
                    .fix(word.span, kept + &near);
            }
        }
        Err(diagnostic)
    }

    /// Warns if a test never finds a value in this kind of rule; returns whether it warned.
    fn warn_never(&mut self, acl: &Acl, word: &ConfigWord, anonymous: bool) -> bool {
        let Some(fetch) = acl.never_in(self.usage) else {
            return false;
        };
        let what = if anonymous {
            "this test".to_owned()
        } else {
            format!("ACL '{}'", acl.name)
        };
        let place = self.usage.name();
        let at = if anonymous { acl.span } else { word.span };
        self.loader.report(
            Diagnostic::warning(
                &codes::NEVER_MATCHES,
                at,
                format!("{what} will never match: '{fetch}' has no value in a {place}"),
            )
            .label("always false here"),
        );
        true
    }
}
