//! Defines the codes of diagnostics about `node` and `virtual-ip` sections, with their
//! explanations.

use language::arguments::ArgumentCodes;

pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN_KEYWORD = "E0650", "unknown keyword in a virtual-ip or node section",
        "The first word of the line is not a keyword of a `node` or `virtual-ip` section. The nearest keywords are \
         shown; `evenkeel manual` lists all of them.";
    ARGUMENTS = "E0651", "wrong number of arguments",
        "The keyword needs another argument, or the line has too many. The message shows its syntax; `evenkeel \
         keyword NAME` explains it. Quote a word that contains a space.";
    VALUE = "E0652", "invalid value",
        "The keyword does not accept this value: it is not an address or a duration, or is out of range. A duration \
         is a whole number and a unit: `50ms`, `2s`. An address may have a prefix length: `172.16.61.150/24`.";
    NAME = "E0653", "invalid or duplicate name",
        "Each `virtual-ip` section needs a unique name, and so does each `node` section. Names have letters, digits, \
         `.`, `_`, `-` and `:`.";
    NO_ADDRESS = "E0654", "virtual address without an address",
        "A `virtual-ip` section has no `address` line, so it has no address to assign.";
    ADDRESS_TWICE = "E0655", "duplicate address",
        "An address belongs to only one `virtual-ip` section, and cannot be the fixed address of a node. Otherwise \
         two machines could both own it.";
    NO_INTERFACE = "E0656", "ambiguous interface",
        "The interface of a virtual address is the one whose network contains the address. On this machine, no \
         interface or several match. Add `interface <interface>`, or `interface <interface> on <node>` if the names \
         differ between machines. A version of a cluster that was accepted earlier is served: of several interfaces \
         the first one is used, and without any this machine does not own the addresses until there is one.";
    NOT_A_NODE = "E0657", "machine not named in the file",
        "All machines share one file. A machine is the node with its host name (`uname -n`, with or without its \
         domain), with a matching `hostname` line, or with an `address` on one of its interfaces. This machine \
         matches no node, so it would serve no address. Name it in `prefer`, or add a `node` section for it.";
    UNKNOWN_NODE = "E0658", "unknown node",
        "If the file has `node` sections, `prefer` and `on` must name one of them. The nearest name is shown. A \
         machine with a misspelt name would never own the addresses, and nobody would notice until a failover.";
    NODES_HERE = "E0659", "machine matches two nodes",
        "Two `node` sections match this machine, both by a name or both by an address, so its priority is ambiguous. \
         Correct the name or the address in one of them. A machine that matches one section by its name, and has an \
         address of another one, is the node with its name. That is only a warning: the machine may have taken the \
         address of a node that failed.";
    ROUTER_ID = "E0660", "duplicate VRID",
        "On each link a virtual router has its own id, from 1 to 255; two routers with the same id would mistake each \
         other's adverts for their own. Without `vrid` the id is derived from the section name, and two names can \
         result in the same id. Add the line that is shown, in the file of every machine at the same time.";
    UNICAST = "E0661", "unicast without addresses",
        "With `unicast`, adverts go to the address of each other node. Each node in `prefer` therefore needs a `node` \
         section with an `address` of the same family as the virtual addresses. Add them, or remove `unicast` to use \
         a multicast group.";
    TWICE = "E0662", "duplicate setting",
        "The keyword can appear only once in a section. Remove one of the two lines.";
    PROGRAM = "E0663", "cannot run the program",
        "A program of `track` or `notify` has no absolute path, does not exist, or is not executable. Evenkeel starts \
         it without a shell: write the absolute path and its arguments in one pair of quotes. A version of a cluster \
         that was accepted earlier is served without the program, with a warning.";
    TOO_MANY = "E0664", "limit exceeded",
        "The configuration exceeds a limit; the message shows which. Sensible files are far below these limits.";
    NOT_HERE = "E0665", "virtual addresses need the address role",
        "The address role, a process beside the proxy, serves `node` and `virtual-ip` sections. Under the name \
         `haproxy` without `-W` there is none. Run the same file with `evenkeel run -f FILE`, or keep the addresses \
         in a `keepalived.conf`.";
    INTERFACE_MISSING = "W0650", "interface does not exist",
        "A line names an interface that this machine does not have now. The addresses wait for it. If the names \
         differ between machines, write `interface <interface> on <node>` for each.";
    CHANGEABLE = "E1071", "program that others can change runs as root",
        "A program of `notify` or `track script` runs as root, and a user other than root can change its file, the script \
         that it names, or a directory or link on the way to it. That user could run anything as root. Give the file and \
         its directories to root, without write permission for others (`chown root:root`, `chmod go-w`), or let the \
         programs of the section run as another user (`script-user`). A version of a cluster that was accepted earlier is \
         served without the program, with a warning.";
    NO_USER = "E1072", "user or group of scripts does not exist",
        "`script-user` names a user or group that this machine does not have. Programs of `notify` and `track script` would \
         not run. Create it on every node of `prefer`, or name another one. A version of a cluster that was accepted earlier \
         is served without these programs, with a warning.";
}
