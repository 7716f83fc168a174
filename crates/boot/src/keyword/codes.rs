//! Declares the codes of diagnostics for `boot` sections, each with its title and its explanation.

use language::arguments::ArgumentCodes;

pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN = "E0950", "unknown keyword in a boot section",
        "The first word of the line is not a keyword of the section. `evenkeel keyword boot` lists them.";
    ARGUMENTS = "E0951", "wrong number of arguments in a boot section",
        "The keyword needs another argument, or the line has too many. The message shows its syntax.";
    VALUE = "E0952", "invalid value in a boot section",
        "The keyword does not accept this value. Addresses are IPv4 addresses. A MAC address is that of one card, so it is \
         neither zero nor a multicast address. A path is absolute, without `.` and `..`. Names have letters, digits, `.`, \
         `_` and `-`.";
    NAME = "E0953", "invalid or duplicate name in a boot section",
        "Each `boot` section needs a unique name, and so does each `image` and each `machine` in it, of at most 64 letters, \
         digits, `.`, `_` and `-`. Names become parts of paths.";
    TWICE = "E0954", "duplicate setting of a boot section",
        "The keyword can appear only once in a section, or the option only once in a line. Remove one of the two.";
    MISSING = "E0955", "boot section without an interface",
        "A `boot` section needs a line `interface`: DHCP belongs to one network, and an answer on the wrong one would take \
         machines from another server.";
    MAC_TWICE = "E0956", "two machines with one MAC address",
        "A machine is known by the MAC address of its card, so each address belongs to one `machine` line. Change one of \
         them, or remove it.";
    ADDRESS_TWICE = "E0957", "two machines with one address",
        "Each IP address belongs to one machine. Give one of the two another address, or none, if the section has a `range`.";
    OUTSIDE = "E0958", "address outside of the network",
        "The address is not one that a machine of the section's network can have. The network is that of `network`, or else \
         that of the interface's first IPv4 address; its first and last address belong to no machine.";
    RANGE = "E0959", "range that begins after its end",
        "`range` names the first address and then the last one.";
    NO_IMAGE = "E0960", "no image of this name",
        "`machine` or `unknown` names an image that no `image` line of the section defines. The nearest name is shown.";
    NO_RANGE = "E0961", "machine without an address in a section without a range",
        "The machine has no `address`, and the section has no `range` from which it could get one. Add one of the two. If \
         another DHCP server gives the addresses, add `proxy`.";
    OF_A_NODE = "E1070", "address of a node given to a machine",
        "The address of the `machine` line is one that a node has: by a `virtual-ip` or `node` section, or because a frontend, \
         a farm, a volume or the console listens there. Two machines with one address take each other's connections. Give \
         the machine another address. Addresses of a `range` need no such care: those that nodes have, and those that other \
         sections name, are left out.";
    LEASED = "W1073", "leased address given to somebody else",
        "A client has a lease of the address by this section, and the files now give the address to a node or to another \
         machine, or no range has it any more. The client learns of it when it asks to renew its lease: it is refused, and gets \
         another address. Until then a node and the client both use the address; a machine gets an address of the range \
         meanwhile, and its own when the lease has ended. Choose another address, or apply the change when the lease has ended.";
    NO_SERVER = "W0947", "server address that nobody here has",
        "Machines fetch their files from the address of `server`. Neither this node nor a `virtual-ip` section has it, so a \
         machine would wait for it first. Correct it, or add a `virtual-ip` section with the address.";
    NO_DIRECTORY = "W0948", "directory of leases that cannot be used",
        "`leases` names a directory. What is there is none, or the directory in which it would be created is missing. \
         A node starts all the same, \
         gives no address of its range, and leaves that to the other node. Correct the path, or create the directory on \
         this node.";
    NO_PROGRAM = "W0949", "program or password file of a power control that is missing",
        "The program that `power exec` names is not there or is not executable, or the password file of `power ipmi` is not \
         there, so `evenkeel boot power` fails on this node. Install it, run `chmod +x`, or create the file. Other nodes do \
         not need it, unless you run the command there.";
    NO_FILE = "W0962", "file of an image is missing or empty",
        "A kernel, an initial RAM disk or another file that an image names is not there, is empty, or is not a file. A machine that \
         boots the image would stop in the middle. Check the path; each node that answers needs the file.";
    WITH_PROXY = "E0963", "address beside another DHCP server",
        "With `proxy`, another DHCP server gives the addresses, and this one only says what to boot. Remove `proxy`, or the \
         `range`, `gateway` or other line that is of no use beside it.";
    TOO_MANY = "E0964", "too many lines or sections",
        "A file has at most 64 `boot` sections, a section at most 20,000 machines and 256 images, an image at most 8 initial \
         RAM disks.";
    INTERFACE_TWICE = "E0965", "two sections for one interface",
        "Two `boot` sections have the same interface, and the ports of DHCP there belong to one of them. Join them. For \
         clients of several networks behind relays, give each network an interface of its own, such as a VLAN.";
    NO_LOADER = "W0966", "boot loader is missing",
        "The loaders that a machine gets first come from packages of the distribution: `ipxe` (iPXE), and for `secure-boot \
         yes` also `shim-signed` and `grub-efi-amd64-signed`. Without them, only machines whose card has iPXE built in can \
         boot. Install the package on each node that answers.";
    NO_INTERFACE = "W0967", "interface without a usable address",
        "The interface is not on this machine, or has no IPv4 address, so nobody is answered there until it has one. Check \
         its name, or write a line for each node: `on alpha interface br0`.";
    CROWDED = "E0968", "range without free addresses",
        "Machines with an `address` within the range, and this host itself, take all of it, so nothing is left for others. \
         Make the range larger.";
    TARGET_TWICE = "E0969", "two disks with one number or name",
        "A client of AoE knows a disk by its shelf and slot alone, so each `disk` of a section needs a number of its own. \
         One of iSCSI knows it by a name without capital letters. Change one of the two.";
    NO_DISK = "E0970", "no disk of this name",
        "`image` names a disk that no `disk` line of the section defines. The nearest name is shown.";
    ONLY_IPXE = "E0971", "disk over the network where it cannot be booted",
        "Only iPXE boots a disk by AoE or iSCSI. With `secure-boot yes`, UEFI machines get GRUB instead, which cannot. And with \
         `once`, a machine boots an image until it has fetched its files; a disk over the network is never fetched as a \
         whole. Remove one of the two.";
    OVERLAY = "E0973", "overlay that cannot be",
        "Each overlay of a disk belongs to one machine, which is known by its address: remove `open` or `overlay`. And \
         `limit` is how much of it a machine can change, and `keep` that it stays: add `overlay DIRECTORY`, or remove them. \
         With `keep`, an overlay is on one node, so a cluster of several nodes needs a volume for each machine instead.";
    WRITTEN = "E0974", "volume that a guest writes",
        "A volume has one writer. A guest has it as a disk that it writes, so machines that boot from the network cannot \
         use it, not even to read: what a guest has in its memory is not on the volume. Give one of the two another volume.";
    NO_WAY = "E0972", "disk that is not served as the image needs it",
        "An image with `aoe`, `iscsi` or `nbd` needs a `disk` line with the same word. Add it to that line.";
    STORAGE_TWICE = "E1085", "two disks with one volume or file",
        "Two `disk` lines name the same volume or file, and at least one of them is written: machines that boot the two \
         destroy what the other one has. Write one line with all its protocols (`aoe`, `iscsi`, `nbd`), give each disk a \
         volume of its own, or add `ro` or `overlay` to both. In a version that was accepted earlier, the second disk is \
         not served.";
    UNUSED_OVERLAYS = "W1095", "kept overlays that no disk uses any more",
        "With `keep`, what a machine has changed of a disk is in a file whose name begins with those of the section and the \
         disk. The directory has such files of names that no `boot` section has, and none of this disk: if the section or \
         the `disk` line was renamed, its machines boot the disk as it is, without their changes. Keep the names, rename \
         the files while the node is stopped, or remove them. Leases, and which machines had their `once`, need no care: \
         they continue under another name.";
    OF_A_VOLUME = "E1191", "file of a volume in a boot section",
        "A line names the file or block device that stores a `volume`, by this path, another spelling or a link. The volume role \
         alone uses it: it checks and copies each write. For a disk, write `disk NAME volume VOLUME ...`. For an image, name a \
         file of its own. In a version that was accepted earlier, the first user that opens the file has it.";
    SEVERAL_MACHINES = "W1085", "written disk that several machines boot",
        "Machines write this disk, and several of them have an image with it. By `iscsi` and `nbd` one machine has it at a \
         time, and the others are refused until it has gone; by `aoe`, which has no login, they destroy the file systems. \
         Give each machine a disk of its own, or an `overlay`. With `open`, several may write it at once: for file systems \
         of clusters.";
}
