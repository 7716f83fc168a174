//! From files to a [`Config`]: reads lines, finds each line's keyword in the
//! registry, lets its row build it into the draft, and at the end checks and
//! resolves the whole. Every mistake is reported, not only the first.
//!
//! The loader may read files and resolve names (it runs with the rights of the
//! start); it opens no listener and changes nothing outside of itself.

mod address;
pub(crate) mod certificates;
mod check;
pub mod codes;
mod foreign;
mod line;
mod log_backends;
mod logs;
mod nodes;
pub(crate) mod one_server;
pub(crate) mod one_variable;
mod order;
mod path;
mod refused;
mod resolve;
mod section;
mod server_states;
mod side;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use certificates::Beside;
pub use nodes::{DOCUMENTED as ON_DOCUMENTED, Elsewhere};
pub use section::{SHARED_WORDS, Section, outline, section_names};

use crate::config::{Config, Proxy, ProxyIndex, Service, StatsLevel, Watch};
use crate::rules::{AclTable, Shared};
use configuration::outside::{Outside, Prepared};
use configuration::{Context, Export, LoadOptions, Recording};
use language::diagnostic::DIAGNOSTICS_MAX;
use language::reader::{Facts, Reader};
use language::render::{self, HaproxyForm};
use language::source::Text;
use language::{
    Code, Diagnostic, Diagnostics, Environment, FileId, Outline, SectionLines, Severity, SourceMap,
    Span,
};
use std::collections::{BTreeSet, HashMap};
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
    /// Sections that other roles build, with their lines.
    pub others: Vec<SectionLines>,
    /// The files as other nodes read them that they have lines for.
    pub elsewhere: Vec<Elsewhere>,
}

