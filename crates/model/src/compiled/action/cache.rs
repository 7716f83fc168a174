//! Delivering from a cache and storing in it; `crate::rules` builds and runs them.

/// Which way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheAction {
    pub(crate) name: Box<str>,
    pub(crate) stores: bool,
}
