//! Builds a [`Config`] from files: reads lines, finds each line's keyword in the registry, lets
//! its row build it into the draft, and finally checks and resolves the whole. All errors are
//! reported, not only the first.
//!
//! The loader may read files and resolve names, since it runs with the initial privileges. It
//! opens no listener and changes nothing outside of itself.

mod check;
mod line;
mod log_backends;
mod logs;
pub mod one_server;
pub mod one_variable;
mod resolve;
mod section;
mod server_states;
mod side;
#[cfg(test)]
mod tests;
mod tls;

pub use section::SECTIONS;

use crate::family::Loader;
use configuration::outside::Outside;
use configuration::{
    Accounts, ConfigurationPart, ConsoleAddress, Context, Exchange, Export, LoadOptions,
    NamedAddress, ObjectKind, Recording, SectionKeywords,
};
use language::reader::Facts;
use language::render::{self, HaproxyForm};
use language::source::Text;
use language::{ConfigLine, Diagnostic, Diagnostics, Environment, Severity, SourceMap};
use model::codes;
use model::config::{BindAddress, Config, RuleTexts, ServerAddress, Service, WatchSettings};
use model::rules::draft::{DefaultPath, Section};
use std::any::Any;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug)]
pub struct Loaded {
    /// Configuration; None if a diagnostic is an error.
    pub config: Option<Config>,
    /// The file contains `quiet`. Valid also after errors.
    pub quiet: bool,
    pub sources: SourceMap,
    pub diagnostics: Diagnostics,
    /// Recording of the files and of all queries to the environment, so that the load can be
    /// replayed elsewhere.
    pub recording: Recording,
    /// Settings of `watch`, and the state files of servers. Valid also after errors.
    pub watched: Watched,
}

impl Loaded {
    /// Extracts the proxy's result from a load of several parts.
    pub fn of(mut loaded: configuration::Loaded) -> Loaded {
        let BuiltSections {
            mut config,
            watched,
        } = loaded.take_part(&PART);
        let version = loaded.recording.options.version.as_str();
        config.global.version = (!version.is_empty()).then(|| version.into());
        config.environment = loaded.environment;
        // Builds the vocabulary of secrets only for a configuration with lists that may contain
        // some.
        if config.lists.depend_on_uses() {
            config.lists.hide_secrets(&loaded.sources.vocabulary().uses);
        }
        config.rule_texts = Arc::new(RuleTexts::of(&loaded.sources));
        config.reported = startup_log_text(&loaded.sources, &loaded.diagnostics);
        Loaded {
            quiet: config.global.quiet,
            config: (loaded.diagnostics.errors() == 0).then_some(config),
            sources: loaded.sources,
            diagnostics: loaded.diagnostics,
            recording: loaded.recording,
            watched,
        }
    }

    /// Returns the number of warnings because of which `zero-warning` refuses a file.
    pub fn warning_count(&self) -> usize {
        count_warnings(&self.diagnostics)
    }
}

/// Counts the warnings that HAProxy gives as well: `zero-warning` must not refuse a file that
/// HAProxy accepts.
fn count_warnings(diagnostics: &Diagnostics) -> usize {
    let own = |id: &str| OWN_WARNINGS.contains(&id);
    let warnings = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Warning);
    warnings.filter(|d| !own(d.code.id)).count()
}

/// Codes of warnings that HAProxy does not have.
const OWN_WARNINGS: &[&str] = &[
    "W0001", "W0002", "W0003", "W0005", "W0101", "W0107", "W0108", "W0109", "W0110", "W0111",
    "W0119", "W0120", "W0121", "W0122", "W0123", "W0124", "W0125", "W0126", "W0127", "W0301",
    "W0302", "W0303", "W0304", "W0305", "W0403", "W0404", "W0440", "W0442", "W0470", "W0501",
    "W0504", "W0505", "W0812", "W0860", "W0861", "W0862", "W1060",
];

/// Files that are watched for changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    pub setting: Option<WatchSettings>,
    /// State files of earlier processes, whose change is no change of the configuration.
    pub states: BTreeSet<PathBuf>,
}

/// Loads files that were read already, in order, as a configuration of the proxy alone.
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
    let words = SectionKeywords::from_parts([&SECTIONS]);
    let inputs = Recording::new(files, environment, facts, options, words);
    Loaded::of(configuration::load(&[&PART], inputs, Outside::default()))
}

/// Repeats an earlier load from its recording. The result is the same configuration with the same
/// diagnostics. The system is not queried; a query without a recorded result is an error.
pub fn replay(recording: Recording) -> Loaded {
    Loaded::of(configuration::replay(&[&PART], recording))
}

/// Returns the diagnostics in HAProxy's format for `show startup-logs`, truncated to a maximum
/// length.
fn startup_log_text(sources: &SourceMap, diagnostics: &Diagnostics) -> Box<str> {
    /// Maximum length of the text, bytes: a file may have a warning per line.
    const BYTES_MAX: usize = 256 << 10;
    let executable = std::env::current_exe().unwrap_or_default();
    let form = HaproxyForm {
        pid: std::process::id(),
        version: model::config::product::VERSION,
        executable: &executable.to_string_lossy(),
        diag: false,
        zero_warning: false,
    };
    let mut text = render::haproxy(sources, diagnostics, &form);
    text.truncate(language::truncated(&text, BYTES_MAX).len());
    text.into()
}

