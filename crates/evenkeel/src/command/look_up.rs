//! Implements `evenkeel explain` and `evenkeel keyword`: finds error codes and keywords in the
//! tables of all parts, prints their manual entries, and suggests similar names for unknown ones.

use super::refuse;
use crate::parts::{self, codes};
use ::command::json::OutputFormat;
use clap::ArgMatches;
use language::diagnostic::Code;
use language::keyword::Documented;
use language::{manual, suggest};
use model::known::{self, SECTIONS};
use part::voice::terminal_width;
use serde::Serialize;
use std::collections::BTreeSet;
use std::process::ExitCode;

pub fn explain(matches: &ArgMatches) -> ExitCode {
    let all = codes();
    let format = OutputFormat::of(matches);
    if matches.get_flag("list") {
        let line = |code: &&Code| format!("{}  {}\n", code.id, code.title);
        let lines = all.iter().map(line).collect();
        return format.print_result(lines, &ShownCode::of_all(&all));
    }
    let found = match find_codes(&super::words(matches, "CODE"), &all) {
        Ok(found) => found,
        Err(words) => return refuse(words),
    };
    let pages = found
        .iter()
        .map(|code| manual::explain(code, terminal_width()));
    let text = pages.collect::<Vec<_>>().join("\n");
    format.print_result(text, &ShownCode::of_all(&found))
}

/// A diagnostic code for `--json`.
#[derive(Serialize)]
struct ShownCode {
    code: &'static str,
    title: &'static str,
    explanation: &'static str,
}

impl ShownCode {
    fn of_all(codes: &[&Code]) -> Vec<ShownCode> {
        let shown = |code: &&Code| ShownCode {
            code: code.id,
            title: code.title,
            explanation: code.explanation,
        };
        codes.iter().map(shown).collect()
    }
}

/// Returns the codes with these names, each once, in the order of the names.
///
/// # Errors
/// A name is unknown. The message has the known codes that are nearest to it.
fn find_codes<'c>(names: &[&str], all: &[&'c Code]) -> Result<Vec<&'c Code>, String> {
    let mut found: Vec<&Code> = Vec::new();
    for name in names {
        let name = name.trim();
        let code = all.iter().find(|code| code.id.eq_ignore_ascii_case(name));
        let Some(code) = code else {
            return Err(unknown_code(name, all));
        };
        if !found.iter().any(|other| other.id == code.id) {
            found.push(code);
        }
    }
    Ok(found)
}

fn unknown_code(name: &str, all: &[&Code]) -> String {
    if name.is_empty() {
        return "the code is empty: write one such as E0101; `evenkeel explain --list` lists all"
            .to_owned();
    }
    let near = near_codes(&name.to_uppercase(), all);
    if near.is_empty() {
        return unknown("code", name, None, "evenkeel explain --list");
    }
    format!(
        "unknown code '{name}'; near it: {}. `evenkeel explain --list` lists all",
        near.join(", ")
    )
}

/// Returns the codes near an unknown one: the one with the same number and another letter, the most
/// similar one, and the next ones below and above with the same letter.
fn near_codes(name: &str, all: &[&Code]) -> Vec<&'static str> {
    let number = |id: &str| {
        let (letter, digits) = id.split_at_checked(1)?;
        Some((letter.to_owned(), digits.parse::<u32>().ok()?))
    };
    let mut near: Vec<&str> = Vec::new();
    if let Some((letter, wanted)) = number(name) {
        let numbered = all
            .iter()
            .filter_map(|code| Some((number(code.id)?, code.id)));
        let numbered: Vec<((String, u32), &str)> = numbered.collect();
        let same = |((_, number), _): &&((String, u32), &str)| *number == wanted;
        near.extend(numbered.iter().filter(same).map(|(_, id)| *id));
        let of_letter = numbered.iter().filter(|((other, _), _)| *other == letter);
        let below = of_letter
            .clone()
            .filter(|((_, number), _)| *number < wanted);
        near.extend(
            below
                .max_by_key(|((_, number), _)| *number)
                .map(|(_, id)| *id),
        );
        let above = of_letter.filter(|((_, number), _)| *number > wanted);
        near.extend(
            above
                .min_by_key(|((_, number), _)| *number)
                .map(|(_, id)| *id),
        );
    }
    let similar = suggest::nearest(name, all.iter().map(|code| code.id));
    if let Some(similar) = similar.filter(|similar| !near.contains(similar)) {
        near.insert(0, similar);
    }
    near
}

