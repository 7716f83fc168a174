//! Holds the compiled maps in which converters look values up.

use crate::sample::SampleValue;
use crate::sample::live::Live;
use crate::sample::matching::Patterns;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Map {
    /// Name of the file in the configuration.
    pub file: Arc<str>,
    pub(crate) keys: Patterns,
    pub(crate) values: Vec<SampleValue<'static>>,
    pub(crate) live: Arc<Live>,
}
