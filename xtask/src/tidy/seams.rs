//! Checks test seams: environment variables by which tests replace a part of a process. Each must
//! be behind the feature `test-seams`, which only dependencies of tests enable, so no release build
//! reads one.

use super::house::Arrows;
use super::tree::{TextFile, Tree};
use super::{Finding, Wrong};

/// The feature of every crate that has test seams.
pub(super) const FEATURE: &str = "test-seams";
const ATTRIBUTES: [&str; 2] = [
    "#[cfg(feature = \"test-seams\")]",
    "#[cfg(debug_assertions)]",
];
/// Beginning of the names of all environment variables of the program.
const PREFIX: &str = "\"EVENKEEL_";
/// Page that documents the variables for operators.
const DOCUMENT: &str = "docs/operations.md";
/// Variables that a process sets for its successor or its roles.
const INTERNAL: [&str; 3] = [
    "EVENKEEL_HAND_OVER",
    "EVENKEEL_TRACE_RING",
    "EVENKEEL_TRACE_LEVELS",
];

/// An environment variable that code outside of tests reads.
struct Variable<'f> {
    file: &'f TextFile,
    at: usize,
    name: &'f str,
    is_seam: bool,
}

pub(super) fn check(tree: &Tree, crates: &[Arrows]) -> Vec<Finding> {
    let documented = tree.text_of(DOCUMENT);
    let undocumented = variables(tree).filter(|one| {
        // A name with a placeholder is a field of the journal.
        !one.is_seam
            && !one.name.contains('{')
            && !INTERNAL.contains(&one.name)
            && !documented.contains(one.name)
    });
    let mut found: Vec<Finding> = undocumented
        .map(|one| Finding {
            file: one.file.path.clone(),
            line: one.file.line_of(one.at),
            wrong: Wrong::Seam {
                name: one.name.to_owned(),
            },
        })
        .collect();
    let built_in = crates.iter().filter(|krate| krate.has_seams);
    found.extend(built_in.map(|krate| Finding {
        file: krate.manifest.clone(),
        line: 1,
        wrong: Wrong::SeamFeature,
    }));
    found
}

/// Returns the variables that code of the product reads.
fn variables(tree: &Tree) -> impl Iterator<Item = Variable<'_>> {
    let files = tree.files.iter().filter(|file| is_of_product(&file.path));
    files.flat_map(|file| {
        let end = file.text.find("\nmod tests {").unwrap_or(file.text.len());
        let product = &file.text[..end];
        product.match_indices(PREFIX).map(move |(at, _)| {
            let rest = &product[at + 1..];
            let before = product[..at].lines().rev().skip(1);
            let before = before
                .map(str::trim)
                .take_while(|line| line.starts_with("#["));
            Variable {
                file,
                at,
                name: &rest[..rest.find('"').unwrap_or(rest.len())],
                is_seam: before.into_iter().any(|line| ATTRIBUTES.contains(&line)),
            }
        })
    })
}

fn is_of_product(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && path.ends_with(".rs")
        && !path.contains("/tests")
        && !path.starts_with("crates/lab/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undocumented_variable_needs_the_feature() {
        let seam =
            "//! A.\n\n/// V.\n#[cfg(feature = \"test-seams\")]\nconst V: &str = \"EVENKEEL_V\";\n";
        let open = "//! A.\n\n/// V.\nconst V: &str = \"EVENKEEL_V\";\n";
        let of_test = "//! A.\n\nmod tests {\n    const V: &str = \"EVENKEEL_V\";\n}\n";
        let cases = [
            ("crates/a/src/a.rs", open, "", 1),
            ("crates/a/src/a.rs", open, "`EVENKEEL_V` sets it", 0),
            ("crates/a/src/a.rs", seam, "", 0),
            ("crates/a/src/a.rs", of_test, "", 0),
            ("crates/a/tests/a.rs", open, "", 0),
        ];
        for (path, text, document, count) in cases {
            let tree = Tree::of(&[(path, text), (DOCUMENT, document)]);
            assert_eq!(check(&tree, &[]).len(), count, "{path}: {text}");
        }
    }

    #[test]
    fn seams_of_the_tree_are_known() {
        let tree = Tree::read().unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<&str> = variables(&tree)
            .filter(|one| one.is_seam)
            .map(|one| one.name)
            .collect();
        assert!(names.contains(&"EVENKEEL_CONTROL_PROGRAM"), "{names:?}");
        assert!(
            names.contains(&"EVENKEEL_GUEST_MOVE_BANDWIDTH"),
            "{names:?}"
        );
    }
}
