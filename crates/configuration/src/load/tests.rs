//! Tests a section whose lines belong to two parts of the platform.

use super::*;
use crate::sections::Sections;
use crate::table::{DraftLineBuilder, SectionTable, Tabled, TabledDraft};
use language::arguments::{Args, ArgumentCodes, Built};
use language::keyword::{Family, Keyword};
use language::source::Text;
use language::{Code, Facts, render};

language::codes! {
    WORDS = "E0001", "words", "The number of words.";
    UNKNOWN = "E0002", "unknown", "No keyword.";
}

static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&WORDS, &WORDS);

/// The lines passed to a part, each with its section.
type SectionLines = Vec<String>;

#[derive(Debug, Default)]
struct NodesDraft(SectionLines);

/// The part that adds lines to the section of the other part, and has a section of its own.
#[derive(Debug, Default)]
struct FencingDraft(SectionLines);

fn keep(given: &mut SectionLines, args: &mut Args<'_>) -> Built {
    let words = args.line().words.iter().map(|word| word.text());
    let words: Vec<_> = words.collect();
    args.required("a word")?;
    args.rest();
    given.push(words.join(" "));
    Ok(())
}

fn begin(given: &mut SectionLines, head: &ConfigLine) -> Built {
    let mut args = Args::new(head, 1, "node", "node [<name>]", &OF_ARGUMENTS);
    let name = args.next().map_or("nobody".into(), |word| word.text());
    args.end()?;
    given.push(format!("{name}:"));
    Ok(())
}

static OWNER_LINES: &[Family<DraftLineBuilder<NodesDraft>>] = &[(
    "Nodes",
    &[Keyword {
        places: &["node"],
        syntax: "address <address>",
        doc: "An address.",
        example: "address 192.0.2.1",
        build: |draft, args| keep(&mut draft.0, args),
    }],
)];

static OTHER_LINES: &[Family<DraftLineBuilder<FencingDraft>>] = &[(
    "Fencing",
    &[
        Keyword {
            places: &["node"],
            syntax: "fence exec <program>",
            doc: "A program.",
            example: "fence exec /bin/off",
            build: |draft, args| keep(&mut draft.0, args),
        },
        Keyword {
            places: &["node"],
            syntax: "room <size>",
            doc: "What there is.",
            example: "room 4g",
            build: |draft, args| keep(&mut draft.0, args),
        },
    ],
)];

static OWNER_TABLES: [SectionTable<NodesDraft>; 1] =
    [SectionTable::new("node", OWNER_LINES, |draft, head| {
        begin(&mut draft.0, head)
    })];

static OTHER_TABLES: [SectionTable<FencingDraft>; 1] =
    [SectionTable::new("node", OTHER_LINES, |draft, head| {
        begin(&mut draft.0, head)
    })];

impl Tabled for NodesDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &OWNER_TABLES
    }

    fn finish(self, _: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        Box::new(self.0)
    }
}

impl Tabled for FencingDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &OTHER_TABLES
    }

    fn finish(self, context: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        let mut given = self.0;
        given.push(format!("nodes {}", context.nodes.known_nodes().join(",")));
        Box::new(given)
    }
}

static OWNER: ConfigurationPart = ConfigurationPart {
    name: "owner",
    sections: Sections {
        names: &[("node", "A machine.")],
        ..Sections::NONE
    },
    documented: Vec::new,
    codes: Vec::new,
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(NodesDraft::default())),
    run: None,
};

static OTHER: ConfigurationPart = ConfigurationPart {
    name: "other",
    sections: Sections {
        names: &[("thing", "Something that depends on the node.")],
        by_node: &["thing"],
        lines_in: &[("node", &["fence", "room"])],
        ..Sections::NONE
    },
    documented: Vec::new,
    codes: Vec::new,
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(FencingDraft::default())),
    run: None,
};

/// Returns the lines passed to both parts on the node `alpha`, and the diagnostics.
fn read_as_alpha(text: &str) -> (SectionLines, SectionLines, String) {
    let parts: [&'static ConfigurationPart; 2] = [&OTHER, &OWNER];
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let words =
        crate::sections::SectionKeywords::from_parts(parts.iter().map(|part| &part.sections));
    let options = LoadOptions {
        node: Some("alpha".to_owned()),
        nodes: vec!["alpha".to_owned(), "beta".to_owned()],
        ..LoadOptions::default()
    };
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let inputs = Recording::new(files, environment, facts, options, words);
    let mut loaded = load(&parts, inputs, Outside::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    (loaded.take_part(&OWNER), loaded.take_part(&OTHER), told)
}

#[test]
fn a_line_goes_to_the_part_that_has_its_word_and_both_parts_see_the_section() {
    let text = "\
node alpha
    address 192.0.2.1
    fence exec /off
    on alpha room 4g
    on beta room 8g
node beta
    room 2g
    address 192.0.2.2
";
    let (owner, other, told) = read_as_alpha(text);
    assert_eq!(told, "");
    assert_eq!(
        owner,
        ["alpha:", "address 192.0.2.1", "beta:", "address 192.0.2.2"]
    );
    let lines = ["alpha:", "fence exec /off", "room 4g", "beta:", "room 2g"];
    assert_eq!(other[..5], lines);
}

#[test]
fn a_misspelt_line_is_told_the_words_of_all_parts() {
    for (line, expected) in [
        ("rom 4g", "(did you mean 'room'?)"),
        ("fenc exec /off", "(did you mean 'fence'?)"),
        ("adress 192.0.2.1", "(did you mean 'address'?)"),
        (
            "fence exce /off",
            "unknown keyword 'fence exce' in 'node' section (did you mean 'fence exec'?)",
        ),
        ("on alpha rom 4g", "(did you mean 'room'?)"),
    ] {
        let (.., told) = read_as_alpha(&format!("node alpha\n    {line}\n"));
        let one = told.lines().count() == 1 && told.contains(expected);
        assert!(one, "{line}: {told}");
    }
}

#[test]
fn a_section_that_its_own_part_refuses_has_no_lines_of_others() {
    let (_, other, told) = read_as_alpha("node alpha beta\n    room 4g\n    fence\n");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert_eq!(other.len(), 1, "{other:?}");
}

#[test]
fn a_section_that_depends_on_the_node_has_the_nodes_looked_for() {
    let (_, other, _) = read_as_alpha("node alpha\n");
    assert_eq!(other.last().unwrap(), "nodes ");
    let (_, other, told) = read_as_alpha("node alpha\nthing\n");
    assert_eq!((&**other.last().unwrap(), &*told), ("nodes alpha,beta", ""));
}

#[test]
fn message_names_a_path_only_as_a_whole() {
    for (message, expected) in [
        ("cannot read '/a/x': no such file", true),
        ("/a/x", true),
        ("/a/x, line 3", true),
        ("cannot read '/a/x.pem'", false),
        ("cannot read /a/xy and /a/x/y", false),
        ("cannot read /a/xy and /a/x", true),
    ] {
        assert_eq!(super::names(message, "/a/x"), expected, "{message}");
    }
}
