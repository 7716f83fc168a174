//! Implements `evenkeel explain` and `evenkeel keyword`: finds error codes and keywords in the
//! tables of all parts, prints their manual entries, and suggests similar names for unknown ones.

use super::{print, refuse};
use crate::parts::{self, codes};
use clap::ArgMatches;
use language::keyword::Documented;
use language::{manual, suggest};
use model::known::{self, SECTIONS};
use part::voice::terminal_width;
use std::collections::BTreeSet;
use std::process::ExitCode;

pub fn explain(matches: &ArgMatches) -> ExitCode {
    if matches.get_flag("list") {
        let lines: String = codes()
            .iter()
            .map(|code| format!("{}  {}\n", code.id, code.title))
            .collect();
        return print(&lines);
    }
    let wanted = matches.get_one::<String>("CODE").map_or("", String::as_str);
    let all = codes();
    match all.iter().find(|code| code.id.eq_ignore_ascii_case(wanted)) {
        Some(code) => print(&manual::explain(code, terminal_width())),
        None => {
            let near = suggest::nearest(&wanted.to_uppercase(), all.iter().map(|code| code.id));
            refuse(unknown("code", wanted, near, "evenkeel explain --list"))
        }
    }
}

pub fn keyword(matches: &ArgMatches) -> ExitCode {
    let mut documented = parts::documented();
    documented.extend(parts::DIRECTIVES);
    if matches.get_flag("list") {
        let lines: BTreeSet<String> = documented.iter().map(list_line).collect();
        return print(&lines.into_iter().collect::<String>());
    }
    let words = super::words(matches, "NAME");
    let name = words.join(" ");
    let within = of_section(&words, &documented);
    if !within.is_empty() {
        return print_pages(&within);
    }
    let found = manual::look_up(&name, &documented);
    if !found.longer.is_empty() {
        let lines: String = found
            .longer
            .iter()
            .map(|longer| format!("    {longer}\n"))
            .collect();
        return print(&format!("keywords that begin with '{name}':\n{lines}"));
    }
    let letters = proxy::reference::letters(&name);
    if found.rows.is_empty() && !letters.is_empty() {
        return print_pages(&letters.iter().collect::<Vec<_>>());
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
        return print(&format!(
            "{section} (section, not supported)\n\n    {what}\n"
        ));
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
        return print(&format!("{pages}\nKeywords in this section:\n{lines}"));
    }
    print_pages(&found.rows)
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

fn print_pages(rows: &[&Documented]) -> ExitCode {
    print(&pages(rows))
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
    fn unknown_name_gets_a_suggestion_or_the_list() {
        assert_eq!(
            unknown("code", "E011", Some("E0111"), "x"),
            "unknown code 'E011'; did you mean 'E0111'?"
        );
        assert!(unknown("keyword", "zz", None, "the list").contains("the list"));
    }
}
