//! The options of `evenkeel guest` and `evenkeel node`.

use crate::command::definition::{flag, process_id, serving_files};
use clap::{Arg, Command};

fn name() -> Arg {
    Arg::new("NAME").required(true).help("The guest")
}

/// `evenkeel guest`.
pub fn guest(command: Command) -> Command {
    command
        .about("Show, start, stop and move guests")
        .long_about(
            "Shows the virtual machines of a running `evenkeel run` of the same user, and starts, stops and moves \
             them. A guest runs on one node at a time; orders about a guest that runs are given on its node, which \
             `list` names. `create` and `import` bring an operating system onto its volumes.",
        )
        .after_help(
            "Examples:\n  evenkeel guest list\n  evenkeel guest show mail\n  evenkeel guest stop mail\n  \
             evenkeel guest start mail\n  evenkeel guest move mail beta\n  evenkeel guest console mail\n  \
             evenkeel guest log mail --follow\n  \
             evenkeel guest create mail --debootstrap trixie --ssh-key id_ed25519.pub\n  \
             evenkeel guest import disk.qcow2 mail\n  evenkeel guest import xen /etc/xen/mail.cfg",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommands([
            Command::new("list")
                .about("Show all guests, where they are and why")
                .arg(flag("json", "Print JSON")),
            Command::new("show")
                .about("Show one guest with its disks, cards and last changes")
                .arg(name())
                .arg(flag("json", "Print JSON")),
            Command::new("start")
                .about("Start a guest that was stopped, shut down by itself or failed too often")
                .arg(name()),
            Command::new("stop")
                .about("Shut a guest down; it stays down until `start`")
                .long_about(
                    "Presses the power button of a guest and waits until it has shut down. After `stop-timeout` of its \
                     section it is ended. It stays down, also after a restart of its node, until `guest start`.",
                )
                .arg(name())
                .arg(flag("kill", "End it at once, as by pulling the plug")),
            Command::new("move")
                .about("Move a guest to another node")
                .arg(name())
                .arg(Arg::new("NODE").required(true).help("The node")),
            super::image::definition::create(),
            super::image::definition::import(),
            Command::new("console")
                .about("Connect this terminal to the serial terminal of a guest; Ctrl-] ends it")
                .arg(name()),
            Command::new("log")
                .about("Print the last output of the serial terminal of a guest")
                .arg(name())
                .arg(flag("follow", "Go on with what comes")),
        ])
}

/// `evenkeel node`.
pub fn node(command: Command) -> Command {
    command
        .about("Take a node out of service for maintenance, and back")
        .long_about(
            "`drain` moves all guests of this node to other nodes, one after the other, and takes no others until \
             `fill`. Guests for which no other node has room shut down, and without a cluster all of them. Run it on \
             the node itself. The unit evenkeel-guests.service does so when the machine is switched off.",
        )
        .after_help("Examples:\n  evenkeel node drain\n  evenkeel node fill")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommands([
            Command::new("drain")
                .about("Move all guests of this node away")
                .arg(Arg::new("NODE").help("The name of this node, to be sure")),
            Command::new("fill")
                .about("Let this node take guests again")
                .arg(flag("wait", "Wait up to 10 minutes for the instance and its cluster"))
                .arg(Arg::new("NODE").help("The name of this node, to be sure")),
        ])
}
