//! Builds sections whose lines are all described by rows of a keyword table.

use crate::context::Context;
use crate::node::ConfiguredNode;
use crate::part::{Exchange, NamedAddress, PartDraft};
use crate::unknown::Unknown;
use language::arguments::{Args, ArgumentCodes, Built, unset_named};
use language::keyword::{Documented, Family, Keyword, KeywordLookup, Table};
use language::{Code, ConfigLine, Diagnostic};
use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// Function that adds a line of a section to the draft of its configuration.
pub type DraftLineBuilder<D> = fn(&mut D, &mut Args<'_>) -> Built;

/// A section, and its permitted keywords.
pub struct SectionTable<D: 'static> {
    name: &'static str,
    families: &'static [Family<DraftLineBuilder<D>>],
    begin: fn(&mut D, &ConfigLine) -> Built,
    table: OnceLock<Table<DraftLineBuilder<D>>>,
}

impl<D: 'static> fmt::Debug for SectionTable<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SectionTable").field(&self.name).finish()
    }
}

impl<D: 'static> SectionTable<D> {
    pub const fn new(
        name: &'static str,
        families: &'static [Family<DraftLineBuilder<D>>],
        begin: fn(&mut D, &ConfigLine) -> Built,
    ) -> Self {
        SectionTable {
            name,
            families,
            begin,
            table: OnceLock::new(),
        }
    }

    fn table(&self) -> &Table<DraftLineBuilder<D>> {
        let new = || Table::new("keyword", self.families, || &[]);
        self.table.get_or_init(new)
    }

    pub fn documented(&self) -> Vec<Documented> {
        self.table().documented()
    }

    fn names(&self, context: &Context) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.table().names_in(self.name).collect();
        names.extend(context.line_words_of_other_parts(self.name));
        names.sort_unstable();
        names
    }
}

/// A configuration that is built from sections of keyword rows.
pub trait Tabled: fmt::Debug + Sized + 'static {
    const OF_ARGUMENTS: &'static ArgumentCodes;
    const UNKNOWN: &'static Code;

    fn sections() -> &'static [SectionTable<Self>];

    fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        Vec::new()
    }

    fn nodes(&self) -> Vec<ConfiguredNode> {
        Vec::new()
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        Vec::new()
    }

    fn reads_addresses(&self) -> bool {
        false
    }

    fn finish(self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any>;
}

/// Adds lines to a configuration that is built from sections of keyword rows.
#[derive(Debug)]
pub struct TabledDraft<D: 'static> {
    draft: D,
    section: Option<&'static SectionTable<D>>,
}

impl<D: Tabled> TabledDraft<D> {
    /// Creates a draft from the configuration before any line.
    pub fn new(draft: D) -> Self {
        TabledDraft {
            draft,
            section: None,
        }
    }

    fn report_diagnostics(&mut self, context: &mut Context, refused: Option<Diagnostic>) {
        for told in self.draft.take_diagnostics().into_iter().chain(refused) {
            context.report(told);
        }
    }

    /// Builds a line. If the keyword is unknown, finds the section that was probably intended.
    fn build(
        &mut self,
        context: &Context,
        section: &'static SectionTable<D>,
        line: &ConfigLine,
    ) -> Built {
        let found = section
            .table()
            .find(line.words.iter().map(|word| word.str()));
        if let KeywordLookup::Built(row, words) = found {
            let row: &Keyword<_> = row;
            let mut args = Args::new(line, words, row.name(), row.syntax, D::OF_ARGUMENTS);
            args.example = row.example;
            return (row.build)(&mut self.draft, &mut args);
        }
        let unknown = Unknown {
            line,
            skip: 0,
            section: section.name,
            code: D::UNKNOWN,
            missing: D::OF_ARGUMENTS.missing,
        };
        let (told, meant) = unknown.unknown_keyword_error(section.table(), context, |keyword| {
            let mut all = D::sections().iter().flat_map(SectionTable::documented);
            let row = all.find(|row| row.name == keyword)?;
            Some((row.name, row.places.to_vec()))
        });
        if meant.is_some_and(|name| context.words.has(&name)) {
            // Skips the following lines, which probably belong to the section whose misspelt name
            // was reported.
            self.section = None;
        }
        let told = if told.help.is_none() && told.notes.is_empty() {
            told.note(format!(
                "keywords of a `{}` section: {}",
                section.name,
                section.names(context).join(", ")
            ))
        } else {
            told
        };
        Err(told)
    }
}

impl<D: Tabled> PartDraft for TabledDraft<D> {
    fn section(&mut self, context: &mut Context, head: &ConfigLine) {
        let mut section = D::sections().iter();
        self.section = section.find(|section| head.words[0].is(section.name));
        let begun = self
            .section
            .map_or(Ok(()), |s| (s.begin)(&mut self.draft, head));
        if begun.is_err() {
            // Ignores the lines of the section, because the line that begins it was refused.
            self.section = None;
        }
        self.report_diagnostics(context, begun.err());
    }

    fn current_section(&self) -> Option<&'static str> {
        self.section.map(|section| section.name)
    }

    fn line(&mut self, context: &mut Context, line: &ConfigLine) {
        let Some(section) = self.section.filter(|_| !line.words.is_empty()) else {
            return;
        };
        let refused = self.build(context, section, line).err();
        self.report_diagnostics(context, refused.map(|refused| unset_named(line, refused)));
    }

    fn nodes(&self) -> Vec<ConfiguredNode> {
        self.draft.nodes()
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        self.draft.addresses()
    }

    fn reads_addresses(&self) -> bool {
        self.draft.reads_addresses()
    }

    fn finish(self: Box<Self>, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        self.draft.finish(context, exchange)
    }
}
