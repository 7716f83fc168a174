//! Changes of limits; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// One change.
#[derive(Clone, Debug)]
pub struct LimitChange {
    pub(crate) what: What,
    pub(crate) number: Number,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Client,
    Server,
    Tunnel,
    Connect,
    Queue,
    Tarpit,
    Retries,
    NoAnswerRetries,
    Class,
    Offset,
}

/// Where the number comes from.
#[derive(Clone, Debug)]
pub(crate) enum Number {
    Fixed(i64),
    Found(Expression),
}
