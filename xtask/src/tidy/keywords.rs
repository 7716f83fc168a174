//! A keyword is defined once. The tables refuse a name twice when they are made;
//! this finds rows that no table holds, too, and says where both are. Rows of
//! different types (of lines, bind options, server options…) may share a name.

use super::tree::Tree;
use super::{Finding, Wrong, scan};
use std::collections::HashMap;

/// A row is a struct literal of such a type.
const ROW_ENDING: &str = "Row";
const ROW: &str = "Keyword";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut first: HashMap<(&str, &str), String> = HashMap::new();
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
            let Some(name_at) = row_name(code, at + word.len()) else {
                continue;
            };
            let Some(name) = file.text[name_at..].split('"').nth(1) else {
                continue;
            };
            let line = file.line_of(name_at);
            let here = format!("{}:{line}", file.path);
            match first.get(&(word, name)) {
                None => {
                    first.insert((word, name), here);
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

/// Where the value of the field `name` is, if what follows is a struct literal
/// whose field `name` is a literal (blanked here).
fn row_name(code: &str, after_type: usize) -> Option<usize> {
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
    rest.trim_start().starts_with(',').then_some(value)
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
        let test = format!("#[cfg(test)]\n{}", row("LineRow", "balance"));
        let generic = "fn r(name: &str) -> LineRow { LineRow { name, x } }";
        let found = check(&Tree::of(&[
            ("a.rs", &a),
            ("b.rs", &b),
            ("c.rs", &test),
            ("d.rs", generic),
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
