//! Shows keyword rows and codes as pages: for the terminal (`evenkeel keyword NAME`,
//! `evenkeel explain CODE`) and for the reference manual. Other crates supply the rows and codes.

mod applies;
mod book;
mod html;
mod markup;
mod reference;
mod search;

pub use applies::{Applies, LoadedFiles, Statement};
pub use book::{chapter, contents, difference, differences, paragraphs};
pub use html::{HtmlPage, pages};
pub use reference::{Chapter, Difference, Entry, Material, slug};
pub use search::{Hit, Phrase, SearchResult, search};

use crate::diagnostic::Code;
use crate::keyword::Documented;
use crate::suggest;

/// The result of looking up a name.
#[derive(Clone, Debug)]
pub struct Lookup<'d> {
    /// The rows of that name: a name may be a keyword, an action and a fetch.
    pub rows: Vec<&'d Documented>,
    /// Without rows, the names that begin with it: `stats` is not a keyword, `stats uri` is.
    pub longer: Vec<&'static str>,
    /// Without either, the nearest name or first word of a name.
    pub near: Option<&'static str>,
}

/// Returns whether a name refers to a row: also an action after the name of its rules
/// (`http-request deny`), and an alias with its percent sign.
fn is_named(row: &Documented, name: &str) -> bool {
    let behind_rules = |place: &&&str| {
        let rest = name
            .strip_prefix(**place)
            .and_then(|rest| rest.strip_prefix(' '));
        rest == Some(row.name)
    };
    row.name == name
        || (row.kind.ends_with("action") && row.places.iter().any(|place| behind_rules(&place)))
        || (row.kind.ends_with("alias") && name.strip_prefix('%') == Some(row.name))
}

pub fn look_up<'d>(name: &str, documented: &'d [Documented]) -> Lookup<'d> {
    let mut rows: Vec<&Documented> = documented
        .iter()
        .filter(|row| is_named(row, name))
        .collect();
    // Sorts supported keywords before unsupported ones.
    rows.sort_by_key(|row| !row.built);
    if !rows.is_empty() {
        return Lookup {
            rows,
            longer: Vec::new(),
            near: None,
        };
    }
    let begins = |row: &&Documented| {
        row.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    };
    let mut longer: Vec<&str> = documented
        .iter()
        .filter(begins)
        .map(|row| row.name)
        .collect();
    longer.sort_unstable();
    longer.dedup();
    let near = if longer.is_empty() {
        // Compares with the first words of names, too: `optoin` is similar to no whole name, but to
        // the first word of some.
        let first = |d: &Documented| d.name.split(' ').next().unwrap_or(d.name);
        suggest::nearest(name, documented.iter().map(|d| d.name))
            .or_else(|| suggest::nearest(name, documented.iter().map(first)))
    } else {
        None
    };
    Lookup { rows, longer, near }
}

/// Returns the places that the kind does not imply: fetches are allowed where fetches are allowed,
/// and actions among their rules.
fn listed_places(row: &Documented) -> Vec<&'static str> {
    row.places
        .iter()
        .copied()
        .filter(|place| !row.kind.contains(place))
        .collect()
}

/// Returns the page of a keyword, formatted for a width in columns.
pub fn page(row: &Documented, width: usize) -> String {
    let mut text = format!("{} (", row.name);
    match &listed_places(row)[..] {
        [] => text += row.kind,
        ["file"] => text += &format!("top-level {}", row.kind),
        places => text += &format!("{} in: {}", row.kind, places.join(", ")),
    }
    text += ")\n\n";
    if !row.built {
        text += "This keyword is not supported: a file that uses it is refused.\n\n";
    }
    for line in row.syntax.lines() {
        text += &format!("    {}\n", line.trim_end());
    }
    text.push('\n');
    text += &markup::terminal(row.doc, width);
    let example = row.example.trim_matches('\n');
    if !example.trim().is_empty() {
        text += "\nExample:\n";
        text += &indented(example);
    }
    text
}

pub fn explain(code: &Code, width: usize) -> String {
    format!(
        "{}: {}\n\n{}",
        code.id,
        code.title,
        markup::terminal(code.explanation, width)
    )
}

fn indented(example: &str) -> String {
    let depth = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let common = example
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| depth(&line))
        .min()
        .unwrap_or(0);
    let mut text = String::new();
    for line in example.lines() {
        let line = line.get(common..).unwrap_or("").trim_end();
        if !line.is_empty() {
            text += "    ";
            text += line;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::markup::WIDTH_MAX;
    use super::*;
    use crate::codes;
    use insta::assert_snapshot;

    fn row(name: &'static str, kind: &'static str, built: bool) -> Documented {
        Documented {
            kind,
            name,
            family: "Time limits",
            places: &["defaults", "frontend"],
            syntax: "timeout client <timeout>",
            doc: "Closes a connection whose client sends nothing for so long. Set it in every \
                  file: without it, a client that disappears keeps its connection for ever.\n\n\
                  Its default is none.",
            example: "\n  timeout client 30s\n    # deeper\n",
            built,
        }
    }

    #[test]
    fn a_page_fits_the_terminal_and_keeps_its_example() {
        assert_snapshot!(page(&row("timeout client", "keyword", true), 60));
        let page = page(&row("x", "keyword", false), 10_000);
        assert!(page.contains("not supported"));
        assert!(page.lines().all(|line| line.len() <= WIDTH_MAX));
    }

    #[test]
    fn an_explanation_keeps_its_example_unbroken() {
        assert_snapshot!(explain(&codes::UNMATCHED_BRACE, 72));
    }

    #[test]
    fn a_name_of_several_kinds_has_several_pages_and_an_unknown_one_a_neighbour() {
        let rows = [
            row("deny", "action", true),
            row("timeout client", "keyword", true),
            row("deny", "keyword", true),
        ];
        assert_eq!(look_up("deny", &rows).rows.len(), 2);
        let unknown = look_up("timeout cleint", &rows);
        assert!(unknown.rows.is_empty());
        assert_eq!(unknown.near, Some("timeout client"));
        assert_eq!(look_up("timeuot", &rows).near, Some("timeout"));
    }

    #[test]
    fn an_action_is_found_behind_its_rules_and_half_a_keyword_leads_to_whole_ones() {
        let mut deny = row("deny", "http-request action", true);
        deny.places = &["http-request"];
        let rows = [
            deny,
            row("stats uri", "keyword", true),
            row("stats auth", "keyword", true),
            row("ci", "log alias", true),
        ];
        assert_eq!(look_up("http-request deny", &rows).rows.len(), 1);
        assert_eq!(look_up("%ci", &rows).rows.len(), 1);
        assert_eq!(look_up("stats", &rows).longer, ["stats auth", "stats uri"]);
        assert!(page(&rows[0], 80).starts_with("deny (http-request action)\n"));
    }
}
