//! From files to a [`Config`]: reads lines, finds each line's keyword in the
//! registry, lets its row build it into the draft, and at the end checks and
//! resolves the whole. Every mistake is reported, not only the first.
//!
//! The loader may read files and resolve names (it runs with the rights of the
//! start); it opens no listener and changes nothing outside of itself.

pub(crate) mod certificates;
mod check;
mod line;
mod log_backends;
mod logs;
pub(crate) mod one_server;
pub(crate) mod one_variable;
mod order;
mod refused;
mod resolve;
mod section;
mod server_states;
mod side;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use certificates::Beside;
pub use section::SECTIONS;

use crate::codes;
use crate::config::{Config, ProxyIndex, Service, StatsLevel, Watch};
use crate::rules::draft::{DefaultPath, Draft, Section};
use configuration::outside::Outside;
use configuration::{Context, Exchange, Export, Kind, LoadOptions, Part, Recording, Words};
use language::reader::Facts;
use language::render::{self, HaproxyForm};
use language::source::Text;
use language::{Diagnostic, Diagnostics, Environment, Line, Severity, SourceMap, Span};
use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

/// What came out.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; None when there were errors.
    pub config: Option<Config>,
    /// `quiet` was read, with errors or without.
    pub quiet: bool,
    /// The files.
    pub sources: SourceMap,
    /// What there is to tell.
    pub diagnostics: Diagnostics,
    /// What was loaded and what was asked of the outside, so that it can be done
    /// again elsewhere.
    pub recording: Recording,
    /// What is to be noticed when it changes, with errors or without.
    pub watched: Watched,
}

impl Loaded {
    /// What came out of a load in which the proxy was a part.
    pub fn of(mut loaded: configuration::Loaded) -> Loaded {
        let Outcome {
            mut config,
            watched,
        } = loaded.take(&PART);
        let version = loaded.recording.options.version.as_str();
        config.global.version = (!version.is_empty()).then(|| version.into());
        config.environment = loaded.environment;
        config.reported = reported(&loaded.sources, &loaded.diagnostics);
        Loaded {
            quiet: config.global.quiet,
            config: (loaded.diagnostics.errors() == 0).then_some(config),
            sources: loaded.sources,
            diagnostics: loaded.diagnostics,
            recording: loaded.recording,
            watched,
        }
    }

    /// The warnings for which `zero-warning` refuses a file.
    pub fn refusing_warnings(&self) -> usize {
        refusing_warnings(&self.diagnostics)
    }
}

/// The warnings that HAProxy gives as well: under `zero-warning` a file that it
/// accepts must not be refused for what only we tell.
fn refusing_warnings(diagnostics: &Diagnostics) -> usize {
    let own = |id: &str| OWN_WARNINGS.contains(&id);
    let warnings = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Warning);
    warnings.filter(|d| !own(d.code.id)).count()
}

/// The codes of warnings that HAProxy does not have.
const OWN_WARNINGS: &[&str] = &[
    "W0001", "W0002", "W0003", "W0005", "W0101", "W0107", "W0108", "W0109", "W0110", "W0111",
    "W0119", "W0120", "W0121", "W0122", "W0123", "W0124", "W0125", "W0126", "W0127", "W0301",
    "W0302", "W0303", "W0304", "W0305", "W0403", "W0404", "W0440", "W0442", "W0501", "W0504",
    "W0505", "W0403", "W0404", "W0470", "W0501", "W0504", "W0505",
];

/// What of a configuration may change by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// What `watch` says.
    pub wish: Option<Watch>,
    /// Files that tell how an earlier process ended: their change is no change
    /// of the configuration.
    pub states: BTreeSet<PathBuf>,
}

/// The state of loading; what builders of keywords work on.
#[derive(Debug)]
pub struct Loader {
    pub(crate) draft: Draft,
    /// Proxies with a line that gives them something to do without a server that
    /// could be built: a refused `server`, a `stick-table`.
    occupied: std::collections::HashSet<ProxyIndex>,
    /// Which families of rules the current section has lines of.
    order: order::RuleOrder,
    /// The proxies of each name: those with a frontend's side, those with a
    /// backend's.
    names: [HashMap<Box<str>, ProxyIndex>; 2],
    /// Which lines were refused.
    refused: refused::Refused,
    /// Files of certificates that were read.
    pub(crate) tls_files: crate::keyword::tls_files::TlsFiles,
    /// Files of server states that were asked for.
    state_files: BTreeSet<PathBuf>,
    /// Chains of `issuers-chain-path`, once they were read.
    issuer_chains: Option<certificates::IssuerChains>,
    /// Set in a `crt-store`.
    pub(crate) crt_store: crate::keyword::crt_store::CrtStore,
    /// Peers sections that tables name.
    pub(crate) table_peers: Vec<(Box<str>, Span)>,
    /// Servers of rings, by ring and place, with what their lines say of TLS.
    pub(crate) ring_tls: Vec<((usize, usize), crate::config::ServerTls, Span)>,
    /// Tables in which `stick` rules keep servers.
    pub(crate) sticky_tables: Vec<Box<str>>,
    /// `nbproc` asked for several processes.
    pub(crate) old_processes: bool,
    /// Groups of error pages, and who names them.
    pub(crate) error_groups: crate::keyword::http_errors::ErrorGroups,
    /// Lists of users, and who names them.
    pub(crate) userlists: crate::keyword::userlist::Userlists,
    /// `healthcheck` sections.
    pub(crate) health_checks: Vec<crate::config::HealthCheck>,
    /// `mailers` sections.
    pub(crate) mailers: Vec<crate::config::Mailers>,
    /// `log-profile` sections, until the targets that name them have them.
    pub(crate) log_profiles: Vec<crate::config::LogProfile>,
    /// Set while a `stats socket` line is built: what only its options say.
    pub socket: Option<SocketRights>,
    /// Set in a `cache` section.
    pub(crate) cache: Option<crate::keyword::cache::Draft>,
}

