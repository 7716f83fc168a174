//! Defines the compiled form of actions that change a timeout, the retries or the queue priority
//! of a stream; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// Change of a timeout, of the retries or of the queue priority of a stream.
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

#[derive(Clone, Debug)]
pub(crate) enum Number {
    Fixed(i64),
    Found(Expression),
}
