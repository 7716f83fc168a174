//! From files to a [`Config`]: reads lines, finds each line's keyword in the
//! registry, lets its row build it into the draft, and at the end checks and
//! resolves the whole. Every mistake is reported, not only the first.
//!
//! The loader may read files and resolve names (it runs with the rights of the
//! start); it opens no listener and changes nothing outside of itself.

pub mod codes;
mod resolve;
mod section;

pub use section::Section;

use crate::config::{Config, Proxy};
use crate::keyword::{Args, registry};
use crate::rules::AclTable;
use language::keyword::Found;
use language::{Environment, Facts, Reader};
use language::{Code, Diagnostic, Diagnostics, FileId, Line, Severity, SourceMap, Span, suggest};

/// What the loader is asked to do besides reading.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Names may be looked up (a check of files from elsewhere says no).
    pub resolve_names: bool,
    /// Also tell what is only worth a hint (`-dD`).
    pub diag: bool,
}

/// What came out.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; None when there were errors.
    pub config: Option<Config>,
    /// The files.
    pub sources: SourceMap,
    /// What there is to tell.
    pub diagnostics: Diagnostics,
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
    /// The files.
    pub sources: SourceMap,
    /// What there is to tell so far.
    pub diagnostics: Diagnostics,
    /// Environment variables; `setenv` changes them.
    pub environment: Environment,
    /// What is asked besides.
    pub options: LoadOptions,
    /// The configuration so far.
    pub config: Config,
    /// The `defaults` sections so far; the first is HAProxy's own defaults.
    pub defaults: Vec<Defaults>,
    /// Where the loader is.
    pub section: Section,
    /// The named ACLs of the current section.
    pub acls: AclTable,
    /// Proxies and servers that expressions name, to be found at the end.
    pub lookups: Vec<crate::rules::Lookup>,
    /// `default-path` as it stands (`None` is the current directory).
    pub base: DefaultPath,
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
    Origin(std::path::PathBuf),
}

/// Loads files that were read already, in their order, as one configuration.
pub fn load(
    files: Vec<(String, Vec<u8>)>,
    environment: Environment,
    facts: Facts,
    options: LoadOptions,
) -> Loaded {
    let mut sources = SourceMap::default();
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let ids: Vec<FileId> = files.into_iter().map(|(name, text)| sources.add(name, text)).collect();
    let mut loader = Loader::new(environment, options);
    loader.sources = sources;
    loader.config.files = names;
    let mut reader = Reader::new(ids, facts);
    while let Some(line) =
        reader.next(&loader.sources, &loader.environment, &mut loader.diagnostics)
    {
        loader.line(&mut reader, &line);
    }
    loader.end_section();
    loader.finish();
    let config = (loader.diagnostics.errors() == 0).then_some(loader.config);
    Loaded { config, sources: loader.sources, diagnostics: loader.diagnostics }
}

impl Loader {
    /// One that has read nothing yet.
    pub(crate) fn new(environment: Environment, options: LoadOptions) -> Self {
        Loader {
            sources: SourceMap::default(),
            diagnostics: Diagnostics::default(),
            environment,
            options,
            config: Config::default(),
            defaults: vec![Defaults { proxy: section::built_in_defaults(), acls: AclTable::default() }],
            section: Section::None,
            acls: AclTable::default(),
            lookups: Vec::new(),
            base: DefaultPath::Current,
        }
    }

