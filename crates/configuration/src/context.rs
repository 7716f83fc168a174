//! Holds the state of a load in which every line is built, whatever part of the platform its
//! section belongs to: files, diagnostics, environment, options.

use crate::node::Nodes;
use crate::options::LoadOptions;
use crate::outside::Outside;
use crate::sections::{SectionKeywords, Sections};
use language::render;
use language::{Code, Diagnostic, Diagnostics, Environment, Severity, SourceMap, Span};

/// Number of errors after which similar names are no longer searched.
const SUGGESTED_MAX: usize = 100;

/// A load in progress: its files, options, and diagnostics so far.
#[derive(Debug, Default)]
pub struct Context {
    pub sources: SourceMap,
    pub diagnostics: Diagnostics,
    pub environment: Environment,
    pub words: SectionKeywords,
    pub sections: Vec<&'static Sections>,
    pub options: LoadOptions,
    pub outside: Outside,
    /// The nodes to which the files apply, if anything in the files depends on the node.
    pub nodes: Nodes,
}

impl Context {
    /// Returns whether similar names are still searched. The search takes time for each error, and
    /// a file with very many errors has a different problem.
    pub fn suggests(&self) -> bool {
        self.diagnostics.errors() < SUGGESTED_MAX
    }

    pub fn line_words_of_other_parts<'s>(
        &self,
        section: &'s str,
    ) -> impl Iterator<Item = &'static str> + use<'s> {
        let sections = self.sections.clone().into_iter();
        sections.flat_map(move |one| one.line_words_in(section))
    }

    /// Returns whether this configuration was accepted earlier, perhaps by an earlier version of
    /// Evenkeel with fewer checks. The result is the same in the process that builds the
    /// configuration again.
    pub fn is_accepted(&self) -> bool {
        self.options.is_accepted() || self.outside.is_accepted()
    }

    /// Stores a diagnostic, unless it is a hint and hints are not reported. In a configuration that
    /// was accepted earlier, an error that refuses only new configuration versions becomes a
    /// warning.
    pub fn report(&mut self, mut diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Diag && !self.options.diag {
            return;
        }
        if self.is_accepted() {
            diagnostic.downgrade_to_warning();
        }
        if let Some(advice) = self.outside.advice(&diagnostic.message) {
            diagnostic = diagnostic.help(advice);
        }
        render::without_environment(&self.sources, &self.environment, &mut diagnostic);
        self.diagnostics.push(&self.sources, diagnostic);
    }

    pub fn warn(&mut self, code: &'static Code, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::warning(code, span, message));
    }
}
