//! The draft of a configuration, as far as rules ask it and change it while their lines are
//! built: what was read before, what is to be looked for when the file is whole.

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

/// A configuration that is being built.
#[derive(Debug)]
pub struct Draft {
    /// What every part's lines are built with.
    pub context: Context,
    /// Lists and maps that are compiled already.
    pub shared: CompiledLists,
    /// The configuration so far.
    pub config: Config,
    /// The `defaults` sections so far; the first is HAProxy's own defaults.
    pub defaults: Vec<Defaults>,
    /// Where the loader is.
    pub section: Section,
    /// The named ACLs of the current section.
    pub acls: AclTable,
    /// Proxies and servers that expressions name, to be found at the end.
    pub lookups: Vec<super::Lookup>,
    /// Files whose entries rules change.
    pub(crate) list_changes: Vec<super::ListChanges>,
    /// `default-path` as it stands (`None` is the current directory).
    pub base: DefaultPath,
    /// Keys of tables, to be compared with the tables' types.
    pub table_keys: Vec<TableKey>,
    /// Kinds of what belongs to other programs that were told of.
    foreign: foreign::Reported,
    /// The rules of HAProxy 1.x in the current section, and those around them.
    pub(crate) old_rules: super::lines::OldRules,
    /// Caches that rules name, and where.
    pub cache_names: Vec<(Box<str>, Span)>,
    /// `resolvers` sections that rules name, to be found at the end.
    pub resolvers_wanted: Vec<(Span, Box<str>)>,
    /// Who names lists of users.
    pub userlist_uses: UserlistUses,
    /// Who names groups of error pages.
    pub error_group_uses: ErrorGroupUses,
}

/// What applies of an expression that only an earlier program could read.
pub(crate) const AS_EARLIER: &str =
    "the expression matches as it did in the program that accepted it";

/// `default-path`: what relative file names count from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DefaultPath {
    /// The directory of the process.
    #[default]
    Current,
    /// The directory of the configuration file.
    Config,
    /// The directory above that.
    Parent,
    /// This directory.
    Origin(PathBuf),
}

impl Draft {
    /// One for which nothing was read yet.
    pub fn new(environment: Environment, options: LoadOptions) -> Self {
        Draft {
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

    /// [`Context::suggests`].
    pub fn suggests(&self) -> bool {
        self.context.suggests()
    }

    /// Takes a diagnostic in; of the kinds that belong to other programs, the first.
    pub fn tell(&mut self, diagnostic: Diagnostic) {
        if let Some(diagnostic) = self.foreign.once(diagnostic) {
            self.context.tell(diagnostic);
        }
    }

    /// Compiles a regular expression. One of an accepted version that only an earlier program
    /// could read matches what it matched there.
    ///
    /// # Errors
    /// The diagnostic for an invalid one.
    pub fn regular(
        &mut self,
        pattern: &[u8],
        ignore_case: bool,
        span: Span,
    ) -> Result<Regular, Diagnostic> {
        let compiled = Regular::new(pattern, ignore_case);
        self.regular_or_earlier(compiled, (pattern, ignore_case), |error| {
            error.diagnostic(span, pattern)
        })
    }

    /// The same for an expression that was compiled, with the diagnostic for an invalid one.
    ///
    /// # Errors
    /// That diagnostic.
    pub fn regular_or_earlier(
        &mut self,
        compiled: Result<Regular, RegularError>,
        (pattern, ignore_case): (&[u8], bool),
        diagnose: impl FnOnce(&RegularError) -> Diagnostic,
    ) -> Result<Regular, Diagnostic> {
        compiled.or_else(|error| {
            let diagnostic = diagnose(&error);
            let earlier = { self.context.is_accepted() }
                .then(|| Regular::of_earlier_program(pattern, ignore_case));
            match earlier.flatten() {
                Some(earlier) => {
                    self.tell(diagnostic.once_accepted(AS_EARLIER));
                    Ok(earlier)
                }
                None => Err(diagnostic),
            }
        })
    }

    /// Takes diagnostics in.
    pub fn tell_all(&mut self, told: impl IntoIterator<Item = Diagnostic>) {
        told.into_iter().for_each(|told| self.tell(told));
    }

    /// Takes a warning in.
    pub fn warn(&mut self, code: &'static Code, span: Span, message: impl Into<String>) {
        self.tell(Diagnostic::warning(code, span, message));
    }

    /// The proxy (or defaults) that the current section builds. Builders of
    /// keywords that are legal in proxies only may rely on there being one.
    pub fn proxy(&mut self) -> &mut Proxy {
        match self.section {
            Section::Proxy(index, _) => &mut self.config.proxies[index.0 as usize],
            Section::Defaults(index) => &mut self.defaults[index].proxy,
            // No keyword of a proxy is dispatched elsewhere; a draft that is
            // thrown away keeps the loader going if one ever is.
            _ => &mut self.defaults[0].proxy,
        }
    }

    /// Whether something before was written for HAProxy 1.x: then what those
    /// versions let pass is let pass.
    pub fn is_old_file(&self) -> bool {
        self.is_old(&self.context.diagnostics)
    }

    /// [`Draft::is_old_file`], with the diagnostics of the whole load.
    pub fn is_old(&self, told: &Diagnostics) -> bool {
        let is_legacy = |told: &Diagnostic| told.code.id == codes::LEGACY.id;
        self.old_rules.has_any() || told.iter().any(is_legacy)
    }

    /// Whether the current section is a `defaults`.
    pub fn in_defaults(&self) -> bool {
        matches!(self.section, Section::Defaults(_))
    }
}
