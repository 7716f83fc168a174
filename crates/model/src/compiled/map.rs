//! Maps, which converters look a value up in.

use crate::sample::Value;
use crate::sample::live::Live;
use crate::sample::matching::Patterns;
use std::sync::Arc;

/// A map, compiled.
#[derive(Clone, Debug)]
pub struct Map {
    /// The file, as the configuration names it.
    pub file: Arc<str>,
    pub(crate) keys: Patterns,
    pub(crate) values: Vec<Value<'static>>,
    pub(crate) live: Arc<Live>,
}
