//! Defines the codes of diagnostics about `guest` sections, and about the lines of `node` sections
//! that concern guests.

use language::arguments::ArgumentCodes;

/// Codes for missing, superfluous and invalid arguments.
pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN = "E0840", "unknown keyword in a guest section",
        "The first word of the line is not a keyword of the section. `evenkeel keyword guest` lists them.";
    ARGUMENTS = "E0841", "wrong number of arguments of a guest",
        "The keyword needs another argument, or the line has too many. The message shows its syntax.";
    VALUE = "E0842", "invalid value of a guest",
        "The keyword does not accept this value. Memory is a number with one of the units `k`, `m`, `g` and `t` (powers \
         of 1024) and a multiple of 1 MiB. A bridge has a name that Linux accepts: at most 15 bytes without `/`, `:` and \
         spaces. A MAC address is that of one card, so it is neither zero nor a multicast address. A path is absolute, \
         without `.` and `..`.";
    NAME = "E0843", "invalid or duplicate name of a guest",
        "Each `guest` section needs a unique name of at most 64 letters, digits, `.`, `_` and `-`, which does not \
         begin with `.`. The name becomes part of file names.";
    TWICE = "E0844", "duplicate setting of a guest",
        "The keyword can appear only once in a section, or the option only once in a line. Remove one of the two.";
    MISSING = "E0845", "guest without memory",
        "A `guest` section needs a line `memory`. There is no default: what a guest takes decides on which node there \
         is room for it.";
    BOOT = "E0846", "guest without anything to boot from",
        "A guest boots from its first disk unless `boot` says otherwise, and from the network by its first card. Add a \
         line `disk` or `nic`, or another `boot`.";
    UNKNOWN_NODE = "E0847", "guest on an unknown node",
        "If the file has `node` sections, or the cluster has members, `prefer` must name some of them, each once. The \
         nearest name is shown. A guest would never run on a misspelt node, and nobody would notice until a node fails.";
    NO_NODE = "E0848", "guest without a node in a file of several nodes",
        "The file is for the nodes of its `node` sections, or for the members of the cluster. `prefer` says on which of \
         them the guest may run, the best first. Add `prefer NODE`.";
    UNKNOWN_GUEST = "E0849", "no guest of this name",
        "`start-order`, `beside` or `apart` names a guest that no section defines, or the guest itself. The nearest name \
         is shown.";
    CIRCLE = "E0850", "guests that wait for each other",
        "Lines `start-order after` form a circle, so none of these guests would ever start. Remove one of the lines.";
    CONTRADICTION = "E0851", "guests that can never be placed as the file says",
        "`beside` and `apart` contradict each other, or a guest has to be beside another one with which it has no node in \
         common. Remove one of the lines, or name a common node in `prefer`.";
    VOLUME_TWICE = "E0852", "volume with a second guest",
        "The writer of a volume is one guest: two that write to one file system destroy it, and so does one that reads what \
         another one writes. Give each guest a volume of its own. A volume that all guests attach with `ro` can belong to \
         several.";
    OF_A_VOLUME = "E1192", "file of a volume as the boot image of a guest",
        "`boot iso` or `boot kernel` names the file or block device that stores a `volume`, by this path, another spelling or \
         a link. The volume role writes it at the same time, so the guest would read a mixture. Attach the volume with `disk`, \
         or name an image of its own.";
    MAC_TWICE = "E0853", "duplicate MAC address",
        "Two network cards of guests have the same MAC address, so a switch would send frames for one to the other. Change \
         one of them, or remove `mac`: the default is derived from the name of the guest and differs for each card.";
    ADDRESS_TWICE = "E0854", "duplicate address of guests",
        "Two network cards of guests have the same IP address. Each address belongs to one card.";
    OF_A_NODE = "E1215", "address of a node given to a guest",
        "A `nic` line gives a guest an address that a node has by another section: a `virtual-ip`, a `node` or a `bind`. Two \
         machines would answer for it, and the node announces the guest's addresses at each start and move. Give the guest \
         another address.";
    NO_COPY = "E0855", "guest on a node without a copy of its disk",
        "`prefer` names a node on which a volume of the guest has no copy, so the guest could not start there. Name nodes \
         with a copy, or give the volume one there by its line `on`.";
    NO_ADDRESS = "E0856", "check of a guest without an address",
        "`check tcp` and `check ping` need an address: that of `at`, or the first `address` of a line `nic`. `check agent` \
         needs none: it asks QEMU's guest agent.";
    TOO_MANY = "E0857", "too many guests, disks, network cards or nodes",
        "A file has at most 256 `guest` sections, a guest at most 16 disks, 8 network cards and 16 nodes, and a node at most \
         8 lines `fence`.";
    ROOM = "E0858", "guest larger than each of its nodes",
        "On no node of `prefer`, the line `room` has the memory and the processors that the guest takes. It could never \
         start. Change the guest, or the room of a node.";
    USER_DATA = "E0859", "unusable user data",
        "The file of `user-data` cannot be read, is not UTF-8, or has more than 1 MiB. It is read at each load, and belongs \
         to the version.";
    FROZEN = "E0862", "volume that a guest can or cannot write, against its section",
        "The volumes of a template (`template yes`) are those from which other guests are made, so nobody may write them: each \
         needs `read-only yes`. A guest that is no template cannot write to such a volume: remove `read-only yes`, or attach \
         the disk with `ro`.";
    NO_GUEST = "E0864", "no guest of this name",
        "A line such as `guest-consoles` of a `farm` section names a guest that no section has. The nearest name is shown.";
    NO_CLUSTER = "W0860", "guests of several nodes outside of a cluster",
        "A guest that may run on several nodes runs on the one that has its lease in the cluster. These files were loaded \
         from the command line (`evenkeel check`, `evenkeel run -f`), so no cluster is known, and guests would wait. Apply \
         the files with `evenkeel config apply`, and run the members without `-f`.";
    NO_FENCING = "W0861", "guest on nodes without fencing",
        "If a node fails, another one can start its guests at once only if it knows that the node is off. It knows that from \
         a line `fence` of the section of that node, or because a watchdog resets it. Without either, the takeover waits for \
         the end of the node's leases, and a node that hangs may still run its guests after that: the volumes refuse \
         their writes, so data is safe, but their network addresses are in use twice. Add a line such as `fence ipmi` or \
         `fence watchdog /dev/watchdog` to the `node` section.";
    STRANDED = "W0862", "guest with a disk of a storage system on nodes without fencing",
        "A volume with `backing nfs`, `iscsi` or `rbd` is written by the QEMU of the guest directly. A write that is under way \
         when a node fails can arrive much later, and no epoch refuses it. So another node starts such a guest only when the \
         failed node is confirmed off by a line `fence`, or has been reset by its `fence watchdog`. Without either, the guest \
         stays down after a failure until a person confirms that the node is off (`evenkeel fence confirm NODE`). Data is safe \
         in each case, so this is a warning: an orderly stop, a move and a drain need no fencing.";
    NOT_HERE = "W0863", "guest with a bridge or a file that is not on this machine",
        "A guest needs the bridges of its lines `nic`, and the files of its line `boot`, on each node on which it starts: it \
         fails there without them. The check looks at the machine on which it runs, if the guest may run there. Create the \
         bridge or copy the file. Where nodes have bridges of different names, write `on NODE nic BRIDGE` for each node.";
}
