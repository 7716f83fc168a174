//! Diagnostics as values: what, where, why, and what to write instead.
//! Rendering (for people, for one line, for machines, in HAProxy's form) is
//! apart from them, in [`crate::render`].

use crate::source::{SourceMap, Span};
use crate::without_numbers;
use std::mem;
use std::ops::{Deref, DerefMut};

/// How grave a diagnostic is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Told only when asked for (`-dD`).
    Diag,
    /// For information (`.notice`).
    Notice,
    /// The file works, but probably not as meant.
    Warning,
    /// The file is refused.
    Error,
}

/// A stable code and its explanation (`evenkeel explain CODE`). The crate that
/// reports it declares it as a `static` and lists it in its `CODES`.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `E0101`, `W0203`: stable for ever, never reused.
    pub id: &'static str,
    /// One line.
    pub title: &'static str,
    /// Meaning, consequence and remedy; Markdown paragraphs.
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

/// A replacement of the bytes under `span`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// The text to replace; empty to insert.
    pub span: Span,
    /// With what.
    pub replacement: String,
}

/// An error, a warning or a hint. It is one pointer wide, because every builder returns it
/// in its result; its parts are those of [`Details`].
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

/// The parts of a diagnostic.
#[derive(Clone, Debug)]
pub struct Details {
    /// Its stable code.
    pub code: &'static Code,
    /// How grave.
    pub severity: Severity,
    /// The problem, without a final full stop: "unknown keyword 'bnid' in 'frontend'
    /// section".
    pub message: String,
    /// The words it is about.
    pub primary: Option<Span>,
    /// The text under the underline; may be empty.
    pub label: String,
    /// Other places that explain it ("first defined here").
    pub secondary: Vec<(Span, String)>,
    /// Background.
    pub notes: Vec<String>,
    /// The next step: "did you mean 'bind'?".
    pub help: Option<String>,
    /// The replacement, where there is one. It may be of several lines, and that
    /// of a whole line may be nothing.
    pub fix: Option<Fix>,
    /// Replacements elsewhere that belong to the same fix.
    pub further_fixes: Vec<Fix>,
    /// What applies where an accepted version has the mistake: the version is served with a
    /// warning, because an earlier program accepted it. None: no version is served with it.
    pub once_accepted: Option<&'static str>,
}

impl Diagnostic {
    /// A diagnostic at a place.
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

    /// An error at a place.
    pub fn error(code: &'static Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, span, message)
    }

    /// A warning at a place.
    pub fn warning(code: &'static Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, span, message)
    }

    /// A diagnostic about no place in a file (a file that cannot be opened).
    pub fn global(code: &'static Code, severity: Severity, message: impl Into<String>) -> Self {
        let mut diagnostic = Self::new(code, severity, Span::default(), message);
        diagnostic.primary = None;
        diagnostic
    }

    /// Sets the words under the underline.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at another place.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.secondary.push((span, label.into()));
        self
    }

    /// Adds background.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the next step.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds "did you mean 'name'?" if a name is near (see [`crate::suggest::nearest`]).
    pub fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean '{name}'?")),
            None => self,
        }
    }

    /// As [`Self::suggest`], with the replacement.
    pub fn did_you_mean(self, span: Span, name: Option<&str>) -> Self {
        match name {
            Some(near) => self.suggest(name).fix(span, near),
            None => self,
        }
    }

    /// Says what applies where a version that was accepted earlier has this mistake.
    pub fn once_accepted(mut self, applies: &'static str) -> Self {
        self.once_accepted = Some(applies);
        self
    }

    /// Makes an error a warning where it refuses only new versions.
    pub fn tolerate(&mut self) {
        let Some(applies) = self.once_accepted.take() else {
            return;
        };
        if self.severity == Severity::Error {
            self.severity = Severity::Warning;
            let note = format!("this version was accepted earlier, so it is served: {applies}");
            self.notes.push(note);
        }
    }

    /// Gives a replacement elsewhere that belongs to [`Self::fix`].
    pub fn also_fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.further_fixes.push(Fix {
            span,
            replacement: replacement.into(),
        });
        self
    }

    /// Gives the replacement; with it goes a help line.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix {
            span,
            replacement: replacement.into(),
        });
        self
    }

    /// Removes the numbers that Rust adds to the sentences of system errors.
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

/// Most diagnostics that one run keeps; what is over it is only counted.
pub const DIAGNOSTICS_MAX: usize = 1000;

/// The diagnostics of one run, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    dropped: usize,
}

impl Diagnostics {
    /// Takes one in, unless its line silences it: a warning (never an error)
    /// whose line carries the comment `# evenkeel: allow CODE[, CODE…]`.
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
        if self.list.len() < DIAGNOSTICS_MAX {
            diagnostic.strip_numbers();
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Iterates over the diagnostics that were kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many errors were found, kept or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings were found, kept or not.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// How many were not kept.
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
