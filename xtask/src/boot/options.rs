//! Parses the command line of `bench-boot`.

use super::case::Case;
use crate::comparison::Error;
use crate::comparison::options;
use std::ffi::OsString;

pub type Options = options::Options<Case>;

pub const HELP: &str = "\
Network boot: Kea, dnsmasq or nginx and evenkeel in turn, in namespaces (as root).

usage: cargo xtask bench-boot [OPTION...]

  --case NAME         only this case; may be repeated:
                        machines          10,000 machines of the file, beside Kea
                        range             new clients of a range, beside Kea
                        dnsmasq-machines  as machines, beside dnsmasq
                        dnsmasq-range     as range, beside dnsmasq
                        tftp              1,000 machines load iPXE, beside dnsmasq
                        http              1,000 machines load a file, beside nginx
                        bios, uefi-card, uefi-tftp, uefi-http, proxy
                                          a machine boots, beside dnsmasq and nginx
  --repetitions N     of each case (5)
  --left COMMAND      Kea (/usr/sbin/kea-dhcp4)
  --right COMMAND     what is compared (target/release/evenkeel)
  --markdown          prints the table as Markdown
  --write             write the table to docs/benchmarks.md
";

/// Default number of turns of each case.
const REPETITIONS: usize = 5;
const LEFT: &str = "/usr/sbin/kea-dhcp4";

/// Parses the arguments; None if help was requested.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, Error> {
    options::parse(arguments, REPETITIONS, LEFT)
}
