//! Parses PCRE2 syntax (10.42, pcre2pattern(3)) into a tree.

mod class;
mod escape;
mod group;

use super::set::{BYTE_MAX, POINT_MAX, Set, property};
use super::tree::{Assertion, Greed, LookAround, Newline, PatternNode, Repeat, Tree};

/// Maximum nesting of groups in a pattern, as in PCRE2.
const DEPTH_MAX: usize = 250;
/// Maximum characters in a group's name, as in PCRE2.
const NAME_MAX: usize = 32;
/// Maximum count in a quantifier, as in PCRE2.
const REPEAT_MAX: u32 = 65_535;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syntax {
    pub ignore_case: bool,
    /// A letter without a special meaning after a backslash matches itself, as in HAProxy 1.x.
    pub lenient: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// The byte offset in the pattern at which the error was found.
    pub offset: usize,
    pub reason: SyntaxErrorReason,
}

/// The error in a pattern. Display is text for the author of the pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyntaxErrorReason {
    /// A reference to a group that the pattern does not have: its number, or its name in quotes.
    NoSuchGroup(String),
    Other(String),
}

impl std::fmt::Display for SyntaxErrorReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyntaxErrorReason::NoSuchGroup(group) => write!(f, "there is no group {group}"),
            SyntaxErrorReason::Other(text) => f.write_str(text),
        }
    }
}

/// The options of a pattern that `(?imsnxJU)` changes.
#[derive(Clone, Copy)]
struct Options {
    ignore_case: bool,
    multi_line: bool,
    dot_all: bool,
    no_capture: bool,
    extended: bool,
    extended_more: bool,
    duplicate_names: bool,
    ungreedy: bool,
}

/// The results of the first pass over a pattern, which the second pass needs to resolve references
/// to later groups.
#[derive(Default)]
struct GroupTable {
    groups: u32,
    names: Vec<(String, u32)>,
}

/// Settings made by `(*UTF)` and similar items at the start of a pattern.
#[derive(Clone, Copy)]
struct Settings {
    utf: bool,
    ucp: bool,
    newline: Newline,
    /// `\R` matches CR, LF and CRLF only.
    breaks_are_crlf: bool,
    not_empty: bool,
    not_empty_at_start: bool,
}

struct Parser<'p> {
    pattern: &'p [u8],
    at: usize,
    options: Options,
    lenient: bool,
    settings: Settings,
    has_newline_literal: bool,
    groups: u32,
    names: Vec<(String, u32)>,
    /// `None` in the first pass.
    known: Option<GroupTable>,
    depth: usize,
    quoting: bool,
    looks: usize,
}

enum ParsedItem {
    Node(PatternNode),
    /// No quantifier may follow: an assertion, a verb or an option.
    Fixed(PatternNode),
    /// Two nodes; a quantifier applies to the second.
    Pair(PatternNode, PatternNode),
    /// A comment; a quantifier applies to the node before it.
    Ignored,
}

type Parsed<T> = Result<T, SyntaxError>;

/// Parses a pattern into a tree.
///
/// # Errors
/// Fails if the pattern violates PCRE2's syntax, uses an unsupported feature, or exceeds a limit.
/// The error has the offset in the pattern.
pub fn parse(pattern: &[u8], syntax: Syntax) -> Parsed<Tree> {
    let mut first = Parser::new(pattern, syntax, None)?;
    first.parse_pattern()?;
    let known = GroupTable {
        groups: first.groups,
        names: first.names,
    };
    let mut parser = Parser::new(pattern, syntax, Some(known))?;
    let root = parser.parse_pattern()?;
    let word = if parser.settings.ucp {
        parser.property_set("xwd")
    } else {
        word()
    };
    Ok(Tree {
        root,
        utf: parser.settings.utf,
        newline: parser.settings.newline,
        has_newline_literal: parser.has_newline_literal,
        not_empty: parser.settings.not_empty,
        not_empty_at_start: parser.settings.not_empty_at_start,
        word,
        groups: parser.groups,
    })
}

