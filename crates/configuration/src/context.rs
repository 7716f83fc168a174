//! The context in which every line of a configuration is built, in whichever part.

use crate::node::Nodes;
use crate::options::LoadOptions;
use crate::outside::Outside;
use crate::sections::{Sections, Words};
use language::render;
use language::{Code, Diagnostic, Diagnostics, Environment, Severity, SourceMap, Span};

/// Mistakes of a file for which near names among its own are looked for.
const SUGGESTED_MAX: usize = 100;

/// A load in progress.
#[derive(Debug, Default)]
pub struct Context {
    /// The files.
    pub sources: SourceMap,
    /// The diagnostics so far.
    pub diagnostics: Diagnostics,
    /// Environment variables; `setenv` changes them.
    pub environment: Environment,
    /// The words that begin sections, of all parts.
    pub words: Words,
    /// The sections of all parts of the load.
    pub sections: Vec<&'static Sections>,
    /// The options of the load.
    pub options: LoadOptions,
    /// The environment of the load: files, DNS, accounts.
    pub outside: Outside,
    /// The nodes that the files are for, if anything in them depends on it.
    pub nodes: Nodes,
}

impl Context {
    /// Whether near names are still looked for: that costs time for each mistake,
    /// and a file with very many has another trouble.
    pub fn suggests(&self) -> bool {
        self.diagnostics.errors() < SUGGESTED_MAX
    }

    /// The first words of lines in this section that are of another part than the section is.
    pub fn further_words<'s>(
        &self,
        section: &'s str,
    ) -> impl Iterator<Item = &'static str> + use<'s> {
        let sections = self.sections.clone().into_iter();
        sections.flat_map(move |one| one.words_in(section))
    }

    /// Whether the version was accepted earlier, perhaps by a program with fewer checks. Also known
    /// to the role, which builds the configuration again.
    pub fn is_accepted(&self) -> bool {
        self.options.is_accepted() || self.outside.is_accepted()
    }

    /// Takes a diagnostic in. An error that refuses only new versions is a warning in a version
    /// that was accepted earlier.
    pub fn tell(&mut self, mut diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Diag && !self.options.diag {
            return;
        }
        if self.is_accepted() {
            diagnostic.tolerate();
        }
        if let Some(advice) = self.outside.advice(&diagnostic.message) {
            diagnostic = diagnostic.help(advice);
        }
        render::without_environment(&self.sources, &self.environment, &mut diagnostic);
        self.diagnostics.push(&self.sources, diagnostic);
    }

    /// Takes a warning in.
    pub fn warn(&mut self, code: &'static Code, span: Span, message: impl Into<String>) {
        self.tell(Diagnostic::warning(code, span, message));
    }
}
