//! Parses the command line of `cargo xtask conformance`.

use super::error::ConformanceError;
use super::expected::RELEASES;
use crate::bench::options::{evenkeel, workspace};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

pub const HELP: &str = "\
HAProxy's regression tests, driven by varnishtest (as root: each in namespaces of
its own). tests/conformance says which of them pass.

usage: cargo xtask conformance [OPTION...] [PREFIX...]

  PREFIX              only tests whose names begin so, such as http-rules/
  --source DIR        HAProxy's repository: a git directory or a checkout
                      (HAPROXY_SOURCE)
  --release R         2.6, 3.2 or 3.4; may be repeated (all)
  --program COMMAND   what is tested (target/release/evenkeel)
  --repetitions N     of each test (1); one that fails now and then is reported
  --jobs N            tests at once (2)
  --timeout SECONDS   of one test (15)
  --write             writes what came into tests/conformance
";

#[derive(Debug)]
pub struct Options {
    pub source: PathBuf,
    pub releases: Vec<String>,
    pub program: PathBuf,
    pub repetitions: usize,
    pub jobs: usize,
    pub timeout_s: u32,
    pub write: bool,
    prefixes: Vec<String>,
}

impl Options {
    /// Returns whether a test is selected.
    pub fn chooses(&self, name: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.prefixes.is_empty() || prefixes.any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Parses the arguments; None if help was requested.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
) -> Result<Option<Options>, ConformanceError> {
    let mut source = std::env::var_os("HAPROXY_SOURCE").map(PathBuf::from);
    let mut options = Options {
        source: PathBuf::new(),
        releases: Vec::new(),
        program: evenkeel(),
        repetitions: 1,
        jobs: 2,
        timeout_s: 15,
        write: false,
        prefixes: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("source") => source = Some(parser.value()?.into()),
            Long("release") => {
                let release = parser.value()?.string()?;
                if !RELEASES.iter().any(|(known, _)| *known == release) {
                    return Err(ConformanceError::NoSuchRelease(release));
                }
                options.releases.push(release);
            }
            Long("program") => options.program = workspace().join(parser.value()?),
            Long("repetitions") => options.repetitions = parser.value()?.parse()?,
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("timeout") => options.timeout_s = parser.value()?.parse()?,
            Long("write") => options.write = true,
            Long("help") | Short('h') => return Ok(None),
            Value(prefix) => options.prefixes.push(prefix.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    options.source = source
        .filter(|source| !source.as_os_str().is_empty())
        .ok_or(ConformanceError::NoSource)?;
    if options.releases.is_empty() {
        options.releases = RELEASES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
    }
    let counts = [
        options.repetitions,
        options.jobs,
        options.timeout_s as usize,
    ];
    if counts.iter().any(|count| !(1..=1000).contains(count)) {
        return Err(ConformanceError::Count);
    }
    Ok(Some(options))
}