fn digits() -> Set {
    Set::from_ranges(&[(0x30, 0x39)])
}

fn word() -> Set {
    Set::from_ranges(&[(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)])
}

fn space() -> Set {
    Set::from_ranges(&[(9, 13), (32, 32)])
}

fn horizontal_space() -> Set {
    Set::from_ranges(&[
        (0x09, 0x09),
        (0x20, 0x20),
        (0xa0, 0xa0),
        (0x1680, 0x1680),
        (0x180e, 0x180e),
        (0x2000, 0x200a),
        (0x202f, 0x202f),
        (0x205f, 0x205f),
        (0x3000, 0x3000),
    ])
}

fn vertical_space() -> Set {
    Set::from_ranges(&[(0x0a, 0x0d), (0x85, 0x85), (0x2028, 0x2029)])
}

impl<'p> Parser<'p> {
    fn new(pattern: &'p [u8], syntax: Syntax, known: Option<GroupTable>) -> Parsed<Self> {
        let mut parser = Parser {
            pattern,
            at: 0,
            options: Options {
                ignore_case: syntax.ignore_case,
                multi_line: false,
                dot_all: false,
                no_capture: false,
                extended: false,
                extended_more: false,
                duplicate_names: false,
                ungreedy: false,
            },
            lenient: syntax.lenient,
            settings: Settings {
                utf: false,
                ucp: false,
                newline: Newline::Lf,
                breaks_are_crlf: false,
                not_empty: false,
                not_empty_at_start: false,
            },
            has_newline_literal: false,
            groups: 0,
            names: Vec::new(),
            known,
            depth: 0,
            quoting: false,
            looks: 0,
        };
        parser.read_settings();
        if parser.settings.utf
            && let Err(error) = std::str::from_utf8(pattern)
        {
            parser.at = error.valid_up_to();
            return parser.syntax_error("(*UTF) requires a pattern in UTF-8");
        }
        Ok(parser)
    }

    fn parse_pattern(&mut self) -> Parsed<PatternNode> {
        let root = self.alternatives()?;
        match self.peek() {
            None => Ok(root),
            Some(_) => self.syntax_error("this parenthesis closes no group"),
        }
    }

    fn syntax_error<T>(&self, text: impl Into<String>) -> Parsed<T> {
        Err(SyntaxError {
            offset: self.at.min(self.pattern.len()),
            reason: SyntaxErrorReason::Other(text.into()),
        })
    }

    fn missing_group_error<T>(&self, group: impl Into<String>) -> Parsed<T> {
        Err(SyntaxError {
            offset: self.at,
            reason: SyntaxErrorReason::NoSuchGroup(group.into()),
        })
    }

    fn rest(&self) -> &'p [u8] {
        &self.pattern[self.at.min(self.pattern.len())..]
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn consume_text(&mut self, text: &[u8]) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn char(&mut self) -> Option<u32> {
        let byte = self.peek()?;
        if !self.settings.utf || byte.is_ascii() {
            self.at += 1;
            return Some(u32::from(byte));
        }
        let text = std::str::from_utf8(self.rest()).ok()?;
        let char = text.chars().next()?;
        self.at += char.len_utf8();
        Some(u32::from(char))
    }

    fn max(&self) -> u32 {
        if self.settings.utf {
            POINT_MAX
        } else {
            BYTE_MAX
        }
    }

    fn clipped(&self, set: Set) -> Set {
        set.clipped(self.max())
    }

    fn property_set(&self, name: &str) -> Set {
        self.clipped(property(name).unwrap_or_default())
    }

