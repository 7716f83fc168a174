//! Loads `keepalived.conf`: turns bytes into lines, blocks, and a [`Config`].
//!
//! The result is a list of all errors and warnings, and the configuration if none of them is an
//! error. Facts outside the given files (other files, interfaces, accounts, scripts) are requested
//! through [`Outside`], so that a check on another machine and a test can supply them. Nothing here
//! opens, resolves or runs anything by itself.
//!
//! A keyword is a row in the file of its family below [`family`].

mod checks;
mod expand;
mod family;
mod files;
mod keyword;
mod loader;
mod outside;
mod plain;
mod reader;
mod recognize;
mod sequence;
mod text;
mod tree;
mod value;
mod words;

#[cfg(test)]
mod tests;

pub use keyword::documented;
pub use outside::{Interface, LocalMachine, NoAccount, Outside, Program, account_of};
pub use recognize::is_keepalived;

use crate::config::Config;
use language::{Diagnostics, FileId, SourceMap};
use std::path::PathBuf;

/// Options for reading the files.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-i`, `--config-id`: value that `@word` lines are compared with; None: the host name up to
    /// its first dot.
    pub config_id: Option<String>,
    /// True with `-P` or `--vrrp`: IPVS keywords are ignored.
    pub vrrp_only: bool,
    /// True if Evenkeel runs under the name `keepalived`. Lines that keepalived logs and ignores
    /// are ignored with a warning.
    pub as_keepalived: bool,
}

/// Result of reading the files.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; None if a diagnostic is an error.
    pub config: Option<Config>,
    pub diagnostics: Diagnostics,
    /// Every file that was read or searched for, apart from the given ones.
    pub files: Vec<PathBuf>,
}

/// Loads files, whose texts are in the map already, as one configuration. Included files are added
/// to the map.
pub fn load(
    sources: &mut SourceMap,
    files: &[FileId],
    options: &Options,
    outside: &mut dyn Outside,
) -> Loaded {
    loader::load(sources, files, options, outside)
}
