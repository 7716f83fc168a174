//! Defines the compiled form of the action `pause`; `crate::rules` builds and runs it.

use crate::compiled::Expression;

#[derive(Clone, Debug)]
pub enum Pause {
    /// Constant length of the pause, in milliseconds.
    Fixed(u32),
    Found(Expression),
}
