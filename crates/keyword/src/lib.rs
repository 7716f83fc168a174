//! Defines the keywords of the data plane in families ([`family`]), and the loader ([`load`]) that
//! finds the keyword of each line and builds a [`model::config::Config`] from whole files, or one
//! server or variable for an operator. Nothing here runs with traffic.

pub mod family;
pub mod load;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use family::{Registry, registry};
