//! Interprets the directives `.if`, `.elif`, `.else`, `.endif` and the four message directives:
//! `.diag`, `.notice`, `.warning`, `.alert`. A skipped block is searched only for nested
//! directives.

use super::condition::{self, ConditionError};
use super::facts::Facts;
use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::environment::Environment;
use crate::source::{SourceMap, Span};
use crate::suggest;
use crate::token::{ConfigLine, ConfigWord};

/// Maximum depth of nested `.if` blocks; HAProxy's own limit.
pub const NESTED_MAX: usize = 100;

static DIRECTIVES: &[&str] = &[
    ".if", ".elif", ".else", ".endif", ".diag", ".notice", ".warning", ".alert",
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BranchState {
    Taken,
    /// No branch was true so far.
    Waiting,
    /// An earlier branch was active, or the block is inside a skipped one.
    Done,
}

#[derive(Debug)]
struct ConditionalBlock {
    state: BranchState,
    opened: Span,
    otherwise: Option<Span>,
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Vec<ConditionalBlock>,
    /// Number of blocks beyond [`NESTED_MAX`], which are skipped.
    beyond: usize,
}

/// The destination of a directive's diagnostics.
pub(super) struct DirectiveDiagnostics<'a> {
    pub sources: &'a SourceMap,
    pub diagnostics: &'a mut Diagnostics,
    /// The line has a lexical error, which was reported. No further error is reported for it, but
    /// its block is still opened or closed.
    pub recovered: bool,
}

impl DirectiveDiagnostics<'_> {
    fn push(&mut self, diagnostic: Diagnostic) {
        if !self.recovered {
            self.diagnostics.push(self.sources, diagnostic);
        }
    }
}

impl Blocks {
    pub fn active(&self) -> bool {
        self.beyond == 0
            && self
                .open
                .last()
                .is_none_or(|b| b.state == BranchState::Taken)
    }

    /// Processes a line whose first byte is a dot.
    pub fn directive(
        &mut self,
        line: &ConfigLine,
        facts: &Facts,
        env: &Environment,
        report: &mut DirectiveDiagnostics<'_>,
    ) {
        let Some(word) = line.word(0) else { return };
        match word.str() {
            ".if" => self.begin(line, facts, env, report),
            ".elif" => self.elif(line, facts, env, report),
            ".else" => self.process_else(line, report),
            ".endif" => self.end(line, report),
            _ if !self.active() => {}
            ".diag" => report_message(line, Severity::Diag, report),
            ".notice" => report_message(line, Severity::Notice, report),
            ".warning" => report_message(line, Severity::Warning, report),
            ".alert" => report_message(line, Severity::Error, report),
            _ => unknown(word, report),
        }
    }

    pub fn end_file(&mut self, sources: &SourceMap, diagnostics: &mut Diagnostics) {
        self.beyond = 0;
        for block in self.open.drain(..) {
            let told = Diagnostic::error(
                &codes::UNTERMINATED_IF,
                block.opened,
                "non-terminated '.if' block",
            )
            .label("this block is still open at the end of the file")
            .help("close it with '.endif'");
            diagnostics.push(sources, told);
        }
    }

    fn begin(
        &mut self,
        line: &ConfigLine,
        facts: &Facts,
        env: &Environment,
        report: &mut DirectiveDiagnostics<'_>,
    ) {
        if self.open.len() >= NESTED_MAX {
            self.beyond += 1;
            if self.beyond == 1 {
                let message = format!("too many nested '.if', max is {NESTED_MAX}");
                report.push(Diagnostic::error(
                    &codes::NESTED_TOO_DEEP,
                    line.span,
                    message,
                ));
            }
            return;
        }
        let state = if self.active() {
            condition_state(line, facts, env, report)
        } else {
            BranchState::Done
        };
        self.open.push(ConditionalBlock {
            state,
            opened: line.span,
            otherwise: None,
        });
    }

    fn elif(
        &mut self,
        line: &ConfigLine,
        facts: &Facts,
        env: &Environment,
        report: &mut DirectiveDiagnostics<'_>,
    ) {
        let Some(block) = self.current(line, ".elif", report) else {
            return;
        };
        block.state = match block.state {
            BranchState::Waiting => condition_state(line, facts, env, report),
            BranchState::Taken | BranchState::Done => BranchState::Done,
        };
    }

    fn process_else(&mut self, line: &ConfigLine, report: &mut DirectiveDiagnostics<'_>) {
        no_argument(line, ".else", report);
        let Some(block) = self.current(line, ".else", report) else {
            return;
        };
        block.otherwise = Some(line.span);
        block.state = match block.state {
            BranchState::Waiting => BranchState::Taken,
            BranchState::Taken | BranchState::Done => BranchState::Done,
        };
    }

    fn end(&mut self, line: &ConfigLine, report: &mut DirectiveDiagnostics<'_>) {
        no_argument(line, ".endif", report);
        if self.beyond > 0 {
            self.beyond -= 1;
        } else if self.open.pop().is_none() {
            report.push(missing_if_error(line, ".endif"));
        }
    }

