//! Defines the part `demonstration`, which offers the faults of `evenkeel demo --platform` on the
//! pages of the console. The process of the demo writes the section, lists the faults and injects
//! them; the role of this part forwards the list and the orders. Without that process the part
//! offers nothing.

mod role;

pub use role::ROLE;

use configuration::outside::Runs;
use configuration::{
    ConfigurationPart, Context, Exchange, ObjectCount, RoleInput, RoleInterface, SectionTable,
    Sections, Tabled, TabledDraft,
};
use language::arguments::{Args, ArgumentCodes, Built};
use language::keyword::{Documented, Family, Keyword};
use language::{Code, ConfigLine, Diagnostic, Span};
use part::codec;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::path::{Path, PathBuf};

pub const NAME: &str = "demonstration";
pub const LINE_BYTES_MAX: usize = 16 << 10;

/// Object of the platform that can have a fault, as sent over the control socket.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Thing {
    /// Type of the object: `node`, `link` or `server`.
    pub kind: String,
    pub name: String,
    pub state: String,
    pub is_faulty: bool,
    /// Offered action: keyword, text of the button, and expected consequence.
    pub offer: [String; 3],
    pub order: FaultOrder,
}

/// Order to inject or heal a fault, as sent over the control socket.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultOrder {
    pub key: char,
    pub is_faulty: bool,
}

pub static PART: ConfigurationPart = ConfigurationPart {
    name: NAME,
    sections: Sections {
        names: &[(
            NAME,
            "The fault menu of `evenkeel demo --platform` in the console.",
        )],
        ..Sections::NONE
    },
    documented: || {
        let lines = TABLES[0].documented();
        std::iter::once(SECTION).chain(lines).collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(DemonstrationDraft::default())),
    run: Some(RoleInterface {
        role_input: |built, _| {
            let path = built.downcast_ref::<Option<PathBuf>>()?.as_ref()?;
            Some(RoleInput {
                payload: codec::encode(path),
                size: ObjectCount::new(1, "demonstration", "demonstrations"),
                ..RoleInput::default()
            })
        },
        leftover_input: configuration::no_leftovers,
        difference: |before, now| {
            let line = |sign: char| format!("{sign} demonstration");
            let (gone, new) = (before.map(|_| line('-')), now.map(|_| line('+')));
            gone.into_iter().chain(new).collect()
        },
        refusals: |_| Vec::new(),
    }),
};

const SECTION: Documented = Documented {
    kind: "section",
    name: NAME,
    places: &["file"],
    syntax: "demonstration",
    doc: "The fault menu of `evenkeel demo --platform` as a page of the console: cut and restore links, kill \
          and start a node, \
        stop and start servers. The demonstration adds this section to its own configuration. A machine \
        without the socket of the demonstration refuses it (E0923).",
    example: "demonstration\n    control unix@/tmp/demonstration/control",
    family: "Demonstration",
    built: true,
};

#[derive(Debug, Default)]
struct DemonstrationDraft {
    section: Option<Span>,
    control: Option<(PathBuf, Span)>,
    diagnostics: Vec<Diagnostic>,
}

type DemonstrationLineBuilder = configuration::DraftLineBuilder<DemonstrationDraft>;

static LINES: &[Family<DemonstrationLineBuilder>] = &[(
    "Demonstration",
    &[Keyword {
        places: &[NAME],
        syntax: "control <socket>",
        doc: "Socket of the demonstration process, which injects the faults: `unix@` and an absolute path. Required.",
        example: "control unix@/tmp/demonstration/control",
        build: control,
    }],
)];

static TABLES: [SectionTable<DemonstrationDraft>; 1] = [SectionTable::new(NAME, LINES, begin)];

mod codes {
    use language::arguments::ArgumentCodes;

    pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

    language::codes! {
        UNKNOWN = "E0920", "unknown keyword in a demonstration section",
            "The first word of the line is not a keyword of the section: it has `control` only.";
        ARGUMENTS = "E0921", "wrong number of arguments in a demonstration section",
            "The keyword needs another argument, or the line has too many. The message shows its syntax.";
        VALUE = "E0922", "invalid value in a demonstration section",
            "The keyword does not accept this value: `control` takes `unix@` and an absolute path.";
        NOT_THERE = "E0923", "demonstration section without the demonstration",
            "The section is written by `evenkeel demo --platform`, whose process listens at the socket of the line \
             `control`. There is no such socket on this machine, or no line that names it. Remove the section.";
    }
}

fn begin(draft: &mut DemonstrationDraft, head: &ConfigLine) -> Built {
    draft.section.get_or_insert(head.words[0].span);
    let surplus = Args::new(head, 1, NAME, NAME, &codes::OF_ARGUMENTS).end();
    draft.diagnostics.extend(surplus.err());
    Ok(())
}

fn control(draft: &mut DemonstrationDraft, args: &mut Args<'_>) -> Built {
    let word = args.required("the socket")?;
    let path = word.str().strip_prefix("unix@").map(Path::new);
    let Some(path) = path.filter(|path| path.is_absolute()) else {
        return Err(args.unexpected_value(word, "not `unix@` and an absolute path"));
    };
    draft.control = Some((path.to_owned(), word.span));
    args.end()
}

impl Tabled for DemonstrationDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    fn finish(self, context: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        let is_this_machine = context.options.here && !context.outside.is_recorded();
        let missing = match (&self.section, &self.control) {
            (Some(section), None) => Some((*section, "no line `control`".to_owned())),
            (_, Some((path, span)))
                if is_this_machine && context.outside.can_execute(path, None) == Runs::Missing =>
            {
                Some((*span, format!("no socket {}", path.display())))
            }
            _ => None,
        };
        if let Some((span, what)) = missing {
            let told = format!("there is no demonstration here: {what}");
            let told = Diagnostic::error(&codes::NOT_THERE, span, told);
            context.report(
                told.label("only `evenkeel demo --platform` has one")
                    .help("remove the section"),
            );
        }
        Box::new(self.control.map(|(path, _)| path))
    }
}

#[cfg(test)]
mod tests {
    use super::PART;
    use configuration::outside::Outside;
    use configuration::{LoadOptions, Recording, SectionKeywords};
    use keyword::load;
    use language::source::Text;
    use language::{Environment, Facts};

    fn told(lines: &str, here: bool) -> String {
        let text = format!("demonstration\n{lines}");
        let files = vec![("site.cfg".to_owned(), Text::new(text.into_bytes()))];
        let options = LoadOptions {
            here,
            ..LoadOptions::default()
        };
        let words = SectionKeywords::from_parts([&load::PART.sections, &PART.sections]);
        let (environment, facts) = (Environment::empty(), Facts::new("3.4.0"));
        let inputs = Recording::new(files, environment, facts, options, words);
        let loaded = configuration::load(&[&load::PART, &PART], inputs, Outside::default());
        language::render::concise(&loaded.sources, &loaded.diagnostics, true)
    }

    #[test]
    fn section_is_refused_without_the_demonstration() {
        let line = " control unix@/nowhere/control\n";
        assert!(
            !told(line, false).contains("error["),
            "{}",
            told(line, false)
        );
        for (lines, here, words) in [
            (
                line,
                true,
                "error[E0923]: there is no demonstration here: no socket /nowhere/control",
            ),
            (
                "",
                false,
                "error[E0923]: there is no demonstration here: no line `control`",
            ),
            (" control tcp@1\n", false, "error[E0922]"),
            (" faults all\n", false, "error[E0920]"),
        ] {
            let told = told(lines, here);
            assert!(told.contains(words), "{told}");
        }
    }
}
