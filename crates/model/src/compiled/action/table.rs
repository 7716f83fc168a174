//! Defines the compiled form of actions that track and count in stick tables; `crate::rules`
//! builds and runs them.

use crate::compiled::Expression;
use crate::tables::{DataType, Level, TablePlace};
use std::sync::Arc;

/// Action on an entry of a stick table.
#[derive(Clone, Debug)]
pub enum TableAction {
    Track {
        counter: u32,
        key: Expression,
        table: Arc<TablePlace>,
        /// Place at which the rule runs, which determines how long the tracking lasts.
        level: Level,
    },
    Change {
        counter: u32,
        kind: DataType,
        /// Rate that belongs to the changed number, and must count the change, too.
        rate: Option<DataType>,
        /// Index of the number if the data type is an array; otherwise 0.
        element: u32,
        /// Increment, or the new value.
        amount: Amount,
    },
}

#[derive(Clone, Debug)]
pub enum Amount {
    Fixed(u32),
    Of(Expression),
}
