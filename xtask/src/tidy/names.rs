//! Checks that modules describe their purpose in their name and in their first lines.

use super::tree::Tree;
use super::{Finding, Wrong};
use std::path::Path;

/// Names of modules that say nothing of their content.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "helpers", "helper", "common", "misc", "part2", "stuff",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, _) in tree.rust() {
        let mut push = |wrong| {
            found.push(Finding {
                file: file.path.clone(),
                line: 1,
                wrong,
            });
        };
        let names = Path::new(&file.path).with_extension("");
        for name in names.iter().filter_map(|name| name.to_str()) {
            if EMPTY_NAMES.contains(&name) {
                let name = name.to_owned();
                push(Wrong::ModuleName { name });
            }
        }
        if !has_head(&file.text) {
            push(Wrong::NoHead);
        }
    }
    found
}

/// Returns whether the first line after the attributes of the file is a head.
fn has_head(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| {
        line.strip_prefix("//!")
            .is_some_and(|h| !h.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_needs_a_head_and_a_name_that_says_something() {
        let name = |name: &str| Wrong::ModuleName {
            name: name.to_owned(),
        };
        for (path, text, wrong) in [
            ("a/b.rs", "//! Does b.\n", vec![]),
            ("a/b.rs", "\n#![no_std]\n//! Does b.\n", vec![]),
            ("a/b.rs", "// Does b.\n", vec![Wrong::NoHead]),
            ("a/b.rs", "//!\n", vec![Wrong::NoHead]),
            ("a/b.rs", "", vec![Wrong::NoHead]),
            ("a/utils.rs", "//! Does b.\n", vec![name("utils")]),
            ("a/misc/mod.rs", "//! Does b.\n", vec![name("misc")]),
            ("a/common.md", "Text", vec![]),
        ] {
            let found = check(&Tree::of(&[(path, text)]));
            let found: Vec<Wrong> = found.into_iter().map(|f| f.wrong).collect();
            assert_eq!(found, wrong, "{path}: {text:?}");
        }
    }
}