pub fn keyword(matches: &ArgMatches) -> ExitCode {
    let mut documented = parts::documented();
    documented.extend(parts::DIRECTIVES);
    let format = OutputFormat::of(matches);
    if matches.get_flag("list") {
        let lines: BTreeSet<String> = documented.iter().map(list_line).collect();
        let lines = lines.into_iter().collect();
        return format.print_result(lines, &ShownKeyword::of_all(&documented));
    }
    let words = super::words(matches, "NAME");
    let name = words.join(" ");
    let within = of_section(&words, &documented);
    if !within.is_empty() {
        return print_pages(&within, format);
    }
    let found = manual::look_up(&name, &documented);
    if !found.longer.is_empty() {
        let lines: String = found
            .longer
            .iter()
            .map(|longer| format!("    {longer}\n"))
            .collect();
        let text = format!("keywords that begin with '{name}':\n{lines}");
        let rows = documented.iter();
        let rows = rows.filter(|row| found.longer.contains(&row.name));
        return format.print_result(text, &ShownKeyword::of_all(rows));
    }
    let letters = proxy::reference::letters(&name);
    if found.rows.is_empty() && !letters.is_empty() {
        return print_pages(&letters.iter().collect::<Vec<_>>(), format);
    }
    if found.rows.is_empty()
        && codes()
            .iter()
            .any(|code| code.id.eq_ignore_ascii_case(&name))
    {
        return refuse(format_args!(
            "'{name}' is a diagnostic code: `evenkeel explain {name}` explains it"
        ));
    }
    let section = SECTIONS.iter().find(|(section, _)| *section == name);
    if let Some((section, what)) = section.filter(|_| found.rows.is_empty()) {
        let text = format!("{section} (section, not supported)\n\n    {what}\n");
        return format.print_result(text, &[ShownKeyword::of_unsupported_section(section, what)]);
    }
    if found.rows.is_empty() && known::names("filter").any(|filter| filter == name) {
        return refuse(format_args!(
            "'{name}' is a filter of HAProxy: `evenkeel keyword filter` shows those that are supported"
        ));
    }
    if found.rows.is_empty() {
        let told = unknown("keyword", &name, found.near, "evenkeel keyword --list");
        return refuse(told + &about(&words, &documented));
    }
    if let Some(section) = found.rows.iter().find(|row| row.kind == "section") {
        let lines = lines_of(section.name, &documented);
        let pages = pages(&found.rows);
        let text = format!("{pages}\nKeywords in this section:\n{lines}");
        return format.print_result(text, &ShownKeyword::of_all(found.rows.iter().copied()));
    }
    print_pages(&found.rows, format)
}

const WIDTH: usize = 96;
const NAME_WORDS_MAX: usize = 4;

/// Returns the manual's text about a line of a section, by its longest keyword.
pub fn of_line(section: &str, line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().take(NAME_WORDS_MAX).collect();
    let documented = parts::documented();
    let here = |row: &&Documented| {
        row.places.contains(&section) || (row.kind == "section" && row.name == section)
    };
    (1..=words.len()).rev().find_map(|length| {
        let name = words.get(..length)?.join(" ");
        let mut rows = documented.iter().filter(here);
        rows.find(|row| row.name == name)
            .map(|row| manual::page(row, WIDTH))
    })
}

pub fn of_code(code: &str) -> Option<String> {
    let all = codes();
    let mut all = all.iter();
    all.find(|known| known.id == code)
        .map(|code| manual::explain(code, WIDTH))
}

fn pages(rows: &[&Documented]) -> String {
    let pages: Vec<String> = rows
        .iter()
        .map(|row| manual::page(row, terminal_width()))
        .collect();
    pages.join("\n")
}

fn print_pages(rows: &[&Documented], format: OutputFormat) -> ExitCode {
    format.print_result(pages(rows), &ShownKeyword::of_all(rows.iter().copied()))
}

/// An entry of the manual for `--json`.
#[derive(Serialize)]
struct ShownKeyword<'d> {
    name: &'d str,
    kind: &'d str,
    sections: &'d [&'d str],
    syntax: &'d str,
    description: &'d str,
    example: &'d str,
    supported: bool,
}

impl<'d> ShownKeyword<'d> {
    fn of_all(rows: impl IntoIterator<Item = &'d Documented>) -> Vec<ShownKeyword<'d>> {
        let shown = |row: &'d Documented| ShownKeyword {
            name: row.name,
            kind: row.kind,
            sections: row.places,
            syntax: row.syntax,
            description: row.doc,
            example: row.example,
            supported: row.built,
        };
        rows.into_iter().map(shown).collect()
    }

    fn of_unsupported_section(name: &'d str, description: &'d str) -> ShownKeyword<'d> {
        ShownKeyword {
            name,
            kind: "section",
            sections: &[],
            syntax: "",
            description,
            example: "",
            supported: false,
        }
    }
}

/// Finds the manual entries for words such as `virtual-ip prefer`: the name of a section, then the
/// name of a keyword in that section.
fn of_section<'d>(words: &[&str], documented: &'d [Documented]) -> Vec<&'d Documented> {
    let Some((section, rest)) = words.split_first() else {
        return Vec::new();
    };
    let name = rest.join(" ");
    let here = |row: &&Documented| row.name == name && row.places.contains(section);
    documented.iter().filter(here).collect()
}

