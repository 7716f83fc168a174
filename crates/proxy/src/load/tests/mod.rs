//! Loading of whole files.

mod examples;
mod mistakes;
mod nodes;
mod old_files;
mod others;
mod random;
mod replay;
mod sides;

use super::{Loaded, load};
use configuration::LoadOptions;
use language::{Environment, Facts};

/// Loads a text as a file; names are not looked up.
fn text(text: &str) -> Loaded {
    let files = vec![("test.cfg".to_owned(), text.as_bytes().to_vec())];
    load(
        files,
        Environment::empty(),
        Facts::new("2.6.12"),
        LoadOptions::default(),
    )
}

/// What there is to tell, a line each.
fn told(loaded: &Loaded) -> String {
    language::render::concise(&loaded.sources, &loaded.diagnostics, true)
}

/// The codes of what there is to tell.
fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|d| d.code.id).collect()
}