impl Loaded {
    /// Tells which addresses come and go, once whoever knows has read the sections of
    /// others. `named` are backends that these name, and where; one that does not exist
    /// is an error.
    pub fn add_services(&mut self, services: Vec<Service>, named: &[(String, Span)]) {
        let export = |service: &Service| Export::new(Service::KIND, &service.name, service);
        self.recording.imports = services.iter().map(export).collect();
        let Some(config) = &mut self.config else {
            return;
        };
        config.services = services;
        // An address that comes and goes is not missed.
        let listens_elsewhere = |told: &Diagnostic| {
            told.code == &codes::FOREIGN_ADDRESS
                && told
                    .primary
                    .is_some_and(|span| check::is_of_service(config, span))
        };
        self.diagnostics.withdraw(listens_elsewhere);
        let unknown = |(name, _): &&(String, Span)| config.backend(name).is_none();
        let wrong: Vec<Diagnostic> = named
            .iter()
            .filter(unknown)
            .map(|(name, span)| resolve::unknown_backend(config, name, *span))
            .collect();
        if !wrong.is_empty() {
            self.config = None;
        }
        for told in wrong {
            self.diagnostics.push(&self.sources, told);
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

/// A `defaults` section.
#[derive(Debug)]
pub struct Defaults {
    /// Its settings.
    pub proxy: Proxy,
    /// Its named ACLs.
    pub acls: AclTable,
}

/// The state of loading; what builders of keywords work on.
#[derive(Debug)]
pub struct Loader {
    /// What every part's lines are built with.
    pub context: Context,
    /// Lists and maps that are compiled already.
    pub(crate) shared: Shared,
    /// The configuration so far.
    pub config: Config,
    /// The `defaults` sections so far; the first is HAProxy's own defaults.
    pub defaults: Vec<Defaults>,
    /// Where the loader is.
    pub section: Section,
    /// What tells which lines begin a section.
    outline: Outline<'static>,
    /// Sections that other roles build.
    others: Vec<SectionLines>,
    /// Which node this is.
    nodes: nodes::Nodes,
    /// Where lines stand that count on this node only.
    on_lines: Vec<Span>,
    /// The named ACLs of the current section.
    pub acls: AclTable,
    /// Proxies and servers that expressions name, to be found at the end.
    pub lookups: Vec<crate::rules::Lookup>,
    /// Files whose entries rules change.
    pub(crate) list_changes: Vec<crate::rules::ListChanges>,
    /// `default-path` as it stands (`None` is the current directory).
    pub base: DefaultPath,
    /// Proxies with a line that gives them something to do without a server that
    /// could be built: a refused `server`, a `stick-table`.
    occupied: std::collections::HashSet<ProxyIndex>,
    /// Which families of rules the current section has lines of.
    order: order::RuleOrder,
    /// The proxies of each name: those with a frontend's side, those with a
    /// backend's.
    names: [HashMap<Box<str>, ProxyIndex>; 2],
    /// A line before the first section was told.
    out_of_section_told: bool,
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
    /// Keys of tables, to be compared with the tables' types.
    pub(crate) table_keys: Vec<crate::keyword::stick_table::TableKey>,
    /// Tables in which `stick` rules keep servers.
    pub(crate) sticky_tables: Vec<Box<str>>,
    /// `nbproc` asked for several processes.
    pub(crate) old_processes: bool,
    /// Kinds of what belongs to other programs that were told of.
    foreign: foreign::Told,
    /// The rules of HAProxy 1.x in the current section, and those around them.
    pub(crate) old_rules: crate::rules::lines::OldRules,
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
    /// Caches that rules name, and where.
    pub(crate) cache_names: Vec<(Box<str>, Span)>,
    /// `resolvers` sections that rules name, to be found at the end.
    pub(crate) resolvers_wanted: Vec<(Span, Box<str>)>,
}

/// What the options `level` and `expose-fd` of a `stats socket` say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketRights {
    /// `level`.
    pub level: StatsLevel,
    /// `expose-fd listeners`.
    pub expose_listeners: bool,
}

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

/// Loads files that were read already, in their order, as one configuration.
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
    let inputs = Recording::new(files, environment, facts, options);
    run(inputs, Outside::default())
}

/// Loads files as [`load`] does; whatever file they name is that of a version, and
/// none of this machine's.
pub fn load_version(
    files: Vec<(String, Text)>,
    prepared: Prepared,
    environment: Environment,
    facts: Facts,
    options: LoadOptions,
) -> Loaded {
    let inputs = Recording::new(files, environment, facts, options);
    run(inputs, Outside::prepared(prepared))
}

/// Loads again what was loaded elsewhere or before: the same configuration and
/// the same diagnostics. Nothing is asked of the system; a question that the
/// recording does not answer is an error.
pub fn replay(mut recording: Recording) -> Loaded {
    let answers = recording.take_answers();
    run(recording, Outside::recorded(answers))
}

/// What a load reports, for operators who ask later (`show startup-logs`).
fn reported(sources: &SourceMap, diagnostics: &Diagnostics) -> Box<str> {
    /// Most bytes of it: a file may have a warning a line.
    const BYTES_MAX: usize = 256 << 10;
    let executable = std::env::current_exe().unwrap_or_default();
    let form = HaproxyForm {
        pid: std::process::id(),
        version: crate::stats::process::VERSION,
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

fn run(mut recording: Recording, mut outside: Outside) -> Loaded {
    let nodes = nodes::Nodes::find(&recording, &mut outside);
    let (sources, ids) = nodes::sources(&recording);
    let is_replay = outside.is_recorded();
    let mut loader = pass(&recording, sources, ids, outside, nodes);
    // Whoever recorded it was told.
    let elsewhere = match is_replay {
        true => Vec::new(),
        false => nodes::elsewhere(&recording, &mut loader),
    };
    loader.tell_unanswered();
    let version = recording.options.version.as_str();
    loader.config.global.version = (!version.is_empty()).then(|| version.into());
    let quiet = loader.config.global.quiet;
    let watched = Watched {
        wish: loader.config.global.watch,
        states: loader.state_files,
    };
    recording.keep(loader.context.outside.into_answers());
    if !is_replay {
        let named = recording.named_variables(&loader.context.environment);
        recording
            .environment
            .retain(|name| named.contains(name.as_bytes()));
        loader
            .context
            .environment
            .retain(|name| named.contains(name.as_bytes()));
    }
    loader.config.environment = loader.context.environment;
    loader.config.reported = reported(&loader.context.sources, &loader.context.diagnostics);
    let config = (loader.context.diagnostics.errors() == 0).then_some(loader.config);
    Loaded {
        config,
        quiet,
        sources: loader.context.sources,
        diagnostics: loader.context.diagnostics,
        recording,
        watched,
        others: loader.others,
        elsewhere,
    }
}

/// Reads the files once, as one node does.
fn pass(
    recording: &Recording,
    sources: SourceMap,
    ids: Vec<FileId>,
    outside: Outside,
    nodes: nodes::Nodes,
) -> Loader {
    let mut loader = Loader::new(recording.environment.clone(), recording.options.clone());
    loader.import(&recording.imports);
    loader.context.sources = sources;
    loader.context.outside = outside;
    loader.nodes = nodes;
    loader.config.files = recording
        .files
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let mut reader = Reader::new(ids, recording.facts.clone());
    while let Some(line) = reader.next(
        &loader.context.sources,
        &loader.context.environment,
        &mut loader.context.diagnostics,
    ) {
        loader.line(&mut reader, &line);
        if loader.is_old_file() {
            reader.is_old();
        }
        // Whoever gives a file of another kind is told so soon.
        if loader.context.diagnostics.errors() >= DIAGNOSTICS_MAX {
            break;
        }
    }
    loader.end_section();
    loader.check_cache_names();
    loader.finish();
    loader
}

impl Loader {
    /// One that has read nothing yet.
    pub(crate) fn new(environment: Environment, options: LoadOptions) -> Self {
        Loader {
            context: Context {
                environment,
                options,
                ..Context::default()
            },
            shared: Shared::default(),
            config: Config::default(),
            defaults: vec![Defaults {
                proxy: section::built_in_defaults(),
                acls: AclTable::default(),
            }],
            section: Section::None,
            outline: outline(),
            others: Vec::new(),
            nodes: Default::default(),
            on_lines: Vec::new(),
            acls: AclTable::default(),
            lookups: Vec::new(),
            list_changes: Vec::new(),
            base: DefaultPath::Current,
            occupied: Default::default(),
            order: order::RuleOrder::default(),
            names: Default::default(),
            out_of_section_told: false,
            refused: Default::default(),
            tls_files: Default::default(),
            state_files: BTreeSet::new(),
            issuer_chains: None,
            crt_store: Default::default(),
            table_peers: Vec::new(),
            ring_tls: Vec::new(),
            table_keys: Vec::new(),
            sticky_tables: Vec::new(),
            old_processes: false,
            foreign: Default::default(),
            old_rules: Default::default(),
            error_groups: Default::default(),
            userlists: Default::default(),
            socket: None,
            health_checks: Vec::new(),
            mailers: Vec::new(),
            log_profiles: Vec::new(),
            cache: None,
            cache_names: Vec::new(),
            resolvers_wanted: Vec::new(),
        }
    }

    /// Takes in what sections of other parts define.
    fn import(&mut self, imports: &[Export]) {
        for import in imports.iter().filter(|i| i.kind == Service::KIND) {
            match import.value() {
                Some(service) => self.config.services.push(service),
                None => self.tell(Diagnostic::global(
                    &codes::UNANSWERED,
                    Severity::Error,
                    format!(
                        "the recording of the loading does not say what '{}' is",
                        import.name
                    ),
                )),
            }
        }
    }

    /// Tells of questions that a recording does not answer.
    fn tell_unanswered(&mut self) {
        let questions: Vec<String> = self
            .context
            .outside
            .unanswered()
            .iter()
            .map(|q| q.to_string())
            .collect();
        for question in questions {
            self.tell(Diagnostic::global(
                &codes::UNANSWERED,
                Severity::Error,
                format!("the recording of the loading does not say {question}"),
            ));
        }
    }

    /// [`Context::suggests`].
    pub(crate) fn suggests(&self) -> bool {
        self.context.suggests()
    }

    /// Takes a diagnostic in; of the kinds that belong to other programs, the first.
    pub fn tell(&mut self, diagnostic: Diagnostic) {
        if let Some(diagnostic) = self.foreign.once(diagnostic) {
            self.context.tell(diagnostic);
        }
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
    pub(crate) fn is_old_file(&self) -> bool {
        self.old_rules.has_any()
            || self
                .context
                .diagnostics
                .iter()
                .any(|told| told.code.id == codes::LEGACY.id)
    }

    /// Whether the current section is a `defaults`.
    pub fn in_defaults(&self) -> bool {
        matches!(self.section, Section::Defaults(_))
    }
}