/// Part of the configuration for loads that contain only the proxy.
pub static PART: ConfigurationPart = part(|| crate::family::registry().documented());

pub const fn part(documented: fn() -> Vec<language::Documented>) -> ConfigurationPart {
    ConfigurationPart {
        name: "proxy",
        sections: SECTIONS,
        documented,
        codes: || model::codes().collect(),
        exports: &[BACKEND, USERLIST],
        begin: |context| {
            let mut loader = Loader::new(Environment::empty(), LoadOptions::default());
            let files = context.sources.files();
            loader.config.files = files.map(|(_, file)| file.name.clone()).collect();
            let files = context.sources.files();
            loader.config.line_starts = files.map(|(_, file)| file.line_starts().into()).collect();
            Box::new(loader)
        },
        run: None,
    }
}

/// Kind of exported names of backends, to which other parts may refer.
const BACKEND: ObjectKind = ObjectKind {
    name: "backend",
    unknown: &codes::UNKNOWN_BACKEND,
    label: "not the name of a `backend` or `listen`",
};

/// Kind of exported userlists, by which other parts may sign users in.
const USERLIST: ObjectKind = ObjectKind {
    name: Accounts::KIND,
    unknown: &codes::UNKNOWN_USERLIST,
    label: "no userlist has this name",
};

#[derive(Debug, Default)]
struct BuiltSections {
    config: Config,
    watched: Watched,
}

impl configuration::PartDraft for Loader {
    fn section(&mut self, context: &mut Context, head: &ConfigLine) {
        self.within(context, |loader| loader.begin_section(head));
    }

    fn current_section(&self) -> Option<&'static str> {
        self.section.place()
    }

    fn line(&mut self, context: &mut Context, line: &ConfigLine) {
        self.within(context, |loader| loader.line(line));
    }

    fn refused(&mut self, line: &ConfigLine) {
        self.refused_line(line);
    }

    fn note_line_for_other_nodes(&mut self, line: &ConfigLine) {
        if let Some(word) = line.words.first() {
            self.refused
                .record_line_for_other_nodes(self.section, word.str());
        }
    }

    fn end_section(&mut self, context: &mut Context) {
        self.within(context, Self::end_section);
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        let proxies = self.draft.config.proxies.iter();
        let all = proxies.flat_map(|proxy| {
            let binds = proxy.binds.iter().filter_map(|bind| match bind.address {
                BindAddress::Inet(address) => {
                    let owner = format!("`bind` of '{}'", proxy.name);
                    if bind.transparent {
                        // Treats the address of a transparent listener as one of another machine.
                        NamedAddress::from_address(address.ip(), owner)
                    } else {
                        NamedAddress::of_node(address.ip(), owner)
                    }
                }
                _ => None,
            });
            // Omits servers with a host name, whose address may change with the next DHCP lease.
            let literal = proxy.servers.iter().filter(|server| server.host.is_none());
            let servers = literal.filter_map(|server| {
                let address = match server.address {
                    ServerAddress::Inet(address) => address.ip(),
                    ServerAddress::SamePort(address, _) => address,
                    _ => return None,
                };
                let owner = format!("server '{}' of '{}'", server.name, proxy.name);
                NamedAddress::from_address(address, owner)
            });
            binds.chain(servers)
        });
        all.collect()
    }

    fn is_old_file(&self, context: &Context) -> bool {
        self.is_old(&context.diagnostics)
    }

    fn finish(mut self: Box<Self>, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        self.within(context, |loader| {
            loader.import(exchange.exports_of_kind(Service::KIND));
            loader.check_cache_names();
            loader.finish();
        });
        // Passes the address of the console to the statistics pages. Only a replay knows the
        // address, because the console is built after the proxy.
        let console = exchange
            .exports_of_kind(ConsoleAddress::KIND)
            .find_map(Export::value);
        let pages = self.draft.config.proxies.iter_mut();
        for page in pages.filter_map(|proxy| proxy.stats.as_mut()) {
            page.console = console;
        }
        for name in self.config.backends.keys() {
            exchange.export(Export::name(BACKEND.name, name));
        }
        for (name, accounts) in self.userlists.accounts() {
            exchange.export(Export::new(Accounts::KIND, name, &accounts));
        }
        Box::new(BuiltSections {
            watched: Watched {
                setting: self.config.global.watch,
                states: self.state_files,
            },
            config: self.draft.config,
        })
    }
}

impl Loader {
    fn within(&mut self, context: &mut Context, does: impl FnOnce(&mut Self)) {
        std::mem::swap(&mut self.context, context);
        does(self);
        std::mem::swap(&mut self.context, context);
    }

    fn import<'e>(&mut self, imports: impl Iterator<Item = &'e Export>) {
        for import in imports {
            match import.value() {
                Some(service) => self.config.services.push(service),
                None => self.report(Diagnostic::global(
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
