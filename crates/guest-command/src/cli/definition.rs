//! Defines the subcommands and options of `evenkeel guest` and `evenkeel node`.

use clap::{Arg, Command};
use command::json;
use command::options::{flag, process_id, serving_files};

fn name() -> Arg {
    Arg::new("NAME").required(true).help("The guest")
}

pub fn guest(command: Command) -> Command {
    command
        .about("Show, start, stop and move guests")
        .long_about(
            "Shows the virtual machines of a running `evenkeel run` of the same user, and starts, stops and moves \
             them. A guest runs on one node at a time, which `list` names; an order goes to that node. `create` \
             and `import` bring an operating system onto its volumes.",
        )
        .after_help(
            "Examples:\n  evenkeel guest list\n  evenkeel guest show mail\n  evenkeel guest stop mail\n  \
             evenkeel guest start mail\n  evenkeel guest move mail beta\n  evenkeel guest console mail\n  \
             evenkeel guest log mail --follow\n  evenkeel guest snapshot mail --name before-upgrade\n  \
             evenkeel guest restore mail before-upgrade --yes\n  evenkeel guest clone debian web\n  \
             evenkeel guest create mail --debootstrap trixie --ssh-key id_ed25519.pub\n  \
             evenkeel guest import disk.qcow2 mail\n  evenkeel guest import xen /etc/xen/mail.cfg",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .arg(
            flag("here", "Execute it on this node: for commands that were forwarded by another node")
                .hide(true)
                .global(true),
        )
        .subcommands([
            Command::new("list")
                .about("Show all guests, where they run and why")
                .arg(json::option()),
            Command::new("show")
                .about("Show one guest with its disks, cards and last changes")
                .arg(name())
                .arg(json::option()),
            json::order(Command::new("start"))
                .about("Start a guest that was stopped, shut down by itself or failed too often")
                .arg(name())
                .arg(flag(
                    "yes",
                    "Start it although a volume is incomplete, and use the volume as it is",
                )),
            json::order(Command::new("stop"))
                .about("Shut a guest down; it stays down until `start`")
                .long_about(
                    "Presses the power button of a guest and waits until it has shut down. After `stop-timeout` of its \
                     section it is ended. It stays down, also after a restart of its node, until `guest start`.",
                )
                .arg(name())
                .arg(flag("kill", "Kill it at once, as by pulling the plug")),
            json::order(Command::new("move"))
                .about("Move a guest to another node")
                .arg(name())
                .arg(Arg::new("NODE").required(true).help("The node")),
        ])
        .subcommands(of_snapshots())
        .subcommands(of_copies())
        .subcommands([
            super::image::definition::create(),
            super::image::definition::import(),
            Command::new("console")
                .about("Connect this terminal to the serial terminal of a guest; Ctrl-] ends it")
                .arg(name()),
            Command::new("log")
                .about("Print the last output of the serial terminal of a guest")
                .arg(name())
                .arg(flag("follow", "Follow new output")),
        ])
}

fn of_snapshots() -> [Command; 3] {
    [
        Command::new("snapshot")
            .about("Take a snapshot of all disks of a guest at one moment, also while it runs")
            .long_about(
                "Takes a snapshot of each disk that the guest writes, all of them at the same moment. Where \
                 the QEMU guest agent responds, it freezes the file systems, so that they are consistent; \
                 otherwise the snapshot is as after a loss of power. The guest is paused meanwhile, for \
                 some milliseconds with files on XFS or btrfs; after 10 s it continues in any case, and \
                 there is no snapshot. If one of the disks fails, those of the others are removed. Prints \
                 the name of the snapshot. It can be given on any node.",
            )
            .arg(name())
            .arg(
                Arg::new("name")
                    .long("name")
                    .value_name("LABEL")
                    .help("A name beside the time: up to 32 letters, digits, `.`, `_` and `-`"),
            )
            .arg(
                Arg::new("remove")
                    .long("remove")
                    .value_name("SNAPSHOT")
                    .conflicts_with("name")
                    .help("Remove this snapshot instead, by its time or its name"),
            ),
        Command::new("snapshots")
            .about("List the snapshots of a guest")
            .arg(name()),
        Command::new("restore")
            .about("Restore all disks of a stopped guest to a snapshot")
            .long_about(
                "Restores each disk of a stopped guest to a snapshot, after a snapshot of what they are now. It writes \
                 through the sockets of the volumes, so all copies get it. The guest stays down until `guest start`. If the \
                 command is interrupted, its volumes are incomplete: they are refused, whichever guest names them, until the \
                 guest is restored again, or started with `--yes`.",
            )
            .arg(name())
            .arg(
                Arg::new("SNAPSHOT")
                    .required(true)
                    .help("The snapshot, by its time or its name, as `guest snapshots` lists it"),
            )
            .arg(flag("yes", "Replace all data of the disks")),
    ]
}

fn of_copies() -> [Command; 3] {
    [
        Command::new("template")
            .about("Print the lines that make a stopped guest a template, which never starts")
            .long_about(
                "A template is a guest that never starts, with volumes that nobody can write, from which `guest clone` \
                 makes others. It is one by the lines `template yes` of its section and `read-only yes` of its volumes: so \
                 it stays one on all nodes and after each restart. This command checks that the guest is stopped and \
                 prints the lines; it changes no file. With `--undo` it prints the lines to be removed.",
            )
            .arg(name())
            .arg(flag("undo", "Print what makes it an ordinary guest again")),
        Command::new("clone")
            .about("Make a guest from a template, a stopped guest, or a snapshot of a running one")
            .long_about(
                "While the new guest has no section, it prints the sections to be added, with volumes and MAC addresses of \
                 its own. Once they are served, the same command creates the volumes on this node and fills them: files \
                 on the same XFS or btrfs share their blocks until either changes; anything else is copied, with progress. \
                 The new guest stays down until `guest start`.\n\nA guest that runs is cloned from a snapshot, of this \
                 moment or of `--snapshot`. A clone that was interrupted is made again with `--yes`.",
            )
            .arg(flag("yes", "Overwrite what the volumes of the new guest hold"))
            .arg(name())
            .arg(Arg::new("NEW").required(true).help("The new guest"))
            .arg(
                Arg::new("snapshot")
                    .long("snapshot")
                    .value_name("SNAPSHOT")
                    .help("Clone the state of the guest at this snapshot"),
            ),
        json::order(Command::new("remove"))
            .about("Remove the rest of a guest whose section was removed; its volumes stay")
            .long_about(
                "While the section of the guest is served, it prints which lines to remove, which volumes stay, and the \
                 commands that delete them. Once the section is gone, it removes the directory of the guest on this node \
                 and its record in the cluster, so that nothing of it affects a later guest of this name.",
            )
            .arg(name()),
    ]
}

pub fn node(command: Command) -> Command {
    command
        .about("Take a node out of service for maintenance, and back")
        .long_about(
            "`drain` moves all guests of a node to other nodes, two at a time, and the node accepts no \
             others until `fill`. Guests for which no other node has room shut down, and without a cluster \
             all of them. If no other node accepts guests at all, it refuses, unless `--shut-down` is \
             given. Without a name it drains this node. The unit evenkeel-guests.service does this when the \
             machine is shut down.",
        )
        .after_help("Examples:\n  evenkeel node drain\n  evenkeel node fill\n  evenkeel node drain beta")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommands([
            json::order(Command::new("drain"))
                .about("Move all guests of a node away")
                .arg(flag("shut-down", "Shut down guests that cannot move, also if no other node accepts guests"))
                .arg(Arg::new("NODE").help("The node; without it, this one")),
            json::order(Command::new("fill"))
                .about("Let a node accept guests again")
                .arg(flag("wait", "Wait up to 10 minutes for the instance and its cluster"))
                .arg(Arg::new("NODE").help("The node; without it, this one")),
        ])
}
