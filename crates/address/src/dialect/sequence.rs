//! Parses `~SEQ(…)` and `~LST(…)`, which repeat the rest of their line, and generates the values
//! for each repetition.

use super::text::Text;

/// Maximum number of values of a sequence.
const VALUES_MAX: usize = 1 << 20;

/// A parsed `~SEQ` or `~LST` head.
pub(super) struct Sequence {
    pub(super) names: Vec<String>,
    /// Values of the variables, one list for each repetition of the line.
    pub(super) values: Vec<Vec<Text>>,
}

/// Reason why a head is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SequenceError {
    /// The parenthesis is missing or not closed.
    Parenthesis,
    /// Too few or too many values.
    Arity,
    /// Invalid name of a variable.
    Name,
    /// Not a number, or one beyond 64 bits.
    Number,
    /// The step is zero or leads away from the end.
    Step,
    /// The number of values differs from the number of names.
    Count,
    /// There are more than [`VALUES_MAX`] values.
    TooMany,
}

impl SequenceError {
    pub(super) fn words(self) -> &'static str {
        match self {
            SequenceError::Parenthesis => "its parentheses (or braces) do not match",
            SequenceError::Arity => {
                "it needs a variable and one to three numbers (~SEQ) or values (~LST)"
            }
            SequenceError::Name => {
                "a variable's name has letters, digits and _, and no digit in front"
            }
            SequenceError::Number => "its bounds are whole numbers, decimal or with 0x",
            SequenceError::Step => "its step never reaches its end",
            SequenceError::Count => "every group needs as many values as there are variables",
            SequenceError::TooMany => "it has too many values",
        }
    }
}

/// Returns the keyword if the line begins with a head.
pub(super) fn head(line: &Text) -> Option<&'static str> {
    ["~SEQx", "~SEQ", "~LST"]
        .into_iter()
        .find(|name| line.bytes().starts_with(name.as_bytes()) && line.at(name.len()) == b'(')
}

/// Returns the index of the parenthesis that closes a head.
pub(super) fn close(line: &Text, open: usize) -> Result<usize, SequenceError> {
    let mut depth = 0_usize;
    for at in open..line.len() {
        match line.at(at) {
            b'(' => depth += 1,
            b')' if depth == 1 => return Ok(at),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Err(SequenceError::Parenthesis)
}

/// Parses the arguments of a sequence, in which variables are already replaced.
pub(super) fn read(name: &str, arguments: &Text) -> Result<Sequence, SequenceError> {
    let parts = split(arguments)?;
    let (first, rest) = parts.split_first().ok_or(SequenceError::Arity)?;
    let names = match first.at(0) {
        b'{' => split(&inside(first)?)?,
        _ => vec![first.clone()],
    };
    let names: Vec<String> = names.iter().map(|n| n.trim().string()).collect();
    if !names.iter().all(|n| is_variable(n)) {
        return Err(SequenceError::Name);
    }
    let values = match name {
        "~LST" => list(rest, names.len())?,
        _ => range(rest, names.len(), name == "~SEQx", first)?,
    };
    Ok(Sequence { names, values })
}

fn list(parts: &[Text], count: usize) -> Result<Vec<Vec<Text>>, SequenceError> {
    if parts.is_empty() {
        return Err(SequenceError::Arity);
    }
    let mut all = Vec::new();
    for part in parts {
        let values = match part.at(0) {
            b'{' => split(&inside(part)?)?,
            _ => vec![part.clone()],
        };
        if values.len() != count {
            return Err(SequenceError::Count);
        }
        all.push(values);
    }
    Ok(all)
}

fn range(
    parts: &[Text],
    count: usize,
    hex: bool,
    at: &Text,
) -> Result<Vec<Vec<Text>>, SequenceError> {
    if count != 1 {
        return Err(SequenceError::Count);
    }
    let numbers = parts.iter().map(number).collect::<Result<Vec<i64>, _>>()?;
    let (start, step, end) = match numbers[..] {
        [end] => (if end < 0 { -1 } else { 1 }, None, end),
        [start, end] => (start, None, end),
        [start, step, end] => (start, Some(step), end),
        _ => return Err(SequenceError::Arity),
    };
    let step = step.unwrap_or(if end < start { -1 } else { 1 });
    if step == 0 || (step > 0) != (end >= start) && end != start {
        return Err(SequenceError::Step);
    }
    let turns = (i128::from(end) - i128::from(start)) / i128::from(step) + 1;
    if turns > VALUES_MAX as i128 {
        return Err(SequenceError::TooMany);
    }
    let place = at.place();
    let value = |turn: i128| {
        let value = i128::from(start) + turn * i128::from(step);
        let text = if hex {
            format!("{value:x}")
        } else {
            value.to_string()
        };
        vec![Text::of_place(text.as_bytes(), place)]
    };
    Ok((0..turns).map(value).collect())
}

fn number(text: &Text) -> Result<i64, SequenceError> {
    let text = text.trim().string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.as_str()),
    };
    let value = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.ok().map(|v| v * sign).ok_or(SequenceError::Number)
}

