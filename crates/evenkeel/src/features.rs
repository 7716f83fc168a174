//! The table of parts of this binary: a row each.

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

/// A subcommand.
pub struct Subcommand {
    /// Its name.
    pub name: &'static str,
    /// Its help and its options.
    pub define: fn(Command) -> Command,
    /// Runs it.
    pub run: fn(&ArgMatches) -> ExitCode,
}

impl Subcommand {
    /// A row.
    pub const fn new(
        name: &'static str,
        define: fn(Command) -> Command,
        run: fn(&ArgMatches) -> ExitCode,
    ) -> Subcommand {
        Subcommand { name, define, run }
    }
}

static FEATURES: OnceLock<Vec<&'static Feature>> = OnceLock::new();

/// Says once, at the start of a process, which parts there are besides those of this crate.
pub fn add(further: &[&'static Feature]) {
    let all = crate::PARTS.iter().chain(further.iter().copied());
    // A second time changes nothing.
    let _ = FEATURES.set(all.collect());
}

/// All parts, each behind those whose sections it refers to.
pub fn all() -> &'static [&'static Feature] {
    FEATURES.get_or_init(|| crate::PARTS.iter().collect())
}
