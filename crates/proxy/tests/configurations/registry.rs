//! Tests the completeness of the keyword registry: every row has a syntax line, a description and
//! an example, and every code that is reported can be explained.

use crate::corpus::{load_text, samples};
use crate::mutation::gentle;
use lab::Random;
use language::keyword::Documented;
use std::collections::BTreeSet;

fn built() -> Vec<Documented> {
    keyword::registry()
        .documented()
        .into_iter()
        .filter(|row| row.built)
        .collect()
}

#[test]
fn every_row_has_a_syntax_line_two_sentences_and_an_example() {
    let mut poor = String::new();
    for row in built() {
        let sentences = row
            .doc
            .split_inclusive(['.', ':', ';', '?'])
            .filter(|part| part.trim().len() > 8)
            .count();
        let ends = row.doc.ends_with(['.', ')']);
        // The documentation of a fetch, a converter or an alias is often only a few words.
        let is_line = row.kind.ends_with("keyword")
            || row.kind.ends_with("option")
            || row.kind.ends_with("action");
        let cancels = row.doc.starts_with("Cancels ");
        let short = if is_line && !cancels {
            sentences < 2 && row.doc.len() < 60
        } else {
            row.doc.len() < 18
        };
        if row.syntax.is_empty() || row.example.is_empty() || !ends || short {
            poor += &format!(
                "{} '{}': {} | {}\n",
                row.kind, row.name, row.doc, row.example
            );
        }
    }
    assert!(poor.is_empty(), "{poor}");
}

#[test]
fn every_code_that_is_reported_is_explained_once() {
    let known: Vec<&str> = language::CODES
        .iter()
        .chain(configuration::codes::CODES)
        .copied()
        .chain(model::codes())
        .map(|code| code.id)
        .collect();
    let unique: BTreeSet<&str> = known.iter().copied().collect();
    assert_eq!(unique.len(), known.len(), "a code is used twice");
    let samples = samples();
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let sample = random.pick_ref(&samples);
        let text = gentle(sample, &samples, &mut random);
        for d in load_text(&sample.name, &text).diagnostics.iter() {
            assert!(unique.contains(d.code.id), "{} is not explained", d.code.id);
        }
    }
}

#[test]
fn every_explanation_contains_a_next_step() {
    let common = language::CODES.iter().chain(configuration::codes::CODES);
    for code in common.copied().chain(model::codes()) {
        let text = code.explanation;
        assert!(text.len() > 60, "{}: {text}", code.id);
        assert!(
            text.trim_end().ends_with(['.', '`', ')']),
            "{}: {text}",
            code.id
        );
        assert_eq!(
            text.matches("```").count() % 2,
            0,
            "{}: an open block",
            code.id
        );
        assert!(
            !code.title.ends_with('.') && !code.title.is_empty(),
            "{}",
            code.id
        );
    }
}
