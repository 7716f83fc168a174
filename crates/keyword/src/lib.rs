//! Defines the keywords of the data plane, and the loader that finds the keyword of each line and
//! builds a [`model::config::Config`] from whole files. Nothing here runs with traffic.

pub mod family;
pub mod load;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use family::{Registry, registry};
