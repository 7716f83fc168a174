//! Defines the compiled form of actions that change a stream's addresses (`set-src`, `set-dst`);
//! `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// New source or destination address of a stream for rules, logs and servers; the connection
/// itself is not affected.
#[derive(Clone, Debug)]
pub struct AddressChange {
    pub(crate) what: What,
    pub(crate) expression: Expression,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Source,
    SourcePort,
    Destination,
    DestinationPort,
}
