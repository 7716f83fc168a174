//! Loads the example of every keyword row in each section where the keyword is legal.

use super::{text, told};
use crate::family::registry;
use language::keyword::Documented;

/// Returns a file with an example in a section of the given kind, and the sections that it refers
/// to.
fn file(place: &str, example: &str) -> String {
    let others = "global\n    external-check\nbackend app\n    mode http\nbackend sample\n    mode http\nbackend static\n    mode http\n\
                  resolvers dns\n    nameserver local 192.0.2.53:53\nhttp-errors site\n    errorfile 403 /dev/null\n    errorfile 404 /dev/null\nfcgi-app php\n    docroot /x\nuserlist staff\n    group admin\n    user tiger insecure-password elgato groups admin\n";
    let lines: String = example
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    match place {
        "global" => format!("global\n{lines}"),
        // Ends the `defaults` before the other sections, which must not inherit its rules.
        "defaults" => {
            format!(
                "defaults named\n    mode http\n{lines}defaults others\n    mode http\n{others}"
            )
        }
        "userlist" | "http-errors" | "resolvers" | "ring" => format!("{place} example\n{lines}"),
        "fcgi-app" => format!("{place} example\n    docroot /x\n{lines}"),
        "cache" => format!("{place} example\n    total-max-size 4\n{lines}"),
        "healthcheck" | "mailers" => format!("{place} example\n{lines}{others}"),
        place => format!("{place} example\n    mode http\n{lines}{others}"),
    }
}

fn refused(place: &str, row: &Documented) -> Option<String> {
    let loaded = text(&file(place, row.example));
    (loaded.diagnostics.errors() > 0)
        .then(|| format!("{} '{}' in {place}:\n{}", row.kind, row.name, told(&loaded)))
}

#[test]
fn every_example_of_a_line_loads_in_every_section_where_it_is_legal() {
    let mut all = Vec::new();
    for row in registry().lines.documented().iter().filter(|row| row.built) {
        let sections = [
            "global",
            "defaults",
            "frontend",
            "listen",
            "backend",
            "userlist",
            "http-errors",
            "healthcheck",
            "mailers",
            "resolvers",
            "ring",
            "cache",
            "fcgi-app",
        ];
        // A server of a ring has a log receiver's options.
        let is_shown = |place: &&&str| (row.name, **place) != ("server", "ring");
        let places = row.places.iter().filter(|place| sections.contains(place));
        for place in places.filter(is_shown) {
            all.extend(refused(place, row));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_example_of_a_bind_option_loads_on_its_line() {
    let rows = registry().binds.documented();
    let place = |row: &Documented| {
        if row.example.starts_with("stats socket") {
            "global"
        } else {
            "frontend"
        }
    };
    let all: Vec<String> = rows
        .iter()
        .filter(|row| row.built)
        .filter_map(|row| refused(place(row), row))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_row_says_what_it_is_and_how_it_is_written() {
    let lines = registry().lines.documented();
    let options = registry().binds.documented();
    for row in lines.iter().chain(&options).filter(|row| row.built) {
        assert!(
            row.doc.len() > 40 && row.doc.ends_with(['.', ')']),
            "{}: {}",
            row.name,
            row.doc
        );
        assert!(!row.example.is_empty(), "{} has no example", row.name);
        assert!(
            row.syntax.contains(row.name),
            "{}: {}",
            row.name,
            row.syntax
        );
    }
}
