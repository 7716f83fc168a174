//! Marks of packets; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// A change of what packets carry.
#[derive(Clone, Debug)]
pub struct PacketChange {
    pub(crate) to_server: bool,
    pub(crate) what: What,
    pub(crate) number: Number,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Mark,
    Tos,
}

/// Where the number comes from.
#[derive(Clone, Debug)]
pub(crate) enum Number {
    Fixed(u32),
    Found(Box<Expression>),
}