impl Deref for Loader {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}

impl DerefMut for Loader {
    fn deref_mut(&mut self) -> &mut Draft {
        &mut self.draft
    }
}

/// What the options `level` and `expose-fd` of a `stats socket` say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketRights {
    /// `level`.
    pub level: StatsLevel,
    /// `expose-fd listeners`.
    pub expose_listeners: bool,
}

/// Loads files that were read already, in their order, as one configuration of the
/// proxy alone.
pub fn load(
    files: Vec<(String, Vec<u8>)>,
    environment: Environment,
    facts: Facts,
    options: LoadOptions,
) -> Loaded {
    let files = files
        .into_iter()
        .map(|(name, text)| (name, Text::new(text)))
        .collect();
    let words = Words::of([&SECTIONS]);
    let inputs = Recording::new(files, environment, facts, options, words);
    Loaded::of(configuration::load(&[&PART], inputs, Outside::default()))
}

/// Loads again what was loaded elsewhere or before: the same configuration and
/// the same diagnostics. Nothing is asked of the system; a question that the
/// recording does not answer is an error.
pub fn replay(recording: Recording) -> Loaded {
    Loaded::of(configuration::replay(&[&PART], recording))
}

/// What a load reports, for operators who ask later (`show startup-logs`).
fn reported(sources: &SourceMap, diagnostics: &Diagnostics) -> Box<str> {
    /// Most bytes of it: a file may have a warning a line.
    const BYTES_MAX: usize = 256 << 10;
    let executable = std::env::current_exe().unwrap_or_default();
    let form = HaproxyForm {
        pid: std::process::id(),
        version: crate::config::product::VERSION,
        executable: &executable.to_string_lossy(),
        diag: false,
        zero_warning: false,
    };
    let mut text = render::haproxy(sources, diagnostics, &form);
    let end = (0..=BYTES_MAX.min(text.len())).rev();
    let end = { end }.find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text.into()
}

/// The proxy alone, with its keywords.
static PART: Part = part(|| crate::keyword::registry().documented());

/// The proxy, as a part of a configuration.
pub const fn part(documented: fn() -> Vec<language::Documented>) -> Part {
    Part {
        name: "proxy",
        sections: SECTIONS,
        documented,
        codes: || crate::codes().collect(),
        exports: &[BACKEND],
        begin: |context| {
            let mut loader = Loader::new(Environment::empty(), LoadOptions::default());
            let files = context.sources.files();
            loader.config.files = files.map(|(_, file)| file.name.clone()).collect();
            Box::new(loader)
        },
        run: None,
    }
}

/// What others may refer to.
const BACKEND: Kind = Kind {
    name: "backend",
    unknown: &codes::UNKNOWN_BACKEND,
    label: "not the name of a `backend` or `listen`",
};

/// What the sections of the proxy come to.
#[derive(Debug, Default)]
struct Outcome {
    config: Config,
    watched: Watched,
}

impl configuration::Draft for Loader {
    fn section(&mut self, context: &mut Context, head: &Line) {
        self.within(context, |loader| loader.begin_section(head));
    }

    fn place(&self) -> Option<&'static str> {
        self.section.place()
    }

    fn line(&mut self, context: &mut Context, line: &Line) {
        self.within(context, |loader| loader.line(line));
    }

    fn refused(&mut self, line: &Line) {
        self.refused_line(line);
    }

    fn end_section(&mut self, context: &mut Context) {
        self.within(context, Self::end_section);
    }

    fn is_old_file(&self, context: &Context) -> bool {
        self.is_old(&context.diagnostics)
    }

    fn finish(mut self: Box<Self>, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        self.within(context, |loader| {
            loader.import(exchange.all(Service::KIND));
            loader.check_cache_names();
            loader.finish();
        });
        for name in self.config.backends.keys() {
            exchange.export(Export::name(BACKEND.name, name));
        }
        Box::new(Outcome {
            watched: Watched {
                wish: self.config.global.watch,
                states: self.state_files,
            },
            config: self.draft.config,
        })
    }
}

impl Loader {
    /// Does something that works on the context of a load.
    fn within(&mut self, context: &mut Context, does: impl FnOnce(&mut Self)) {
        std::mem::swap(&mut self.context, context);
        does(self);
        std::mem::swap(&mut self.context, context);
    }

    /// One that has read nothing yet.
    pub(crate) fn new(environment: Environment, options: LoadOptions) -> Self {
        Loader {
            draft: Draft::new(environment, options),
            occupied: Default::default(),
            order: order::RuleOrder::default(),
            names: Default::default(),
            refused: Default::default(),
            tls_files: Default::default(),
            state_files: BTreeSet::new(),
            issuer_chains: None,
            crt_store: Default::default(),
            table_peers: Vec::new(),
            ring_tls: Vec::new(),
            sticky_tables: Vec::new(),
            old_processes: false,
            error_groups: Default::default(),
            userlists: Default::default(),
            socket: None,
            health_checks: Vec::new(),
            mailers: Vec::new(),
            log_profiles: Vec::new(),
            cache: None,
        }
    }

    /// Takes in what sections of other parts define.
    fn import<'e>(&mut self, imports: impl Iterator<Item = &'e Export>) {
        for import in imports {
            match import.value() {
                Some(service) => self.config.services.push(service),
                None => self.tell(Diagnostic::global(
                    &configuration::codes::UNANSWERED,
                    Severity::Error,
                    format!(
                        "the recording of the load lacks the service '{}'",
                        import.name
                    ),
                )),
            }
        }
    }
}
