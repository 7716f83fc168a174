//! Compiles and matches regular expressions in the syntax of PCRE2, over bytes. A truly regular
//! expression is matched in linear time. Expressions that need backtracking (look-around,
//! back-references) have a limit on their steps.

use crate::codes::expression as codes;
use language::{Diagnostic, Span};
pub use pcre::LimitExceeded;
use pcre::{Program, Search, Syntax, SyntaxErrorReason, Tree};
use std::sync::{Arc, OnceLock};

/// Number of captures that a substitution can name: `\0` to `\9`.
pub const GROUPS_MAX: usize = 10;
/// Number of steps after which a match by backtracking is given up and counts as no match: some
/// milliseconds. Without back-references and recursive calls, a match tries no position twice and
/// needs no such limit.
const STEPS_MAX: usize = 1_000_000;
/// Limit of steps for rules that match each line of a message. Lower, because there are many lines
/// and many rules.
const LINE_STEPS_MAX: usize = 100_000;
/// Size after which a substitution ends and omits the rest, in bytes.
const SUBSTITUTED_MAX: usize = 256 << 10;
/// Maximum size of one compiled expression in memory, in bytes.
const COMPILED_SIZE_MAX: usize = 16 << 20;

/// Compiled regular expression. Clones share it.
#[derive(Clone, Debug)]
pub struct Regular(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    pattern: Box<[u8]>,
    linear: Option<Linear>,
    /// Syntax tree; None if the linear engine can always match the expression.
    tree: Option<Tree>,
    /// Backtracking program, compiled at its first use. An inner None means that it is too large.
    program: OnceLock<Option<Program>>,
    steps_max: usize,
    utf: bool,
}

#[derive(Debug)]
struct Linear {
    regex: regex::bytes::Regex,
    has_line_end: bool,
    has_line_start: bool,
}

/// Reason why a regular expression is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegularError {
    reason: SyntaxErrorReason,
    /// Offset of the error in the pattern, in bytes.
    offset: Option<usize>,
}

impl RegularError {
    pub fn diagnostic(&self, span: Span, pattern: &[u8]) -> Diagnostic {
        let text = String::from_utf8_lossy(pattern);
        let diagnostic = Diagnostic::error(
            &codes::BAD_REGEX,
            span,
            format!("regex '{text}' is invalid"),
        );
        diagnostic.label(self.to_string())
    }
}

impl std::fmt::Display for RegularError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)?;
        match self.offset {
            Some(offset) => write!(f, " (byte {offset} of the expression)"),
            None => Ok(()),
        }
    }
}

/// Ranges of a match and of its groups.
pub type Groups = [Option<(usize, usize)>; GROUPS_MAX];

impl Regular {
    /// Compiles an expression in the syntax of PCRE2.
    ///
    /// # Errors
    /// The syntax is invalid or not supported, or the expression is too large.
    pub fn new(pattern: &[u8], ignore_case: bool) -> Result<Self, RegularError> {
        let syntax = Syntax {
            ignore_case,
            lenient: false,
        };
        Self::compile(pattern, syntax, STEPS_MAX)
    }

    /// Compiles an expression that PCRE2 refuses, as earlier releases of Evenkeel did, which used
    /// the syntax of the linear engine. Returns None if the linear engine refuses the expression,
    /// too.
    pub fn of_earlier_program(pattern: &[u8], ignore_case: bool) -> Option<Self> {
        let regex = regex::bytes::RegexBuilder::new(std::str::from_utf8(pattern).ok()?)
            .unicode(false)
            .case_insensitive(ignore_case)
            .size_limit(COMPILED_SIZE_MAX)
            .build()
            .ok()?;
        let linear = Linear {
            regex,
            has_line_end: false,
            has_line_start: false,
        };
        Some(Regular(Arc::new(Compiled {
            pattern: pattern.into(),
            tree: None,
            linear: Some(linear),
            program: OnceLock::new(),
            steps_max: STEPS_MAX,
            utf: false,
        })))
    }

    /// Returns the same expression with case ignored.
    ///
    /// # Errors
    /// The expression cannot be compiled with case ignored, for example because it is then too
    /// large.
    pub fn ignoring_case(&self) -> Result<Self, RegularError> {
        let pattern = self.pattern();
        Regular::new(pattern, true).or_else(|error| {
            // If PCRE2 refuses the expression, it was compiled in the syntax of the linear engine.
            let is_earlier = Regular::new(pattern, false).is_err();
            let earlier = is_earlier.then(|| Regular::of_earlier_program(pattern, true));
            earlier.flatten().ok_or(error)
        })
    }

