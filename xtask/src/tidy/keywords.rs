//! Detects keywords that are defined twice. The tables themselves refuse a duplicate name when they
//! are built. This check also finds rows that are in no table, and reports the position of both.
//! Rows of different types (lines, bind options, server options…) may share a name. So may rows of
//! different places in languages that look words up by place ([`BY_PLACE`]).

use super::tree::Tree;
use super::{Finding, Wrong, scan};
use std::collections::HashMap;

/// Ending of the type of a struct literal that is a row.
const ROW_ENDING: &str = "Row";
const ROW: &str = "Keyword";
const TABLE: &str = "rows";

/// Folders of languages in which a word may have different meanings in different places.
const BY_PLACE: [&str; 5] = [
    "crates/address/src/dialect/",
    "crates/address/src/keyword/",
    "crates/boot/src/keyword/",
    "crates/console/src/keyword/",
    "crates/farm/src/keyword/",
];

/// Rows of one name: the words of its places (None if all places count as the same), and the
/// position of the row.
type Rows<'t> = Vec<(Option<Vec<&'t str>>, String)>;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut rows: HashMap<(&str, &str, &str), Rows<'_>> = HashMap::new();
    for (file, code) in tree.rust() {
        let language = BY_PLACE.iter().find(|l| file.path.starts_with(**l));
        // Skips tests, which define their own keywords.
        if file.path.ends_with("tests.rs") {
            continue;
        }
        let product = code.find("#[cfg(test)]").unwrap_or(code.len());
        for (at, word) in scan::words(&code[..product]) {
            let after = at + word.len();
            let of_file = if word == TABLE {
                table_rows(&file.text, code, at)
            } else if word == ROW || word.ends_with(ROW_ENDING) {
                let row =
                    row_name(code, after).map(|name_at| (word, name_at, row_places(code, after)));
                row.into_iter().collect()
            } else {
                continue;
            };
            for (kind, name_at, places) in of_file {
                let Some(text) = file.text[name_at..].split('"').nth(1) else {
                    continue;
                };
                let text = text.strip_prefix("[no] ").unwrap_or(text);
                let name = text.split(['<', '[', '{', '(', '|']).next();
                let name = name.unwrap_or(text).trim_end();
                let line = file.line_of(name_at);
                let here = format!("{}:{line}", file.path);
                let places = language.and(places);
                let key = (language.copied().unwrap_or_default(), kind, name);
                let same = rows.entry(key).or_default();
                let meets = |(other, _): &&(Option<Vec<&str>>, String)| match (other, &places) {
                    (Some(other), Some(places)) => places.iter().any(|place| other.contains(place)),
                    _ => true,
                };
                if let Some((_, first)) = same.iter().find(meets) {
                    found.push(Finding {
                        file: file.path.clone(),
                        line,
                        wrong: Wrong::KeywordTwice {
                            name: name.to_owned(),
                            first: first.clone(),
                        },
                    });
                } else {
                    same.push((places, here));
                }
            }
        }
    }
    found
}