fn lines_of(section: &str, documented: &[Documented]) -> String {
    let rows = documented
        .iter()
        .filter(|row| row.places.contains(&section));
    rows.map(|row| format!("    {}\n", row.syntax)).collect()
}

fn list_line(row: &Documented) -> String {
    let note = if row.built { "" } else { ", not supported" };
    format!("{} ({}{note})\n", row.name, row.kind)
}

fn about(words: &[&str], documented: &[Documented]) -> String {
    /// Limit of printed results: more would hide the best ones.
    const MOST: usize = 5;
    let material = manual::Material {
        rows: documented,
        differences: &[],
        codes: &[],
        phrases: proxy::reference::PHRASES,
    };
    let found = manual::search(&material, words);
    let mut names: Vec<&str> = Vec::new();
    for hit in &found.hits {
        if names.len() < MOST && !names.contains(&hit.name) {
            names.push(hit.name);
        }
    }
    if names.is_empty() {
        String::new()
    } else {
        format!("\nrelated to '{}': {}", words.join(" "), names.join(", "))
    }
}

fn unknown(what: &str, name: &str, near: Option<&str>, list: &str) -> String {
    match near {
        Some(near) => format!("unknown {what} '{name}'; did you mean '{near}'?"),
        None => format!("unknown {what} '{name}'; `{list}` lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_used_by_two_crates() {
        let all = codes();
        let ids: BTreeSet<&str> = all.iter().map(|code| code.id).collect();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn section_page_lists_its_keywords() {
        let all = parts::documented();
        let lines = lines_of("virtual-ip", &all);
        assert!(lines.contains("    prefer <node> [<node>…]\n"), "{lines}");
        assert!(!lines.contains("hostname"), "{lines}");
        let of = |words: &[&str]| of_section(words, &all).len();
        assert_eq!(of(&["virtual-ip", "prefer"]), 1);
        assert_eq!(of(&["virtual-ip", "track", "ping"]), 1);
        assert_eq!(of(&["frontend", "maxconn"]), 1);
        assert_eq!(of(&["virtual-ip"]), 0);
        assert_eq!(of(&["virtual-ip", "maxconn"]), 0);
    }

    #[test]
    fn a_line_of_a_section_has_its_page_and_a_code_its_explanation() {
        let page = of_line("backend", "balance roundrobin").unwrap();
        assert!(page.contains("balance"), "{page}");
        assert!(
            of_line("backend", "timeout connect 3s")
                .unwrap()
                .contains("timeout connect")
        );
        assert!(of_line("backend", "backend app").is_some());
        for (section, line) in [
            ("backend", "no_such_keyword"),
            ("", ""),
            ("nowhere", "balance"),
        ] {
            assert_eq!(of_line(section, line), None, "{section} {line}");
        }
        assert!(of_code("E0901").is_some());
        assert_eq!(of_code("E"), None);
    }

    #[test]
    fn explained_codes_are_found_once_in_any_case() {
        let all = codes();
        let ids = |names: &[&str]| -> Result<Vec<&str>, String> {
            Ok(find_codes(names, &all)?
                .iter()
                .map(|code| code.id)
                .collect())
        };
        assert_eq!(ids(&["e0901"]), Ok(vec!["E0901"]));
        assert_eq!(
            ids(&["w0984", "E0901", "W0984 "]),
            Ok(vec!["W0984", "E0901"])
        );
        assert!(ids(&[""]).unwrap_err().contains("the code is empty"));
        assert!(ids(&["E0901", "E9999"]).unwrap_err().contains("'E9999'"));
    }

    #[test]
    fn unknown_code_is_reported_with_codes_near_it() {
        let all = codes();
        let near = |name: &str| near_codes(name, &all);
        assert!(near("E0984").contains(&"W0984"), "{:?}", near("E0984"));
        for name in ["E9999", "W9999", "W0000"] {
            let near = near(name);
            assert!(!near.is_empty(), "{name}");
            assert!(near.len() <= 4, "{near:?}");
            assert!(near.iter().any(|id| id[..1] == name[..1]), "{near:?}");
            let words = unknown_code(&name.to_lowercase(), &all);
            let head = format!(
                "unknown code '{}'; near it: {}",
                name.to_lowercase(),
                near[0]
            );
            assert!(words.starts_with(&head), "{words}");
        }
        for name in ["haproxy", "ü9999", "E"] {
            assert!(unknown_code(name, &all).contains("--list"), "{name}");
        }
    }

    #[test]
    fn unknown_name_gets_a_suggestion_or_the_list() {
        assert_eq!(
            unknown("code", "E011", Some("E0111"), "x"),
            "unknown code 'E011'; did you mean 'E0111'?"
        );
        assert!(unknown("keyword", "zz", None, "the list").contains("the list"));
    }
}
