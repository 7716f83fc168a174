//! Rules: samples, fetches, converters, conditions, formats, actions.

use language::Diagnostic;
use language::keyword::Documented;

/// The named ACLs of a section.
#[derive(Clone, Debug, Default)]
pub struct AclTable {}

impl AclTable {
    /// Ends the section: fixes the ACLs and tells which were never used.
    pub fn seal(self) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// What a proxy takes over from its defaults.
    pub fn inherited(&self) -> Self {
        self.clone()
    }
}

/// A condition: `if …`, `unless …`.
#[derive(Clone, Debug)]
pub struct Condition {}

/// A log-format string.
#[derive(Clone, Debug)]
pub struct Format {}

/// One `http-request`, `http-response` or `http-after-response` rule.
#[derive(Clone, Debug)]
pub struct HttpRule {}

/// One `tcp-request` or `tcp-response` rule.
#[derive(Clone, Debug)]
pub struct TcpRule {}

/// Variables of a scope.
#[derive(Clone, Debug, Default)]
pub struct Variables {}

/// Every fetch, converter and action.
pub fn documented() -> Vec<Documented> {
    Vec::new()
}
