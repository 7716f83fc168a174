//! Parses the command line of `bench-farm`.

use super::case::Case;
use crate::comparison::Error;
use crate::comparison::options;
use std::ffi::OsString;

pub type Options = options::Options<Case>;

pub const HELP: &str = "\
Remote desktops: logons of 1,000 simulated clients at two nodes, and sessions of
xfreerdp with xrdp, in namespaces (as root).

usage: cargo xtask bench-farm [OPTION...]

  --case NAME         only this case; may be repeated:
                        routed           1,000 clients with a user name in their request
                        redirected       1,000 clients that are redirected
                        routed-death     as routed, and a node is killed meanwhile
                        redirected-death as redirected, and a node is killed meanwhile
                        desktops         xfreerdp to xrdp, in each way
  --repetitions N     of each case (5)
  --left COMMAND      the client of desktops (/usr/bin/xfreerdp)
  --right COMMAND     what is measured (target/release/evenkeel)
  --markdown          prints the table as Markdown
  --write             write the table to docs/benchmarks.md
";

/// Default number of turns of each case.
const REPETITIONS: usize = 5;
const LEFT: &str = "/usr/bin/xfreerdp";

/// Parses the arguments; None if help was requested.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, Error> {
    options::parse(arguments, REPETITIONS, LEFT)
}
