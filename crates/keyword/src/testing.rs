//! Loads short configurations for the tests of keyword families, and returns results and diagnostic
//! codes.

use crate::load::{Loaded, load};
use configuration::LoadOptions;
use language::{Environment, Facts};
use model::config::Proxy;

/// Loads a whole file without name resolution.
pub fn load_text(text: &str) -> Loaded {
    let files = vec![("test.cfg".to_owned(), text.as_bytes().to_vec())];
    load(
        files,
        Environment::empty(),
        Facts::new("2.6.12"),
        LoadOptions::default(),
    )
}

/// Returns the codes of the diagnostics about some lines of a backend.
pub fn codes_of(lines: &str) -> Vec<&'static str> {
    let loaded = load_text(&format!("backend b\n{lines}\n"));
    // Diagnostics about the file as a whole do not concern the lines.
    let whole = ["W0101", "W0102", "W0103", "E0110", "W0601"];
    let codes = loaded
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.code.id);
    codes.filter(|code| !whole.contains(code)).collect()
}

/// Returns the backend built from some lines, which must not be refused.
pub fn backend(lines: &str) -> Proxy {
    // The backend is loaded alone or with a frontend, so that the file is complete.
    let alone = format!("backend b\n{lines}\n");
    let whole = format!("listen x\nbind 127.0.0.1:1\n{alone}");
    let config = load_text(&alone)
        .config
        .or_else(|| load_text(&whole).config);
    let proxies = config.map(|config| config.proxies).unwrap_or_default();
    let found = proxies.into_iter().find(|proxy| &*proxy.name == "b");
    found.unwrap_or_else(|| panic!("{lines}: refused with {:?}", codes_of(lines)))
}