    /// Parses `(*UTF)` and similar items at the very start.
    fn read_settings(&mut self) {
        loop {
            let rest = self.rest();
            let Some(inner) = rest.strip_prefix(b"(*") else {
                return;
            };
            let Some(end) = inner.iter().position(|b| *b == b')') else {
                return;
            };
            let limit = |name: &[u8]| {
                inner[..end]
                    .strip_prefix(name)
                    .is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
            };
            match &inner[..end] {
                b"UTF" | b"UTF8" => self.settings.utf = true,
                b"UCP" => self.settings.ucp = true,
                b"CR" => self.settings.newline = Newline::Cr,
                b"LF" => self.settings.newline = Newline::Lf,
                b"CRLF" => self.settings.newline = Newline::CrLf,
                b"ANYCRLF" => self.settings.newline = Newline::AnyCrLf,
                b"ANY" => self.settings.newline = Newline::Any,
                b"NUL" => self.settings.newline = Newline::Nul,
                b"BSR_ANYCRLF" => self.settings.breaks_are_crlf = true,
                b"BSR_UNICODE" => self.settings.breaks_are_crlf = false,
                b"NOTEMPTY" => self.settings.not_empty = true,
                b"NOTEMPTY_ATSTART" => self.settings.not_empty_at_start = true,
                // Optimizer settings and limits of PCRE2 are ignored. The limits of this matcher
                // are stricter.
                b"NO_JIT" | b"NO_START_OPT" | b"NO_AUTO_POSSESS" | b"NO_DOTSTAR_ANCHOR" => {}
                _ if limit(b"LIMIT_MATCH=")
                    || limit(b"LIMIT_DEPTH=")
                    || limit(b"LIMIT_RECURSION=")
                    || limit(b"LIMIT_HEAP=") => {}
                _ => return,
            }
            self.at += 2 + end + 1;
        }
    }

    /// Parses alternatives up to a closing parenthesis or the end.
    fn alternatives(&mut self) -> Parsed<PatternNode> {
        Ok(match self.branches(false)? {
            mut branches if branches.len() == 1 => branches.remove(0),
            branches => PatternNode::Alternate(branches),
        })
    }

    /// Parses alternatives as a list. With `reset`, each one numbers its groups from the same
    /// start.
    fn branches(&mut self, reset: bool) -> Parsed<Vec<PatternNode>> {
        if self.depth > DEPTH_MAX {
            return self.syntax_error("parentheses are nested too deeply");
        }
        self.depth += 1;
        let outer = self.options;
        let start = self.groups;
        let mut highest = start;
        let mut branches = Vec::new();
        loop {
            branches.push(self.sequence()?);
            highest = highest.max(self.groups);
            if self.quoting || !self.consume_text(b"|") {
                break;
            }
            if reset {
                self.groups = start;
            }
        }
        self.groups = highest;
        self.options = outer;
        self.depth -= 1;
        Ok(branches)
    }

    fn sequence(&mut self) -> Parsed<PatternNode> {
        let mut list: Vec<PatternNode> = Vec::new();
        // True if a quantifier may follow.
        let mut repeatable = false;
        loop {
            if !self.quoting {
                if self.options.extended {
                    self.skip_blanks();
                }
                if matches!(self.peek(), None | Some(b'|' | b')')) {
                    break;
                }
                if let Some((min, max)) = self.quantifier()? {
                    let greed = self.greed();
                    let Some(node) = repeatable.then(|| list.pop()).flatten() else {
                        return self
                            .syntax_error("this quantifier follows nothing that it can repeat");
                    };
                    list.push(repeat(node, min, max, greed));
                    repeatable = false;
                    continue;
                }
            } else if self.peek().is_none() {
                break;
            }
            match self.item()? {
                ParsedItem::Node(node) => {
                    list.push(node);
                    repeatable = true;
                }
                ParsedItem::Fixed(node) => {
                    list.push(node);
                    repeatable = false;
                }
                ParsedItem::Pair(first, second) => {
                    list.extend([first, second]);
                    repeatable = true;
                }
                ParsedItem::Ignored => {}
            }
        }
        Ok(match list.len() {
            0 => PatternNode::Empty,
            1 => list.remove(0),
            _ => PatternNode::Concat(list),
        })
    }

