//! A pattern of PCRE2 as a tree. Case, modes and names are resolved, so no node depends
//! on the options around it.

use super::set::Set;

/// Newlines that `.`, `^` and `$` respect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Newline {
    Lf,
    Cr,
    CrLf,
    AnyCrLf,
    Any,
    Nul,
}

/// A pattern and the settings that hold for all of it.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) root: Node,
    /// Characters are code points and the subject has to be UTF-8; otherwise they are bytes.
    pub utf: bool,
    pub(crate) newline: Newline,
    /// The pattern names a carriage return or line feed, so that a search does not skip
    /// from one half of a CRLF over the other.
    pub(crate) has_newline_literal: bool,
    /// `(*NOTEMPTY)`: an empty match is none.
    pub(crate) not_empty: bool,
    /// `(*NOTEMPTY_ATSTART)`: an empty match at the start of the search is none.
    pub(crate) not_empty_at_start: bool,
    /// Characters of words, for `\b`.
    pub(crate) word: Set,
    /// Capturing groups, without the whole match.
    pub(crate) groups: u32,
}

/// One part of a pattern.
#[derive(Clone, Debug)]
pub enum Node {
    Empty,
    Char(u32),
    Set(Set),
    /// `\C`, also within UTF-8.
    AnyByte,
    Assert(Assertion),
    /// `\K`.
    KeepOut,
    Group(u32, Box<Node>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat(Box<Repeat>),
    Atomic(Box<Node>),
    Look(Box<Look>),
    /// The first of these groups that is set.
    BackReference {
        groups: Vec<u32>,
        ignore_case: bool,
    },
    /// A group as a subroutine; 0 is the whole pattern.
    Call(u32),
    Conditional(Box<Conditional>),
    Verb(Verb),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assertion {
    /// `\A`.
    SubjectStart,
    /// `^`: not where the start of the text is not the start of a line.
    LineOrSubjectStart,
    /// `^` of `(?m)`.
    LineStart,
    /// `\z`.
    SubjectEnd,
    /// `$` and `\Z`: also before a newline that ends the subject.
    FinalLineEnd,
    /// `$` of `(?m)`.
    LineEnd,
    /// `\G`.
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
    pub node: Node,
    pub min: u32,
    pub max: Option<u32>,
    pub greed: Greed,
}

/// A look-around assertion.
#[derive(Clone, Debug)]
pub struct Look {
    /// Looks behind when not.
    pub ahead: bool,
    pub negated: bool,
    /// May be entered again when what follows fails.
    pub reenters: bool,
    pub node: Node,
}

#[derive(Clone, Debug)]
pub struct Conditional {
    pub condition: Condition,
    pub yes: Node,
    pub no: Node,
}

#[derive(Clone, Debug)]
pub enum Condition {
    /// One of these groups is set.
    Groups(Vec<u32>),
    /// Within a call of one of these groups, or of any.
    Recursing(Option<Vec<u32>>),
    Look(Look),
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
