//! Regular expressions over bytes. HAProxy has PCRE: what the linear engine
//! cannot do (look-around, references back) a backtracking one does, with a
//! bound on its steps.

use crate::codes::expression as codes;
use language::{Diagnostic, Span};

/// Most captures that a substitution can name: `\0` to `\9`.
pub const GROUPS_MAX: usize = 10;
/// Steps after which a backtracking match gives up and counts as none.
pub const BACKTRACK_STEPS_MAX: usize = 100_000;
/// The same for one line of a message: there are many lines and many rules.
pub const BACKTRACK_STEPS_LINE_MAX: usize = 10_000;
/// Bytes after which a substitution ends: what follows is left out.
const SUBSTITUTED_MAX: usize = 256 << 10;
/// Most memory that one compiled expression may take, bytes.
const COMPILED_SIZE_MAX: usize = 16 << 20;

/// One compiled regular expression.
#[derive(Clone, Debug)]
pub struct Regular(Engine);

#[derive(Clone, Debug)]
enum Engine {
    Linear(regex::bytes::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// Why a regular expression is none.
#[derive(Clone, Debug)]
pub enum RegularError {
    /// Neither engine takes it.
    Syntax(Box<regex::Error>),
    /// It is no UTF-8, and its bytes cannot be written otherwise.
    NotText,
}

impl RegularError {
    /// The diagnostic, at the place of the expression.
    pub fn diagnostic(&self, span: Span, pattern: &[u8]) -> Diagnostic {
        let text = String::from_utf8_lossy(pattern);
        let diagnostic = Diagnostic::error(
            &codes::BAD_REGEX,
            span,
            format!("regex '{text}' is invalid"),
        );
        match self {
            RegularError::Syntax(error) => {
                let reason = error.to_string();
                let last = reason.lines().last().unwrap_or("it cannot be compiled");
                diagnostic.label(last.trim_start_matches("error: ").to_owned())
            }
            RegularError::NotText => diagnostic.label("it is not UTF-8"),
        }
    }
}

/// Where a match and its groups stand.
pub type Groups = [Option<(usize, usize)>; GROUPS_MAX];

/// A pattern took more steps than it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GaveUp;

impl Regular {
    /// Compiles one.
    pub fn new(pattern: &[u8], ignore_case: bool) -> Result<Self, RegularError> {
        Self::with_steps(pattern, ignore_case, BACKTRACK_STEPS_MAX)
    }

    /// Compiles one that may take so many steps where it goes back.
    pub fn with_steps(
        pattern: &[u8],
        ignore_case: bool,
        steps_max: usize,
    ) -> Result<Self, RegularError> {
        let pattern = std::str::from_utf8(pattern).map_err(|_| RegularError::NotText)?;
        let linear = regex::bytes::RegexBuilder::new(pattern)
            .unicode(false)
            .case_insensitive(ignore_case)
            .size_limit(COMPILED_SIZE_MAX)
            .build();
        let error = match linear {
            Ok(regex) => return Ok(Regular(Engine::Linear(regex))),
            Err(error) => error,
        };
        fancy_regex::RegexBuilder::new(pattern)
            .case_insensitive(ignore_case)
            .bytes_mode(fancy_regex::BytesMode::Ascii)
            .backtrack_limit(steps_max)
            .delegate_size_limit(COMPILED_SIZE_MAX)
            .build()
            .map(|regex| Regular(Engine::Backtracking(Box::new(regex))))
            .map_err(|_| RegularError::Syntax(Box::new(error)))
    }

    /// As it was written.
    pub fn pattern(&self) -> &str {
        match &self.0 {
            Engine::Linear(regex) => regex.as_str(),
            Engine::Backtracking(regex) => regex.as_str(),
        }
    }

    /// Whether it matches anywhere. Giving up is no match.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.0 {
            Engine::Linear(regex) => regex.is_match(text),
            Engine::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// The first match with its groups, or that it is not known whether there is one.
    pub fn find(&self, text: &[u8]) -> Result<Option<Groups>, GaveUp> {
        match &self.0 {
            Engine::Linear(_) => Ok(self.groups_at(text, 0)),
            Engine::Backtracking(regex) => match regex.is_match(text) {
                Ok(true) => Ok(self.groups_at(text, 0)),
                Ok(false) => Ok(None),
                Err(_) => Err(GaveUp),
            },
        }
    }

    /// The first match from a place on, with its groups; the first group is
    /// the match itself.
    pub fn groups_at(&self, text: &[u8], from: usize) -> Option<Groups> {
        let mut groups: Groups = [None; GROUPS_MAX];
        match &self.0 {
            Engine::Linear(regex) => {
                let found = regex.captures_at(text, from)?;
                for (n, group) in groups.iter_mut().enumerate().take(found.len()) {
                    *group = found.get(n).map(|m| (m.start(), m.end()));
                }
            }
            Engine::Backtracking(regex) => {
                let found = regex.captures_from_pos(text, from).ok()??;
                for (n, group) in groups.iter_mut().enumerate().take(found.len()) {
                    *group = found.get(n).map(|m| (m.start(), m.end()));
                }
            }
        }
        Some(groups)
    }
}

/// Replaces the first match (or all of them) by a text in which `\0` to `\9`
/// stand for groups. None where nothing matches.
pub fn substitute(
    regular: &Regular,
    text: &[u8],
    replacement: &[u8],
    all: bool,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + replacement.len());
    let mut copied = 0;
    let mut from = 0;
    let mut any = false;
    while from <= text.len() {
        let Some(groups) = regular.groups_at(text, from) else {
            break;
        };
        let Some((start, end)) = groups[0] else { break };
        any = true;
        out.extend_from_slice(&text[copied..start]);
        expand(&mut out, text, replacement, &groups);
        copied = end;
        if out.len() > SUBSTITUTED_MAX {
            out.truncate(SUBSTITUTED_MAX);
            return Some(out);
        }
        // An empty match lets one byte pass, so that the loop ends.
        from = if end == start { end + 1 } else { end };
        if !all {
            break;
        }
    }
    out.extend_from_slice(&text[copied..]);
    out.truncate(SUBSTITUTED_MAX.max(text.len()));
    any.then_some(out)
}

/// Appends a replacement with its groups filled in.
pub fn expand(out: &mut Vec<u8>, text: &[u8], replacement: &[u8], groups: &Groups) {
    let mut bytes = replacement.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => {
                if let Some((start, end)) = groups[usize::from(digit - b'0')] {
                    out.extend_from_slice(&text[start..end]);
                }
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(pattern: &str, text: &str, replacement: &str, all: bool) -> Option<String> {
        let regular = Regular::new(pattern.as_bytes(), false).unwrap();
        let out = substitute(&regular, text.as_bytes(), replacement.as_bytes(), all)?;
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn substitution_fills_groups_in() {
        assert_eq!(
            sub("(a)(/)", "/a/b", "\\2\\1\\0", false).as_deref(),
            Some("//aa/b")
        );
        assert_eq!(sub("/", "/a/b", "-", true).as_deref(), Some("-a-b"));
        assert_eq!(sub("b*", "aaa", "-", true).as_deref(), Some("-a-a-a-"));
        assert_eq!(sub("x", "aaa", "-", true), None);
    }

    #[test]
    fn what_a_substitution_makes_is_bounded() {
        // Each place looks at all that follows.
        let text = "a".repeat(16_000);
        let long = sub("(?=(.*))", &text, "\\1", true);
        assert!(long.is_none_or(|long| long.len() <= 1 << 20));
    }

    #[test]
    fn look_around_works_by_the_other_engine_also_on_bytes_that_are_no_text() {
        assert_eq!(sub("a(?!b)", "abac", "-", false).as_deref(), Some("ab-c"));
        let regular = Regular::new(b"(?<=/)x(.)", false).unwrap();
        let groups = regular.groups_at(b"\xff\xfe/x\xfd!", 0).unwrap();
        assert_eq!((groups[0], groups[1]), (Some((3, 5)), Some((4, 5))));
    }

    #[test]
    fn a_hostile_pattern_gives_up() {
        let regular = Regular::new(b"(?=(a+)+$)(a+)+$", false).unwrap();
        assert!(!regular.is_match(&[b"a".repeat(40), b"b".to_vec()].concat()));
    }

    #[test]
    fn what_neither_engine_takes_says_why() {
        let error = Regular::new(b"(", false).unwrap_err();
        let diagnostic = error.diagnostic(Span::default(), b"(");
        assert!(
            diagnostic.label.contains("unclosed"),
            "{}",
            diagnostic.label
        );
    }
}
