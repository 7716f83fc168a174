//! Loads whole files for the tests of the submodules, alone and together with another part of the
//! configuration.

mod effects;
mod examples;
mod mistakes;
mod nodes;
mod old_files;
mod others;
mod random;
mod replay;
mod sides;
mod zeros;

use super::{Loaded, PART};
use configuration::outside::Outside;
use configuration::{
    ConfigurationPart, ConfiguredNode, Context, Exchange, LoadOptions, PartDraft, Recording,
    SectionKeywords, Sections, codes as common,
};
use language::source::Text;
use language::{ConfigLine, Environment, Facts};
use std::any::Any;

/// A part of the configuration that collects its lines, and warns of lines with the keyword
/// `nonsense`.
static OTHERS: ConfigurationPart = ConfigurationPart {
    name: "others",
    sections: Sections {
        names: &[
            ("config", ""),
            ("guest", ""),
            ("node", ""),
            ("virtual-ip", ""),
        ],
        for_all: &["config"],
        ..Sections::NONE
    },
    documented: Vec::new,
    codes: Vec::new,
    exports: &[],
    begin: |_| Box::new(Collected::default()),
    run: None,
};

#[derive(Debug, Default)]
struct Collected(Vec<Vec<String>>);

fn written(line: &ConfigLine) -> String {
    let words: Vec<_> = line.words.iter().map(|word| word.text()).collect();
    words.join(" ")
}

impl PartDraft for Collected {
    fn section(&mut self, _: &mut Context, head: &ConfigLine) {
        self.0.push(vec![written(head)]);
    }

    fn current_section(&self) -> Option<&'static str> {
        let head = self.0.last()?[0].split(' ').next()?;
        let mut names = OTHERS.sections.names.iter().map(|(name, _)| *name);
        names.find(|name| *name == head)
    }

    fn line(&mut self, context: &mut Context, line: &ConfigLine) {
        if line.words[0].is("nonsense") {
            context.warn(&common::NO_SECTION, line.span, "nonsense");
        }
        let section = self.0.last_mut().expect("a section");
        section.push(written(line));
    }

    fn nodes(&self) -> Vec<ConfiguredNode> {
        let values = |section: &[String], keyword: &str| -> Vec<String> {
            let lines = section.iter().filter_map(|line| line.strip_prefix(keyword));
            lines.map(|value| value.trim().to_owned()).collect()
        };
        let node = |section: &Vec<String>| ConfiguredNode {
            name: values(section, "node").pop(),
            host_names: values(section, "hostname"),
            addresses: values(section, "address")
                .iter()
                .filter_map(|address| address.parse().ok())
                .collect(),
        };
        let nodes = self
            .0
            .iter()
            .filter(|section| section[0].starts_with("node"));
        nodes.map(node).collect()
    }

    fn finish(self: Box<Self>, _: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        Box::new(self.0)
    }
}

/// Loads a text as a file; names are not looked up.
fn text(text: &str) -> Loaded {
    load_as(text, LoadOptions::default())
}

fn load_both(text: &str, options: LoadOptions) -> (Loaded, Vec<Vec<String>>) {
    let files = vec![("test.cfg".to_owned(), Text::new(text.into()))];
    let words = SectionKeywords::from_parts([&PART.sections, &OTHERS.sections]);
    let facts = Facts::new("2.6.12");
    let inputs = Recording::new(files, Environment::empty(), facts, options, words);
    let mut loaded = configuration::load(&[&PART, &OTHERS], inputs, Outside::default());
    let collected = loaded.take_part(&OTHERS);
    (Loaded::of(loaded), collected)
}

fn load_as(text: &str, options: LoadOptions) -> Loaded {
    load_both(text, options).0
}

fn told(loaded: &Loaded) -> String {
    language::render::concise(&loaded.sources, &loaded.diagnostics, true)
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|d| d.code.id).collect()
}