    /// Compiles an expression of a HAProxy 1.x rule, which is matched with each line of a message.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::new`].
    pub fn of_line(pattern: &[u8], ignore_case: bool) -> Result<Self, RegularError> {
        let syntax = Syntax {
            ignore_case,
            lenient: true,
        };
        Self::compile(pattern, syntax, LINE_STEPS_MAX)
    }

    fn compile(pattern: &[u8], syntax: Syntax, steps_max: usize) -> Result<Self, RegularError> {
        let tree = pcre::parse(pattern, syntax).map_err(|error| RegularError {
            reason: error.reason,
            offset: Some(error.offset),
        })?;
        let linear = pcre::linear(&tree).and_then(|linear| {
            // Returns None for an expression that is too large for the linear engine; the
            // backtracking engine then matches it.
            let regex = regex::bytes::RegexBuilder::new(&linear.pattern)
                .unicode(tree.utf)
                .size_limit(COMPILED_SIZE_MAX)
                .build()
                .ok()?;
            Some(Linear {
                regex,
                has_line_end: linear.has_line_end,
                has_line_start: linear.has_line_start,
            })
        });
        let program = OnceLock::new();
        if linear.is_none() {
            let made = Program::new(&tree).map_err(|reason| RegularError {
                reason,
                offset: None,
            })?;
            let _ = program.set(Some(made));
        }
        let utf = tree.utf;
        let needed = linear
            .as_ref()
            .is_some_and(|linear| linear.has_line_end || linear.has_line_start);
        Ok(Regular(Arc::new(Compiled {
            pattern: pattern.into(),
            tree: needed.then_some(tree),
            linear,
            program,
            steps_max,
            utf,
        })))
    }

    pub fn pattern(&self) -> &[u8] {
        &self.0.pattern
    }

    /// Returns whether the expression matches anywhere in a text. A match that was given up counts
    /// as none.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match self.engine(text, false) {
            Engine::Linear(regex) => regex.is_match(text),
            Engine::Backtracking(program) => self
                .search(program, text, false)
                .is_ok_and(|found| found.is_some()),
            Engine::None => false,
        }
    }

    /// Returns the first match with its groups.
    ///
    /// # Errors
    /// The backtracking engine exceeded its limit of steps or memory.
    pub fn find(&self, text: &[u8]) -> Result<Option<Groups>, LimitExceeded> {
        self.find_in(text, false)
    }

    /// Returns the first match with its groups; group 0 is the match itself. A match that was
    /// given up counts as none.
    pub fn groups(&self, text: &[u8]) -> Option<Groups> {
        self.find(text).ok()?
    }

    /// Returns the first match with its groups. With `inner`, the text is the rest of a longer
    /// text, so that `^` does not match at its start.
    fn find_in(&self, text: &[u8], inner: bool) -> Result<Option<Groups>, LimitExceeded> {
        let mut groups: Groups = [None; GROUPS_MAX];
        match self.engine(text, inner) {
            Engine::Linear(regex) => {
                let Some(found) = regex.captures(text) else {
                    return Ok(None);
                };
                for (n, group) in groups.iter_mut().enumerate().take(found.len()) {
                    *group = found.get(n).map(|m| (m.start(), m.end()));
                }
            }
            Engine::Backtracking(program) => {
                let Some(found) = self.search(program, text, inner)? else {
                    return Ok(None);
                };
                for (group, ends) in groups.iter_mut().zip(found.chunks_exact(2)) {
                    // Limits the start of the match to its end, because `\K` can move the start
                    // past the end.
                    *group = (ends[1] != usize::MAX).then(|| (ends[0].min(ends[1]), ends[1]));
                }
            }
            Engine::None => return Ok(None),
        }
        Ok(Some(groups))
    }

    fn search(
        &self,
        program: &Program,
        text: &[u8],
        inner: bool,
    ) -> Result<Option<Vec<usize>>, LimitExceeded> {
        let search = Search {
            not_line_start: inner,
            steps_max: self.0.steps_max,
        };
        program.find(text, search)
    }

    /// Returns the engine that matches the expression in this text.
    fn engine(&self, text: &[u8], inner: bool) -> Engine<'_> {
        let linear = match &self.0.linear {
            Some(linear) => {
                let by_program = (linear.has_line_end && text.ends_with(b"\n"))
                    || (linear.has_line_start && inner);
                if !by_program {
                    return if self.0.utf && std::str::from_utf8(text).is_err() {
                        Engine::None
                    } else {
                        Engine::Linear(&linear.regex)
                    };
                }
                Some(&linear.regex)
            }
            None => None,
        };
        let program = self.0.program.get_or_init(|| {
            self.0
                .tree
                .as_ref()
                .and_then(|tree| Program::new(tree).ok())
        });
        match (program, linear) {
            (Some(program), _) => Engine::Backtracking(program),
            // Uses the linear engine if the backtracking program would be too large. A newline at
            // the end of the text is then treated like any other character.
            (None, Some(regex)) => Engine::Linear(regex),
            (None, None) => Engine::None,
        }
    }
}

