//! Defines the compiled condition of a rule: the ACLs that must be true, and the tests of each.

use crate::compiled::{AdmissionLine, Expression};
use crate::sample::live::Live;
use crate::sample::matching::Patterns;
use language::Span;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

/// Compiled condition of a rule.
#[derive(Clone, Debug)]
pub struct Condition {
    /// True for a condition that begins with `unless`.
    pub(crate) negated: bool,
    pub(crate) alternatives: Alternatives,
    /// Position in the file, from `if` or `unless` on.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) acl: Arc<Acl>,
    pub(crate) negated: bool,
}

/// Alternatives of which one must be true; each requires all of its terms.
pub(crate) type Alternatives = Box<[Box<[Term]>]>;

/// Expression, and the patterns that its values are compared with.
#[derive(Clone, Debug)]
pub struct Test {
    pub(crate) expression: Expression,
    pub(crate) patterns: Arc<Patterns>,
    pub(crate) live: Arc<Live>,
}

/// Named ACL; an anonymous one has an empty name.
#[derive(Debug)]
pub struct Acl {
    pub name: Box<str>,
    /// Position of the name in its first line.
    pub span: Span,
    /// Tests of the ACL's lines read so far; empty once the section has ended.
    pub(crate) draft: Mutex<Vec<Test>>,
    pub(crate) tests: OnceLock<Box<[Test]>>,
    pub(crate) lines: Mutex<Vec<AdmissionLine>>,
    pub(crate) used: AtomicBool,
}
