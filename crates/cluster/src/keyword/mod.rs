//! The section `config`: how the configuration of a cluster changes. The proxy's
//! loader collects its lines ([`SectionLines`]) without knowing any of its keywords;
//! here each keyword is a row, as there.
//!
//! What the section says holds for the whole cluster. Nothing here asks the system:
//! what is followed is looked at by [`crate::follow`].

pub mod codes;

mod follow;
mod settings;
#[cfg(test)]
mod tests;

pub use follow::{Followed, System};

use crate::file_set::FileSet;
use language::arguments::{Args, Built, unset_named};
use language::keyword::{Documented, Family, Found, Keyword, Table};
use language::{
    Diagnostic, Diagnostics, Environment, Facts, Line, Outline, Reader, SectionLines, SourceMap,
    Span, unknown,
};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::time::Duration;

/// The section, and what it is for.
pub static SECTIONS: &[(&str, &str)] = &[(
    "config",
    "How the configuration of a cluster changes: followed repositories, judging, number of kept versions.",
)];

/// How long each stage of a change is looked at where nothing else is said.
pub const JUDGE_DEFAULT: Duration = Duration::from_secs(10);
/// Versions that are kept where nothing else is said.
pub const KEEP_DEFAULT: u32 = 200;

/// What the section says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigSection {
    /// Repositories that are followed.
    pub follow: Vec<Followed>,
    /// How long each stage of a change is looked at; zero: not at all.
    pub judge: Duration,
    /// Versions that are kept.
    pub keep: u32,
    /// What an operator applies takes itself back unless confirmed within this time.
    pub confirm: Option<Duration>,
}

impl Default for ConfigSection {
    fn default() -> Self {
        ConfigSection {
            follow: Vec::new(),
            judge: JUDGE_DEFAULT,
            keep: KEEP_DEFAULT,
            confirm: None,
        }
    }
}

/// What it takes to read files without knowing their keywords; whoever knows them
/// gives it.
#[derive(Clone, Debug)]
pub struct Grammar {
    /// Which words begin a section.
    pub outline: Outline<'static>,
    /// Environment variables.
    pub environment: Environment,
    /// What conditions ask about the program.
    pub facts: Facts,
}

impl ConfigSection {
    /// Files that the section names, which belong to a version as well.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.follow
            .iter()
            .filter_map(|follow| follow.signed_by.as_deref())
    }

    /// Reads the section out of the files of a version which was checked before: what
    /// is wrong with it is passed over.
    pub fn read(set: &FileSet, grammar: &Grammar) -> ConfigSection {
        let mut sources = SourceMap::default();
        let mains = set.files.iter().filter(|file| file.main);
        let ids = mains.map(|file| {
            let text = language::source::Text::new(file.bytes.clone());
            sources.add(file.path.clone(), text)
        });
        let ids = ids.collect();
        let mut outline = grammar.outline.clone();
        let environment = &grammar.environment;
        let mut diagnostics = Diagnostics::default();
        let mut reader = Reader::new(ids, grammar.facts.clone());
        let mut sections: Vec<SectionLines> = Vec::new();
        let mut within = false;
        while let Some(line) = reader.next(&sources, environment, &mut diagnostics) {
            let Some(first) = line.words.first() else {
                continue;
            };
            let indented = sources.position(first.span).column > 1;
            if outline.begins(first.str(), indented) {
                within = first.is("config");
                reader.section(line.word(1).map_or(first.text(), |name| name.text()));
                if within {
                    sections.push(SectionLines {
                        head: line,
                        lines: Vec::new(),
                    });
                }
            } else if let (true, Some(section)) = (within, sections.last_mut()) {
                section.lines.push(line);
            }
        }
        build(&sections, &sources, &mut diagnostics)
    }
}

/// Something with the place at which it is written.
#[derive(Clone, Debug)]
struct Written<T> {
    value: T,
    span: Span,
}

