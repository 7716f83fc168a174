//! Tracking and counting in stick tables; `crate::rules` builds and runs them.

use crate::compiled::Expression;
use crate::tables::{DataType, Level, TablePlace};
use std::sync::Arc;

/// What is done with a table.
#[derive(Clone, Debug)]
pub enum TableAction {
    /// An entry is tracked.
    Track {
        /// Under this counter.
        counter: u32,
        /// The entry of this value.
        key: Expression,
        /// In this table.
        table: Arc<TablePlace>,
        /// For so long.
        level: Level,
    },
    /// A number of a tracked entry changes.
    Change {
        /// The counter that tracks it.
        counter: u32,
        /// The number.
        kind: DataType,
        /// Its rate, which a change of the number counts in.
        rate: Option<DataType>,
        /// Of several.
        element: u32,
        /// By or to how much.
        amount: Amount,
    },
}

/// How much.
#[derive(Clone, Debug)]
pub enum Amount {
    /// So much.
    Fixed(u32),
    /// As an expression says.
    Of(Expression),
}
