//! A file of the configuration, with the sections of the proxy and of volumes, as a replay: nothing is
//! asked of the machine. What is wrong is told, and can be shown.
#![no_main]

use configuration::outside::{Answers, Outside};
use configuration::{LoadOptions, Recording, SectionKeywords};
use language::source::Text;
use language::{Environment, Facts, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let files = vec![("fuzz.cfg".to_owned(), Text::new(bytes.to_vec()))];
    let words =
        SectionKeywords::from_parts([&keyword::load::SECTIONS, &volume::keyword::PART.sections]);
    let facts = Facts::new("3.2.0");
    let options = LoadOptions::default();
    let inputs = Recording::new(files, Environment::empty(), facts, options, words);
    let parts = [&keyword::load::PART, &volume::keyword::PART];
    let outside = Outside::recorded(Answers::default());
    let loaded = configuration::load(&parts, inputs, outside);
    render::concise(&loaded.sources, &loaded.diagnostics, true);
});
