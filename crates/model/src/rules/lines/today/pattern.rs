//! Analyses the shape of a regular expression over whole lines: whether it matches one header, or
//! one part of the request line.

/// Regular expressions for the blanks before a value.
const BLANKS: &[&str] = &[
    "\\s*",
    "\\s+",
    "\\s",
    " *",
    " +",
    " ?",
    " ",
    "[ ]*",
    "[ ]+",
    "[ ]",
    "[ \\t]*",
    "[\\t ]*",
    "[[:space:]]*",
    "[[:blank:]]*",
];

/// Regular expressions for any method, followed by a space.
const METHODS: &[&str] = &[
    "[^ ]*",
    "[^ ]+",
    "[^ :]*",
    "[^: ]*",
    "[^ :]+",
    "[^: ]+",
    "\\w+",
    "\\w*",
    "\\S+",
    "\\S*",
    "[A-Z]+",
    "[A-Z]*",
    "[A-Za-z]+",
    "[A-Za-z]*",
    "[a-zA-Z]+",
    "[a-zA-Z]*",
];

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn name(text: &str) -> Option<String> {
    let name = text.replace("\\-", "-").replace("\\_", "_");
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

/// Returns the alternatives of `^(A|B):.*`.
pub(super) fn names(pattern: &str) -> Option<&str> {
    let (names, rest) = pattern.strip_prefix("^(")?.split_once("):")?;
    let many = names.contains('|') && names.split('|').all(|one| name(one).is_some());
    (many && matches!(rest, "" | ".*" | ".*$")).then_some(names)
}

/// Returns the common prefix of names in `^X-Powered`.
pub(super) fn beginning(pattern: &str) -> Option<String> {
    let begin = pattern.strip_prefix('^')?;
    name(
        begin
            .strip_suffix(".*$")
            .or(begin.strip_suffix(".*"))
            .unwrap_or(begin),
    )
}

/// Renumbers the groups in a replacement after removal of the first one; returns None if it uses
/// that one.
fn one_group_less(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        out.push(char);
        if char == '\\' {
            match chars.next()? {
                '0' | '1' => return None,
                digit @ '2'..='9' => out.push((digit as u8 - 1) as char),
                other => out.push(other),
            }
        }
    }
    Some(out)
}

fn uses(text: &str, group: usize) -> bool {
    text.contains(&format!("\\{group}"))
}

fn groups(pattern: &str) -> usize {
    let bytes = pattern.as_bytes();
    let (mut count, mut at, mut class) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'(' if !class && bytes.get(at + 1) != Some(&b'?') => count += 1,
            _ => {}
        }
        at += 1;
    }
    count
}

/// Returns whether a bar occurs outside of all groups, so that the pattern has two beginnings.
fn is_divided(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let (mut depth, mut at, mut class) = (0usize, 0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'(' if !class => depth += 1,
            b')' if !class => depth = depth.saturating_sub(1),
            b'|' if !class && depth == 0 => return true,
            _ => {}
        }
        at += 1;
    }
    false
}

/// Pattern of the shape `^Name:…`.
pub(super) struct HeaderPattern<'p> {
    pub(super) name: String,
    /// Text after the colon within the group that contains the name: `^(Name: )`.
    pub(super) group: Option<&'p str>,
    rest: &'p str,
}

impl<'p> HeaderPattern<'p> {
    pub(super) fn of(pattern: &'p str) -> Option<Self> {
        if is_divided(pattern) {
            return None;
        }
        let begin = pattern.strip_prefix('^')?;
        let (grouped, begin) = match begin.strip_prefix('(') {
            Some(inner) => (true, inner),
            None => (false, begin),
        };
        let (text, rest) = begin.split_once(':')?;
        let name = name(text)?;
        if rest.starts_with(['?', '*', '+', '{']) {
            return None;
        }
        let (group, rest) = if grouped {
            let (blanks, rest) = rest.split_once(')')?;
            let plain = blanks.is_empty() || BLANKS.contains(&blanks);
            if !plain || rest.starts_with(['?', '*', '+', '{']) {
                return None;
            }
            (Some(blanks), rest)
        } else {
            (None, rest)
        };
        Some(HeaderPattern { name, group, rest })
    }

