//! Tests that the documented examples of fetches and converters parse without a diagnostic.

use crate::family::{Loader, registry};
use configuration::LoadOptions;
use language::keyword::KeywordLookup;
use language::{ConfigLine, Diagnostic, Environment};
use model::transaction::sample;

fn build(loader: &mut Loader, line: &ConfigLine) -> Result<(), Diagnostic> {
    match registry()
        .lines
        .find(line.words.iter().map(|word| word.str()))
    {
        KeywordLookup::Built(row, words) => {
            let mut args = language::arguments::Args::new(
                line,
                words,
                row.name(),
                row.syntax,
                &model::codes::OF_ARGUMENTS,
            );
            (row.build)(loader, &mut args)
        }
        other => panic!("not built: {other:?}"),
    }
}

#[test]
fn every_example_of_a_fetch_and_a_converter_parses() {
    for row in model::rules::documented() {
        if !row.built || row.example.contains(".map") || !matches!(row.kind, "fetch" | "converter")
        {
            continue;
        }
        let mut loader = Loader::new(Environment::empty(), LoadOptions::default());
        loader.draft = sample::draft();
        // Enables the key log; otherwise the fetches of keys cause a warning.
        loader.config.global.tls.key_log = true;
        let line = sample::line(&mut loader, row.example);
        if let Err(error) = build(&mut loader, &line) {
            panic!("{}: {}: {}", row.name, row.example, error.message);
        }
        assert_eq!(
            loader.context.diagnostics.iter().count(),
            0,
            "{}: {:?}",
            row.name,
            loader.context.diagnostics
        );
        assert!(row.syntax.starts_with(row.name), "{}", row.name);
        assert!(row.doc.ends_with('.'), "{}", row.name);
    }
}
