//! `evenkeel explain` and `keyword`: what the tables of the crates
//! say, laid out for a terminal.

use super::{print, refuse};
use crate::virtual_addresses;
use crate::voice::terminal_width;
use clap::ArgMatches;
use language::keyword::Documented;
use language::{Code, manual, suggest};
use std::collections::BTreeSet;
use std::process::ExitCode;

/// All codes of all crates, by number.
pub fn codes() -> Vec<&'static Code> {
    let mut all: Vec<&'static Code> = language::CODES
        .iter()
        .copied()
        .chain(proxy::codes())
        .chain(virtual_addresses::codes())
        .collect();
    all.sort_by_key(|code| code.id);
    all
}

/// `evenkeel explain`
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

/// `evenkeel keyword`
pub fn keyword(matches: &ArgMatches) -> ExitCode {
    let documented = virtual_addresses::documented();
    if matches.get_flag("list") {
        let lines: BTreeSet<String> = documented.iter().map(list_line).collect();
        return print(&lines.into_iter().collect::<String>());
    }
    let words: Vec<&str> = matches
        .get_many::<String>("NAME")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let name = words.join(" ");
    let found = manual::look_up(&name, &documented);
    if !found.longer.is_empty() {
        let lines: String = found
            .longer
            .iter()
            .map(|longer| format!("    {longer}\n"))
            .collect();
        return print(&format!("'{name}' is the beginning of:\n{lines}"));
    }
    if found.rows.is_empty() {
        return refuse(unknown(
            "keyword",
            &name,
            found.near,
            "evenkeel keyword --list",
        ));
    }
    let pages: Vec<String> = found
        .rows
        .iter()
        .map(|row| manual::page(row, terminal_width()))
        .collect();
    print(&pages.join("\n"))
}

fn list_line(row: &Documented) -> String {
    let note = if row.built { "" } else { ", not built yet" };
    format!("{} ({}{note})\n", row.name, row.kind)
}

fn unknown(what: &str, name: &str, near: Option<&str>, list: &str) -> String {
    match near {
        Some(near) => format!("unknown {what} '{name}'; did you mean '{near}'?"),
        None => format!("unknown {what} '{name}'; `{list}` shows all"),
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
    fn an_unknown_name_comes_with_its_neighbour_or_the_list() {
        assert_eq!(
            unknown("code", "E011", Some("E0111"), "x"),
            "unknown code 'E011'; did you mean 'E0111'?"
        );
        assert!(unknown("keyword", "zz", None, "the list").contains("the list"));
    }
}
