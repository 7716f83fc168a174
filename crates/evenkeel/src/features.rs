//! Parts that a binary has besides those of this crate.

use clap::{ArgMatches, Command};
use configuration::Part;
use part::row::RoleRow;
use std::process::ExitCode;
use std::sync::OnceLock;

/// A part, as a row of a binary's table.
pub struct Feature {
    /// Its sections.
    pub part: &'static Part,
    /// How its role is run; None where it has none.
    pub role: Option<&'static RoleRow>,
    /// Its subcommands.
    pub commands: &'static [Subcommand],
}

/// A subcommand of a part.
pub struct Subcommand {
    /// Its name.
    pub name: &'static str,
    /// Its help and its options.
    pub define: fn(Command) -> Command,
    /// Runs it.
    pub run: fn(&ArgMatches) -> ExitCode,
}

static FEATURES: OnceLock<&'static [&'static Feature]> = OnceLock::new();

/// Says once, at the start of a process, which further parts there are.
pub fn set(features: &'static [&'static Feature]) {
    // A second time changes nothing.
    let _ = FEATURES.set(features);
}

/// The further parts.
pub fn all() -> &'static [&'static Feature] {
    FEATURES.get().copied().unwrap_or_default()
}

/// Their subcommands.
pub fn commands() -> impl Iterator<Item = &'static Subcommand> {
    all().iter().flat_map(|feature| feature.commands)
}
