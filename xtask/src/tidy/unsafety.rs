//! Checks that `docs/unsafe.md` lists each file with unsafe code, the number of uses, and a reason.
//! A lint of clippy requires the comment at each block; this list is for those who review the whole.

use super::tree::Tree;
use super::{Finding, Wrong, rows, scan};
use std::collections::BTreeMap;

const LIST: &str = "docs/unsafe.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut listed = listed(tree.text_of(LIST));
    let mut found = Vec::new();
    for (file, code) in tree.rust() {
        let mut positions = scan::words(code).filter(|(_, word)| *word == "unsafe");
        let Some((first, _)) = positions.next() else {
            continue;
        };
        let uses = 1 + positions.count();
        let row = listed.remove(file.path.as_str());
        if row.is_none_or(|row| row.uses != uses || row.reason.is_empty()) {
            found.push(Finding {
                file: file.path.clone(),
                line: file.line_of(first),
                wrong: Wrong::UnlistedUnsafe { uses },
            });
        }
    }
    found.extend(listed.into_iter().map(|(path, row)| Finding {
        file: LIST.to_owned(),
        line: row.line,
        wrong: Wrong::NoUnsafe {
            path: path.to_owned(),
        },
    }));
    found
}

struct UnsafeRow<'a> {
    line: usize,
    uses: usize,
    reason: &'a str,
}

/// Returns the rows of the list by path: the number of uses, and the reason.
fn listed(text: &str) -> BTreeMap<&str, UnsafeRow<'_>> {
    let listed = rows::rows(text).filter_map(|row| {
        let mut cells = row.cells.into_iter();
        let listed = UnsafeRow {
            line: row.line,
            uses: cells.next()?.parse().ok()?,
            reason: cells.next()?,
        };
        Some((row.name, listed))
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the findings for one file with two uses of unsafe, and this list.
    fn found(list: &str) -> Vec<(usize, Wrong)> {
        let code = "// unsafe\nfn a() { unsafe { b() } }\nunsafe fn c() { d(\"unsafe\") }\n";
        let tree = Tree::of(&[(LIST, list), ("a.rs", code), ("safe.rs", "fn a() {}")]);
        let found = check(&tree).into_iter();
        found.map(|finding| (finding.line, finding.wrong)).collect()
    }

    #[test]
    fn listed_uses_with_a_reason_are_accepted() {
        assert_eq!(found("| `a.rs` | 2 | a system call |\n"), []);
    }

    #[test]
    fn missing_rows_counts_and_reasons_are_found() {
        for list in ["", "| `a.rs` | 1 | a system call |", "| `a.rs` | 2 | |"] {
            assert_eq!(
                found(list),
                [(2, Wrong::UnlistedUnsafe { uses: 2 })],
                "{list}"
            );
        }
    }

    #[test]
    fn rows_of_files_without_unsafe_are_found() {
        let list = "| `a.rs` | 2 | x |\n| `safe.rs` | 1 | y |\n";
        let path = "safe.rs".to_owned();
        assert_eq!(found(list), [(2, Wrong::NoUnsafe { path })]);
    }
}
