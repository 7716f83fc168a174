//! Changes of maps and lists; `crate::rules` builds and runs them.

use crate::compiled::Format;
use std::sync::{Arc, OnceLock};

/// One change of a map or list.
#[derive(Clone, Debug)]
pub struct ListChange {
    pub(crate) file: Arc<str>,
    pub(crate) is_map: bool,
    pub(crate) key: Format,
    pub(crate) change: Change,
    /// Its place among the lists of the configuration, once it was looked for.
    pub(crate) place: OnceLock<Option<usize>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Of a map: this value. Of a list of patterns: the key itself.
    Put(Option<Format>),
    Take,
}