/// Splits at commas outside braces.
fn split(text: &Text) -> Result<Vec<Text>, SequenceError> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for at in 0..text.len() {
        match text.at(at) {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1).ok_or(SequenceError::Parenthesis)?,
            b',' if depth == 0 => {
                parts.push(text.part(start, at).trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err(SequenceError::Parenthesis);
    }
    parts.push(text.from(start).trim());
    Ok(parts)
}

fn inside(group: &Text) -> Result<Text, SequenceError> {
    if group.len() >= 2 && group.at(group.len() - 1) == b'}' {
        Ok(group.part(1, group.len() - 1))
    } else {
        Err(SequenceError::Parenthesis)
    }
}

/// Returns whether a name is valid for a variable.
pub(super) fn is_variable(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|b| !b.is_ascii_digit())
        && bytes.iter().all(|b| super::text::is_name(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::Span;

    fn values(name: &str, arguments: &str) -> Result<String, SequenceError> {
        let text = Text::of_place(arguments.as_bytes(), Span::default());
        let sequence = read(name, &text)?;
        let turn = |v: &Vec<Text>| v.iter().map(Text::string).collect::<Vec<_>>().join("/");
        let all: Vec<String> = sequence.values.iter().map(turn).collect();
        Ok(format!("{}: {}", sequence.names.join("/"), all.join(" ")))
    }

    #[test]
    fn the_manuals_examples_have_the_manuals_values() {
        let ok = |name, arguments| values(name, arguments).unwrap_or_default();
        assert_eq!(ok("~SEQ", "SUBNET, 0, 3"), "SUBNET: 0 1 2 3");
        assert_eq!(ok("~SEQx", "S, 144, 16, 192"), "S: 90 a0 b0 c0");
        assert_eq!(ok("~SEQx", "S, 0x90, 0x10, 0xc0"), "S: 90 a0 b0 c0");
        assert_eq!(ok("~SEQx", "A, 0x12, -1, 0x0f"), "A: 12 11 10 f");
        assert_eq!(ok("~SEQ", "N, 3"), "N: 1 2 3");
        assert_eq!(ok("~SEQ", "N, -2"), "N: -1 -2");
        assert_eq!(ok("~SEQ", "IP2,168,2,172"), "IP2: 168 170 172");
        assert_eq!(ok("~LST", "IP, 1, 2"), "IP: 1 2");
        assert_eq!(
            ok("~LST", "{IP,   IP1},  {10,1},{20,4}"),
            "IP/IP1: 10/1 20/4"
        );
    }

    #[test]
    fn a_head_that_cannot_be_read_says_why() {
        let fault = |name, arguments| values(name, arguments).err();
        assert_eq!(fault("~SEQ", "N"), Some(SequenceError::Arity));
        assert_eq!(fault("~SEQ", "1N, 3"), Some(SequenceError::Name));
        assert_eq!(fault("~SEQ", "N, x"), Some(SequenceError::Number));
        assert_eq!(fault("~SEQ", "N, 1, 0, 3"), Some(SequenceError::Step));
        assert_eq!(fault("~SEQ", "N, 1, -1, 3"), Some(SequenceError::Step));
        assert_eq!(fault("~SEQ", "N, 9999999999"), Some(SequenceError::TooMany));
        assert_eq!(fault("~LST", "{A,B}, {1}"), Some(SequenceError::Count));
        assert_eq!(fault("~LST", "{A,B, 1"), Some(SequenceError::Parenthesis));
    }
}
