//! Supplies the configuration files that the tests damage, and a function that loads a text.

use configuration::outside::Outside;
use configuration::{LoadOptions, Recording, SectionKeywords, Sections};
use keyword::load::Loaded;
use language::source::Text;
use language::{Environment, Facts};
use proxy::PART;
use std::path::{Path, PathBuf};

pub struct Sample {
    pub name: String,
    pub text: Vec<u8>,
}

/// Returns our own files, and those of `EVENKEEL_CORPUS`, sorted by name.
pub fn samples() -> Vec<Sample> {
    let mut all = of_directory(&own_directory());
    if let Some(directory) = std::env::var_os("EVENKEEL_CORPUS") {
        all.extend(of_directory(Path::new(&directory)));
    }
    all
}

pub fn own_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations")
}

/// Returns all `*.cfg` files of a directory.
pub fn of_directory(directory: &Path) -> Vec<Sample> {
    let entries = std::fs::read_dir(directory).expect("the directory of the files");
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "cfg"));
    paths.sort();
    assert!(!paths.is_empty(), "no file in {}", directory.display());
    let read = |path: PathBuf| Sample {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        text: std::fs::read(&path).expect("a file that was listed"),
    };
    paths.into_iter().map(read).collect()
}

/// Sections of other parts of the platform, which the proxy ignores.
const OTHERS: Sections = Sections {
    names: &[("config", ""), ("node", ""), ("virtual-ip", "")],
    ..Sections::NONE
};

/// Loads a text under a file name, without name resolution and variables.
pub fn load_text(name: &str, text: &[u8]) -> Loaded {
    let inputs = Recording::new(
        vec![(name.to_owned(), Text::new(text.to_vec()))],
        Environment::empty(),
        Facts::new("2.6.12"),
        LoadOptions::default(),
        SectionKeywords::from_parts([&PART.sections, &OTHERS]),
    );
    Loaded::of(configuration::load(&[&PART], inputs, Outside::default()))
}

/// Returns the lines of a text, without their line feeds.
pub fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

pub fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    text
}
