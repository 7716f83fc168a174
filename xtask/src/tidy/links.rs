//! Checks the links of Markdown pages: the file exists, and so does the heading. Links to other
//! sites are not checked.

use super::tree::{self, TextFile, Tree};
use super::{Finding, TidyError, Wrong};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, TidyError> {
    let paths = tree::listed(tree.root(), ".")?;
    Ok(broken(tree, &paths.into_iter().collect()))
}

/// Returns the links that lead nowhere. `paths` are all files, also those that are not text.
fn broken(tree: &Tree, paths: &BTreeSet<String>) -> Vec<Finding> {
    let pages: Vec<&TextFile> = tree.files.iter().filter(|file| is_page(file)).collect();
    let headings: BTreeMap<&str, BTreeSet<String>> = pages
        .iter()
        .map(|page| (page.path.as_str(), anchors(&page.text)))
        .collect();
    let mut found = Vec::new();
    for page in &pages {
        for (line, link) in links(&page.text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                page.path.clone()
            } else {
                resolve(&page.path, path)
            };
            let exists = paths.contains(&target) || is_directory(paths, &target);
            let has_heading = anchor.is_empty()
                || headings
                    .get(target.as_str())
                    .is_none_or(|headings| headings.contains(anchor));
            if !exists || !has_heading {
                found.push(Finding {
                    file: page.path.clone(),
                    line,
                    wrong: Wrong::BrokenLink {
                        link: link.to_owned(),
                    },
                });
            }
        }
    }
    found
}

fn is_page(file: &TextFile) -> bool {
    file.path.ends_with(".md")
}

fn is_directory(paths: &BTreeSet<String>, path: &str) -> bool {
    let inside = format!("{}/", path.trim_end_matches('/'));
    let next = paths.range(inside.clone()..).next();
    next.is_some_and(|next| next.starts_with(&inside))
}

/// Returns the path from the root of the repository of a link in a page.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the lines of a page that are not in a code block, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((at + 1, line))
    })
}

/// Returns the targets of the links and pictures of a page, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for (at, opening) in line.match_indices("](") {
            let in_code = line[..at].matches('`').count() % 2 == 1;
            let rest = &line[at + opening.len()..];
            let Some(end) = rest.find(')').filter(|_| !in_code) else {
                continue;
            };
            let target = &rest[..end];
            if !target.contains(':') && !target.contains(' ') {
                found.push((number, target));
            }
        }
    }
    found
}

/// Returns the anchors of the headings of a page, as GitHub and mdBook name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let name = anchor(title.trim());
        // A second heading of the same name has the suffix -1, and so on.
        let free = (1..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(free);
        found.extend(names.find(|name| !found.contains(name)));
    }
    found
}

fn anchor(title: &str) -> String {
    let kept = title.chars().filter_map(|char| match char {
        ' ' => Some('-'),
        '-' | '_' => Some(char),
        char => char.is_alphanumeric().then_some(char),
    });
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the broken links of `docs/a.md` with this text, beside other files.
    fn broken_in(text: &str) -> Vec<String> {
        let files = [
            ("docs/a.md", text),
            (
                "docs/b.md",
                "# B\n\n## One `x`: two\n\n## Same\n\n## Same\n",
            ),
        ];
        let paths = ["docs/a.md", "docs/b.md", "docs/pictures/c.png", "LICENSE"];
        let paths = paths.map(str::to_owned).into_iter().collect();
        let found = broken(&Tree::of(&files), &paths).into_iter();
        found
            .map(|finding| match finding.wrong {
                Wrong::BrokenLink { link } => format!("{} {link}", finding.line),
                wrong => panic!("{wrong}"),
            })
            .collect()
    }

    #[test]
    fn existing_pages_and_headings_are_accepted() {
        let text = "# A\n[x](b.md), [y](b.md#one-x-two) and [z](#a)\n![p](pictures/c.png)\n\
                    [l](../LICENSE), [s](b.md#same-1), [d](pictures/), [o](https://example.org/no)\n";
        assert_eq!(broken_in(text), [""; 0]);
    }

    #[test]
    fn missing_pages_and_headings_are_found() {
        let text =
            "# A\n[x](c.md)\n[y](b.md#three)\n[z](#b) [s](b.md#same-2)\n![p](pictures/d.png)\n";
        assert_eq!(
            broken_in(text),
            [
                "2 c.md",
                "3 b.md#three",
                "4 #b",
                "4 b.md#same-2",
                "5 pictures/d.png"
            ]
        );
    }

    #[test]
    fn code_has_no_links() {
        let text = "```\n[x](c.md)\n# Heading\n```\nthe text `[x](c.md)`\n[y](#heading)\n";
        assert_eq!(broken_in(text), ["6 #heading"]);
    }
}
