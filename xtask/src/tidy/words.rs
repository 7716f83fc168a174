//! Detects text that belongs to one machine: paths of a home or work directory, and package indexes
//! other than the public one.

use super::tree::{TextFile, Tree};
use super::{Finding, Wrong};

/// Directories below the root in which people work. Written without their
/// slashes, so that this file does not find itself.
const OWN_DIRECTORIES: [&str; 3] = ["home", "root", "work"];

/// The only source of packages that Cargo.lock may name.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &tree.files {
        own_paths(file, &mut found);
        if file.path.ends_with("Cargo.lock") {
            registries(file, &mut found);
        }
    }
    found
}

fn own_paths(file: &TextFile, found: &mut Vec<Finding>) {
    let patterns = OWN_DIRECTORIES.map(|name| format!("/{name}/"));
    for (line, text) in file.text.lines().enumerate() {
        for pattern in &patterns {
            for (at, _) in text.match_indices(pattern.as_str()) {
                if begins_path(text, at) {
                    let rest = text[at..].split(|c: char| c.is_whitespace() || c == '"');
                    let path = rest.into_iter().next().unwrap_or_default().to_owned();
                    found.push(Finding {
                        file: file.path.clone(),
                        line: line + 1,
                        wrong: Wrong::OwnPath { path },
                    });
                }
            }
        }
    }
}

/// Returns whether a path begins at this position, and not in the middle of a longer path or
/// address.
fn begins_path(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    before.is_none_or(|c| !c.is_alphanumeric() && !"/._-}".contains(c))
}

fn registries(file: &TextFile, found: &mut Vec<Finding>) {
    for (line, text) in file.text.lines().enumerate() {
        let source = text.strip_prefix("source = ").map(|s| s.trim_matches('"'));
        if let Some(source) = source.filter(|source| *source != CRATES_IO) {
            found.push(Finding {
                file: file.path.clone(),
                line: line + 1,
                wrong: Wrong::Registry {
                    source: source.to_owned(),
                },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found_where_they_begin() {
        let own = format!("/{}/me/x", "home");
        for (text, finds) in [
            (format!("see {own}"), true),
            (format!("\"{own}\""), true),
            (own.clone(), true),
            (format!("/srv{own}"), false),
            (format!("https://example.org{own}"), false),
            ("the work/home balance".to_owned(), false),
        ] {
            let found = check(&Tree::of(&[("notes.md", &text)]));
            let expected = finds.then_some(Wrong::OwnPath { path: own.clone() });
            let found: Vec<Wrong> = found.into_iter().map(|f| f.wrong).collect();
            assert_eq!(found, Vec::from_iter(expected), "{text}");
        }
    }

    #[test]
    fn a_lock_file_names_the_public_index_only() {
        let lock = format!("source = \"{CRATES_IO}\"\nsource = \"git+https://example.org/x\"\n");
        let found = check(&Tree::of(&[("Cargo.lock", &lock)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }
}
