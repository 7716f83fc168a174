//! Holds a configuration while its lines are built, as far as rules need it: the sections parsed
//! so far, and the names to look up when the file is complete.

mod address;
mod foreign;
mod named;
mod path;
mod section;

pub use section::{Defaults, Section};

use crate::codes;
use crate::config::{Config, Proxy};
use crate::rules::regular::{Regular, RegularError};
use crate::rules::{AclTable, CompiledLists};
use configuration::{Context, LoadOptions};
use language::{Code, Diagnostic, Diagnostics, Environment, Span};
use named::{ErrorGroupUses, TableKey, UserlistUses};
use std::path::PathBuf;

#[derive(Debug)]
pub struct ConfigDraft {
    pub context: Context,
    pub shared: CompiledLists,
    pub config: Config,
    /// Sections `defaults` so far; the first one has HAProxy's own defaults.
    pub defaults: Vec<Defaults>,
    pub section: Section,
    pub acls: AclTable,
    /// Proxies and servers that expressions name, looked up at the end.
    pub lookups: Vec<super::Lookup>,
    /// Files whose entries rules change.
    pub(crate) list_changes: Vec<super::ListChanges>,
    pub base: DefaultPath,
    /// Table keys, to compare with the types of the tables.
    pub table_keys: Vec<TableKey>,
    foreign: foreign::Reported,
    /// Rules of HAProxy 1.x in the current section, and the current rules around them.
    pub(crate) old_rules: super::lines::OldRules,
    /// Caches that rules name, with their positions.
    pub cache_names: Vec<(Box<str>, Span)>,
    /// Sections `resolvers` that rules name, looked up at the end.
    pub resolvers_wanted: Vec<(Span, Box<str>)>,
    pub userlist_uses: UserlistUses,
    pub error_group_uses: ErrorGroupUses,
}

/// Note about an expression that only an earlier release of Evenkeel could parse.
pub(crate) const AS_EARLIER: &str =
    "the expression matches as it did in the program that accepted it";

/// Base of relative file names (`default-path`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DefaultPath {
    /// Working directory of the process.
    #[default]
    Current,
    /// Directory of the configuration file.
    Config,
    /// Parent of the configuration file's directory.
    Parent,
    Origin(PathBuf),
}

impl ConfigDraft {
    pub fn new(environment: Environment, options: LoadOptions) -> Self {
        ConfigDraft {
            context: Context {
                environment,
                options,
                ..Context::default()
            },
            shared: CompiledLists::default(),
            config: Config::default(),
            defaults: vec![Defaults::default()],
            section: Section::None,
            acls: AclTable::default(),
            lookups: Vec::new(),
            list_changes: Vec::new(),
            base: DefaultPath::Current,
            table_keys: Vec::new(),
            foreign: Default::default(),
            old_rules: Default::default(),
            cache_names: Vec::new(),
            resolvers_wanted: Vec::new(),
            userlist_uses: Default::default(),
            error_group_uses: Default::default(),
        }
    }

    pub fn suggests(&self) -> bool {
        self.context.suggests()
    }

    /// Reports a diagnostic. Of each kind of foreign keyword, only the first is reported.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        if let Some(diagnostic) = self.foreign.once(diagnostic) {
            self.context.report(diagnostic);
        }
    }

    /// Compiles a regular expression. In an accepted configuration version, an expression that only
    /// an earlier release of Evenkeel could parse matches as it did in that release.
    ///
    /// # Errors
    ///
    /// The diagnostic for an invalid expression.
    pub fn regular(
        &mut self,
        pattern: &[u8],
        ignore_case: bool,
        span: Span,
    ) -> Result<Regular, Diagnostic> {
        let compiled = Regular::new(pattern, ignore_case);
        self.regular_or_earlier(compiled, pattern, ignore_case, |error| {
            error.diagnostic(span, pattern)
        })
    }

    /// Variant of [`ConfigDraft::regular`] for an expression that was already compiled. `diagnose`
    /// makes the diagnostic for a failure.
    ///
    /// # Errors
    ///
    /// Fails with the diagnostic from `diagnose`.
    pub fn regular_or_earlier(
        &mut self,
        compiled: Result<Regular, RegularError>,
        pattern: &[u8],
        ignore_case: bool,
        diagnose: impl FnOnce(&RegularError) -> Diagnostic,
    ) -> Result<Regular, Diagnostic> {
        compiled.or_else(|error| {
            let diagnostic = diagnose(&error);
            let earlier = self
                .context
                .is_accepted()
                .then(|| Regular::of_earlier_program(pattern, ignore_case));
            match earlier.flatten() {
                Some(earlier) => {
                    self.report(diagnostic.with_earlier_behaviour(AS_EARLIER));
                    Ok(earlier)
                }
                None => Err(diagnostic),
            }
        })
    }

    pub fn report_all(&mut self, told: impl IntoIterator<Item = Diagnostic>) {
        told.into_iter().for_each(|told| self.report(told));
    }

    pub fn warn(&mut self, code: &'static Code, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::warning(code, span, message));
    }

    /// Returns the proxy (or `defaults`) that the current section builds. Builders of keywords that
    /// are legal only in proxies may rely on it.
    pub fn proxy(&mut self) -> &mut Proxy {
        match self.section {
            Section::Proxy(index, _) => &mut self.config.proxies[index.0 as usize],
            Section::Defaults(index) => &mut self.defaults[index].proxy,
            // Keywords of proxies are not dispatched in other sections. If one ever is, changing a
            // draft that is discarded keeps the loader running.
            _ => &mut self.defaults[0].proxy,
        }
    }

    /// Returns whether an earlier line was written for HAProxy 1.x. Leniencies of those versions
    /// are then allowed.
    pub fn is_old_file(&self) -> bool {
        self.is_old(&self.context.diagnostics)
    }

    /// Returns the same as [`ConfigDraft::is_old_file`], for the diagnostics of the whole load.
    pub fn is_old(&self, told: &Diagnostics) -> bool {
        let is_legacy = |told: &Diagnostic| told.code.id == codes::LEGACY.id;
        self.old_rules.has_any() || told.iter().any(is_legacy)
    }

    pub fn in_defaults(&self) -> bool {
        matches!(self.section, Section::Defaults(_))
    }
}