/// Returns the rows of a macro call at `at`: their type, the position of the syntax, and the
/// places.
fn table_rows<'t>(
    text: &str,
    code: &'t str,
    at: usize,
) -> Vec<(&'t str, usize, Option<Vec<&'t str>>)> {
    let after = &code[at + TABLE.len()..];
    let declared = code[..at].rfind("&[").map(|open| &code[open + 2..at]);
    let kind = declared.and_then(|declared| scan::words(declared).next());
    let (Some((_, kind)), Some(rest)) = (kind, after.strip_prefix('!')) else {
        return Vec::new();
    };
    let open = code.len() - rest.trim_start().len();
    let Some(end) = scan::matching_brace(code, open) else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    let (mut start, mut depth) = (open + 1, 0_usize);
    for (at, byte) in code.bytes().enumerate().take(end).skip(open + 1) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => {
                if let Some(name_at) = literal_at(text, start) {
                    let row = code[start..at].trim_start();
                    let list = row.strip_prefix("&[").and_then(|row| row.split_once(']'));
                    let list = list.map_or_else(
                        || row.split(',').next().unwrap_or_default(),
                        |(list, _)| list,
                    );
                    let names = list.split(',').map(str::trim);
                    let names = names.filter(|name| !name.is_empty()).collect();
                    rows.push((kind, name_at, Some(names)));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    rows
}

/// Returns the position of a string literal that follows, behind comments.
fn literal_at(text: &str, start: usize) -> Option<usize> {
    let mut rest = text[start..].trim_start();
    while rest.starts_with("//") {
        rest = rest.split_once('\n')?.1.trim_start();
    }
    rest.starts_with('"').then_some(text.len() - rest.len())
}

/// Returns the words of the field `places` of the struct literal after a type, if the field is a
/// list of names.
fn row_places(code: &str, after_type: usize) -> Option<Vec<&str>> {
    let open = after_type + code[after_type..].find('{')?;
    let end = scan::matching_brace(code, open)?;
    let body = &code[open..end];
    let (at, _) = scan::words(body).find(|(_, word)| *word == "places")?;
    let list = body[at..].split_once('[')?.1.split_once(']')?.0;
    let names: Vec<&str> = list.split(',').map(str::trim).collect();
    Some(names.into_iter().filter(|name| !name.is_empty()).collect())
}

/// Returns the position of the value of the field `name`, or of `syntax`, which begins with the
/// name, if a struct literal follows whose field is a literal (blanked here).
fn row_name(code: &str, after_type: usize) -> Option<usize> {
    let open = after_type + code[after_type..].find(|c: char| !c.is_whitespace())?;
    if code.as_bytes().get(open) != Some(&b'{') {
        return None;
    }
    let end = scan::matching_brace(code, open)?;
    let body = &code[open..end];
    let field = |name: &str| scan::words(body).find(|(_, word)| *word == name);
    let (at, field) = field("name").or_else(|| field("syntax"))?;
    let value = open + at + field.len();
    let rest = code[value..end].trim_start().strip_prefix(':')?;
    // Accepts only a literal, which is blank up to the comma; other text is a variable.
    rest.trim_start().starts_with(',').then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_that_is_defined_twice_is_found_with_both_places() {
        let row =
            |kind: &str, name: &str| format!("static R: X = {kind} {{ syntax: \"{name}\", x }};\n");
        let a = row("LineRow", "[no] balance <algorithm>") + &row("BindRow", "ssl");
        let b = row("ServerRow", "ssl") + &row("LineRow", "balance");
        let test = format!("#[cfg(test)]\n{}", row("LineRow", "balance"));
        let generic = "fn r(syntax: &str) -> LineRow { LineRow { syntax, x } }";
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

    #[test]
    fn rows_of_a_table_are_checked_too() {
        let file = "static A: &[LineRow] = language::rows! {\n\
                    // A comment; with \"quotes\".\n\
                    \"balance <algorithm>\" BACK, |a, b| { a; b }, \"balance\", \"Doc; of it.\";\n\
                    \"[no] balance\" BACK, build, \"balance\", \"Doc.\";\n};";
        let found = check(&Tree::of(&[("crates/keyword/src/family/a.rs", file)]));
        let lines: Vec<usize> = found.iter().map(|f| f.line).collect();
        assert_eq!(lines, [4]);
        let file = "static A: &[Row] = language::rows! {\n\
                    \"weight <n>\" &[SCRIPT, BFD], build, \"weight 1\", \"Doc.\";\n\
                    \"weight <n>\" &[FILE], build, \"weight 1\", \"Doc.\";\n\
                    \"weight <n>\" &[BFD], build, \"weight 1\", \"Doc.\";\n};";
        let found = check(&Tree::of(&[("crates/address/src/dialect/a.rs", file)]));
        let lines: Vec<usize> = found.iter().map(|f| f.line).collect();
        assert_eq!(lines, [4]);
    }

    #[test]
    fn where_the_place_decides_a_word_may_mean_two_things_in_two_places_only() {
        let row = |place: &str| {
            format!("static R: X = Row {{ syntax: \"weight <n>\", places: &[{place}], x }};\n")
        };
        let file = row("SCRIPT, BFD") + &row("FILE") + &row("OTHER, BFD");
        let found = check(&Tree::of(&[("crates/address/src/dialect/a.rs", &file)]));
        let lines: Vec<usize> = found.iter().map(|f| f.line).collect();
        assert_eq!(lines, [3]);
        let found = check(&Tree::of(&[("crates/keyword/src/family/a.rs", &file)]));
        assert_eq!(found.len(), 2);
    }
}
