//! Changes of addresses; `crate::rules` builds and runs them.

use crate::compiled::Expression;

/// One change of an address.
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
