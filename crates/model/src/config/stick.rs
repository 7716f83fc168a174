//! `stick …`: which servers clients are kept with.

use crate::compiled::{Condition, Expression};
use crate::tables::TablePlace;
use language::Span;
use std::sync::Arc;

/// One `stick on`, `match`, `store-request` or `store-response`.
#[derive(Clone, Debug)]
pub struct StickRule {
    /// Where it stands.
    pub span: Span,
    /// It looks for the server of a key.
    pub matches: bool,
    /// It keeps the server of a key that a request has.
    pub stores: bool,
    /// It keeps the server of a key that the answer has.
    pub stores_of_answer: bool,
    /// The key.
    pub expression: Expression,
    /// Where.
    pub table: Arc<TablePlace>,
    /// When; always without one.
    pub condition: Option<Condition>,
}