/// What the lines say so far.
#[derive(Debug, Default)]
struct Draft {
    follow: Vec<Written<Followed>>,
    judge: Option<Written<Duration>>,
    keep: Option<Written<u32>>,
    confirm: Option<Written<Duration>>,
}

/// Builds a line of the section into the draft.
type LineBuilder = fn(&mut Draft, &mut Args<'_>) -> Built;
type Row = Keyword<LineBuilder>;

static FAMILIES: &[Family<LineBuilder>] = &[
    ("Configuration from git or Mercurial", follow::LINES),
    ("Configuration rollout", settings::LINES),
];

/// The table, made at its first use.
fn table() -> &'static Table<LineBuilder> {
    static TABLE: OnceLock<Table<LineBuilder>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new("keyword", FAMILIES, &[]))
}

/// The section itself, as the manual has it.
static DOCUMENTED_SECTION: Documented = Documented {
    kind: "section",
    name: "config",
    places: &["file"],
    syntax: "config",
    doc: "Sets how the configuration of a cluster changes: which repositories it follows, how a change is judged, and \
        how many versions are kept. There is one such section for all nodes. On a machine outside of a cluster it is \
        checked and has no effect.",
    example: "config\n    follow git https://git.example.com/lb.git branch main\n    judge 30s",
    family: "Configuration rollout",
    built: true,
};

/// Every keyword of the section, for the manual and its kin.
pub fn documented() -> Vec<Documented> {
    let mut all = table().documented();
    all.push(DOCUMENTED_SECTION);
    all.sort_by_key(|row| row.name);
    all
}

/// Builds the sections among these that are ours. What is wrong is told.
pub fn build(
    sections: &[SectionLines],
    sources: &SourceMap,
    diagnostics: &mut Diagnostics,
) -> ConfigSection {
    let mut draft = Draft::default();
    let mut first: Option<Span> = None;
    for section in sections {
        let Some(word) = section.head.words.first().filter(|w| w.is("config")) else {
            continue;
        };
        if let Some(first) = first {
            let told = "duplicate 'config' section";
            let told = Diagnostic::error(&codes::TWICE, word.span, told)
                .label("a second one")
                .also(first, "the first one")
                .help("merge the two: the section applies to all nodes and files");
            diagnostics.push(sources, told);
        }
        first.get_or_insert(word.span);
        let mut head = Args::new(&section.head, 1, "config", "config", &codes::OF_ARGUMENTS);
        let mut refused: Vec<Box<Diagnostic>> = head.end().err().into_iter().collect();
        for line in &section.lines {
            refused.extend(
                line_of(&mut draft, line)
                    .err()
                    .map(|told| Box::new(unset_named(line, *told))),
            );
        }
        for told in refused {
            diagnostics.push(sources, *told);
        }
    }
    settle(draft, sources, diagnostics)
}

/// What is wrong with the lines together, and what they come to.
fn settle(draft: Draft, sources: &SourceMap, diagnostics: &mut Diagnostics) -> ConfigSection {
    for told in follow::overlaps(&draft.follow) {
        diagnostics.push(sources, told);
    }
    let follow = draft.follow.into_iter().map(|follow| follow.value);
    ConfigSection {
        follow: follow.collect(),
        judge: draft.judge.map_or(JUDGE_DEFAULT, |judge| judge.value),
        keep: draft.keep.map_or(KEEP_DEFAULT, |keep| keep.value),
        confirm: draft.confirm.map(|confirm| confirm.value),
    }
}

/// Takes a line in.
fn line_of(draft: &mut Draft, line: &Line) -> Built {
    if line.words.is_empty() {
        return Ok(());
    }
    match table().find(line.words.iter().map(|word| word.str())) {
        Found::Built(row, words) => {
            let mut args = Args::new(line, words, row.name, row.syntax, &codes::OF_ARGUMENTS);
            (row.build)(draft, &mut args)
        }
        Found::NotBuilt(..) | Found::Unknown => Err(Box::new(unknown(
            line,
            "config",
            table(),
            &codes::UNKNOWN_KEYWORD,
            |_| None,
        ))),
    }
}
