//! Defines the compiled form of the action `do-resolve`; `crate::rules` builds and runs it.

use crate::compiled::Expression;
use crate::sample::VariableName;
use crate::setting::AddressFamily;

/// Host name to resolve, and the variable that stores the address.
#[derive(Clone, Debug)]
pub struct Resolve {
    pub(crate) variable: VariableName,
    pub(crate) section: Box<str>,
    pub(crate) prefer: AddressFamily,
    pub(crate) host: Expression,
}
