//! Implements `evenkeel manual`: prints chapters or search results of the reference manual in a
//! terminal, or writes the manual as HTML pages into a directory.

use super::{print, refuse};
use crate::parts;
use clap::ArgMatches;
use language::keyword::Documented;
use language::manual::{self, Material};
use language::suggest;
use part::voice::terminal_width;
use std::path::Path;
use std::process::ExitCode;

const TITLE: &str = "The configuration language of Evenkeel";

pub fn main(matches: &ArgMatches) -> ExitCode {
    let rows: Vec<Documented> = parts::documented();
    let codes = parts::codes();
    let material = Material {
        rows: &rows,
        differences: proxy::differences::DIFFERENCES,
        codes: &codes,
        phrases: proxy::reference::PHRASES,
    };
    let width = terminal_width();
    if let Some(directory) = matches.get_one::<std::path::PathBuf>("html") {
        return match write(&material, directory) {
            Ok(()) => print(&format!("{}\n", directory.join("index.html").display())),
            Err(error) => refuse(format_args!(
                "cannot write the manual to '{}': {error}",
                directory.display()
            )),
        };
    }
    if matches.get_flag("differences") {
        return print(&manual::differences(&material, width));
    }
    if matches.get_flag("all") {
        let chapters = material.chapters();
        let chapters = chapters
            .iter()
            .map(|chapter| manual::chapter(&material, chapter, width));
        return print(&chapters.collect::<Vec<_>>().join("\n\n"));
    }
    let topic = super::words(matches, "TOPIC");
    if topic.is_empty() {
        let contents = manual::contents(&material, width);
        return print(&format!(
            "{TITLE}\n{contents}\n`evenkeel manual CHAPTER` prints a chapter, `evenkeel manual WORDS` \
             searches,\n`evenkeel manual --html DIRECTORY` writes web pages.\n"
        ));
    }
    about(&material, &topic, width)
}

/// Returns the names of the manual's chapters for the command line. The names are leaked: the
/// process needs them until it ends.
pub fn chapters() -> Vec<&'static str> {
    let rows = parts::documented();
    let material = Material {
        rows: &rows,
        differences: &[],
        codes: &[],
        phrases: &[],
    };
    let chapters = material.chapters();
    let slugs = chapters.into_iter().map(|chapter| chapter.slug);
    slugs.map(|slug| &*slug.leak()).collect()
}

fn about(material: &Material<'_>, topic: &[&str], width: usize) -> ExitCode {
    let chapters = material.chapters();
    let name = manual::slug(&topic.join(" "));
    if let Some(chapter) = chapters.iter().find(|chapter| chapter.slug == name) {
        return print(&manual::chapter(material, chapter, width));
    }
    let found = manual::search(material, topic);
    if !found.hits.is_empty() {
        return print(&findings(&found, width));
    }
    let words = topic.join(" ");
    let letters = proxy::reference::letters(&words);
    if !letters.is_empty() {
        let pages = letters.iter().map(|row| manual::page(row, width));
        return print(&pages.collect::<Vec<_>>().join("\n"));
    }
    let slugs = chapters.iter().map(|chapter| chapter.slug.as_str());
    match suggest::nearest(&name, slugs) {
        Some(near) => refuse(format_args!(
            "no chapter or keyword matches '{words}'; did you mean '{near}'?"
        )),
        None => refuse(format_args!(
            "no chapter or keyword matches '{words}'; `evenkeel manual` lists the chapters"
        )),
    }
}

fn findings(found: &manual::SearchResult, width: usize) -> String {
    let mut text = String::new();
    match &found.corrected {
        Some(words) => text += &format!("no exact match; results for '{words}':\n\n"),
        None if found.partial => text += "no match for all words; results for most of them:\n\n",
        None => {}
    }
    for hit in &found.hits {
        let line = format!("{} ({}): {}", hit.name, hit.chapter, hit.text);
        match line.char_indices().nth(width.max(60)) {
            Some((at, _)) => text += &format!("{}…\n", &line[..at]),
            None => text += &format!("{line}\n"),
        }
    }
    text + "\n`evenkeel keyword NAME` prints one of them, `evenkeel manual CHAPTER` a whole chapter.\n"
}

fn write(material: &Material<'_>, directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, text) in manual::pages(TITLE, material) {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn links_of_the_pages_are_valid_and_anchors_unique() {
        let rows = parts::documented();
        let codes = parts::codes();
        let material = Material {
            rows: &rows,
            differences: proxy::differences::DIFFERENCES,
            codes: &codes,
            phrases: proxy::reference::PHRASES,
        };
        let pages = manual::pages(TITLE, &material);
        let mut anchors: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (file, text) in &pages {
            let there = anchors.entry(file).or_default();
            for id in text.split(" id=\"").skip(1) {
                let id = id.split('"').next().unwrap_or_default();
                assert!(there.insert(id), "{file}: {id} stands twice");
            }
        }
        for (file, text) in pages.iter().filter(|(file, _)| file.ends_with(".html")) {
            for target in text.split("href=\"").skip(1) {
                let target = target.split('"').next().unwrap_or_default();
                let (page, anchor) = target.split_once('#').unwrap_or((target, ""));
                let page = if page.is_empty() { file } else { page };
                let there = anchors.get(page);
                let found = there.is_some_and(|there| anchor.is_empty() || there.contains(anchor));
                assert!(found, "{file}: {target}");
            }
        }
    }

    #[test]
    fn every_row_that_is_built_has_a_chapter() {
        for row in parts::documented() {
            assert!(
                !row.built || !row.family.is_empty(),
                "{} {}",
                row.kind,
                row.name
            );
        }
    }
}
