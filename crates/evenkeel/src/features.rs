//! Collects the parts of this binary: those of this crate, those that were not built, and those
//! that another binary adds at its start.

#[cfg(not(feature = "complete"))]
mod unbuilt;

pub use ::command::Subcommand;

use configuration::ConfigurationPart;
use part::row::RoleRow;
use std::sync::OnceLock;

/// Part of the binary with its role and its subcommands.
pub struct Feature {
    pub part: &'static ConfigurationPart,
    pub role: Option<&'static RoleRow>,
    pub commands: &'static [Subcommand],
}

static FEATURES: OnceLock<Vec<&'static Feature>> = OnceLock::new();

/// Returns the parts of this crate. In an incomplete build, parts that were not built follow, whose
/// rows only refuse their sections.
fn parts_of_program() -> impl Iterator<Item = &'static Feature> {
    let all = crate::PARTS.iter();
    #[cfg(not(feature = "complete"))]
    let all = all.chain(unbuilt::parts());
    all
}

/// Adds parts to those of this crate. Must be called once, at the start of the process.
pub fn add(further: &[&'static Feature]) {
    let all = parts_of_program().chain(further.iter().copied());
    // A second call has no effect.
    let _ = FEATURES.set(all.collect());
}

/// Returns all parts, each after those whose sections it refers to.
pub fn all() -> &'static [&'static Feature] {
    FEATURES.get_or_init(|| parts_of_program().collect())
}
