//! Checks that `docs/dependencies.md` lists each package of `Cargo.lock` that comes from a registry,
//! with its version. So a new or updated package must be entered, with its unsafe code.

use super::tree::Tree;
use super::{Finding, Wrong};
use std::collections::BTreeMap;

const LIST: &str = "docs/dependencies.md";
const LOCK: &str = "Cargo.lock";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let text_of = |path: &str| {
        let file = tree.files.iter().find(|file| file.path == path);
        file.map_or("", |file| file.text.as_str())
    };
    let mut listed = rows(text_of(LIST));
    let mut found = Vec::new();
    for (line, name, version) in packages(text_of(LOCK)) {
        if listed.remove(&(name, version)).is_none() {
            found.push(Finding {
                file: LOCK.to_owned(),
                line,
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

/// Returns the packages of a lock file that have a source, with their lines.
fn packages(lock: &str) -> Vec<(usize, &str, &str)> {
    let mut found = Vec::new();
    let (mut line, mut name, mut version) = (0, "", "");
    for (at, text) in lock.lines().enumerate() {
        let value = |key: &str| {
            let value = text.strip_prefix(key)?.strip_prefix(" = ")?;
            Some(value.trim_matches('"'))
        };
        if let Some(value) = value("name") {
            (line, name) = (at + 1, value);
        } else if let Some(value) = value("version") {
            version = value;
        } else if value("source").is_some() {
            found.push((line, name, version));
        }
    }
    found
}

/// Returns the lines of the list by name and version: ``| `name` | version | …``.
fn rows(text: &str) -> BTreeMap<(&str, &str), usize> {
    let rows = text.lines().enumerate().filter_map(|(at, line)| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_end_matches('`');
        let version = cells.next()?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        is_version.then_some(((name, version), at + 1))
    });
    rows.collect()
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
        assert_eq!(found(""), [new.clone()]);
        let package = "a 1.2.2".to_owned();
        let old = (1, Wrong::NoDependency { package });
        assert_eq!(found("| `a` | 1.2.2 | 0 |\n"), [new, old]);
    }
}
