//! Conditions: ACLs that must hold, and the tests of each.

use crate::compiled::Expression;
use crate::sample::live::Live;
use crate::sample::matching::Patterns;
use language::Span;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `unless`.
    pub(crate) negated: bool,
    /// Any of these, each all of its terms.
    pub(crate) alternatives: Alternatives,
    /// Where it stands, from its `if`.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) acl: Arc<Acl>,
    pub(crate) negated: bool,
}

/// Any of these, each all of its terms.
pub(crate) type Alternatives = Box<[Box<[Term]>]>;

/// One test: an expression and the patterns that its values are compared with.
#[derive(Clone, Debug)]
pub struct Test {
    pub(crate) expression: Expression,
    pub(crate) patterns: Arc<Patterns>,
    pub(crate) live: Arc<Live>,
}

/// A named ACL; an anonymous one has an empty name.
#[derive(Debug)]
pub struct Acl {
    /// Its name.
    pub name: Box<str>,
    /// Where its first line gives the name.
    pub span: Span,
    /// Lines as they come, until the section ends.
    pub(crate) draft: Mutex<Vec<Test>>,
    pub(crate) tests: OnceLock<Box<[Test]>>,
    pub(crate) used: AtomicBool,
}
