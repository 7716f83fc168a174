//! Pauses; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// How long.
#[derive(Clone, Debug)]
pub enum Pause {
    /// So many milliseconds.
    Fixed(u32),
    /// As an expression says.
    Found(Expression),
}
