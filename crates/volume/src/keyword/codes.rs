//! Codes of what is wrong with `volume` sections.

use language::arguments::ArgumentCodes;

/// The codes for missing, superfluous and invalid arguments.
pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN = "E0800", "unknown keyword in a volume section",
        "The first word of the line is not a keyword of the `volume` section. `evenkeel keyword volume` lists them.";
    ARGUMENTS = "E0801", "wrong number of arguments in a volume section",
        "The keyword needs another argument, or the line has too many. The message shows its syntax.";
    VALUE = "E0802", "invalid value in a volume section",
        "The keyword does not accept this value. A size is a number with one of the units `k`, `m`, `g` and `t` \
         (powers of 1024), is a multiple of 4 KiB, and is at most 16t. A backing is an \
         absolute path without `.` and `..`.";
    NAME = "E0803", "invalid or duplicate name of a volume",
        "Each `volume` section needs a unique name of at most 64 letters, digits, `.`, `_` and `-`, which does not \
         begin with `.`. The name becomes part of file names: `NAME.volume`.";
    TWICE = "E0804", "duplicate setting of a volume",
        "The keyword can appear only once in a `volume` section. Remove one of the two lines.";
    MISSING = "E0805", "volume without a size or a backing",
        "A `volume` section needs a line `size` and a line `backing`. Without them there is nothing to create or to \
         serve.";
    COPIES = "E0806", "volume on several nodes",
        "`on` names several nodes. A volume has one copy, on one node: volumes with two synchronous copies are not \
         supported yet. Name one node.";
    UNKNOWN_NODE = "E0807", "volume on an unknown node",
        "If the file has `node` sections, or the cluster has members, `on` must name one of them. The nearest name \
         is shown. No machine would run the volume of a misspelt node.";
    NO_NODE = "E0808", "volume without a node in a file of several nodes",
        "The file is for the nodes of its `node` sections, or for the members of the cluster. Without `on`, each of \
         them would run a volume of this name with data of its own, and nothing would tell them apart. Add `on NODE`.";
    BACKING_TWICE = "E0809", "two volumes on one device",
        "Two volumes of one node name the same device. Each volume needs a device of its own; a directory of \
         `backing file` can hold many volumes.";
    TOO_MANY = "E0810", "too many volumes",
        "A file has at most 256 `volume` sections.";
}