    pub(super) fn matches_any_value(&self) -> bool {
        matches!(
            self.rest,
            "" | ".*" | ".*$" | "(.*)" | "(.*)$" | " .*" | " .*$" | " "
        )
    }

    /// Returns the pattern of the value alone, without the blanks around it.
    pub(super) fn value_pattern(&self) -> Option<String> {
        let mut rest = self.rest;
        let mut blanks = self.group.is_some_and(|group| !group.is_empty());
        while let Some(blank) = BLANKS.iter().find(|blank| rest.starts_with(**blank)) {
            rest = &rest[blank.len()..];
            blanks = true;
        }
        // Accepts a pattern without a blank after the colon only if it ends there, or its next part
        // can match the blank.
        let swallows = ["", ".*", ".+", "(.*", "(.+"];
        let fits = blanks || rest.is_empty() || swallows[1..].iter().any(|s| rest.starts_with(s));
        fits.then(|| format!("^{rest}"))
    }

    /// Returns the pattern of the value and its replacement; None if the rule would change the
    /// name.
    pub(super) fn rewriting(&self, replacement: &str) -> Option<(String, String)> {
        let regex = self.value_pattern()?;
        let value = if self.group.is_some() {
            one_group_less(replacement.strip_prefix("\\1")?)?
        } else {
            let (name, value) = replacement.split_once(':')?;
            if !name.eq_ignore_ascii_case(&self.name) {
                return None;
            }
            value.to_owned()
        };
        (!uses(&value, 0)).then(|| (regex, value.trim().to_owned()))
    }
}

/// Method that a pattern of the request line requires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Any,
    These(Vec<String>),
}

/// Position of the group that contains the method.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grouped {
    /// No group: `^M T`.
    No,
    /// Group around the method only: `^(M) T`.
    Alone,
    /// Group includes the space: `^(M )T`.
    WithSpace,
    /// Group includes the beginning of the target: `^(M /)T`.
    WithTarget,
}

/// Pattern of the shape `^METHOD TARGET…`.
pub(super) struct RequestPattern<'p> {
    pub(super) method: Method,
    grouped: Grouped,
    /// Part of the pattern after the space.
    target: &'p str,
}

fn literal_methods(text: &str) -> Option<Vec<String>> {
    let all: Vec<String> = text.split('|').map(str::to_owned).collect();
    let named = |one: &String| one.len() >= 3 && one.bytes().all(|b| b.is_ascii_uppercase());
    all.iter().all(named).then_some(all)
}

impl<'p> RequestPattern<'p> {
    pub(super) fn of(pattern: &'p str) -> Option<Self> {
        if is_divided(pattern) {
            return None;
        }
        let begin = pattern.strip_prefix('^')?;
        let (opened, begin) = match begin.strip_prefix('(') {
            Some(inner) => (true, inner),
            None => (false, begin),
        };
        let any = METHODS.iter().find(|method| begin.starts_with(**method));
        let (method, rest) = match any {
            Some(method) => (Method::Any, &begin[method.len()..]),
            None => {
                let end = begin.find([' ', ')'])?;
                (
                    Method::These(literal_methods(&begin[..end])?),
                    &begin[end..],
                )
            }
        };
        let (grouped, target) = match (opened, rest.strip_prefix(") ")) {
            (true, Some(target)) => (Grouped::Alone, target),
            (true, None) => {
                let inner = rest.strip_prefix(' ')?;
                // Returns None for a group with alternatives, which cannot be split in the middle
                // of one.
                if method != Method::Any && inner.contains('|') {
                    return None;
                }
                match inner.strip_prefix(')') {
                    Some(target) => (Grouped::WithSpace, target),
                    None => (Grouped::WithTarget, inner),
                }
            }
            (false, _) => {
                // Encloses alternatives in parentheses, which they require.
                let plain = !matches!(&method, Method::These(names) if names.len() > 1);
                (Grouped::No, rest.strip_prefix(' ').filter(|_| plain)?)
            }
        };
        Some(RequestPattern {
            method,
            grouped,
            target,
        })
    }