    /// Takes a diagnostic in.
    pub fn tell(&mut self, diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Diag && !self.options.diag {
            return;
        }
        self.diagnostics.push(&self.sources, diagnostic);
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

    /// Whether the current section is a `defaults`.
    pub fn in_defaults(&self) -> bool {
        matches!(self.section, Section::Defaults(_))
    }

    fn line(&mut self, reader: &mut Reader, line: &Line) {
        if section::is_section(line.words[0].str()) {
            self.end_section();
            reader.section(line.words[0].str());
            self.begin_section(line);
            return;
        }
        let place = self.section.place();
        let Some(place) = place else {
            if matches!(self.section, Section::None) {
                self.tell(
                    Diagnostic::error(
                        &codes::NO_SECTION,
                        line.words[0].span,
                        format!("unknown keyword '{}' out of section", line.words[0].text()),
                    )
                    .label("no section has begun here"),
                );
            }
            return;
        };
        let (negated, skip) = match line.words[0].str() {
            "no" => (Some(true), 1),
            "default" => (Some(false), 1),
            _ => (None, 0),
        };
        if line.words.len() == skip {
            return self.unknown(line, skip.saturating_sub(1), place);
        }
        let table = &registry().lines;
        match table.find(line.words[skip..].iter().map(|w| w.str())) {
            Found::Built(row, _) if !row.places.contains(&place) => {
                self.misplaced(line, skip, row.name, row.places, place);
            }
            // Its section's first line was told already.
            Found::NotBuilt(..) | Found::Built(..) if matches!(self.section, Section::NotBuilt(_)) => {}
            Found::NotBuilt(name, group, words) => {
                if group.places.contains(&place) {
                    self.not_built(line, skip, words, name);
                } else {
                    self.misplaced(line, skip, name, group.places, place);
                }
            }
            Found::Built(row, words) => {
                let mut args = Args::new(line, skip + words, row.name, row.syntax);
                args.negated = negated == Some(true);
                if negated.is_some() && !negatable(row.name) {
                    return self.tell(
                        Diagnostic::error(
                            &codes::NO_NEGATION,
                            line.words[0].span,
                            format!("negation/default is not supported for '{}'", row.name),
                        )
                        .label("remove this word"),
                    );
                }
                if let Err(diagnostic) = (row.build)(self, &mut args) {
                    self.tell(*diagnostic);
                }
            }
            Found::Unknown => self.unknown(line, skip, place),
        }
    }

    fn not_built(&mut self, line: &Line, skip: usize, words: usize, name: &str) {
        let span = line.words[skip].span.to(line.words[skip + words - 1].span);
        self.tell(
            Diagnostic::error(&codes::NOT_BUILT, span, format!("'{name}' is known, but not built yet"))
                .label("Evenkeel does not do this yet")
                .help("remove the line, or keep this proxy on HAProxy for now"),
        );
    }

    fn misplaced(&mut self, line: &Line, skip: usize, name: &str, places: &[&str], place: &str) {
        self.tell(
            Diagnostic::error(
                &codes::KEYWORD_MISPLACED,
                line.words[skip].span,
                format!("'{name}' not allowed in '{place}' section"),
            )
            .label("does not belong here")
            .note(format!("it is legal in: {}", places.join(", "))),
        );
    }

    fn unknown(&mut self, line: &Line, skip: usize, place: &str) {
        let word = &line.words[skip];
        let mut diagnostic = Diagnostic::error(
            &codes::UNKNOWN_KEYWORD,
            word.span,
            format!("unknown keyword '{}' in '{place}' section", word.text()),
        );
        // Two words of the line may be one keyword ("option httplgo").
        let two = line.word(skip + 1).map(|next| format!("{} {}", word.text(), next.text()));
        let names = || registry().lines.names_in(place);
        let near = two.as_deref().and_then(|two| {
            suggest::nearest(two, names().filter(|n| n.contains(' '))).map(|n| (n, 2))
        });
        let near = near.or_else(|| suggest::nearest(&word.text(), names()).map(|n| (n, 1)));
        if let Some((name, words)) = near {
            let span = word.span.to(line.words[(skip + words - 1).min(line.words.len() - 1)].span);
            diagnostic = diagnostic.help(format!("did you mean '{name}'?")).fix(span, name);
        }
        self.tell(diagnostic);
    }
}

fn negatable(name: &str) -> bool {
    name.starts_with("option ")
        || matches!(
            name,
            "log" | "strict-limits" | "busy-polling" | "set-dumpable" | "insecure-fork-wanted"
                | "insecure-setuid-wanted" | "splice" | "cpu-map" | "log-send-hostname"
                | "numa-cpu-mapping" | "prealloc-fd" | "stick-table" | "disabled" | "quick-exit"
        )
}
