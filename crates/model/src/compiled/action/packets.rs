//! Defines the compiled form of actions that set the mark or the type of service of network
//! packets; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// Change of the mark or of the type of service of packets.
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

#[derive(Clone, Debug)]
pub(crate) enum Number {
    Fixed(u32),
    Found(Box<Expression>),
}
