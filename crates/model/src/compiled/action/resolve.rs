//! Resolving a host name; `crate::rules` builds and runs them.

use crate::compiled::Expression;
use crate::sample::VariableName;
use crate::setting::AddressFamily;

/// Whose address, and where it is kept.
#[derive(Clone, Debug)]
pub struct Resolve {
    pub(crate) variable: VariableName,
    pub(crate) section: Box<str>,
    pub(crate) prefer: AddressFamily,
    pub(crate) host: Expression,
}
