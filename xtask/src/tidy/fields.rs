//! Structs of more fields than a reader holds in mind: such a holder is split by
//! concept, as `ServerState` is. What is wider for now may only become narrower.

use super::tree::Tree;
use super::wide::Wide;
use super::{Finding, Wrong, scan};
use std::fmt;

pub(super) const MAX_FIELDS: usize = 15;

/// A struct that has more fields than allowed, or fewer than its exception says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Width {
    name: String,
    fields: usize,
    allowed: usize,
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Width {
            name,
            fields,
            allowed,
        } = self;
        write!(f, "struct {name} has {fields} fields, ")?;
        if fields < allowed {
            return write!(f, "and tidy/wide.rs says {allowed}: lower the number there");
        }
        write!(f, "more than {allowed}: split it by concept")
    }
}

pub(super) fn check(tree: &Tree, wide: &[Wide]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut used = vec![false; wide.len()];
    for (file, code) in tree.rust() {
        for (at, name, fields) in structs(code) {
            let fits = |row: &Wide| row.file == file.path && row.name == name;
            let row = wide.iter().position(fits);
            let allowed = row.map_or(MAX_FIELDS, |row| wide[row].fields);
            if let Some(row) = row.filter(|_| fields > MAX_FIELDS) {
                used[row] = true;
            }
            if fields > allowed || fields > MAX_FIELDS && fields < allowed {
                found.push(Finding {
                    file: file.path.clone(),
                    line: file.line_of(at),
                    wrong: Wrong::Fields(Width {
                        name: name.to_owned(),
                        fields,
                        allowed,
                    }),
                });
            }
        }
    }
    let stale = wide.iter().zip(&used).filter(|(_, used)| !**used);
    found.extend(stale.map(|(row, _)| Finding {
        file: row.file.to_owned(),
        line: 1,
        wrong: Wrong::StaleException {
            of: format!("struct {}", row.name),
        },
    }));
    found
}

/// The structs with named fields of blanked code: where, name, number of fields.
fn structs(code: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    let words: Vec<(usize, &str)> = scan::words(code).collect();
    let pairs: Vec<_> = words.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs
        .into_iter()
        .filter(|((_, keyword), _)| *keyword == "struct")
        .filter_map(|((at, _), (start, name))| {
            let rest = &code[start + name.len()..];
            let open = rest.find(['{', ';', '('])?;
            rest[open..].strip_prefix('{')?;
            Some((at, name, fields(&rest[open + 1..])))
        })
}

/// How many fields stand before the brace that closes.
fn fields(body: &str) -> usize {
    let (mut depth, mut count, mut some, mut before) = (0_usize, 0, false, ' ');
    for c in body.chars() {
        match c {
            '}' if depth == 0 => break,
            '>' if before == '-' => {}
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => (count, some) = (count + usize::from(some), false),
            ':' if depth == 0 => some = true,
            _ => {}
        }
        before = c;
    }
    count + usize::from(some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: usize) -> String {
        let fields: String = (0..fields)
            .map(|n| format!("/// a: b,\npub f{n}: BTreeMap<u8, fn(u8, u8) -> Vec<(u8, u8)>>,\n"))
            .collect();
        format!("struct T(u8, u8);\n#[derive(Debug)]\npub(crate) struct S<'a> {{\n{fields}}}\n")
    }

    fn wrongs(fields: usize, wide: &[Wide]) -> Vec<Wrong> {
        let found = check(&Tree::of(&[("a.rs", &of(fields))]), wide);
        found.into_iter().map(|finding| finding.wrong).collect()
    }

    fn wide(fields: usize) -> Wide {
        Wide {
            file: "a.rs",
            name: "S",
            fields,
        }
    }

    fn too_wide(fields: usize, allowed: usize) -> Wrong {
        Wrong::Fields(Width {
            name: "S".to_owned(),
            fields,
            allowed,
        })
    }

    #[test]
    fn a_wide_struct_is_found_unless_it_is_listed_with_its_number() {
        assert_eq!(wrongs(15, &[]), []);
        assert_eq!(wrongs(16, &[]), [too_wide(16, 15)]);
        assert_eq!(wrongs(18, &[wide(18)]), []);
        assert_eq!(wrongs(19, &[wide(18)]), [too_wide(19, 18)]);
    }

    #[test]
    fn a_number_only_falls() {
        assert_eq!(wrongs(17, &[wide(18)]), [too_wide(17, 18)]);
        let stale = Wrong::StaleException {
            of: "struct S".to_owned(),
        };
        assert_eq!(wrongs(15, &[wide(18)]), [stale]);
    }
}
