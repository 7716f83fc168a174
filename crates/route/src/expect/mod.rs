//! Defines the part for `test` sections, whose lines are requests with their expected results. A
//! check of the files evaluates each request and reports unexpected results; a start does not.

mod codes;
mod line;
mod meet;
#[cfg(test)]
mod tests;

pub use line::{Expectation, ExpectedResult};
pub use meet::unmet;

use configuration::{
    ConfigurationPart, Context, Exchange, SectionTable, Sections, Tabled, TabledDraft,
};
use language::arguments::{Args, ArgumentCodes, Built};
use language::keyword::{Documented, Family, Keyword};
use language::{Code, ConfigLine, Diagnostic};
use std::any::Any;

pub static PART: ConfigurationPart = ConfigurationPart {
    name: "test",
    sections: Sections {
        names: &[(
            "test",
            "Requests with their expected outcomes, for `evenkeel check` and `evenkeel config apply`.",
        )],
        ..Sections::NONE
    },
    documented,
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(ExpectationsDraft::default())),
    run: None,
};

#[derive(Debug, Default)]
struct ExpectationsDraft {
    expectations: Vec<Expectation>,
    diagnostics: Vec<Diagnostic>,
}

type ExpectationLineBuilder = configuration::DraftLineBuilder<ExpectationsDraft>;
type Row = Keyword<ExpectationLineBuilder>;

static FAMILIES: &[Family<ExpectationLineBuilder>] = &[("Tests of a configuration", line::LINES)];

static TABLES: [SectionTable<ExpectationsDraft>; 1] = [SectionTable::new("test", FAMILIES, begin)];

static DOCUMENTED_SECTION: Documented = Documented {
    kind: "section",
    name: "test",
    places: &["file"],
    syntax: "test [<name>]",
    doc: "Requests with their expected outcomes: a test of the configuration in the same file. `evenkeel \
          check` and `evenkeel config apply` refuse files with another outcome; in a cluster, so does each \
          node. A start and a reload ignore the section.",
    example: "test shop\n    expect http://shop.example.org/cart backend app\n    expect /admin on web from 203.0.113.9 status 403",
    family: "Tests of a configuration",
    built: true,
};

fn documented() -> Vec<Documented> {
    let mut all = TABLES[0].documented();
    all.push(DOCUMENTED_SECTION);
    all
}

fn begin(draft: &mut ExpectationsDraft, head: &ConfigLine) -> Built {
    let mut args = Args::new(head, 1, "test", "test [<name>]", &codes::OF_ARGUMENTS);
    args.next();
    draft.diagnostics.extend(args.end().err());
    Ok(())
}

impl Tabled for ExpectationsDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN_KEYWORD;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    fn finish(self, _: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for (wish, span) in self.expectations.iter().flat_map(|one| &one.wishes) {
            if let ExpectedResult::Backend(name)
            | ExpectedResult::Server {
                backend: Some(name),
                ..
            } = wish
            {
                exchange.require_object("backend", name, *span);
            }
        }
        Box::new(self.expectations)
    }
}