    /// Skips the blanks and comments that `(?x)` allows.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t'..=b'\r') => self.at += 1,
                Some(b'#') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        while self.at < self.pattern.len() {
            let rest = self.rest();
            let length = newline_length(rest, self.settings.newline, self.settings.utf);
            self.at += length.max(1);
            if length > 0 {
                return;
            }
        }
    }

    /// Parses a quantifier at this position. `{,3}` is not a quantifier.
    fn quantifier(&mut self) -> Parsed<Option<(u32, Option<u32>)>> {
        let found = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return self.braces(),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(found))
    }

    fn braces(&mut self) -> Parsed<Option<(u32, Option<u32>)>> {
        let Some(Braces {
            first,
            last,
            length,
        }) = brace_quantifier(self.rest())
        else {
            return Ok(None);
        };
        let number = |digits: &[u8]| {
            let value = digits
                .iter()
                .try_fold(0u32, |value, digit| {
                    value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
                })
                .filter(|value| *value <= REPEAT_MAX);
            value.map_or_else(
                || self.syntax_error(format!("a quantifier repeats at most {REPEAT_MAX} times")),
                Ok,
            )
        };
        let min = number(first)?;
        let max = match last {
            None => Some(min),
            Some([]) => None,
            Some(digits) => Some(number(digits)?),
        };
        if max.is_some_and(|max| max < min) {
            return self.syntax_error("the numbers of this quantifier are in the wrong order");
        }
        self.at += length;
        Ok(Some((min, max)))
    }

    /// Parses the suffix of a quantifier, which may follow a comment.
    fn greed(&mut self) -> Greed {
        loop {
            if self.options.extended {
                self.skip_blanks();
            }
            let rest = self.rest();
            let comment = match rest.strip_prefix(b"(?#") {
                Some(inner) => inner.iter().position(|b| *b == b')').map(|end| end + 4),
                None => None,
            };
            match comment {
                Some(length) => self.at += length,
                None if self.consume_text(b"\\E") || self.consume_text(b"\\Q\\E") => {}
                None => break,
            }
        }
        if self.consume_text(b"+") {
            Greed::Possessive
        } else if self.consume_text(b"?") != self.options.ungreedy {
            Greed::Lazy
        } else {
            Greed::Greedy
        }
    }

    fn item(&mut self) -> Parsed<ParsedItem> {
        if self.quoting {
            if self.consume_text(b"\\E") {
                self.quoting = false;
                return Ok(ParsedItem::Ignored);
            }
            return Ok(self.literal());
        }
        let Some(byte) = self.peek() else {
            return Ok(ParsedItem::Ignored);
        };
        match byte {
            b'\\' => self.escape(),
            b'[' => {
                for edge in [&b"[[:<:]]"[..], b"[[:>:]]"] {
                    if self.consume_text(edge) {
                        return Ok(self.word_edge(edge[3] == b'<'));
                    }
                }
                self.class().map(ParsedItem::Node)
            }
            b'(' => self.parenthesis(),
            b'.' => {
                self.at += 1;
                Ok(ParsedItem::Node(self.dot(self.options.dot_all)))
            }
            b'^' => {
                self.at += 1;
                Ok(ParsedItem::Fixed(PatternNode::Assert(
                    if self.options.multi_line {
                        Assertion::LineStart
                    } else {
                        Assertion::LineOrSubjectStart
                    },
                )))
            }
            b'$' => {
                self.at += 1;
                Ok(ParsedItem::Fixed(PatternNode::Assert(
                    if self.options.multi_line {
                        Assertion::LineEnd
                    } else {
                        Assertion::FinalLineEnd
                    },
                )))
            }
            _ => Ok(self.literal()),
        }
    }

    fn literal(&mut self) -> ParsedItem {
        match self.char() {
            Some(char) => ParsedItem::Node(self.character(char)),
            None => ParsedItem::Ignored,
        }
    }

    fn character(&mut self, char: u32) -> PatternNode {
        if char == 0x0a || char == 0x0d {
            self.has_newline_literal = true;
        }
        if !self.options.ignore_case {
            return PatternNode::Char(char);
        }
        let set = Set::from_ranges(&[(char, char)])
            .folded(self.settings.utf || self.settings.ucp, self.max());
        match set.ranges() {
            [(first, last)] if first == last => PatternNode::Char(char),
            _ => PatternNode::Set(set),
        }
    }

    fn dot(&self, all: bool) -> PatternNode {
        let max = self.max();
        let but = |set: Set| PatternNode::Set(self.clipped(set).negated(max));
        if all {
            return but(Set::default());
        }
        match self.settings.newline {
            Newline::Lf => but(Set::bytes(b"\n")),
            Newline::Cr => but(Set::bytes(b"\r")),
            Newline::Nul => but(Set::bytes(b"\0")),
            Newline::AnyCrLf => but(Set::bytes(b"\r\n")),
            Newline::Any => but(vertical_space()),
            Newline::CrLf => PatternNode::Concat(vec![
                PatternNode::Look(Box::new(LookAround {
                    ahead: true,
                    negated: true,
                    reenters: false,
                    node: PatternNode::Concat(vec![
                        PatternNode::Char(0x0d),
                        PatternNode::Char(0x0a),
                    ]),
                })),
                but(Set::default()),
            ]),
        }
    }

    /// Returns the node of `\R`.
    fn line_break(&self) -> PatternNode {
        let single = if self.settings.breaks_are_crlf {
            Set::bytes(b"\r\n")
        } else {
            self.clipped(vertical_space())
        };
        crlf_or(single)
    }
}

