//! Replaces variables in the lines of `keepalived.conf`: `$NAME`, `${NAME}` and the predefined
//! ones. Parses their definitions, `$NAME=value`.

use super::outside::Outside;
use super::text::{Text, is_name, is_space};
use language::Span;
use std::collections::HashMap;
use std::path::Path;

/// Maximum length of a line after replacement, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;
/// Maximum number of bytes that variables and sequences produce in a configuration.
pub(super) const MADE_BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Debug)]
pub(super) struct VariableValue {
    pub(super) lines: Vec<Text>,
}

#[derive(Default)]
pub(super) struct Variables {
    values: HashMap<String, VariableValue>,
}

/// Values of the predefined variables.
pub(super) struct Fixed<'a> {
    /// Value of the variable `_PWD`.
    pub(super) directory: &'a Path,
    /// Value of the variable `_INSTANCE`.
    pub(super) config_id: &'a str,
    /// Source of the random numbers for `_RANDOM`.
    pub(super) outside: &'a mut dyn Outside,
}

pub(super) enum Replaced {
    /// The line contains no variable.
    Unchanged,
    Lines(Vec<Text>),
    /// A line exceeds [`LINE_BYTES_MAX`], or all lines together exceed [`MADE_BYTES_MAX`].
    TooLong,
}

/// A use of a variable in a line.
struct Use {
    start: usize,
    end: usize,
    name: String,
    braces: bool,
}

