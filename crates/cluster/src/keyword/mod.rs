//! Parses the section `config`, which sets how the configuration of a cluster changes. Each keyword
//! is a row of a table.
//!
//! The section applies to the whole cluster. This module does not access the system:
//! [`crate::follow`] polls the followed repositories.

pub mod codes;

mod follow;
mod settings;
#[cfg(test)]
mod tests;

pub use follow::{Followed, System};

use crate::file_set::FileSet;
use configuration::{
    ConfigurationPart, Context, Exchange, LoadOptions, Recording, SectionKeywords, SectionTable,
    Sections, Tabled, TabledDraft,
};
use language::arguments::{Args, ArgumentCodes, Built};
use language::keyword::{Documented, Family, Keyword};
use language::source::Text;
use language::{Code, ConfigLine, Diagnostic, Environment, Facts, Span, Spanned};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::time::Duration;

pub static PART: ConfigurationPart = ConfigurationPart {
    name: "cluster",
    sections: SECTIONS,
    documented,
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(ClusterSectionDraft::default())),
    run: None,
};

const SECTIONS: Sections = Sections {
    names: &[(
        "config",
        "How the configuration of a cluster changes: followed repositories, judging, number of kept versions.",
    )],
    for_all: &["config"],
    ..Sections::NONE
};

/// Default observation time of each stage of a change.
pub const JUDGE_DEFAULT: Duration = Duration::from_secs(10);
pub const KEEP_DEFAULT: u32 = 200;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigSection {
    pub follow: Vec<Followed>,
    /// Observation time of each stage of a change; zero: not at all.
    pub judge: Duration,
    pub keep: u32,
    /// A version applied by an operator is rolled back unless it is confirmed within this
    /// time.
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

/// Inputs of a load that the caller supplies, because this crate does not know the keywords of
/// other sections.
#[derive(Clone, Debug)]
pub struct Grammar {
    pub words: SectionKeywords,
    pub environment: Environment,
    pub facts: Facts,
}

impl ConfigSection {
    /// Returns the key files that `signed-by` names. They belong to a version as well.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.follow
            .iter()
            .filter_map(|follow| follow.signed_by.as_deref())
    }

    /// Reads the section from the files of a version that was checked before: errors in
    /// it are ignored.
    pub fn read(set: &FileSet, grammar: &Grammar) -> ConfigSection {
        let mains = set.files.iter().filter(|file| file.main);
        let files = mains.map(|file| (file.path.clone(), Text::new(file.bytes.clone())));
        let inputs = Recording::new(
            files.collect(),
            grammar.environment.clone(),
            grammar.facts.clone(),
            LoadOptions::default(),
            grammar.words.clone(),
        );
        configuration::replay(&[&PART], inputs).take_part(&PART)
    }
}

/// The lines parsed so far.
#[derive(Debug, Default)]
struct ClusterSectionDraft {
    follow: Vec<Spanned<Followed>>,
    judge: Option<Spanned<Duration>>,
    keep: Option<Spanned<u32>>,
    confirm: Option<Spanned<Duration>>,
    first: Option<Span>,
    told: Vec<Diagnostic>,
}

type ClusterLineBuilder = configuration::DraftLineBuilder<ClusterSectionDraft>;
type Row = Keyword<ClusterLineBuilder>;

static FAMILIES: &[Family<ClusterLineBuilder>] = &[
    ("Configuration from git or Mercurial", follow::LINES),
    ("Configuration rollout", settings::LINES),
];

static TABLES: [SectionTable<ClusterSectionDraft>; 1] =
    [SectionTable::new("config", FAMILIES, begin)];

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

pub fn documented() -> Vec<Documented> {
    let mut all = TABLES[0].documented();
    all.push(DOCUMENTED_SECTION);
    all.sort_by_key(|row| row.name);
    all
}

fn begin(draft: &mut ClusterSectionDraft, head: &ConfigLine) -> Built {
    let word = &head.words[0];
    if let Some(first) = draft.first {
        let told = "duplicate 'config' section";
        let told = Diagnostic::error(&codes::TWICE, word.span, told)
            .duplicate_of(first)
            .help("merge the two: the section applies to all nodes and files");
        draft.told.push(told);
    }
    draft.first.get_or_insert(word.span);
    let surplus = Args::new(head, 1, "config", "config", &codes::OF_ARGUMENTS).end();
    draft.told.extend(surplus.err());
    Ok(())
}

impl Tabled for ClusterSectionDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN_KEYWORD;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.told)
    }

    fn finish(self, context: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        for told in follow::overlaps(&self.follow) {
            context.report(told);
        }
        let follow = self.follow.into_iter().map(|follow| follow.value);
        Box::new(ConfigSection {
            follow: follow.collect(),
            judge: self.judge.map_or(JUDGE_DEFAULT, |judge| judge.value),
            keep: self.keep.map_or(KEEP_DEFAULT, |keep| keep.value),
            confirm: self.confirm.map(|confirm| confirm.value),
        })
    }
}
