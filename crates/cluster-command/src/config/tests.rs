//! Provides a loader of versions for tests, with only the parts that this crate depends on.

use super::{CheckedVersion, VersionLoader};
use cluster::file_set::FileSet;
use cluster::keyword::Grammar;
use configuration::outside::Outside;
use configuration::{ConfigurationPart, LoadOptions, Recording, SectionKeywords};
use language::difference::Vocabulary;
use language::source::Text;
use language::{Environment, Facts};
use std::collections::BTreeMap;

static PARTS: [&ConfigurationPart; 4] = [
    &volume::keyword::PART,
    &guest::keyword::PART,
    &cluster::keyword::PART,
    &keyword::load::PART,
];

pub fn vocabulary() -> Vocabulary<'static> {
    configuration::vocabulary(&PARTS)
}

pub fn loader() -> VersionLoader {
    VersionLoader {
        options: LoadOptions::default,
        grammar: |_| Grammar {
            words: words(),
            environment: Environment::empty(),
            facts: Facts::new("3.4.0"),
        },
        collect: |_, _, _| Err("no file of this machine is read".to_owned()),
        payloads,
        check: |_, _, _| CheckedVersion {
            files: Vec::new(),
            good: true,
        },
    }
}

fn words() -> SectionKeywords {
    SectionKeywords::from_parts(PARTS.iter().map(|part| &part.sections))
}

/// Loads a version as its node does.
fn payloads(set: &FileSet, options: LoadOptions) -> Option<BTreeMap<String, Vec<u8>>> {
    let files = set.files.iter();
    let files = files.map(|file| (file.path.clone(), Text::new(file.bytes.clone())));
    let options = LoadOptions {
        node: Some(set.node.clone()),
        ..options
    };
    let (environment, facts) = (Environment::empty(), Facts::new("3.4.0"));
    let inputs = Recording::new(files.collect(), environment, facts, options, words());
    let mut loaded = configuration::load(&PARTS, inputs, Outside::default());
    if loaded.diagnostics.errors() > 0 {
        return None;
    }
    let parts = loaded.take_role_configurations(&PARTS).into_iter();
    let payloads = parts.filter_map(|(part, built)| {
        let input = (part.run.as_ref()?.role_input)(&*built, None)?;
        Some((part.name.to_owned(), input.payload))
    });
    Some(payloads.collect())
}

#[test]
fn printed_warnings_are_left_out_of_the_progress() {
    const WARNING: &str = "a.cfg:2:5: warning[W0984]: the certificate is not valid for 'x'";
    let printed = [WARNING.to_owned()].into();
    let left = |words: &str| super::without_printed(words, &printed);
    let report = format!("alpha can serve version 2:\n{WARNING}");
    assert_eq!(
        left(&report),
        "alpha can serve version 2, with the same warnings"
    );
    let other = format!("{report}\na.cfg:9:1: warning[W0001]: another one");
    assert_eq!(
        left(&other),
        "alpha can serve version 2:\na.cfg:9:1: warning[W0001]: another one"
    );
    let line = "version 2 is still in progress";
    assert_eq!(left(line), line);
}
