//! Defines the options of `evenkeel guest create` and `evenkeel guest import`.

use clap::{Arg, ArgAction, Command, value_parser};
use command::options::{flag, option, path};

fn name() -> Arg {
    Arg::new("NAME")
        .required(true)
        .help("The guest: its disks, or the volume of this name where it has no section")
}

fn work() -> Arg {
    path("work")
        .long("work")
        .value_name("DIR")
        .help("Build in a directory below this one [default: /var/tmp]")
}

fn boot_limit() -> Arg {
    option(
        "boot-limit",
        "SECONDS",
        "How long the test boot may take until the login prompt",
    )
    .default_value("600")
    .value_parser(value_parser!(u64).range(1..=86_400))
}

pub fn create() -> Command {
    Command::new("create")
        .about("Build a Debian for a guest from the packages of a mirror")
        .long_about(
            "Builds a Debian by mmdebstrap or debootstrap in a file, with GRUB, a login at the serial terminal and \
             OpenSSH, boots it once on a snapshot, and copies it onto the first disk of the guest. The guest has to be \
             stopped, and the volume empty unless `--yes` is given. Without the section or the volume, the sections to \
             add are printed. Needs root. Mirrors are those of apt of this host.\n\nThe network is DHCP unless \
             `--address` is given. Passwords are not accepted by ssh.",
        )
        .after_help(
            "Example:\n  evenkeel guest create mail --debootstrap trixie --ssh-key ~/.ssh/id_ed25519.pub",
        )
        .arg(name())
        .arg(option("debootstrap", "SUITE", "The release of Debian, such as trixie").required(true))
        .arg(option("mirror", "URL", "The mirror of the packages"))
        .arg(path("ssh-key").long("ssh-key").value_name("FILE").help("Public keys that may log in as root"))
        .arg(
            path("password-file")
                .long("password-file")
                .value_name("FILE")
                .help("The password of root at the terminal, on one line"),
        )
        .arg(option("address", "ADDRESS/LENGTH", "A fixed address instead of DHCP"))
        .arg(option("gateway", "ADDRESS", "The gateway of the fixed address").requires("address"))
        .arg(flag("no-test-boot", "Do not boot it before it is copied"))
        .arg(boot_limit())
        .arg(work())
        .arg(flag("yes", "Overwrite what the volume holds"))
}

pub fn import() -> Command {
    Command::new("import")
        .about("Import an image of another hypervisor, or a guest of Xen")
        .long_about(
            "Copies an image into the volumes of a guest: raw, qcow2, vmdk, vdi, vpc, vhdx, or an OVA with its disks. The \
             format is detected by the content. `qemu-nbd` reads it without rights, and sees only the image. An image \
             that names other files (a backing file, extents) is refused unless `--follow` is given. The guest has to be \
             stopped, and the volume empty unless `--yes` is given. Without the section or the volume, the sections to \
             add are printed.\n\nA file that is called `xen` is written ./xen.",
        )
        .after_help(
            "Examples:\n  evenkeel guest import disk.qcow2 mail\n  evenkeel guest import mail.ova mail --plan\n  \
             evenkeel guest import xen /etc/xen/mail.cfg",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .arg(path("IMAGE").value_name("FILE").required(true).help("The image, or a block device"))
        .arg(name())
        .arg(flag("plan", "Only show what would be done"))
        .arg(flag("follow", "Also read the files that the image names"))
        .arg(flag("raw", "Treat the file as a raw disk, whatever it looks like"))
        .arg(flag("yes", "Overwrite what the volume holds"))
        .subcommand(xen())
}

fn xen() -> Command {
    Command::new("xen")
        .about("Import a guest of Xen by its configuration")
        .long_about(
            "Reads a configuration of xl or xm, looks at the disks of the guest without writing to them, and shows what \
             has to be done as a list. With `--yes`, or confirmed at a terminal, it is done on a copy: partitions get a \
             partition table, fstab and root= UUIDs, the initial RAM disk drivers of virtio, the disk GRUB; the login \
             is on ttyS0. The copy is booted on a snapshot, and copied onto the volumes when its serial terminal shows a login \
             prompt. Shut the guest down first. Needs root.\n\nIn the list, `[ ]` is done by the command, `[you]` is left to you, and `[first]` has to be done by you before.",
        )
        .after_help(
            "Examples:\n  evenkeel guest import xen /etc/xen/mail.cfg\n  evenkeel guest import xen mail.cfg --name mail2 --yes",
        )
        .arg(path("CONFIG").value_name("FILE.cfg").required(true).help("The configuration"))
        .arg(option("name", "NAME", "The name of the new guest [default: that of the configuration]"))
        .arg(flag("plan", "Only show the list").conflicts_with("yes"))
        .arg(
            path("disk")
                .long("disk")
                .value_name("PATH")
                .action(ArgAction::Append)
                .help(
                    "Read this disk, or the files of this directory, where the configuration names them; without it, only \
                     files below the directory of the configuration",
                ),
        )
        .arg(flag("yes", "Do it without asking"))
        .arg(flag("overwrite", "Overwrite what the volumes hold"))
        .arg(flag("no-test-boot", "Do not boot it before it is copied"))
        .arg(boot_limit())
        .arg(work())
}
