//! Defines diagnostics as values: the error, its position, its cause, and the correction.
//! [`crate::render`] prints them (for a terminal, one line each, for programs, in HAProxy's
//! form).

use crate::source::{SourceMap, Span};
use crate::without_numbers;
use std::mem;
use std::ops::{Deref, DerefMut};

/// The severity of a diagnostic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Reported only on request (`-dD`).
    Diag,
    /// Informs without a fault of the configuration (`.notice`).
    Notice,
    /// The file works, but probably not as intended.
    Warning,
    Error,
}

/// A stable code and its explanation (`evenkeel explain CODE`). The crate that
/// reports it declares it as a `static` and lists it in its `CODES`.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `E0101`, `W0203`: stable, never reused.
    pub id: &'static str,
    pub title: &'static str,
    /// Meaning, consequence and remedy, as Markdown paragraphs.
    pub explanation: &'static str,
}

/// Declares the codes of a module with their titles and explanations, and lists them in
/// its `CODES`.
#[macro_export]
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal, $explanation:literal;)*) => {
        $(
            #[doc = $title]
            #[doc = ""]
            $(#[$doc])*
            pub static $name: $crate::Code = $crate::Code {
                id: $id,
                title: $title,
                explanation: $explanation,
            };
        )*
        /// All codes of this module, by number.
        pub static CODES: &[&$crate::Code] = &[$(&$name),*];
    };
}

/// A replacement of the bytes of `span`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// The span to replace; empty to insert.
    pub span: Span,
    pub replacement: String,
}

/// An error, a warning or a hint. It is one pointer wide, because every builder returns it in its
/// result; its fields are those of [`Details`].
#[derive(Clone, Debug)]
pub struct Diagnostic(Box<Details>);

impl Deref for Diagnostic {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Diagnostic {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// The fields of a diagnostic.
#[derive(Clone, Debug)]
pub struct Details {
    pub code: &'static Code,
    pub severity: Severity,
    /// The problem, without a final full stop: "unknown keyword 'bnid' in 'frontend'
    /// section".
    pub message: String,
    pub primary: Option<Span>,
    /// The text under the underline; may be empty.
    pub label: String,
    /// Other related positions ("first defined here").
    pub secondary: Vec<(Span, String)>,
    pub notes: Vec<String>,
    /// The next step: "did you mean 'bind'?".
    pub help: Option<String>,
    /// The replacement, if there is one. It may have several lines, and an empty one may replace a
    /// whole line.
    pub fix: Option<Fix>,
    /// Replacements at other positions that belong to the same fix.
    pub further_fixes: Vec<Fix>,
    /// The behaviour in a configuration version that was accepted earlier and has the error: the
    /// version is served with a warning, because an earlier release of Evenkeel accepted it. `None`
    /// when no configuration version with the error is served.
    pub once_accepted: Option<&'static str>,
}

impl Diagnostic {
    pub fn new(
        code: &'static Code,
        severity: Severity,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        Diagnostic(Box::new(Details {
            code,
            severity,
            message: message.into(),
            primary: Some(span),
            label: String::new(),
            secondary: Vec::new(),
            notes: Vec::new(),
            help: None,
            fix: None,
            further_fixes: Vec::new(),
            once_accepted: None,
        }))
    }

    pub fn error(code: &'static Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, span, message)
    }

    pub fn warning(code: &'static Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, span, message)
    }

    /// Creates a diagnostic without a position in a file (a file that cannot be opened).
    pub fn global(code: &'static Code, severity: Severity, message: impl Into<String>) -> Self {
        let mut diagnostic = Self::new(code, severity, Span::default(), message);
        diagnostic.primary = None;
        diagnostic
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn with_label(mut self, span: Span, label: impl Into<String>) -> Self {
        self.secondary.push((span, label.into()));
        self
    }

    /// Sets the labels of a second line or value where one is permitted.
    pub fn duplicate_of(self, first: Span) -> Self {
        let told = self.label("a second one");
        told.with_label(first, "first given here")
    }

    /// Sets the labels for a name that another object already has.
    pub fn name_taken_at(self, first: Span) -> Self {
        let told = self.label("this name is taken");
        told.with_label(first, "first used here")
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds "did you mean 'name'?" if there is a similar name (see [`crate::suggest::nearest`]).
    pub fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean '{name}'?")),
            None => self,
        }
    }