enum Engine<'r> {
    Linear(&'r regex::bytes::Regex),
    Backtracking(&'r Program),
    /// The expression cannot match: it requires UTF-8 and the text is not UTF-8, or it is too large
    /// for both engines.
    None,
}

/// Replaces the first match, or every match, by a text in which `\0` to `\9` stand for groups.
/// Each further match is searched for after the previous one. Returns None if nothing matches.
pub fn substitute(
    regular: &Regular,
    text: &[u8],
    replacement: &[u8],
    all: bool,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + replacement.len());
    let mut rest = text;
    let mut any = false;
    while let Ok(Some(groups)) = regular.find_in(rest, any) {
        let Some((start, end)) = groups[0] else { break };
        any = true;
        out.extend_from_slice(&rest[..start]);
        expand(&mut out, rest, replacement, &groups);
        let ended = rest.is_empty();
        rest = &rest[end..];
        if out.len() > SUBSTITUTED_MAX {
            out.truncate(SUBSTITUTED_MAX);
            return Some(out);
        }
        if !all || ended {
            break;
        }
        // Copies one byte after an empty match at the start, so that the loop ends.
        if end == 0 {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest);
    out.truncate(SUBSTITUTED_MAX.max(text.len()));
    any.then_some(out)
}

/// Appends a replacement with its groups inserted.
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
    fn global_substitution_restarts_behind_each_match() {
        // The results are those of `regsub` of HAProxy 2.6.12 with the flag g.
        for (pattern, text, expected) in [
            (r"\b.", "xx", "XX"),
            ("(?=b)", "abab", "aXXbaXXb"),
            ("^a", "aaa", "Xaa"),
            (r"\Aa", "aaa", "XXX"),
            ("(?<=a)b", "aab", "aaX"),
            ("x*", "abxc", "XaXbXXcX"),
            ("(?<=a)b", "ababab", "aXaXaX"),
            ("$", "abc", "abcXX"),
            (r"a\Kb", "abcab", "aXcaX"),
            (r"\B", "ab", "aXb"),
        ] {
            let found = sub(pattern, text, "X", true);
            assert_eq!(found.as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn what_a_substitution_makes_is_bounded() {
        // The look-ahead at each position reads the rest of the text.
        let text = "a".repeat(16_000);
        let long = sub("(?=(.*))", &text, "\\1", true);
        assert!(long.is_none_or(|long| long.len() <= 1 << 20));
    }

    #[test]
    fn look_around_works_by_the_other_engine_also_on_bytes_that_are_no_text() {
        assert_eq!(sub("a(?!b)", "abac", "-", false).as_deref(), Some("ab-c"));
        let regular = Regular::new(b"(?<=/)x(.)", false).unwrap();
        let groups = regular.groups(b"\xff\xfe/x\xfd!").unwrap();
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
            diagnostic
                .label
                .contains("a closing parenthesis is missing"),
            "{}",
            diagnostic.label
        );
    }

    #[test]
    fn patterns_of_line_rules_are_lenient() {
        let rows: &[(&[u8], &[u8], bool)] = &[
            (b"^[^\\ ]*\\ /", b"GET /x", true),
            (b"a{", b"a{", true),
            (b"a}", b"a}", true),
            (b"^a{2}$", b"aa", true),
            (b"{x}", b"{x}", true),
            (b"[[]", b"[", true),
            (b"[]a]", b"]", true),
            (b"[^]a]", b"]", false),
            (b"[a&&b]", b"&", true),
            (b"[[:space:]]x", b"\tx", true),
            (b"\\y", b"y", true),
            (b"\\/\\-\\_\\ \\:", b"/-_ :", true),
            (b"a\\{b", b"a{b", true),
            (b"\xe9t\xe9", b"\xe9t\xe9", true),
            (b"[\xe9]", b"\xe9", true),
        ];
        for (pattern, text, expected) in rows {
            let regular = Regular::of_line(pattern, false).unwrap();
            let shown = String::from_utf8_lossy(pattern);
            assert_eq!(regular.is_match(text), *expected, "{shown}");
        }
    }
}
