//! Parses the command line of `bench-address`.

use super::case::Case;
use crate::comparison::Error;
use crate::comparison::options;
use std::ffi::OsString;

pub type Options = options::Options<Case>;

pub const HELP: &str = "\
Virtual addresses: keepalived and evenkeel in turn, in namespaces (as root).

usage: cargo xtask bench-address [OPTION...]

  --case NAME         only this case; may be repeated:
                        death      the master is killed with its link
                        stop       the master is stopped
                        slow-stop  the same with adverts of one second
                        hand-over  the address is handed to the other machine
                        load       eight busy processes for eight seconds
                        sigkill    the program is killed, the link stays
                        failover   death with proxies, `virtual-ip` and `failover 50ms`
                        drain      hand-over with proxies and requests of one second
  --repetitions N     of each case (10)
  --left COMMAND      what is compared with (/usr/sbin/keepalived)
  --right COMMAND     what is compared (target/release/evenkeel)
  --markdown          prints the table as Markdown
  --write             write the table to docs/benchmarks.md
";

/// Default number of turns of each case.
const REPETITIONS: usize = 10;
const LEFT: &str = "/usr/sbin/keepalived";

/// Parses the arguments; None if help was requested.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, Error> {
    options::parse(arguments, REPETITIONS, LEFT)
}
