//! Represents a PCRE2 pattern as a tree. Case, modes and names are resolved, so no node depends on
//! the options around it.

use super::set::Set;

/// The newlines that `.`, `^` and `$` recognise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Newline {
    Lf,
    Cr,
    CrLf,
    AnyCrLf,
    Any,
    Nul,
}

/// A pattern and the settings that apply to the whole pattern.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) root: PatternNode,
    /// Characters are code points and the subject has to be UTF-8; otherwise they are bytes.
    pub utf: bool,
    pub(crate) newline: Newline,
    /// The pattern contains a literal carriage return or line feed, so a search does not skip the
    /// second half of a CRLF.
    pub(crate) has_newline_literal: bool,
    /// `(*NOTEMPTY)`: an empty match is not allowed.
    pub(crate) not_empty: bool,
    /// `(*NOTEMPTY_ATSTART)`: an empty match at the start of the search is not allowed.
    pub(crate) not_empty_at_start: bool,
    /// Word characters for `\b` and `\B`.
    pub(crate) word: Set,
    /// Number of capturing groups, without the whole match.
    pub(crate) groups: u32,
}

#[derive(Clone, Debug)]
pub enum PatternNode {
    Empty,
    Char(u32),
    Set(Set),
    /// `\C`, which matches one byte also within UTF-8.
    AnyByte,
    Assert(Assertion),
    /// `\K`: the reported match starts here.
    KeepOut,
    Group(u32, Box<PatternNode>),
    Concat(Vec<PatternNode>),
    Alternate(Vec<PatternNode>),
    Repeat(Box<Repeat>),
    Atomic(Box<PatternNode>),
    Look(Box<LookAround>),
    /// A reference to the first of these groups that is set.
    BackReference {
        groups: Vec<u32>,
        ignore_case: bool,
    },
    /// A group called as a subroutine; 0 is the whole pattern.
    Call(u32),
    Conditional(Box<Conditional>),
    Verb(Verb),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assertion {
    /// `\A`, the start of the subject.
    SubjectStart,
    /// `^`, which does not match at the start of the text when that is not the start of a line.
    LineOrSubjectStart,
    /// `^` with `(?m)`, the start of a line.
    LineStart,
    /// `\z`, the end of the subject.
    SubjectEnd,
    /// `$` and `\Z`, which also match before a newline that ends the subject.
    FinalLineEnd,
    /// `$` with `(?m)`, the end of a line.
    LineEnd,
    /// `\G`, the start of the search.
    SearchStart,
    WordBoundary,
    NotWordBoundary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Debug)]
pub struct Repeat {
    pub node: PatternNode,
    pub min: u32,
    pub max: Option<u32>,
    pub greed: Greed,
}

#[derive(Clone, Debug)]
pub struct LookAround {
    pub ahead: bool,
    pub negated: bool,
    /// The look-around may be entered again when the following nodes fail.
    pub reenters: bool,
    pub node: PatternNode,
}

#[derive(Clone, Debug)]
pub struct Conditional {
    pub condition: Condition,
    pub yes: PatternNode,
    pub no: PatternNode,
}

#[derive(Clone, Debug)]
pub enum Condition {
    /// True when any of these groups is set.
    Groups(Vec<u32>),
    /// True within a call of one of these groups; `None` means any group.
    Recursing(Option<Vec<u32>>),
    Look(LookAround),
    Always(bool),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    Accept,
    Fail,
    Commit,
    Prune,
    Skip(Option<Box<[u8]>>),
    Then,
    Mark(Box<[u8]>),
}
