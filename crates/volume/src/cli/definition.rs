//! Defines the options and subcommands of `evenkeel volume`.

use ::command::json;
use ::command::options::{flag, path, process_id, serving_files};
use clap::{Arg, ArgAction, Command};

fn volume_name() -> Arg {
    Arg::new("NAME").required(true).help("The volume")
}

fn snapshot_name() -> Arg {
    Arg::new("SNAPSHOT")
        .required(true)
        .help("The snapshot, as `evenkeel volume show` lists it")
}

fn from() -> Arg {
    path("FROM")
        .long("from")
        .value_name("FILE")
        .action(ArgAction::Append)
        .help("Read the section from this file, instead of the running instance")
}

pub fn volume(command: Command) -> Command {
    command
        .about("Show, create, copy and remove volumes")
        .long_about(
            "Shows the volumes of a running `evenkeel run` of the same user, creates the one of a section, \
             copies a whole one to or from a raw disk, takes snapshots, or removes one.\n\n`create` makes \
             the files of a `backing file` or a logical volume, or writes the metadata of a `backing \
             device`. It refuses existing volumes and devices that contain data, and names the content; \
             `--yes` then overwrites the content of the device. A running role serves the volume within a \
             second.\n\n`remove` deletes the data of a volume that no running instance has in its \
             configuration. Without `--yes` it shows what would be deleted.\n\n`export` and `import` skip \
             zeroes, show their progress, and wait up to 30 s for a server that is restarted. Exit codes: 0 \
             complete, 1 failed, 130 interrupted.",
        )
        .after_help(
            "Examples:\n  evenkeel volume list\n  evenkeel volume show mail --json | jq .\n  \
             evenkeel volume create mail\n  evenkeel volume create mail --from site.cfg\n  \
             evenkeel volume export mail mail.raw\n  evenkeel volume export mail | zstd > mail.raw.zst\n  \
             evenkeel volume import mail disk.raw\n  evenkeel volume import mail nbd://old-host/mail --yes\n  \
             evenkeel volume snapshot mail\n  evenkeel volume restore mail 20261122T200000Z --yes\n  \
             evenkeel volume verify mail\n  evenkeel volume resync mail\n  \
             evenkeel volume remove mail --backing file /srv/volumes --yes",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(serving_files().num_args(1).global(true))
        .arg(process_id().global(true))
        .subcommands(lives())
        .subcommands(copies())
        .subcommands(snapshots())
        .subcommands(super::order::commands().into_iter().map(json::order))
        .subcommand(super::verify::command())
        .subcommand(json::order(super::resync::command()))
}

fn lives() -> [Command; 7] {
    [
        Command::new("list")
            .about("Show all volumes of the running instance")
            .arg(json::option()),
        Command::new("show")
            .about("Show one volume with its state, counters and last changes")
            .arg(volume_name())
            .arg(json::option()),
        json::order(Command::new("create"))
            .about("Create the volume of a section")
            .arg(volume_name())
            .arg(from())
            .arg(flag("yes", "Overwrite the existing content of the device")),
        json::order(Command::new("grow"))
            .about("Extend the logical volume of a volume to the size of its section")
            .arg(volume_name())
            .arg(from()),
        json::order(Command::new("attach"))
            .about("Attach a volume as /dev/nbdN, or reconnect the device")
            .arg(volume_name()),
        json::order(Command::new("detach"))
            .about("Remove the block device of a volume; unmount it first")
            .arg(volume_name()),
        json::order(Command::new("remove"))
            .about("Delete the data of a volume that is no longer configured")
            .arg(volume_name())
            .arg(from().conflicts_with("backing"))
            .arg(
                Arg::new("backing")
                    .long("backing")
                    .value_names(["KIND", "PATH"])
                    .num_args(2)
                    .help("Its backing, as in its former section: file DIRECTORY, device PATH, or lvm GROUP"),
            )
            .arg(flag("yes", "Delete it")),
    ]
}

fn copies() -> [Command; 2] {
    [
        Command::new("export")
            .about("Write a whole volume to a new file or to standard output")
            .arg(volume_name())
            .arg(Arg::new("FILE").help("The raw file to create; `-` or none: standard output"))
            .arg(
                Arg::new("snapshot")
                    .long("snapshot")
                    .value_name("SNAPSHOT")
                    .help("Export the volume at this snapshot"),
            ),
        Command::new("import")
            .about("Write a raw disk into a volume without clients")
            .arg(volume_name())
            .arg(
                Arg::new("SOURCE")
                    .required(true)
                    .help("A raw file, a block device, nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH"),
            )
            .arg(flag("raw", "Treat the source as raw, even if it looks like an image"))
            .arg(flag("yes", "Overwrite what the volume holds")),
    ]
}

fn snapshots() -> [Command; 3] {
    [
        json::order(Command::new("snapshot"))
            .about("Take a snapshot of a volume on a file system with reflink (XFS, btrfs) or in a thin pool")
            .arg(volume_name())
            .arg(from())
            .arg(
                Arg::new("remove")
                    .long("remove")
                    .value_name("SNAPSHOT")
                    .help("Remove this snapshot instead"),
            ),
        Command::new("restore")
            .about("Restore a volume without clients to a snapshot")
            .arg(volume_name())
            .arg(snapshot_name())
            .arg(flag("yes", "Replace all data of the volume")),
        Command::new("clone")
            .about("Create the volume of a section with the data of a snapshot of another one")
            .arg(volume_name())
            .arg(snapshot_name().help("The snapshot, as `evenkeel volume show` lists it, or `now`"))
            .arg(
                Arg::new("NEW")
                    .required(true)
                    .help("The volume to be created"),
            )
            .arg(from()),
    ]
}