    /// Returns the block of an `.elif` or `.else`, unless the directive is misplaced.
    fn current(
        &mut self,
        line: &ConfigLine,
        name: &str,
        report: &mut DirectiveDiagnostics<'_>,
    ) -> Option<&mut ConditionalBlock> {
        if self.beyond > 0 {
            return None;
        }
        let Some(block) = self.open.last_mut() else {
            report.push(missing_if_error(line, name));
            return None;
        };
        if let Some(otherwise) = block.otherwise {
            let message = format!("'{name}' after '.else' is not permitted");
            report.push(
                Diagnostic::error(&codes::MISPLACED_DIRECTIVE, line.span, message)
                    .with_label(otherwise, "the '.else' of this block")
                    .with_label(block.opened, "the block begins here"),
            );
            return None;
        }
        Some(block)
    }
}

fn missing_if_error(line: &ConfigLine, name: &str) -> Diagnostic {
    let message = format!("lone '{name}' with no matching '.if'");
    Diagnostic::error(&codes::MISPLACED_DIRECTIVE, line.span, message)
        .help("remove it, or add the missing '.if' above")
}

fn no_argument(line: &ConfigLine, name: &str, report: &mut DirectiveDiagnostics<'_>) {
    if let Some(word) = line.word(1) {
        let message = format!("unexpected argument '{}' for '{name}'", word.text());
        report.push(
            Diagnostic::error(&codes::DIRECTIVE_ARGUMENT, word.span, message)
                .help(format!("'{name}' takes no argument")),
        );
    }
}

fn report_message(line: &ConfigLine, severity: Severity, report: &mut DirectiveDiagnostics<'_>) {
    let [name, arguments @ ..] = line.words.as_slice() else {
        return;
    };
    if let Some(extra) = arguments.get(1) {
        let message = format!(
            "unexpected argument '{}' for '{}'",
            extra.text(),
            name.text()
        );
        let all = arguments
            .iter()
            .map(|w| w.text().into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        let last = line.words.last().map_or(extra.span, |w| w.span);
        let whole = arguments[0].span.to(last);
        let mut told = Diagnostic::error(&codes::DIRECTIVE_ARGUMENT, extra.span, message)
            .help("use quotes if the message should contain spaces");
        if !all.contains(['"', '\\', '$']) {
            told = told.fix(whole, format!("\"{all}\""));
        }
        report.push(told);
        return;
    }
    let code = match severity {
        Severity::Diag => &codes::DIAG,
        Severity::Notice => &codes::NOTICE,
        Severity::Warning => &codes::WARNING,
        Severity::Error => &codes::ALERT,
    };
    let message = arguments
        .first()
        .map(|w| w.text().into_owned())
        .unwrap_or_default();
    report.push(Diagnostic::new(
        code,
        severity,
        line.span,
        format!("'{message}'"),
    ));
}

fn unknown(word: &ConfigWord, report: &mut DirectiveDiagnostics<'_>) {
    let message = format!("unknown directive '{}'", word.text());
    let near = suggest::nearest(word.str(), DIRECTIVES.iter().copied());
    report.push(
        Diagnostic::error(&codes::UNKNOWN_DIRECTIVE, word.span, message)
            .did_you_mean(word.span, near),
    );
}

fn condition_state(
    line: &ConfigLine,
    facts: &Facts,
    env: &Environment,
    report: &mut DirectiveDiagnostics<'_>,
) -> BranchState {
    if report.recovered {
        return BranchState::Done;
    }
    let (text, places) = joined(&line.words[1..]);
    match condition::evaluate(&text, facts, env) {
        Ok(true) => BranchState::Taken,
        Ok(false) => BranchState::Waiting,
        Err(error) => {
            report.push(bad_condition(line, &error, &places));
            // Applies neither this branch nor the `.else`, because the intended value is unknown.
            BranchState::Done
        }
    }
}

/// Returns the words after the directive as one text, and the position of each word in it.
fn joined(words: &[ConfigWord]) -> (Vec<u8>, Vec<(usize, ConfigWord)>) {
    let mut text = Vec::new();
    let mut places = Vec::new();
    for word in words {
        if !text.is_empty() {
            text.push(b' ');
        }
        places.push((text.len(), word.clone()));
        text.extend_from_slice(&word.bytes);
    }
    (text, places)
}

fn bad_condition(
    line: &ConfigLine,
    error: &ConditionError,
    places: &[(usize, ConfigWord)],
) -> Diagnostic {
    let index = places.partition_point(|(start, _)| *start <= error.at);
    let span = match index.checked_sub(1).and_then(|i| places.get(i)) {
        None => line.span,
        Some((start, word)) => {
            let written = (word.span.end - word.span.start) as usize;
            let offset = error.at - start;
            if written == word.bytes.len() && offset < written {
                Span {
                    start: word.span.start + offset as u32,
                    ..word.span
                }
            } else if offset >= word.bytes.len() {
                Span {
                    start: word.span.end,
                    ..word.span
                }
            } else {
                word.span
            }
        }
    };
    let mut told = Diagnostic::error(&codes::BAD_CONDITION, span, error.to_string());
    if let Some(help) = error.help() {
        told = told.help(help);
    }
    told
}
