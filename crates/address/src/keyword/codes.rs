//! Codes of what is wrong with `node` and `virtual-ip` sections.

use language::Code;
use language::arguments::ArgumentCodes;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal, $text:literal;)*) => {
        $($(#[$doc])* #[doc = $title] pub static $name: Code = Code { id: $id, title: $title, explanation: $text };)*
        /// All of them.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

/// Those of words that are missing, too many, or no such value.
pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes {
    missing: &ARGUMENTS,
    surplus: &ARGUMENTS,
    number: &VALUE,
    range: &VALUE,
    time: &VALUE,
    size: &VALUE,
    value: &VALUE,
    lenient: None,
};

codes! {
    UNKNOWN_KEYWORD = "E0650", "unknown keyword of a virtual address",
        "The first word of a line is no keyword of a `node` or `virtual-ip` section. The nearest names are shown; `evenkeel manual` lists \
         all of them.";
    ARGUMENTS = "E0651", "too few or too many words",
        "The keyword needs one more word, or takes fewer than stand on the line. Its syntax line is shown; `evenkeel keyword NAME` explains \
         it. A word with a space in it needs quotes.";
    VALUE = "E0652", "value not understood",
        "A word is none that the keyword takes: no address, no time, a number outside of its range. A time is a whole number and a \
         unit: `50ms`, `2s`. An address may have a prefix: `172.16.61.150/24`.";
    NAME = "E0653", "name of a node or a virtual address",
        "A `virtual-ip` section needs a name, and no two of them may have the same one, as no two `node` sections. Names are of letters, digits, \
         `.`, `_`, `-` and `:`.";
    NO_ADDRESS = "E0654", "virtual address without an address",
        "A `virtual-ip` section has no line `address`, so there is nothing that a machine could have.";
    ADDRESS_TWICE = "E0655", "address given twice",
        "An address moves with one `virtual-ip` section only, and is not one that stays with a node: two machines that each have a reason to \
         have it would both be right.";
    NO_INTERFACE = "E0656", "which interface is not clear",
        "The interface of a virtual address is found by its network: the one whose own address is in it. No interface of this machine is, or \
         several are. Add `interface <interface>`; where machines name it otherwise, `interface <interface> on <node>` for each.";
    NOT_A_NODE = "E0657", "the file is for other machines",
        "One file is for all machines: each finds itself in it by its name (`uname -n`, with or without its domain), by a line `hostname`, or by an \
         `address` of a `node` section that is on one of its interfaces. This machine finds itself nowhere, so it would serve no \
         address. Name it in `prefer`, or add a `node` section for it.";
    UNKNOWN_NODE = "E0658", "no such node",
        "Where a file has `node` sections, `prefer` and `on` name these. The nearest one is shown: a machine that is misspelt would never \
         have the addresses, and nobody would notice before it has to.";
    NODES_HERE = "E0659", "this machine is two nodes",
        "Two `node` sections are this machine, by its name or by one of its addresses. Its priority would be that of either. Correct \
         the name or the address of one of them.";
    ROUTER_ID = "E0660", "router id used twice",
        "On a link each virtual router has an id of its own, from 1 to 255; adverts of two with the same one would be taken for each other's. \
         Without a line `vrid` the id is derived from the section's name, and two names may come to the same one. Write the line that is \
         shown, in the file of every machine at the same time.";
    UNICAST = "E0661", "unicast without addresses",
        "With `unicast` adverts go to the address of each other node, so each node of `prefer` needs a `node` section with an `address` of \
         the family of the virtual addresses. Add them, or leave the line out: adverts then go to a multicast group.";
    TWICE = "E0662", "may be given once only",
        "The line may stand in a section once: which of two is meant cannot be guessed.";
    PROGRAM = "E0663", "program cannot be run",
        "A program that `track` or `notify` names has no directory in front, is not there, or is not executable. It is started without a \
         shell: write its whole path, with its arguments behind it in one pair of quotes.";
    TOO_MANY = "E0664", "too many",
        "There is a bound to everything; the message says which. Nobody has come near it with a file of sense.";
    NOT_HERE = "E0665", "virtual addresses need a role of their own",
        "`node` and `virtual-ip` sections are served by the address role, a process beside the proxy which may change addresses of this machine. Started under the name \
         `haproxy` there is none. Start the same file with `evenkeel run -f FILE`, or keep the addresses in a `keepalived.conf`.";
    INTERFACE_MISSING = "W0650", "interface is not there",
        "A line names an interface that this machine does not have now. The addresses wait for it. Where machines name it otherwise, write \
         `interface <interface> on <node>` for each.";
}
