//! Detects files that no module declares: the compiler ignores them, and so their tests never run.

use super::tree::{TextFile, Tree};
use super::{Finding, Wrong, scan};
use std::collections::HashSet;

/// Files that Cargo compiles without a declaration.
const ROOTS: [&str; 3] = ["lib.rs", "main.rs", "build.rs"];
/// Folders in which each file is a separate program or test binary.
const FOLDERS_OF_ROOTS: [&str; 3] = ["examples/", "benches/", "fuzz/"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let declared: HashSet<(String, String)> = tree
        .rust()
        .flat_map(|(file, code)| {
            let scopes = scopes(&file.path);
            let names = declarations(code);
            names.into_iter().flat_map(move |name| {
                scopes
                    .clone()
                    .into_iter()
                    .map(move |scope| (scope, name.clone()))
            })
        })
        .collect();
    let paths: Vec<&str> = tree.files.iter().flat_map(paths).collect();
    let undeclared = |file: &&TextFile| {
        let (scope, name) = position(&file.path);
        !declared.contains(&(scope, name)) && !paths.iter().any(|path| file.path.ends_with(path))
    };
    tree.rust()
        .map(|(file, _)| file)
        .filter(|file| !is_root(&file.path))
        .filter(undeclared)
        .map(|file| Finding {
            file: file.path.clone(),
            line: 1,
            wrong: Wrong::Undeclared,
        })
        .collect()
}

fn is_root(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let folder = path.strip_suffix(name).unwrap_or_default();
    let is_test_binary = path.starts_with("crates/") && folder.ends_with("/tests/");
    ROOTS.contains(&name)
        || (is_test_binary && folder.split('/').count() == 4)
        || FOLDERS_OF_ROOTS.iter().any(|folder| path.contains(folder))
}

/// Returns the folder and the name under which a module must be declared. The folder of
/// `a/b/mod.rs` is `a`, and its name is `b`.
fn position(path: &str) -> (String, String) {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    (folder.to_owned(), name.to_owned())
}

/// Returns the folders whose files the declarations of a file may name: its own folder for `mod.rs`
/// and roots, otherwise the folder of its name.
fn scopes(path: &str) -> Vec<String> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if is_root(path) || path.ends_with("/mod.rs") {
        return vec![folder.to_owned()];
    }
    vec![stem.to_owned()]
}

/// Returns the names of all declarations `mod name;`.
fn declarations(code: &str) -> Vec<String> {
    let words: Vec<(usize, &str)> = scan::words(code).collect();
    words
        .windows(2)
        .filter(|pair| pair[0].1 == "mod")
        .filter(|pair| {
            code[pair[1].0 + pair[1].1.len()..]
                .trim_start()
                .starts_with(';')
        })
        .map(|pair| pair[1].1.to_owned())
        .collect()
}

/// Returns the values of `path = "…"` and of `include!("…")`, without leading dots.
fn paths(file: &TextFile) -> Vec<&str> {
    if !(file.path.ends_with(".rs") || file.path.ends_with("Cargo.toml")) {
        return Vec::new();
    }
    let starts = ["path = \"", "include!(\""];
    let found = starts
        .into_iter()
        .flat_map(|start| file.text.split(start).skip(1));
    found
        .filter_map(|rest| rest.split('"').next())
        .filter(|path| path.ends_with(".rs"))
        .map(|path| path.trim_start_matches("../"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undeclared_file_is_found() {
        let tree = Tree::of(&[
            (
                "a/src/lib.rs",
                "mod one;\n#[path = \"../x/three.rs\"]\nmod other;",
            ),
            ("a/src/one.rs", "mod two; // mod four;"),
            ("a/src/one/two.rs", ""),
            ("a/x/three.rs", ""),
            ("a/src/one/four.rs", ""),
            ("a/src/five/mod.rs", "mod six;"),
            ("a/src/five/six.rs", ""),
            ("a/examples/seven.rs", ""),
            ("crates/a/tests/eight.rs", ""),
        ]);
        let found = check(&tree).into_iter().map(|finding| finding.file);
        let expected = ["a/src/one/four.rs", "a/src/five/mod.rs"];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
