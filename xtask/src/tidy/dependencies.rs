//! Checks that `docs/dependencies.md` lists each package of `Cargo.lock` that comes from a registry,
//! with its version. So a new or updated package must be entered, with its unsafe code.

use super::lock::{self, LockedPackage};
use super::tree::Tree;
use super::{Finding, Wrong, rows};
use std::collections::BTreeMap;

const LIST: &str = "docs/dependencies.md";
const LOCK: &str = "Cargo.lock";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut listed = listed(tree.text_of(LIST));
    let mut found = Vec::new();
    let packages = lock::packages(tree.text_of(LOCK)).into_iter();
    for package in packages.filter(|package| !package.source.is_empty()) {
        let LockedPackage { name, version, .. } = package;
        if listed.remove(&(name, version)).is_none() {
            found.push(Finding {
                file: LOCK.to_owned(),
                line: package.line,
                wrong: Wrong::UnlistedDependency {
                    package: format!("{name} {version}"),
                },
            });
        }
    }
    found.extend(listed.into_iter().map(|((name, version), line)| Finding {
        file: LIST.to_owned(),
        line,
        wrong: Wrong::NoDependency {
            package: format!("{name} {version}"),
        },
    }));
    found
}

/// Returns the lines of the list by name and version, which is the second cell. Other tables of the
/// page have a text there.
fn listed(text: &str) -> BTreeMap<(&str, &str), usize> {
    let listed = rows::rows(text).filter_map(|row| {
        let version = row.cells.first()?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        is_version.then_some(((row.name, *version), row.line))
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n\
        source = \"registry\"\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";

    fn found(list: &str) -> Vec<(usize, Wrong)> {
        let found = check(&Tree::of(&[(LIST, list), (LOCK, PACKAGES)])).into_iter();
        found.map(|finding| (finding.line, finding.wrong)).collect()
    }

    #[test]
    fn listed_packages_are_accepted() {
        assert_eq!(
            found("| `a` | why it is used | x |\n| `a` | 1.2.3 | 0 |\n"),
            []
        );
    }

    #[test]
    fn new_updated_and_removed_packages_are_found() {
        let package = "a 1.2.3".to_owned();
        let new = (4, Wrong::UnlistedDependency { package });
        assert_eq!(found(""), std::slice::from_ref(&new));
        let package = "a 1.2.2".to_owned();
        let old = (1, Wrong::NoDependency { package });
        assert_eq!(found("| `a` | 1.2.2 | 0 |\n"), [new, old]);
    }
}
