//! The language of `keepalived.conf`: bytes to lines to blocks to a
//! [`Config`], with everything that a person is told about them.
//!
//! Reading never fails: it returns what could be read and all that is wrong with
//! it. What lies outside of the files (other files, interfaces, accounts, scripts)
//! is asked through [`Outside`], so that a check on another machine and a test can
//! answer; nothing here opens, resolves or runs anything by itself.
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
pub use outside::{Interface, Machine, NoAccount, Outside, Program, account_of};
pub use recognize::is_keepalived;

use crate::config::Config;
use language::{Diagnostics, FileId, SourceMap};
use std::path::PathBuf;

/// How the files are to be taken.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-i`, `--config-id`: what `@word` lines are compared with; none is the host's
    /// name up to its first dot.
    pub config_id: Option<String>,
    /// `-P`, `--vrrp`: IPVS keywords are ignored.
    pub vrrp_only: bool,
    /// The program runs under the name `keepalived`: what the real one leaves out with a
    /// line of the log is left out with a warning.
    pub as_keepalived: bool,
}

/// The result of reading the files.
#[derive(Debug)]
pub struct Loaded {
    /// The model; none where an error was found.
    pub config: Option<Config>,
    /// All that is to be told.
    pub diagnostics: Diagnostics,
    /// Every file that was read or looked for beside the given ones.
    pub files: Vec<PathBuf>,
}

/// Reads files (already in the map) as one configuration. Files that they include
/// are added to the map.
pub fn load(
    sources: &mut SourceMap,
    files: &[FileId],
    options: &Options,
    outside: &mut dyn Outside,
) -> Loaded {
    loader::load(sources, files, options, outside)
}
