//! Implements `evenkeel status`: prints the reports of all parts of a running instance.

use clap::{Arg, Command};
use command::options::status_options;

pub fn definition(command: Command) -> Command {
    let command = command
        .about("Show the state of the processes beside the proxy, such as the address role")
        .long_about(
            "Shows the state of the parts of a running `evenkeel run` or `keepalived` of the same user. A part is a \
             feature with a process of its own beside the proxy, such as `address` for virtual addresses. `--json` \
             prints a list with one report for each part, `--metrics` prints Prometheus metrics. Exits with 1 if no \
             part responds.",
        )
        .after_help("Examples:\n  evenkeel status\n  evenkeel status address --json | jq .");
    status_options(
        command
            .arg(Arg::new("PART").help("Name of the part, such as `address`; default: all parts")),
    )
}
