//! Holds the `stick …` rules, which keep a client on its server by a stick table.

use crate::compiled::{Condition, Expression};
use crate::tables::TablePlace;
use language::Span;
use std::sync::Arc;

/// A `stick on`, `match`, `store-request` or `store-response` rule.
#[derive(Clone, Debug)]
pub struct StickRule {
    pub span: Span,
    /// Finds the server of a request by its key (`stick on`, `stick match`).
    pub matches: bool,
    /// Stores the server for a key of the request.
    pub stores: bool,
    /// Stores the server for a key of the response.
    pub stores_of_answer: bool,
    pub expression: Expression,
    pub table: Arc<TablePlace>,
    pub condition: Option<Condition>,
}
