//! Compiled action `pause`; `crate::rules` builds and runs it.

use crate::compiled::Expression;

/// Duration of a pause.
#[derive(Clone, Debug)]
pub enum Pause {
    /// Constant, in milliseconds.
    Fixed(u32),
    /// Value of an expression, evaluated for each request.
    Found(Expression),
}
