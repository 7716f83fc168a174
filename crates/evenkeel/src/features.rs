//! Table of the parts in this binary, one row each.

#[cfg(not(feature = "complete"))]
mod unbuilt;

pub use ::command::Subcommand;

use configuration::ConfigurationPart;
use part::row::RoleRow;
use std::sync::OnceLock;

/// Row of a part in a binary's table.
pub struct Feature {
    pub part: &'static ConfigurationPart,
    pub role: Option<&'static RoleRow>,
    pub commands: &'static [Subcommand],
}

static FEATURES: OnceLock<Vec<&'static Feature>> = OnceLock::new();

/// Returns the parts of this crate, with those that were not built.
fn parts_of_program() -> impl Iterator<Item = &'static Feature> {
    let all = crate::PARTS.iter();
    #[cfg(not(feature = "complete"))]
    let all = all.chain(unbuilt::parts());
    all
}

/// Sets the parts in addition to those of this crate. Called once at the start of a process.
pub fn add(further: &[&'static Feature]) {
    let all = parts_of_program().chain(further.iter().copied());
    // A second call has no effect.
    let _ = FEATURES.set(all.collect());
}

/// Returns all parts, each after those whose sections it refers to.
pub fn all() -> &'static [&'static Feature] {
    FEATURES.get_or_init(|| parts_of_program().collect())
}
