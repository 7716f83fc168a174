//! Defines the compiled form of the actions `cache-use` and `cache-store`; `crate::rules` builds
//! and runs them.

/// Delivers a response from the named cache, or stores one there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheAction {
    pub(crate) name: Box<str>,
    pub(crate) stores: bool,
}
