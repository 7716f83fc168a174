//! Defines the compiled form of actions that change maps and lists of patterns; `crate::rules`
//! builds and runs them.

use crate::compiled::Format;
use std::sync::{Arc, OnceLock};

/// Change of a map or of a list of patterns.
#[derive(Clone, Debug)]
pub struct ListChange {
    pub(crate) file: Arc<str>,
    pub(crate) is_map: bool,
    pub(crate) key: Format,
    pub(crate) change: ListOperation,
    /// Index of the list in the configuration, cached after the first lookup.
    pub(crate) place: OnceLock<Option<usize>>,
}

#[derive(Clone, Debug)]
pub(crate) enum ListOperation {
    /// Adds a key: with this value to a map, or without a value to a list of patterns.
    Put(Option<Format>),
    Take,
}
