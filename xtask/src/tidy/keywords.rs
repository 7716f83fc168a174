//! A keyword is defined once. The tables refuse a name twice when they are made;
//! this finds rows that no table holds, too, and says where both are. Rows of
//! different types (of lines, bind options, server options…) may share a name, and so
//! may those of different places: `interface` of one block is not that of another.

use super::tree::Tree;
use super::{Finding, Wrong, scan};
use std::collections::HashMap;

/// A row is a struct literal of such a type.
const ROW_ENDING: &str = "Row";
const ROW: &str = "Keyword";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut first: HashMap<(&str, &str, &str), String> = HashMap::new();
    for (file, code) in tree.rust() {
        // Tests define keywords of their own.
        if file.path.ends_with("tests.rs") {
            continue;
        }
        let product = code.find("#[cfg(test)]").unwrap_or(code.len());
        for (at, word) in scan::words(&code[..product]) {
            if !(word == ROW || word.ends_with(ROW_ENDING)) {
                continue;
            }
            let Some((name_at, end)) = row_name(code, at + word.len()) else {
                continue;
            };
            let places = places(&file.text[name_at..end]);
            let Some(name) = file.text[name_at..].split('"').nth(1) else {
                continue;
            };
            let line = file.line_of(name_at);
            let here = format!("{}:{line}", file.path);
            match first.get(&(word, name, places)) {
                None => {
                    first.insert((word, name, places), here);
                }
                Some(first) => found.push(Finding {
                    file: file.path.clone(),
                    line,
                    wrong: Wrong::KeywordTwice {
                        name: name.to_owned(),
                        first: first.clone(),
                    },
                }),
            }
        }
    }
    found
}

/// The places of a row as they are written: a list, or the name of one.
fn places(row: &str) -> &str {
    let Some((_, value)) = row.split_once("places:") else {
        return "";
    };
    let value = value.trim_start();
    let end = match value.starts_with('&') {
        true => value.find(']'),
        false => value.find(','),
    };
    end.map_or(value, |end| &value[..end])
}

/// Where the value of the field `name` is and where the row ends, if what follows is
/// a struct literal whose field `name` is a literal (blanked here).
fn row_name(code: &str, after_type: usize) -> Option<(usize, usize)> {
    let open = after_type + code[after_type..].find(|c: char| !c.is_whitespace())?;
    if code.as_bytes().get(open) != Some(&b'{') {
        return None;
    }
    let end = scan::matching_brace(code, open)?;
    let body = &code[open..end];
    let (at, _) = scan::words(body).find(|(_, word)| *word == "name")?;
    let value = open + at + "name".len();
    let rest = code[value..end].trim_start().strip_prefix(':')?;
    // Blanked up to the comma: a literal. Anything else is somebody's variable.
    rest.trim_start().starts_with(',').then_some((value, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_that_is_defined_twice_is_found_with_both_places() {
        let row =
            |kind: &str, name: &str| format!("static R: X = {kind} {{ name: \"{name}\", x }};\n");
        let a = row("LineRow", "balance") + &row("BindRow", "ssl");
        let b = row("ServerRow", "ssl") + &row("LineRow", "balance");
        let elsewhere = |places: &str| {
            format!("static R: X = Row {{ name: \"interface\", places: &[{places}], x }};\n")
        };
        let places = elsewhere("\"one\"") + &elsewhere("\"other\"");
        let test = format!("#[cfg(test)]\n{}", row("LineRow", "balance"));
        let generic = "fn r(name: &str) -> LineRow { LineRow { name, x } }";
        let found = check(&Tree::of(&[
            ("a.rs", &a),
            ("b.rs", &b),
            ("c.rs", &test),
            ("d.rs", generic),
            ("e.rs", &places),
        ]));
        let twice = Finding {
            file: "b.rs".to_owned(),
            line: 2,
            wrong: Wrong::KeywordTwice {
                name: "balance".to_owned(),
                first: "a.rs:1".to_owned(),
            },
        };
        assert_eq!(found, [twice]);
    }
}
