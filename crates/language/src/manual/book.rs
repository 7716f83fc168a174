//! Formats the reference manual for a terminal: contents, chapters, differences from HAProxy.

use super::reference::{Chapter, Difference, Material};
use super::{indented, markup};

pub fn contents(material: &Material<'_>, width: usize) -> String {
    let mut text = String::new();
    let mut part = "";
    for chapter in material.chapters() {
        if chapter.part != part {
            part = chapter.part;
            text += &format!("\n{part}\n");
        }
        let names: Vec<&str> = chapter.entries.iter().map(|entry| entry.name).collect();
        let names = names.join(", ");
        let head = format!("  {:<34} ", chapter.slug);
        let room = width
            .min(markup::WIDTH_MAX)
            .saturating_sub(head.chars().count());
        text += &head;
        match names.char_indices().nth(room.saturating_sub(1)) {
            Some((at, _)) => text += &format!("{}…", &names[..at]),
            None => text += &names,
        }
        text.push('\n');
    }
    text
}

pub fn chapter(material: &Material<'_>, chapter: &Chapter<'_>, width: usize) -> String {
    let mut text = format!(
        "{}\n{}\n",
        chapter.title,
        "=".repeat(chapter.title.chars().count())
    );
    if chapter.is_table() {
        return text + &table(chapter, width);
    }
    for entry in &chapter.entries {
        let first = entry.rows[0];
        text += &format!("\n{} ({})\n\n", entry.name, entry.kinds_and_sections());
        for row in &entry.rows {
            for line in row.syntax.lines() {
                text += &format!("    {}\n", line.trim_end());
            }
        }
        text.push('\n');
        text += &markup::terminal(first.doc, width);
        let example = first.example.trim_matches('\n');
        if !example.trim().is_empty() {
            text += &format!("\nExample:\n{}", indented(example));
        }
        for (kind, names) in material.following_kinds(entry.name) {
            let told = format!("{kind}s: {}", names.join(", "));
            text.push('\n');
            text += &markup::terminal(&told, width);
        }
        for difference in material.differences_of(entry) {
            text += "\nUnlike HAProxy:\n";
            text += &markup::terminal(&difference.points(), width);
        }
    }
    text
}

fn table(chapter: &Chapter<'_>, width: usize) -> String {
    let mut text = String::new();
    for entry in &chapter.entries {
        let first = entry.rows[0];
        text += &format!("\n{}\n", first.syntax);
        for line in markup::terminal(first.doc, width.saturating_sub(4)).lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

pub fn differences(material: &Material<'_>, width: usize) -> String {
    let mut text = String::from("Differences from HAProxy\n========================\n");
    for one in material.differences {
        text += &format!("\n{} [{}]\n", one.about, one.key);
        text += &difference(one, width);
    }
    text
}

pub fn paragraphs(doc: &str, width: usize) -> String {
    markup::terminal(doc, width)
}

/// Returns one difference without its name.
pub fn difference(difference: &Difference, width: usize) -> String {
    markup::terminal(&difference.points(), width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyword::Documented;

    #[test]
    fn contents_chapters_and_findings_fit_the_terminal() {
        let rows = [Documented {
            kind: "keyword",
            name: "timeout client",
            family: "Time limits",
            places: &["defaults"],
            syntax: "timeout client <timeout>",
            doc: "Closes a connection whose client sends nothing for so long. More.",
            example: "timeout client 30s",
            built: true,
        }];
        let differences = [Difference {
            key: "silence",
            about: "timeout client",
            kinds: &["keyword"],
            haproxy: "waits",
            evenkeel: "Waits, too.",
            reason: "So.",
            applies: super::super::applies::Applies::ToHttp,
        }];
        let material = Material {
            rows: &rows,
            differences: &differences,
            codes: &[],
            phrases: &[],
        };
        assert!(contents(&material, 50).contains("  time-limits "));
        assert!(
            contents(&material, 50)
                .lines()
                .all(|line| line.chars().count() <= 50)
        );
        let text = chapter(&material, &material.chapters()[0], 60);
        assert!(
            text.starts_with("Time limits\n===========\n\ntimeout client (keyword, in defaults)\n")
        );
        assert!(text.ends_with(
            "Example:\n    timeout client 30s\n\n\
             Unlike HAProxy:\n  - HAProxy: waits\n  - Evenkeel: Waits, too.\n  - Why: So.\n"
        ));
        assert!(
            super::differences(&material, 60)
                .contains("timeout client [silence]\n  - HAProxy: waits\n")
        );
    }
}