fn crlf_or(single: Set) -> PatternNode {
    PatternNode::Atomic(Box::new(PatternNode::Alternate(vec![
        PatternNode::Concat(vec![PatternNode::Char(0x0d), PatternNode::Char(0x0a)]),
        PatternNode::Set(single),
    ])))
}

fn repeat(node: PatternNode, min: u32, max: Option<u32>, greed: Greed) -> PatternNode {
    let (min, max) = match node {
        // A look-around does not move the position, so one iteration is enough.
        PatternNode::Look(_) => (min.min(1), Some(max.map_or(1, |max| max.min(1)))),
        _ => (min, max),
    };
    match (min, max) {
        (1, Some(1)) if greed != Greed::Possessive => node,
        _ => PatternNode::Repeat(Box::new(Repeat {
            node,
            min,
            max,
            greed,
        })),
    }
}

/// A quantifier in braces: its digits and its length.
struct Braces<'p> {
    first: &'p [u8],
    last: Option<&'p [u8]>,
    length: usize,
}

/// Parses `{2}`, `{2,}` and `{2,3}`.
fn brace_quantifier(rest: &[u8]) -> Option<Braces<'_>> {
    let inner = rest.strip_prefix(b"{")?;
    let end = inner.iter().position(|b| *b == b'}')?;
    let inner = &inner[..end];
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let (first, last) = match inner.iter().position(|b| *b == b',') {
        None => (inner, None),
        Some(comma) => (&inner[..comma], Some(&inner[comma + 1..])),
    };
    let valid = !first.is_empty() && digits(first) && last.is_none_or(digits);
    valid.then_some(Braces {
        first,
        last,
        length: end + 2,
    })
}

/// Returns the length of a newline at the start of a text; 0 if there is none.
pub(super) fn newline_length(rest: &[u8], newline: Newline, utf: bool) -> usize {
    match (newline, rest) {
        (Newline::Lf, [b'\n', ..]) | (Newline::Cr, [b'\r', ..]) | (Newline::Nul, [0, ..]) => 1,
        (Newline::CrLf | Newline::AnyCrLf | Newline::Any, [b'\r', b'\n', ..]) => 2,
        (Newline::AnyCrLf | Newline::Any, [b'\r' | b'\n', ..]) => 1,
        (Newline::Any, [0x0b | 0x0c, ..]) => 1,
        (Newline::Any, [0x85, ..]) if !utf => 1,
        (Newline::Any, [0xc2, 0x85, ..]) if utf => 2,
        (Newline::Any, [0xe2, 0x80, 0xa8 | 0xa9, ..]) if utf => 3,
        _ => 0,
    }
}