impl Variables {
    pub(super) fn set(&mut self, name: &str, lines: Vec<Text>) {
        self.values.insert(name.to_owned(), VariableValue { lines });
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Replaces each use of a defined variable in a line. Variables in the inserted text are not
    /// replaced.
    pub(super) fn replace(&self, line: &Text, fixed: &mut Fixed<'_>) -> Replaced {
        let mut lines = vec![Text::default()];
        let mut changed = false;
        let mut from = 0;
        let mut length = line.len();
        let mut made = 0;
        while let Some(found) = next_use(line, from) {
            let Some(value) = self.value(line, &found, fixed) else {
                append(&mut lines, &line.part(from, found.end));
                from = found.end;
                continue;
            };
            changed = true;
            if let [one] = &value[..] {
                length += one.len();
            }
            made += value.iter().map(Text::len).sum::<usize>();
            if length > LINE_BYTES_MAX || made > MADE_BYTES_MAX {
                return Replaced::TooLong;
            }
            append(&mut lines, &line.part(from, found.start));
            let place = line.span(found.start, found.end);
            match &value[..] {
                [one] => append(&mut lines, &one.clone().placed(place)),
                several => {
                    for (n, each) in several.iter().enumerate() {
                        if n > 0 {
                            lines.push(Text::default());
                        }
                        append(&mut lines, each);
                    }
                }
            }
            from = found.end;
        }
        if !changed {
            return Replaced::Unchanged;
        }
        append(&mut lines, &line.from(from));
        Replaced::Lines(lines)
    }

    /// Returns the names in `${NAME}` that have no value, with their positions.
    pub(super) fn undefined(&self, line: &Text) -> Vec<(String, Span)> {
        let mut from = 0;
        let mut all = Vec::new();
        while let Some(found) = next_use(line, from) {
            from = found.end;
            if found.braces && !self.values.contains_key(&found.name) && !found.name.is_empty() {
                all.push((found.name, line.span(found.start, found.end)));
            }
        }
        all
    }

    fn value(&self, line: &Text, found: &Use, fixed: &mut Fixed<'_>) -> Option<Vec<Text>> {
        if let Some(value) = self.values.get(&found.name) {
            return Some(value.lines.clone());
        }
        let text = match found.name.as_str() {
            "_PWD" => fixed.directory.to_string_lossy().into_owned(),
            "_INSTANCE" => fixed.config_id.to_owned(),
            "_HASH" => "#".to_owned(),
            "_BANG" => "!".to_owned(),
            "_RANDOM" => {
                let inside = line.part(found.start + 2, found.end.saturating_sub(1));
                let inside = inside.string();
                let mut words = inside.split_ascii_whitespace().skip(1);
                let mut bound = |default: u32| match words.next() {
                    Some(word) if found.braces => word.parse().ok(),
                    _ => Some(default),
                };
                let (least, most) = (bound(0)?, bound(RANDOM_MAX)?);
                let (least, most) = (least.min(most), least.max(most));
                fixed.outside.random(least, most).to_string()
            }
            _ => return None,
        };
        let place = line.span(found.start, found.end);
        Some(vec![Text::of_place(text.as_bytes(), place)])
    }
}

/// Upper bound of `${_RANDOM}` without bounds.
const RANDOM_MAX: u32 = 32767;

fn append(lines: &mut [Text], more: &Text) {
    if let Some(last) = lines.last_mut() {
        last.append(more);
    }
}

/// Returns the next `${NAME}`, or the next `$NAME` before white space or the end of the line.
fn next_use(line: &Text, from: usize) -> Option<Use> {
    let mut at = from;
    while at < line.len() {
        if line.at(at) != b'$' {
            at += 1;
            continue;
        }
        let braces = line.at(at + 1) == b'{';
        let start = at + 1 + usize::from(braces);
        let length = line.bytes().get(start..).unwrap_or_default();
        let length = length.iter().take_while(|b| is_name(**b)).count();
        let name = line.part(start, start + length).string();
        let mut end = start + length;
        if braces {
            // Includes the arguments, which only `_RANDOM` accepts.
            while name == "_RANDOM" && (is_space(line.at(end)) || line.at(end).is_ascii_digit()) {
                end += 1;
            }
        }
        let closed = if braces {
            line.at(end) == b'}'
        } else {
            end == line.len() || is_space(line.at(end))
        };
        if closed && super::sequence::is_variable(&name) {
            return Some(Use {
                start: at,
                end: end + usize::from(braces),
                name,
                braces,
            });
        }
        at += 1;
    }
    None
}

/// Parses `$NAME=`; returns the name and the index at which its value begins.
pub(super) fn definition(line: &Text) -> Option<(String, usize)> {
    if line.at(0) != b'$' {
        return None;
    }
    let length = line.bytes().get(1..)?.iter();
    let length = length.take_while(|b| is_name(**b)).count();
    let name = line.part(1, 1 + length).string();
    (line.at(1 + length) == b'=' && super::sequence::is_variable(&name))
        .then_some((name, length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::Nowhere;

    fn text(line: &str) -> Text {
        Text::of_place(line.as_bytes(), Span::default())
    }

    fn replaced(variables: &Variables, line: &str) -> String {
        let mut outside = Nowhere::default();
        let mut fixed = Fixed {
            directory: Path::new("/etc/x"),
            config_id: "main",
            outside: &mut outside,
        };
        match variables.replace(&text(line), &mut fixed) {
            Replaced::Unchanged => "=".to_owned(),
            Replaced::TooLong => "long".to_owned(),
            Replaced::Lines(lines) => {
                let lines: Vec<String> = lines.iter().map(Text::string).collect();
                lines.join("|")
            }
        }
    }

    #[test]
    fn variables_are_replaced_where_keepalived_replaces_them() {
        let mut variables = Variables::default();
        variables.set("A", vec![text("10.0")]);
        variables.set("E", vec![text("")]);
        variables.set("M", vec![text("one"), text("two")]);
        for (line, came) in [
            ("$A b", "10.0 b"),
            ("$A.1", "="),
            ("${A}.1", "10.0.1"),
            ("${A}.${A}.$A", "10.0.10.0.10.0"),
            ("x${E}y", "xy"),
            ("$UNDEF ${UNDEF} $1 $", "="),
            ("$UNDEF ${A}", "$UNDEF 10.0"),
            ("<${M}>", "<one|two>"),
            ("${_PWD}/s", "/etc/x/s"),
            ("$_INSTANCE", "main"),
            ("${_HASH}${_BANG}", "#!"),
            ("${_RANDOM}", "0"),
            ("${_RANDOM 5 9}", "5"),
            ("${_RANDOM 5 9", "="),
        ] {
            assert_eq!(replaced(&variables, line), came, "{line}");
        }
        variables.set("L", vec![text(&"x".repeat(LINE_BYTES_MAX))]);
        assert_eq!(replaced(&variables, "$L $L"), "long");
        // A block of many lines may be longer than one line, but is limited, too.
        variables.set("M", vec![text(&"x".repeat(1 << 10)); 1 << 10]);
        assert!(replaced(&variables, "${M}") != "long");
        assert!(replaced(&variables, &"${M}".repeat(9)) == "long");
    }

    #[test]
    fn a_definition_has_no_space_before_its_sign() {
        assert_eq!(definition(&text("$A=b")), Some(("A".to_owned(), 3)));
        assert_eq!(definition(&text("$A =b")), None);
        assert_eq!(definition(&text("$1=b")), None);
        assert_eq!(definition(&text("A=b")), None);
    }
}
