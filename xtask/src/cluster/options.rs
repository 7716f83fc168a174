//! Parses the command line of `bench-cluster`.

use super::case::Case;
use super::error::Error;
use crate::comparison::options;
use std::ffi::OsString;

pub type Options = options::Options<Case>;

pub const HELP: &str = "\
Agreement: three members of etcd, and two nodes with an arbiter, in turn, in
namespaces (as root).

usage: cargo xtask bench-cluster [OPTION...]

  --case NAME         only this case; may be repeated:
                        death   the leader is killed (SIGKILL)
                        write   one client writes, one after the other, with fsync
                        memory  of each member, after the same writes
                        load    eight busy processes for eight seconds
                        cut     the link of the leader and a second one is silent
                        apply   a version for both nodes (of evenkeel alone)
  --repetitions N     of each case (5)
  --left COMMAND      what is compared with (/usr/bin/etcd)
  --right COMMAND     what is compared (target/release/evenkeel)
  --markdown          prints the table as Markdown
  --write             write the table to docs/benchmarks.md
";

/// Default number of turns of each case.
const REPETITIONS: usize = 5;
const LEFT: &str = "/usr/bin/etcd";

/// Parses the arguments; None if help was requested.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, Error> {
    Ok(options::parse(arguments, REPETITIONS, LEFT)?)
}