    /// Adds "did you mean 'name'?" like [`Self::suggest`], and the replacement of the span by that
    /// name. Does nothing without a similar name.
    pub fn did_you_mean(self, span: Span, name: Option<&str>) -> Self {
        match name {
            Some(near) => self.suggest(name).fix(span, near),
            None => self,
        }
    }

    pub fn with_earlier_behaviour(mut self, applies: &'static str) -> Self {
        self.once_accepted = Some(applies);
        self
    }

    /// Turns an error that refuses only new configuration versions into a warning. Other
    /// diagnostics stay unchanged.
    pub fn downgrade_to_warning(&mut self) {
        let Some(applies) = self.once_accepted.take() else {
            return;
        };
        if self.severity == Severity::Error {
            self.severity = Severity::Warning;
            let note = format!("this version was accepted earlier, so it is served: {applies}");
            self.notes.push(note);
        }
    }

    /// Adds a replacement at another position that belongs to [`Self::fix`].
    pub fn with_further_fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.further_fixes.push(Fix {
            span,
            replacement: replacement.into(),
        });
        self
    }

    /// Sets the replacement of the bytes in a span.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix {
            span,
            replacement: replacement.into(),
        });
        self
    }

    fn strip_numbers(&mut self) {
        let Details {
            message,
            label,
            secondary,
            notes,
            help,
            ..
        } = &mut **self;
        let labels = secondary.iter_mut().map(|(_, label)| label);
        let all = [message, label].into_iter().chain(labels);
        for text in all.chain(notes).chain(help) {
            *text = without_numbers(mem::take(text));
        }
    }
}

/// Maximum diagnostics that one run keeps; further ones are only counted.
pub const DIAGNOSTICS_MAX: usize = 1000;

/// The diagnostics of one run, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    dropped: usize,
}

impl Diagnostics {
    /// Adds a diagnostic, unless its line suppresses it: a warning (never an error) whose line has
    /// the comment `# evenkeel: allow CODE[, CODE…]`. Beyond [`DIAGNOSTICS_MAX`] a diagnostic is
    /// only counted, but an error replaces the last stored diagnostic that is no error.
    pub fn push(&mut self, sources: &SourceMap, mut diagnostic: Diagnostic) {
        if diagnostic.severity != Severity::Error
            && diagnostic
                .primary
                .is_some_and(|span| allows(sources.line_text(span), diagnostic.code.id))
        {
            return;
        }
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            _ => {}
        }
        if self.list.len() == DIAGNOSTICS_MAX {
            self.dropped += 1;
            if diagnostic.severity != Severity::Error {
                return;
            }
            // Removes a diagnostic that is no error to make room for an error, which is the reason
            // why the files are refused.
            let mut list = self.list.iter();
            let last = list.rposition(|one| one.severity != Severity::Error);
            match last {
                Some(last) => drop(self.list.remove(last)),
                None => return,
            }
        }
        diagnostic.strip_numbers();
        self.list.push(diagnostic);
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Returns the same diagnostics, with the errors before all others.
    pub fn with_errors_first(&self) -> Diagnostics {
        let mut sorted = self.clone();
        sorted
            .list
            .sort_by_key(|one| one.severity != Severity::Error);
        sorted
    }

    /// Returns the number of errors, stored or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Returns the number of warnings, stored or not.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

fn allows(line: &[u8], code: &str) -> bool {
    let line = String::from_utf8_lossy(line);
    line.match_indices('#').any(|(at, _)| {
        let comment = line[at + 1..].trim_start();
        comment
            .strip_prefix("evenkeel:")
            .and_then(|rest| rest.trim_start().strip_prefix("allow"))
            .is_some_and(|codes| {
                codes
                    .split([',', ' ', '\t'])
                    .any(|c| c.eq_ignore_ascii_case(code))
            })
    })
}
