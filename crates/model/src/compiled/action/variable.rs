//! Defines the compiled form of actions that change variables; `crate::rules` builds and runs
//! them.

use crate::compiled::{Expression, Format};
use crate::sample::VariableName;

#[derive(Clone, Debug)]
pub struct VariableChange {
    pub(crate) name: VariableName,
    pub(crate) source: VariableSource,
    pub(crate) conditions: Box<[SetWhen]>,
}

#[derive(Clone, Debug)]
pub(crate) enum VariableSource {
    Expression(Expression),
    Format(Format),
    Unset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetWhen {
    Exists,
    NotExists,
    Empty,
    NotEmpty,
    Set,
    NotSet,
    Greater,
    Less,
}