    /// Returns the pattern of the target alone; empty if it matches any target.
    pub(super) fn target_pattern(&self) -> Option<String> {
        let target = match self.grouped {
            Grouped::WithTarget => format!("({}", self.target),
            _ => self.target.to_owned(),
        };
        let begins = target.is_empty()
            || ["/", "(/", ".*", "[^ ]*", "(.*"]
                .iter()
                .any(|begin| target.starts_with(begin));
        // Returns None for a pattern that may extend to the HTTP version, which follows the target
        // and which current rules do not see.
        let inside =
            !target.contains([' ', '$']) && !target.contains("\\s") && !target.contains("HTTP");
        (begins && inside).then(|| match target.as_str() {
            "" => String::new(),
            target => format!("^{target}"),
        })
    }

    /// Returns the action, the pattern and the format that change the target in the same way.
    pub(super) fn rewriting(&self, replacement: &str) -> Option<(&'static str, String, String)> {
        let behind = match self.grouped {
            Grouped::Alone => one_group_less(replacement.strip_prefix("\\1 ")?)?,
            Grouped::WithSpace => one_group_less(replacement.strip_prefix("\\1")?)?,
            Grouped::WithTarget => {
                let behind = replacement.strip_prefix("\\1")?;
                if uses(behind, 1) {
                    return None;
                }
                replacement.to_owned()
            }
            Grouped::No => match &self.method {
                Method::These(names) => replacement
                    .strip_prefix(names.first()?.as_str())?
                    .strip_prefix(' ')?
                    .to_owned(),
                Method::Any => return None,
            },
        };
        let pattern = match self.grouped {
            Grouped::WithTarget => format!("({}", self.target),
            _ => self.target.to_owned(),
        };
        let (pattern, format) = without_version(&pattern, &behind)?;
        let fits = !pattern.contains(' ') && !pattern.contains("\\s") && !format.contains(' ');
        if !fits || uses(&format, 0) {
            return None;
        }
        let origin = pattern.starts_with('/') || pattern.starts_with("(/");
        let stays =
            format.starts_with('/') || (pattern.starts_with("(/") && format.starts_with("\\1"));
        let action = if origin && stays {
            "replace-pathq"
        } else if pattern.starts_with("http") && format.starts_with("http") {
            "replace-uri"
        } else {
            return None;
        };
        Some((action, format!("^{pattern}"), format))
    }
}

/// Removes the HTTP version from a pattern of the request line and from its replacement.
fn without_version(pattern: &str, replacement: &str) -> Option<(String, String)> {
    for version in [
        " HTTP/1.1",
        " HTTP/1\\.1",
        " HTTP/1.0",
        " HTTP/1\\.0",
        " HTTP/1.[01]",
        " HTTP/1\\.[01]",
        " HTTP/1.*",
        " HTTP/.*",
    ] {
        let shorter = pattern.strip_suffix(version).or_else(|| {
            pattern
                .strip_suffix('$')
                .and_then(|pattern| pattern.strip_suffix(version))
        });
        if let Some(pattern) = shorter {
            let format = replacement
                .strip_suffix(" HTTP/1.1")
                .or(replacement.strip_suffix(" HTTP/1.0"))?;
            return Some((format!("{pattern}$"), format.to_owned()));
        }
    }
    // Handles a pattern whose last group contains the HTTP version, and whose replacement ends with
    // that group.
    let open = pattern.strip_suffix('$').unwrap_or(pattern);
    let last = format!("\\{}", groups(pattern));
    let ends = open.ends_with(".*)") && open.matches(')').count() == open.matches('(').count();
    let kept = replacement.strip_suffix(&last)?;
    (ends && !kept.contains(&last)).then(|| (pattern.to_owned(), replacement.to_owned()))
}
